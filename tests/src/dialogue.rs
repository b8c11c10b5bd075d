//! Dialogues as transcripts: what the server says, what the client must say to it, and what its owner must be told.
//!
//! The rules of this file: a transcript is read as people write it; what the client says must be there line by line, and
//! its events one by one. The grammar, a line each:
//!
//! ```text
//! # a comment
//! starttls: never | if-offered | required      (never where it is not said)
//! helo: NAME       without: KEYWORD       with: LINE       grouping: one-by-one | groups       lmtp:
//! login: USER PASSWORD MECHANISM...       remembered: LINE, LINE...       (what the server offered the last time)
//! message: FROM to TO...       with its lines behind it, each as     | a line     or all of it as     url: URL
//! prdr:    binary:    ret: FULL | HDRS    envid: ID    notify: RECIPIENT WHEN,...    orcpt: RECIPIENT KIND;ADDRESS
//!                              (each for the message before it)
//! as: IDENTITY                 command: LINE                quit:
//! S: what the server says      C: what the client says
//! TLS (the handshake)          SILENCE (the client says nothing)
//! = an event, as `describe` writes it, in the order they come
//! ```
//!
//! In the server's lines `\n`, `\r` and `\xHH` stand for octets, and a `\` at the end takes away the line's end.

use proxy_proto::{Instant, Machine, Secret};
use smtp_proto::body::LineEndings;
use smtp_proto::client::{
    self, BodyKind, Client, ContentUrl, Envelope, Event, Notify, Outcome, Report, Ret, StartTls, TransactionId,
};
use smtp_proto::command::Command;
use smtp_proto::sasl::{Allowed, Channel, Credentials, MechanismName};
use smtp_proto::{Cause, Error, Grouping, Misuse, phase};

use crate::laws;

/// What a message is made of.
#[derive(Clone, Debug)]
enum Content {
    Octets(Vec<u8>),
    Url(ContentUrl),
}

/// What the owner wants to be done.
#[derive(Clone, Debug)]
enum Wish {
    Message(Envelope, Content),
    Command(Command),
    Quit,
}

/// A transcript.
#[derive(Clone, Debug)]
pub struct Dialogue {
    config: client::Config,
    wishes: Vec<Wish>,
    bodies: Vec<(TransactionId, Content)>,
    /// What the server says, a turn each.
    pub turns: Vec<Vec<u8>>,
    /// What the client says: before the first turn, then behind each.
    pub said: Vec<Vec<u8>>,
    /// What its owner is told.
    pub events: Vec<String>,
}

/// What came of a dialogue.
pub type Trace = laws::Trace<Event, Error>;

impl Dialogue {
    /// Reads a transcript.
    ///
    /// # Panics
    ///
    /// Where it does not follow the grammar, or wishes what cannot be said.
    pub fn parse(text: &str) -> Self {
        let mut config = client::Config::new("mx.example.org");
        config.starttls = StartTls::Never;
        config.helo = "client.example.org".into();
        config.entropy = Some(std::sync::Arc::new(|octets: &mut [u8]| octets.fill(7)));
        let mut dialogue = Self {
            config,
            wishes: Vec::new(),
            bodies: Vec::new(),
            turns: Vec::new(),
            said: vec![Vec::new()],
            events: Vec::new(),
        };
        let mut hearing = false;
        for line in text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(said) = line.strip_prefix("S:") {
                if !std::mem::replace(&mut hearing, true) {
                    dialogue.turns.push(Vec::new());
                    dialogue.said.push(Vec::new());
                }
                let turn = dialogue.turns.last_mut().expect("a turn");
                turn.extend(octets(said.strip_prefix(' ').unwrap_or(said)));
            } else if let Some(said) = line.strip_prefix("C:") {
                hearing = false;
                let flight = dialogue.said.last_mut().expect("a flight");
                flight.extend_from_slice(said.strip_prefix(' ').unwrap_or(said).as_bytes());
                flight.extend_from_slice(b"\r\n");
            } else if matches!(line, "TLS" | "SILENCE") {
                hearing = false;
            } else if let Some(event) = line.strip_prefix("= ") {
                dialogue.events.push(event.to_string());
            } else {
                dialogue.direct(line);
            }
        }
        let mut scratch = Client::new(dialogue.config.clone()).expect("a configuration");
        dialogue.bodies = dialogue.wish(&mut scratch).expect("wishes");
        dialogue
    }

    fn direct(&mut self, line: &str) {
        if let Some(line) = line.strip_prefix('|') {
            let Some(Wish::Message(_, Content::Octets(body))) = self.wishes.last_mut() else {
                panic!("no message for {line:?}")
            };
            body.extend_from_slice(line.strip_prefix(' ').unwrap_or(line).as_bytes());
            body.extend_from_slice(b"\r\n");
            return;
        }
        let (key, value) = line.split_once(':').unwrap_or_else(|| panic!("not a line of a transcript: {line:?}"));
        let value = value.trim();
        match (key, value) {
            ("starttls", "never") => self.config.starttls = StartTls::Never,
            ("starttls", "if-offered") => self.config.starttls = StartTls::IfOffered,
            ("starttls", "required") => self.config.starttls = StartTls::Required,
            ("helo", name) => self.config.helo = name.into(),
            ("without", keyword) => self.config.without.push(keyword.into()),
            ("with", line) => self.config.with.push(line.into()),
            ("lmtp", "") => self.config.lmtp = true,
            ("remembered", lines) => {
                let stored = ["grouping flights\n", &lines.replace(", ", "\n")].concat();
                self.config.remembered = Some(stored.parse().expect("an offer"));
            }
            ("grouping", "one-by-one") => self.config.grouping = Grouping::OneByOne,
            ("grouping", "groups") => self.config.grouping = Grouping::Groups,
            ("login", words) => {
                let words: Vec<_> = words.split(' ').collect();
                let [user, password, names @ ..] = &words[..] else { panic!("login: USER PASSWORD MECHANISM...") };
                let names = names.iter().map(|name| name.parse::<MechanismName>().expect("a mechanism"));
                self.config.credentials = Some(Credentials::password(*user, Secret::from(*password)));
                // The examples of the RFCs are in clear.
                self.config.allowed = Allowed::only(names).danger_allow_clear_text();
            }
            ("as", identity) => {
                self.config.credentials = self.config.credentials.take().map(|login| login.authzid(identity));
            }
            ("message", paths) => {
                let (from, to) = paths.split_once(" to ").expect("FROM to TO");
                let envelope = Envelope::new(from.trim_matches(['<', '>']), to.split(' ')).expect("an envelope");
                self.wishes.push(Wish::Message(envelope, Content::Octets(Vec::new())));
            }
            ("prdr" | "url" | "binary" | "ret" | "envid" | "notify" | "orcpt", _) => {
                let Some(Wish::Message(envelope, content)) = self.wishes.last_mut() else {
                    panic!("no message: {line}")
                };
                let (place, rest) = value.split_once(' ').unwrap_or_default();
                let recipient = || place.parse().expect("a recipient");
                let plain = envelope.clone();
                *envelope = match key {
                    "prdr" => plain.prdr(),
                    "binary" => plain.body(BodyKind::BinaryMime),
                    "ret" => plain.ret(if value == "FULL" { Ret::Full } else { Ret::Headers }),
                    "envid" => plain.envid(value).expect("an id"),
                    "notify" => {
                        let has = |word: &str| rest.split(',').any(|one| one == word);
                        let notify = Notify { success: has("SUCCESS"), failure: has("FAILURE"), delay: has("DELAY") };
                        plain.notify(recipient(), notify)
                    }
                    "orcpt" => {
                        let (kind, address) = rest.split_once(';').expect("KIND;ADDRESS");
                        plain.orcpt(recipient(), kind, address).expect("an address")
                    }
                    _ => {
                        *content = Content::Url(ContentUrl::new(value).expect("a URL"));
                        plain.burl()
                    }
                };
            }
            ("command", line) => self.wishes.push(Wish::Command(Command::other(line).expect("a command"))),
            ("quit", "") => self.wishes.push(Wish::Quit),
            _ => panic!("not a line of a transcript: {line:?}"),
        }
    }

    fn wish(&self, client: &mut Client) -> Result<Vec<(TransactionId, Content)>, Misuse> {
        let mut bodies = Vec::new();
        for wish in &self.wishes {
            match wish {
                Wish::Message(envelope, body) => {
                    bodies.push((client.send(envelope.clone(), LineEndings::Canonical)?, body.clone()));
                }
                Wish::Command(command) => drop(client.command(command.clone())?),
                Wish::Quit => client.quit()?,
            }
        }
        Ok(bodies)
    }

    /// The same wishes, with these turns of the server instead.
    #[must_use]
    pub fn with_turns(&self, turns: Vec<Vec<u8>>) -> Self {
        Self { turns, ..self.clone() }
    }

    /// A client that wants what the dialogue's owner wants.
    ///
    /// # Panics
    ///
    /// Never: [`parse`](Self::parse) has tried it.
    pub fn client(&self) -> Client {
        let mut client = Client::new(self.config.clone()).expect("a configuration");
        self.wish(&mut client).expect("wishes");
        client
    }

    /// The owner of such a client: puts TLS below it, and hands over its messages.
    pub fn owner(&self) -> impl Fn(&mut Client, Instant, Option<&Event>, &mut Vec<u8>) + '_ {
        move |client, now, event, output| match event {
            Some(_) => {}
            // Not at the event: what came with the reply must be found first.
            None => {
                if client.phase() == phase::STARTTLS {
                    client.secured(Channel::secured());
                }
                client.transmit(now, output);
                while let Some(mut body) = client.body(now, output, usize::MAX) {
                    let id = body.transaction();
                    let (_, content) = self.bodies.iter().find(|(one, _)| Some(*one) == id).expect("a message");
                    match content {
                        Content::Octets(octets) => {
                            body.write(&mut &octets[..]).expect("canonical line endings");
                            body.end();
                        }
                        Content::Url(url) => body.end_with_url(url.clone()).expect("a message from URLs"),
                    }
                    client.transmit(now, output);
                }
            }
        }
    }

    /// Runs it at every cut.
    ///
    /// # Panics
    ///
    /// Where a law is broken.
    pub fn run(&self) -> Trace {
        let turns: Vec<&[u8]> = self.turns.iter().map(Vec::as_slice).collect();
        laws::same_at_every_cut(|| self.client(), &turns, self.owner())
    }

    /// Runs it at one cut.
    ///
    /// # Panics
    ///
    /// Where a law is broken.
    pub fn run_cut(&self, cut: laws::Cut) -> Trace {
        let turns: Vec<&[u8]> = self.turns.iter().map(Vec::as_slice).collect();
        laws::run(&mut self.client(), &turns, cut, self.owner())
    }

    /// Runs it at every cut, and compares what was said and told with what the transcript says.
    ///
    /// # Panics
    ///
    /// Where it differs.
    pub fn check(&self) -> Trace {
        let trace = self.run();
        let show = |flights: &[Vec<u8>]| {
            flights.iter().map(|flight| String::from_utf8_lossy(flight).into_owned()).collect::<Vec<_>>()
        };
        let mut said = trace.output.clone();
        // A client that failed in an early turn hears the later ones no more.
        said.resize(said.len().max(self.said.len()), Vec::new());
        assert_eq!(show(&said), show(&self.said), "what was said");
        let failure = trace.failure.iter().map(describe_error);
        let told: Vec<String> = trace.events.iter().map(describe).chain(failure).collect();
        assert_eq!(told, self.events, "what was told");
        trace
    }
}

/// `\n`, `\r`, `\xHH` are octets; a `\` at the end takes away the line's end.
fn octets(line: &str) -> Vec<u8> {
    let (line, end) = match line.strip_suffix('\\') {
        Some(line) => (line, &b""[..]),
        None => (line, &b"\r\n"[..]),
    };
    let (mut octets, mut rest) = (Vec::new(), line.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        (octets, rest) = match (first, tail) {
            (b'\\', [b'n', tail @ ..]) => ([&octets[..], b"\n"].concat(), tail),
            (b'\\', [b'r', tail @ ..]) => ([&octets[..], b"\r"].concat(), tail),
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let digit = |octet: &u8| char::from(*octet).to_digit(16).expect("a digit") as u8;
                ([&octets[..], &[digit(high) * 16 + digit(low)]].concat(), tail)
            }
            _ => ([&octets[..], &[*first]].concat(), tail),
        };
    }
    octets.extend_from_slice(end);
    octets
}

/// An event in a few words, for transcripts.
pub fn describe(event: &Event) -> String {
    match event {
        Event::Greeted(reply) => format!("greeted {}", reply.code()),
        Event::Offered(reply) => format!("offered {}", reply.code()),
        Event::StartTls(reply) => format!("starttls {}", reply.code()),
        Event::Secured => "secured".into(),
        Event::Ready => "ready".into(),
        Event::Mail { reply, .. } => format!("mail {}", reply.code()),
        Event::Recipient { recipient, reply, .. } => format!("recipient {recipient} {}", reply.code()),
        Event::Sent(report) => format!("sent {}", describe_report(report)),
        Event::Replied { reply, .. } => format!("replied {}", reply.code()),
        Event::Closed(Some(reply)) => format!("closed {}", reply.code()),
        Event::Closed(None) => "closed".into(),
        other => format!("{other:?}"),
    }
}

/// What became of each recipient, in a few words.
pub fn describe_report(report: &Report) -> String {
    let outcomes = report.recipients.iter().map(|one| match &one.outcome {
        Outcome::Accepted(reply) => format!("accepted {}", reply.code()),
        Outcome::Refused(reply) => format!("refused {}", reply.code()),
        Outcome::Unknown => "unknown".into(),
        Outcome::NotSent => "not sent".into(),
    });
    outcomes.collect::<Vec<_>>().join(", ")
}

/// An error in a few words: its phase and its cause's name.
pub fn describe_error(error: &Error) -> String {
    let cause = match &error.cause {
        Cause::Malformed(_) => "malformed".into(),
        Cause::Unsolicited(reply) => format!("unsolicited {}", reply.code()),
        Cause::Unexpected(reply) => format!("unexpected {}", reply.code()),
        Cause::Refused(reply) => format!("refused {}", reply.code()),
        Cause::ServiceClosing(reply) => format!("closing {}", reply.code()),
        Cause::MessageRefusedEarly(reply) => format!("refused early {}", reply.code()),
        Cause::StartTlsUnavailable(Some(reply)) => format!("no STARTTLS {}", reply.code()),
        Cause::StartTlsUnavailable(None) => "no STARTTLS".into(),
        Cause::Injected => "injected".into(),
        Cause::Authentication(_) => "authentication".into(),
        Cause::Closed { .. } => "closed".into(),
        Cause::TimedOut { .. } => "timed out".into(),
        other => format!("{other:?}"),
    };
    format!("error in {}: {cause}", error.phase)
}
