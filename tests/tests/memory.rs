//! Whatever the peer sends, memory stays under a bound: every octet that is held is counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use proxy_proto::{Machine, Options, ProxyUrl};
use smtp_proto::client::{self, Client, Envelope, StartTls};
use smtp_proto::sasl::{Allowed, Credentials};
use smtp_proto::server::{self, Server};
use smtp_proto::{Accepted, Config, Connection, Grouping, Instant, Route, Security};

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// Counts what each thread holds.
struct Counting;

fn count(octets: isize) {
    // A thread that is ending has nothing to be counted any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + octets);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that is held at once while `run` runs, beyond what was held before.
fn most_held(run: impl FnOnce()) -> usize {
    let before = HELD.get();
    MOST.set(before);
    run();
    usize::try_from(MOST.get() - before).unwrap_or_default()
}

#[test]
fn what_is_held_is_counted() {
    let held = most_held(|| {
        drop(vec![0_u8; 5000]);
        drop(vec![0_u8; 3000]);
    });
    assert!((5000..6000).contains(&held), "{held}");
}

/// What a hostile peer might send without end.
const FILLERS: [&[u8]; 12] = [
    b"x",
    b"\xff",
    b"\0",
    b"\r\n",
    b"\n",
    b"220-x\r\n",
    b"250-AUTH PLAIN\r\n",
    b"250 ok\r\n",
    b"354 go\r\n",
    b"334 AAAA\r\n",
    b"550 no\r\n",
    b"250-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
];

const MUCH: usize = 2 * 1024 * 1024;

/// Feeds a machine until it has had enough, or much more than any bound.
fn feed<M: Machine>(machine: &mut M, beginning: &[u8], filler: &[u8]) {
    let piece = filler.repeat(4096 / filler.len());
    let mut fed = 0;
    let mut output = Vec::with_capacity(64 * 1024);
    let mut hear = |machine: &mut M, mut octets: &[u8]| {
        loop {
            match machine.receive(Instant::EPOCH, &mut octets) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return false,
            }
        }
        output.clear();
        machine.transmit(Instant::EPOCH, &mut output);
        octets.is_empty()
    };
    for line in beginning.split_inclusive(|octet| *octet == b'\n') {
        if !hear(machine, line) {
            return;
        }
    }
    while fed < MUCH && hear(machine, &piece) {
        fed += piece.len();
    }
}

/// One reply at its limit of 128 KiB is there at most four times: as it grows, as it is, as the latest, in an event.
const CLIENT: usize = 1024 * 1024;

#[test]
fn a_client_holds_one_reply_and_what_the_server_offers() {
    let beginnings: [&[u8]; 6] = [
        b"",
        b"220 mx\r\n",
        b"220 mx\r\n250-mx\r\n250 AUTH LOGIN CRAM-MD5\r\n",
        b"220 mx\r\n250 mx\r\n",
        b"220 mx\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n",
        b"220 mx\r\n250-mx\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n354 go\r\n",
    ];
    for beginning in beginnings {
        for filler in FILLERS {
            let held = most_held(|| {
                let mut config = client::Config::new("mx.example.org");
                config.starttls = StartTls::Never;
                if beginning.ends_with(b"MD5\r\n") {
                    config.credentials = Some(Credentials::password("tim", "secret"));
                    config.allowed = Allowed::all().danger_allow_clear_text();
                }
                let mut client = Client::new(config).unwrap();
                client.send(Envelope::new("a@b.example", ["c@d.example"]).unwrap(), Default::default()).unwrap();
                feed(&mut client, beginning, filler);
            });
            assert!(held < CLIENT, "{held} octets, {} then {}", beginning.escape_ascii(), filler.escape_ascii());
        }
    }
}

#[test]
fn a_connection_holds_no_more_than_its_buffers_beside() {
    for filler in FILLERS {
        let held = most_held(|| {
            let config = Config::new("mx.example.org", 25).security(Security::None);
            let mut connection = Connection::new(config, Route::direct()).unwrap();
            for _ in 0..200 {
                let wants = connection.wants(Instant::EPOCH);
                let (room, written) = (wants.read.len(), wants.write.len());
                for (to, from) in wants.read.iter_mut().zip(filler.iter().cycle()) {
                    *to = *from;
                }
                connection.sent(written);
                connection.received(room);
                while let Ok(Some(_)) = connection.poll(Instant::EPOCH) {}
            }
        });
        assert!(held < CLIENT + 100 * 1024, "{held} octets of {}", filler.escape_ascii());
    }
}

#[test]
fn a_server_holds_one_line_and_what_it_has_to_say() {
    let beginnings: [&[u8]; 5] = [
        b"",
        b"EHLO c\r\n",
        b"EHLO c\r\nAUTH PLAIN\r\n",
        b"EHLO c\r\nMAIL FROM:<a@b>\r\n",
        b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
    ];
    let own: [&[u8]; 5] = [b"RCPT TO:<c@d>\r\n", b"NOOP\r\n", b"BDAT 9999999\r\n", b"AUTH ", b"."];
    for beginning in beginnings {
        for filler in FILLERS.into_iter().chain(own) {
            let held = most_held(|| {
                let config = server::Config::new("mx.example.org").unwrap().danger_allow_clear_text_auth(true);
                let mut server = Agreeable(Server::new(config.mechanisms(["PLAIN".parse().unwrap()])));
                feed(&mut server, beginning, filler);
            });
            // One piece of content, one line, replies up to 4 KiB, and what the test itself holds.
            assert!(held < 256 * 1024, "{held} octets, {} then {}", beginning.escape_ascii(), filler.escape_ascii());
        }
    }
}

/// A server whose owner says yes.
struct Agreeable(Server);

impl Machine for Agreeable {
    type Event = server::Event;
    type Error = server::Error;

    fn receive(&mut self, now: Instant, input: &mut &[u8]) -> Result<Option<server::Event>, server::Error> {
        let event = self.0.receive(now, input);
        while let Some(decision) = self.0.decision() {
            decision.accept();
        }
        if let Some(authentication) = self.0.authentication() {
            let _ = authentication.begin(&Default::default(), [9; 24]);
        }
        if let Some(credentials) = self.0.credentials() {
            let _ = credentials.answer(smtp_proto::sasl::server::Answer::Refuse);
        }
        event
    }

    fn transmit(&mut self, now: Instant, output: &mut Vec<u8>) -> bool {
        self.0.transmit(now, output)
    }

    fn finish(&mut self) -> Result<(), server::Error> {
        self.0.finish()
    }

    fn expire(&mut self, now: Instant) -> Result<(), server::Error> {
        self.0.expire(now)
    }
}

#[test]
fn a_tunnel_holds_one_head() {
    for url in ["socks4a://p", "socks5h://alice:s3cret@p", "http://alice:s3cret@p"] {
        let url: ProxyUrl = url.parse().unwrap();
        let own: [&[u8]; 4] = [b"\x05\x00", b"\x00\x5a", b"x: y\r\n", b"HTTP/1.1 100 x\r\n\r\n"];
        for beginning in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\n"] {
            for filler in FILLERS.into_iter().chain(own) {
                let held = most_held(|| {
                    let target = "mx.example.org:25".parse().unwrap();
                    feed(&mut url.tunnel(&target, &Options::default()).unwrap(), beginning, filler);
                });
                assert!(held < 192 * 1024, "{held} octets of {}", filler.escape_ascii());
            }
        }
    }
}

/// What Postfix offers, with what most servers add.
const OFFER: &[u8] = b"250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-VRFY\r\n250-ETRN\r\n\
    250-AUTH PLAIN LOGIN\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n";

#[test]
fn an_idle_connection_holds_two_kibibytes_in_all() {
    let config = Config::new("mx.example.org", 25).security(Security::None);
    let before = HELD.get();
    let mut connection = Connection::new(config.clone(), Route::direct()).unwrap();
    let hear = |connection: &mut Connection, mut octets: &[u8]| {
        while !octets.is_empty() {
            let wants = connection.wants(Instant::EPOCH);
            let (taken, written) = (wants.read.len().min(octets.len()), wants.write.len());
            wants.read[..taken].copy_from_slice(&octets[..taken]);
            octets = &octets[taken..];
            connection.sent(written);
            connection.received(taken);
            while connection.poll(Instant::EPOCH).unwrap().is_some() {}
        }
    };
    hear(&mut connection, b"220 mx.example.org ESMTP Postfix\r\n");
    hear(&mut connection, OFFER);
    assert!(connection.is_clean());
    let idle = |connection: &mut Connection| {
        // Waiting for a word of the server's is part of being idle.
        assert!(!connection.wants(Instant::EPOCH).read.is_empty());
        size_of::<Connection>() + usize::try_from(HELD.get() - before).unwrap()
    };
    let fresh = idle(&mut connection);
    assert!(fresh <= 2048, "{fresh} octets, {} of them its own", size_of::<Connection>());

    // A message of 100 recipients, longer than any buffer.
    let to = (0..100).map(|n| format!("{n}@example.net"));
    connection.send(Envelope::new("a@example.org", to).unwrap(), Default::default()).unwrap();
    let _ = connection.wants(Instant::EPOCH);
    let message = vec![b'x'; 1024 * 1024];
    let mut left = &message[..];
    let mut pieces = 0;
    while let Some(mut body) = connection.body(Instant::EPOCH) {
        body.write(&mut left).unwrap();
        if left.is_empty() {
            body.end();
        }
        let written = connection.wants(Instant::EPOCH).write.len();
        connection.sent(written);
        pieces += 1;
        let due = connection.outstanding().len();
        hear(&mut connection, &b"250 2.0.0 Ok\r\n".repeat(due));
    }
    assert!(connection.is_clean() && pieces >= 16);
    drop(message);
    let used = idle(&mut connection);
    assert!(used <= 2048, "{used} octets");
}

/// Lets the client have what came down, and the server what goes up.
fn turn_client(client: &mut Connection, up: &mut Vec<u8>, down: &mut Vec<u8>) {
    while client.poll(Instant::EPOCH).unwrap().is_some() {}
    let wants = client.wants(Instant::EPOCH);
    up.extend_from_slice(wants.write);
    let (sent, read) = (wants.write.len(), wants.read.len().min(down.len()));
    wants.read[..read].copy_from_slice(&down[..read]);
    down.drain(..read);
    client.sent(sent);
    if read > 0 {
        client.received(read);
    }
}

/// The same of the server, which accepts whatever it is asked.
fn turn_server(server: &mut Accepted, up: &mut Vec<u8>, down: &mut Vec<u8>) {
    while server.poll(Instant::EPOCH).unwrap().is_some() {
        if let Some(decision) = server.decision() {
            decision.accept();
        }
    }
    let wants = server.wants(Instant::EPOCH);
    down.extend_from_slice(wants.write);
    let (sent, read) = (wants.write.len(), wants.read.len().min(up.len()));
    wants.read[..read].copy_from_slice(&up[..read]);
    up.drain(..read);
    server.sent(sent);
    if read > 0 {
        server.received(read);
    }
}

#[test]
fn a_large_message_over_a_slow_transport_takes_no_more_than_the_buffers() {
    let pki = tests::tls::Pki::new();
    let acceptor: Arc<dyn smtp_proto::tls::Acceptor> = Arc::new(pki.server.clone());
    let message = b"a line of text\r\n".repeat(512 * 1024);
    // Dots in each block: what is changed goes another way than what is not.
    let dotted = b"a line of text\r\n.\r\n".repeat(400 * 1024);
    for (security, grouping, message, takes) in [
        (Security::None, Grouping::Groups, &message, 40_000),
        (Security::Implicit, Grouping::Groups, &message, 40_000),
        (Security::Implicit, Grouping::Groups, &dotted, 40_000),
        (Security::Implicit, Grouping::Flights, &message, 40_000),
        (Security::None, Grouping::Groups, &message, 0),
        (Security::Implicit, Grouping::Groups, &message, 0),
        (Security::Implicit, Grouping::Groups, &dotted, 0),
        (Security::Implicit, Grouping::Flights, &message, 0),
    ] {
        let config = Config::new("localhost", 25).security(security).grouping(grouping).tls(pki.client.clone());
        let offer = server::Config::new("localhost").unwrap();
        let mut server = match security {
            Security::Implicit => Accepted::implicit(offer, acceptor.clone()).unwrap(),
            _ => Accepted::new(offer, None).unwrap(),
        };
        let mut client = Connection::new(config, Route::direct()).unwrap();
        let (mut up, mut down) = (Vec::new(), Vec::new());
        // Behind a message that shows what the server bears.
        for first in [true, false] {
            client.send(Envelope::new("a@example.org", ["b@example.net"]).unwrap(), Default::default()).unwrap();
            for _ in 0..30 {
                match client.body(Instant::EPOCH) {
                    Some(body) if first => body.end(),
                    Some(_) => break,
                    None => {}
                }
                turn_client(&mut client, &mut up, &mut down);
                turn_server(&mut server, &mut up, &mut down);
            }
        }
        let (mut left, mut sent) = (&message[..], 0);
        let held = most_held(|| {
            for turn in 0..300 {
                // Some write twice before they ask what is to be sent.
                if let Some(mut body) = client.body(Instant::EPOCH) {
                    body.write(&mut left).unwrap();
                }
                if turn % 3 == 0 {
                    continue;
                }
                // It never takes all there is.
                let written = client.wants(Instant::EPOCH).write;
                let taken = written.len().min(takes);
                up.extend_from_slice(&written[..taken]);
                client.sent(taken);
                sent += taken;
                while !up.is_empty() {
                    turn_server(&mut server, &mut up, &mut down);
                }
                turn_server(&mut server, &mut up, &mut down);
                let read = client.wants(Instant::EPOCH).read;
                read[..down.len()].copy_from_slice(&down);
                if !down.is_empty() {
                    client.received(down.len());
                    down.clear();
                }
                while client.poll(Instant::EPOCH).unwrap().is_some() {}
            }
        });
        let case = format!("{security:?} {grouping:?}, {takes} at a time: {held} octets held, {sent} sent");
        assert!(left.len() < message.len() - 50_000 && sent >= 100 * takes, "{case}");
        assert!(held < 1024 * 1024, "{case}");
    }
}

/// What an idle session under TLS is said to hold in all.
const TLS: usize = 16 * 1024;

#[test]
fn an_idle_connection_with_tls_holds_what_its_documentation_says() {
    let pki = tests::tls::Pki::new();
    let acceptor: Arc<dyn smtp_proto::tls::Acceptor> = Arc::new(pki.server.clone());
    let mut server = Accepted::implicit(server::Config::new("localhost").unwrap(), acceptor).unwrap();
    let config = Config::new("localhost", 465).security(Security::Implicit).tls(pki.forgetful_client());
    let (mut up, mut down) = (Vec::with_capacity(64 * 1024), Vec::with_capacity(64 * 1024));
    // Only what the client does is counted.
    let held = Cell::new(0);
    let mut client = counted(&held, || Connection::new(config.clone(), Route::direct()).unwrap());
    for _ in 0..20 {
        counted(&held, || turn_client(&mut client, &mut up, &mut down));
        turn_server(&mut server, &mut up, &mut down);
    }
    assert!(client.is_clean() && client.tls().is_some());
    let held = size_of::<Connection>() + usize::try_from(held.get()).unwrap();
    assert!((2048..TLS).contains(&held), "{held} octets");
}

/// Adds what `run` holds beyond its end, less what it has freed.
fn counted<T>(held: &Cell<isize>, run: impl FnOnce() -> T) -> T {
    let before = HELD.get();
    let result = run();
    held.set(held.get() + HELD.get() - before);
    result
}
