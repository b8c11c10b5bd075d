//! What the command has to say: a summary of what happened, for people or for programs.
//!
//! The rules of this room: nothing here fails; a reader that went away is not written to, and that is all.

pub(crate) mod human;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod transcript;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use smtp_proto::client::{Outcome, Recipient, Report};
use smtp_proto::reply::Reply;
use smtp_proto::sasl::{Allowed, Credentials, MechanismName};
use smtp_proto::{Connection, Security};

use crate::failure::{Failure, status};
use crate::signals::Signal;

/// Writes results to standard output. Who went away is not written to; whoever has no room for them is told of.
pub(crate) fn put(text: &[u8]) {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "smtp: the output is not complete: {error}");
        }
        _ => {}
    }
}

/// All that is told of one run of `send`.
#[derive(Default)]
pub(crate) struct Summary {
    pub(crate) server: Option<Server>,
    /// The proxies on the way, as URLs without credentials.
    pub(crate) route: Vec<String>,
    pub(crate) session: Option<Session>,
    /// What was found, to be used again: `192.0.2.1:465/implicit`; behind a proxy with the server's name.
    pub(crate) hint: Option<String>,
    pub(crate) validated: bool,
    pub(crate) messages: Vec<Sent>,
    pub(crate) seconds: f64,
    /// How long the messages took, where there were several.
    pub(crate) sending: Option<Duration>,
    /// What failed outside of any message.
    pub(crate) failure: Option<Failure>,
    /// Somebody wanted it to end before it was done.
    pub(crate) interrupted: Option<Failure>,
    /// A message that is to be sent, as it is told where it was not, and how many there are.
    pub(crate) wanted: Option<(Sent, usize)>,
    /// Those of all connections.
    pub(crate) flights: u64,
}

/// Who was spoken to.
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) address: Option<SocketAddr>,
}

/// What a session had come to when it was last looked at.
pub(crate) struct Session {
    pub(crate) security: Security,
    pub(crate) tls: Option<(String, String)>,
    pub(crate) resumed: bool,
    pub(crate) mechanism: Option<String>,
    pub(crate) supported: Vec<String>,
    pub(crate) allowed: Vec<&'static str>,
    pub(crate) flights: u64,
}

impl Session {
    pub(crate) fn of(connection: &Connection, allowed: &Allowed, credentials: Option<&Credentials>) -> Self {
        let tls = connection.tls();
        let channel = tls.map_or_else(smtp_proto::sasl::Channel::clear, smtp_proto::tls::Facts::channel);
        let usable = |name: &&MechanismName| {
            name.is_available()
                && allowed.permits_on(name, &channel)
                && credentials.is_none_or(|credentials| credentials.drives(name))
        };
        Self {
            security: connection.security(),
            tls: tls.map(|facts| (facts.version.clone(), facts.cipher.clone())),
            resumed: tls.is_some_and(|facts| facts.resumed),
            mechanism: connection.authenticated().map(ToString::to_string),
            supported: connection.extensions().mechanisms().to_vec(),
            allowed: MechanismName::BY_STRENGTH.iter().filter(usable).map(MechanismName::as_str).collect(),
            flights: connection.flights(),
        }
    }

    pub(crate) fn mode(&self) -> &'static str {
        match self.security {
            Security::Implicit => "implicit",
            Security::StartTls => "starttls",
            _ => "none",
        }
    }
}

/// What became of one message.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) from: String,
    pub(crate) octets: u64,
    pub(crate) flights: u64,
    pub(crate) reply: Option<Reply>,
    pub(crate) recipients: Vec<To>,
    pub(crate) failure: Option<Failure>,
}

/// What became of it for one recipient.
#[derive(Clone)]
pub(crate) struct To {
    pub(crate) address: String,
    pub(crate) result: &'static str,
    pub(crate) reply: Option<Reply>,
}

impl To {
    fn of(recipient: &Recipient) -> Self {
        let (result, reply) = match &recipient.outcome {
            Outcome::Accepted(_) => ("accepted", recipient.rcpt.clone()),
            Outcome::Refused(reply) if reply.code().is_transient() => ("deferred", Some(reply.clone())),
            Outcome::Refused(reply) => ("refused", Some(reply.clone())),
            Outcome::Unknown => ("unknown", recipient.rcpt.clone()),
            Outcome::NotSent => ("not-sent", recipient.rcpt.clone()),
        };
        Self { address: recipient.path.as_str().into(), result, reply }
    }
}

impl Sent {
    pub(crate) fn of(report: &Report) -> Self {
        Self {
            from: report.reverse_path.as_str().into(),
            octets: report.octets,
            flights: report.flights,
            reply: report.reply.clone(),
            recipients: report.recipients.iter().map(To::of).collect(),
            failure: Failure::of(report),
        }
    }

    /// A message whose turn never came, or that never began.
    pub(crate) fn not_sent<'a>(from: &str, to: impl Iterator<Item = &'a str>, failure: Option<Failure>) -> Self {
        let recipients = to.map(|to| To { address: to.into(), result: "not-sent", reply: None }).collect();
        Self { from: from.into(), octets: 0, flights: 0, reply: None, recipients, failure }
    }

    pub(crate) fn is_accepted(&self) -> bool {
        self.recipients.iter().all(|to| to.result == "accepted")
    }

    fn is_unknown(&self) -> bool {
        self.recipients.iter().any(|to| to.result == "unknown")
    }

    fn is_settled(&self) -> bool {
        self.recipients.iter().all(|to| !matches!(to.result, "unknown" | "not-sent"))
    }
}

impl Summary {
    /// A run that failed before there was anything to tell.
    pub(crate) fn failed(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }

    /// The first failure: the one that decides. Where somebody wanted it to end, what failed is his doing.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        let first = || self.messages.iter().find_map(|message| message.failure.as_ref());
        self.interrupted.as_ref().or_else(first).or(self.failure.as_ref())
    }

    /// Those messages are told, too, whose turn has not come.
    pub(crate) fn complete(&mut self) {
        if let Some((one, count)) = self.wanted.take() {
            self.messages.resize(count, one);
        }
    }

    /// Somebody wants it to end. If all is done by now that makes no difference.
    pub(crate) fn interrupt(&mut self, signal: Signal) {
        self.complete();
        if self.validated || (!self.messages.is_empty() && self.messages.iter().all(Sent::is_settled)) {
            return;
        }
        let cut = self.messages.iter().filter(|sent| !sent.is_settled()).find_map(|sent| sent.failure.as_ref());
        let phase = cut.or(self.failure.as_ref()).and_then(|failure| failure.phase);
        let failure = Failure { phase, ..Failure::interrupted(signal) };
        let unknown = self.messages.iter().any(Sent::is_unknown);
        self.interrupted = Some(if unknown { failure.may_be_delivered() } else { failure });
    }

    pub(crate) fn exit(&self) -> u8 {
        self.failure().map_or(status::OK, |failure| failure.status)
    }

    pub(crate) fn outcome(&self) -> &'static str {
        let all = || self.messages.iter().flat_map(|message| &message.recipients);
        let has = |result| all().any(|to| to.result == result);
        match self.exit() {
            status::OK if self.validated => "validated",
            status::OK => "delivered",
            status::REFUSED | status::LATER | status::UNKNOWN | status::INTERRUPTED.. => {
                // "Partial" says that some have it; where nobody is known to, and somebody may, that is unknown.
                let (accepted, unknown) = (has("accepted"), has("unknown"));
                let (refused, deferred, not_sent) = (has("refused"), has("deferred"), has("not-sent"));
                match () {
                    () if unknown && !accepted => "unknown",
                    () if accepted => "partial",
                    // What the server says it will not take is not even asked for.
                    () if refused || (not_sent && self.failure.is_none() && self.exit() == status::REFUSED) => {
                        "refused"
                    }
                    () if deferred && !not_sent => "deferred",
                    () => "failed",
                }
            }
            _ => "failed",
        }
    }

    /// Messages a second, where there were several.
    pub(crate) fn rate(&self) -> Option<f64> {
        let seconds = self.sending?.as_secs_f64();
        let sent = self.messages.iter().filter(|message| message.reply.is_some()).count();
        (self.messages.len() > 1 && seconds > 0.0).then(|| sent as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(results: &[&'static str], failure: Option<Failure>) -> Summary {
        let to = |result: &&'static str| To { address: "a@b".into(), result, reply: None };
        let recipients = results.iter().map(to).collect();
        let sent = Sent { recipients, ..Sent::not_sent("a@b", std::iter::empty(), failure) };
        Summary { messages: vec![sent], ..Summary::default() }
    }

    fn failure(status: u8) -> Option<Failure> {
        Some(Failure { status, ..Failure::usage("x") })
    }

    #[test]
    fn an_outcome_says_who_may_have_the_message() {
        let outcome = |results: &[&'static str], status| summary(results, failure(status)).outcome();
        assert_eq!(summary(&["accepted", "accepted"], None).outcome(), "delivered");
        assert_eq!(outcome(&["accepted", "deferred", "refused"], status::REFUSED), "partial");
        assert_eq!(outcome(&["refused", "deferred"], status::REFUSED), "refused");
        assert_eq!(outcome(&["deferred"], status::LATER), "deferred");
        assert_eq!(outcome(&["not-sent"], status::LATER), "failed");
        assert_eq!(outcome(&["not-sent"], status::REFUSED), "refused");
        assert_eq!(outcome(&["unknown"], status::UNKNOWN), "unknown");
        assert_eq!(outcome(&["unknown", "refused"], status::REFUSED), "unknown");
        assert_eq!(outcome(&["not-sent"], status::PROTOCOL), "failed");
    }

    #[test]
    fn who_interrupts_is_told_what_is_known() {
        let mut cut = summary(&["accepted", "unknown"], failure(status::UNKNOWN));
        cut.wanted = Some((Sent::not_sent("a@b", ["c@d"].into_iter(), None), 3));
        cut.interrupt(Signal::Interrupt);
        assert_eq!((cut.exit(), cut.outcome(), cut.messages.len()), (130, "partial", 3));
        assert!(cut.failure().unwrap().to_string().contains("may have been delivered"));
        let mut early = Summary { wanted: cut.messages.pop().map(|sent| (sent, 2)), ..Summary::default() };
        early.interrupt(Signal::Terminate);
        assert_eq!(
            (early.exit(), early.outcome(), early.messages[1].recipients[0].result),
            (143, "failed", "not-sent")
        );
        assert!(!early.failure().unwrap().to_string().contains("delivered"));
        // What is done is done.
        let mut done = summary(&["accepted", "refused"], failure(status::REFUSED));
        done.interrupt(Signal::Interrupt);
        assert_eq!((done.exit(), done.outcome()), (status::REFUSED, "partial"));
    }

    #[test]
    fn the_first_failure_decides() {
        let mut both = summary(&["deferred"], failure(status::LATER));
        both.failure = failure(status::PROTOCOL);
        assert_eq!(both.exit(), status::LATER);
        assert_eq!(Summary::failed(Failure::usage("x")).exit(), status::USAGE);
        assert_eq!(Summary { validated: true, ..Summary::default() }.outcome(), "validated");
    }
}
