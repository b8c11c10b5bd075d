//! How messages are sent: grouping and what it costs, chunks, policies, and servers that bear less than they offer.

use std::sync::Arc;

use smtp_proto::body::{Chunks, LineEndings};
use smtp_proto::client::{
    self, BodyKind, Client, Envelope, Event, Outcome, Report, Require, Ret, StartTls, TransactionId,
};
use smtp_proto::{Cause, Config, Grouping, Instant, Machine, Misuse, Security, server};
use tests::dialogue::{Dialogue, describe_report};
use tests::tls::Pki;
use tests::wire::Wire;

fn config() -> Config {
    Config::new("localhost", 2525).security(Security::None).helo("client.example.org")
}

fn server_config() -> server::Config {
    server::Config::new("mx.example.org").unwrap()
}

fn envelope() -> Envelope {
    Envelope::new("alice@example.org", ["bob@example.net", "carol@example.net", "dan@example.net"]).unwrap()
}

fn wire(config: Config, server: server::Config, piece: usize) -> Wire {
    let mut wire = Wire::new(config, server, None, false, piece);
    assert!(wire.run_until(|event| *event == Event::Ready), "{:?}", wire.failure);
    wire
}

fn reports(wire: &Wire) -> Vec<Report> {
    let sent = |event: &Event| match event {
        Event::Sent(report) => Some(report.clone()),
        _ => None,
    };
    wire.events.iter().filter_map(sent).collect()
}

#[test]
fn a_hundred_messages_take_two_flights_or_a_hundred_and_one_or_six_hundred() {
    for (grouping, most) in [(Grouping::Flights, 2), (Grouping::Groups, 101), (Grouping::OneByOne, 600)] {
        let mut wire = wire(config().grouping(grouping), server_config(), usize::MAX);
        assert_eq!(wire.client.grouping(), grouping);
        let before = wire.client.flights();
        let ids: Vec<(TransactionId, &[u8])> = (0..100)
            .map(|_| {
                (wire.client.send(envelope(), Default::default()).unwrap(), &b"Subject: one of many\r\n\r\n.\r\n"[..])
            })
            .collect();
        wire.client.quit().unwrap();
        wire.run_out(&ids);
        let reports = reports(&wire);
        assert!(reports.len() == 100 && reports.iter().all(Report::is_accepted));
        assert_eq!(wire.arrived.len(), 100);
        // QUIT waits for the last reply, but behind a dot in a group.
        let flights = wire.client.flights() - before - u64::from(grouping != Grouping::Groups);
        assert!(flights <= most, "{flights} flights, {grouping:?}");
        assert!(matches!(wire.events.last(), Some(Event::Closed(Some(_)))));
    }
}

#[test]
fn quit_does_not_follow_an_unanswered_chunk_but_may_follow_a_dot() {
    for (grouping, behind) in [(Grouping::Flights, false), (Grouping::Groups, true)] {
        let mut wire = wire(config().grouping(grouping), server_config(), usize::MAX);
        let id = wire.client.send(envelope(), Default::default()).unwrap();
        wire.client.quit().unwrap();
        let before = wire.client.flights();
        wire.run_out(&[(id, b"hello\r\n")]);
        assert!(matches!(wire.events.last(), Some(Event::Closed(Some(_)))));
        assert_eq!(wire.client.flights() - before, 2, "{grouping:?}");
        let end: &[u8] = if behind { b"hello\r\n.\r\nQUIT\r\n" } else { b"BDAT 7 LAST\r\nhello\r\nQUIT\r\n" };
        assert!(wire.from_client.ends_with(end));
    }
}

#[test]
fn a_large_message_goes_in_chunks_at_every_cut() {
    let message = b"0123456789\n.\r\nabcdef\r".repeat(50_000);
    let expected = b"0123456789\r\n.\r\nabcdef\r\n".repeat(50_000);
    for piece in [1000, 65_536, usize::MAX] {
        let mut wire = wire(config(), server_config(), piece);
        for _ in 0..2 {
            let report = wire.send(&envelope(), &message);
            assert!(report.is_accepted());
            assert_eq!(report.octets, message.len() as u64);
            assert!(report.commands > 16, "MAIL, RCPT and the chunks");
        }
        assert!(wire.arrived.len() == 2 && wire.arrived.iter().all(|one| one.content == expected), "pieces of {piece}");
    }
}

#[test]
fn chunks_fill_the_records_of_tls() {
    let pki = Pki::new();
    let message = b"0123456789abcd\r\n".repeat(1 << 16);
    for piece in [1000, 1 << 16, usize::MAX] {
        for endings in [LineEndings::Canonical, LineEndings::Exact] {
            let client = config().security(Security::Implicit).tls(pki.client.clone());
            let server = server_config().with("BINARYMIME").unwrap();
            let mut wire = Wire::new(client, server, Some(Arc::new(pki.server.clone())), true, usize::MAX);
            assert!(wire.run_until(|event| *event == Event::Ready), "{:?}", wire.failure);
            let before = wire.from_client.len();
            let pieces: Vec<&[u8]> = message.chunks(message.len().min(piece)).collect();
            assert!(wire.send_pieces(&envelope(), endings, &pieces).is_accepted());
            assert!(wire.arrived[0].content == message);
            // RFC 8446 sections 5.1 and 5.2: 2^14 octets, one that says what they are, and a tag of 16 behind a header of 5.
            let (mut records, mut rest) = ((0, 0), &wire.from_client[before..]);
            while let [_, _, _, high, low, behind @ ..] = rest {
                let size = usize::from(u16::from_be_bytes([*high, *low]));
                if size == (1 << 14) + 1 + 16 {
                    records.0 += 1
                } else {
                    records.1 += 1
                }
                rest = &behind[size..];
            }
            // The trial and the end of the message are short, with the commands before them.
            assert!(records.0 >= 63 && records.1 <= 3, "{records:?}, pieces of {piece}, {endings:?}");
        }
    }
}

#[test]
fn a_refused_chunk_stops_the_message_and_the_next_one_goes() {
    for piece in [1000, usize::MAX] {
        let limits = server::Limits { message: 300_000, ..server::Limits::default() };
        let mut wire = wire(config(), server_config().limits(limits), piece);
        assert!(wire.send(&envelope(), b"small\r\n").is_accepted());
        let message = b"0123456789abcd\r\n".repeat(1 << 18);
        let id = wire.client.send(envelope(), Default::default()).unwrap();
        let next = wire.client.send(envelope(), Default::default()).unwrap();
        wire.client.quit().unwrap();
        wire.run_out(&[(id, &message), (next, b"small\r\n")]);
        let reports = reports(&wire);
        assert_eq!(describe_report(&reports[1]), "refused 552, refused 552, refused 552");
        assert!(reports[1].octets < message.len() as u64, "all of it was sent in vain");
        assert!(reports[2].is_accepted());
        assert_eq!(wire.failure, None);
        assert_eq!(wire.arrived.len(), 2);
    }
}

#[test]
fn too_few_recipients_stop_a_message_before_it_goes() {
    for grouping in [Grouping::Flights, Grouping::Groups, Grouping::OneByOne] {
        for (require, enough) in [
            (Require::Any, true),
            (Require::AtLeast(1), true),
            (Require::AtLeast(2), true),
            (Require::AtLeast(3), false),
            (Require::AtLeast(4), false),
            (Require::All, false),
        ] {
            let mut wire = wire(config().grouping(grouping), server_config(), 1000);
            wire.manners.refuse = vec!["carol@example.net".into()];
            let report = wire.send(&envelope().require(require), b"hello\r\n");
            let expected =
                if enough { "accepted 250, refused 550, accepted 250" } else { "not sent, refused 550, not sent" };
            assert_eq!(describe_report(&report), expected, "{grouping:?} {require:?}");
            assert_eq!(wire.arrived.len(), usize::from(enough));
            // The transaction is given up before the next begins.
            wire.manners.refuse.clear();
            assert!(wire.send(&envelope().require(Require::All), b"hello\r\n").is_accepted());
            assert_eq!(wire.arrived.len(), usize::from(enough) + 1);
        }
    }
}

#[test]
fn lmtp_answers_for_each_recipient() {
    for grouping in [Grouping::Flights, Grouping::Groups, Grouping::OneByOne] {
        for piece in [1, 1000] {
            let mut wire = wire(config().lmtp(true).grouping(grouping), server_config().lmtp(true), piece);
            assert!(wire.from_client.starts_with(b"LHLO "));
            wire.manners.refuse = vec!["carol@example.net".into()];
            wire.manners.full = vec!["bob@example.net".into()];
            for _ in 0..2 {
                let report = wire.send(&envelope(), b"hello\r\n");
                assert_eq!(describe_report(&report), "refused 550, refused 550, accepted 250");
            }
            assert_eq!(wire.arrived[1].to, ["dan@example.net"]);
            assert!(wire.client.is_clean());
        }
    }
}

#[test]
fn octets_go_as_they_are_where_the_server_takes_them() {
    let message = b"\0\n.\r.\r\n..\xff".repeat(20_000);
    for grouping in [Grouping::Flights, Grouping::Groups, Grouping::OneByOne] {
        let server = server_config().with("BINARYMIME").unwrap();
        let mut wire = wire(config().grouping(grouping), server, 5000);
        for _ in 0..2 {
            let id = wire.client.send(envelope(), LineEndings::Exact).unwrap();
            wire.run_out_to(&[(id, &message)], |event| matches!(event, Event::Sent(_)));
            assert!(reports(&wire).iter().all(Report::is_accepted), "{grouping:?} {:?}", wire.failure);
        }
        assert!(wire.arrived.iter().all(|one| one.content == message), "{grouping:?}");
    }
}

#[test]
fn what_the_server_cannot_carry_is_refused_before_mail() {
    let server = || server_config().without("8BITMIME").without("SMTPUTF8");
    let eight = || envelope().body(BodyKind::EightBitMime);
    let mut ready = wire(config(), server(), 1000);
    let before = ready.from_client.len();
    for (envelope, endings, extension) in [
        (eight(), LineEndings::Canonical, "8BITMIME"),
        (envelope().smtputf8(), LineEndings::Canonical, "SMTPUTF8"),
        (envelope(), LineEndings::Exact, "BINARYMIME"),
        (envelope().ret(Ret::Full), LineEndings::Canonical, "DSN"),
    ] {
        assert_eq!(ready.client.send(envelope, endings), Err(Misuse::NotOffered { extension }));
    }
    let large = ready.client.send(envelope().size(u64::MAX), LineEndings::Canonical);
    assert!(matches!(large, Err(Misuse::TooLarge { octets: u64::MAX, .. })), "{large:?}");
    assert!(ready.client.is_clean() && ready.client.wants(ready.now).write.is_empty());
    assert_eq!(ready.from_client.len(), before);
    // Queued before anybody knew what the server offers, it is told as soon as that is known.
    let mut early = Wire::new(config(), server(), None, false, 1000);
    let one = early.client.send(eight(), LineEndings::Canonical).unwrap();
    let other = early.client.send(envelope(), LineEndings::Canonical).unwrap();
    early.client.quit().unwrap();
    early.run_out(&[(one, b"one\r\n"), (other, b"other\r\n")]);
    let reports = reports(&early);
    assert_eq!(reports[0].misuse, Some(Misuse::NotOffered { extension: "8BITMIME" }));
    assert_eq!(describe_report(&reports[0]), "not sent, not sent, not sent");
    assert!(reports[1].is_accepted() && early.arrived.len() == 1);
}

const OPEN: &str = "
    S: 220 mx
    C: EHLO client.example.org
    S: 250-mx
    S: 250-PIPELINING
    S: 250 CHUNKING
";

/// A dialogue with a server that offers all there is, from MAIL on.
fn check(wishes: &str, rest: &str) -> tests::dialogue::Trace {
    Dialogue::parse(&[wishes, OPEN, "= greeted 220\n= ready\n", rest].concat()).check()
}

#[test]
fn until_the_server_has_proved_itself_one_message_goes_and_then_many() {
    check(
        "
        message: a@example.org to b@example.net
        | .one
        message: a@example.org to b@example.net
        | two
        message: a@example.org to c@example.net d@example.net
        | three
        quit:",
        "
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.net>
        C: BDAT 6 LAST
        C: .one
        S: 250 ok
        S: 250 ok
        S: 250 taken
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.net>
        C: BDAT 5 LAST
        C: two
        C: RSET
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<c@example.net>
        C: RCPT TO:<d@example.net>
        C: BDAT 7 LAST
        C: three
        S: 250 ok
        S: 250 ok
        S: 552 too big
        S: 250 reset
        S: 250 ok
        S: 250 ok
        S: 550 no
        S: 250 taken
        C: QUIT
        S: 221 bye
        = mail 250
        = recipient 0 250
        = sent accepted 250
        = mail 250
        = recipient 0 250
        = sent refused 552
        = mail 250
        = recipient 0 250
        = recipient 1 550
        = sent accepted 250, refused 550
        = closed 221",
    );
}

#[test]
fn a_server_that_loses_track_is_spoken_to_at_a_lower_level_and_nothing_is_lost() {
    // Where the 503 stands makes no difference to what becomes of the message.
    for (answers, mail) in [
        ("S: 250 ok\nS: 503 what\nS: 503 what\n", "= mail 250\n"),
        ("S: 250 ok\nS: 250 ok\nS: 503 what\n", "= mail 250\n= recipient 0 250\n"),
        ("S: 250 ok\nS: 250 ok\nS: 502 what\n", "= mail 250\n= recipient 0 250\n"),
    ] {
        let trace = check(
            "
            message: a@example.org to b@example.net
            | .one
            message: a@example.org to c@example.net
            | two",
            &[
                "
                C: MAIL FROM:<a@example.org>
                C: RCPT TO:<b@example.net>
                C: BDAT 6 LAST
                C: .one
                ",
                answers,
                "
                C: RSET
                C: MAIL FROM:<a@example.org>
                C: RCPT TO:<b@example.net>
                C: DATA
                S: 250 ok
                S: 250 ok
                S: 250 ok
                S: 354 go
                C: ..one
                C: .
                C: MAIL FROM:<a@example.org>
                C: RCPT TO:<c@example.net>
                C: DATA
                S: 250 taken
                S: 250 ok
                S: 250 ok
                S: 354 go
                C: two
                C: .
                S: 250 taken
                ",
                mail,
                "= mail 250
                = recipient 0 250
                = sent accepted 250
                = mail 250
                = recipient 0 250
                = sent accepted 250",
            ]
            .concat(),
        );
        assert_eq!(trace.failure, None);
    }
}

#[test]
fn a_server_that_bears_no_group_at_all_is_spoken_to_one_by_one() {
    check(
        "
        message: a@example.org to b@example.net
        | one
        quit:",
        "
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.net>
        C: BDAT 5 LAST
        C: one
        S: 250 ok
        S: 503 what
        S: 503 what
        C: RSET
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.net>
        C: DATA
        S: 250 ok
        S: 250 ok
        S: 250 ok
        S: 503 what
        C: RSET
        S: 250 ok
        C: MAIL FROM:<a@example.org>
        S: 250 ok
        C: RCPT TO:<b@example.net>
        S: 250 ok
        C: DATA
        S: 354 go
        C: one
        C: .
        S: 250 taken
        C: QUIT
        S: 221 bye
        = mail 250
        = mail 250
        = recipient 0 250
        = mail 250
        = recipient 0 250
        = sent accepted 250
        = closed 221",
    );
    // 503 to one command at a time is an answer.
    check(
        "
        grouping: one-by-one
        message: a@example.org to b@example.net",
        "
        C: MAIL FROM:<a@example.org>
        S: 250 ok
        C: RCPT TO:<b@example.net>
        S: 503 no
        = mail 250
        = sent refused 503",
    );
}

#[test]
fn what_was_delivered_to_one_is_not_sent_again_for_another() {
    check(
        "
        message: a@example.org to b@example.net c@example.net
        | one",
        "
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.net>
        C: RCPT TO:<c@example.net>
        C: BDAT 5 LAST
        C: one
        S: 250 ok
        S: 250 ok
        S: 503 what
        S: 250 taken
        = mail 250
        = recipient 0 250
        = recipient 1 503
        = sent accepted 250, not sent",
    );
}

#[test]
fn a_message_that_is_gone_already_is_told_as_not_sent() {
    check(
        "
        message: a@example.org to b@example.net
        | one
        message: a@example.org to c@example.net
        | two
        message: a@example.org to d@example.net
        | three",
        "
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.net>
        C: BDAT 5 LAST
        C: one
        S: 250 ok
        S: 250 ok
        S: 250 taken
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<c@example.net>
        C: BDAT 5 LAST
        C: two
        C: RSET
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<d@example.net>
        C: BDAT 7 LAST
        C: three
        S: 250 ok
        S: 250 ok
        S: 503 what
        S: 250 ok
        S: 250 ok
        S: 250 ok
        S: 250 taken
        = mail 250
        = recipient 0 250
        = sent accepted 250
        = mail 250
        = recipient 0 250
        = sent not sent
        = mail 250
        = recipient 0 250
        = sent accepted 250",
    );
}

#[test]
fn a_stalled_chunk_and_a_stalled_last_chunk_have_phases_of_their_own() {
    let mut wire = wire(config(), server_config(), usize::MAX);
    let id = wire.client.send(envelope(), Default::default()).unwrap();
    let now = wire.now;
    let speak = |wire: &mut Wire| {
        let n = wire.client.wants(now).write.len();
        wire.client.sent(n);
    };
    assert!(wire.client.body(now).is_some(), "the commands are said, and octets may follow");
    let hear = |wire: &mut Wire, reply: &[u8]| {
        wire.client.wants(now).read[..reply.len()].copy_from_slice(reply);
        wire.client.received(reply.len());
        while wire.client.poll(now).unwrap().is_some() {}
    };
    let big = [b'x'; 70_000];
    wire.client.body(now).unwrap().write(&mut &big[..]).unwrap();
    speak(&mut wire);
    assert!(wire.client.body(now).is_none(), "the first chunk is on trial");
    hear(&mut wire, b"250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n");
    assert_eq!(wire.client.phase().name(), "data block");
    hear(&mut wire, b"250 chunk\r\n");
    let body = wire.client.body(now).expect("it goes on");
    body.end();
    speak(&mut wire);
    assert_eq!(wire.client.phase().name(), "final dot");
    wire.client.received(0);
    let event = wire.client.poll(now).unwrap();
    let Some(Event::Sent(report)) = event else { panic!("{event:?}") };
    assert!(report.transaction == id && report.recipients.iter().all(|one| one.outcome == Outcome::Unknown));
    assert!(matches!(wire.client.poll(now).unwrap_err().cause, Cause::Closed { .. }));
}

/// A client that has been told what its server offers, and what it says.
struct Direct {
    client: Client,
    said: Vec<u8>,
}

impl Direct {
    fn new(offer: &str) -> Self {
        let mut config = client::Config::new("mx.example.org");
        config.starttls = StartTls::Never;
        let mut direct = Self { client: Client::new(config).unwrap(), said: Vec::new() };
        direct.hear("220 mx");
        direct.hear(offer);
        assert!(direct.client.is_ready());
        direct
    }

    /// Hears this, and says what there is to say then.
    fn hear(&mut self, reply: &str) -> Vec<Event> {
        self.client.transmit(Instant::EPOCH, &mut self.said);
        let line = [reply, "\r\n"].concat();
        let (mut rest, mut events) = (line.as_bytes(), Vec::new());
        while let Some(event) = self.client.receive(Instant::EPOCH, &mut rest).unwrap() {
            events.push(event);
        }
        self.client.transmit(Instant::EPOCH, &mut self.said);
        events
    }

    /// Writes as much as is taken, and says how much that was.
    fn write(&mut self, mut octets: &[u8], whole: bool) -> usize {
        let Some(mut body) = self.client.body(Instant::EPOCH, &mut self.said, usize::MAX) else { return 0 };
        let taken = body.write(&mut octets).unwrap();
        if whole && octets.is_empty() {
            body.end();
        }
        self.client.transmit(Instant::EPOCH, &mut self.said);
        taken
    }

    /// What was said since it was last asked for: the commands, and the content of the chunks among them.
    fn take(&mut self) -> (Vec<String>, Vec<u8>) {
        let said = std::mem::take(&mut self.said);
        let (mut rest, mut lines, mut content) = (&said[..], Vec::new(), Vec::new());
        while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
            let line = String::from_utf8(rest[..end].to_vec()).unwrap();
            rest = &rest[end + 2..];
            if let Some(size) = line.strip_prefix("BDAT ") {
                let size: usize = size.trim_end_matches(" LAST").parse().unwrap();
                content.extend_from_slice(&rest[..size]);
                rest = &rest[size..];
            }
            lines.push(line);
        }
        (lines, content)
    }
}

const ALL: &str = "250-mx\r\n250-PIPELINING\r\n250-BINARYMIME\r\n250 CHUNKING";

fn to_one() -> Envelope {
    Envelope::new("a@example.org", ["b@example.net"]).unwrap()
}

const MAIL: &str = "MAIL FROM:<a@example.org> BODY=BINARYMIME";
const RCPT: &str = "RCPT TO:<b@example.net>";

/// A message is written until no more is taken, and its server loses track of the group: it is spoken to one level lower.
fn lose_track(endings: LineEndings, message: &[u8], whole: bool) -> (Direct, usize) {
    let mut direct = Direct::new(ALL);
    direct.client.send(to_one().body(BodyKind::BinaryMime), endings).unwrap();
    direct.client.transmit(Instant::EPOCH, &mut direct.said);
    direct.take();
    let taken = direct.write(message, whole);
    assert_eq!(direct.take().0, [format!("BDAT {}", Chunks::SIZE)]);
    direct.hear("250 ok");
    direct.hear("250 ok");
    direct.hear("503 what");
    assert_eq!(direct.take().0, ["RSET", MAIL, RCPT]);
    direct.hear("250 reset");
    direct.hear("250 ok");
    assert_eq!(direct.take().0, [""; 0], "the recipient is not known yet");
    direct.hear("250 ok");
    (direct, taken)
}

#[test]
fn a_binary_message_of_several_chunks_is_played_again_octet_by_octet() {
    // One octet more than a chunk, and every octet there is (RFC 3030 section 3).
    let message: Vec<u8> = (0..=255).cycle().take(Chunks::SIZE + 1).collect();
    let (mut direct, taken) = lose_track(LineEndings::Exact, &message, true);
    assert_eq!(taken, Chunks::SIZE, "no second chunk before the first one is answered");
    assert_eq!(direct.take().0, [""; 0], "that chunk may be the last");
    assert_eq!(direct.write(&message[Chunks::SIZE..], false), 0, "it is not");
    let (lines, mut content) = direct.take();
    assert_eq!(lines, [format!("BDAT {}", Chunks::SIZE)]);
    direct.hear("250 chunk");
    assert_eq!(direct.write(&message[Chunks::SIZE..], true), 1);
    let (lines, last) = direct.take();
    assert_eq!(lines, ["BDAT 1 LAST"]);
    content.extend(last);
    assert!(content == message);
    let events = direct.hear("250 taken");
    let octets = message.len() as u64;
    assert!(matches!(&events[..], [Event::Sent(report)] if report.is_accepted() && report.octets == octets));
}

#[test]
fn a_message_that_grew_beyond_a_chunk_is_played_again_though_it_may_have_ended() {
    // Each of them becomes two, which is known when it is too late to take fewer.
    let message = b"\n".repeat(40_000);
    for whole in [false, true] {
        let (mut direct, taken) = lose_track(LineEndings::Canonical, &message, whole);
        assert_eq!(taken, message.len());
        let (lines, mut content) = direct.take();
        assert_eq!(lines, [format!("BDAT {}", Chunks::SIZE)]);
        direct.hear("250 chunk");
        if !whole {
            assert_eq!(direct.take().0, [""; 0], "the message may go on");
            assert_eq!(direct.write(b"", true), 0);
        }
        let (lines, last) = direct.take();
        assert_eq!(lines, [format!("BDAT {} LAST", 80_000 - Chunks::SIZE)]);
        content.extend(last);
        assert!(content == b"\r\n".repeat(40_000));
        assert!(matches!(&direct.hear("250 taken")[..], [Event::Sent(report)] if report.is_accepted()));
    }
}

#[test]
fn a_message_of_lines_is_played_again_with_its_dots_and_goes_on() {
    let head = b".a line\r\n".repeat(7_500);
    let mut direct = Direct::new("250-mx\r\n250-PIPELINING\r\n250 CHUNKING");
    direct.client.send(to_one(), LineEndings::Strict).unwrap();
    direct.client.transmit(Instant::EPOCH, &mut direct.said);
    direct.take();
    let taken = direct.write(&head, false);
    assert_eq!(taken, Chunks::SIZE);
    direct.hear("250 ok");
    direct.hear("250 ok");
    direct.hear("503 what");
    for _ in 0..3 {
        direct.hear("250 ok");
    }
    let (lines, _) = direct.take();
    assert_eq!(lines.last().map(String::as_str), Some("DATA"));
    // What was taken is said again by itself; the rest is asked for.
    direct.hear("354 go");
    assert_eq!(direct.write(&head[taken..], true), head.len() - taken);
    let (lines, _) = direct.take();
    assert_eq!(lines.len(), 7_501);
    // RFC 5321 section 4.5.2.
    assert!(lines[..7_500].iter().all(|line| line == "..a line") && lines[7_500] == ".");
    let events = direct.hear("250 taken");
    assert!(matches!(&events[..], [Event::Sent(report)] if report.is_accepted()));
}

#[test]
fn nothing_is_said_anew_while_replies_to_what_was_lost_are_due() {
    let mut direct = Direct::new(ALL);
    direct.client.send(to_one().body(BodyKind::BinaryMime), LineEndings::Exact).unwrap();
    direct.client.transmit(Instant::EPOCH, &mut direct.said);
    direct.write(&[b'x'; Chunks::SIZE + 1], true);
    direct.take();
    direct.hear("250 ok");
    direct.hear("503 no MAIL");
    assert_eq!(direct.take().0, [""; 0], "the chunk is not answered yet");
    direct.hear("503 no MAIL");
    assert_eq!(direct.take().0, ["RSET", MAIL, RCPT]);
}

#[test]
fn who_is_told_to_be_less_eager_is_so_from_the_next_message_on() {
    let mut wire = wire(config(), server_config(), usize::MAX);
    assert!(wire.send(&envelope(), b"one\r\n").is_accepted());
    assert!(wire.from_client.windows(4).any(|four| four == b"BDAT"));
    for (grouping, flights) in [(Grouping::Groups, 2), (Grouping::OneByOne, 6)] {
        wire.client.set_grouping(grouping);
        assert_eq!(wire.client.grouping(), grouping);
        let said = wire.from_client.len();
        let report = wire.send(&envelope(), b"two\r\n");
        assert!(report.is_accepted() && report.flights == flights, "{grouping:?}: {}", report.flights);
        assert!(wire.from_client[said..].windows(4).any(|four| four == b"DATA"), "{grouping:?}");
    }
}
