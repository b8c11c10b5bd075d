//! What the benchmarks share: messages, and two machines in memory whose time is taken apart.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use smtp_proto::body::LineEndings;
use smtp_proto::client::{Envelope, Event};
use smtp_proto::tls::Acceptor;
use smtp_proto::{Accepted, Config, Connection, Grouping, Instant, Route, Security, phase, server, tls};
use tests::tls::Pki;

/// Cargo says `--bench` where times are wanted. Without it each benchmark runs once, over little.
pub(crate) fn is_timed() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Whether a row of this name is wanted: where words are given, one that has them all.
pub(crate) fn is_wanted(name: &str) -> bool {
    std::env::args().skip(1).filter(|word| !word.starts_with("--")).all(|word| name.contains(&word))
}

/// Octets of a large message.
pub(crate) fn large() -> usize {
    if is_timed() { 64 * 1024 * 1024 } else { 256 * 1024 }
}

/// The time this thread has had of a processor, so that what else the machine does is not counted.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Duration);

impl Clock {
    pub(crate) fn now() -> Self {
        #[cfg(unix)]
        let spent = {
            let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
        };
        #[cfg(not(unix))]
        let spent = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock");
        Self(spent)
    }

    pub(crate) fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

/// Octets of one read from a file, as an adapter would do it.
pub(crate) const PIECE: usize = 64 * 1024;

/// Lines of 76 octets, as base64 is written.
pub(crate) fn base64(size: usize) -> Vec<u8> {
    let line = b"dGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVyIHRoZSBsYXp5IGRvZywgYW5kIHRoZW4gYWdh\r\n";
    assert_eq!(line.len(), 78);
    line.repeat(size / line.len())
}

/// Lines of text of different lengths, of which each hundredth begins with a dot.
pub(crate) fn dotted(size: usize) -> Vec<u8> {
    let text = b"The quick brown fox jumps over the lazy dog, and then again, until it is tired of it.";
    let mut message = Vec::with_capacity(size + 100);
    for line in 0.. {
        if message.len() >= size {
            break;
        }
        if line % 100 == 0 {
            message.push(b'.');
        }
        message.extend_from_slice(&text[..20 + line * 37 % 65]);
        message.extend_from_slice(b"\r\n");
    }
    message
}

const NOW: Instant = Instant::EPOCH;

/// A client and a server that takes everything, with nothing between them.
pub(crate) struct Pair {
    client: Connection,
    server: Accepted,
    up: Vec<u8>,
    /// What each has taken of the time.
    pub(crate) client_time: Duration,
    /// The same of the server.
    pub(crate) server_time: Duration,
}

impl Pair {
    /// A session that is ready, under TLS where there is a `pki`.
    pub(crate) fn ready(grouping: Grouping, pki: Option<&Pki>) -> Self {
        let security = if pki.is_some() { Security::Implicit } else { Security::None };
        let config = Config::new("localhost", 25).security(security).grouping(grouping);
        let limits = server::Limits { message: 1 << 30, commands: u32::MAX, ..Default::default() };
        let offer =
            server::Config::new("localhost").expect("a name").limits(limits).with("BINARYMIME").expect("a keyword");
        let (config, server) = match pki {
            Some(pki) => {
                let acceptor: Arc<dyn Acceptor> = Arc::new(pki.server.clone());
                (config.tls(pki.client.clone()), Accepted::implicit(offer, acceptor))
            }
            None => (config, Accepted::new(offer, None)),
        };
        let mut pair = Self {
            client: Connection::new(config, Route::direct()).expect("settings"),
            server: server.expect("settings"),
            up: Vec::new(),
            client_time: Duration::ZERO,
            server_time: Duration::ZERO,
        };
        pair.run(b"", |event| *event == Event::Ready, 1);
        (pair.client_time, pair.server_time) = Default::default();
        pair
    }

    /// Sends the same message so many times, all of them queued at once.
    pub(crate) fn send(&mut self, message: &[u8], count: usize) {
        let before = Clock::now();
        for _ in 0..count {
            let envelope = Envelope::new("alice@example.org", ["bob@example.net"]).expect("paths");
            self.client.send(envelope, Default::default()).expect("a session");
        }
        self.client_time += before.elapsed();
        self.run(message, |event| matches!(event, Event::Sent(report) if report.is_accepted()), count);
    }

    fn run(&mut self, message: &[u8], wanted: impl Fn(&Event) -> bool, mut count: usize) {
        let mut written = 0;
        while count > 0 {
            let before = Clock::now();
            while let Some(event) = self.client.poll(NOW).expect("a session") {
                count -= usize::from(wanted(&event));
            }
            while let Some(mut body) = self.client.body(NOW) {
                let mut piece = &message[written..message.len().min(written + PIECE)];
                let taken = body.write(&mut piece).expect("lines");
                written += taken;
                if written < message.len() && taken == 0 {
                    break;
                }
                if written == message.len() {
                    body.end();
                    written = 0;
                }
            }
            let wants = self.client.wants(NOW);
            // The transport's part.
            self.client_time += before.elapsed();
            let idle = wants.write.is_empty();
            self.up.extend_from_slice(wants.write);
            let sent = wants.write.len();
            let before = Clock::now();
            self.client.sent(sent);
            self.client_time += before.elapsed();
            let heard = self.serve();
            assert!(!idle || heard || count == 0, "nothing moves");
        }
    }

    /// Lets the server have what was said, and the client its answers; `false` where it had nothing to say or to hear.
    fn serve(&mut self) -> bool {
        let mut moved = false;
        let mut up = &self.up[..];
        loop {
            let before = Clock::now();
            let wants = self.server.wants(NOW);
            let (read, said) = (wants.read.len().min(up.len()), wants.write.len());
            wants.read[..read].copy_from_slice(&up[..read]);
            up = &up[read..];
            self.server_time += before.elapsed();
            let mut passed = 0;
            if said > 0 {
                let room = self.client.wants(NOW).read;
                passed = room.len().min(said);
                room[..passed].copy_from_slice(&wants.write[..passed]);
            }
            if passed > 0 {
                self.client.received(passed);
            }
            let before = Clock::now();
            self.server.sent(passed);
            if read > 0 {
                self.server.received(read);
            }
            while let Some(event) = self.server.poll(NOW).expect("a client") {
                drop(event);
                if let Some(decision) = self.server.decision() {
                    decision.accept();
                }
            }
            self.server_time += before.elapsed();
            moved |= read + passed > 0;
            if read == 0 || passed < said {
                break;
            }
        }
        let taken = self.up.len() - up.len();
        self.up.drain(..taken);
        moved
    }
}

/// A client under TLS that has a message to send, and a server that answers by rote: it reads nothing of the message, so that
/// nothing but the client's own work is in the caches.
pub(crate) struct Pouring {
    client: Connection,
    server: Box<dyn tls::Session>,
}

impl Pouring {
    /// A session whose message may go out now.
    pub(crate) fn ready(grouping: Grouping, endings: LineEndings, pki: &Pki) -> Self {
        let config = Config::new("localhost", 25).security(Security::Implicit).grouping(grouping);
        let client = Connection::new(config.tls(pki.client.clone()), Route::direct()).expect("settings");
        let mut pouring = Self { client, server: pki.server.accept().expect("a server") };
        while pouring.client.tls().is_none() || pouring.server.is_handshaking() {
            pouring.hear();
            pouring.tell("");
        }
        pouring.tell("220 localhost\r\n");
        let envelope = Envelope::new("alice@example.org", ["bob@example.net"]).expect("paths");
        while !pouring.client.is_clean() {
            pouring.hear();
            pouring.answer();
        }
        pouring.client.send(envelope, endings).expect("a session");
        while pouring.client.body(NOW).is_none() {
            pouring.hear();
            pouring.answer();
        }
        pouring
    }

    /// The server hears what was said until now.
    fn hear(&mut self) {
        let wants = self.client.wants(NOW);
        let (mut octets, mut plain) = (wants.write, Vec::new());
        let said = octets.len();
        self.server.open(&mut octets, &mut plain, usize::MAX).expect("a client");
        self.client.sent(said);
    }

    /// The server says this, and the client has it.
    fn tell(&mut self, replies: &str) {
        let mut octets = Vec::new();
        self.server.seal(replies.as_bytes(), &mut octets).expect("a session");
        let mut rest = &octets[..];
        loop {
            while self.client.poll(NOW).expect("a session").is_some() {}
            let room = self.client.wants(NOW).read;
            let read = room.len().min(rest.len());
            if read == 0 {
                break;
            }
            room[..read].copy_from_slice(&rest[..read]);
            rest = &rest[read..];
            self.client.received(read);
        }
    }

    /// The server answers whatever is due.
    fn answer(&mut self) {
        let replies = self.client.outstanding().map(|asked| match asked {
            phase::EHLO => "250-localhost\r\n250-PIPELINING\r\n250-BINARYMIME\r\n250 CHUNKING\r\n",
            phase::DATA => "354 Go on\r\n",
            _ => "250 2.0.0 Ok\r\n",
        });
        let replies: String = replies.collect();
        self.tell(&replies);
    }

    /// Sends a body of so many equal pieces. What the client took of the time, with what comes out thrown away; it hears the
    /// answers to chunks in a time that is not counted.
    pub(crate) fn pour(mut self, piece: &[u8], mut count: usize) -> Duration {
        let (mut spent, mut left) = (Duration::ZERO, piece);
        loop {
            let before = Clock::now();
            while let Some(mut body) = self.client.body(NOW) {
                body.write(&mut left).expect("lines");
                if left.is_empty() {
                    count -= 1;
                    left = piece;
                }
                if count == 0 {
                    body.end();
                }
                let sent = std::hint::black_box(self.client.wants(NOW).write).len();
                self.client.sent(sent);
                if count == 0 {
                    return spent + before.elapsed();
                }
                assert!(self.client.poll(NOW).expect("a session").is_none());
            }
            spent += before.elapsed();
            self.answer();
        }
    }
}

/// What must be done at least where line ends matter: each LF is found, and all is copied.
pub(crate) fn scan_and_copy(piece: &[u8], output: &mut Vec<u8>) {
    for end in memchr::memchr_iter(b'\n', piece) {
        std::hint::black_box(end);
    }
    output.extend_from_slice(piece);
}
