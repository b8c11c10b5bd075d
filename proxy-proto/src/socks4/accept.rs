//! The proxy's side of SOCKS4 and SOCKS4a.
//!
//! The rules of this file: it reads one request, asks its owner, and sends one reply. It resolves nothing, connects to
//! nothing and does not ask identd.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::net::Ipv4Addr;

use super::{Refusal, USER_LIMIT};
use crate::error::{Kind, Spoken};
use crate::handshake::{Guarded, Limits, Steps, machine, octet};
use crate::{Host, Instant, Misuse, Name, Phase, Target};

/// What a client asks of a SOCKS4 or SOCKS4a proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Where the client wants to go; a name came by SOCKS4a.
    pub target: Target,
    /// Who the client says it is; anybody can say anything.
    pub user: String,
}

/// Accepts one client of a SOCKS4 or SOCKS4a proxy. Holds less than 1 KiB, whatever the client sends.
///
/// After the [`Request`] it waits for [`granted`](Self::granted) or [`refused`](Self::refused); once the reply is
/// transmitted it takes nothing more: what follows belongs to the tunnel.
pub struct Accept(Guarded<Dialogue>);

impl Accept {
    /// A machine for a fresh connection.
    pub fn new(limits: Limits) -> Self {
        Self(Guarded::new(Dialogue { state: State::Reading, held: Vec::new(), reply: Vec::new() }, limits))
    }

    /// The connection stands; `bound` is the address the proxy uses for it, 0.0.0.0:0 if it does not say.
    ///
    /// # Errors
    ///
    /// No request is open, or `bound` is not an IPv4 address.
    pub fn granted(&mut self, bound: Option<&Target>) -> Result<(), Misuse> {
        let (address, port) = match bound {
            None => (Ipv4Addr::UNSPECIFIED, 0),
            Some(Target { host: Host::V4(address), port }) => (*address, *port),
            Some(Target { host: Host::V6(_), .. }) => return Err(Misuse::NoIpv6),
            Some(Target { host: Host::Name(_), .. }) => return Err(Misuse::NotResolved),
        };
        self.answer(90, address, port)
    }

    /// The connection was refused, for this reason.
    ///
    /// # Errors
    ///
    /// No request is open, or the refusal is [`Refusal::Other`] with the code 90, which would grant it.
    pub fn refused(&mut self, refusal: Refusal) -> Result<(), Misuse> {
        if refusal.code() == 90 {
            return Err(Misuse::Status(90));
        }
        self.answer(refusal.code(), Ipv4Addr::UNSPECIFIED, 0)
    }

    fn answer(&mut self, code: u8, address: Ipv4Addr, port: u16) -> Result<(), Misuse> {
        let steps = &mut self.0.steps;
        if steps.state != State::Asked {
            return Err(Misuse::OutOfTurn);
        }
        steps.state = State::Over;
        steps.say(code, address, port);
        Ok(())
    }
}

machine!(Accept, Request);

struct Dialogue {
    state: State,
    held: Vec<u8>,
    reply: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Asked,
    Over,
}

/// The octets of the request before the user id.
const HEAD: usize = 8;

impl Dialogue {
    fn say(&mut self, code: u8, address: Ipv4Addr, port: u16) {
        self.reply.extend([0, code]);
        self.reply.extend(port.to_be_bytes());
        self.reply.extend(address.octets());
    }

    fn reject(&mut self, kind: Kind) -> Kind {
        self.say(Refusal::Rejected.code(), Ipv4Addr::UNSPECIFIED, 0);
        kind
    }

    /// Looks at what was held after one octet more; the request, where that octet completes it.
    fn read(&mut self) -> Result<Option<Request>, Kind> {
        let Some((&last, _)) = self.held.split_last() else { return Ok(None) };
        match *self.held {
            [4] => return Ok(None),
            [other] => return Err(Kind::Speaks(Spoken::by(other))),
            [_, 1] => return Ok(None),
            [_, _] => return Err(self.reject(Kind::NotConnect)),
            _ => {}
        }
        let (Some(&[_, _, p, q, a, b, c, d]), Some(tail)) = (self.held.first_chunk::<HEAD>(), self.held.get(HEAD..))
        else {
            return Ok(None);
        };
        let (port, address) = (u16::from_be_bytes([p, q]), Ipv4Addr::new(a, b, c, d));
        let named = matches!([a, b, c, d], [0, 0, 0, x] if x != 0);
        let mut fields = tail.split(|&octet| octet == 0);
        let user = fields.next().unwrap_or_default();
        let name = fields.next();
        if user.len() > USER_LIMIT || name.is_some_and(|name| name.len() > Name::LIMIT) {
            return Err(self.reject(Kind::MalformedRequest("a field is too long")));
        }
        // Each field ends with NUL; the last field is complete when the last octet is one. The field behind the NUL that
        // ends the user id is there too, so a name is complete at the second.
        let complete =
            last == 0 && !tail.is_empty() && (!named || tail.iter().filter(|octet| **octet == 0).count() == 2);
        if !complete {
            return Ok(None);
        }
        let Ok(user) = String::from_utf8(user.into()) else {
            return Err(self.reject(Kind::MalformedRequest("the user id is not UTF-8")));
        };
        let host = match name.filter(|_| named).map(|name| Name::new(String::from_utf8_lossy(name))) {
            None => Host::V4(address),
            Some(Ok(name)) => Host::Name(name),
            Some(Err(_)) => return Err(self.reject(Kind::MalformedRequest("the host name"))),
        };
        self.state = State::Asked;
        self.held = Vec::new();
        Ok(Some(Request { target: Target { host, port }, user }))
    }
}

impl Steps for Dialogue {
    type Event = Request;

    const LAST_WORDS: bool = true;

    fn take(&mut self, _now: Instant, input: &mut &[u8]) -> Result<Option<Request>, Kind> {
        while self.state == State::Reading {
            let Some(octet) = octet(input) else { break };
            self.held.push(octet);
            if let Some(request) = self.read()? {
                return Ok(Some(request));
            }
        }
        Ok(None)
    }

    fn speak(&mut self, _now: Instant, output: &mut Vec<u8>) -> bool {
        output.extend_from_slice(&self.reply);
        !mem::take(&mut self.reply).is_empty()
    }

    fn phase(&self) -> Option<Phase> {
        (self.state == State::Reading).then_some(Phase::named("SOCKS4 request"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Machine};

    fn asked(request: &[u8]) -> (Accept, Result<Option<Request>, Error>, usize) {
        let (mut accept, mut input) = (Accept::new(Limits::default()), request);
        let got = accept.receive(Instant::EPOCH, &mut input);
        (accept, got, input.len())
    }

    fn said(accept: &mut Accept) -> Vec<u8> {
        let mut output = Vec::new();
        accept.transmit(Instant::EPOCH, &mut output);
        output
    }

    #[test]
    fn both_requests_are_read_and_what_follows_is_left() {
        let (_, got, left) = asked(b"\x04\x01\x00\x19\xc0\x00\x02\x01fred\x00EHLO");
        let request = Request { target: "192.0.2.1:25".parse().expect("a target"), user: "fred".into() };
        assert_eq!((got, left), (Ok(Some(request)), 4));
        let (_, got, left) = asked(b"\x04\x01\x02\x4b\x00\x00\x00\x01\x00mx.example\x00EHLO");
        let request = Request { target: "mx.example:587".parse().expect("a target"), user: "".into() };
        assert_eq!((got, left), (Ok(Some(request)), 4));
    }

    #[test]
    fn both_answers_octet_by_octet() {
        let request = b"\x04\x01\x00\x19\xc0\x00\x02\x01\x00";
        let (mut accept, ..) = asked(request);
        let bound = "198.51.100.7:4660".parse().expect("a target");
        assert_eq!(accept.granted(Some(&bound)), Ok(()));
        assert_eq!(said(&mut accept), b"\x00\x5a\x12\x34\xc6\x33\x64\x07");
        assert_eq!(said(&mut accept), b"", "once");
        assert_eq!(accept.granted(None), Err(Misuse::OutOfTurn));
        let (mut accept, ..) = asked(request);
        assert_eq!(accept.refused(Refusal::Other(90)), Err(Misuse::Status(90)));
        assert_eq!(accept.refused(Refusal::UserMismatch), Ok(()));
        assert_eq!(said(&mut accept), b"\x00\x5d\x00\x00\x00\x00\x00\x00");
    }

    #[test]
    fn bad_requests_are_told_so() {
        for (request, kind) in [
            (&b"\x04\x02"[..], Kind::NotConnect),
            (b"\x04\x01\x00\x19\x00\x00\x00\x01\x00a b\x00", Kind::MalformedRequest("the host name")),
            (b"\x04\x01\x00\x19\x00\x00\x00\x01\x00\x00", Kind::MalformedRequest("the host name")),
        ] {
            let (mut accept, got, _) = asked(request);
            assert_eq!(got.err().map(|error| error.kind().clone()), Some(kind));
            assert_eq!(said(&mut accept), b"\x00\x5b\x00\x00\x00\x00\x00\x00");
        }
        let endless = [&b"\x04\x01\x00\x19\x01\x02\x03\x04"[..], &[b'u'; 4096]].concat();
        let (_, got, left) = asked(&endless);
        assert_eq!(got.err().map(|e| e.kind().clone()), Some(Kind::MalformedRequest("a field is too long")));
        assert_eq!(left, 4096 - 256);
        let (mut accept, got, _) = asked(b"GET / HTTP/1.1");
        assert_eq!(got.err().map(|error| error.kind().clone()), Some(Kind::Speaks(Spoken::Http)));
        assert_eq!(said(&mut accept), b"");
    }
}
