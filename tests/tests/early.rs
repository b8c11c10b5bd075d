//! PIPECONNECT: whatever the server turns out to be, what is told of a message is what became of it, and no octet of it was ever
//! read as a command.

use std::sync::Arc;

use proxy_proto::{Instant, Machine};
use smtp_proto::client::{self, Client, Envelope, Event, Outcome, Remembered, Report, StartTls};
use smtp_proto::sasl::{Channel, Credentials};
use smtp_proto::{Config, Connection, Route, Security, server, tls};
use tests::tls::Pki;
use tests::wire::{Break, Wire};

const NOW: Instant = Instant::EPOCH;

fn remembered(offer: &str) -> Remembered {
    ["grouping flights\n", &offer.replace(' ', "\n")].concat().parse().unwrap()
}

fn envelope() -> Envelope {
    Envelope::new("alice@example.org", ["bob@example.net", "carol@example.net"]).unwrap()
}

/// A server that answers the commands of its first transaction as it is told, and everything behind that as it should.
struct Model {
    ehlo: &'static str,
    /// To MAIL, RCPT, RCPT, and DATA, the first time.
    first: [&'static str; 4],
    open: bool,
    accepted: Vec<String>,
    arriving: Option<Vec<u8>>,
    delivered: Vec<(Vec<String>, Vec<u8>)>,
    input: Vec<u8>,
}

impl Model {
    /// Takes what the client said, and gives the replies.
    fn hear(&mut self, octets: &[u8]) -> Vec<u8> {
        self.input.extend_from_slice(octets);
        let mut output = String::new();
        while let Some(end) = self.input.windows(2).position(|two| two == b"\r\n") {
            let line = self.input.drain(..end + 2).take(end).collect::<Vec<_>>();
            if let Some(message) = &mut self.arriving {
                if line == b"." {
                    let message = self.arriving.take().unwrap();
                    self.delivered.push((std::mem::take(&mut self.accepted), message));
                    self.open = false;
                    output += "250 taken\r\n";
                } else {
                    message.extend_from_slice(&[&line[..], b"\r\n"].concat());
                }
                continue;
            }
            output += &self.obey(std::str::from_utf8(&line).unwrap());
        }
        output.into_bytes()
    }

    fn obey(&mut self, line: &str) -> String {
        let verb = line.split(' ').next().unwrap();
        let mut scripted = |at: usize| Some(std::mem::take(&mut self.first[at])).filter(|reply| !reply.is_empty());
        let reply = match verb {
            "EHLO" => return self.ehlo.replace('\n', "\r\n"),
            "MAIL" if self.open => "503 nested",
            "MAIL" => scripted(0).unwrap_or("250 ok"),
            "RCPT" => scripted(1).or_else(|| scripted(2)).unwrap_or(if self.open { "250 ok" } else { "503 no MAIL" }),
            "DATA" => match scripted(3).unwrap_or("354 go") {
                reply if self.accepted.is_empty() && reply.starts_with('3') => "554 nobody",
                reply => reply,
            },
            "BDAT" => {
                assert!(self.ehlo.contains("CHUNKING"), "a message for one who does not know BDAT");
                let size: usize = line.split(' ').nth(1).unwrap().parse().unwrap();
                let message = self.input.drain(..size).collect();
                if self.accepted.is_empty() {
                    "503 nobody"
                } else {
                    assert!(line.ends_with(" LAST"));
                    self.delivered.push((std::mem::take(&mut self.accepted), message));
                    self.open = false;
                    "250 taken"
                }
            }
            "RSET" => {
                self.first = [""; 4];
                (self.open, self.accepted) = (false, Vec::new());
                "250 ok"
            }
            "HELO" | "QUIT" => "250 ok",
            _ => panic!("not a command: {line}"),
        };
        match (verb, &reply[..1]) {
            ("MAIL", "2") => self.open = true,
            ("RCPT", "2") => self.accepted.push(line[9..line.len() - 1].to_string()),
            ("DATA", "3") => self.arriving = Some(Vec::new()),
            _ => {}
        }
        [reply, "\r\n"].concat()
    }
}

/// Runs until nobody has anything to say.
fn run(model: &mut Model, greeting: &str, offer: &str) -> (Vec<Report>, Client) {
    let mut config = client::Config::new("mx.example.org");
    config.starttls = StartTls::Never;
    config.remembered = Some(remembered(offer));
    let mut client = Client::new(config).unwrap();
    client.send(envelope(), Default::default()).unwrap();
    let mut early = Vec::new();
    client.transmit(NOW, &mut early);
    assert!(early.starts_with(b"EHLO ") && client.body(NOW, &mut early, 1000).is_none(), "it waits for EHLO's answer");
    let (mut reports, mut to_client) = (Vec::new(), greeting.replace('\n', "\r\n").into_bytes());
    let mut from_client = early;
    while !to_client.is_empty() || !from_client.is_empty() {
        if !greeting.starts_with('5') {
            to_client.extend(model.hear(&std::mem::take(&mut from_client)));
        }
        from_client.clear();
        let mut rest = &to_client[..];
        while let Ok(Some(event)) = client.receive(NOW, &mut rest) {
            if let Event::Sent(report) = event {
                reports.push(report);
            }
        }
        to_client.clear();
        client.transmit(NOW, &mut from_client);
        if let Some(mut body) = client.body(NOW, &mut from_client, 1000) {
            body.write(&mut &b"QUIT\r\nRSET\r\n"[..]).unwrap();
            body.end();
        }
        client.transmit(NOW, &mut from_client);
    }
    while let Some(report) = client.abandoned(|_| true) {
        reports.push(report);
    }
    (reports, client)
}

#[test]
fn whatever_the_server_is_now_the_outcome_is_right() {
    let offers = ["PIPELINING PIPECONNECT", "PIPELINING PIPECONNECT CHUNKING", "PIPELINING X_PIPE_CONNECT SIZE"];
    let ehlos = [
        "250-mx\n250-PIPELINING\n250 PIPECONNECT\n",
        "250-mx\n250-PIPELINING\n250-CHUNKING\n250 PIPECONNECT\n",
        "250-mx\n250-PIPELINING\n250 X_PIPE_CONNECT\n",
        "250-mx\n250 PIPELINING\n",
        "250-mx\n250 CHUNKING\n",
        "250 mx\n",
        "502 what\n",
        "554 not you\n",
    ];
    let (mut accepted, mut cases) = (0, 0);
    for offer in offers {
        for ehlo in ehlos {
            for mail in ["250 ok", "503 no", "550 no"] {
                for one in ["250 ok", "503 no", "550 no"] {
                    for two in ["250 ok", "503 no"] {
                        for data in ["354 go", "503 no", "451 no"] {
                            // Who has not taken MAIL has no transaction.
                            let refused = |reply| if mail.starts_with('2') { reply } else { "503 no MAIL" };
                            let first = [mail, refused(one), refused(two), data];
                            let mut model = Model {
                                ehlo,
                                first,
                                open: false,
                                accepted: Vec::new(),
                                arriving: None,
                                delivered: Vec::new(),
                                input: Vec::new(),
                            };
                            let (reports, client) = run(&mut model, "220 mx\n", offer);
                            let here = format!("{offer}: {ehlo:?} {first:?}");
                            assert_eq!(reports.len(), 1, "{here}");
                            assert!(model.delivered.len() <= 1 && client.spoke_early(), "{here}");
                            for (_, message) in &model.delivered {
                                assert_eq!(message, b"QUIT\r\nRSET\r\n", "{here}");
                            }
                            let to = model.delivered.first().map(|(to, _)| to.clone()).unwrap_or_default();
                            for recipient in &reports[0].recipients {
                                let delivered = to.iter().any(|to| to == recipient.path.as_str());
                                match &recipient.outcome {
                                    Outcome::Accepted(_) => assert!(delivered, "{here}"),
                                    Outcome::Refused(_) | Outcome::NotSent => assert!(!delivered, "{here}"),
                                    Outcome::Unknown => panic!("nothing is in doubt: {here}"),
                                }
                            }
                            // Whoever does not offer it any more is asked again; then all is accepted.
                            let borne_out = ehlo.contains("CONNECT");
                            if !borne_out && !ehlo.starts_with("554") && client.is_ready() {
                                let asked_again = !mail.starts_with('2') || one == "503 no" && two == "503 no";
                                assert!(!asked_again || reports[0].is_accepted(), "{here}");
                            }
                            accepted += usize::from(reports[0].is_accepted());
                            cases += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(accepted > cases / 4, "{accepted} of {cases}");
}

#[test]
fn a_refused_greeting_leaves_no_doubt() {
    for greeting in ["554 synchronization error\n", "521 no mail here\n"] {
        let mut model = Model {
            ehlo: "",
            first: [""; 4],
            open: false,
            accepted: Vec::new(),
            arriving: None,
            delivered: Vec::new(),
            input: Vec::new(),
        };
        let (reports, client) = run(&mut model, greeting, "PIPELINING PIPECONNECT CHUNKING");
        assert!(client.spoke_early() && !client.is_ready());
        assert!(reports[0].recipients.iter().all(|one| one.outcome == Outcome::NotSent));
        assert_eq!(reports[0].safe_to_retry().count(), 2);
    }
}

#[test]
fn the_second_session_under_tls_does_not_wait_for_the_greeting() {
    let pki = Pki::new();
    let acceptor: Arc<dyn tls::Acceptor> = Arc::new(pki.server.clone());
    // The first session waits for the greeting, too, before its first flight.
    for (without, flights) in [("", 2), ("CHUNKING", 3)] {
        let config = || {
            let config = Config::new("localhost", 465).security(Security::Implicit).tls(pki.client.clone());
            config.entropy(|octets| octets.fill(7))
        };
        let server = || {
            let server = server::Config::new("mx.example.org").unwrap().implicit_tls(true).with("PIPECONNECT").unwrap();
            server.without(without)
        };
        let mut first = Wire::new(config(), server(), Some(acceptor.clone()), true, 1000);
        assert!(first.send(&envelope(), b"hello\r\n").is_accepted());
        assert!(!first.client.spoke_early());
        let stored = first.client.remembered().expect("a session that is ready").to_string();
        let hint: Remembered = stored.parse().unwrap();
        let mut second = Wire::new(config().remembered(hint), server(), Some(acceptor.clone()), true, 1000);
        let report = second.send(&envelope(), b"hello\r\n");
        assert!(report.is_accepted() && second.client.spoke_early());
        assert_eq!((first.client.flights(), second.client.flights(), report.flights), (flights, 2, 2));
        let greeted = second.events.iter().position(|event| matches!(event, Event::Greeted(_)));
        assert!(greeted.is_some_and(|at| matches!(second.events[at + 1], Event::Ready)), "{:?}", second.events);
        assert_eq!(second.arrived, first.arrived);
    }
}

#[test]
fn wherever_the_wire_breaks_the_outcome_is_right() {
    for chunking in ["", "CHUNKING"] {
        let make = || {
            let hint = remembered("PIPELINING PIPECONNECT CHUNKING SIZE=1000");
            let config = Config::new("localhost", 25).security(Security::None).remembered(hint);
            let server = server::Config::new("mx.example.org").unwrap().without(chunking);
            let mut wire = Wire::new(config, server, None, false, 100_000);
            let id = wire.client.send(envelope(), Default::default()).unwrap();
            (wire, id)
        };
        let (mut whole, id) = make();
        whole.run_out_to(&[(id, b"hello\r\n")], |event| matches!(event, Event::Sent(_)));
        let (up, down) = (whole.from_client.len(), whole.from_server.len());
        assert!(whole.client.spoke_early() && whole.arrived.len() == 1);
        for (up, down) in (0..up).map(|at| (at, usize::MAX)).chain((0..down).map(|at| (usize::MAX, at))) {
            for swallows in [false, true] {
                let (mut wire, id) = make();
                wire.breaks = Some(Break { up, down, swallows });
                wire.run_out(&[(id, b"hello\r\n")]);
                let reports: Vec<_> = wire.events.iter().filter(|event| matches!(event, Event::Sent(_))).collect();
                let [Event::Sent(report)] = reports[..] else { panic!("{reports:?} at {up} {down}") };
                let all_out = wire.taken >= whole.from_client.len();
                for one in &report.recipients {
                    let expected = if all_out { Outcome::Unknown } else { Outcome::NotSent };
                    assert_eq!(one.outcome, expected, "broken at {up} {down} {swallows}");
                    assert!(all_out || wire.arrived.is_empty());
                }
            }
        }
    }
}

#[test]
fn what_is_outstanding_is_named() {
    let (client, _) = login("PIPELINING PIPECONNECT AUTH=PLAIN");
    assert_eq!(client.outstanding().map(|phase| phase.name()).collect::<Vec<_>>(), ["greeting", "EHLO", "AUTH"]);
    let config = Config::new("localhost", 25).security(Security::None);
    let mut wire = Wire::new(config, server::Config::new("mx.example.org").unwrap(), None, false, 1000);
    assert!(wire.send(&envelope(), b"hello\r\n").is_accepted());
    assert!(wire.client.is_clean() && wire.client.outstanding().len() == 0);
}

/// A client that knows this offer, under TLS, and what it says unasked.
fn login(offer: &str) -> (Client, String) {
    let mut config = client::Config::new("mx.example.org");
    config.remembered = Some(remembered(offer));
    config.credentials = Some(Credentials::password("tim", "tanstaaftanstaaf"));
    config.entropy = Some(Arc::new(|octets: &mut [u8]| octets.fill(7)));
    let mut client = Client::new(config).unwrap();
    client.secured(Channel::secured());
    client.send(envelope(), Default::default()).unwrap();
    let mut said = Vec::new();
    client.transmit(NOW, &mut said);
    (client, String::from_utf8(said).unwrap())
}

fn hear(client: &mut Client, mut octets: &[u8]) -> (Vec<Event>, String) {
    let mut events = Vec::new();
    while let Ok(Some(event)) = client.receive(NOW, &mut octets) {
        events.push(event);
    }
    let mut said = Vec::new();
    client.transmit(NOW, &mut said);
    (events, String::from_utf8(said).unwrap())
}

const PLAIN: &str = "AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n";

#[test]
fn under_tls_a_login_of_one_message_goes_with_ehlo_and_mail_waits_for_it() {
    let offer = "PIPELINING PIPECONNECT AUTH=PLAIN";
    let (mut client, said) = login(offer);
    assert_eq!(said, ["EHLO localhost\r\n", PLAIN].concat());
    let replies = b"220 mx\r\n250-mx\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n";
    assert_eq!(hear(&mut client, replies).1, "");
    let (events, said) = hear(&mut client, b"235 ok\r\n");
    assert!(matches!(events[..], [Event::Ready]) && said.starts_with("MAIL "), "{events:?} {said}");
    // A mechanism that is not offered any more, and one that the server took for out of order, is begun anew.
    for replies in [
        &b"220 mx\r\n250-mx\r\n250 AUTH LOGIN\r\n535 no such mechanism\r\n"[..],
        b"220 mx\r\n250-mx\r\n250 AUTH LOGIN PLAIN\r\n503 too early\r\n",
    ] {
        let (mut client, _) = login(offer);
        let (_, said) = hear(&mut client, replies);
        assert!(said.starts_with("AUTH "), "{said}");
    }
    // A refused password is not tried again; without EHLO, or without AUTH, there is no login and no mail.
    for replies in [
        &b"220 mx\r\n250-mx\r\n250 AUTH PLAIN\r\n535 no\r\n"[..],
        b"220 mx\r\n250 mx\r\n502 no\r\n",
        b"220 mx\r\n502 no\r\n502 no\r\n250 mx\r\n",
        b"220 mx\r\n502 no\r\n235 ok\r\n250 mx\r\n",
        b"554 no\r\n",
    ] {
        let (mut client, _) = login(offer);
        let mut said = String::new();
        for line in replies.split_inclusive(|octet| *octet == b'\n') {
            said += &hear(&mut client, line).1;
        }
        assert!(!client.is_ready() && !said.contains("MAIL") && !said.contains("AUTH"), "{said}");
        assert!(client.abandoned(|_| false).is_some());
    }
}

#[test]
fn what_a_challenge_decides_waits_for_the_answer_to_ehlo() {
    for mechanism in ["SCRAM-SHA-256", "LOGIN", "CRAM-MD5"] {
        let (_, said) = login(&["PIPELINING PIPECONNECT AUTH=", mechanism].concat());
        assert_eq!(said, "EHLO localhost\r\n", "{mechanism}");
    }
}

#[test]
fn no_credentials_and_no_mail_go_ahead_of_tls() {
    for security in [Security::StartTls, Security::StartTlsIfOffered] {
        for credentials in [None, Some(Credentials::password("tim", "tanstaaftanstaaf"))] {
            let hint = remembered("PIPELINING PIPECONNECT AUTH=PLAIN");
            let mut config = Config::new("localhost", 587).security(security).remembered(hint);
            if let Some(credentials) = credentials {
                config = config.credentials(credentials);
            }
            let mut connection = Connection::new(config, Route::direct()).unwrap();
            connection.send(envelope(), Default::default()).unwrap();
            assert_eq!(connection.wants(NOW).write, b"EHLO localhost\r\n");
        }
    }
}

#[test]
fn nobody_is_spoken_to_unasked_who_did_not_offer_it() {
    for offer in ["PIPELINING", "PIPECONNECT", "CHUNKING"] {
        let config = Config::new("localhost", 25).security(Security::None).remembered(remembered(offer));
        let mut connection = Connection::new(config, Route::direct()).unwrap();
        connection.send(envelope(), Default::default()).unwrap();
        assert!(connection.wants(NOW).write.is_empty() && !connection.spoke_early(), "{offer}");
    }
}

#[test]
fn a_step_down_is_remembered() {
    let hint: Remembered = "grouping groups\nPIPELINING\nCHUNKING\n".parse().unwrap();
    let config = Config::new("localhost", 25).security(Security::None).remembered(hint);
    let server = server::Config::new("mx.example.org").unwrap();
    let mut wire = Wire::new(config, server, None, false, 1000);
    assert!(wire.send(&envelope(), b"hello\r\n").is_accepted());
    assert_eq!(wire.client.grouping(), smtp_proto::Grouping::Groups);
    assert_eq!(wire.client.remembered().unwrap().grouping(), smtp_proto::Grouping::Groups);
}
