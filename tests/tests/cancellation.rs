//! Operations that are left in their middle: a future dropped after its k-th poll for every k, a blocked call that another
//! thread ends. Either the next operation has its own outcome, or it says that it cannot be begun.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use smtp_proto::client::{Envelope, Outcome, Report};
use smtp_proto::command::Command;
use smtp_proto::session::{self, Once, Session, Step, Task};
use smtp_proto::{Cause, Config, Instant, Misuse, Route, Security};
use tests::script::{Peer, serve};

/// A server in memory. Each of its replies has a number, and says what it answers.
#[derive(Default)]
struct Server {
    chunking: bool,
    heard: Vec<u8>,
    /// To be read by the client.
    said: VecDeque<u8>,
    replies: usize,
    message: Option<Vec<u8>>,
    delivered: Vec<String>,
    /// Octets that the client has written.
    taken: usize,
}

impl Server {
    fn say(&mut self, code: &str, text: &str) {
        self.replies += 1;
        self.said.extend(format!("{code} {}: {text}\r\n", self.replies).bytes());
    }

    fn hear(&mut self, octets: &[u8]) {
        self.taken += octets.len();
        self.heard.extend(octets);
        loop {
            if let Some(message) = &mut self.message {
                let Some(end) = position(&self.heard, b"\r\n.\r\n") else { return };
                message.extend(self.heard.drain(..end + 5));
                message.truncate(message.len() - 3);
                let message = self.message.take().unwrap_or_default();
                self.deliver(message);
                continue;
            }
            let Some(end) = position(&self.heard, b"\r\n") else { return };
            let line = String::from_utf8(self.heard[..end].to_vec()).expect("commands in ASCII");
            if let Some(size) = line.strip_prefix("BDAT ") {
                let size: usize = size.trim_end_matches(" LAST").parse().expect("a size");
                if self.heard.len() < end + 2 + size {
                    return;
                }
                let message = self.heard.drain(..end + 2 + size).skip(end + 2).collect();
                self.deliver(message);
                continue;
            }
            self.heard.drain(..end + 2);
            match line.as_str() {
                "DATA" => {
                    self.message = Some(Vec::new());
                    self.say("354", "DATA");
                }
                "QUIT" => self.say("221", "QUIT"),
                line if line.starts_with("EHLO") => {
                    let chunking = if self.chunking { "250-PIPELINING\r\n250-CHUNKING\r\n" } else { "" };
                    self.said.extend(format!("250-here\r\n{chunking}").bytes());
                    self.say("250", "HELP");
                }
                line => self.say("250", line),
            }
        }
    }

    fn deliver(&mut self, message: Vec<u8>) {
        let message = String::from_utf8(message).expect("a message in ASCII");
        self.say("250", &format!("took {}", message.trim_end()));
        self.delivered.push(message);
    }
}

fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The client's end: it moves a few octets at a time, and is not ready every other time it is asked.
#[derive(Clone)]
struct Drip {
    server: Arc<Mutex<Server>>,
    step: usize,
    /// Whether it was asked before: reading, writing.
    asked: [bool; 2],
}

impl Drip {
    fn is_ready(&mut self, way: usize, cx: &mut Context<'_>) -> bool {
        self.asked[way] = !self.asked[way];
        if self.asked[way] {
            cx.waker().wake_by_ref();
        }
        !self.asked[way]
    }

    fn read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let server = Arc::clone(&self.server);
        let mut server = server.lock().unwrap();
        if server.said.is_empty() || !self.is_ready(0, cx) {
            return Poll::Pending;
        }
        let n = self.step.min(into.len()).min(server.said.len());
        into.iter_mut().zip(server.said.drain(..n)).for_each(|(into, octet)| *into = octet);
        Poll::Ready(Ok(n))
    }

    fn write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        if !self.is_ready(1, cx) {
            return Poll::Pending;
        }
        let n = self.step.min(octets.len());
        self.server.lock().unwrap().hear(&octets[..n]);
        // The answer may be there by now, and whoever writes waits for it, too.
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(n))
    }
}

/// A message that comes a few octets at a time, and is not ready every other time it is asked.
struct Slow(&'static [u8], bool);

impl Slow {
    fn read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.1 = !self.1;
        if self.1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let n = self.0.len().min(into.len()).min(7);
        into[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Poll::Ready(Ok(n))
    }
}

macro_rules! streams {
    ($read:ty) => {
        impl tokio::io::AsyncRead for $read {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let mut into = vec![0; buffer.remaining()];
                self.read(cx, &mut into).map_ok(|n| buffer.put_slice(&into[..n]))
            }
        }

        impl smol::io::AsyncRead for $read {
            fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
                self.read(cx, into)
            }
        }
    };
    ($trait:path, $close:ident) => {
        impl $trait for Drip {
            fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
                self.write(cx, octets)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                if self.is_ready(1, cx) { Poll::Ready(Ok(())) } else { Poll::Pending }
            }

            fn $close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_flush(cx)
            }
        }
    };
}

streams!(Drip);
streams!(Slow);
streams!(tokio::io::AsyncWrite, poll_shutdown);
streams!(smol::io::AsyncWrite, poll_close);

/// Counts how often it is woken: a future that is pending and was not woken would sleep for ever.
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls a future at most so many times, and drops it.
fn poll_times<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let waker = Waker::from(woken.clone());
    let mut future = pin!(future);
    for _ in 0..times {
        let before = woken.0.load(Ordering::Relaxed);
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => return Some(outcome),
            Poll::Pending => assert!(woken.0.load(Ordering::Relaxed) > before, "asleep for ever"),
        }
    }
    None
}

fn finish<T>(future: impl Future<Output = T>) -> T {
    poll_times(100_000, future).expect("an end")
}

/// What is left in its middle.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Left {
    Ready,
    SendAtOnce,
    Send,
    SendAll,
    Command,
}

const FIRST: &[u8] = b"first of all\r\n";

fn envelope(to: &str) -> Envelope {
    Envelope::new("alice@example.org", [format!("{to}@example.net")]).unwrap()
}

/// The report tells of this message, and of no other.
fn assert_own(report: &Report, name: &str) {
    assert!(report.is_accepted(), "{report:?}");
    let recipient = &report.recipients[0];
    let rcpt = recipient.rcpt.as_ref().unwrap().text().into_owned();
    assert!(rcpt.ends_with(&format!("RCPT TO:<{name}@example.net>")), "{rcpt}");
    let Outcome::Accepted(reply) = &recipient.outcome else { panic!("{report:?}") };
    assert!(reply.text().ends_with(&format!("took {name} of all")), "{report:?}");
}

/// What was seen over all polls: how often the session went on, how often it refused to.
#[derive(Default, Debug)]
struct Seen {
    went_on: usize,
    refused: usize,
    refused_before_a_word: usize,
}

macro_rules! dropped_after_each_poll {
    ($name:ident, $begin:expr, $enter:expr) => {
        mod $name {
            use super::*;

            fn every_poll(left: Left, chunking: bool, step: usize, asks_ready: bool) -> Seen {
                let mut seen = Seen::default();
                let config = Config::new("localhost", 25).security(Security::None).on_platform();
                for polls in 0.. {
                    let server = Arc::new(Mutex::new(Server { chunking, ..Server::default() }));
                    server.lock().unwrap().say("220", "here");
                    let drip = Drip { server: server.clone(), step, asked: [false; 2] };
                    let mut smtp = $begin(drip, &config).unwrap();
                    if !matches!(left, Left::Ready | Left::SendAtOnce) {
                        finish(smtp.ready()).unwrap();
                    }
                    let before = server.lock().unwrap().taken;
                    let ended = match left {
                        Left::Ready => poll_times(polls, smtp.ready()).map(Result::unwrap),
                        Left::SendAtOnce | Left::Send => {
                            let envelope = envelope("first");
                            poll_times(polls, smtp.send(&envelope, Slow(FIRST, false))).map(|sent| drop(sent.unwrap()))
                        }
                        Left::SendAll => {
                            let messages =
                                [("first", FIRST), ("third", b"third of all\r\n"), ("fourth", b"fourth of all")];
                            let messages = messages.map(|(name, message)| (envelope(name), Slow(message, false)));
                            let told = |sent: Result<Report, _>| assert!(sent.unwrap().is_accepted());
                            poll_times(polls, smtp.send_all(messages, told)).map(Result::unwrap)
                        }
                        Left::Command => poll_times(polls, smtp.command(Command::vrfy("first").unwrap()))
                            .map(|reply| assert!(reply.unwrap().text().ends_with("VRFY first"))),
                    };
                    let spoke = server.lock().unwrap().taken > before;
                    if asks_ready {
                        finish(smtp.ready()).unwrap();
                    }
                    let second = envelope("second");
                    match finish(smtp.send(&second, Slow(b"second of all", false))) {
                        Ok(report) => {
                            assert_own(&report, "second");
                            let reply = finish(smtp.command(Command::vrfy("third").unwrap())).unwrap();
                            assert!(reply.text().ends_with("VRFY third"), "{reply:?}");
                            let second = envelope("second");
                            let again = finish(smtp.send(&second, &b"second of all, again"[..])).unwrap();
                            assert!(again.reply.unwrap().text().ends_with("took second of all, again"));
                            finish(smtp.quit()).unwrap();
                            let server = server.lock().unwrap();
                            let at = server.delivered.iter().position(|one| one == "second of all\r\n").unwrap();
                            let all = ["first of all\r\n", "third of all\r\n", "fourth of all\r\n"];
                            assert!(server.delivered[..at].iter().eq(all[..at].iter()), "{:?}", server.delivered);
                            assert_eq!(server.delivered[at + 1..], ["second of all, again\r\n"]);
                            seen.went_on += 1;
                        }
                        Err(session::Error::Unfinished) => {
                            assert_eq!(ended, None, "nothing was left");
                            // It stays so, whatever is asked for.
                            let again = finish(smtp.send(&second, &b"second"[..]));
                            assert!(matches!(again, Err(session::Error::Unfinished)), "{again:?}");
                            let command = finish(smtp.command(Command::noop()));
                            assert!(matches!(command, Err(session::Error::Unfinished)), "{command:?}");
                            seen.refused += 1;
                            seen.refused_before_a_word += usize::from(!spoke);
                        }
                        Err(other) => panic!("{left:?} after {polls} polls: {other}"),
                    }
                    if ended.is_some() {
                        break;
                    }
                }
                seen
            }

            #[test]
            fn the_next_operation_has_its_own_outcome_or_none() {
                $enter(|| {
                    for left in [Left::Ready, Left::SendAtOnce, Left::Send, Left::SendAll, Left::Command] {
                        for (chunking, step, asks_ready) in
                            [(false, 5, false), (true, 5, true), (false, 64, true), (true, 64, false), (true, 1, false)]
                        {
                            let seen = every_poll(left, chunking, step, asks_ready);
                            let case = format!("{left:?} {chunking} {step} {asks_ready}: {seen:?}");
                            assert!(seen.went_on > if step < 10 { 3 } else { 1 }, "{case}");
                            let message = matches!(left, Left::SendAtOnce | Left::Send | Left::SendAll);
                            assert_eq!(seen.refused > 0, message, "{case}");
                        }
                    }
                });
            }

            #[test]
            fn quit_dropped_is_a_stream_dropped() {
                $enter(|| {
                    let config = Config::new("localhost", 25).security(Security::None).on_platform();
                    for polls in 0.. {
                        let server = Arc::new(Mutex::new(Server::default()));
                        server.lock().unwrap().say("220", "here");
                        let drip = Drip { server: server.clone(), step: 2, asked: [false; 2] };
                        let mut smtp = $begin(drip, &config).unwrap();
                        finish(smtp.ready()).unwrap();
                        let ended = poll_times(polls, smtp.quit());
                        assert_eq!(Arc::strong_count(&server), 1, "the stream lives on");
                        if let Some(ended) = ended {
                            ended.unwrap();
                            assert!(polls > 4 && server.lock().unwrap().heard.is_empty());
                            return;
                        }
                    }
                });
            }
        }
    };
}

dropped_after_each_poll!(
    on_tokio,
    |drip, config| smtp_tokio::Smtp::begin(drip, config, Route::direct()),
    |test: fn()| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _guard = runtime.enter();
        test();
    }
);
dropped_after_each_poll!(
    on_futures_io,
    |drip, config| {
        let timer = |_: Duration| std::future::pending();
        smtp_async_std::Smtp::begin(drip, timer, config, Route::direct())
    },
    |test: fn()| test()
);

/// Runs a task against a server in memory until its outcome, or at most so many turns.
fn run<'m, T: Task<io::Error, From = &'m [u8]>>(
    session: &mut Session<io::Error>,
    server: &mut Server,
    task: &mut T,
    turns: usize,
) -> Option<T::Outcome> {
    for _ in 0..turns {
        match session.step(Instant::EPOCH, task) {
            Step::Done(outcome) => return Some(outcome),
            Step::Failed(error) => panic!("{error}"),
            Step::Turn(Some(source)) => {
                let (from, into) = source.fetch();
                let n = io::Read::read(from, into);
                source.fetched(n);
            }
            Step::Turn(None) => {
                let turn = session.turn(Instant::EPOCH);
                // A reply a turn: what is left behind has replies that were not read yet.
                let line = server.said.iter().position(|octet| *octet == b'\n').map_or(0, |end| end + 1);
                let (wrote, said) = (turn.write.len(), line.min(turn.read.len()));
                server.hear(turn.write);
                turn.read.iter_mut().zip(server.said.drain(..said)).for_each(|(into, octet)| *into = octet);
                for (n, did) in [(wrote, session::Did::Wrote(Ok(wrote))), (said, session::Did::Read(Ok(said)))] {
                    if n > 0 {
                        session.did(did);
                    }
                }
                session.did(session::Did::Flushed(Ok(())));
            }
        }
    }
    None
}

#[test]
fn what_was_not_begun_is_withdrawn() {
    let config = Config::new("localhost", 25).security(Security::None);
    let mut session = Session::new(&config, Route::direct()).unwrap();
    let mut server = Server::default();
    server.say("220", "here");
    let now = Instant::EPOCH;
    let mut ready = session.ready();
    run(&mut session, &mut server, &mut ready, 100).unwrap();
    // Asked for, and not even looked at.
    session.command(now, Command::vrfy("never").unwrap()).unwrap();
    session.quit(now).unwrap();
    let mut sent = session.send(now, envelope("second"), Once::new(&b"second of all"[..])).unwrap();
    let report = run(&mut session, &mut server, &mut sent, 100).unwrap().unwrap();
    assert_own(&report, "second");
    // A QUIT that was not said binds nobody; one that was said does.
    session.quit(now).unwrap();
    session.command(now, Command::noop()).unwrap();
    let mut quit = session.quit(now).unwrap();
    assert_eq!(run(&mut session, &mut server, &mut quit, 1), None);
    let late = session.command(now, Command::noop());
    assert!(matches!(late, Err(session::Error::Misuse(Misuse::NotOpen))), "{late:?}");
}

#[test]
fn messages_left_between_two_reports_are_not_taken_for_the_next() {
    let config = Config::new("localhost", 25).security(Security::None);
    let mut session = Session::new(&config, Route::direct()).unwrap();
    let mut server = Server { chunking: true, ..Server::default() };
    server.say("220", "here");
    let now = Instant::EPOCH;
    let messages =
        ["first of all", "third of all", "fourth of all"].map(|one| (envelope(&one[..5]), Once::new(one.as_bytes())));
    let mut all = session.send_all(now, messages).unwrap();
    for name in ["first", "third"] {
        let report = run(&mut session, &mut server, &mut all, 100).unwrap().unwrap().unwrap();
        assert_own(&report, name);
    }
    drop(all);
    let mut sent = session.send(now, envelope("second"), Once::new(&b"second of all"[..])).unwrap();
    let report = run(&mut session, &mut server, &mut sent, 100).unwrap().unwrap();
    assert_own(&report, "second");
}

/// A blocked call, ended from another thread once the server says that it is where it should be: what it came to, and what
/// the next one says.
fn shut_down<T: Send>(
    script: impl FnOnce(&mut Peer, &dyn Fn()) + Send + 'static,
    ready: bool,
    call: impl FnOnce(&mut smtp_blocking::Smtp) -> T + Send,
) -> (T, smtp_blocking::Error) {
    let (there, reached) = mpsc::channel();
    let (address, server) = serve(move |peer| {
        script(peer, &|| there.send(()).unwrap());
        peer.wait_for_end();
    });
    let config = Config::new("localhost", address.port()).security(Security::None).helo("client.example.org");
    let stream = smtp_blocking::Pollable::tcp(std::net::TcpStream::connect(address).unwrap()).unwrap();
    let mut smtp = smtp_blocking::Smtp::begin(stream, &config, Route::direct()).unwrap();
    let handle = smtp.shutdown_handle().unwrap();
    if ready {
        smtp.ready().unwrap();
    }
    let (called, next) = thread::scope(|scope| {
        let calling = scope.spawn(move || {
            let called = call(&mut smtp);
            let next = smtp.command(Command::noop()).expect_err("the session is over");
            (called, next)
        });
        reached.recv().unwrap();
        handle.shut_down().unwrap();
        calling.join().unwrap()
    });
    server.join().unwrap();
    (called, next)
}

fn is_closed(error: &smtp_blocking::Error, phase: &str) -> bool {
    matches!(error, session::Error::Session { error, .. }
        if matches!(error.cause, Cause::Closed { .. }) && error.phase.name() == phase)
}

#[test]
fn another_thread_ends_a_call_that_waits_for_the_greeting() {
    let (ready, next) = shut_down(|_, there| there(), false, smtp_blocking::Smtp::ready);
    assert!(is_closed(&ready.unwrap_err(), "greeting"));
    assert!(is_closed(&next, "greeting"));
}

#[test]
fn another_thread_ends_a_call_that_waits_for_a_reply_and_the_outcome_is_unknown_behind_the_dot_only() {
    for (last, outcome, phase) in [("MAIL", Outcome::NotSent, "MAIL"), (".", Outcome::Unknown, "final dot")] {
        let script = move |peer: &mut Peer, there: &dyn Fn()| {
            peer.open(&[]);
            for code in ["250", "250", "354"] {
                peer.hear();
                if last == "MAIL" {
                    return there();
                }
                peer.say(&format!("{code} go on\r\n"));
            }
            peer.hear_message();
            there();
        };
        let (report, next) = shut_down(script, true, |smtp| smtp.send(&envelope("first"), FIRST));
        let report = report.unwrap();
        assert_eq!(report.recipients[0].outcome, outcome);
        assert!(report.cut_short.is_some_and(|why| matches!(why.cause, Cause::Closed { .. })));
        assert!(is_closed(&next, phase), "{next}");
    }
}

#[test]
fn another_thread_ends_a_call_that_cannot_write() {
    let script = |peer: &mut Peer, there: &dyn Fn()| {
        peer.open(&[]);
        for code in ["250", "250", "354"] {
            peer.hear();
            peer.say(&format!("{code} go on\r\n"));
        }
        // What follows is not read until the client has gone; most of it finds no room on the way.
        there();
        thread::sleep(Duration::from_millis(200));
    };
    let (report, _) = shut_down(script, true, |smtp| smtp.send(&envelope("first"), io::repeat(b'x')));
    assert_eq!(report.unwrap().recipients[0].outcome, Outcome::NotSent);
}
