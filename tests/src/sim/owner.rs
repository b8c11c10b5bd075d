//! The server's owner: answers by its policy, and notes what was truly said and taken.
//!
//! The rules of this file: its notes are the truth that the client's word is held against; each answer in its own words bears
//! a number, so that it is known which answer the client took for what.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proxy_proto::{Instant, Secret};
use smtp_proto::command::Parameter;
use smtp_proto::reply::{Code, Reply};
use smtp_proto::sasl::server::{Answer, Event as Asked, ScramKeys};
use smtp_proto::sasl::{Channel, MechanismName, ScramHash};
use smtp_proto::server::{Event, Question};
use smtp_proto::{Accepted, tls};

use super::coverage::Coverage;
use super::plan::Policy;
use crate::dice::Dice;

/// A message for which the server took responsibility.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    /// Which of the plan's messages, as its recipients say.
    pub(super) message: Option<usize>,
    /// MAIL's path.
    pub(super) from: String,
    /// MAIL's parameters.
    pub(super) parameters: Vec<Parameter>,
    /// For whom it was accepted.
    pub(super) to: Vec<String>,
    /// With RCPT's parameters: of all whose RCPT was accepted.
    pub(super) asked_for: BTreeMap<String, Vec<Parameter>>,
    /// What arrived.
    pub(super) content: Vec<u8>,
    /// TLS stood.
    pub(super) secured: bool,
    /// Who had authenticated.
    pub(super) user: Option<String>,
}

/// What an answer was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Which message, where that was known.
    pub(super) message: Option<usize>,
    /// Which recipient, if it was about one.
    pub(super) recipient: Option<String>,
    /// It was the answer to the message itself.
    pub(super) is_last: bool,
    /// Yes.
    pub(super) accepted: bool,
}

/// Which of the plan's messages an address belongs to.
pub(super) fn message_of(address: &str) -> Option<usize> {
    let marks = address.char_indices().filter(|(at, c)| {
        let before = address[..*at].chars().next_back();
        *c == 'm' && before.is_none_or(|c| matches!(c, '.' | ' '))
    });
    let digits = |at: usize| address[at + 1..].chars().take_while(char::is_ascii_digit).collect::<String>();
    marks.filter_map(|(at, _)| digits(at).parse().ok()).next()
}

enum Open {
    Greeting,
    Authenticate,
    Credentials(Asked),
    Mail,
    Recipient(String, Vec<Parameter>),
    Data,
    Message,
}

/// Answers what one server asks in one session.
pub(super) struct Owner {
    policy: Policy,
    dice: Dice,
    secret: String,
    open: Option<Open>,
    /// When the open question will be answered.
    due: Instant,
    from: String,
    parameters: Vec<Parameter>,
    to: Vec<String>,
    asked_for: BTreeMap<String, Vec<Parameter>>,
    content: Vec<u8>,
    numbers: u64,
    /// The server is to go without a word.
    pub(super) vanishes: bool,
    /// What was taken.
    pub(super) delivered: Vec<Delivery>,
    /// What was said, by its number.
    pub(super) said: BTreeMap<u64, Said>,
}

impl Owner {
    /// An owner that knows this secret of everybody.
    pub(super) fn new(policy: Policy, secret: &str, session: usize, dice: Dice) -> Self {
        Self {
            policy,
            dice,
            secret: secret.into(),
            open: None,
            due: Instant::EPOCH,
            from: String::new(),
            parameters: Vec::new(),
            to: Vec::new(),
            asked_for: BTreeMap::new(),
            content: Vec::new(),
            numbers: session as u64 * 1_000_000,
            vanishes: false,
            delivered: Vec::new(),
            said: BTreeMap::new(),
        }
    }

    /// Takes an event; a question stays open until [`answer`](Self::answer).
    pub(super) fn hear(&mut self, now: Instant, event: Event, coverage: &mut Coverage) {
        self.open = match event {
            Event::Authenticate { mechanism } => {
                coverage.met("AUTH begun", mechanism);
                Some(Open::Authenticate)
            }
            Event::Credentials(asked) => Some(Open::Credentials(asked)),
            Event::Mail { from, parameters } => {
                (self.from, self.parameters) = (from.to_string(), parameters.raw());
                self.to.clear();
                self.asked_for.clear();
                self.content.clear();
                Some(Open::Mail)
            }
            Event::Recipient { to, parameters } => Some(Open::Recipient(to.to_string(), parameters.raw())),
            Event::Data => Some(Open::Data),
            Event::Content { octets, last } => {
                self.content.extend(octets);
                last.then_some(Open::Message)
            }
            Event::Abandoned(why) => {
                coverage.met("server abandons", format!("{why:?}"));
                self.to.clear();
                self.content.clear();
                None
            }
            _ => None,
        };
        if self.open.is_some() {
            self.think(now);
        }
    }

    /// The greeting is a question of which there is no event.
    pub(super) fn hear_greeting(&mut self, now: Instant) {
        if self.open.is_none() {
            self.open = Some(Open::Greeting);
            self.think(now);
        }
    }

    fn think(&mut self, now: Instant) {
        let late = self.dice.one_in(self.policy.late);
        let lateness = self.policy.lateness.as_millis() as usize;
        self.due = if late { now.after(self.dice.millis(1, lateness)) } else { now };
    }

    /// When the open question will be answered, if there is one.
    pub(super) fn due(&self) -> Option<Instant> {
        self.open.as_ref().map(|_| self.due)
    }

    /// Answers the open question, whose time has come.
    ///
    /// # Panics
    ///
    /// Where the server does not take an answer to what it has asked.
    pub(super) fn answer(&mut self, now: Instant, server: &mut Accepted, coverage: &mut Coverage) -> bool {
        if self.due > now {
            return false;
        }
        let Some(open) = self.open.take() else { return false };
        if self.dice.one_in(self.policy.vanishes) {
            self.vanishes = true;
            coverage.met("server", "vanishes");
            return true;
        }
        if self.dice.one_in(self.policy.shuts_down) {
            server.shut_down();
            coverage.met("server", "shuts down");
        }
        match open {
            Open::Authenticate => self.begin(server),
            Open::Credentials(asked) => self.check(asked, server),
            Open::Greeting => {
                self.decide(server, self.policy.greeting, None, coverage);
            }
            Open::Mail => {
                let accepted = self.decide(server, self.policy.mail, None, coverage);
                if !accepted {
                    self.from.clear();
                }
            }
            Open::Recipient(to, parameters) => {
                if self.decide(server, self.policy.rcpt, Some(to.clone()), coverage) {
                    self.asked_for.insert(to.clone(), parameters);
                    self.to.push(to);
                }
            }
            Open::Data => {
                let message = self.to.first().and_then(|to| message_of(to));
                self.decide_about(server, self.policy.data, message, None, false, coverage);
            }
            Open::Message => self.take(server, coverage),
        }
        true
    }

    /// One answer; in LMTP and PRDR one for each recipient, in their order; in PRDR the last word behind them, which is of those
    /// who were accepted, and without which nobody is.
    fn take(&mut self, server: &mut Accepted, coverage: &mut Coverage) {
        let mut waiting = std::mem::take(&mut self.to).into_iter();
        let mut to = Vec::new();
        let message = waiting.as_slice().first().and_then(|to| message_of(to));
        let (mut one_by_one, mut last_word) = (false, false);
        while let Some(decision) = server.decision() {
            if decision.question() == Question::Message {
                last_word = self.decide_about(server, self.policy.message, message, None, true, coverage);
                if one_by_one {
                    coverage.met("PRDR", if last_word { "accepted for some" } else { "taken back" });
                } else if last_word {
                    to.extend(waiting.by_ref());
                }
                break;
            }
            one_by_one = true;
            let recipient = waiting.next().expect("no more answers than recipients");
            if self.decide_about(server, self.policy.message, message, Some(recipient.clone()), true, coverage) {
                to.push(recipient);
            }
        }
        if self.parameters.iter().any(|one| one.keyword() == "PRDR") && !last_word {
            to.clear();
        }
        let content = std::mem::take(&mut self.content);
        if !to.is_empty() {
            self.delivered.push(Delivery {
                message,
                from: self.from.clone(),
                parameters: self.parameters.clone(),
                to,
                asked_for: std::mem::take(&mut self.asked_for),
                content,
                secured: server.session().secured(),
                user: server.session().user().map(str::to_owned),
            });
        }
    }

    fn decide(&mut self, server: &mut Accepted, odds: usize, to: Option<String>, coverage: &mut Coverage) -> bool {
        let message = to.as_deref().or(Some(&self.from)).and_then(message_of);
        self.decide_about(server, odds, message, to, false, coverage)
    }

    fn decide_about(
        &mut self,
        server: &mut Accepted,
        odds: usize,
        message: Option<usize>,
        recipient: Option<String>,
        is_last: bool,
        coverage: &mut Coverage,
    ) -> bool {
        let accepted = !self.dice.one_in(odds);
        let decision = server.decision().expect("a question of yes and no");
        let question = decision.question();
        let greeting = question == Question::Greeting;
        if self.dice.one_in(6) {
            // In the machine's own words, which bear no number.
            if accepted {
                decision.accept()
            } else {
                decision.reject()
            }
            return accepted;
        }
        self.numbers += 1;
        self.said.insert(self.numbers, Said { message, recipient, is_last, accepted });
        let code = match accepted {
            true if greeting => 220,
            true if question == Question::Data => 354,
            true => 250,
            false if self.dice.one_in(self.policy.closing) => 421,
            false if greeting => 554,
            false if self.dice.one_in(self.policy.lost_track) => 503,
            false => self.dice.pick(&[450, 451, 452, 550, 552, 554, 571]),
        };
        if !accepted {
            coverage.met("server refuses", format!("{question:?}").replace(char::is_numeric, "_"));
            if matches!(code, 421 | 503) {
                coverage.met("server says", code);
            }
        }
        let text = if self.dice.one_in(5) { "a line\nnumber" } else { "number" };
        let code = Code::new(code).expect("a code");
        let reply = Reply::new(code, format!("{text} <{}>", self.numbers)).expect("a reply");
        let said = if accepted { decision.accept_with(&reply) } else { decision.refuse(&reply) };
        said.expect("an answer that fits");
        accepted
    }

    fn begin(&mut self, server: &mut Accepted) {
        let refused = self.dice.one_in(self.policy.auth);
        let channel = server.tls().map_or(Channel::clear(), tls::Facts::channel);
        let question = server.authentication().expect("a question about AUTH");
        if refused {
            let reply = Reply::new(Code::new(454).expect("a code"), "4.7.0 not now").expect("a reply");
            question.refuse(&reply).expect("an answer that fits");
        } else {
            question.begin(&channel, [9; 24]).expect("an offered mechanism");
        }
    }

    fn check(&mut self, asked: Asked, server: &mut Accepted) {
        let secret = Secret::from(self.secret.as_str());
        let may_act = |authzid: &Option<String>| authzid.as_deref().is_none_or(|id| id == "bob");
        let answer = match asked {
            Asked::Verify { authzid, user, password } => {
                let knows = user == "tim" && password == secret && may_act(&authzid);
                if knows { Answer::Accept } else { Answer::Refuse }
            }
            Asked::VerifyToken { token, .. } if token == secret => Answer::Accept,
            Asked::VerifyToken { .. } => Answer::RefuseBecause(br#"{"status":"invalid_token"}"#.to_vec()),
            Asked::Lookup { mechanism, user, authzid } if user == "tim" && may_act(&authzid) => {
                stored(&mechanism, &self.secret)
            }
            _ => Answer::Refuse,
        };
        let question = server.credentials().expect("a question about credentials");
        question.answer(answer).expect("an answer that fits");
    }
}

thread_local! {
    /// The latest keys: deriving them is slow, and they are asked for more than once.
    static KEYS: RefCell<Option<(MechanismName, String, ScramKeys)>> = const { RefCell::new(None) };
}

fn stored(mechanism: &MechanismName, secret: &str) -> Answer {
    let hash = match mechanism.as_str() {
        name if name.starts_with("SCRAM-SHA-512") => ScramHash::Sha512,
        name if name.starts_with("SCRAM-SHA-256") => ScramHash::Sha256,
        name if name.starts_with("SCRAM-SHA-1") => ScramHash::Sha1,
        _ => return Answer::Password(Secret::from(secret)),
    };
    KEYS.with_borrow_mut(|kept| {
        let (_, _, keys) = match kept.take() {
            Some(same) if same.0 == *mechanism && same.1 == secret => kept.insert(same),
            _ => {
                let keys = ScramKeys::derive(hash, &Secret::from(secret), *b"salt of a test", 4096).expect("keys");
                kept.insert((mechanism.clone(), secret.into(), keys))
            }
        };
        Answer::Scram(keys.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_which_message_it_belongs_to() {
        let known =
            ["m3@example.org", "r0.m12@example.net", "\"r1 m4 \\\"q\\\"\"@example.net", "r2.m5.käse@example.net"];
        assert_eq!(known.map(message_of), [Some(3), Some(12), Some(4), Some(5)]);
        assert_eq!(["", "tim@example.org", "example.m@x"].map(message_of), [None, None, None]);
    }
}
