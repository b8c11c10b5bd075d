//! Dialogues, as transcripts.
//!
//! The rules of this room: `C:` lines go in, `S:` lines must come out, in lockstep; each dialogue is played at every cut, and
//! neither a word nor an event may differ. `T:` reports that TLS is up.

mod auth;
mod dialogues;
mod laws;
mod messages;
mod odd;
mod pair;
mod prdr;
mod questions;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::*;
use crate::reply::{Code, Reply};
use crate::sasl::server::{Answer, Event as Asked};
use crate::sasl::{BindingKind, Channel};

const NOW: Instant = Instant::EPOCH;
const PIECES: [usize; 6] = [1, 2, 3, 7, 64, usize::MAX];

pub(super) fn config() -> Config {
    Config::new("mx.example").unwrap()
}

/// A server with its owner: what is for `refused` or says `tempfail` is refused, `tim` has the password `secret`.
struct Owner {
    server: Server,
    events: Vec<String>,
    content: Vec<u8>,
    output: Vec<u8>,
    result: Result<(), Error>,
}

impl Owner {
    fn new(config: Config) -> Self {
        let server = Server::new(config);
        Self { server, events: Vec::new(), content: Vec::new(), output: Vec::new(), result: Ok(()) }
    }

    /// Gives the server all that it will take; leaves what it will not.
    fn give(&mut self, input: &mut &[u8]) {
        loop {
            loop {
                match self.server.receive(NOW, input) {
                    Ok(Some(event)) => self.on(event),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(self.server.receive(NOW, input), Err(error.clone()), "an error sticks");
                        self.result = Err(error);
                        break;
                    }
                }
            }
            let spoke = self.server.transmit(NOW, &mut self.output);
            assert!(!self.server.transmit(NOW, &mut self.output), "silence");
            if !spoke || self.result.is_err() || self.server.is_closed() {
                return;
            }
        }
    }

    fn on(&mut self, event: Event) {
        match &event {
            Event::Content { octets, last } => {
                self.content.extend(octets);
                assert!(octets.len() <= 16 * 1024 && (*last || !octets.is_empty()));
                if *last {
                    let content = core::mem::take(&mut self.content);
                    self.events.push(format!("message {}", content.escape_ascii()));
                    while let Some(decision) = self.server.decision() {
                        let unlucky = matches!(decision.question(), Question::MessageFor(1));
                        if unlucky || content.starts_with(b"tempfail") {
                            decision.refuse(&Reply::new(Code::new(451).unwrap(), "4.3.0 Try later").unwrap()).unwrap();
                        } else {
                            decision.accept();
                        }
                    }
                }
                return;
            }
            Event::Abandoned(_) => {
                let content = core::mem::take(&mut self.content);
                self.events.push(format!("half {}", content.escape_ascii()));
            }
            Event::Mail { from, .. } => {
                let decision = self.server.decision().unwrap();
                if from.as_str().starts_with("refused") { decision.reject() } else { decision.accept() }
            }
            Event::Recipient { to, .. } => {
                let decision = self.server.decision().unwrap();
                if to.as_str().starts_with("refused") { decision.reject() } else { decision.accept() }
            }
            Event::Authenticate { .. } => {
                // As under TLS 1.2, where nothing but the server's certificate names the channel.
                let channel = match self.server.session().secured() {
                    true => Channel::secured().binding(BindingKind::TlsServerEndPoint, [7; 32]),
                    false => Channel::clear(),
                };
                self.server.authentication().unwrap().begin(&channel, [7; 24]).unwrap();
            }
            Event::Credentials(asked) => {
                let answer = match asked {
                    Asked::Verify { user, password, .. } if user == "tim" && *password == "secret".into() => {
                        Answer::Accept
                    }
                    Asked::Lookup { user, mechanism, .. } if user == "tim" => stored(mechanism),
                    _ => Answer::Refuse,
                };
                self.server.credentials().unwrap().answer(answer).unwrap();
            }
            Event::Verify { who: text }
            | Event::Expand { list: text }
            | Event::Help { topic: Some(text) }
            | Event::Etrn { node: text }
            | Event::Command { argument: text, .. } => {
                let decision = self.server.decision().unwrap();
                let own = |code, text: &str| Reply::new(Code::new(code).unwrap(), text).unwrap();
                match text.as_str() {
                    "refused" => decision.reject(),
                    "later" => decision.defer(),
                    "gone" => decision.refuse(&own(421, "4.3.2 Gone")).unwrap(),
                    "own" => decision.accept_with(&own(250, "In words\nof my own")).unwrap(),
                    _ => decision.accept(),
                }
            }
            Event::Help { topic: None } | Event::Data | Event::Xclient(_) => self.server.decision().unwrap().accept(),
            Event::StartTls | Event::Quit => {}
        }
        self.events.push(format!("{event:?}"));
    }
}

/// What is stored of `tim`.
fn stored(mechanism: &MechanismName) -> Answer {
    #[cfg(feature = "scram")]
    {
        use crate::sasl::ScramHash;
        use crate::sasl::server::ScramKeys;
        let hash = match mechanism {
            MechanismName::ScramSha1 | MechanismName::ScramSha1Plus => Some(ScramHash::Sha1),
            MechanismName::ScramSha256 | MechanismName::ScramSha256Plus => Some(ScramHash::Sha256),
            MechanismName::ScramSha512 | MechanismName::ScramSha512Plus => Some(ScramHash::Sha512),
            _ => None,
        };
        if let Some(hash) = hash {
            return Answer::Scram(ScramKeys::derive(hash, &"secret".into(), *b"salt", 4096).unwrap());
        }
    }
    let _ = mechanism;
    Answer::Password("secret".into())
}

/// Plays a transcript at every cut, and gives what happened.
#[track_caller]
fn play(config: &Config, transcript: &str) -> Owner {
    let mut played: Option<Owner> = None;
    for piece in PIECES {
        let mut owner = Owner::new(config.clone());
        let mut lines = transcript.lines().map(str::trim_start).filter(|line| !line.is_empty()).peekable();
        while lines.peek().is_some() {
            let mut input = Vec::new();
            while let Some(line) = lines.next_if(|line| line.starts_with("C:")) {
                let text = line[2..].strip_prefix(' ').unwrap_or(&line[2..]);
                input.extend(unescape(text));
                // A raw tail, `\c`, is not ended by CRLF: octets of a chunk.
                if !text.ends_with("\\c") {
                    input.extend_from_slice(b"\r\n");
                }
            }
            let mut held: Vec<u8> = Vec::new();
            for chunk in input.chunks(piece.min(input.len().max(1))) {
                held.extend_from_slice(chunk);
                let mut rest = &held[..];
                owner.give(&mut rest);
                held = rest.to_vec();
            }
            owner.give(&mut &[][..]);
            let mut expected = String::new();
            while let Some(line) = lines.next_if(|line| line.starts_with("S:")) {
                // The space behind an empty challenge is shown by a bar.
                expected.push_str(line[2..].trim().trim_end_matches('|'));
                expected.push_str("\r\n");
            }
            let said = String::from_utf8(core::mem::take(&mut owner.output)).unwrap();
            assert_eq!(said, expected, "cut in {piece}, behind {:?}", input.escape_ascii().to_string());
            if lines.next_if(|line| line.starts_with("T:")).is_some() {
                owner.server.secured().unwrap();
            }
        }
        if let Some(first) = &played {
            assert_eq!(owner.events, first.events, "cut in {piece}");
            assert_eq!(owner.content, first.content, "cut in {piece}");
            assert_eq!(owner.result, first.result, "cut in {piece}");
            assert_eq!(owner.server.session(), first.server.session(), "cut in {piece}");
        }
        played = Some(owner);
    }
    played.unwrap()
}

/// `\r \n \0 \\ \t` and `\xNN`; `\c` is nothing.
fn unescape(text: &str) -> Vec<u8> {
    let (mut octets, mut rest) = (Vec::new(), text.as_bytes());
    while let [octet, tail @ ..] = rest {
        rest = tail;
        let (b'\\', [escape, tail @ ..]) = (octet, tail) else {
            octets.push(*octet);
            continue;
        };
        rest = tail;
        match escape {
            b'r' => octets.push(b'\r'),
            b'n' => octets.push(b'\n'),
            b'0' => octets.push(0),
            b't' => octets.push(b'\t'),
            b'c' => {}
            b'x' => {
                let digits = core::str::from_utf8(&rest[..2]).unwrap();
                octets.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &rest[2..];
            }
            other => octets.push(*other),
        }
    }
    octets
}

/// Behind EHLO.
#[track_caller]
fn play_greeted(config: &Config, transcript: &str) -> Owner {
    let offer = config.offer("c.example", config.implicit_tls);
    let lines: Vec<&str> = offer.lines().collect();
    let mut head = "S: 220 mx.example ESMTP\nC: EHLO c.example\n".to_string();
    for (at, line) in lines.iter().enumerate() {
        head.push_str(&format!("S: 250{}{line}\n", if at + 1 < lines.len() { '-' } else { ' ' }));
    }
    play(config, &(head + transcript))
}
