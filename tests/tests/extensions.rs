//! Extensions that change the course of a session or of a message.

use std::sync::{Arc, Mutex};

use proxy_proto::{Instant, Machine};
use smtp_proto::Misuse;
use smtp_proto::client::{Client, Config, ContentUrl, Envelope, Event, Outcome, StartTls, Transcript};
use smtp_proto::command::{Command, Etrn, Origin};
use tests::dialogue::{describe, describe_report};

const NOW: Instant = Instant::EPOCH;
const URL: &str = "imap://u@imap.example.org/outbox/;uid=1;urlauth=submit+u:internal:0123456789abcdef";

/// A session that has come so far, and what happened behind that.
struct Session {
    client: Client,
    events: Vec<Event>,
    shown: Arc<Mutex<String>>,
}

impl Session {
    fn new(offer: &str) -> Self {
        let mut session = Self::before_greeting();
        session.hear(&format!("220 mx\r\n250-mx\r\n{offer}"));
        session
    }

    fn before_greeting() -> Self {
        let shown = Arc::new(Mutex::new(String::new()));
        let mut config = Config::new("mx.example.org");
        config.starttls = StartTls::Never;
        let lines = shown.clone();
        config.transcript = Some(Transcript::new(move |_, _, line| *lines.lock().unwrap() += &format!("{line}\n")));
        Self { client: Client::new(config).unwrap(), events: Vec::new(), shown }
    }

    /// Hears replies, each as soon as it is due, and gives what is said to all of them.
    fn hear(&mut self, replies: &str) -> String {
        let mut said = Vec::new();
        for line in replies.split_inclusive('\n') {
            let mut rest = line.as_bytes();
            while let Ok(Some(event)) = self.client.receive(NOW, &mut rest) {
                self.events.push(event);
            }
            self.client.transmit(NOW, &mut said);
        }
        String::from_utf8(said).unwrap()
    }

    /// What is said without anything new being heard.
    fn say(&mut self) -> String {
        let mut said = Vec::new();
        self.client.transmit(NOW, &mut said);
        String::from_utf8(said).unwrap()
    }

    fn told(&mut self) -> Vec<String> {
        self.events.drain(..).map(|event| describe(&event)).collect()
    }
}

fn envelope() -> Envelope {
    Envelope::new("a@example.org", ["b@example.net"]).unwrap()
}

#[test]
fn a_message_is_put_together_from_octets_and_urls() {
    let mut session = Session::new("250-PIPELINING\r\n250-CHUNKING\r\n250 BURL imap\r\n");
    session.client.send(envelope().burl(), Default::default()).unwrap();
    let url = ContentUrl::new(URL).unwrap();
    let mut said = Vec::new();
    session.client.transmit(NOW, &mut said);
    let mut body = session.client.body(NOW, &mut said, 10_000).expect("it may go out");
    body.write(&mut &b"Subject: two parts\r\n\r\nfirst"[..]).unwrap();
    // The first chunk is a trial: what follows waits for its answer.
    assert_eq!(body.url(&url), Ok(false));
    let head = "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n";
    let first = "BDAT 29\r\nSubject: two parts\r\n\r\nfirst\r\n";
    assert_eq!(String::from_utf8_lossy(&said), [head, first].concat());
    session.hear("250 ok\r\n250 ok\r\n250 chunk\r\n");
    let mut said = Vec::new();
    let mut body = session.client.body(NOW, &mut said, 10_000).expect("it may go on");
    assert_eq!(body.url(&url), Ok(true));
    body.write(&mut &b".last\n"[..]).unwrap();
    body.end_with_url(url).unwrap();
    let expected = format!("BURL {URL}\r\nBDAT 7\r\n.last\r\nBURL {URL} LAST\r\n");
    assert_eq!(String::from_utf8_lossy(&said), expected);
    session.hear(&format!("250 part\r\n250 chunk\r\n250 taken, not {URL}\r\n"));
    assert_eq!(session.told().last().unwrap(), "sent accepted 250");
    let shown = session.shown.lock().unwrap();
    assert!(shown.contains("C: BURL imap://u@imap.example.org/outbox/;uid=1;urlauth=*** LAST\n"), "{shown}");
    assert!(!shown.contains("0123456789abcdef"), "a token in clear: {shown}");
}

#[test]
fn an_end_by_a_url_waits_for_its_turn() {
    let mut session = Session::new("250-CHUNKING\r\n250 BURL imap\r\n");
    session.client.send(envelope().burl(), Default::default()).unwrap();
    session.say();
    session.hear("250 ok\r\n");
    session.hear("250 ok\r\n");
    let mut said = Vec::new();
    let mut body = session.client.body(NOW, &mut said, 10_000).expect("it may go out");
    body.write(&mut &b"head"[..]).unwrap();
    body.end_with_url(ContentUrl::new(URL).unwrap()).unwrap();
    assert_eq!(said, b"BDAT 6\r\nhead\r\n");
    assert_eq!(session.hear("250 ok\r\n"), format!("BURL {URL} LAST\r\n"));
    session.hear("250 ok\r\n");
    assert_eq!(session.told().last().unwrap(), "sent accepted 250");
}

#[test]
fn without_chunking_a_url_is_all_there_is() {
    let mut session = Session::new("250 BURL imap\r\n");
    assert_eq!(
        Session::new("250 CHUNKING\r\n").client.send(envelope().burl(), Default::default()),
        Err(Misuse::NotOffered { extension: "BURL" })
    );
    session.client.send(envelope().burl(), Default::default()).unwrap();
    session.say();
    session.hear("250 ok\r\n250 ok\r\n");
    let mut said = Vec::new();
    let mut body = session.client.body(NOW, &mut said, 10_000).expect("it may go out");
    let not = Misuse::NotOffered { extension: "CHUNKING" };
    assert_eq!(body.write(&mut &b"octets"[..]), Err(not.clone()));
    assert_eq!(body.url(&ContentUrl::new(URL).unwrap()), Err(not));
    body.end();
    assert!(said.is_empty(), "a chunk for one who does not know it");
    let report = session.client.abandoned(|_| false).expect("it was given up");
    assert_eq!(describe_report(&report), "not sent");
    // An envelope that says nothing of URLs has none.
    let mut session = Session::new("250-CHUNKING\r\n250-PIPELINING\r\n250 BURL imap\r\n");
    session.client.send(envelope(), Default::default()).unwrap();
    session.say();
    let mut said = Vec::new();
    let mut body = session.client.body(NOW, &mut said, 10_000).expect("it may go out");
    assert_eq!(body.url(&ContentUrl::new(URL).unwrap()), Err(Misuse::NotOffered { extension: "BURL" }));
}

#[test]
fn without_the_last_word_nobody_is_accepted_by_prdr() {
    let replies = ["353 each\r\n", "250 yes\r\n", "550 no\r\n", "250 id=1\r\n"];
    let expected = [
        "unknown, unknown",
        "unknown, unknown",
        "unknown, unknown",
        "unknown, refused 550",
        "accepted 250, refused 550",
    ];
    for (heard, expected) in expected.into_iter().enumerate() {
        let mut session = Session::new("250 PRDR\r\n");
        let two = Envelope::new("a@example.org", ["b@example.net", "c@example.net"]).unwrap();
        session.client.send(two.prdr(), Default::default()).unwrap();
        session.say();
        session.hear("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
        session.client.body(NOW, &mut Vec::new(), 10_000).expect("354 was said").end();
        for reply in &replies[..heard] {
            session.hear(reply);
        }
        let report = match session.events.pop() {
            Some(Event::Sent(report)) => report,
            _ => {
                session.client.finish().expect_err("a session that is not over");
                session.client.abandoned(|_| true).expect("a report")
            }
        };
        assert_eq!(describe_report(&report), expected, "after {heard} replies");
        if let Outcome::Accepted(reply) = &report.recipients[0].outcome {
            assert_eq!(reply.text(), "id=1");
        }
    }
}

#[test]
fn commands_need_what_they_belong_to() {
    let origin = Origin::new().name("spike.example.org").port(25);
    let not = |extension| Err(Misuse::NotOffered { extension });
    let mut session = Session::new("250-ETRN\r\n250-XFORWARD NAME PORT\r\n250 XCLIENT NAME\r\n");
    assert_eq!(session.client.command(Command::xclient(&origin).unwrap()), not("PORT"));
    session.client.command(Command::xforward(&origin).unwrap()).unwrap();
    session.client.command(Command::etrn("@example.org").unwrap()).unwrap();
    assert_eq!(session.say(), "XFORWARD NAME=spike.example.org PORT=25\r\n");
    assert_eq!(session.hear("250 ok\r\n"), "ETRN @example.org\r\n");
    session.hear("253 OK, 3 pending messages for node example.org started\r\n");
    let Some(Event::Replied { reply, .. }) = session.events.last() else { panic!("{:?}", session.events) };
    assert_eq!(Etrn::from_reply(reply), Some(Etrn::Pending(Some(3))));
    assert_eq!(Session::new("250 SIZE\r\n").client.command(Command::etrn("a").unwrap()), not("ETRN"));
    // Asked for before anybody knew, it is told as soon as that is known, and the rest goes on.
    let mut session = Session::before_greeting();
    let command = session.client.command(Command::etrn("a").unwrap()).unwrap();
    session.client.command(Command::noop()).unwrap();
    assert!(session.hear("220 mx\r\n250 mx\r\n").ends_with("NOOP\r\n"));
    let misuse = Misuse::NotOffered { extension: "ETRN" };
    assert_eq!(session.events.last(), Some(&Event::NotSaid { command, misuse }));
}

#[test]
fn behind_xclient_what_is_offered_then_counts() {
    let offer = "250-SMTPUTF8\r\n250 XCLIENT NAME\r\n";
    let mut session = Session::new(offer);
    let international = || Envelope::new("a@example.org", ["b\u{f6}b@example.net"]).unwrap();
    session.client.command(Command::xclient(&Origin::new().name("a")).unwrap()).unwrap();
    session.client.send(international(), Default::default()).unwrap();
    session.client.send(envelope(), Default::default()).unwrap();
    assert_eq!(session.say(), "XCLIENT NAME=a\r\n");
    assert_eq!(session.hear("220 mx\r\n"), "EHLO localhost\r\n");
    assert!(!session.client.is_ready());
    assert_eq!(session.hear("250-mx\r\n250 SIZE\r\n"), "MAIL FROM:<a@example.org>\r\n");
    assert_eq!(session.told()[2..], ["replied 220", "ready", "sent not sent"]);
    // A refusal leaves everything as it was.
    let mut session = Session::new(offer);
    session.client.command(Command::xclient(&Origin::new().name("a")).unwrap()).unwrap();
    session.client.send(international(), Default::default()).unwrap();
    session.say();
    assert!(session.hear("550 not you\r\n").starts_with("MAIL "));
    assert!(session.client.is_ready());
}

#[test]
fn an_offer_can_be_put_right_on_one_connection() {
    let mut session = Session::new("250-PIPELINING\r\n250 SMTPUTF8\r\n");
    session.client.extensions_mut().remove("PIPELINING");
    session.client.extensions_mut().set("DSN").unwrap();
    session.client.send(envelope().require_tls(), Default::default()).unwrap_err();
    session.client.send(envelope().ret(smtp_proto::client::Ret::Full), Default::default()).unwrap();
    assert_eq!(session.say(), "MAIL FROM:<a@example.org> RET=FULL\r\n");
}
