//! Which targets are reached without a proxy, and which proxy otherwise: `ALL_PROXY` and `NO_PROXY`, as strings.
//!
//! The rules of this file: it reads no environment; whoever wants these variables reads them and says so. What cannot be
//! read in a list matches nothing and is kept for whoever wants to complain.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::target::split_port;
use crate::{Host, Misuse, ProxyUrl, Target};

/// A list of targets to be reached directly.
///
/// Entries are separated by commas or white space:
///
/// - `*`: everything;
/// - `example.com`, `.example.com` or `*.example.com`: the name and all names below it, in any case;
/// - `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]`: the address;
/// - `192.0.2.0/24`, `2001:db8::/32`: the addresses of the network (RFC 4632);
/// - any of these with `:port` (an IPv6 address in brackets): only at this port.
///
/// Names are not resolved: a network matches targets given as addresses only.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NoProxy {
    entries: Vec<Entry>,
    ignored: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Hosts {
    All,
    /// In lower case, without dots at either end.
    Below(String),
    Network(IpAddr, u8),
}

impl NoProxy {
    /// Reads a list; see [`ignored`](Self::ignored) for what could not be read.
    pub fn parse(list: &str) -> Self {
        let mut read = Self::default();
        for word in list.split([',', ' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()) {
            match Entry::read(word) {
                Some(entry) => read.entries.push(entry),
                None => read.ignored.push(word.into()),
            }
        }
        read
    }

    /// The entries that could not be read and match nothing.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Whether this target is to be reached without a proxy.
    pub fn matches(&self, target: &Target) -> bool {
        self.entries.iter().any(|entry| entry.matches(target))
    }
}

impl Entry {
    fn read(word: &str) -> Option<Self> {
        // An address first: without brackets its last group would pass for a port.
        if let Some(hosts) = Hosts::read(word) {
            return Some(Self { hosts, port: None });
        }
        let (host, port) = split_port(word).ok()?;
        Some(Self { hosts: Hosts::read(host)?, port: Some(port?) })
    }

    fn matches(&self, target: &Target) -> bool {
        if self.port.is_some_and(|port| port != target.port) {
            return false;
        }
        match (&self.hosts, &target.host) {
            (Hosts::All, _) => true,
            (Hosts::Below(suffix), Host::Name(name)) => is_below(name.as_str(), suffix),
            (Hosts::Network(network, bits), host) => host.ip().is_some_and(|ip| is_within(ip, *network, *bits)),
            (Hosts::Below(_), _) => false,
        }
    }
}

impl Hosts {
    fn read(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        let address = |text: &str| match text.parse() {
            Ok(Host::V4(address)) => Some((IpAddr::V4(address), 32)),
            Ok(Host::V6(address)) => Some((IpAddr::V6(address), 128)),
            _ => None,
        };
        if let Some((network, bits)) = text.split_once('/') {
            let (network, most) = address(network)?;
            let digits = !bits.is_empty() && bits.bytes().all(|octet| octet.is_ascii_digit());
            let bits = bits.parse().ok().filter(|bits| digits && *bits <= most)?;
            return Some(Self::Network(network, bits));
        }
        if let Some((address, bits)) = address(text) {
            return Some(Self::Network(address, bits));
        }
        let name = text.strip_prefix('*').unwrap_or(text).trim_matches('.');
        match name.parse() {
            Ok(Host::Name(name)) if !name.as_str().contains('*') => {
                Some(Self::Below(name.as_str().to_ascii_lowercase()))
            }
            _ => None,
        }
    }
}

fn is_below(name: &str, suffix: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).as_bytes();
    let Some(start) = name.len().checked_sub(suffix.len()) else { return false };
    let Some((before, end)) = name.split_at_checked(start) else { return false };
    end.eq_ignore_ascii_case(suffix.as_bytes()) && matches!(before.last(), None | Some(b'.'))
}

fn is_within(ip: IpAddr, network: IpAddr, bits: u8) -> bool {
    // An IPv4 address inside IPv6 is the same host; but ::ffff:0:0/96 is a network of IPv6 and stays one.
    match (ip.to_canonical(), network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            (ip.to_bits() ^ network.to_bits()) & mask == 0
        }
        (_, IpAddr::V6(network)) => {
            let IpAddr::V6(ip) = ip else { return false };
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            (ip.to_bits() ^ network.to_bits()) & mask == 0
        }
        _ => false,
    }
}

/// The proxy for a target, from the values of `ALL_PROXY` and `NO_PROXY`; `None` to go directly.
///
/// An empty value is as good as none, as the shell's users expect.
///
/// # Errors
///
/// `all_proxy` is no proxy's URL, and the target is not one to go to directly.
pub fn choose(all_proxy: Option<&str>, no_proxy: Option<&str>, target: &Target) -> Result<Option<ProxyUrl>, Misuse> {
    let Some(url) = all_proxy.map(str::trim).filter(|url| !url.is_empty()) else { return Ok(None) };
    if NoProxy::parse(no_proxy.unwrap_or_default()).matches(target) {
        return Ok(None);
    }
    url.parse().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn target(text: &str) -> Target {
        text.parse().expect("a target")
    }

    fn direct(list: &str, to: &str) -> bool {
        NoProxy::parse(list).matches(&target(to))
    }

    #[test]
    fn names_match_themselves_and_what_is_below() {
        for list in ["example.com", ".example.com", "*.example.com", "a.test, EXAMPLE.com.", "a.test example.com"] {
            for to in ["example.com:25", "mx.Example.COM:25", "a.b.example.com:25", "example.com.:25"] {
                assert!(direct(list, to), "{list} {to}");
            }
            for to in ["badexample.com:25", "example.com.evil:25", "com:25", "192.0.2.1:25"] {
                assert!(!direct(list, to), "{list} {to}");
            }
        }
    }

    #[test]
    fn addresses_and_networks_match_to_the_bit() {
        assert!(direct("192.0.2.1", "192.0.2.1:25") && !direct("192.0.2.1", "192.0.2.2:25"));
        assert!(direct("10.0.0.0/8", "10.255.0.1:1") && !direct("10.0.0.0/8", "11.0.0.0:1"));
        assert!(direct("192.0.2.128/25", "192.0.2.128:1") && !direct("192.0.2.128/25", "192.0.2.127:1"));
        assert!(direct("192.0.2.77/24", "192.0.2.1:1"), "host bits are no harm");
        assert!(direct("0.0.0.0/0", "8.8.8.8:1") && !direct("0.0.0.0/0", "[2001:db8::1]:1"));
        assert!(direct("::/0", "[2001:db8::1]:1") && !direct("::/0", "8.8.8.8:1"));
        assert!(direct("2001:db8::/33", "[2001:db8:7fff::1]:1") && !direct("2001:db8::/33", "[2001:db8:8000::1]:1"));
        assert!(direct("[2001:db8::1]", "[2001:db8::1]:1") && direct("2001:db8::1", "[2001:db8::1]:1"));
        assert!(direct("127.0.0.0/8", "[::ffff:127.0.0.1]:1"), "the same host");
        assert!(direct("::ffff:0:0/96", "[::ffff:127.0.0.1]:1"));
        assert!(!direct("10.0.0.0/8", "mx.example:1"));
    }

    #[test]
    fn ports_narrow_an_entry() {
        assert!(direct("mx.example:25", "mx.example:25") && !direct("mx.example:25", "mx.example:587"));
        assert!(direct("[::1]:25", "[::1]:25") && !direct("[::1]:25", "[::1]:26"));
        assert!(direct("10.0.0.0/8:25", "10.1.1.1:25") && !direct("10.0.0.0/8:25", "10.1.1.1:26"));
        assert!(direct("*:25", "mx.example:25") && !direct("*:25", "mx.example:26"));
    }

    #[test]
    fn a_star_is_everything_and_nothing_is_nothing() {
        assert!(direct("*", "mx.example:25") && direct("a, *", "[::1]:25"));
        assert!(!direct("", "mx.example:25") && !direct(" , ,", "mx.example:25"));
    }

    #[test]
    fn what_cannot_be_read_is_kept_apart() {
        let list = NoProxy::parse("10.0.0.0/33, ok.example, a:b, 10.0.0.0/+8, *a*, ., caf\u{e9}");
        assert_eq!(list.ignored(), ["10.0.0.0/33", "a:b", "10.0.0.0/+8", "*a*", ".", "caf\u{e9}"]);
        assert!(list.matches(&target("ok.example:25")));
    }

    #[test]
    fn the_environment_is_given_not_read() {
        let chosen =
            |all, no| choose(all, no, &target("mx.example:25")).map(|proxy| proxy.map(|proxy| proxy.to_string()));
        assert_eq!(chosen(None, None), Ok(None));
        assert_eq!(chosen(Some(""), None), Ok(None));
        assert_eq!(chosen(Some("socks5h://p"), None), Ok(Some("socks5h://p:1080".into())));
        assert_eq!(chosen(Some("socks5h://p"), Some("example")), Ok(None));
        assert_eq!(chosen(Some("ftp://p"), Some("other")), Err(Misuse::Scheme("ftp".into())));
        assert_eq!(chosen(Some("ftp://p"), Some("*")), Ok(None));
    }
}
