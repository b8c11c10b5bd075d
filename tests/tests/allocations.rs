//! In the steady state a message costs the machines no allocation, beyond the envelope that the caller made.
//!
//! The other side is a script of octets, so that only one machine is counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use smtp_proto::client::{Envelope, Event};
use smtp_proto::{Accepted, Config, Connection, Grouping, Instant, Route, Security, server};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Counts what each thread allocates, where it allocates anew and where it asks for more.
struct Counting;

fn count() {
    // A thread that is ending has nothing to be counted any more.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `run` allocates.
fn allocations(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

#[test]
fn what_is_allocated_is_counted() {
    let mut octets = Vec::new();
    assert_eq!(allocations(|| octets.push(1_u8)), 1);
    assert_eq!(allocations(|| octets.reserve(1000)), 1);
    assert_eq!(allocations(|| octets.push(2)), 0);
}

const NOW: Instant = Instant::EPOCH;

/// A server by rote, which allocates nothing: it takes everything.
struct Rote {
    /// The line under way, as far as it matters.
    line: [u8; 64],
    length: usize,
    data: bool,
    /// Octets of a chunk that are still to come.
    chunk: usize,
    replies: [u8; 64 * 1024],
    said: usize,
}

impl Rote {
    fn new() -> Self {
        Self { line: [0; 64], length: 0, data: false, chunk: 0, replies: [0; 64 * 1024], said: 0 }
    }

    fn say(&mut self, reply: &[u8]) {
        self.replies[self.said..][..reply.len()].copy_from_slice(reply);
        self.said += reply.len();
    }

    fn hear(&mut self, mut octets: &[u8]) {
        while let Some(&octet) = octets.first() {
            if self.chunk > 0 {
                let taken = self.chunk.min(octets.len());
                octets = &octets[taken..];
                self.chunk -= taken;
                continue;
            }
            octets = &octets[1..];
            if let Some(place) = self.line.get_mut(self.length) {
                *place = octet;
            }
            self.length += 1;
            if octet == b'\n' {
                let line = self.line;
                self.obey(&line[..self.length.min(64)]);
                self.length = 0;
            }
        }
    }

    fn obey(&mut self, line: &[u8]) {
        match line {
            b".\r\n" if self.data => {
                self.data = false;
                self.say(b"250 2.0.0 Ok: queued as 4ZxYvU1q2Wz9sBn\r\n");
            }
            _ if self.data => {}
            [b'D', ..] => {
                self.data = true;
                self.say(b"354 End data with <CR><LF>.<CR><LF>\r\n");
            }
            [b'B', b'D', b'A', b'T', b' ', size @ ..] => {
                let digits = size.iter().take_while(|octet| octet.is_ascii_digit());
                self.chunk = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
                self.say(b"250 2.0.0 Ok: queued as 4ZxYvU1q2Wz9sBn\r\n");
            }
            _ => self.say(b"250 2.1.5 Ok\r\n"),
        }
    }

    /// Reads out what was said.
    fn read(&mut self, room: &mut [u8]) -> usize {
        let taken = self.said.min(room.len());
        room[..taken].copy_from_slice(&self.replies[..taken]);
        self.replies.copy_within(taken..self.said, 0);
        self.said -= taken;
        taken
    }
}

/// Runs until so many messages were accepted.
fn send(connection: &mut Connection, server: &mut Rote, message: &[u8], messages: usize) {
    let (mut accepted, mut written) = (0, 0);
    loop {
        while let Some(event) = connection.poll(NOW).expect("a session") {
            if let Event::Sent(report) = event {
                assert!(report.is_accepted(), "{report:?}");
                accepted += 1;
                if accepted == messages {
                    return;
                }
            }
        }
        while let Some(mut body) = connection.body(NOW) {
            let mut left = &message[written..];
            written += body.write(&mut left).expect("lines");
            if written < message.len() {
                break;
            }
            body.end();
            written = 0;
        }
        let wants = connection.wants(NOW);
        server.hear(wants.write);
        let (read, sent) = (server.read(wants.read), wants.write.len());
        assert!(read + sent > 0, "nothing moves");
        connection.sent(sent);
        if read > 0 {
            connection.received(read);
        }
    }
}

fn ready(grouping: Grouping) -> (Connection, Rote) {
    let config = Config::new("mx.example.org", 25).security(Security::None).grouping(grouping);
    let (mut connection, mut server) = (Connection::new(config, Route::direct()).unwrap(), Rote::new());
    server.say(b"220 mx.example.org ESMTP\r\n");
    loop {
        match connection.poll(NOW).unwrap() {
            Some(Event::Ready) => return (connection, server),
            Some(_) => continue,
            None => {}
        }
        let wants = connection.wants(NOW);
        if wants.write.starts_with(b"EHLO") {
            server.say(b"250-mx.example.org\r\n250-SIZE 10240000\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
        }
        let (read, sent) = (server.read(wants.read), wants.write.len());
        connection.sent(sent);
        connection.received(read);
    }
}

fn envelopes(count: usize) -> std::vec::IntoIter<Envelope> {
    let to = ["bob@example.net", "carol@example.net", "dan@example.net"];
    let one = || Envelope::new("alice@example.org", to).unwrap().size(2048);
    (0..count).map(|_| one()).collect::<Vec<_>>().into_iter()
}

const LEVELS: [Grouping; 3] = [Grouping::OneByOne, Grouping::Groups, Grouping::Flights];

#[test]
fn messages_one_after_the_other_allocate_nothing() {
    for grouping in LEVELS {
        // One that fits in a chunk, and one that takes many.
        for (size, count) in [(2 * 1024, 100), (300 * 1024, 10)] {
            let message = b"Somebody once told me a line of text.\r\n.\r\n".repeat(size / 42);
            let (mut connection, mut server) = ready(grouping);
            let mut envelopes = envelopes(2 * count);
            for envelope in envelopes.by_ref().take(count) {
                connection.send(envelope, Default::default()).unwrap();
                send(&mut connection, &mut server, &message, 1);
            }
            let allocated = allocations(|| {
                for envelope in envelopes {
                    connection.send(envelope, Default::default()).unwrap();
                    send(&mut connection, &mut server, &message, 1);
                }
            });
            assert_eq!(allocated, 0, "{grouping:?}, {size} octets");
        }
    }
}

#[test]
fn messages_one_behind_the_other_allocate_nothing() {
    for grouping in LEVELS {
        let message = b"Somebody once told me a line of text.\r\n.\r\n".repeat(50);
        let (mut connection, mut server) = ready(grouping);
        let mut run = |count| {
            let envelopes = envelopes(count);
            allocations(|| {
                for envelope in envelopes {
                    connection.send(envelope, Default::default()).unwrap();
                }
                send(&mut connection, &mut server, &message, count);
            })
        };
        run(100);
        run(100);
        assert_eq!(run(100), 0, "{grouping:?}");
    }
}

#[test]
fn a_message_after_a_rest_allocates_what_was_given_back() {
    for grouping in LEVELS {
        let message = b"Somebody once told me a line of text.\r\n.\r\n".repeat(50);
        let (mut connection, mut server) = ready(grouping);
        for (sent, envelope) in envelopes(20).enumerate() {
            // A poll that finds nothing to do is what a rest looks like.
            assert!(connection.poll(NOW).unwrap().is_none());
            let allocated = allocations(|| {
                connection.send(envelope, Default::default()).unwrap();
                send(&mut connection, &mut server, &message, 1);
            });
            // Buffers grow to their size, and two queues and a block of replies are there once more.
            assert!(sent == 0 || allocated <= 24, "{grouping:?}: {allocated}");
        }
    }
}

#[test]
fn a_server_allocates_for_what_it_hands_to_its_owner() {
    let config = server::Config::new("mx.example.org").unwrap();
    let mut server = Accepted::new(config, None).unwrap();
    let content = b"Somebody once told me a line of text.\r\n".repeat(50);
    let data = [
        &b"MAIL FROM:<alice@example.org> SIZE=2048\r\nRCPT TO:<bob@example.net>\r\nRCPT TO:<carol@example.net>\r\nDATA\r\n"[..],
        &content,
        b".\r\n",
    ];
    let data = data.concat();
    let mut hear = |mut octets: &[u8]| {
        let mut complete = 0;
        loop {
            while let Some(event) = server.poll(NOW).unwrap() {
                complete += usize::from(matches!(event, server::Event::Content { last: true, .. }));
                if let Some(decision) = server.decision() {
                    decision.accept();
                }
            }
            let wants = server.wants(NOW);
            let (read, said) = (wants.read.len().min(octets.len()), wants.write.len());
            if read == 0 && said == 0 {
                return complete;
            }
            wants.read[..read].copy_from_slice(&octets[..read]);
            octets = &octets[read..];
            server.sent(said);
            if read > 0 {
                server.received(read);
            }
        }
    };
    hear(b"EHLO c\r\n");
    for _ in 0..10 {
        assert_eq!(hear(&data), 1);
    }
    let allocated = allocations(|| assert_eq!((0..100).map(|_| hear(&data)).sum::<usize>(), 100));
    // Three paths, typed parameters, and the content in pieces are the owner's; the questions about them are not free either.
    assert!(allocated <= 100 * 22, "{allocated} for 100 messages");
}
