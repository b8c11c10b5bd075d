//! One suite for all adapters: what a socket does to them, they all answer alike.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use smtp_proto::body::LineEndings;
use smtp_proto::client::{Envelope, Outcome, Report};
use smtp_proto::command::Command;
use smtp_proto::dial::{Attempt, Failure, Why};
use smtp_proto::session;
use smtp_proto::{Cause, Config, Limits, Misuse, Phase, Security, phase};
use tests::script::{Peer, serve};

/// What came of an operation, in words that all adapters share.
#[derive(Debug, PartialEq)]
enum Failed {
    Resolve(String),
    Connect(Vec<(SocketAddr, ErrorKind)>),
    Session(smtp_proto::Error, Option<ErrorKind>),
    Message(ErrorKind),
    Unfinished,
    Misuse(Misuse),
}

fn failed(error: session::Error<io::Error>) -> Failed {
    match error {
        session::Error::Dial(failure) => {
            let one = failure.telling().expect("something was tried");
            match &one.why {
                Why::Unresolved(_) => Failed::Resolve(one.host.clone()),
                Why::Connect(_) => Failed::Connect(failure.attempts.into_iter().map(refused).collect()),
                Why::Session { error, source } => {
                    let source = source.as_ref().map(|source| source.kind().into());
                    failed(session::Error::Session { error: error.clone(), source })
                }
                Why::Misuse(misuse) => Failed::Misuse(misuse.clone()),
                other => panic!("a reason this suite does not know: {other}"),
            }
        }
        session::Error::Session { mut error, source } => {
            // Every clock runs on its own.
            if let Cause::TimedOut { waited, .. } = &mut error.cause {
                *waited = SHORT.min(*waited);
            }
            Failed::Session(error, source.map(|source| source.kind()))
        }
        session::Error::Message(source) => Failed::Message(source.kind()),
        session::Error::Unfinished => Failed::Unfinished,
        session::Error::Misuse(misuse) => Failed::Misuse(misuse),
        other => panic!("an error this suite does not know: {other}"),
    }
}

/// An address that could not be connected to, and why.
fn refused(attempt: Attempt<io::Error>) -> (SocketAddr, ErrorKind) {
    match attempt {
        Attempt { to: Some(to), why: Why::Connect(error), .. } => (to, error.kind()),
        other => panic!("{other}"),
    }
}

/// A limit that tests wait for.
const SHORT: Duration = Duration::from_millis(80);

/// What a caller does: connect, send each message, say NOOP, quit; the reports so far, and what stopped it.
type Run = fn(&Config, &Envelope, &mut dyn FnMut() -> Option<Box<dyn Read>>) -> (Vec<Report>, Option<Failed>);

/// Sends all at once; each result as it was told.
type RunAll = fn(&Config, Vec<(Envelope, Box<dyn Read>)>) -> (Vec<Result<Report, Failed>>, Option<Failed>);

mod blocking {
    use super::*;

    pub(super) fn run(
        config: &Config,
        envelope: &Envelope,
        next: &mut dyn FnMut() -> Option<Box<dyn Read>>,
    ) -> (Vec<Report>, Option<Failed>) {
        let mut reports = Vec::new();
        let mut run = || {
            let mut smtp = smtp_blocking::connect(config)?;
            while let Some(message) = next() {
                reports.push(smtp.send(envelope, message)?);
            }
            smtp.command(Command::noop())?;
            smtp.quit()
        };
        let result: Result<(), smtp_blocking::Error> = run();
        (reports, result.map_err(failed).err())
    }

    pub(super) fn all(
        config: &Config,
        messages: Vec<(Envelope, Box<dyn Read>)>,
    ) -> (Vec<Result<Report, Failed>>, Option<Failed>) {
        let mut told = Vec::new();
        let run = || {
            let mut smtp = smtp_blocking::connect(config)?;
            smtp.send_all(messages, |result| told.push(result.map_err(failed)))?;
            smtp.quit()
        };
        let result: Result<(), smtp_blocking::Error> = run();
        (told, result.map_err(failed).err())
    }
}

/// The same for an adapter whose verbs are futures: what runs them, and what connects.
macro_rules! futures {
    ($name:ident, $block_on:expr, $connect:expr) => {
        mod $name {
            use super::*;

            pub(super) fn run(
                config: &Config,
                envelope: &Envelope,
                next: &mut dyn FnMut() -> Option<Box<dyn Read>>,
            ) -> (Vec<Report>, Option<Failed>) {
                let mut reports = Vec::new();
                let result: Result<(), session::Error<io::Error>> = $block_on(async {
                    let mut smtp = $connect(config).await?;
                    while let Some(message) = next() {
                        reports.push(smtp.send(envelope, Ready(message)).await?);
                    }
                    smtp.command(Command::noop()).await?;
                    smtp.quit().await
                });
                (reports, result.map_err(failed).err())
            }

            pub(super) fn all(
                config: &Config,
                messages: Vec<(Envelope, Box<dyn Read>)>,
            ) -> (Vec<Result<Report, Failed>>, Option<Failed>) {
                let mut told = Vec::new();
                let result: Result<(), session::Error<io::Error>> = $block_on(async {
                    let mut smtp = $connect(config).await?;
                    let messages = messages.into_iter().map(|(envelope, message)| (envelope, Ready(message)));
                    smtp.send_all(messages, |result| told.push(result.map_err(failed))).await?;
                    smtp.quit().await
                });
                (told, result.map_err(failed).err())
            }
        }
    };
}

futures!(
    tokio,
    |future| ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future),
    smtp_tokio::connect
);
futures!(async_std, ::async_std::task::block_on, smtp_async_std::connect);
futures!(smol, ::smol::block_on, connect_on_smol);

/// What a caller on smol writes: the crate brings no sockets of its own there.
async fn connect_on_smol(
    config: &Config,
) -> Result<smtp_async_std::Smtp<::smol::net::TcpStream, impl smtp_async_std::Timer>, smtp_async_std::Error> {
    config.check()?;
    let (host, port) = config.dial();
    let attempt = |to, why| {
        let took = Duration::ZERO;
        Attempt { id: None, host: host.clone(), port, to, tls_first: false, took, why }
    };
    let mut attempts = Vec::new();
    match ::smol::net::resolve((host.clone(), port)).await {
        Err(error) => attempts.push(attempt(None, Why::Unresolved(error))),
        Ok(addresses) => {
            for address in addresses {
                match ::smol::net::TcpStream::connect(address).await {
                    Ok(stream) => {
                        let timer = |limit| async move { _ = ::smol::Timer::after(limit).await };
                        return smtp_async_std::Smtp::over(stream, timer, config, smtp_proto::Route::direct()).await;
                    }
                    Err(error) => attempts.push(attempt(Some(address), Why::Connect(error))),
                }
            }
        }
    }
    Err(session::Error::Dial(Failure { attempts }))
}

/// A source that is always ready.
struct Ready(Box<dyn Read>);

impl ::tokio::io::AsyncRead for Ready {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ::tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut chunk = vec![0; buffer.remaining()];
        Poll::Ready(self.0.read(&mut chunk).map(|n| buffer.put_slice(&chunk[..n])))
    }
}

impl ::smol::io::AsyncRead for Ready {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.read(buffer))
    }
}

const ADAPTERS: [Run; 4] = [blocking::run, tokio::run, async_std::run, smol::run];

const ALL: [RunAll; 4] = [blocking::all, tokio::all, async_std::all, smol::all];

fn config(address: SocketAddr) -> Config {
    Config::new(address.ip().to_string(), address.port()).security(Security::None).helo("client.example.org")
}

fn envelope() -> Envelope {
    Envelope::new("alice@example.org", ["bob@example.net"]).unwrap()
}

fn messages(all: &[&'static [u8]]) -> impl FnMut() -> Option<Box<dyn Read>> {
    let mut left: Vec<_> = all.iter().rev().copied().collect();
    move || left.pop().map(|message| Box::new(message) as Box<dyn Read>)
}

/// A message without end, for servers that stop listening.
fn endless() -> impl FnMut() -> Option<Box<dyn Read>> {
    let mut one = Some(());
    move || one.take().map(|()| Box::new(io::repeat(b'x')) as Box<dyn Read>)
}

#[test]
fn messages_go_out_one_behind_the_other_on_one_connection() {
    for run in ADAPTERS {
        let (address, server) = serve(|peer| {
            peer.open(&["PIPELINING"]);
            for content in ["Subject: one\r\n\r\n..dot\r\n", "two\r\n"] {
                assert_eq!(peer.hear(), "MAIL FROM:<alice@example.org>");
                assert_eq!(peer.hear(), "RCPT TO:<bob@example.net>");
                assert_eq!(peer.hear(), "DATA");
                peer.say("250 ok\r\n250 ok\r\n354 go\r\n");
                assert_eq!(peer.hear_message(), content);
                peer.say("250 2.0.0 queued\r\n");
            }
            assert_eq!(peer.hear(), "NOOP");
            peer.say("250 ok\r\n");
            assert_eq!(peer.hear(), "QUIT");
            peer.say("221 bye\r\n");
            assert_eq!(peer.hear(), "", "nothing follows QUIT");
        });
        let (reports, failed) =
            run(&config(address), &envelope(), &mut messages(&[b"Subject: one\n\n.dot", b"two\r\n"]));
        assert_eq!(failed, None);
        assert!(reports.len() == 2 && reports.iter().all(Report::is_accepted));
        server.join().unwrap();
    }
}

#[test]
fn a_refusal_is_heard_while_the_message_is_still_going_out() {
    for (reply, closes) in [("552 5.3.4 too much\r\n", false), ("421 4.3.2 going down\r\n", true)] {
        for run in ADAPTERS {
            let (address, server) = serve(move |peer| {
                peer.open(&["PIPELINING"]);
                (0..3).for_each(|_| drop(peer.hear()));
                peer.say("250 ok\r\n250 ok\r\n354 go\r\n");
                peer.swallow(100_000);
                peer.say(reply);
                if !closes {
                    peer.wait_for_end();
                }
            });
            let (reports, failed) = run(&config(address), &envelope(), &mut endless());
            let Outcome::Refused(said) = &reports[0].recipients[0].outcome else { panic!("{reports:?}") };
            assert_eq!(said.code().number().to_string(), reply[..3]);
            let Some(Failed::Session(error, _)) = failed else { panic!("{failed:?}") };
            match error.cause {
                Cause::ServiceClosing(_) => assert!(closes),
                Cause::MessageRefusedEarly(_) => assert!(!closes),
                other => panic!("{other:?}"),
            }
            server.join().unwrap();
        }
    }
}

#[test]
fn a_lost_reply_to_the_final_dot_leaves_the_outcome_unknown_and_a_lost_message_does_not() {
    for run in ADAPTERS {
        let (address, server) = serve(|peer| {
            peer.open(&[]);
            for reply in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
                peer.hear();
                peer.say(reply);
            }
            peer.hear_message();
        });
        let (reports, failed) = run(&config(address), &envelope(), &mut messages(&[b"hello\r\n"]));
        assert_eq!(reports[0].recipients[0].outcome, Outcome::Unknown);
        assert!(matches!(failed, Some(Failed::Session(error, _)) if matches!(error.cause, Cause::Closed { .. })));
        server.join().unwrap();

        let (address, server) = serve(|peer| {
            peer.open(&[]);
            for reply in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
                peer.hear();
                peer.say(reply);
            }
            peer.swallow(1000);
        });
        let (reports, failed) = run(&config(address), &envelope(), &mut endless());
        assert_eq!(reports[0].recipients[0].outcome, Outcome::NotSent);
        assert!(matches!(failed, Some(Failed::Session(..))), "{failed:?}");
        server.join().unwrap();
    }
}

#[test]
fn each_deadline_is_kept_and_named() {
    let limits = |phase: &str| {
        let mut limits = Limits::interactive();
        match phase {
            "greeting" => limits.greeting = SHORT,
            "EHLO" => limits.ehlo = SHORT,
            "MAIL" => limits.mail = SHORT,
            "data block" => limits.block = SHORT,
            _ => limits.message = SHORT,
        }
        limits
    };
    for phase in ["greeting", "EHLO", "MAIL", "data block", "final dot"] {
        for run in ADAPTERS {
            let (address, server) = serve(move |peer| {
                let stops = |here: &str| here == phase;
                if stops("greeting") {
                    return peer.wait_for_end();
                }
                peer.say("220 hi\r\n");
                peer.hear();
                if stops("EHLO") {
                    return peer.wait_for_end();
                }
                peer.say("250 hi\r\n");
                peer.hear();
                if stops("MAIL") {
                    return peer.wait_for_end();
                }
                peer.say("250 ok\r\n");
                peer.hear();
                peer.say("250 ok\r\n");
                peer.hear();
                peer.say("354 go\r\n");
                if stops("data block") {
                    // Long enough for every buffer between to fill and the limit to pass, without reading.
                    std::thread::sleep(SHORT * 10);
                } else {
                    peer.hear_message();
                    peer.wait_for_end();
                }
            });
            let config = config(address).limits(limits(phase));
            let endless: &mut dyn FnMut() -> _ = &mut endless();
            let next = if phase == "data block" { endless } else { &mut messages(&[b"hello\r\n"]) };
            let (_, failed) = run(&config, &envelope(), next);
            let Some(Failed::Session(error, _)) = failed else { panic!("{phase}: {failed:?}") };
            assert_eq!(error.phase.name(), phase);
            let Cause::TimedOut { waited, .. } = error.cause else { panic!("{phase}: {error:?}") };
            assert!(waited >= SHORT, "{phase}: gave up after {waited:?}");
            server.join().unwrap();
        }
    }
}

#[test]
fn a_message_that_cannot_be_read_or_said_is_never_taken_for_whole() {
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            if self.0 > 3 {
                return Err(io::Error::other("the disk is gone"));
            }
            buffer[..5].copy_from_slice(b"hello");
            Ok(5)
        }
    }
    for run in ADAPTERS {
        for broken in [true, false] {
            let (address, server) = serve(|peer| {
                peer.open(&["PIPELINING"]);
                (0..3).for_each(|_| drop(peer.hear()));
                peer.say("250 ok\r\n250 ok\r\n354 go\r\n");
                loop {
                    match peer.hear() {
                        line if line.is_empty() => return,
                        line => assert_ne!(line, ".", "a part was ended as if it were the whole"),
                    }
                }
            });
            let mut one = Some(());
            let mut next = || {
                one.take()
                    .map(|()| if broken { Box::new(Broken(0)) as Box<dyn Read> } else { Box::new(&b"bare\nline"[..]) })
            };
            let (reports, failed) = run(&config(address).line_endings(LineEndings::Strict), &envelope(), &mut next);
            assert_eq!(reports, []);
            assert_eq!(
                failed,
                Some(if broken { Failed::Message(ErrorKind::Other) } else { Failed::Misuse(Misuse::BareLineEnding) })
            );
            server.join().unwrap();
        }
    }
}

#[test]
fn what_cannot_be_reached_is_named() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for run in ADAPTERS {
        let refused = Failed::Connect(vec![(closed, ErrorKind::ConnectionRefused)]);
        assert_eq!(run(&config(closed), &envelope(), &mut messages(&[])).1, Some(refused));
        let nowhere = Config::new("no-such-host.invalid", 25);
        assert_eq!(
            run(&nowhere, &envelope(), &mut messages(&[])).1,
            Some(Failed::Resolve("no-such-host.invalid".to_owned()))
        );
        let misuse = config(closed).helo("a\r\nMAIL");
        assert!(matches!(
            run(&misuse, &envelope(), &mut messages(&[])).1,
            Some(Failed::Misuse(Misuse::Forbidden { .. }))
        ));
    }
}

#[test]
fn a_future_dropped_in_the_middle_leaves_the_connection_marked() {
    let (address, server) = serve(|peer| {
        peer.open(&[]);
        peer.hear();
        peer.wait_for_end();
    });
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut smtp = smtp_tokio::connect(&config(address)).await.unwrap();
        let envelope = envelope();
        let send = smtp.send(&envelope, &b"hello\r\n"[..]);
        ::tokio::time::timeout(Duration::from_millis(50), send).await.expect_err("nobody answers MAIL");
        let again = smtp.send(&envelope, &b"hello\r\n"[..]).await;
        assert!(matches!(again, Err(smtp_tokio::Error::Unfinished)), "{again:?}");
    });
    server.join().unwrap();
}

#[test]
fn a_stream_that_the_caller_brings_will_do() {
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use ::tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
        let (ours, theirs) = ::tokio::io::duplex(16);
        let server = async move {
            let (reader, mut writer) = ::tokio::io::split(theirs);
            let mut lines = BufReader::new(reader).lines();
            for reply in ["220 hi\r\n", "250 hi\r\n", "221 bye\r\n"] {
                writer.write_all(reply.as_bytes()).await.unwrap();
                lines.next_line().await.unwrap();
            }
        };
        let config = Config::new("localhost", 25).security(Security::None);
        let client = async {
            let smtp = smtp_tokio::Smtp::over(ours, &config, smtp_proto::Route::direct()).await.unwrap();
            smtp.quit().await.unwrap();
        };
        ::tokio::join!(server, client);
    });
}

#[cfg(unix)]
#[test]
fn a_unix_socket_will_do() {
    use smtp_blocking::{Blocking, Pollable, Smtp};
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream;

    for pollable in [true, false] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || {
            let mut lines = BufReader::new(theirs.try_clone().unwrap()).lines();
            for reply in ["220 hi\r\n", "250 hi\r\n", "221 bye\r\n"] {
                (&theirs).write_all(reply.as_bytes()).unwrap();
                lines.next();
            }
        });
        let config = Config::new("localhost", 25).security(Security::None);
        let route = smtp_proto::Route::direct;
        if pollable {
            ours.set_nonblocking(true).unwrap();
            Smtp::over(Pollable::new(ours), &config, route()).unwrap().quit().unwrap();
        } else {
            Smtp::over(Blocking(ours), &config, route()).unwrap().quit().unwrap();
        }
        server.join().unwrap();
    }
}

#[test]
fn a_secret_echoed_after_authentication_is_not_shown() {
    use smtp_proto::sasl::{Allowed, Credentials};
    for run in ADAPTERS {
        let (address, server) = serve(|peer| {
            peer.open(&["AUTH PLAIN"]);
            let line = peer.hear();
            let response = line.strip_prefix("AUTH PLAIN ").expect("an initial response").to_owned();
            peer.say("235 welcome\r\n");
            peer.hear();
            peer.say("250 ok\r\n");
            peer.hear();
            // The password, the whole response, and the password's own base64 (of "correct horse").
            peer.say(&format!("550 no: correct horse, {response}, Y29ycmVjdCBob3JzZQ==\r\n"));
        });
        let config = config(address)
            .credentials(Credentials::password("alice", "correct horse"))
            .allowed(Allowed::all().danger_allow_clear_text());
        let (reports, _) = run(&config, &envelope(), &mut messages(&[b"hello\r\n"]));
        let Outcome::Refused(reply) = &reports[0].recipients[0].outcome else { panic!("{reports:?}") };
        assert_eq!(reply.text(), "no: ***, ***, ***==");
        server.join().unwrap();
    }
}

#[test]
fn a_secret_echoed_outside_of_a_reply_or_in_base64_is_not_shown() {
    use smtp_proto::client::{Line, Transcript};
    use smtp_proto::sasl::{Allowed, Credentials, MechanismName};
    use std::sync::{Arc, Mutex};
    // What is no reply is shown in part, and the part may end within the secret.
    for said in ["so it is correct horse", "it is said that all of them want a correct horse", "Y29ycmVjdCBob3JzZQ=="] {
        let (address, server) = serve(move |peer| {
            peer.open(&["AUTH PLAIN"]);
            peer.hear();
            peer.say(&format!("235 welcome\r\n{said}\r\n"));
            peer.wait_for_end();
        });
        let config = config(address)
            .credentials(Credentials::password("alice", "correct horse"))
            .allowed(Allowed::all().danger_allow_clear_text());
        let (_, failed) = blocking::run(&config, &envelope(), &mut messages(&[b"hello\r\n"]));
        let Some(Failed::Session(error, _)) = failed else { panic!("{failed:?}") };
        let told = error.to_string();
        assert!(told.contains("***") && !told.contains("corr") && !told.contains("Y29y"), "{told}");
        server.join().unwrap();
    }
    // A challenge that holds the token, at another place in its base64.
    let (address, server) = serve(|peer| {
        peer.open(&["AUTH XOAUTH2"]);
        peer.hear();
        peer.say("334 eyJlIjoiY29ycmVjdC1ob3JzZSJ9\r\n"); // {"e":"correct-horse"}
        assert_eq!(peer.hear(), "");
        peer.say("535 no\r\n");
        peer.wait_for_end();
    });
    let lines = Arc::new(Mutex::new(Vec::new()));
    let config = config(address)
        .credentials(Credentials::token("alice", "correct-horse"))
        .allowed(Allowed::only([MechanismName::XOAuth2]).danger_allow_clear_text())
        .transcript(Transcript::new({
            let lines = lines.clone();
            move |_, _, line: Line<'_>| {
                if let Line::Server(reply) = line {
                    lines.lock().unwrap().push(reply.to_string());
                }
            }
        }));
    let (_, failed) = blocking::run(&config, &envelope(), &mut messages(&[b"hello\r\n"]));
    let Some(Failed::Session(error, _)) = failed else { panic!("{failed:?}") };
    let Cause::Authentication(smtp_proto::AuthenticationError::Refused { detail: Some(detail), .. }) = &error.cause
    else {
        panic!("{error:?}")
    };
    assert_eq!(detail, b"{\"e\":\"***\"}");
    assert!(lines.lock().unwrap().contains(&"334 ***".to_owned()), "{lines:?}");
    server.join().unwrap();
}

fn several(bodies: &[&'static [u8]]) -> Vec<(Envelope, Box<dyn Read>)> {
    bodies.iter().map(|body| (envelope(), Box::new(*body) as Box<dyn Read>)).collect()
}

#[test]
fn messages_sent_at_once_leave_in_one_flight_behind_the_first() {
    for run in ALL {
        let (address, server) = serve(|peer| {
            peer.open(&["PIPELINING", "CHUNKING"]);
            // All of a message is there before anything is answered; all of the others, too.
            let hear = |peer: &mut Peer, size: usize| {
                assert_eq!(peer.hear(), "MAIL FROM:<alice@example.org>");
                assert_eq!(peer.hear(), "RCPT TO:<bob@example.net>");
                assert_eq!(peer.hear(), format!("BDAT {size} LAST"));
                peer.swallow(size);
            };
            hear(peer, 5);
            peer.say("250 ok\r\n250 ok\r\n250 one\r\n");
            hear(peer, 5);
            assert_eq!(peer.hear(), "RSET");
            hear(peer, 7);
            assert_eq!(peer.hear(), "RSET");
            hear(peer, 0);
            peer.say("250 ok\r\n250 ok\r\n250 two\r\n250 ok\r\n250 ok\r\n250 ok\r\n554 three\r\n250 ok\r\n");
            peer.say("250 ok\r\n250 ok\r\n250 four\r\n");
            assert_eq!(peer.hear(), "QUIT");
            peer.say("221 bye\r\n");
        });
        let mut messages = several(&[b"one\r\n", b"two\r\n", b"three\n", b""]);
        // What the server cannot carry is told in its place, and nothing of it is said.
        let eight = envelope().body(smtp_proto::client::BodyKind::EightBitMime);
        messages.insert(2, (eight, Box::new(&b"\xff"[..])));
        let (told, failed) = run(&config(address), messages);
        assert_eq!(failed, None);
        let texts: Vec<_> = told
            .iter()
            .map(|one| match one {
                Ok(report) => report.reply.as_ref().unwrap().text().into_owned(),
                Err(Failed::Misuse(Misuse::NotOffered { extension })) => (*extension).to_owned(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(texts, ["one", "two", "8BITMIME", "three", "four"]);
        assert!(told[0].as_ref().unwrap().is_accepted() && !told[3].as_ref().unwrap().is_accepted());
        server.join().unwrap();
    }
}

#[test]
fn a_message_leaves_in_one_piece_with_its_dot_and_the_next_commands() {
    for run in ALL {
        let (address, server) = serve(|peer| {
            peer.open(&["PIPELINING"]);
            let commands = "MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n";
            assert_eq!(peer.hear_piece(), commands);
            peer.say("250 ok\r\n250 ok\r\n354 go\r\n");
            assert_eq!(peer.hear_piece(), format!("one\r\n.\r\n{commands}"));
            peer.say("250 one\r\n250 ok\r\n250 ok\r\n354 go\r\n");
            assert_eq!(peer.hear_piece(), "two\r\n.\r\n");
            peer.say("250 two\r\n");
            assert_eq!(peer.hear(), "QUIT");
            peer.say("221 bye\r\n");
        });
        let (told, failed) = run(&config(address), several(&[b"one\r\n", b"two\r\n"]));
        assert_eq!(failed, None);
        assert!(told.iter().all(|one| one.as_ref().unwrap().is_accepted()));
        server.join().unwrap();
    }
}

#[test]
fn where_the_session_breaks_down_each_message_under_way_is_told() {
    for run in ALL {
        let (address, server) = serve(|peer| {
            peer.open(&["PIPELINING", "CHUNKING"]);
            for _ in 0..2 {
                for _ in 0..3 {
                    peer.hear();
                }
                peer.swallow(5);
                peer.say("250 ok\r\n250 ok\r\n250 taken\r\n");
            }
            // RSET, MAIL, RCPT, BDAT LAST, and no answer any more.
            for _ in 0..2 {
                for _ in 0..4 {
                    peer.hear();
                }
                peer.swallow(5);
            }
        });
        let (told, failed) = run(&config(address), several(&[b"one\r\n", b"two\r\n", b"thr\r\n", b"fou\r\n"]));
        assert!(matches!(failed, Some(Failed::Session(..))), "{failed:?}");
        let outcomes: Vec<_> = told.iter().map(|one| &one.as_ref().unwrap().recipients[0].outcome).collect();
        assert!(matches!(outcomes[..2], [Outcome::Accepted(_), Outcome::Accepted(_)]), "{outcomes:?}");
        assert!(outcomes[2..].iter().all(|one| **one == Outcome::Unknown), "{outcomes:?}");
        server.join().unwrap();
    }
}

#[test]
fn what_was_not_begun_when_the_session_broke_down_stays_with_the_caller() {
    for run in ALL {
        let (address, server) = serve(|peer| {
            peer.open(&["PIPELINING", "CHUNKING"]);
            (0..3).for_each(|_| drop(peer.hear()));
            peer.swallow(5);
            peer.say("250 ok\r\n250 ok\r\n250 taken\r\n");
        });
        let (told, failed) = run(&config(address), several(&[b"one\r\n".as_slice(); 5000]));
        let Some(Failed::Session(error, _)) = failed else { panic!("{failed:?}") };
        assert!(matches!(error.cause, Cause::Closed { .. }), "{error:?}");
        assert!(told.len() < 2000, "only what was under way is told: {}", told.len());
        let outcome = |one: &Result<Report, Failed>| one.as_ref().unwrap().recipients[0].outcome.clone();
        assert!(matches!(outcome(&told[0]), Outcome::Accepted(_)));
        assert!(told[1..].iter().all(|one| matches!(outcome(one), Outcome::NotSent | Outcome::Unknown)), "{told:?}");
        // Nobody to say goodbye to.
        let _ = server.join();
    }
}

#[test]
fn a_report_says_what_its_reply_answered() {
    let refusals: [(&[&str], &[&str], Option<Phase>); 6] = [
        (&[], &["550 no"], Some(phase::MAIL)),
        (&[], &["250 ok", "550 no"], None),
        (&[], &["250 ok", "250 ok", "451 no"], Some(phase::DATA)),
        (&[], &["250 ok", "250 ok", "354 go", "554 no"], Some(phase::MESSAGE)),
        (&["PIPELINING", "CHUNKING"], &["250 ok", "250 ok", "552 no"], Some(phase::BLOCK)),
        (&["PIPELINING", "CHUNKING"], &["250 ok", "250 ok", "250 ok", "250 taken"], Some(phase::MESSAGE)),
    ];
    for (offer, replies, answered) in refusals {
        let (address, server) = serve(move |peer| {
            peer.open(offer);
            for reply in replies {
                let command = peer.hear();
                if let Some(size) = command.strip_prefix("BDAT ") {
                    peer.swallow(size.trim_end_matches(" LAST").parse().unwrap());
                }
                peer.say(&format!("{reply}\r\n"));
                if reply.starts_with("354") {
                    while peer.hear() != "." {}
                    peer.say(&format!("{}\r\n", replies[3]));
                    break;
                }
            }
        });
        let mut message = Some(Box::new(io::Cursor::new(b"line\r\n".repeat(20_000))) as Box<dyn Read>);
        let (reports, _) = blocking::run(&config(address), &envelope(), &mut || message.take());
        assert_eq!(reports[0].answered, answered, "{replies:?}: {:?}", reports[0]);
        server.join().unwrap();
    }
}

/// The server's end of a connection that keeps all it hears.
struct Recorder {
    stream: io::BufReader<std::net::TcpStream>,
    heard: Vec<u8>,
}

impl Recorder {
    fn line(&mut self) -> String {
        let before = self.heard.len();
        let _ = self.stream.read_until(b'\n', &mut self.heard);
        String::from_utf8_lossy(&self.heard[before..]).trim_end().to_owned()
    }

    /// Waits for lines, then answers.
    fn answer(&mut self, lines: usize, reply: &str) {
        (0..lines).for_each(|_| drop(self.line()));
        self.stream.get_mut().write_all(reply.as_bytes()).unwrap();
    }

    fn message(&mut self, reply: &str) {
        while !matches!(self.line().as_str(), "." | "") {}
        self.answer(0, reply);
    }

    /// Waits for a chunk with its command.
    fn chunk(&mut self, reply: &str) {
        let line = self.line();
        let size = line.split(' ').nth(1).and_then(|size| size.parse().ok()).unwrap_or(0);
        let _ = Read::take(&mut self.stream, size).read_to_end(&mut self.heard);
        self.answer(0, reply);
    }

    fn open(&mut self, extensions: &str) {
        self.answer(0, "220 mx.example.org\r\n");
        self.answer(1, &format!("250-mx.example.org\r\n{extensions}250 HELP\r\n"));
    }
}

/// What a server does, and what it is sent.
struct Dialogue {
    name: &'static str,
    script: fn(&mut Recorder),
    messages: Vec<(Envelope, Vec<u8>)>,
    /// Behind the script the server is silent, for longer than this permits; otherwise it ends the connection there.
    silent: Option<fn(&mut Limits)>,
}

fn dialogues() -> Vec<Dialogue> {
    const GROUPS: &str = "250-PIPELINING\r\n";
    const FLIGHTS: &str = "250-PIPELINING\r\n250-CHUNKING\r\n250-8BITMIME\r\n250-SIZE\r\n";
    fn greeted(name: &'static str, script: fn(&mut Recorder), bodies: &[&[u8]]) -> Dialogue {
        let messages = bodies.iter().map(|body| (envelope(), body.to_vec())).collect();
        Dialogue { name, script, messages, silent: None }
    }
    let two = Envelope::new("alice@example.org", ["bob@example.net", "carol@example.net"]).unwrap();
    let sized = two.body(smtp_proto::client::BodyKind::EightBitMime).size(200_000);
    let long: Vec<u8> = (0..200_000_u32).map(|n| if n % 70 == 69 { b'\n' } else { b'a' + (n % 26) as u8 }).collect();
    vec![
        greeted(
            "DATA, one command a flight",
            |peer| {
                peer.open("");
                peer.answer(1, "250 ok\r\n");
                peer.answer(1, "250 ok\r\n");
                peer.answer(1, "354 go\r\n");
                peer.message("250 taken\r\n");
                peer.answer(1, "250 ok\r\n");
                peer.answer(1, "221 bye\r\n");
            },
            &[b".\n..two\r\n\xe4\nno end"],
        ),
        greeted(
            "DATA in groups",
            |peer| {
                peer.open(GROUPS);
                for _ in 0..3 {
                    peer.answer(3, "250 ok\r\n250 ok\r\n354 go\r\n");
                    peer.message("250 taken\r\n");
                }
            },
            &[b"one", b"", b"three\r\n"],
        ),
        Dialogue {
            messages: vec![(sized, long)],
            ..greeted(
                "BDAT in chunks",
                |peer| {
                    peer.open(FLIGHTS);
                    peer.answer(3, "");
                    peer.chunk("250 ok\r\n250 ok\r\n551 not here\r\n250 ok\r\n");
                    peer.chunk("");
                    peer.chunk("");
                    peer.chunk("250 ok\r\n250 ok\r\n250 taken\r\n");
                },
                &[],
            )
        },
        greeted(
            "refused at every command",
            |peer| {
                peer.answer(0, "220 hi\r\n");
                peer.answer(1, "502 what\r\n");
                peer.answer(1, "250 hi\r\n");
                peer.answer(1, "451 no\r\n");
                peer.answer(1, "250 ok\r\n");
                peer.answer(1, "550 5.1.1 no\r\n");
                peer.answer(1, "250 ok\r\n"); // RSET
                peer.answer(1, "250 ok\r\n");
                peer.answer(1, "250 ok\r\n");
                peer.answer(1, "554 no\r\n");
                peer.answer(1, "250 ok\r\n"); // RSET
                peer.answer(1, "250 ok\r\n");
                peer.answer(1, "250 ok\r\n");
                peer.answer(1, "354 go\r\n");
                peer.message("552 no\r\n");
            },
            &[b"one\r\n", b"two\r\n", b"three\r\n", b"four\r\n"],
        ),
        greeted("refused in the greeting", |peer| peer.answer(0, "554 not you\r\n"), &[b"one\r\n"]),
        greeted(
            "354 without a recipient",
            |peer| {
                peer.open(GROUPS);
                peer.answer(3, "250 ok\r\n550 no\r\n354 go\r\n");
                // A lone dot, RSET, and the next group.
                peer.answer(5, "554 nobody\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
                peer.message("250 taken\r\n");
            },
            &[b"one\r\n", b"two\r\n"],
        ),
        greeted(
            "421 between two messages",
            |peer| {
                peer.open(GROUPS);
                peer.answer(3, "250 ok\r\n250 ok\r\n354 go\r\n");
                peer.message("250 taken\r\n");
                peer.answer(3, "421 going down\r\n");
            },
            &[b"one\r\n", b"two\r\n"],
        ),
        greeted("cut in the greeting", |peer| peer.answer(0, "220-mx"), &[b"one\r\n"]),
        greeted(
            "cut behind MAIL",
            |peer| {
                peer.open("");
                peer.answer(1, "");
            },
            &[b"one\r\n"],
        ),
        greeted(
            "cut behind the dot, in the reply",
            |peer| {
                peer.open(GROUPS);
                peer.answer(3, "250 ok\r\n250 ok\r\n354 go\r\n");
                peer.message("250-tak");
            },
            &[b"one\r\n"],
        ),
        greeted(
            "cut behind BDAT LAST",
            |peer| {
                peer.open(FLIGHTS);
                peer.answer(2, "");
                peer.chunk("250 ok\r\n250 ok\r\n");
            },
            &[b"one\r\n"],
        ),
        greeted(
            "nonsense for a reply",
            |peer| {
                peer.open("");
                peer.answer(1, "what do you mean\r\n");
            },
            &[b"one\r\n"],
        ),
        greeted(
            "a reply that nothing asked for",
            |peer| {
                peer.open("");
                peer.answer(1, "250 ok\r\n250 and more\r\n");
            },
            &[b"one\r\n"],
        ),
        Dialogue {
            silent: Some(|limits| limits.greeting = SHORT),
            ..greeted("silent in the greeting", |peer| drop(peer.line()), &[b"one\r\n"])
        },
        Dialogue {
            silent: Some(|limits| limits.rcpt = SHORT),
            ..greeted(
                "silent behind RCPT",
                |peer| {
                    peer.open("");
                    peer.answer(1, "250 ok\r\n");
                    peer.answer(1, "");
                },
                &[b"one\r\n"],
            )
        },
        Dialogue {
            silent: Some(|limits| limits.message = SHORT),
            ..greeted(
                "silent behind the dot",
                |peer| {
                    peer.open(GROUPS);
                    peer.answer(3, "250 ok\r\n250 ok\r\n354 go\r\n");
                    peer.message("");
                },
                &[b"one\r\n"],
            )
        },
    ]
}

#[test]
fn octets_reports_and_errors_are_the_same_on_every_adapter() {
    /// Everything that can be told of a run.
    fn played(
        dialogue: &Dialogue,
        run: impl FnOnce(&Config) -> (Vec<Result<Report, Failed>>, Option<Failed>),
    ) -> (String, Vec<Result<Report, Failed>>, Option<Failed>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (script, cuts) = (dialogue.script, dialogue.silent.is_none());
        let server = std::thread::spawn(move || {
            let stream = io::BufReader::new(listener.accept().unwrap().0);
            let mut recorder = Recorder { stream, heard: Vec::new() };
            script(&mut recorder);
            if cuts {
                // One direction only: what the client says to it is heard, too.
                let _ = recorder.stream.get_ref().shutdown(std::net::Shutdown::Write);
            }
            let _ = recorder.stream.read_to_end(&mut recorder.heard);
            recorder.heard
        });
        let mut limits = Limits::interactive();
        if let Some(limit) = dialogue.silent {
            limit(&mut limits);
        }
        let (mut told, mut end) = run(&config(address).limits(limits));
        let mut causes: Vec<_> = told.iter_mut().flatten().filter_map(|report| report.cut_short.as_mut()).collect();
        if let Some(Failed::Session(error, _)) = &mut end {
            causes.push(error);
        }
        // Every clock runs on its own.
        for error in causes {
            if let Cause::TimedOut { waited, .. } = &mut error.cause {
                assert!(*waited >= SHORT, "gave up after {waited:?}");
                *waited = SHORT;
            }
        }
        (String::from_utf8_lossy(&server.join().unwrap()).into_owned(), told, end)
    }

    for dialogue in dialogues() {
        // One after the other to the first one's recipients; then all at once, each to its own.
        let one_by_one = ADAPTERS.map(|run| {
            played(&dialogue, |config| {
                let mut left = dialogue.messages.iter();
                let envelope = &dialogue.messages[0].0;
                let mut next = || left.next().map(|(_, body)| Box::new(io::Cursor::new(body.clone())) as Box<dyn Read>);
                let (reports, end) = run(config, envelope, &mut next);
                (reports.into_iter().map(Ok).collect(), end)
            })
        });
        let at_once = ALL.map(|run| {
            played(&dialogue, |config| {
                let messages = dialogue.messages.iter().cloned();
                run(config, messages.map(|(to, body)| (to, Box::new(io::Cursor::new(body)) as Box<dyn Read>)).collect())
            })
        });
        for [first, others @ ..] in [one_by_one, at_once] {
            for other in others {
                assert_eq!(other, first, "{}", dialogue.name);
            }
        }
    }
}

#[test]
fn a_command_that_turns_out_not_to_be_offered_is_the_callers_slip() {
    let (address, server) = serve(|peer| {
        peer.open(&["PIPELINING"]);
        assert_eq!(peer.hear(), "QUIT");
        peer.say("221 bye\r\n");
    });
    let stream = smtp_blocking::Pollable::tcp(std::net::TcpStream::connect(address).unwrap()).unwrap();
    let mut smtp = smtp_blocking::Smtp::begin(stream, &config(address), smtp_proto::Route::direct()).unwrap();
    // Before the session is ready nobody knows.
    let origin = smtp_proto::command::Origin::new().name("client.example.net");
    let said = smtp.command(Command::xclient(&origin).unwrap());
    assert!(matches!(said, Err(session::Error::Misuse(Misuse::NotOffered { extension: "XCLIENT" }))), "{said:?}");
    smtp.quit().unwrap();
    server.join().unwrap();
}
