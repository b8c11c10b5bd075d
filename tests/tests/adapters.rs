//! One suite for all adapters: what a socket does to them, they all answer alike.

use std::io::{self, Read};
use std::time::Duration;

use smtp_proto::body::LineEndings;
use smtp_proto::client::{Envelope, Outcome, Report};
use smtp_proto::command::Command;
use smtp_proto::session;
use smtp_proto::{Cause, Config, Limits, Misuse, Security};
use tests::script::{Peer, serve};

/// What came of an operation, in words that all adapters share.
#[derive(Debug, PartialEq)]
enum Failed {
    Resolve,
    Connect,
    Session(smtp_proto::Error),
    Message,
    Unfinished,
    Misuse(Misuse),
}

fn failed(error: session::Error<io::Error>) -> Failed {
    match error {
        session::Error::Resolve { .. } => Failed::Resolve,
        session::Error::Connect(_) => Failed::Connect,
        session::Error::Session { error, .. } => Failed::Session(error),
        session::Error::Message(_) => Failed::Message,
        session::Error::Unfinished => Failed::Unfinished,
        session::Error::Misuse(misuse) => Failed::Misuse(misuse),
        other => panic!("an error this suite does not know: {other}"),
    }
}

/// What a caller does: connect, send each message, say NOOP, quit; the reports so far, and what stopped it.
type Run = fn(&Config, &Envelope, &mut dyn FnMut() -> Option<Box<dyn Read>>) -> (Vec<Report>, Option<Failed>);

fn blocking(
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

fn tokio(
    config: &Config,
    envelope: &Envelope,
    next: &mut dyn FnMut() -> Option<Box<dyn Read>>,
) -> (Vec<Report>, Option<Failed>) {
    let mut reports = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result: Result<(), smtp_tokio::Error> = runtime.block_on(async {
        let mut smtp = smtp_tokio::connect(config).await?;
        while let Some(message) = next() {
            reports.push(smtp.send(envelope, Ready(message)).await?);
        }
        smtp.command(Command::noop()).await?;
        smtp.quit().await
    });
    (reports, result.map_err(failed).err())
}

/// A source that is always ready, for tokio.
struct Ready(Box<dyn Read>);

impl ::tokio::io::AsyncRead for Ready {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buffer: &mut ::tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        let mut chunk = vec![0; buffer.remaining()];
        let result = self.0.read(&mut chunk).map(|n| buffer.put_slice(&chunk[..n]));
        std::task::Poll::Ready(result)
    }
}

const ADAPTERS: [Run; 2] = [blocking, tokio];

fn config(address: std::net::SocketAddr) -> Config {
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
            let Some(Failed::Session(error)) = failed else { panic!("{failed:?}") };
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
        assert!(matches!(failed, Some(Failed::Session(error)) if matches!(error.cause, Cause::Closed { .. })));
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
        assert!(matches!(failed, Some(Failed::Session(_))), "{failed:?}");
        server.join().unwrap();
    }
}

#[test]
fn each_deadline_is_kept_and_named() {
    let short = Duration::from_millis(80);
    let limits = |phase: &str| {
        let mut limits = Limits::interactive();
        match phase {
            "greeting" => limits.greeting = short,
            "EHLO" => limits.ehlo = short,
            "MAIL" => limits.mail = short,
            "data block" => limits.block = short,
            _ => limits.message = short,
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
                    std::thread::sleep(short * 10);
                } else {
                    peer.hear_message();
                    peer.wait_for_end();
                }
            });
            let config = config(address).limits(limits(phase));
            let endless: &mut dyn FnMut() -> _ = &mut endless();
            let next = if phase == "data block" { endless } else { &mut messages(&[b"hello\r\n"]) };
            let (_, failed) = run(&config, &envelope(), next);
            let Some(Failed::Session(error)) = failed else { panic!("{phase}: {failed:?}") };
            assert_eq!(error.phase.name(), phase);
            let Cause::TimedOut { waited, .. } = error.cause else { panic!("{phase}: {error:?}") };
            assert!(waited >= short, "{phase}: gave up after {waited:?}");
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
            assert_eq!(failed, Some(if broken { Failed::Message } else { Failed::Misuse(Misuse::BareLineEnding) }));
            server.join().unwrap();
        }
    }
}

#[test]
fn what_cannot_be_reached_is_named() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for run in ADAPTERS {
        assert_eq!(run(&config(closed), &envelope(), &mut messages(&[])).1, Some(Failed::Connect));
        let nowhere = Config::new("no-such-host.invalid", 25);
        assert_eq!(run(&nowhere, &envelope(), &mut messages(&[])).1, Some(Failed::Resolve));
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut smtp = smtp_tokio::connect(&config(address)).await.unwrap();
        let envelope = envelope();
        let send = smtp.send(&envelope, &b"hello\r\n"[..]);
        tokio::time::timeout(Duration::from_millis(50), send).await.expect_err("nobody answers MAIL");
        let again = smtp.send(&envelope, &b"hello\r\n"[..]).await;
        assert!(matches!(again, Err(smtp_tokio::Error::Unfinished)), "{again:?}");
    });
    server.join().unwrap();
}

#[test]
fn a_stream_that_the_caller_brings_will_do() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
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

/// Sends all at once; each result as it was told.
type RunAll = fn(&Config, Vec<(Envelope, Box<dyn Read>)>) -> (Vec<Result<Report, Failed>>, Option<Failed>);

fn all_blocking(
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

fn all_tokio(
    config: &Config,
    messages: Vec<(Envelope, Box<dyn Read>)>,
) -> (Vec<Result<Report, Failed>>, Option<Failed>) {
    let mut told = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result: Result<(), smtp_tokio::Error> = runtime.block_on(async {
        let mut smtp = smtp_tokio::connect(config).await?;
        let messages = messages.into_iter().map(|(envelope, message)| (envelope, Ready(message)));
        smtp.send_all(messages, |result| told.push(result.map_err(failed))).await?;
        smtp.quit().await
    });
    (told, result.map_err(failed).err())
}

const ALL: [RunAll; 2] = [all_blocking, all_tokio];

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
        assert!(matches!(failed, Some(Failed::Session(_))), "{failed:?}");
        let outcomes: Vec<_> = told.iter().map(|one| &one.as_ref().unwrap().recipients[0].outcome).collect();
        assert!(matches!(outcomes[..2], [Outcome::Accepted(_), Outcome::Accepted(_)]), "{outcomes:?}");
        assert!(outcomes[2..].iter().all(|one| **one == Outcome::Unknown), "{outcomes:?}");
        server.join().unwrap();
    }
}
