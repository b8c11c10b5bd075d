//! What ends a session: the peer's fault, or the stream's.
//!
//! The rules of this file: an error names its phase, and the hop where there is one; it says what the peer said and what
//! can be done; it is plain data, so that it can be kept, compared and returned again. It knows no `io::Error`.
//!
//! Of every error in every crate: its `Display` says all of it in one line, what is inside included, and so `source()` has nothing to
//! add: who prints a chain of sources reads each thing once. What is inside is had by its type, from variants, fields and calls.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use proxy_proto::{Hop, Phase};

use crate::reply::{MalformedReply, Reply};
use crate::{sasl, tls};

/// Why a session is over, and where.
///
/// Its `Display` says all of it in one line: phase, hop, what the peer said, what to do. Therefore it has no
/// [`source`](core::error::Error::source), as no error of these crates has; what is inside is had from its fields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// What was under way.
    pub phase: Phase,
    /// The proxy at which it happened; `None` for the server itself.
    pub hop: Option<Hop>,
    /// What happened.
    pub cause: Cause,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The server does not speak SMTP, or breaks its grammar.
    Malformed(MalformedReply),
    /// A reply that no command asked for.
    Unsolicited(Reply),
    /// A reply whose code has no meaning for the command it answers.
    Unexpected(Reply),
    /// The server refused what the session cannot do without.
    Refused(Reply),
    /// The server closes the channel (421).
    ServiceClosing(Reply),
    /// The server refused a message while it was going out; only closing the connection stops it.
    MessageRefusedEarly(Reply),
    /// Octets in clear behind the reply to STARTTLS: somebody on the way put them there (RFC 3207 section 4.1).
    Injected,
    /// TLS is required, and the server does not offer STARTTLS, or refuses it with this reply.
    StartTlsUnavailable(Option<Reply>),
    /// Authentication did not succeed.
    Authentication(AuthenticationError),
    /// TLS could not be established, or broke.
    Tls(tls::Error),
    /// The tunnel could not be opened.
    Tunnel(proxy_proto::Error),
    /// A limit has passed.
    TimedOut {
        /// How long was waited.
        waited: Duration,
        /// The last reply before the wait.
        last: Option<Reply>,
    },
    /// The stream ended where it may not.
    Closed {
        /// The last reply before the end.
        last: Option<Reply>,
    },
    /// The caller gave the message up while it was going out; only closing the connection stops it.
    Abandoned,
}

/// Why nobody was authenticated.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AuthenticationError {
    /// No mechanism could be chosen; nothing was sent.
    Selection(sasl::SelectionError),
    /// The server refused the credentials or the mechanism.
    Refused {
        /// The mechanism that was tried last.
        mechanism: sasl::MechanismName,
        /// The server's reply.
        reply: Reply,
        /// What the server said in its last challenge, where the mechanism has a word for that (JSON in OAUTHBEARER).
        detail: Option<Vec<u8>>,
    },
    /// The exchange went wrong, or the server did not prove itself.
    Mechanism {
        /// The mechanism.
        mechanism: sasl::MechanismName,
        /// What it found.
        error: sasl::Error,
    },
    /// A challenge that is not base64 (RFC 4954 section 4).
    NotBase64 {
        /// The mechanism.
        mechanism: sasl::MechanismName,
    },
    /// The credentials do not suit the mechanism.
    Credentials {
        /// The mechanism.
        mechanism: sasl::MechanismName,
        /// Why not.
        misuse: sasl::Misuse,
    },
}

impl Error {
    pub(crate) fn new(phase: Phase, cause: Cause) -> Self {
        Self { phase, hop: None, cause }
    }

    /// `true` where the peer asked to come back later, or nothing speaks against it: 4yz, a time-out, a lost connection.
    pub fn is_transient(&self) -> bool {
        match &self.cause {
            Cause::ServiceClosing(_) | Cause::TimedOut { .. } | Cause::Closed { .. } | Cause::Abandoned => true,
            Cause::Refused(reply) | Cause::MessageRefusedEarly(reply) | Cause::StartTlsUnavailable(Some(reply)) => {
                reply.code().is_transient()
            }
            Cause::Authentication(AuthenticationError::Refused { reply, .. }) => reply.code().is_transient(),
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A tunnel's own error names hop and phase already.
        if let Cause::Tunnel(error) = &self.cause {
            return write!(f, "{error}");
        }
        if let Some(hop) = &self.hop {
            write!(f, "{hop}: ")?;
        }
        write!(f, "{}: {}", self.phase, self.cause)
    }
}

impl core::error::Error for Error {}

impl core::error::Error for AuthenticationError {}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "{error}"),
            Self::Unsolicited(reply) => write!(f, "a reply that nothing asked for: {reply}"),
            Self::Unexpected(reply) => write!(f, "a reply that makes no sense here: {reply}"),
            Self::Refused(reply) => write!(f, "refused: {reply}"),
            Self::ServiceClosing(reply) => write!(f, "the server closes the connection: {reply}; try again later"),
            Self::MessageRefusedEarly(reply) => write!(f, "the message was refused while it was being sent: {reply}"),
            Self::Injected => f.write_str(
                "octets in clear behind the reply to STARTTLS; somebody may be tampering with the connection",
            ),
            Self::StartTlsUnavailable(None) => f.write_str(
                "the server does not offer STARTTLS; try implicit TLS (port 465), or allow clear text if you must",
            ),
            Self::StartTlsUnavailable(Some(reply)) => write!(f, "the server refuses STARTTLS: {reply}"),
            Self::Authentication(error) => write!(f, "{error}"),
            Self::Tls(error) => write!(f, "{error}"),
            Self::Tunnel(error) => write!(f, "{error}"),
            Self::TimedOut { waited, last } => {
                write!(f, "timed out after {waited:.1?}; ")?;
                heard(f, last)
            }
            Self::Closed { last } => {
                f.write_str("the connection was closed; ")?;
                heard(f, last)
            }
            Self::Abandoned => f.write_str("the message was given up while it was being sent"),
        }
    }
}

fn heard(f: &mut fmt::Formatter<'_>, last: &Option<Reply>) -> fmt::Result {
    match last {
        Some(reply) => write!(f, "the last reply was: {reply}"),
        None => f.write_str("no reply was heard before"),
    }
}

impl fmt::Display for AuthenticationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Selection(error) => write!(f, "{error}"),
            Self::Refused { mechanism, reply, .. } => write!(f, "{mechanism} was refused: {reply}"),
            Self::Mechanism { mechanism, error } => write!(f, "{mechanism}: {error}"),
            Self::NotBase64 { mechanism } => write!(f, "{mechanism}: the server's challenge is not base64"),
            Self::Credentials { mechanism, misuse } => write!(f, "{mechanism}: {misuse}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phase;
    use crate::reply::Code;
    use alloc::string::ToString;
    use core::error::Error as _;

    fn reply(code: u16, text: &str) -> Reply {
        Reply::new(Code::new(code).unwrap(), text).unwrap()
    }

    fn tunnel() -> proxy_proto::Error {
        use proxy_proto::socks5::{Config, Connect};
        use proxy_proto::{Instant, Machine};
        let mut socks = Connect::new(&"mx.example:25".parse().unwrap(), Config::default()).unwrap();
        socks.transmit(Instant::EPOCH, &mut Vec::new());
        socks.receive(Instant::EPOCH, &mut &b"\x05\xff"[..]).unwrap_err()
    }

    fn refused_auth(code: u16) -> Cause {
        let (mechanism, detail) = (sasl::MechanismName::Plain, Some(b"a detail".to_vec()));
        Cause::Authentication(AuthenticationError::Refused { mechanism, reply: reply(code, "5.7.8 wrong"), detail })
    }

    #[test]
    fn every_cause_says_the_phase_what_the_peer_said_and_what_to_do() {
        let mechanism = sasl::MechanismName::ScramSha256;
        let authentication = |error| Cause::Authentication(error);
        let texts: [(Cause, &[&str]); 20] = [
            (Cause::Malformed(MalformedReply::NotAReply(b"SSH-2.0".to_vec())), &["SSH-2.0"]),
            (Cause::Unsolicited(reply(250, "surplus")), &["nothing asked for", "250 surplus"]),
            (Cause::Unexpected(reply(354, "go")), &["makes no sense", "354 go"]),
            (Cause::Refused(reply(554, "no service")), &["refused", "554 no service"]),
            (Cause::ServiceClosing(reply(421, "bye")), &["closes", "421 bye", "later"]),
            (Cause::MessageRefusedEarly(reply(552, "too big")), &["while it was being sent", "552 too big"]),
            (Cause::Injected, &["in clear", "STARTTLS", "tampering"]),
            (Cause::StartTlsUnavailable(None), &["does not offer STARTTLS", "implicit TLS", "465"]),
            (Cause::StartTlsUnavailable(Some(reply(454, "not now"))), &["refuses STARTTLS", "454 not now"]),
            (refused_auth(535), &["PLAIN", "535 5.7.8 wrong"]),
            (authentication(AuthenticationError::Selection(sasl::SelectionError::NotOffered)), &["no authentication"]),
            (
                authentication(AuthenticationError::Mechanism {
                    mechanism: mechanism.clone(),
                    error: sasl::Error::ServerUnproven,
                }),
                &["SCRAM-SHA-256", "without proving"],
            ),
            (authentication(AuthenticationError::NotBase64 { mechanism: mechanism.clone() }), &["SCRAM", "base64"]),
            (
                authentication(AuthenticationError::Credentials {
                    mechanism,
                    misuse: sasl::Misuse::NotUtf8("password"),
                }),
                &["SCRAM-SHA-256", "password", "UTF-8"],
            ),
            (Cause::Tls(tls::Error::NotTls(b'2')), &["clear text", "STARTTLS on this port"]),
            (Cause::TimedOut { waited: Duration::from_secs(5), last: None }, &["timed out", "5.0s", "no reply"]),
            (
                Cause::TimedOut { waited: Duration::from_secs(5), last: Some(reply(250, "ok")) },
                &["last reply", "250 ok"],
            ),
            (Cause::Closed { last: None }, &["closed", "no reply"]),
            (Cause::Closed { last: Some(reply(220, "mx")) }, &["closed", "220 mx"]),
            (Cause::Abandoned, &["given up", "while it was being sent"]),
        ];
        for (cause, parts) in texts {
            let error = Error { hop: Some(Hop::named(2, "socks5://b:1080")), ..Error::new(phase::EHLO, cause) };
            let text = error.to_string();
            for part in ["hop 2, socks5://b:1080: EHLO: "].iter().chain(parts) {
                assert!(text.contains(part), "{part:?} in {text:?}");
            }
        }
    }

    #[test]
    fn a_tunnels_own_error_names_its_place_once() {
        let inner = tunnel().at(Hop::named(1, "socks5://a:1080"));
        let error = Error { hop: inner.hop().cloned(), ..Error::new(inner.phase(), Cause::Tunnel(inner.clone())) };
        let text = error.to_string();
        assert_eq!(text.matches("hop 1, socks5://a:1080").count(), 1, "{text}");
        assert!(text.contains("methods offered") && text.contains("SOCKS5 method"), "{text}");
        assert!(Cause::Tunnel(inner).to_string().contains("methods offered"));
    }

    #[test]
    fn whatever_lies_below_is_told_by_the_outermost_too() {
        let mechanism = sasl::MechanismName::Plain;
        let misuse = sasl::Misuse::Empty("user name");
        let credentials = AuthenticationError::Credentials { mechanism: mechanism.clone(), misuse };
        let not_base64 = AuthenticationError::NotBase64 { mechanism };
        assert!(not_base64.source().is_none());
        for cause in [
            Cause::Malformed(MalformedReply::CodeOutOfRange(99)),
            Cause::Tls(tls::Error::NotTls(b'H')),
            Cause::Tunnel(tunnel()),
            Cause::Authentication(credentials),
            Cause::Authentication(not_base64),
            refused_auth(535),
            Cause::Abandoned,
        ] {
            let error = Error::new(phase::AUTH, cause);
            let text = error.to_string();
            let mut below = error.source();
            while let Some(source) = below {
                assert!(text.contains(&source.to_string()), "{source} in {text}");
                below = source.source();
            }
        }
        assert!(Error::new(phase::AUTH, Cause::Abandoned).source().is_none());
    }

    #[test]
    fn later_is_another_matter_where_nobody_said_never() {
        let last = || Some(reply(250, "ok"));
        for (cause, transient) in [
            (Cause::ServiceClosing(reply(421, "bye")), true),
            (Cause::TimedOut { waited: Duration::ZERO, last: last() }, true),
            (Cause::Closed { last: last() }, true),
            (Cause::Abandoned, true),
            (Cause::Refused(reply(450, "later")), true),
            (Cause::Refused(reply(554, "never")), false),
            (Cause::MessageRefusedEarly(reply(452, "full")), true),
            (Cause::MessageRefusedEarly(reply(552, "too big")), false),
            (Cause::StartTlsUnavailable(Some(reply(454, "not now"))), true),
            (Cause::StartTlsUnavailable(Some(reply(502, "what"))), false),
            (Cause::StartTlsUnavailable(None), false),
            (refused_auth(454), true),
            (refused_auth(535), false),
            (Cause::Injected, false),
            (Cause::Unsolicited(reply(250, "surplus")), false),
            (Cause::Tls(tls::Error::NotTls(b'2')), false),
        ] {
            let error = Error::new(phase::EHLO, cause);
            assert_eq!(error.is_transient(), transient, "{error}");
        }
    }
}
