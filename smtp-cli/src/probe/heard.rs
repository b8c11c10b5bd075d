//! What one session heard, and when.
//!
//! The rules of this file: all texts are the peer's, so they are cleaned before they are kept. A phase lasts from the end of the
//! one before to the last thing that was heard in it; their sum is the whole.

use std::time::Duration;

use serde::Serialize;
use smtp_proto::client::Line;
use smtp_proto::extension::Extensions;
use smtp_proto::reply::Reply;
use smtp_proto::{Instant, Phase, phase};

use crate::failure::clean;

/// What the server said first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Greeting {
    pub(super) code: u16,
    pub(super) lines: Vec<String>,
}

/// An answer to EHLO.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Offer {
    pub(super) extensions: Vec<Extension>,
    pub(super) mechanisms: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Extension {
    pub(super) keyword: String,
    pub(super) parameters: Vec<String>,
}

/// How long a phase took.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Spent {
    pub(super) phase: &'static str,
    pub(super) seconds: f64,
}

/// What was heard in one session.
#[derive(Clone, Default, Debug)]
pub(super) struct Heard {
    pub(super) greeting: Option<Greeting>,
    /// What is offered in clear.
    pub(super) before: Option<Offer>,
    /// What is offered under TLS.
    pub(super) under: Option<Offer>,
    pub(super) times: Vec<Spent>,
    secured: bool,
    last: Duration,
}

impl Heard {
    /// Takes a line of the dialogue.
    pub(super) fn line(&mut self, now: Instant, at: Phase, line: Line<'_>) {
        let name = match line {
            Line::Server(_) => at.name(),
            // The only notes there are before a session is ready: a tunnel is open, TLS stands.
            Line::Note(_) if at == phase::CONNECT => "proxy",
            Line::Note(_) => at.name(),
            _ => return,
        };
        self.spent(name, now.since_epoch());
        match line {
            Line::Server(reply) if at == phase::GREETING => self.greeting = Some(Greeting::of(reply)),
            Line::Server(reply) if at == phase::EHLO && reply.code().is_positive() => {
                let offer = if self.secured { &mut self.under } else { &mut self.before };
                *offer = Some(Offer::of(reply));
            }
            Line::Note(_) if at == phase::TLS => self.secured = true,
            _ => {}
        }
    }

    /// Something of this phase was heard, or its end, so long after the connection was open.
    pub(super) fn spent(&mut self, phase: &'static str, now: Duration) {
        let seconds = now.saturating_sub(self.last).as_secs_f64();
        self.last = now.max(self.last);
        match self.times.last_mut() {
            Some(last) if last.phase == phase => last.seconds += seconds,
            _ => self.times.push(Spent { phase, seconds }),
        }
    }

    /// Is it known what is spoken here?
    pub(super) fn is_settled(&self) -> bool {
        self.secured || self.greeting.is_some()
    }

    /// Is STARTTLS offered? `None` where nothing was offered in clear.
    pub(super) fn starttls(&self) -> Option<bool> {
        Some(self.before.as_ref()?.extensions.iter().any(|one| one.keyword == "STARTTLS"))
    }
}

impl Greeting {
    fn of(reply: &Reply) -> Self {
        let lines = reply.lines().map(|line| clean(String::from_utf8_lossy(line))).collect();
        Self { code: reply.code().number(), lines }
    }
}

impl Offer {
    fn of(reply: &Reply) -> Self {
        let offered = Extensions::from_reply(reply);
        let extension = |one: &smtp_proto::extension::Extension| Extension {
            keyword: clean(&one.keyword),
            parameters: one.parameters.iter().map(clean).collect(),
        };
        Self {
            extensions: offered.iter().map(extension).collect(),
            mechanisms: offered.mechanisms().iter().map(clean).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smtp_proto::reply::Code;

    fn reply(code: u16, text: &str) -> Reply {
        Reply::new(Code::new(code).unwrap(), text).unwrap()
    }

    fn at(milliseconds: u64) -> Instant {
        Instant::from_epoch(Duration::from_millis(milliseconds))
    }

    #[test]
    fn offers_before_and_under_tls_are_told_apart() {
        let mut heard = Heard::default();
        heard.line(at(10), phase::GREETING, Line::Server(&reply(220, "a.example\nhello")));
        heard.line(at(11), phase::EHLO, Line::Client("EHLO b"));
        heard.line(at(30), phase::EHLO, Line::Server(&reply(250, "a.example\nSTARTTLS\nSIZE 10")));
        assert_eq!((heard.starttls(), heard.under.is_none()), (Some(true), true));
        heard.line(at(40), phase::STARTTLS, Line::Server(&reply(220, "go")));
        heard.line(at(90), phase::TLS, Line::Note("TLS 1.3, X"));
        heard.line(at(100), phase::EHLO, Line::Server(&reply(250, "a.example\nAUTH PLAIN LOGIN")));
        assert_eq!(heard.greeting, Some(Greeting { code: 220, lines: vec!["a.example".into(), "hello".into()] }));
        let (before, under) = (heard.before.unwrap(), heard.under.unwrap());
        assert_eq!(before.extensions[1].parameters, ["10"]);
        assert!(before.mechanisms.is_empty());
        assert_eq!(under.mechanisms, ["PLAIN", "LOGIN"]);
        let times: Vec<_> = heard.times.iter().map(|one| (one.phase, (one.seconds * 1000.0).round() as u64)).collect();
        let expected = [("greeting", 10), ("EHLO", 20), ("STARTTLS", 10), ("TLS handshake", 50), ("EHLO", 10)];
        assert_eq!(times, expected);
    }

    #[test]
    fn a_refused_ehlo_offers_nothing() {
        let mut heard = Heard::default();
        heard.line(at(0), phase::EHLO, Line::Server(&reply(502, "STARTTLS\nSTARTTLS")));
        assert_eq!(heard.starttls(), None);
        heard.line(at(0), phase::EHLO, Line::Server(&reply(250, "a.example")));
        assert_eq!(heard.starttls(), Some(false));
    }
}
