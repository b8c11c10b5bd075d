//! What became of a message is never told wrong, wherever the wire breaks; and who stalls is given up at the right moment.

use std::sync::Arc;
use std::time::Duration;

use smtp_proto::client::{Envelope, Event, Outcome, Report, TransactionId};
use smtp_proto::command::Command;
use smtp_proto::sasl::{Allowed, Credentials};
use smtp_proto::{
    Cause, Config, Connection, Deadline, Error, Grouping, Instant, Limits, Route, Security, phase, server, tls,
};
use tests::dialogue::{describe, describe_report};
use tests::tls::Pki;
use tests::wire::{Break, Wire};

fn config(security: Security) -> Config {
    Config::new("localhost", 2525).security(security).helo("client.example.org").entropy(|octets| octets.fill(7))
}

fn wire(config: Config, acceptor: Option<Arc<dyn tls::Acceptor>>) -> Wire {
    let mut wire = Wire::new(config, server::Config::new("mx.example.org").unwrap(), acceptor, false, 100_000);
    wire.manners.refuse = vec!["carol@example.net".into()];
    wire
}

const BODIES: [&[u8]; 2] = [b"Subject: one\r\n\r\n.\r\n", b"Subject: two\r\n"];

/// Two messages and QUIT, all asked for at once; the first has a recipient that is refused.
fn ask(wire: &mut Wire, messages: usize, quit: bool) -> Vec<(TransactionId, &'static [u8])> {
    let envelopes = [
        Envelope::new("alice@example.org", ["bob@example.net", "carol@example.net", "dan@example.net"]).unwrap(),
        Envelope::new("alice@example.org", ["erin@example.net"]).unwrap(),
    ];
    let ids = envelopes.into_iter().zip(BODIES).take(messages);
    let ids =
        ids.map(|(envelope, body)| (wire.client.send(envelope, Default::default()).unwrap(), body)).collect::<Vec<_>>();
    if quit {
        wire.client.quit().unwrap();
    }
    ids
}

fn reports(wire: &Wire) -> Vec<Report> {
    let reports = wire.events.iter().filter_map(|event| match event {
        Event::Sent(report) => Some(report.clone()),
        _ => None,
    });
    reports.collect()
}

/// Whatever is told of a recipient is what the server did.
fn honest(wire: &Wire, ids: &[(TransactionId, &[u8])]) {
    let told = reports(wire);
    assert_eq!(told.len(), ids.len(), "one report a message, whatever happens: {told:?}");
    for (id, _) in ids {
        let report = told.iter().find(|report| report.transaction == *id).expect("a report");
        for one in &report.recipients {
            let delivered = wire.arrived.iter().any(|message| message.to.iter().any(|to| to == one.path.as_str()));
            match &one.outcome {
                Outcome::Accepted(_) => assert!(delivered, "{} was never accepted", one.path),
                Outcome::Refused(_) | Outcome::NotSent => {
                    assert!(!delivered, "{}: {} was delivered", describe_report(report), one.path);
                }
                Outcome::Unknown => {
                    let refused = one.rcpt.as_ref().is_some_and(|reply| !reply.code().is_positive());
                    assert!(!refused, "{} was refused by itself", one.path);
                }
            }
        }
    }
}

/// Where each message ends, and each answer to one, among the octets of an unbroken session in clear.
fn ends(octets: &[u8], mark: &[u8]) -> Vec<usize> {
    (mark.len()..=octets.len()).filter(|end| octets[..*end].ends_with(mark)).collect()
}

#[test]
fn wherever_the_wire_breaks_in_clear_the_outcome_is_right() {
    for grouping in [Grouping::Flights, Grouping::Groups, Grouping::OneByOne] {
        let mut whole = wire(config(Security::None).grouping(grouping), None);
        let ids = ask(&mut whole, 2, true);
        whole.run_out(&ids);
        assert_eq!(whole.failure, None);
        // The dot that ends a message, and the one that its content begins with: "..", so it is no end.
        let dots = match grouping {
            Grouping::Flights => BODIES.map(|body| ends(&whole.from_client, body)[0]).to_vec(),
            _ => ends(&whole.from_client, b"\r\n.\r\n"),
        };
        let answers = ends(&whole.from_server, b"250 2.0.0 Message accepted\r\n");
        assert_eq!((dots.len(), answers.len()), (2, 2));
        let (up, down) = (whole.from_client.len(), whole.from_server.len());
        let breaks = (0..up).map(|at| (at, usize::MAX)).chain((0..down).map(|at| (usize::MAX, at)));
        for (up, down) in breaks {
            for swallows in [false, true] {
                let mut wire = wire(config(Security::None).grouping(grouping), None);
                let ids = ask(&mut wire, 2, true);
                wire.breaks = Some(Break { up, down, swallows });
                wire.run_out(&ids);
                honest(&wire, &ids);
                let told = reports(&wire);
                for (message, (id, _)) in ids.iter().enumerate() {
                    let report = told.iter().find(|report| report.transaction == *id).unwrap();
                    let handed_over = wire.taken >= dots[message];
                    let answered = wire.from_server.len() >= answers[message];
                    let expected = match (handed_over, answered) {
                        (_, true) => "accepted 250",
                        (true, false) => "unknown",
                        (false, false) => "not sent",
                    };
                    let outcome = describe_report(report);
                    assert!(
                        outcome.split(", ").all(|one| one == expected || one == "refused 550"),
                        "message {message}: {outcome}, not {expected}, broken at {up} {down} {swallows}"
                    );
                    assert_eq!(report.cut_short.is_some(), !answered);
                }
                if wire.from_server.len() < whole.from_server.len() - 50 {
                    let error = wire.failure.as_ref().expect("a failure");
                    assert!(matches!(error.cause, Cause::Closed { .. }), "{error:?}");
                }
            }
        }
    }
}

#[test]
fn wherever_the_wire_breaks_under_tls_the_outcome_is_right() {
    let pki = Pki::new();
    let acceptor: Arc<dyn tls::Acceptor> = Arc::new(pki.server.clone());
    let make = || wire(config(Security::StartTls).tls(pki.forgetful_client()), Some(acceptor.clone()));
    let mut whole = make();
    let ids = ask(&mut whole, 1, false);
    whole.run_out(&ids);
    assert_eq!(describe_report(&reports(&whole)[0]), "accepted 250, refused 550, accepted 250");
    let end = whole.ended.expect("the message ended");
    let (up, down) = (whole.from_client.len(), whole.from_server.len());
    assert_eq!(end, up, "the dot is the last that the client says");
    // The handshake at every 29th octet, what the message is made of at every octet.
    let places = |all: usize| (0..all - 300).step_by(29).chain(all - 300..all);
    let breaks = places(up).map(|at| (at, usize::MAX)).chain(places(down).map(|at| (usize::MAX, at)));
    for (up, down) in breaks {
        let mut wire = make();
        let swallows = (up ^ down) % 2 == 0;
        let ids = ask(&mut wire, 1, false);
        wire.breaks = Some(Break { up, down, swallows });
        wire.run_out(&ids);
        honest(&wire, &ids);
        let report = &reports(&wire)[0];
        let unknown = report.recipients.iter().any(|one| one.outcome == Outcome::Unknown);
        let answered = report.recipients.iter().any(|one| matches!(one.outcome, Outcome::Accepted(_)));
        let taken = wire.taken;
        assert_eq!(unknown, taken >= end && !answered, "broken at {up} {down} {swallows}, {taken} of {end} taken");
    }
}

#[test]
fn behind_the_dot_other_commands_may_be_lost_and_the_message_may_not() {
    // Under TLS, too, the dot is handed over before what is said behind it.
    let pki = Pki::new();
    let acceptor: Arc<dyn tls::Acceptor> = Arc::new(pki.server.clone());
    let make = || wire(config(Security::StartTls).tls(pki.forgetful_client()), Some(acceptor.clone()));
    let mut whole = make();
    let ids = ask(&mut whole, 2, true);
    whole.run_out(&ids);
    let up = whole.from_client.len();
    for at in up - 400..up {
        let mut wire = make();
        let ids = ask(&mut wire, 2, true);
        wire.breaks = Some(Break { up: at, down: usize::MAX, swallows: false });
        wire.run_out(&ids);
        honest(&wire, &ids);
    }
}

/// A connection whose server is written by hand, in virtual time.
struct Scripted {
    connection: Connection,
    now: Instant,
    said: Vec<u8>,
    events: Vec<String>,
}

impl Scripted {
    fn new(config: Config) -> Self {
        let connection = Connection::new(config, Route::direct()).unwrap();
        Self { connection, now: Instant::from_epoch(Duration::from_secs(1000)), said: Vec::new(), events: Vec::new() }
    }

    fn speak(&mut self) {
        let wants = self.connection.wants(self.now);
        let written = wants.write.len();
        self.said.extend_from_slice(wants.write);
        self.connection.sent(written);
    }

    fn hear(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.connection.wants(self.now).read[..octets.len()].copy_from_slice(octets);
        self.connection.received(octets.len());
        self.poll()
    }

    fn poll(&mut self) -> Result<(), Error> {
        while let Some(event) = self.connection.poll(self.now)? {
            self.events.push(describe(&event));
        }
        Ok(())
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    fn deadline(&mut self) -> Option<Deadline> {
        self.connection.wants(self.now).deadline
    }

    /// Waits for the end, which must come at `limit` from now and in this phase, and not a moment before.
    fn is_given_up(&mut self, limit: Duration, watching: &str) -> Error {
        let at = self.now.after(limit);
        let deadline = self.deadline().unwrap_or_else(|| panic!("no deadline in {watching}"));
        assert_eq!((deadline.at, deadline.watching.name()), (at, watching));
        self.now = Instant::from_epoch(at.since_epoch() - Duration::from_nanos(1));
        self.poll().expect("a moment is left");
        assert_eq!(self.deadline().map(|deadline| deadline.at), Some(at), "it moved by looking at it");
        self.now = at;
        let error = self.poll().expect_err("the time is up");
        assert_eq!(error.phase.name(), watching);
        assert!(matches!(error.cause, Cause::TimedOut { waited, .. } if waited == limit), "{error:?} after {limit:?}");
        assert_eq!(self.deadline(), None);
        error
    }
}

/// Every limit another one, so that none can be taken for another.
fn limits() -> Limits {
    let seconds = Duration::from_secs;
    Limits {
        greeting: seconds(11),
        ehlo: seconds(13),
        auth: seconds(17),
        mail: seconds(19),
        rcpt: seconds(23),
        data: seconds(29),
        block: seconds(31),
        message: seconds(37),
        command: seconds(41),
        quit: seconds(43),
        tls: seconds(47),
        ..Limits::rfc5321()
    }
}

fn envelope() -> Envelope {
    Envelope::new("alice@example.org", ["bob@example.net", "carol@example.net"]).unwrap()
}

/// A session that has come so far: greeted, offered, and so on; each turn a second after the one before.
fn come_to(config: Config, turns: &[&str], message: &[u8]) -> Scripted {
    let mut scripted = Scripted::new(config);
    scripted.speak();
    for turn in turns {
        scripted.wait(Duration::from_secs(1));
        scripted.hear(turn.as_bytes()).unwrap();
        if let Some(mut body) = scripted.connection.body(scripted.now) {
            body.write(&mut &message[..]).unwrap();
            body.end();
        }
        scripted.speak();
    }
    scripted
}

const OPEN: [&str; 2] = ["220 mx\r\n", "250 mx\r\n"];

#[test]
fn a_server_that_stalls_is_given_up_in_the_right_phase_at_the_right_moment() {
    let clear = || config(Security::None).limits(limits());
    let l = limits();
    come_to(clear(), &[], b"").is_given_up(l.greeting, "greeting");
    come_to(clear(), &OPEN[..1], b"").is_given_up(l.ehlo, "EHLO");
    come_to(clear(), &["220 mx\r\n", "502 what\r\n"], b"").is_given_up(l.ehlo, "EHLO");
    let starttls = config(Security::StartTls).limits(limits()).tls(Pki::new().client);
    let offer = "250-mx\r\n250 STARTTLS\r\n";
    come_to(starttls.clone(), &["220 mx\r\n", offer], b"").is_given_up(l.ehlo, "STARTTLS");
    come_to(starttls.clone(), &["220 mx\r\n", offer, "220 go\r\n"], b"").is_given_up(l.tls, "TLS handshake");
    come_to(starttls.security(Security::Implicit), &[], b"").is_given_up(l.tls, "TLS handshake");
    let login = clear()
        .credentials(Credentials::password("tim", "secret"))
        .allowed(Allowed::only(["LOGIN".parse().unwrap()]).danger_allow_clear_text());
    let offer = "250-mx\r\n250 AUTH LOGIN\r\n";
    come_to(login.clone(), &["220 mx\r\n", offer], b"").is_given_up(l.auth, "AUTH");
    come_to(login, &["220 mx\r\n", offer, "334 VXNlcm5hbWU6\r\n"], b"").is_given_up(l.auth, "AUTH");
    // A server that is silent while nobody asks for anything may be so.
    assert_eq!(come_to(clear(), &OPEN, b"").deadline(), None);
    let turns = ["250 ok\r\n", "250 ok\r\n", "550 no\r\n", "354 go\r\n"];
    let phases = ["MAIL", "RCPT", "RCPT", "DATA", "final dot"];
    let waits = [l.mail, l.rcpt, l.rcpt, l.data, l.message];
    for (at, (phase, wait)) in phases.into_iter().zip(waits).enumerate() {
        // One by one; and in a group, where each reply has its own limit from the reply before it.
        for offer in ["250 mx\r\n", "250-mx\r\n250 PIPELINING\r\n"] {
            let mut scripted = come_to(clear(), &["220 mx\r\n", offer], b"");
            scripted.connection.send(envelope(), Default::default()).unwrap();
            scripted.speak();
            for turn in &turns[..at] {
                scripted.wait(Duration::from_secs(2));
                scripted.hear(turn.as_bytes()).unwrap();
                if let Some(body) = scripted.connection.body(scripted.now) {
                    body.end();
                }
                scripted.speak();
            }
            // Octets that complete nothing prolong nothing.
            scripted.wait(Duration::from_secs(5));
            scripted.hear(b"25").unwrap();
            let deadline = scripted.deadline().unwrap();
            assert_eq!(deadline.at, scripted.now.after(wait - Duration::from_secs(5)));
            scripted.now = deadline.at;
            let error = scripted.poll().expect_err("the time is up");
            assert_eq!(error.phase.name(), phase);
            assert!(matches!(error.cause, Cause::TimedOut { waited, .. } if waited == wait), "{error:?}");
            let outcome = scripted.events.last().unwrap();
            let expected = match at {
                0..=2 => "sent not sent, not sent",
                3 => "sent not sent, refused 550",
                _ => "sent unknown, refused 550",
            };
            assert_eq!(outcome, expected);
        }
    }
    let mut scripted = come_to(clear(), &OPEN, b"");
    scripted.connection.command(Command::noop()).unwrap();
    scripted.speak();
    scripted.is_given_up(l.command, "command");
    // Who does not answer QUIT has nothing to tell any more.
    let mut scripted = come_to(clear(), &OPEN, b"");
    scripted.connection.quit().unwrap();
    scripted.speak();
    assert_eq!(scripted.deadline().unwrap().at, scripted.now.after(l.quit));
    scripted.wait(l.quit);
    assert_eq!((scripted.poll(), scripted.events.last().unwrap().as_str()), (Ok(()), "closed"));
}

#[test]
fn a_proxy_that_stalls_is_given_up_and_named() {
    let seconds = Duration::from_secs;
    let limits = Limits { hop: seconds(53), ..limits() };
    let clear = || config(Security::None).limits(limits);
    for (url, turns, watching) in [
        ("socks5h://p:1080", &[][..], "SOCKS5 method"),
        ("socks5h://p:1080", &["\u{5}\0"], "SOCKS5 request"),
        ("http://p:3128", &[], "CONNECT reply"),
    ] {
        let config = clear().proxy(url.parse().unwrap());
        let route = config.route(&[]).unwrap();
        let connection = Connection::new(config, route).unwrap();
        let mut scripted = Scripted { connection, ..Scripted::new(clear()) };
        scripted.speak();
        let begun = scripted.now;
        for turn in turns {
            // The handshake has one limit as a whole.
            scripted.wait(seconds(2));
            scripted.hear(turn.as_bytes()).unwrap();
            scripted.speak();
        }
        let deadline = scripted.deadline().unwrap();
        assert_eq!((deadline.at, deadline.watching.name()), (begun.after(seconds(53)), watching));
        scripted.now = deadline.at;
        let error = scripted.poll().expect_err("the time is up");
        assert_eq!((error.phase.name(), error.hop.map(|hop| hop.number())), (watching, Some(1)));
    }
    // TLS with the proxy comes before its handshake.
    let config = clear().proxy("https://p:3128".parse().unwrap()).tls(Pki::new().client);
    let route = config.route(&[]).unwrap();
    let mut scripted = Scripted { connection: Connection::new(config, route).unwrap(), ..Scripted::new(clear()) };
    scripted.speak();
    let error = scripted.is_given_up(limits.tls, "TLS handshake");
    assert_eq!(error.hop.map(|hop| hop.number()), Some(1));
}

#[test]
fn silence_under_auto_is_tried_with_tls_and_then_given_up() {
    let mut scripted = Scripted::new(config(Security::Auto).limits(limits()).tls(Pki::new().client));
    scripted.speak();
    assert!(scripted.said.is_empty());
    let l = limits();
    assert_eq!(scripted.deadline().unwrap().at, scripted.now.after(l.greeting));
    scripted.wait(l.greeting);
    scripted.poll().unwrap();
    scripted.speak();
    assert_eq!(scripted.said[0], 0x16, "a handshake");
    scripted.is_given_up(l.greeting.min(l.tls), "greeting");
}

#[test]
fn a_reply_that_nobody_asked_for_and_that_does_not_end_is_given_up() {
    let mut scripted = come_to(config(Security::None).limits(limits()), &OPEN, b"");
    scripted.hear(b"4").unwrap();
    scripted.connection.send(envelope(), Default::default()).unwrap();
    let before = scripted.said.len();
    scripted.speak();
    assert_eq!(scripted.said.len(), before, "it speaks into a reply that has begun");
    scripted.is_given_up(limits().command, "idle");
    assert_eq!(scripted.events.last().unwrap(), "sent not sent, not sent");
}

#[test]
fn a_transport_that_takes_nothing_is_given_up() {
    let mut scripted = come_to(config(Security::None).limits(limits()), &OPEN, b"");
    scripted.connection.send(envelope(), Default::default()).unwrap();
    for reply in ["250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
        scripted.speak();
        scripted.hear(reply.as_bytes()).unwrap();
    }
    let message = vec![b'x'; 1 << 20];
    let (mut rest, mut most) = (&message[..], 0);
    let mut body = scripted.connection.body(scripted.now).expect("354 was said");
    while body.write(&mut rest).unwrap() > 0 {}
    most = most.max(message.len() - rest.len());
    assert!((1..=128 * 1024).contains(&most), "{most} octets wait");
    scripted.wait(Duration::ZERO);
    scripted.deadline().expect("the transport has something to take");
    scripted.wait(Duration::from_secs(7));
    // It takes a little, and has its full time again.
    scripted.connection.sent(10);
    let error = scripted.is_given_up(limits().block, "data block");
    assert!(error.is_transient());
    assert_eq!(scripted.events.last().unwrap(), "sent not sent, not sent");
}

#[test]
fn one_bound_for_the_operation_as_a_whole_holds_in_every_phase() {
    let whole = Duration::from_secs(12);
    let make = || config(Security::None).limits(limits().operation(whole));
    // Becoming ready, a second a turn.
    let mut scripted = come_to(make(), &OPEN[..1], b"");
    let left = whole - Duration::from_secs(1);
    assert_eq!(scripted.deadline().unwrap().at, scripted.now.after(left));
    scripted.wait(left);
    let error = scripted.poll().expect_err("the time is up");
    assert_eq!(error.phase.name(), "EHLO");
    assert!(matches!(error.cause, Cause::TimedOut { waited, .. } if waited == whole), "{error:?}");
    // A tunnel and TLS are part of it; being idle is not.
    let mut scripted = come_to(make(), &OPEN, b"");
    assert_eq!(scripted.deadline(), None);
    scripted.wait(whole * 10);
    scripted.poll().unwrap();
    // Each message has its own time, also where its commands go out before the answer to the one before.
    let mut scripted = come_to(make(), &["220 mx\r\n", "250-mx\r\n250 PIPELINING\r\n"], b"");
    for _ in 0..2 {
        scripted.connection.send(envelope(), Default::default()).unwrap();
    }
    scripted.speak();
    scripted.wait(Duration::from_secs(3));
    scripted.hear(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n").unwrap();
    scripted.connection.body(scripted.now).unwrap().end();
    scripted.speak();
    assert!(scripted.said.ends_with(b"DATA\r\n"), "the next message is under way");
    let second = scripted.now;
    scripted.wait(Duration::from_secs(4));
    scripted.hear(b"250 taken\r\n").unwrap();
    let deadline = scripted.deadline().unwrap();
    assert_eq!((deadline.at, deadline.watching), (second.after(whole), phase::MAIL));
    scripted.now = deadline.at;
    let error = scripted.poll().expect_err("the time is up");
    assert!(matches!(error.cause, Cause::TimedOut { waited, .. } if waited == whole), "{error:?}");
    assert_eq!(scripted.events.last().unwrap(), "sent not sent, not sent");
}

#[test]
fn a_message_refused_while_it_goes_out_gets_no_dot() {
    for (reply, outcome, cause) in [
        ("552 5.3.4 too big\r\n", "sent refused 552, refused 552", "refused early"),
        ("421 4.3.2 going down\r\n", "sent refused 421, refused 421", "closing"),
        ("250 fine already\r\n", "sent not sent, not sent", "unsolicited"),
        ("354 go on\r\n", "sent not sent, not sent", "unsolicited"),
    ] {
        for cut in 1..reply.len() {
            let mut scripted = come_to(config(Security::None).limits(limits()), &OPEN, b"");
            scripted.connection.send(envelope(), Default::default()).unwrap();
            for reply in ["250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
                scripted.speak();
                scripted.hear(reply.as_bytes()).unwrap();
            }
            scripted.connection.body(scripted.now).unwrap().write(&mut &b"half a mess"[..]).unwrap();
            scripted.speak();
            let (one, two) = reply.split_at(cut);
            scripted.hear(one.as_bytes()).unwrap();
            assert!(scripted.connection.body(scripted.now).is_none(), "it goes on into a refusal");
            let error = scripted.hear(two.as_bytes()).expect_err("the session is over");
            assert_eq!(scripted.events.last().unwrap(), outcome);
            assert!(tests::dialogue::describe_error(&error).contains(cause), "{error:?}");
            assert_eq!(error.phase.name(), "data block");
            assert!(scripted.connection.body(scripted.now).is_none());
            scripted.speak();
            assert!(scripted.said.ends_with(b"half a mess"), "{}", scripted.said.escape_ascii());
        }
    }
}

#[test]
fn a_write_that_fails_before_the_dot_was_handed_over_leaves_no_doubt() {
    let mut scripted = come_to(config(Security::None).limits(limits()), &OPEN, b"");
    scripted.connection.send(envelope(), Default::default()).unwrap();
    for reply in ["250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
        scripted.speak();
        scripted.hear(reply.as_bytes()).unwrap();
    }
    scripted.connection.body(scripted.now).unwrap().end();
    scripted.connection.write_failed();
    assert!(scripted.connection.wants(scripted.now).write.is_empty());
    scripted.connection.received(0);
    scripted.poll().expect_err("the session is over");
    assert_eq!(scripted.events.last().unwrap(), "sent not sent, not sent");
}

#[test]
fn what_is_told_as_not_sent_never_leaves_afterwards() {
    for (grouping, replies) in
        [(Grouping::OneByOne, &["250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"][..]), (Grouping::Flights, &[])]
    {
        let open = ["220 mx\r\n", "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n"];
        let mut scripted = come_to(config(Security::None).limits(limits()).grouping(grouping), &open, b"");
        scripted.connection.send(envelope(), Default::default()).unwrap();
        for reply in replies {
            scripted.speak();
            scripted.hear(reply.as_bytes()).unwrap();
        }
        scripted.speak();
        scripted.connection.body(scripted.now).expect("it may go").end();
        // All but the last octet of it.
        let most = scripted.connection.wants(scripted.now).write.len() - 1;
        scripted.connection.sent(most);
        scripted.wait(limits().message.max(limits().block) * 2);
        scripted.poll().expect_err("the time is up");
        assert_eq!(scripted.events.last().unwrap(), "sent not sent, not sent");
        // Whoever writes what is left must not complete what is told as not sent.
        assert!(scripted.connection.wants(scripted.now).write.is_empty());
    }
}

#[test]
fn a_write_that_fails_is_not_waited_out_for_ever() {
    let mut scripted = come_to(config(Security::None).limits(limits()), &OPEN, b"");
    scripted.connection.send(envelope(), Default::default()).unwrap();
    for reply in ["250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
        scripted.speak();
        scripted.hear(reply.as_bytes()).unwrap();
    }
    scripted.connection.body(scripted.now).unwrap().write(&mut &b"half a mess"[..]).unwrap();
    // What the peer has said may still come, but not for ever.
    scripted.connection.write_failed();
    scripted.is_given_up(limits().block, "data block");
    assert_eq!(scripted.events.last().unwrap(), "sent not sent, not sent");
}

#[test]
fn a_message_that_never_began_took_no_flight() {
    let mut scripted = come_to(config(Security::None).limits(limits()), &OPEN, b"");
    scripted.connection.command(Command::noop()).unwrap();
    scripted.connection.send(envelope(), Default::default()).unwrap();
    scripted.speak();
    scripted.connection.received(0);
    let event = scripted.connection.poll(scripted.now).unwrap();
    let Some(Event::Sent(report)) = event else { panic!("{event:?}") };
    assert_eq!((report.flights, report.octets), (0, 0));
}
