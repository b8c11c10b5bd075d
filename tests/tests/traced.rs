//! What tracing is told: a span for each connection, phases, outcomes and lines; and no secret, whatever a server echoes.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smtp_proto::body::LineEndings;
use smtp_proto::client::{Envelope, Event, Transcript};
use smtp_proto::sasl::{Allowed, Credentials, MechanismName};
use smtp_proto::{Config, Connection, Instant, Route, Security, server};
use tests::wire::Wire;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

const PASSWORD: &str = "correct horse battery staple";

/// One test at a time: tracing remembers for the whole process whether anybody listens to a line, and two threads that come and go
/// with listeners of different levels can make it remember a no that is none.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps all there is, each span and each event as one text: level, target, then its fields.
#[derive(Clone)]
struct Recorder {
    most: Level,
    spans: Arc<Mutex<Vec<String>>>,
    events: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    fn new(most: Level) -> Self {
        Self { most, spans: Arc::default(), events: Arc::default() }
    }

    fn all(&self) -> String {
        [self.spans.lock().unwrap().join("\n"), self.events.lock().unwrap().join("\n")].join("\n")
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

fn head(metadata: &Metadata<'_>) -> Text {
    Text(format!("{} {}", metadata.level(), metadata.target()))
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.most
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = head(span.metadata());
        text.0.push_str(" span ");
        text.0.push_str(span.metadata().name());
        span.record(&mut text);
        let mut spans = self.spans.lock().unwrap();
        spans.push(text.0);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut text = Text(String::new());
        values.record(&mut text);
        self.spans.lock().unwrap().push(text.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = head(event.metadata());
        write!(text.0, " in {:?}", event.parent().map(Id::into_u64)).unwrap();
        event.record(&mut text);
        self.events.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn config() -> Config {
    Config::new("localhost", 2525)
        .security(Security::None)
        .helo("client.example.org")
        .entropy(|octets| octets.fill(7))
        .credentials(Credentials::password("alice", PASSWORD))
}

/// A session in clear that authenticates by this mechanism and sends a message, one recipient of which is refused.
fn session(config: Config, name: &MechanismName, password: &str) -> Wire {
    let config = config.allowed(Allowed::only([name.clone()]).danger_allow_clear_text());
    let server = server::Config::new("mx.example.org").unwrap();
    let server = server.mechanisms([name.clone()]).danger_allow_clear_text_auth(true);
    let mut wire = Wire::new(config, server, None, false, 1000);
    wire.manners.password = Some(password.into());
    wire.manners.refuse = vec!["carol@example.net".into()];
    if wire.run_until(|event| *event == Event::Ready) {
        wire.send(&Envelope::new("alice@example.org", ["bob@example.net", "carol@example.net"]).unwrap(), b"hello\r\n");
        wire.client.quit().unwrap();
        wire.run_until(|event| matches!(event, Event::Closed(_)));
    }
    wire
}

/// What the client put on the wire to authenticate, word by word: all of it is secret but the verb and the mechanism.
fn secrets(wire: &Wire) -> Vec<String> {
    let said = String::from_utf8_lossy(&wire.from_client).into_owned();
    let auth = said.lines().skip_while(|line| !line.starts_with("AUTH "));
    let auth = auth.take_while(|line| !["MAIL", "QUIT"].iter().any(|verb| line.starts_with(verb)));
    auth.flat_map(|line| line.split(' '))
        .filter(|word| word.len() > 4 && word.parse::<MechanismName>().is_err())
        .map(str::to_owned)
        .chain([PASSWORD.to_owned()])
        .collect()
}

#[test]
fn no_mechanism_gives_its_secret_away() {
    let _alone = alone();
    for name in ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"] {
        let name: MechanismName = name.parse().unwrap();
        for password in [PASSWORD, "another one"] {
            let recorder = Recorder::new(Level::TRACE);
            let wire = tracing::subscriber::with_default(recorder.clone(), || session(config(), &name, password));
            let (secrets, told) = (secrets(&wire), recorder.all());
            assert!(
                secrets.len() > 1,
                "{name}: the test sees no secret: {:?}",
                wire.from_client.escape_ascii().to_string()
            );
            for secret in secrets {
                assert!(!told.contains(&secret), "{name}: {secret:?} is in\n{told}");
            }
            assert!(told.contains(&format!("C: AUTH {name}")), "{name}: the lines are not there:\n{told}");
        }
    }
}

#[test]
fn an_echoed_secret_is_not_passed_on() {
    let _alone = alone();
    let recorder = Recorder::new(Level::TRACE);
    let token = "AGFsaWNlAGNvcnJlY3QgaG9yc2UgYmF0dGVyeSBzdGFwbGU="; // base64 of NUL alice NUL and the password
    tracing::subscriber::with_default(recorder.clone(), || {
        let name: MechanismName = "PLAIN".parse().unwrap();
        let config = config().allowed(Allowed::only([name]).danger_allow_clear_text());
        let mut smtp = Connection::new(config, Route::direct()).unwrap();
        let (now, mut said) = (Instant::EPOCH, Vec::new());
        let echo = format!("535 5.7.8 {token} is wrong, and so is {PASSWORD}\r\n");
        for reply in ["220 mx\r\n", "250-mx\r\n250 AUTH PLAIN\r\n", &echo] {
            smtp.wants(now).read[..reply.len()].copy_from_slice(reply.as_bytes());
            smtp.received(reply.len());
            while let Ok(Some(_)) = smtp.poll(now) {}
            let n = smtp.wants(now).write.len();
            said.extend_from_slice(smtp.wants(now).write);
            smtp.sent(n);
        }
        assert!(String::from_utf8(said).unwrap().contains(token), "the token was said");
    });
    let told = recorder.all();
    assert!(!told.contains(token) && !told.contains(PASSWORD), "{told}");
    assert!(told.contains("S: 535 5.7.8 ***"), "{told}");
    assert!(told.contains("INFO smtp_proto in Some(1) message=failed error=AUTH: PLAIN was refused: 535"), "{told}");
}

#[test]
fn outcomes_phases_and_lines_have_levels_of_their_own() {
    let _alone = alone();
    let name: MechanismName = "CRAM-MD5".parse().unwrap();
    let heard = |most| {
        let recorder = Recorder::new(most);
        tracing::subscriber::with_default(recorder.clone(), || session(config(), &name, PASSWORD));
        let (spans, events) = (recorder.spans.lock().unwrap().clone(), recorder.events.lock().unwrap().clone());
        assert_eq!(spans, ["INFO smtp_proto span smtp host=\"localhost\" port=2525"]);
        assert!(events.iter().all(|event| event.contains(" in Some(1) ")), "{events:#?}");
        events
    };
    let (outcomes, phases, lines) = (heard(Level::INFO), heard(Level::DEBUG), heard(Level::TRACE));

    let sent = |to: &str, result: &str| {
        let begin =
            format!("INFO smtp_proto in Some(1) message=sent from=alice@example.org to={to} result={result:?} reply=");
        outcomes.iter().filter(|event| event.starts_with(&begin)).count()
    };
    assert_eq!((sent("bob@example.net", "accepted"), sent("carol@example.net", "refused")), (1, 1), "{outcomes:#?}");
    assert_eq!(outcomes.len(), 2, "{outcomes:#?}");

    for phase in ["greeted", "offered", "ready", "MAIL", "RCPT", "closed"] {
        let begin = format!("DEBUG smtp_proto in Some(1) message={phase}");
        assert!(phases.iter().any(|event| event.starts_with(&begin)), "{phase}: {phases:#?}");
    }
    assert!(!phases.iter().any(|event| event.contains("smtp_proto::wire")), "{phases:#?}");

    let line = |phase: &str, text: &str| format!("TRACE smtp_proto::wire in Some(1) message={text} phase={phase:?}");
    for line in [
        line("EHLO", "C: EHLO client.example.org"),
        line("MAIL", "C: MAIL FROM:<alice@example.org>"),
        line("QUIT", "C: QUIT"),
    ] {
        assert!(lines.contains(&line), "{line}: {lines:#?}");
    }
    // A reply of several lines is as many events.
    assert!(lines.iter().any(|line| line.contains("message=S: 250-")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains('\n')), "{lines:#?}");
}

#[test]
fn a_transcript_hears_the_same_as_without() {
    let _alone = alone();
    let name: MechanismName = "LOGIN".parse().unwrap();
    let heard = || {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let to = lines.clone();
        let transcript = Transcript::new(move |_, phase, line| to.lock().unwrap().push((phase, line.to_string())));
        session(config().transcript(transcript), &name, PASSWORD);
        lines.lock().unwrap().clone()
    };
    let alone = heard();
    assert!(!alone.is_empty());
    assert_eq!(tracing::subscriber::with_default(Recorder::new(Level::TRACE), heard), alone);
}

#[test]
fn whoever_is_not_asked_stays_silent() {
    let _alone = alone();
    let recorder = Recorder::new(Level::ERROR);
    tracing::subscriber::with_default(recorder.clone(), || {
        let mut smtp = Connection::new(config(), Route::direct()).unwrap();
        smtp.send(Envelope::new("", ["a@b"]).unwrap(), LineEndings::default()).unwrap();
        let _ = smtp.poll(Instant::EPOCH);
        smtp.received(0);
        while let Ok(Some(_)) = smtp.poll(Instant::EPOCH) {}
    });
    assert_eq!(recorder.all().trim(), "");
}
