//! What may cross threads: futures are `Send`, so that a runtime of many threads takes them; values are `Send` and `Sync`, sessions `Send`.
//!
//! This is checked when it compiles; nothing here needs to run.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use smtp_proto::client::{Envelope, Outcome, Report};
use smtp_proto::command::Command;
use smtp_proto::reply::Reply;
use smtp_proto::session::{self, Link, Session};
use smtp_proto::{Accepted, AcceptedError, Config, Connection, Limits, Misuse, Route};

fn send<T: Send>(value: T) -> T {
    value
}

fn both<T: Send + Sync>() {}

fn moves<T: Send>() {}

#[test]
fn values_may_be_shared() {
    both::<Config>();
    both::<Limits>();
    both::<Envelope>();
    both::<Report>();
    both::<Outcome>();
    both::<Reply>();
    both::<Command>();
    both::<Misuse>();
    both::<smtp_proto::Error>();
    both::<AcceptedError>();
    both::<session::Error<io::Error>>();
    both::<smtp_blocking::Shutdown>();
    both::<smtp_async_std::AsyncStd>();
    both::<smtp_tokio::serve::Stopping>();
    both::<smtp_tokio::serve::Error>();
    both::<smtp_async_std::serve::Error>();
}

/// Every call of a session changes it, so nothing is gained by sharing one; and a mechanism or a tunnel of the caller's own
/// need not bear it.
#[test]
fn sessions_may_move() {
    moves::<Route>();
    moves::<Connection>();
    moves::<Accepted>();
    moves::<Session<io::Error>>();
    moves::<Link<Accepted, io::Error>>();
    moves::<smtp_blocking::Smtp>();
    moves::<smtp_blocking::Pollable<TcpStream>>();
    moves::<smtp_tokio::Smtp>();
    moves::<smtp_tokio::serve::Served>();
    moves::<smtp_async_std::Smtp<async_std::net::TcpStream, smtp_async_std::AsyncStd>>();
    moves::<smtp_async_std::serve::Served<async_std::net::TcpStream, smtp_async_std::AsyncStd>>();
}

/// Every verb of an adapter.
macro_rules! verbs {
    ($smtp:ty, $served:ty, $source:expr) => {
        let _ = |mut smtp: $smtp, envelope: Envelope| {
            drop(send(smtp.ready()));
            drop(send(smtp.send(&envelope, $source)));
            drop(send(smtp.send_all([(envelope.clone(), $source)], |_| {})));
            // What borrows must not tie the future to a lifetime of its own.
            let text = b"hello".to_vec();
            drop(send(smtp.send(&envelope, &text[..])));
            drop(send(smtp.send_all([&text].map(|text| (envelope.clone(), &text[..])), |_| {})));
            drop(send(async { smtp.send(&envelope, &text[..]).await }));
            drop(send(smtp.command(Command::noop())));
            drop(send(smtp.quit()));
        };
        let _ = |mut served: $served| drop(send(served.next()));
    };
}

#[test]
fn futures_may_cross_threads() {
    let _ = |config: &Config, stream, route| {
        drop(send(smtp_tokio::connect(config)));
        drop(send(smtp_tokio::Smtp::<tokio::net::TcpStream>::over(stream, config, route)));
    };
    verbs!(smtp_tokio::Smtp, smtp_tokio::serve::Served, tokio::io::empty());
    let _ = |listener, session: fn(_, _, _) -> std::future::Ready<()>| {
        drop(send(smtp_tokio::serve::serve(listener, 1, std::future::pending(), session)));
    };

    use smtp_async_std::AsyncStd;
    let _ = |config: &Config, stream: async_std::net::TcpStream, route| {
        drop(send(smtp_async_std::connect(config)));
        drop(send(smtp_async_std::Smtp::over(stream, AsyncStd, config, route)));
    };
    verbs!(
        smtp_async_std::Smtp<async_std::net::TcpStream, AsyncStd>,
        smtp_async_std::serve::Served<async_std::net::TcpStream, AsyncStd>,
        async_std::io::empty()
    );

    // A timer that is a closure, as smol's.
    let _ = |config: &Config, stream: smol::net::TcpStream, route| {
        let timer = |limit: Duration| async move { _ = smol::Timer::after(limit).await };
        drop(send(smtp_async_std::Smtp::over(stream, timer, config, route)));
    };
}
