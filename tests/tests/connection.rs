//! The connection keeps the laws, too: at every cut, through proxies and sessions, whatever its owner does.

use std::time::Duration;

use proptest::prelude::*;
use proxy_proto::{Hop, Options, ProxyUrl};
use smtp_proto::client::Envelope;
use smtp_proto::command::Command;
use smtp_proto::{Cause, Config, Connection, Error, Instant, Misuse, Route, Security, tls};
use tests::dialogue::{describe, describe_error};
use tests::fuzz;
use tests::transparent::Transparent;

fn config(security: Security) -> Config {
    Config::new("mx.example.org", 25).security(security).tls(Transparent).helo("client.example.org")
}

/// A connection whose server's octets are given in pieces.
struct Heard {
    connection: Connection,
    now: Instant,
    said: Vec<u8>,
    told: Vec<String>,
}

impl Heard {
    fn new(config: Config, route: Route) -> Self {
        let connection = Connection::new(config, route).unwrap();
        Self { connection, now: Instant::from_epoch(Duration::from_secs(1)), said: Vec::new(), told: Vec::new() }
    }

    fn poll(&mut self) -> Result<(), Error> {
        while let Some(event) = self.connection.poll(self.now)? {
            self.told.push(describe(&event));
        }
        Ok(())
    }

    fn speak(&mut self) {
        while let Some(body) = self.connection.body(self.now) {
            body.end();
        }
        let written = self.connection.wants(self.now).write.to_vec();
        self.connection.sent(written.len());
        self.said.extend(written);
    }

    /// Hears the turns, each in pieces, and speaks only between turns; what it failed with, for good.
    fn hear(&mut self, turns: &[&[u8]], cut: usize) -> Option<Error> {
        let _ = self.poll();
        self.speak();
        for turn in turns {
            for piece in [&turn[..cut.min(turn.len())], &turn[cut.min(turn.len())..]] {
                if piece.is_empty() {
                    continue;
                }
                self.connection.wants(self.now).read[..piece.len()].copy_from_slice(piece);
                self.connection.received(piece.len());
                if let Err(error) = self.poll() {
                    self.speak();
                    for _ in 0..3 {
                        assert_eq!(self.connection.poll(self.now).as_ref(), Err(&error));
                    }
                    assert_eq!(self.connection.wants(self.now).deadline, None);
                    self.told.push(describe_error(&error));
                    return Some(error);
                }
            }
            self.speak();
        }
        None
    }
}

fn same_at_every_cut(make: impl Fn() -> Heard, turns: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let longest = turns.iter().map(|turn| turn.len()).max().unwrap_or_default();
    let mut whole = make();
    whole.hear(turns, usize::MAX);
    for cut in 1..longest {
        let mut heard = make();
        heard.hear(turns, cut);
        assert_eq!(heard.told, whole.told, "cut at {cut}");
        assert_eq!(heard.said.escape_ascii().to_string(), whole.said.escape_ascii().to_string(), "cut at {cut}");
    }
    (whole.told, whole.said)
}

const SESSION: [&str; 7] = [
    "220-mx.example.org\r\n220 ready\r\n",
    "250-mx.example.org\r\n250 8BITMIME\r\n",
    "250 ok\r\n",
    "250 ok\r\n",
    "354 go\r\n",
    "250 queued\r\n",
    "221 bye\r\n",
];

const SAID: &[u8] =
    b"EHLO client.example.org\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n.\r\nQUIT\r\n";

fn wish(mut heard: Heard) -> Heard {
    let envelope = Envelope::new("a@example.org", ["b@example.net"]).unwrap();
    heard.connection.send(envelope, Default::default()).unwrap();
    heard.connection.quit().unwrap();
    heard
}

#[test]
fn a_session_is_the_same_at_every_cut_in_clear_and_secured() {
    let told = ["greeted 220", "ready", "mail 250", "recipient 0 250", "sent accepted 250", "closed 221"];
    let turns: Vec<&[u8]> = SESSION.iter().map(|turn| turn.as_bytes()).collect();
    let (events, said) = same_at_every_cut(|| wish(Heard::new(config(Security::None), Route::direct())), &turns);
    assert_eq!((events, said.as_slice()), (told.map(String::from).to_vec(), SAID));
    // Secured: the hello, the session, the goodbye; the server's hello and greeting in one read or in two.
    let greeting = [b"\x16".as_slice(), turns[0]].concat();
    let mut secured = turns.clone();
    secured[0] = &greeting;
    for security in [Security::Implicit, Security::Auto] {
        let port = if security == Security::Auto { 465 } else { 25 };
        let make = || {
            let config = Config::new("mx.example.org", port).security(security).tls(Transparent);
            wish(Heard::new(config.helo("client.example.org"), Route::direct()))
        };
        let (events, said) = same_at_every_cut(make, &secured);
        assert_eq!(events[0], "secured");
        assert_eq!(&events[1..], told);
        assert_eq!(said, [b"\x16", SAID, b"\x15"].concat());
    }
    let mut starttls: Vec<&[u8]> = vec![turns[0], b"250-mx\r\n250 STARTTLS\r\n", b"220 go\r\n", b"\x16"];
    starttls.extend(&turns[1..]);
    let (events, _) = same_at_every_cut(|| wish(Heard::new(config(Security::StartTls), Route::direct())), &starttls);
    assert_eq!(events[..4], ["greeted 220", "offered 250", "secured", "ready"]);
    assert_eq!(events.last().unwrap(), "closed 221");
}

#[test]
fn a_session_through_proxies_is_the_same_at_every_cut() {
    let hop = |number| Hop::named(number, "p");
    let target = "mx.example.org:25".parse().unwrap();
    let tunnel = |url: &str| url.parse::<ProxyUrl>().unwrap().tunnel(&target, &Options::default()).unwrap();
    let make = || {
        let route = Route::direct().tls(hop(1), "p").tunnel(hop(1), tunnel("http://p"));
        wish(Heard::new(config(Security::Implicit), route.tunnel(hop(2), tunnel("socks5h://p"))))
    };
    // TLS to the first proxy, its tunnel, the second's, TLS to the server within; what belongs to the next step comes along.
    // Octets of the inner session that are marks of the outer one are escaped by it: there is none but the goodbye.
    let mut turns: Vec<Vec<u8>> = vec![
        b"\x16".to_vec(),
        b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec(),
        b"\x05\x00".to_vec(),
        b"\x05\x00\x00\x01\0\0\0\0\0\0".to_vec(),
        [b"\x16".as_slice(), SESSION[0].as_bytes()].concat(),
    ];
    turns.extend(SESSION[1..].iter().map(|turn| turn.as_bytes().to_vec()));
    let turns: Vec<&[u8]> = turns.iter().map(Vec::as_slice).collect();
    let (events, said) = same_at_every_cut(make, &turns);
    assert_eq!((events[0].as_str(), events.last().unwrap().as_str()), ("secured", "closed 221"));
    assert!(said.starts_with(b"\x16CONNECT mx.example.org:25 HTTP/1.1\r\n"), "{}", said.escape_ascii());
    // In clear a greeting may come glued to the proxy's reply.
    let make = || wish(Heard::new(config(Security::None), Route::direct().tunnel(hop(1), tunnel("http://p"))));
    let glued = [b"HTTP/1.1 200 OK\r\n\r\n", SESSION[0].as_bytes()].concat();
    let mut turns: Vec<&[u8]> = vec![&glued];
    turns.extend(SESSION[1..].iter().map(|turn| turn.as_bytes()));
    let (events, said) = same_at_every_cut(make, &turns);
    assert_eq!((events[0].as_str(), events.last().unwrap().as_str()), ("greeted 220", "closed 221"));
    assert!(said.ends_with(SAID));
}

#[test]
fn what_comes_in_clear_behind_the_reply_to_starttls_is_injected_before_any_octet_of_the_handshake() {
    let before: [&[u8]; 2] = [b"220 mx\r\n", b"250-mx\r\n250 STARTTLS\r\n"];
    let clear = "EHLO client.example.org\\r\\nSTARTTLS\\r\\n";
    for extra in [&b"250 mx\r\n"[..], b"\n", b"2", b"\x00\x16", b"\x16", b"\x16250 mx\r\n", b"\x15"] {
        let turn = [b"220 go\r\n", extra].concat();
        let turns = [before[0], before[1], &turn];
        // Wherever it is cut, as long as one octet comes with the reply.
        for cut in (1..8).chain(9..=turn.len()) {
            let mut heard = Heard::new(config(Security::StartTls), Route::direct());
            let error = heard.hear(&turns, cut).expect("a failure");
            assert_eq!((error.phase.name(), error.cause), ("STARTTLS", Cause::Injected), "cut at {cut}");
            assert_eq!(heard.said.escape_ascii().to_string(), clear);
            assert!(heard.connection.tls().is_none());
        }
        // Behind the reply and before our hello: nobody can have answered that yet, but only what is no TLS is known for it.
        let mut heard = Heard::new(config(Security::StartTls), Route::direct());
        let failure = heard.hear(&turns, 8);
        if !matches!(extra[0], 0x14..=0x17) {
            assert_eq!(failure.expect("a failure").cause, Cause::Injected);
        }
    }
}

#[test]
fn a_second_greeting_is_refused_at_every_cut() {
    let turn = b"220 mx\r\n220 mx again\r\n";
    for security in [Security::None, Security::StartTls, Security::StartTlsIfOffered] {
        // But behind the first greeting itself: there EHLO is said before the rest comes, and that is taken for its answer.
        for cut in (1..8).chain(9..=turn.len()) {
            let mut heard = wish(Heard::new(config(security), Route::direct()));
            heard.hear(&[turn], cut);
            assert_eq!(heard.told, ["greeted 220", "sent not sent", "error in EHLO: unsolicited 220"], "cut at {cut}");
            assert!(heard.said.is_empty());
        }
    }
}

#[test]
fn behind_the_peers_goodbye_nothing_is_read() {
    let turns: [&[u8]; 2] = [b"\x16220 mx\r\n", b"\x15250 mx\r\n"];
    let (told, _) = same_at_every_cut(|| Heard::new(config(Security::Implicit), Route::direct()), &turns);
    assert_eq!(told, ["secured", "greeted 220", "error in EHLO: closed"]);
    // Half a reply before it is no reply.
    let turns: [&[u8]; 2] = [b"\x16220 mx\r\n", b"250 mx\x15"];
    let (told, _) = same_at_every_cut(|| Heard::new(config(Security::Implicit), Route::direct()), &turns);
    assert_eq!(told, ["secured", "greeted 220", "error in EHLO: closed"]);
}

#[test]
fn an_answer_in_clear_where_tls_was_due_is_named() {
    let mut heard = Heard::new(config(Security::Implicit), Route::direct());
    let error = heard.hear(&[b"220 mx\r\n"], usize::MAX).expect("a failure");
    assert_eq!(error.cause, Cause::Tls(tls::Error::NotTls(b'2')));
}

#[test]
fn a_misuse_leaves_the_connection_as_it_was() {
    let turns: Vec<&[u8]> = SESSION[..2].iter().map(|turn| turn.as_bytes()).collect();
    let mut heard = Heard::new(config(Security::None), Route::direct());
    heard.hear(&turns, usize::MAX);
    let international = Envelope::new("a@example.org", ["d\u{f6}rte@example.net"]).unwrap();
    assert_eq!(
        heard.connection.send(international, Default::default()),
        Err(Misuse::NotOffered { extension: "SMTPUTF8" })
    );
    assert!(heard.connection.is_clean());
    assert!(heard.connection.wants(heard.now).write.is_empty(), "nothing is said for it");
    heard.connection.quit().unwrap();
    assert_eq!(heard.connection.quit(), Err(Misuse::NotOpen));
    assert_eq!(heard.connection.command(Command::noop()), Err(Misuse::NotOpen));
    heard.speak();
    assert!(heard.said.ends_with(b"\r\nQUIT\r\n"));
}

/// Inputs of the fuzz targets, put together from what means something to one of them.
fn inputs() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        &b"220 mx\r\n"[..],
        b"250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n",
        b"250 ok\r\n",
        b"354 go\r\n",
        b"421 bye\r\n",
        b"550 no\r\n",
        b"235 ok\r\n",
        b"25",
        b"\x16",
        b"\x15",
        b"\xFE",
        b"EHLO c\r\n",
        b"MAIL FROM:<a@b>\r\n",
        b"RCPT TO:<c@d>\r\n",
        b"DATA\r\n",
        b".\r\n",
        b"BDAT 1 LAST\r\n",
        b"STARTTLS\r\n",
        b"QUIT\r\n",
        b"\x05\x00",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ]);
    let data = prop::collection::vec(prop_oneof![6 => words.prop_map(<[u8]>::to_vec), 1 => any::<Vec<u8>>()], 0..16);
    (prop::collection::vec(any::<u8>(), 0..60), data).prop_map(|(control, data)| {
        let mut input = vec![control.len() as u8];
        input.extend(control);
        input.extend(data.concat());
        input
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn whatever_happens_the_bodies_of_the_fuzz_targets_find_nothing(input in inputs()) {
        for (_, target) in fuzz::TARGETS {
            target(&input);
        }
    }
}

/// A session that opens what it hears as it is, and cannot seal more than so much at once.
struct Unsealing {
    greeted: bool,
    most: usize,
}

impl tls::Session for Unsealing {
    fn open(&mut self, input: &mut &[u8], plaintext: &mut Vec<u8>, _: usize) -> Result<(), tls::Error> {
        plaintext.extend(input.iter().filter(|octet| **octet != 0x16));
        self.greeted |= !input.is_empty();
        *input = &[];
        Ok(())
    }

    fn seal(&mut self, plaintext: &[u8], output: &mut Vec<u8>) -> Result<(), tls::Error> {
        if plaintext.len() > self.most {
            return Err(tls::Error::Failed("no more records".into()));
        }
        output.extend_from_slice(plaintext);
        Ok(())
    }

    fn close(&mut self) {}

    fn is_handshaking(&self) -> bool {
        !self.greeted
    }

    fn is_closed_by_peer(&self) -> bool {
        false
    }

    fn facts(&self) -> tls::Facts {
        tls::Facts::default()
    }
}

struct Unsealed(usize);

impl tls::Connector for Unsealed {
    fn connect(&self, _: &str) -> Result<Box<dyn tls::Session>, Misuse> {
        Ok(Box::new(Unsealing { greeted: false, most: self.0 }))
    }
}

#[test]
fn what_cannot_be_sealed_ends_the_session_and_not_a_word_of_it_leaves() {
    let mut heard = Heard::new(config(Security::Implicit).tls(Unsealed(0)), Route::direct());
    let error = heard.hear(&[b"\x16", b"220 mx\r\n", b"250 mx\r\n"], usize::MAX);
    let error = error.or_else(|| heard.poll().err()).expect("a failure");
    assert_eq!(error.cause, Cause::Tls(tls::Error::Failed("no more records".into())));
    assert!(heard.said.is_empty(), "{}", heard.said.escape_ascii());
    assert_eq!(heard.connection.poll(heard.now), Err(error));
}

#[test]
fn a_session_that_needs_tls_fails_where_nobody_can_begin_it() {
    let bare = || Config::new("mx.example.org", 465).helo("client.example.org");
    let offer: &[&[u8]] = &[b"220 mx\r\n", b"250-mx\r\n250 STARTTLS\r\n", b"220 go\r\n"];
    for (config, turns) in
        [(bare().security(Security::Implicit), &[][..]), (bare().security(Security::StartTls), offer)]
    {
        let mut heard = Heard::new(config, Route::direct());
        let error = heard.hear(turns, usize::MAX).or_else(|| heard.poll().err()).expect("a failure");
        assert!(matches!(error.cause, Cause::Tls(tls::Error::Settings(Misuse::Tls { .. }))), "{error}");
        assert!(error.to_string().contains("connector"), "{error}");
        assert!(!heard.said.windows(4).any(|four| four == b"MAIL"));
    }
}

#[test]
fn a_stream_that_ends_before_the_header_of_a_proxy_left_is_closed() {
    let header = proxy_proto::proxy_header::ProxyHeader::v1_unknown();
    let hop = Hop::named(1, "PROXY header");
    let route = Route::direct().tunnel(hop.clone(), header.into());
    let mut connection = Connection::new(config(Security::None), route).unwrap();
    assert_eq!(connection.poll(Instant::EPOCH), Ok(None));
    connection.received(0);
    let error = connection.poll(Instant::EPOCH).unwrap_err();
    assert_eq!((&error.cause, error.hop.as_ref()), (&Cause::Closed { last: None }, Some(&hop)), "{error}");
}

/// A SOCKS5 method of the caller's own that waits for a ticket, and gives up after three seconds.
struct Ticket;

impl proxy_proto::Machine for Ticket {
    type Event = ();
    type Error = String;

    fn receive(&mut self, _: Instant, _: &mut &[u8]) -> Result<Option<()>, String> {
        Ok(None)
    }

    fn transmit(&mut self, _: Instant, _: &mut Vec<u8>) -> bool {
        false
    }

    fn finish(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn deadline(&self) -> Option<proxy_proto::Deadline> {
        let at = Instant::from_epoch(Duration::from_secs(4));
        Some(proxy_proto::Deadline { at, watching: proxy_proto::Phase::named("ticket") })
    }

    fn expire(&mut self, now: Instant) -> Result<(), String> {
        if now < Instant::from_epoch(Duration::from_secs(4)) { Ok(()) } else { Err("no ticket came".into()) }
    }
}

#[test]
fn what_a_method_says_when_its_time_is_over_is_told_as_it_is() {
    use proxy_proto::socks5::{Config as Socks, Connect, Method};
    let target = "mx.example.org:25".parse().unwrap();
    let socks = Connect::with_methods(&target, Socks::default(), vec![Method::new(0x80, Ticket)]).unwrap();
    let hop = Hop::named(1, "socks5://a:1080");
    let mut heard = Heard::new(config(Security::None), Route::direct().tunnel(hop.clone(), socks.into()));
    assert_eq!(heard.hear(&[b"\x05\x80"], usize::MAX), None);
    let due = heard.connection.wants(heard.now).deadline.expect("a deadline");
    assert_eq!(due.watching.name(), "ticket");
    heard.now = due.at;
    let error = heard.poll().unwrap_err();
    assert!(matches!(&error.cause, Cause::Tunnel(tunnel) if tunnel.to_string().contains("no ticket came")), "{error}");
    assert_eq!(error.hop, Some(hop));
}

#[test]
fn a_message_with_a_gap_is_not_ended_and_told_as_not_sent() {
    // Whole records are sealed from where they lie; the rest, with the final dot, could be sealed in the second case, and not
    // in the first.
    for lines in [5_000, 2_050] {
        let mut heard = Heard::new(config(Security::Implicit).tls(Unsealed(100)), Route::direct());
        heard.hear(&[b"\x16", b"220 mx\r\n", b"250 mx\r\n"], usize::MAX);
        let envelope = Envelope::new("a@example.org", ["b@example.net"]).unwrap();
        heard.connection.send(envelope, Default::default()).unwrap();
        heard.speak();
        for reply in [&b"250 ok\r\n"[..], b"250 ok\r\n", b"354 go\r\n"] {
            heard.connection.wants(heard.now).read[..reply.len()].copy_from_slice(reply);
            heard.connection.received(reply.len());
            heard.poll().unwrap();
            if reply[0] == b'2' {
                heard.speak();
            }
        }
        let message = b"a line\r\n".repeat(lines);
        let before = heard.said.len();
        let taken = heard.connection.body(heard.now).expect("its turn").write(&mut &message[..]).unwrap();
        assert!(taken > 16_384);
        let error = loop {
            heard.speak();
            if let Err(error) = heard.poll() {
                break error;
            }
        };
        assert_eq!(error.cause, Cause::Tls(tls::Error::Failed("no more records".into())));
        heard.speak();
        let left = &heard.said[before..];
        assert!(left.is_empty(), "{lines}: {}", left.escape_ascii());
        assert!(heard.told.iter().any(|event| event == "sent not sent"), "{lines}: {:?}", heard.told);
    }
}
