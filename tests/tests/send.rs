//! What may cross threads, be moved and outlive a panic: futures are `Send`, so that a runtime of many threads takes them; plain values
//! are everything, settings are all but `UnwindSafe`, sessions `Send` and `Unpin`.
//!
//! This is checked when it compiles; nothing here needs to run.

use std::io;
use std::net::TcpStream;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use smtp_proto::client::{self, Envelope, Outcome, Report};
use smtp_proto::command::Command;
use smtp_proto::dial::{self, Dialer};
use smtp_proto::reply::Reply;
use smtp_proto::session::{self, Link, Session};
use smtp_proto::{Accepted, AcceptedError, Config, Connection, Limits, Misuse, Route, sasl, server, tls};

fn send<T: Send>(value: T) -> T {
    value
}

fn plain<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>() {}

fn both<T: Send + Sync + Unpin>() {}

fn moves<T: Send + Unpin>() {}

#[test]
fn plain_values_may_do_whatever_values_may() {
    plain::<Limits>();
    plain::<Envelope>();
    plain::<Report>();
    plain::<Outcome>();
    plain::<client::Event>();
    plain::<client::Remembered>();
    plain::<client::Recording>();
    plain::<Reply>();
    plain::<Command>();
    plain::<dial::Policy>();
    plain::<dial::Verdict>();
    plain::<dial::Failure<String>>();
    plain::<sasl::Credentials>();
    plain::<sasl::Allowed>();
    plain::<server::Config>();
    plain::<server::Event>();
    plain::<proxy_proto::ProxyUrl>();
    plain::<proxy_proto::Secret>();
    plain::<proxy_proto::Error>();
    plain::<Misuse>();
    plain::<smtp_proto::Error>();
    plain::<AcceptedError>();
}

/// What the caller brings stands behind a trait (closures, TLS), as does a part of `io::Error`: nobody knows how that bears a panic.
#[test]
fn settings_and_what_is_told_may_be_shared() {
    both::<Config>();
    both::<client::Config>();
    both::<client::Transcript>();
    both::<tls::Rustls>();
    both::<tls::RustlsServer>();
    both::<session::Error<io::Error>>();
    both::<smtp_blocking::Shutdown>();
    both::<smtp_blocking::pool::Pool>();
    both::<smtp_blocking::pool::Error>();
    both::<smtp_blocking::serve::Stop>();
    both::<smtp_blocking::serve::Error>();
    both::<smtp_async_std::AsyncStd>();
    both::<smtp_async_std::serve::Error>();
    both::<smtp_tokio::pool::Pool>();
    both::<smtp_tokio::pool::Error>();
    both::<smtp_tokio::serve::Stopping>();
    both::<smtp_tokio::serve::Error>();
}

/// Every call of a session changes it, so nothing is gained by sharing one; and a mechanism, a tunnel or a TLS session of the caller's
/// own need not bear it.
#[test]
fn sessions_may_move() {
    moves::<Route>();
    moves::<Connection>();
    moves::<Accepted>();
    moves::<client::Client>();
    moves::<server::Server>();
    moves::<Dialer<io::Error>>();
    moves::<Session<io::Error>>();
    moves::<session::Race<TcpStream, io::Error>>();
    moves::<Link<Accepted, io::Error>>();
    moves::<proxy_proto::Tunnel>();
    moves::<smtp_blocking::Smtp>();
    moves::<smtp_blocking::Pollable<TcpStream>>();
    moves::<smtp_blocking::pool::Lent>();
    moves::<smtp_blocking::serve::Served>();
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
