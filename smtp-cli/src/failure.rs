//! What went wrong, as scripts and people are told: a kind, an exit status (sysexits.h), a line of text.
//!
//! The rules of this file: statuses and kinds are decided here and nowhere else. A failure says where it happened, at which
//! hop, what the peer said, and what can be done.

use std::fmt;
use std::io;

use proxy_proto::ProxyUrl;
use serde::Serialize;
use smtp_proto::client::{Outcome, Recipient, Report};
use smtp_proto::dial::{self, Why};
use smtp_proto::reply::Reply;
use smtp_proto::tls::CertificateError;
use smtp_proto::{AuthenticationError, Cause, Hop, Misuse, Phase, phase, sasl, session, tls};

use crate::signals::Signal;

/// Exit statuses, as the manual has them.
pub(crate) mod status {
    pub(crate) const OK: u8 = 0;
    /// Options, URLs, addresses.
    pub(crate) const USAGE: u8 = 64;
    /// Refused for good.
    pub(crate) const REFUSED: u8 = 65;
    /// An input file is missing or unreadable.
    pub(crate) const INPUT: u8 = 66;
    /// The host name was not found.
    pub(crate) const RESOLVE: u8 = 68;
    /// Cannot connect, or a proxy refused.
    pub(crate) const CONNECT: u8 = 69;
    /// The outcome is unknown: not safe to retry blindly.
    pub(crate) const UNKNOWN: u8 = 74;
    /// Try later.
    pub(crate) const LATER: u8 = 75;
    /// The peer broke the protocol, or its TLS cannot be accepted.
    pub(crate) const PROTOCOL: u8 = 76;
    /// Authentication failed.
    pub(crate) const AUTH: u8 = 77;
    /// The least of those that tell a signal.
    pub(crate) const INTERRUPTED: u8 = 128;
}

/// What kind of failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Usage,
    Input,
    Resolve,
    Connect,
    Proxy,
    Tls,
    Protocol,
    Auth,
    Timeout,
    Closed,
    Refused,
    Interrupted,
}

/// One failure. Its `Display` is the line on standard error.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) status: u8,
    pub(crate) phase: Option<&'static str>,
    pub(crate) hop: Option<Hop>,
    pub(crate) text: String,
    /// What to do about it.
    pub(crate) advice: Option<&'static str>,
}

impl Failure {
    fn new(kind: Kind, status: u8, text: impl fmt::Display) -> Self {
        Self { kind, status, phase: None, hop: None, text: clean(text), advice: None }
    }

    fn at(mut self, phase: Phase) -> Self {
        self.phase = Some(phase.name());
        self
    }

    fn advise(mut self, advice: &'static str) -> Self {
        self.advice = Some(advice);
        self
    }

    /// The options cannot be meant.
    pub(crate) fn usage(text: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, status::USAGE, text)
    }

    /// A file cannot be read or used.
    pub(crate) fn input(text: impl fmt::Display) -> Self {
        Self::new(Kind::Input, status::INPUT, text)
    }

    /// The system has not what the command needs to begin with.
    pub(crate) fn system(error: &io::Error) -> Self {
        Self::new(Kind::Connect, status::LATER, format_args!("the system refuses: {error}")).advise("try again later")
    }

    /// The command cannot listen where it was told to.
    pub(crate) fn listen(address: &str, error: &io::Error) -> Self {
        let failure = Self::new(Kind::Connect, status::CONNECT, format_args!("cannot listen on {address}: {error}"));
        match error.kind() {
            // It is no address, and never will be.
            io::ErrorKind::InvalidInput => {
                Self { kind: Kind::Usage, status: status::USAGE, ..failure }.advise("it takes ADDRESS:PORT")
            }
            _ => failure,
        }
    }

    /// A name has no address that could be found.
    pub(crate) fn unresolved(name: &str, why: impl fmt::Display) -> Self {
        Self::new(Kind::Resolve, status::RESOLVE, format_args!("{name}: {why}"))
            .at(phase::RESOLVE)
            .advise("check the host name")
    }

    /// No connection could be opened.
    pub(crate) fn unreachable(why: impl fmt::Display) -> Self {
        Self::new(Kind::Connect, status::CONNECT, why)
            .at(phase::CONNECT)
            .advise("check host and port; a firewall may be in the way")
    }

    /// The time that was given is over.
    pub(crate) fn late(phase: Phase) -> Self {
        Self::new(Kind::Timeout, status::LATER, "timed out").at(phase).advise("try again with a longer --budget")
    }

    /// Somebody wanted the command to end.
    pub(crate) fn interrupted(signal: Signal) -> Self {
        Self::new(Kind::Interrupted, signal.status(), format_args!("interrupted by {}", signal.name()))
    }

    /// The same failure, where a message may have arrived all the same.
    pub(crate) fn may_be_delivered(self) -> Self {
        self.advise("it may have been delivered: find out before it is sent again")
    }

    /// Nobody could be reached, or no session became ready.
    fn dial(failure: &dial::Failure<io::Error>) -> Self {
        let Some(one) = failure.telling() else { return Self::new(Kind::Connect, status::CONNECT, failure) };
        let mut told = match &one.why {
            Why::Unresolved(_) | Why::NoAddress | Why::TimedOut(phase::RESOLVE) => {
                Self::unresolved(&one.host, &one.why)
            }
            Why::Session { error, source } => Self::session(error, source.as_ref()),
            Why::Misuse(misuse) => Self::misuse(misuse),
            _ => Self::unreachable(one),
        };
        let late = |attempt: &dial::Attempt<_>, here| match &attempt.why {
            Why::Session { error, .. } => error.phase == here && matches!(error.cause, Cause::TimedOut { .. }),
            _ => false,
        };
        let beside = |other: &&dial::Attempt<_>| other.tls_first && (other.to, other.port) == (one.to, one.port);
        if let Some(other) = failure.attempts.iter().find(beside).filter(|_| late(one, phase::GREETING)) {
            // Silent to TLS as well, or it said something that is no TLS and no whole greeting.
            told.advice = late(other, phase::TLS).then_some("it is as silent to TLS: is this the right port?");
        }
        let others: Vec<_> = failure.attempts.iter().filter(|other| !std::ptr::eq(*other, one)).collect();
        if !others.is_empty() {
            let others: Vec<_> = others.into_iter().map(ToString::to_string).collect();
            told.text = clean(format_args!("{} (also tried: {})", told.text, others.join("; ")));
        }
        told
    }

    /// The same failure, where what could not be connected to is the nearest proxy.
    pub(crate) fn towards(mut self, nearest: Option<&ProxyUrl>) -> Self {
        let Some(url) = nearest else { return self };
        // Further names are looked up here too, as far as a proxy leaves them.
        let is_its_name = || self.text.starts_with(&format!("{}: ", url.proxy().host));
        if self.kind == Kind::Connect || (self.kind == Kind::Resolve && is_its_name()) {
            self.hop = Some(Hop::new(1, url));
        }
        self
    }

    /// The same failure, where TLS stood already: who is silent then is not waiting for it.
    pub(crate) fn within_tls(mut self) -> Self {
        if self.phase == Some(phase::GREETING.name()) && self.kind == Kind::Timeout {
            self.advice = Some("try again later, or with a longer --greeting-timeout");
        }
        self
    }

    /// The session failed.
    pub(crate) fn session(error: &smtp_proto::Error, source: Option<&io::Error>) -> Self {
        let (kind, status) = weigh(&error.cause);
        let cause = match &error.cause {
            // Hop and phase are told apart from it.
            Cause::Tunnel(tunnel) => tunnel.kind().to_string(),
            Cause::Tls(tls::Error::NotTls(_)) if error.hop.is_some() => "it answers in clear text, not in TLS".into(),
            cause => cause.to_string(),
        };
        let mut failure = match source {
            None => Self::new(kind, status, cause),
            Some(source) => Self::new(kind, status, format_args!("{cause} ({source})")),
        };
        failure.phase = Some(error.phase.name());
        failure.hop.clone_from(&error.hop);
        failure.advice = advice(error);
        failure
    }

    /// The caller's slip, found before or in the session.
    pub(crate) fn misuse(misuse: &Misuse) -> Self {
        match misuse {
            Misuse::BareLineEnding => Self::input(misuse).advise("--line-endings canonical turns them into CRLF"),
            Misuse::Nul => Self::input(misuse).advise("--line-endings exact sends it to servers that offer BINARYMIME"),
            // The server cannot carry this message, today or tomorrow.
            Misuse::NotOffered { .. } | Misuse::TooLarge { .. } | Misuse::TooManyRecipients { .. } => {
                Self::new(Kind::Refused, status::REFUSED, misuse).at(phase::MAIL)
            }
            Misuse::NotOpen => Self::new(Kind::Closed, status::LATER, misuse),
            _ => Self::usage(misuse),
        }
    }

    /// Why a message did not reach everybody; `None` where it did.
    pub(crate) fn of(report: &Report) -> Option<Self> {
        let refused = |reply: &Reply| reply.code().is_permanent();
        let find = |wanted: &dyn Fn(&Outcome) -> bool| report.recipients.iter().find(|one| wanted(&one.outcome));
        let bad = find(&|outcome| matches!(outcome, Outcome::Refused(reply) if refused(reply)));
        let unknown = find(&|outcome| matches!(outcome, Outcome::Unknown));
        let later = find(&|outcome| matches!(outcome, Outcome::Refused(reply) if !refused(reply)));
        let cut_short = report.cut_short.as_ref().map(|error| Self::session(error, None));
        let unsettled = || cut_short.unwrap_or_else(|| Self::new(Kind::Closed, status::LATER, "not sent"));
        match (bad, unknown, later) {
            (Some(one), ..) => Some(Self::refused(report, one)),
            (None, Some(_), _) => Some(Self { status: status::UNKNOWN, ..unsettled() }.may_be_delivered()),
            (None, None, Some(one)) => Some(Self::refused(report, one)),
            (None, None, None) if report.is_accepted() => None,
            (None, None, None) => Some(unsettled()),
        }
    }

    /// Why this recipient does not have the message: the reply says so.
    fn refused(report: &Report, one: &Recipient) -> Self {
        let Outcome::Refused(reply) = &one.outcome else { return Self::new(Kind::Refused, status::LATER, "refused") };
        let own = one.rcpt.as_ref().is_some_and(|rcpt| !rcpt.code().is_positive());
        let failure = if own {
            Self::new(Kind::Refused, refusal(reply), format_args!("{}: {reply}", one.path.as_str()))
        } else {
            Self::new(Kind::Refused, refusal(reply), reply)
        };
        // Where each recipient is answered for (LMTP, PRDR) and the connection breaks in between, there is no word on the whole.
        let untold = if own { phase::RCPT } else { phase::MESSAGE };
        let answered = report.answered.filter(|_| !own).unwrap_or(untold);
        let failure = failure.at(answered);
        if reply.code().is_transient() { failure.advise("try again later") } else { failure }
    }
}

impl From<session::Error<io::Error>> for Failure {
    fn from(error: session::Error<io::Error>) -> Self {
        use session::Error;
        match error {
            Error::Dial(failure) => Self::dial(&failure),
            Error::Session { error, source } => Self::session(&error, source.as_ref()),
            Error::Message(source) => Self::input(format_args!("the message cannot be read: {source}")),
            Error::Misuse(misuse) => Self::misuse(&misuse),
            other => Self::new(Kind::Closed, status::LATER, other),
        }
    }
}

/// It is shown on terminals, in one line.
pub(crate) fn clean(text: impl fmt::Display) -> String {
    text.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn refusal(reply: &Reply) -> u8 {
    if reply.code().is_transient() { status::LATER } else { status::REFUSED }
}

fn weigh(cause: &Cause) -> (Kind, u8) {
    match cause {
        Cause::Malformed(_) | Cause::Unsolicited(_) | Cause::Unexpected(_) | Cause::Injected => {
            (Kind::Protocol, status::PROTOCOL)
        }
        Cause::Refused(reply) | Cause::MessageRefusedEarly(reply) => (Kind::Refused, refusal(reply)),
        Cause::ServiceClosing(_) => (Kind::Refused, status::LATER),
        Cause::StartTlsUnavailable(_) | Cause::Tls(_) => (Kind::Tls, status::PROTOCOL),
        Cause::Authentication(AuthenticationError::NotBase64 { .. }) => (Kind::Protocol, status::PROTOCOL),
        Cause::Authentication(AuthenticationError::Mechanism { error, .. }) if is_malformed(error) => {
            (Kind::Protocol, status::PROTOCOL)
        }
        Cause::Authentication(AuthenticationError::Refused { reply, .. }) if reply.code().is_transient() => {
            (Kind::Auth, status::LATER)
        }
        Cause::Authentication(_) => (Kind::Auth, status::AUTH),
        Cause::Tunnel(tunnel) => match tunnel.kind() {
            proxy_proto::Kind::TimedOut => (Kind::Timeout, status::LATER),
            _ => (Kind::Proxy, status::CONNECT),
        },
        Cause::TimedOut { .. } => (Kind::Timeout, status::LATER),
        // Closed, given up, and whatever else leaves the message unsent.
        _ => (Kind::Closed, status::LATER),
    }
}

/// Whether it is the mechanism's grammar or order that the server broke; else it has not proved itself, or wants what is not
/// to be had.
fn is_malformed(error: &sasl::Error) -> bool {
    use sasl::Error;
    matches!(
        error,
        Error::TooLong { .. } | Error::OutOfOrder | Error::Syntax(_) | Error::Repeated(_) | Error::NonceMismatch
    )
}

fn advice(error: &smtp_proto::Error) -> Option<&'static str> {
    use smtp_proto::sasl::SelectionError as Selection;
    Some(match &error.cause {
        Cause::Malformed(_) if error.phase == phase::GREETING => "is this an SMTP port, and is it one of implicit TLS?",
        Cause::TimedOut { .. } if error.phase == phase::GREETING => {
            "a port of implicit TLS says nothing by itself: try --security implicit"
        }
        Cause::Tunnel(tunnel) => return proxy_advice(tunnel.kind()),
        Cause::TimedOut { .. } => "try again later, or with a longer --timeout",
        Cause::Closed { .. } => "try again later",
        Cause::Refused(reply) if reply.code().is_transient() => "try again later",
        Cause::Refused(reply) if error.phase == phase::EHLO && matches!(reply.code().number(), 500 | 502) => {
            "a server of LMTP takes --lmtp, one of SMTP does not"
        }
        Cause::Tls(tls::Error::Certificate(why)) => return certificate_advice(why),
        Cause::Tls(tls::Error::NotTls(_)) if error.hop.is_some() => "is it a proxy of http://?",
        Cause::Authentication(AuthenticationError::Refused { reply, .. }) if reply.code().is_transient() => {
            "try again later"
        }
        Cause::Authentication(AuthenticationError::Refused { reply, .. })
            if matches!(reply.code().number(), 504 | 534 | 538) =>
        {
            "allow another mechanism with --auth"
        }
        Cause::Authentication(AuthenticationError::Refused { .. }) => "check user name and password",
        Cause::Authentication(AuthenticationError::Selection(Selection::NotOffered)) => {
            "many servers offer it under TLS only, or on another port (587, 465)"
        }
        Cause::Authentication(AuthenticationError::Selection(Selection::NothingInCommon { .. })) => {
            "allow another mechanism with --auth"
        }
        _ => return None,
    })
}

/// Nothing that can be said here makes an old certificate new.
fn certificate_advice(why: &CertificateError) -> Option<&'static str> {
    Some(match why {
        CertificateError::WrongName { .. } => "--tls-name names another host",
        CertificateError::UnknownAuthority => "--ca adds the authority that signed it",
        CertificateError::SelfSigned | CertificateError::AnAuthoritys => "--ca trusts it",
        CertificateError::Expired { .. } => "whoever runs the server must renew it",
        _ => return None,
    })
}

fn proxy_advice(kind: &proxy_proto::Kind) -> Option<&'static str> {
    use proxy_proto::Kind;
    Some(match kind {
        Kind::TimedOut => "is this the proxy's port? try again later, or with a longer --timeout",
        Kind::EndOfStream | Kind::Speaks(_) => "check the scheme and the port of the proxy",
        Kind::CredentialsRefused | Kind::CredentialsRequired { .. } | Kind::Redial(_) | Kind::NoCommonMethod => {
            "check user name and password of the proxy"
        }
        _ => return None,
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(hop) = &self.hop {
            write!(f, "{hop}: ")?;
        }
        if let Some(phase) = self.phase {
            write!(f, "{phase}: ")?;
        }
        f.write_str(&self.text)?;
        match self.advice {
            Some(advice) => write!(f, " ({advice})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smtp_proto::reply::Code;

    fn failure(phase: Phase, cause: Cause) -> Failure {
        Failure::session(&smtp_proto::Error { phase, hop: None, cause }, None)
    }

    fn reply(code: u16, text: &str) -> Reply {
        Reply::new(Code::new(code).unwrap(), text).unwrap()
    }

    #[test]
    fn refusals_for_good_and_for_now() {
        let greeting = failure(phase::GREETING, Cause::Refused(reply(554, "5.3.2 go away")));
        assert_eq!((greeting.kind, greeting.status), (Kind::Refused, status::REFUSED));
        assert_eq!(greeting.to_string(), "greeting: refused: 554 5.3.2 go away");
        assert_eq!(failure(phase::EHLO, Cause::Refused(reply(421, "busy"))).status, status::LATER);
        let closing = failure(phase::MAIL, Cause::ServiceClosing(reply(421, "bye")));
        assert_eq!((closing.kind, closing.status), (Kind::Refused, status::LATER));
    }

    #[test]
    fn a_wrong_password_is_not_a_busy_server() {
        let refused = |code| {
            let mechanism = sasl::MechanismName::Plain;
            let error = AuthenticationError::Refused { mechanism, reply: reply(code, "no"), detail: None };
            failure(phase::AUTH, Cause::Authentication(error))
        };
        assert_eq!((refused(535).kind, refused(535).status), (Kind::Auth, status::AUTH));
        assert_eq!((refused(454).kind, refused(454).status), (Kind::Auth, status::LATER));
    }

    #[test]
    fn a_challenge_that_cannot_be_read_is_no_wrong_password() {
        let weighed = |error| {
            let failure = failure(phase::AUTH, Cause::Authentication(error));
            (failure.kind, failure.status)
        };
        let mechanism = sasl::MechanismName::ScramSha256;
        let found = |error| AuthenticationError::Mechanism { mechanism: mechanism.clone(), error };
        for error in [sasl::Error::Syntax("nonce"), sasl::Error::OutOfOrder, sasl::Error::TooLong { octets: 1 << 20 }] {
            assert_eq!(weighed(found(error)), (Kind::Protocol, status::PROTOCOL));
        }
        assert_eq!(
            weighed(AuthenticationError::NotBase64 { mechanism: mechanism.clone() }),
            (Kind::Protocol, status::PROTOCOL)
        );
        for error in [sasl::Error::ServerNotAuthentic, sasl::Error::ChannelBinding, sasl::Error::IterationCount(1)] {
            assert_eq!(weighed(found(error)), (Kind::Auth, status::AUTH));
        }
    }

    #[test]
    fn no_option_makes_an_old_certificate_new() {
        let advice = |why| failure(phase::TLS, Cause::Tls(tls::Error::Certificate(why))).advice.unwrap_or_default();
        assert!(!advice(CertificateError::Expired { since: core::time::Duration::from_secs(1) }).contains("--"));
        assert!(!advice(CertificateError::Revoked).contains("--"));
        assert!(advice(CertificateError::UnknownAuthority).contains("--ca"));
        let named = CertificateError::WrongName { expected: "a.example".into(), presented: Vec::new() };
        assert!(advice(named).contains("--tls-name"));
    }

    /// What is told of these attempts at one address, the greeting awaited at the first, TLS spoken at the second.
    fn told(causes: [(Phase, Cause); 2]) -> Failure {
        let to = Some("192.0.2.1:2525".parse().unwrap());
        let attempts = causes.into_iter().zip([false, true]).map(|((phase, cause), tls_first)| dial::Attempt {
            id: None,
            host: "mx.example.org".into(),
            port: 2525,
            to,
            tls_first,
            took: std::time::Duration::from_secs(4),
            why: Why::Session { error: smtp_proto::Error { phase, hop: None, cause }, source: None },
        });
        Failure::dial(&dial::Failure { attempts: attempts.collect() })
    }

    #[test]
    fn a_greeting_without_an_end_is_late_and_no_wrong_guess() {
        let late = || Cause::TimedOut { waited: std::time::Duration::from_secs(4), last: None };
        let stalled = told([(phase::GREETING, late()), (phase::TLS, Cause::Tls(tls::Error::NotTls(b'2')))]);
        assert_eq!((stalled.kind, stalled.status, stalled.phase), (Kind::Timeout, status::LATER, Some("greeting")));
        assert_eq!(stalled.advice, None);
        let silent = told([(phase::GREETING, late()), (phase::TLS, late())]);
        assert!(silent.advice.unwrap().contains("silent to TLS"));
        let secured = failure(phase::GREETING, late()).within_tls();
        assert!(!secured.advice.unwrap().contains("implicit"));
        assert_eq!(failure(phase::EHLO, late()).within_tls().advice, failure(phase::EHLO, late()).advice);
    }

    #[test]
    fn a_line_stays_one_line() {
        let line = Failure::input("one\ntwo\r\x1b[31m").to_string();
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
