//! What was found: where a server is, and how it is secured. Written down, it is the hint for the next time.
//!
//! The rules of this file: what is written is read again as it was; nothing else is taken for a hint.

use core::fmt;
use core::str::FromStr;

use proxy_proto::{Host, Target};

use crate::{Connection, Misuse, Security};

/// How a session is secured in fact.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Mode {
    /// TLS from the first octet (RFC 8314).
    Implicit,
    /// TLS by STARTTLS (RFC 3207).
    StartTls,
    /// Not at all.
    None,
}

impl Mode {
    /// What a connection has come to so far.
    pub fn of(connection: &Connection) -> Self {
        match connection.security() {
            Security::Implicit => Self::Implicit,
            Security::StartTls => Self::StartTls,
            _ => Self::None,
        }
    }

    /// The word for it in a hint: `implicit`, `starttls` or `none`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Implicit => "implicit",
            Self::StartTls => "starttls",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = Misuse;

    /// Reads the word for it.
    fn from_str(text: &str) -> Result<Self, Misuse> {
        [Self::Implicit, Self::StartTls, Self::None]
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or(Misuse::Malformed { what: "mode (implicit, starttls or none)" })
    }
}

/// What a dialer has found. [`Config::hint`](crate::Config::hint) takes it the next time, and nothing is probed then.
///
/// ```
/// use smtp_proto::dial::{Mode, Verdict};
///
/// let verdict: Verdict = "[2001:db8::1]:465/implicit".parse()?;
/// assert_eq!((verdict.port, verdict.mode), (465, Mode::Implicit));
/// assert_eq!(verdict.to_string(), "[2001:db8::1]:465/implicit");
/// # Ok::<(), smtp_proto::Misuse>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Verdict {
    /// The address that was connected to; behind proxies the server as the last of them was asked for it.
    pub host: Host,
    /// The server's port.
    pub port: u16,
    /// How the session is secured.
    pub mode: Mode,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::V6(address) => write!(f, "[{address}]:{}/{}", self.port, self.mode),
            host => write!(f, "{host}:{}/{}", self.port, self.mode),
        }
    }
}

impl FromStr for Verdict {
    type Err = Misuse;

    /// Reads what is written: host, port and mode, none of which may be missing.
    fn from_str(text: &str) -> Result<Self, Misuse> {
        let malformed = Misuse::Malformed { what: "hint (it looks like 192.0.2.1:465/implicit, or starttls, or none)" };
        let (place, mode) = text.rsplit_once('/').ok_or(malformed.clone())?;
        let Ok(mode) = mode.parse() else { return Err(malformed) };
        match place.parse::<Target>() {
            Ok(Target { host, port }) if port > 0 => Ok(Self { host, port, mode }),
            _ => Err(malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_verdict_is_read_as_it_was_written() {
        for text in ["192.0.2.1:465/implicit", "[2001:db8::1]:587/starttls", "mx.example.org:25/none"] {
            assert_eq!(text.parse::<Verdict>().map(|verdict| verdict.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_no_hint_is_refused() {
        for text in [
            "192.0.2.1:465",
            "192.0.2.1/none",
            "192.0.2.1:465/tls",
            ":1/none/",
            "a:0/none",
            "::1:25/none",
            "a b:1/none",
        ] {
            assert!(matches!(text.parse::<Verdict>(), Err(Misuse::Malformed { .. })), "{text}");
        }
    }
}
