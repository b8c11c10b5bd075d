//! What a peer, or the stream to it, did wrong.
//!
//! The rules of this file: an error names the phase and, in a chain, the hop; it says what the proxy said and what can be
//! done about it; it is `Clone + Eq`, knows no `io::Error`, and holds no secret.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::fmt;

use crate::http::Challenge;
use crate::{Phase, ProxyUrl, socks4, socks5};

/// Why a handshake with a proxy (or with a client, on the accepting side) failed. Sticky: a machine keeps returning it.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    kind: Kind,
    phase: Phase,
    hop: Option<Hop>,
}

impl Error {
    pub(crate) fn new(kind: Kind, phase: Phase) -> Self {
        Self(Box::new(Inner { kind, phase, hop: None }))
    }

    /// What went wrong.
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// The phase it went wrong in: `"SOCKS5 request"`, `"CONNECT reply"`.
    pub fn phase(&self) -> Phase {
        self.0.phase
    }

    /// The proxy of a chain it went wrong at, where the tunnel was told ([`Tunnel::at`](crate::Tunnel::at)).
    pub fn hop(&self) -> Option<&Hop> {
        self.0.hop.as_ref()
    }

    /// The challenge to answer on a new connection, if that is all that is missing ([`Kind::Redial`]).
    pub fn challenge(&self) -> Option<&Challenge> {
        match self.kind() {
            Kind::Redial(challenge) => Some(challenge),
            _ => None,
        }
    }

    /// The same error, naming the hop.
    #[must_use]
    pub fn at(mut self, hop: Hop) -> Self {
        self.0.hop = Some(hop);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(hop) = self.hop() {
            write!(f, "{hop}: ")?;
        }
        write!(f, "{} ({})", self.kind(), self.phase())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, phase, hop } = &*self.0;
        f.debug_struct("Error").field("kind", kind).field("phase", phase).field("hop", hop).finish()
    }
}

impl core::error::Error for Error {}

/// Which proxy of a chain: its place, counted from 1, and its name without credentials.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Hop {
    number: usize,
    name: Box<str>,
}

impl Hop {
    /// The proxy at this place of a chain; the nearest is number 1.
    pub fn new(number: usize, proxy: &ProxyUrl) -> Self {
        Self::named(number, proxy.to_string())
    }

    /// A step that has no URL, such as a PROXY protocol header.
    pub fn named(number: usize, name: impl Into<String>) -> Self {
        Self { number, name: name.into().into_boxed_str() }
    }

    /// The place in the chain, from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The proxy's URL without credentials, or the step's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hop {}, {}", self.number, self.name)
    }
}

/// What went wrong in a handshake.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// The limit of the handshake has passed ([`Limits::handshake`](crate::Limits)).
    TimedOut,
    /// The peer closed the stream before the handshake was over.
    EndOfStream,
    /// The peer speaks another protocol.
    Speaks(Spoken),
    /// A SOCKS4 proxy refused.
    Socks4(socks4::Refusal),
    /// A SOCKS5 proxy refused (RFC 1928, section 6).
    Socks5(socks5::Refusal),
    /// The SOCKS5 proxy takes none of the methods offered (RFC 1928, section 3).
    NoCommonMethod,
    /// The SOCKS5 proxy picked a method that was not offered.
    MethodNotOffered(u8),
    /// A SOCKS5 method of the caller's own failed, in its words.
    Method(String),
    /// An address of a type RFC 1928 does not know.
    AddressType(u8),
    /// The user and password, or the token, were refused.
    CredentialsRefused,
    /// An HTTP proxy refused, with this status.
    Http {
        /// The status code, three digits.
        status: u16,
        /// The reason phrase, shortened and without controls.
        reason: String,
    },
    /// The head of an HTTP message is longer than this many octets.
    HeadTooLong(usize),
    /// The head of an HTTP message cannot be read; the word says where.
    MalformedHead(&'static str),
    /// The HTTP proxy said 407 but not what it wants (RFC 9110, section 15.5.8, demands that it does).
    NoChallenge,
    /// The HTTP proxy wants credentials and none were given; these are the schemes it offers.
    CredentialsRequired {
        /// The names of the schemes, comma-separated.
        offered: String,
    },
    /// The HTTP proxy offers only schemes that cannot be answered.
    NoCommonScheme {
        /// The names of the schemes, comma-separated.
        offered: String,
    },
    /// The HTTP proxy wants credentials, which are there, but on a new connection: dial again and use
    /// [`Tunnel::redial`](crate::Tunnel::redial), or give the challenge to [`Options`](crate::Options).
    Redial(Challenge),
    /// On the accepting side: the client asked for something other than a connection. It was told so.
    NotConnect,
    /// On the accepting side: the request cannot be read; the word says where.
    MalformedRequest(&'static str),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer in time"),
            Self::EndOfStream => f.write_str("the connection was closed before the handshake was over"),
            Self::Speaks(spoken) => spoken.fmt(f),
            Self::Socks4(refusal) => refusal.fmt(f),
            Self::Socks5(refusal) => refusal.fmt(f),
            Self::NoCommonMethod => f.write_str("the proxy takes none of the authentication methods offered"),
            Self::MethodNotOffered(code) => write!(f, "the proxy picked method 0x{code:02x}, which was not offered"),
            Self::Method(text) => write!(f, "the authentication method failed: {text}"),
            Self::AddressType(code) => write!(f, "0x{code:02x} is no SOCKS5 address type"),
            Self::CredentialsRefused => f.write_str("the proxy refused the user name or password"),
            Self::Http { status, reason } => {
                let space = if reason.is_empty() { "" } else { " " };
                write!(f, "the proxy said {status}{space}{reason}")?;
                f.write_str(match status {
                    403 => ": its rules do not allow this target or port",
                    405 | 501 => ": it does not know CONNECT, it may be a web server",
                    502..=504 => ": it could not reach the target",
                    _ => "",
                })
            }
            Self::HeadTooLong(limit) => write!(f, "the head of the HTTP message is longer than {limit} octets"),
            Self::MalformedHead(part) => write!(f, "the proxy's HTTP reply cannot be read: {part}"),
            Self::NoChallenge => f.write_str("the proxy said 407 but not which authentication it wants"),
            Self::CredentialsRequired { offered } => {
                write!(f, "the proxy wants credentials ({offered}) and none were given")
            }
            Self::NoCommonScheme { offered } => {
                write!(f, "the proxy offers only authentication that cannot be answered: {offered}")
            }
            Self::Redial(challenge) => {
                write!(f, "the proxy wants {} authentication on a new connection: dial again", challenge.scheme())
            }
            Self::NotConnect => f.write_str("the client asked for something other than a connection"),
            Self::MalformedRequest(part) => write!(f, "the client's request cannot be read: {part}"),
        }
    }
}

/// What the first wrong octet of an answer gives away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Spoken {
    /// HTTP: the octet is a letter.
    Http,
    /// SMTP, or a protocol that answers like it: the octet is a digit.
    Smtp,
    /// SOCKS4: a reply begins with 0, a request with 4.
    Socks4,
    /// SOCKS5: everything begins with 5.
    Socks5,
    /// TLS: an alert or a handshake record.
    Tls,
    /// Something else, beginning with this octet.
    Other(u8),
}

impl Spoken {
    /// Judged by one octet, so that it is the same however the stream is cut.
    pub(crate) fn by(octet: u8) -> Self {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' => Self::Http,
            b'0'..=b'9' => Self::Smtp,
            0x00 | 0x04 => Self::Socks4,
            0x05 => Self::Socks5,
            0x15 | 0x16 => Self::Tls,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http => f.write_str("the peer seems to speak HTTP: try http://"),
            Self::Smtp => f.write_str("the peer seems to speak SMTP: it is a mail server, not a proxy"),
            Self::Socks4 => f.write_str("the peer seems to speak SOCKS4: try socks4:// or socks4a://"),
            Self::Socks5 => f.write_str("the peer seems to speak SOCKS5: try socks5:// or socks5h://"),
            Self::Tls => f.write_str("the peer seems to speak TLS: try https://"),
            Self::Other(octet) => write!(f, "the peer speaks another protocol, beginning with 0x{octet:02x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hop_comes_first_and_the_phase_last() {
        let error = Error::new(Kind::Socks5(socks5::Refusal::HostUnreachable), Phase::named("SOCKS5 request"));
        assert_eq!(error.to_string(), "host unreachable (SOCKS5 request)");
        let error = error.at(Hop::named(2, "socks5://b:1080"));
        assert_eq!(error.to_string(), "hop 2, socks5://b:1080: host unreachable (SOCKS5 request)");
        assert_eq!(error.hop().map(Hop::number), Some(2));
    }

    #[test]
    fn messages_say_what_the_proxy_said_and_what_to_do() {
        let http = |status, reason: &str| Kind::Http { status, reason: reason.into() }.to_string();
        assert_eq!(http(502, "Bad Gateway"), "the proxy said 502 Bad Gateway: it could not reach the target");
        assert_eq!(http(403, ""), "the proxy said 403: its rules do not allow this target or port");
        assert_eq!(http(418, "Teapot"), "the proxy said 418 Teapot");
        let on_a_socks_port = Kind::Speaks(Spoken::Http).to_string();
        assert_eq!(on_a_socks_port, "the peer seems to speak HTTP: try http://");
    }

    #[test]
    fn one_octet_tells_the_protocols_apart() {
        let by = |octet| Spoken::by(octet);
        assert_eq!([by(b'H'), by(b'2'), by(0), by(5)], [Spoken::Http, Spoken::Smtp, Spoken::Socks4, Spoken::Socks5]);
        assert_eq!([by(0x15), by(0xff)], [Spoken::Tls, Spoken::Other(0xff)]);
    }

    #[test]
    fn every_kind_says_what_came_and_what_to_do() {
        let texts: [(Kind, &[&str]); 19] = [
            (Kind::TimedOut, &["no answer in time"]),
            (Kind::EndOfStream, &["closed", "before the handshake was over"]),
            (Kind::Socks4(socks4::Refusal::NoIdentd), &["identd"]),
            (Kind::NoCommonMethod, &["none", "methods offered"]),
            (Kind::MethodNotOffered(0x80), &["0x80", "not offered"]),
            (Kind::Method("no ticket".into()), &["authentication method", "no ticket"]),
            (Kind::AddressType(2), &["0x02", "address type"]),
            (Kind::CredentialsRefused, &["refused", "password"]),
            (Kind::Http { status: 405, reason: "No".into() }, &["405 No", "does not know CONNECT"]),
            (Kind::Http { status: 501, reason: "No".into() }, &["501 No", "does not know CONNECT"]),
            (Kind::HeadTooLong(64), &["64 octets"]),
            (Kind::MalformedHead("the status"), &["reply", "the status"]),
            (Kind::NoChallenge, &["407", "not which"]),
            (Kind::CredentialsRequired { offered: "Basic".into() }, &["wants credentials", "Basic"]),
            (Kind::NoCommonScheme { offered: "NTLM".into() }, &["NTLM", "cannot be answered"]),
            (Kind::NotConnect, &["client", "other than a connection"]),
            (Kind::MalformedRequest("the target"), &["client's request", "the target"]),
            (Kind::Speaks(Spoken::Tls), &["TLS", "https://"]),
            (Kind::Speaks(Spoken::Other(0x80)), &["0x80"]),
        ];
        for (kind, parts) in texts {
            let text = Error::new(kind, Phase::named("CONNECT reply")).at(Hop::named(3, "http://c:3128")).to_string();
            for part in ["hop 3, http://c:3128", "CONNECT reply"].iter().chain(parts) {
                assert!(text.contains(part), "{part:?} in {text:?}");
            }
        }
    }

    #[test]
    fn whoever_speaks_another_protocol_is_told_the_scheme_for_it() {
        for (spoken, part) in
            [(Spoken::Smtp, "not a proxy"), (Spoken::Socks4, "socks4://"), (Spoken::Socks5, "socks5://")]
        {
            let text = spoken.to_string();
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_hop_is_named_without_its_credentials() {
        let hop = Hop::new(1, &"http://alice:hunter2@proxy.example:3128".parse().expect("a proxy"));
        assert_eq!(hop.name(), "http://proxy.example:3128");
    }
}
