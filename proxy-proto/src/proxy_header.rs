//! The PROXY protocol, versions 1 and 2: a header that tells a server behind a load balancer who the client is.
//!
//! The rules of this file: the header is one way, nothing answers it; the tunnel counts as open with the first
//! [`receive`](Machine::receive) after the header is out, which needs no input.

use alloc::format;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::{Deadline, Error, Instant, Machine, Misuse, Opened};

/// What version 2 begins with: nothing any other protocol would send.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command LOCAL: the connection is the sender's own.
const LOCAL: u8 = 0x20;
/// Version 2, command PROXY: the connection is made for somebody else.
const PROXY: u8 = 0x21;

/// Sends one PROXY protocol header.
pub struct ProxyHeader {
    header: Vec<u8>,
    sent: bool,
    opened: bool,
}

impl ProxyHeader {
    /// Version 1, a line of text: a connection from `source` to `destination`.
    ///
    /// # Errors
    ///
    /// One is IPv4 and the other IPv6.
    pub fn v1(source: SocketAddr, destination: SocketAddr) -> Result<Self, Misuse> {
        let family = match (source.ip(), destination.ip()) {
            (IpAddr::V4(_), IpAddr::V4(_)) => "TCP4",
            (IpAddr::V6(_), IpAddr::V6(_)) => "TCP6",
            _ => return Err(Misuse::Families),
        };
        let (from, to) = (source.ip(), destination.ip());
        let line = format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port());
        Ok(Self::of(line.into_bytes()))
    }

    /// Version 1, saying nothing of the client: for the sender's own connections, such as probes.
    pub fn v1_unknown() -> Self {
        Self::of(b"PROXY UNKNOWN\r\n".to_vec())
    }

    /// Version 2, binary: a TCP connection from `source` to `destination`.
    ///
    /// # Errors
    ///
    /// One is IPv4 and the other IPv6.
    pub fn v2(source: SocketAddr, destination: SocketAddr) -> Result<Self, Misuse> {
        let mut header = SIGNATURE.to_vec();
        // Family and transport (AF_INET or AF_INET6, STREAM), then the length of what follows.
        match (source.ip(), destination.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                header.extend([PROXY, 0x11, 0, 4 + 4 + 2 + 2]);
                header.extend(from.octets());
                header.extend(to.octets());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                header.extend([PROXY, 0x21, 0, 16 + 16 + 2 + 2]);
                header.extend(from.octets());
                header.extend(to.octets());
            }
            _ => return Err(Misuse::Families),
        }
        header.extend(source.port().to_be_bytes());
        header.extend(destination.port().to_be_bytes());
        Ok(Self::of(header))
    }

    /// Version 2, LOCAL: for the sender's own connections, such as probes.
    pub fn v2_local() -> Self {
        Self::of([&SIGNATURE[..], &[LOCAL, 0x00, 0, 0]].concat())
    }

    fn of(header: Vec<u8>) -> Self {
        Self { header, sent: false, opened: false }
    }
}

impl Machine for ProxyHeader {
    type Event = Opened;
    type Error = Error;

    fn receive(&mut self, _now: Instant, _input: &mut &[u8]) -> Result<Option<Opened>, Error> {
        let opens = self.sent && !self.opened;
        self.opened |= opens;
        Ok(opens.then_some(Opened { bound: None }))
    }

    fn transmit(&mut self, _now: Instant, output: &mut Vec<u8>) -> bool {
        if self.sent {
            return false;
        }
        output.append(&mut self.header);
        self.sent = true;
        true
    }

    /// Nothing is waited for, so the stream may end here; what is inside the tunnel has its own opinion.
    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn deadline(&self) -> Option<Deadline> {
        None
    }

    fn expire(&mut self, _now: Instant) -> Result<(), Error> {
        Ok(())
    }
}

impl fmt::Debug for ProxyHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyHeader").field("sent", &self.sent).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn said(mut header: ProxyHeader) -> Vec<u8> {
        let (mut output, mut input) = (Vec::new(), &b"220 mx"[..]);
        assert_eq!(header.receive(Instant::EPOCH, &mut input), Ok(None));
        assert!(header.transmit(Instant::EPOCH, &mut output));
        assert!(!header.transmit(Instant::EPOCH, &mut output));
        assert_eq!(header.receive(Instant::EPOCH, &mut input), Ok(Some(Opened { bound: None })));
        assert_eq!(header.receive(Instant::EPOCH, &mut input), Ok(None));
        assert_eq!(input, b"220 mx");
        output
    }

    #[test]
    fn version_1_octet_by_octet() {
        let header = ProxyHeader::v1(address("192.0.2.1:56324"), address("198.51.100.7:443")).expect("one family");
        assert_eq!(said(header), b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n");
        let header = ProxyHeader::v1(address("[2001:db8::1]:1"), address("[::1]:25")).expect("one family");
        assert_eq!(said(header), b"PROXY TCP6 2001:db8::1 ::1 1 25\r\n");
        assert_eq!(said(ProxyHeader::v1_unknown()), b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn version_2_octet_by_octet() {
        let header = ProxyHeader::v2(address("192.0.2.1:4660"), address("198.51.100.7:25")).expect("one family");
        let expected = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c\
            \xc0\x00\x02\x01\xc6\x33\x64\x07\x12\x34\x00\x19";
        assert_eq!(said(header), expected);
        let header = ProxyHeader::v2(address("[2001:db8::1]:4660"), address("[::1]:25")).expect("one family");
        let expected = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x21\x00\x24\
            \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x12\x34\x00\x19";
        assert_eq!(said(header), expected);
        let local = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x20\x00\x00\x00";
        assert_eq!(said(ProxyHeader::v2_local()), local);
    }

    #[test]
    fn families_are_not_mixed() {
        let (four, six) = (address("192.0.2.1:1"), address("[::1]:1"));
        assert_eq!(ProxyHeader::v1(four, six).err(), Some(Misuse::Families));
        assert_eq!(ProxyHeader::v2(six, four).err(), Some(Misuse::Families));
    }

    #[test]
    fn debug_shows_no_address() {
        let mut header = ProxyHeader::v1(address("192.0.2.1:1"), address("192.0.2.2:25")).expect("one family");
        let before = format!("{header:?}");
        assert!(before.contains("sent: false") && !before.contains("192.0.2"), "{before}");
        header.transmit(Instant::EPOCH, &mut Vec::new());
        assert!(format!("{header:?}").contains("sent: true"));
    }
}
