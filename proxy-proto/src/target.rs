//! Where a tunnel shall lead: a host and a port.
//!
//! The rules of this file: a host is checked once, here, so that no machine ever meets one it cannot send; an address is
//! never mistaken for a name; nothing is resolved.

use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

use crate::misuse::{Misuse, check_length};

/// A host name in ASCII, 1 to [`Name::LIMIT`] octets, with nothing in it that ends a field, a line or a URL's host.
///
/// Internationalized names are given as A-labels (`xn--...`, RFC 5890): proxies know no others.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The most octets a name may have: what the length octet of SOCKS5 can count (RFC 1928, section 5).
    pub const LIMIT: usize = 255;

    /// Checks a name and keeps it as it is.
    ///
    /// # Errors
    ///
    /// It is empty, longer than [`Name::LIMIT`], or holds a control, a space, an octet outside ASCII or one of `:/?#[]@\`.
    pub fn new(name: impl Into<String>) -> Result<Self, Misuse> {
        let name = name.into();
        if name.is_empty() {
            return Err(Misuse::Empty { what: "host" });
        }
        check_length("host", name.len(), Self::LIMIT)?;
        let fits = |octet: &u8| octet.is_ascii_graphic() && !b":/?#[]@\\".contains(octet);
        match name.bytes().find(|octet| !fits(octet)) {
            Some(octet) => Err(Misuse::Octet { what: "host", octet }),
            None => Ok(Self(name)),
        }
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A host: a name that somebody has yet to resolve, or an address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Host {
    /// A name; the last hop, or the caller, resolves it.
    Name(Name),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, without a zone.
    V6(Ipv6Addr),
}

impl Host {
    /// The address, where the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::V4(address) => Some(IpAddr::V4(*address)),
            Self::V6(address) => Some(IpAddr::V6(*address)),
        }
    }
}

impl FromStr for Host {
    type Err = Misuse;

    /// Reads an IPv4 address, an IPv6 address with or without brackets, or else a name.
    fn from_str(text: &str) -> Result<Self, Misuse> {
        if let Some(inner) = text.strip_prefix('[') {
            let address = inner.strip_suffix(']').and_then(|inner| inner.parse().ok());
            return address.map(Self::V6).ok_or(Misuse::Octet { what: "host", octet: b'[' });
        }
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(address.into()),
            Err(_) => Name::new(text).map(Self::Name),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6(address),
        }
    }
}

impl fmt::Display for Host {
    /// IPv6 without brackets; [`Target`] adds them where a port follows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => address.fmt(f),
        }
    }
}

/// A host and a port: the far end of a tunnel, or the proxy itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// The TCP port.
    pub port: u16,
}

impl Target {
    /// A host written as text, as [`Host::from_str`] reads it, and a port.
    ///
    /// # Errors
    ///
    /// The host is neither an address nor a name that can be sent.
    pub fn new(host: &str, port: u16) -> Result<Self, Misuse> {
        Ok(Self { host: host.parse()?, port })
    }

    /// What HTTP calls the authority, and the text form everywhere: `name:25`, `192.0.2.1:25`, `[2001:db8::1]:25`.
    pub(crate) fn authority(&self) -> String {
        self.to_string()
    }
}

/// Splits `host:port`, the brackets of an IPv6 address left on the host.
pub(crate) fn split_port(text: &str) -> Result<(&str, Option<u16>), Misuse> {
    // Only a colon behind the bracket is the port's: an IPv6 address is full of others.
    let from = text.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = text.get(from..).and_then(|rest| rest.rfind(':')) else { return Ok((text, None)) };
    let (host, port) = text.split_at(from + colon);
    let digits = port.get(1..).unwrap_or_default();
    // `parse` alone would take "+25".
    if digits.is_empty() || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(Misuse::Port);
    }
    Ok((host, Some(digits.parse().map_err(|_| Misuse::Port)?)))
}

impl FromStr for Target {
    type Err = Misuse;

    /// Reads `host:port` or `[v6]:port`; the port is required.
    fn from_str(text: &str) -> Result<Self, Misuse> {
        let (host, port) = split_port(text)?;
        let port = port.ok_or(Misuse::Port)?;
        // Without brackets the last group of an address would pass for a port.
        if host.contains(':') && !host.starts_with('[') {
            return Err(Misuse::Octet { what: "host", octet: b':' });
        }
        Self::new(host, port)
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().into(), port: address.port() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::V6(address) => write!(f, "[{address}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Result<Target, Misuse> {
        text.parse()
    }

    #[test]
    fn the_three_kinds_of_host_are_told_apart_and_written_back() {
        for text in ["mx.example.com:25", "192.0.2.1:587", "[2001:db8::1]:465", "a_b:0", "x:65535"] {
            assert_eq!(target(text).map(|t| t.to_string()).as_deref(), Ok(text));
        }
        assert!(matches!(target("192.0.2.1:1"), Ok(Target { host: Host::V4(_), port: 1 })));
        assert!(matches!(target("[::1]:1"), Ok(Target { host: Host::V6(_), port: 1 })));
        assert!(matches!(target("localhost:1"), Ok(Target { host: Host::Name(_), port: 1 })));
        assert_eq!(Target::new("2001:db8::1", 25), Target::new("[2001:db8::1]", 25));
    }

    #[test]
    fn ports_are_numbers_and_required() {
        for text in ["mx", "mx:", "mx:+25", "mx:65536", "mx:2 5", "[::1]", "192.0.2.1", "mx:\u{0662}"] {
            assert_eq!(target(text), Err(Misuse::Port), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_no_host() {
        for text in ["a b", "a\r\nb", "a\0", "caf\u{e9}", "a/b", "a@b", "[::1", "[mx]", "fe80::1%eth0", "a:b"] {
            assert!(matches!(Target::new(text, 25), Err(Misuse::Octet { what: "host", .. })), "{text:?}");
        }
        assert_eq!(Target::new("", 25), Err(Misuse::Empty { what: "host" }));
        assert!(target("2001:db8::1:25").is_err(), "an address needs its brackets");
        assert!(Target::new(&"a".repeat(255), 25).is_ok());
        let long = Err(Misuse::TooLong { what: "host", limit: 255, length: 256 });
        assert_eq!(Target::new(&"a".repeat(256), 25), long);
    }

    #[test]
    fn an_address_of_a_socket_is_a_target() {
        for text in ["192.0.2.1:25", "[2001:db8::1]:587"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(Ok(Target::from(address)), target(text));
        }
    }
}
