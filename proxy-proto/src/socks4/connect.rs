//! The client's side of SOCKS4 and SOCKS4a.
//!
//! The rules of this file: one message out, eight octets in, and not one octet more is taken.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::{Refusal, USER_LIMIT};
use crate::error::{Kind, Spoken};
use crate::handshake::{Guarded, Limits, Steps, machine, octet};
use crate::misuse::{Misuse, check_length, check_text};
use crate::{Host, Instant, Opened, Phase, Target};

/// Opens a connection through a SOCKS4 or SOCKS4a proxy. Holds less than 1 KiB, whatever the proxy sends.
pub struct Connect(Guarded<Dialogue>);

impl Connect {
    /// SOCKS4: to an IPv4 address, as this user id (empty for none).
    ///
    /// # Errors
    ///
    /// The host is a name or an IPv6 address; the user id is longer than [`USER_LIMIT`] or holds NUL, CR or LF.
    pub fn socks4(target: &Target, user: &str, limits: Limits) -> Result<Self, Misuse> {
        match target.host {
            Host::V4(_) => Self::new(target, user, limits),
            Host::V6(_) => Err(Misuse::NoIpv6),
            Host::Name(_) => Err(Misuse::NotResolved),
        }
    }

    /// SOCKS4a: as SOCKS4, and the proxy resolves a name.
    ///
    /// # Errors
    ///
    /// The host is an IPv6 address; the user id is longer than [`USER_LIMIT`] or holds NUL, CR or LF.
    pub fn socks4a(target: &Target, user: &str, limits: Limits) -> Result<Self, Misuse> {
        match target.host {
            Host::V6(_) => Err(Misuse::NoIpv6),
            _ => Self::new(target, user, limits),
        }
    }

    fn new(target: &Target, user: &str, limits: Limits) -> Result<Self, Misuse> {
        check_text("user", user.as_bytes())?;
        check_length("user", user.len(), USER_LIMIT)?;
        let steps = Dialogue { target: target.clone(), user: user.into(), state: State::Request, held: Vec::new() };
        Ok(Self(Guarded::new(steps, limits)))
    }
}

machine!(Connect, Opened);

struct Dialogue {
    target: Target,
    user: String,
    state: State,
    held: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The request is ours to send.
    Request,
    /// The reply is the proxy's.
    Reply,
    Open,
}

impl Steps for Dialogue {
    type Event = Opened;

    fn take(&mut self, _now: Instant, input: &mut &[u8]) -> Result<Option<Opened>, Kind> {
        while self.state == State::Reply {
            let Some(octet) = octet(input) else { return Ok(None) };
            self.held.push(octet);
            match *self.held {
                // The reply's version "should be 0"; some proxies repeat the request's.
                [0 | 4] => {}
                [other] => return Err(Kind::Speaks(Spoken::by(other))),
                // Told at once: some proxies close before the rest of a refusal.
                [_, code] => {
                    if let Some(refusal) = Refusal::from_code(code) {
                        return Err(Kind::Socks4(refusal));
                    }
                }
                [_, _, p, q, a, b, c, d] => {
                    self.state = State::Open;
                    let host = Host::V4(Ipv4Addr::new(a, b, c, d));
                    return Ok(Some(Opened { bound: Some(Target { host, port: u16::from_be_bytes([p, q]) }) }));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn speak(&mut self, _now: Instant, output: &mut Vec<u8>) -> bool {
        if self.state != State::Request {
            return false;
        }
        output.extend([4, 1]);
        output.extend(self.target.port.to_be_bytes());
        output.extend(match &self.target.host {
            Host::V4(address) => address.octets(),
            // 0.0.0.x with x not zero: the address follows as a name.
            _ => [0, 0, 0, 1],
        });
        output.extend(self.user.bytes());
        output.push(0);
        if let Host::Name(name) = &self.target.host {
            output.extend(name.as_str().bytes());
            output.push(0);
        }
        self.state = State::Reply;
        true
    }

    fn phase(&self) -> Option<Phase> {
        (self.state != State::Open).then_some(Phase::named("SOCKS4 request"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Machine};

    fn target(text: &str) -> Target {
        text.parse().expect("a target")
    }

    fn spoken(connect: Result<Connect, Misuse>) -> Vec<u8> {
        let mut output = Vec::new();
        assert!(connect.expect("well-formed").transmit(Instant::EPOCH, &mut output));
        output
    }

    #[test]
    fn a_socks4_request_octet_by_octet() {
        let connect = Connect::socks4(&target("192.0.2.1:25"), "fred", Limits::default());
        assert_eq!(spoken(connect), b"\x04\x01\x00\x19\xc0\x00\x02\x01fred\x00");
        let connect = Connect::socks4(&target("10.20.30.40:4660"), "", Limits::default());
        assert_eq!(spoken(connect), b"\x04\x01\x12\x34\x0a\x14\x1e\x28\x00");
    }

    #[test]
    fn a_socks4a_request_octet_by_octet() {
        let connect = Connect::socks4a(&target("mx.example:587"), "fred", Limits::default());
        assert_eq!(spoken(connect), b"\x04\x01\x02\x4b\x00\x00\x00\x01fred\x00mx.example\x00");
        let connect = Connect::socks4a(&target("192.0.2.1:25"), "", Limits::default());
        assert_eq!(spoken(connect), b"\x04\x01\x00\x19\xc0\x00\x02\x01\x00", "an address needs no name");
    }

    #[test]
    fn what_has_no_field_is_misuse() {
        let make = |to: &str, user: &str| Connect::socks4(&target(to), user, Limits::default()).map(|_| ());
        assert_eq!(make("mx.example:25", ""), Err(Misuse::NotResolved));
        assert_eq!(make("[::1]:25", ""), Err(Misuse::NoIpv6));
        assert_eq!(make("192.0.2.1:25", "a\0b"), Err(Misuse::Octet { what: "user", octet: 0 }));
        let long = "u".repeat(256);
        assert_eq!(make("192.0.2.1:25", &long), Err(Misuse::TooLong { what: "user", limit: 255, length: 256 }));
        assert_eq!(make("192.0.2.1:25", &long[1..]), Ok(()));
        assert!(matches!(Connect::socks4a(&target("[::1]:25"), "", Limits::default()), Err(Misuse::NoIpv6)));
    }

    fn answer(reply: &[u8]) -> (Result<Option<Opened>, Error>, usize) {
        let mut connect = Connect::socks4(&target("192.0.2.1:25"), "", Limits::default()).expect("well-formed");
        assert!(connect.transmit(Instant::EPOCH, &mut Vec::new()));
        let mut input = reply;
        (connect.receive(Instant::EPOCH, &mut input), input.len())
    }

    #[test]
    fn the_bound_address_is_read_and_what_follows_is_left() {
        let (opened, left) = answer(b"\x00\x5a\x12\x34\xc6\x33\x64\x07220 mx ESMTP\r\n");
        assert_eq!(opened, Ok(Some(Opened { bound: Some(target("198.51.100.7:4660")) })));
        assert_eq!(left, "220 mx ESMTP\r\n".len());
    }

    #[test]
    fn every_code_is_typed() {
        // Some proxies repeat the request's version in the reply.
        for (version, code) in (0..=255u8).flat_map(|code| [(0, code), (4, code)]) {
            let (got, left) = answer(&[version, code, 0, 0, 0, 0, 0, 0]);
            assert!(got.is_err() || left == 0);
            let kind = got.err().map(|error| error.kind().clone());
            let refusal = match code {
                90 => None,
                91 => Some(Refusal::Rejected),
                92 => Some(Refusal::NoIdentd),
                93 => Some(Refusal::UserMismatch),
                other => Some(Refusal::Other(other)),
            };
            assert_eq!(kind, refusal.map(Kind::Socks4));
            assert!(refusal.is_none_or(|refusal| refusal.code() == code));
        }
    }

    #[test]
    fn other_protocols_are_named() {
        let spoken = |reply: &[u8]| answer(reply).0.err().map(|error| error.kind().clone());
        assert_eq!(spoken(b"HTTP/1.1 400"), Some(Kind::Speaks(Spoken::Http)));
        assert_eq!(spoken(b"\x05\xff"), Some(Kind::Speaks(Spoken::Socks5)));
        assert_eq!(spoken(b"220 mx"), Some(Kind::Speaks(Spoken::Smtp)));
    }
}
