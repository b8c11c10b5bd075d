//! What was tried and why it was not it: the account that is given when nobody could be reached.
//!
//! The rules of this file: nothing is left out; it knows no `io::Error`, only that the transport has errors of its own.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use proxy_proto::Phase;

use super::order::Id;
use crate::error::{AuthenticationError, Cause};
use crate::{Error, Misuse, phase, tls};

/// Something that was tried and was not it: a connection, or the lookup of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt<E> {
    /// The number it was ordered with; `None` for a lookup.
    pub id: Option<Id>,
    /// The server's name, or the name that was looked up.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// Where the transport was to lead: the server itself, or the nearest proxy; `None` for a lookup, and for a
    /// Unix socket, whose path is the `host`.
    pub to: Option<SocketAddr>,
    /// Whether TLS was to be spoken first; else the greeting was awaited.
    pub tls_first: bool,
    /// How long it took until it was known to be in vain.
    pub took: Duration,
    /// Why not.
    pub why: Why<E>,
}

/// Why an attempt was in vain.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Why<E> {
    /// The name could not be looked up.
    Unresolved(E),
    /// The name has no address.
    NoAddress,
    /// No connection could be opened.
    Connect(E),
    /// The limit of this phase has passed: the lookup's, or the connection's.
    TimedOut(Phase),
    /// The session failed, and perhaps the transport said why.
    Session {
        /// What the session knows.
        error: Error,
        /// What the transport knows.
        source: Option<E>,
    },
    /// It could not be tried at all.
    Misuse(Misuse),
    /// It was given up: another attempt has settled what this one was to find out.
    GivenUp,
}

impl<E> Attempt<E> {
    /// How far it got; what got far has more to tell.
    fn rank(&self) -> u8 {
        let error = match &self.why {
            Why::GivenUp => return 0,
            Why::TimedOut(_) => return 1,
            Why::Unresolved(_) | Why::NoAddress | Why::Connect(_) => return 2,
            Why::Misuse(_) => return 3,
            Why::Session { error, .. } => error,
        };
        // It was answered on a new connection, and that one has the last word.
        if matches!(&error.cause, Cause::Tunnel(tunnel) if tunnel.challenge().is_some()) {
            return 0;
        }
        if error.hop.is_some() {
            return 4;
        }
        match &error.cause {
            Cause::Authentication(AuthenticationError::Refused { .. }) => 12,
            Cause::Authentication(_) => 11,
            Cause::Tls(tls::Error::Certificate(_)) => 9,
            // Text proves that the other guess is the right one; what became of that is what there is to tell.
            Cause::Tls(tls::Error::NotTls(b'2'..=b'5')) => 5,
            Cause::TimedOut { last: None, .. } | Cause::Closed { last: None } => 6,
            Cause::Tls(tls::Error::NotTls(_)) => 7,
            Cause::Tls(_) => 8,
            _ if error.phase == phase::GREETING => 8,
            _ => 10,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Why<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(error) => write!(f, "not found: {error}"),
            Self::NoAddress => f.write_str("the name has no address"),
            Self::Connect(error) => write!(f, "no connection: {error}"),
            Self::TimedOut(phase) => write!(f, "{phase}: timed out"),
            Self::Session { error, source: Some(source) } => write!(f, "{error} ({source})"),
            Self::Session { error, source: None } => write!(f, "{error}"),
            Self::Misuse(misuse) => write!(f, "{misuse}"),
            Self::GivenUp => f.write_str("given up, another attempt had settled it"),
        }
    }
}

impl<E: fmt::Display> fmt::Display for Attempt<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(to) = self.to else { return write!(f, "{}, after {:.1?}: {}", self.host, self.took, self.why) };
        write!(f, "{to}")?;
        if to.port() != self.port {
            write!(f, " for port {}", self.port)?;
        }
        let first = if self.tls_first { "TLS" } else { "greeting" };
        write!(f, ", {first} first, after {:.1?}: {}", self.took, self.why)
    }
}

/// Why nobody could be reached: everything that was tried, in the order it ended; never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure<E> {
    /// What was tried.
    pub attempts: Vec<Attempt<E>>,
}

impl<E> Failure<E> {
    /// The attempt that has most to tell: the one that got furthest, and of several the first.
    pub fn telling(&self) -> Option<&Attempt<E>> {
        self.attempts.iter().rev().max_by_key(|attempt| attempt.rank())
    }
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    /// In one line: the attempt that has most to tell, then how many others there were, and each of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(telling) = self.telling() else { return f.write_str("nothing was tried") };
        write!(f, "{telling}")?;
        let others = self.attempts.iter().filter(|attempt| !core::ptr::eq(*attempt, telling));
        for (at, other) in others.enumerate() {
            write!(f, "{}{other}", if at == 0 { " (also tried: " } else { "; " })?;
        }
        if self.attempts.len() > 1 { f.write_str(")") } else { Ok(()) }
    }
}

impl<E: fmt::Display + fmt::Debug> core::error::Error for Failure<E> {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn attempt(why: Why<&'static str>) -> Attempt<&'static str> {
        let to = Some("192.0.2.1:465".parse().unwrap());
        let host = "mx.example.org".into();
        Attempt { id: None, host, port: 465, to, tls_first: true, took: Duration::from_millis(1500), why }
    }

    #[test]
    fn who_got_furthest_tells_most() {
        let session = |phase, cause| Why::Session { error: Error { phase, hop: None, cause }, source: None };
        let closed = session(phase::TLS, Cause::Closed { last: None });
        let certificate = session(phase::TLS, Cause::Tls(tls::Error::Certificate(tls::CertificateError::SelfSigned)));
        let starttls = session(phase::STARTTLS, Cause::StartTlsUnavailable(None));
        // A text where TLS was spoken, and then a greeting that has no end: the greeting is what is late.
        let text = session(phase::TLS, Cause::Tls(tls::Error::NotTls(b'2')));
        let http = session(phase::TLS, Cause::Tls(tls::Error::NotTls(b'H')));
        let waited = Duration::from_secs(4);
        let late = session(phase::GREETING, Cause::TimedOut { waited, last: None });
        let none = [Why::GivenUp, Why::TimedOut(phase::CONNECT), Why::Connect("refused")];
        let rising: Vec<_> = none.into_iter().chain([text.clone(), late, http, certificate, starttls]).collect();
        let other = Failure { attempts: vec![attempt(text), attempt(closed.clone())] };
        assert_eq!(other.telling(), Some(&attempt(closed)));
        for at in 1..rising.len() {
            let both = vec![attempt(rising[at].clone()), attempt(rising[at - 1].clone())];
            let failure = Failure { attempts: both.clone() };
            assert_eq!(failure.telling(), Some(&both[0]));
            let failure = Failure { attempts: both.iter().rev().cloned().collect() };
            assert_eq!(failure.telling(), Some(&both[0]));
        }
    }

    #[test]
    fn all_are_told_in_one_line() {
        let mut proxied = attempt(Why::GivenUp);
        (proxied.port, proxied.tls_first) = (25, false);
        let lookup = Attempt { to: None, ..attempt(Why::Unresolved("no such name")) };
        let failure = Failure { attempts: vec![proxied, attempt(Why::Connect("refused")), lookup] };
        assert_eq!(
            failure.to_string(),
            "192.0.2.1:465, TLS first, after 1.5s: no connection: refused (also tried: 192.0.2.1:465 for port 25, greeting \
             first, after 1.5s: given up, another attempt had settled it; mx.example.org, after 1.5s: not found: no such name)"
        );
        assert_eq!(
            Failure { attempts: vec![attempt(Why::NoAddress)] }.to_string(),
            attempt(Why::NoAddress).to_string()
        );
    }

    #[test]
    fn each_stage_of_a_session_tells_more_than_the_one_before() {
        let session = |phase, hop, cause| Why::Session { error: Error { phase, hop, cause }, source: None };
        let hop = Some(proxy_proto::Hop::named(1, "socks5://a:1080"));
        let reply = || crate::reply::Reply::bare(crate::reply::Code::new(535).unwrap());
        let name = crate::sasl::MechanismName::Plain;
        let refused = AuthenticationError::Refused { mechanism: name.clone(), reply: reply(), detail: None };
        let rising = [
            Why::NoAddress,
            Why::Misuse(Misuse::NotOpen),
            session(phase::CONNECT, hop, Cause::Closed { last: None }),
            session(phase::TLS, None, Cause::Tls(tls::Error::NotTls(b'2'))),
            session(phase::GREETING, None, Cause::TimedOut { waited: Duration::ZERO, last: None }),
            session(phase::TLS, None, Cause::Tls(tls::Error::Failed("no cipher in common".into()))),
            session(phase::TLS, None, Cause::Tls(tls::Error::Certificate(tls::CertificateError::SelfSigned))),
            session(phase::EHLO, None, Cause::Refused(reply())),
            session(phase::AUTH, None, Cause::Authentication(AuthenticationError::NotBase64 { mechanism: name })),
            session(phase::AUTH, None, Cause::Authentication(refused)),
        ];
        let ranks: Vec<_> = rising.iter().map(|why| attempt(why.clone()).rank()).collect();
        assert!(ranks.windows(2).all(|two| two[0] < two[1]), "{ranks:?}");
    }

    #[test]
    fn every_reason_is_told() {
        let error = Error { phase: phase::EHLO, hop: None, cause: Cause::Closed { last: None } };
        let session = |source| Why::Session { error: error.clone(), source };
        let texts: [(Why<&'static str>, &[&str]); 7] = [
            (Why::Unresolved("no such name"), &["not found", "no such name"]),
            (Why::NoAddress, &["no address"]),
            (Why::Connect("refused"), &["no connection", "refused"]),
            (Why::TimedOut(phase::CONNECT), &["connect", "timed out"]),
            (session(None), &["EHLO", "closed"]),
            (session(Some("reset by peer")), &["EHLO", "closed", "reset by peer"]),
            (Why::Misuse(Misuse::Tls { why: "no roots".into() }), &["TLS settings", "no roots"]),
        ];
        for (why, parts) in texts {
            let text = attempt(why).to_string();
            for part in ["192.0.2.1:465"].iter().chain(parts) {
                assert!(text.contains(part), "{part:?} in {text:?}");
            }
        }
        assert!(Failure::<&str> { attempts: vec![] }.to_string().contains("nothing was tried"));
    }

    #[test]
    fn what_was_answered_on_a_new_connection_has_least_to_tell() {
        use proxy_proto::http::{Authorization, Config, Connect};
        use proxy_proto::{Credentials, Instant, Machine};
        let authorization = Authorization::Challenged(Credentials::new("alice", "hunter2"));
        let config = Config { authorization, ..Config::default() };
        let mut tunnel = Connect::new(&"mx.example.org:25".parse().unwrap(), config).unwrap();
        tunnel.transmit(Instant::EPOCH, &mut Vec::new());
        let reply = b"HTTP/1.0 407 x\r\nProxy-Authenticate: Basic realm=r\r\n\r\n";
        let challenged = tunnel.receive(Instant::EPOCH, &mut &reply[..]).unwrap_err();
        let error = Error { phase: challenged.phase(), hop: None, cause: Cause::Tunnel(challenged) };
        let redial = attempt(Why::Session { error, source: None });
        let refused = attempt(Why::Connect("refused"));
        for attempts in [vec![redial.clone(), refused.clone()], vec![refused.clone(), redial]] {
            assert_eq!(Failure { attempts }.telling(), Some(&refused));
        }
    }
}
