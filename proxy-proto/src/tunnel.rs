//! One type for every client's handshake, so that a route is a list of one kind of thing.
//!
//! The rules of this file: it speaks no protocol; it hands each call on, and names the hop in what goes wrong.

use alloc::vec::Vec;

use crate::{Deadline, Error, Hop, Instant, Machine, Target, http, proxy_header, socks4, socks5};

/// The tunnel stands: from the next octet on, both ways belong to what is spoken inside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The address the proxy uses towards the target, if it says one. SOCKS proxies say one, often 0.0.0.0:0, which means
    /// nothing; HTTP has no place for it.
    pub bound: Option<Target>,
}

/// A handshake with one proxy, from the first octet to the open tunnel.
///
/// It stops exactly behind the proxy's reply: what came with it stays in `input`. Once it has returned [`Opened`] it says
/// and takes nothing more and can be dropped.
#[derive(Debug)]
pub struct Tunnel {
    machine: Inner,
    hop: Option<Hop>,
}

#[derive(Debug)]
enum Inner {
    Socks4(socks4::Connect),
    Socks5(socks5::Connect),
    Http(http::Connect),
    ProxyHeader(proxy_header::ProxyHeader),
}

macro_rules! each {
    ($tunnel:expr, $machine:ident => $call:expr) => {
        match $tunnel {
            Inner::Socks4($machine) => $call,
            Inner::Socks5($machine) => $call,
            Inner::Http($machine) => $call,
            Inner::ProxyHeader($machine) => $call,
        }
    };
}

impl Tunnel {
    /// The same handshake, its errors naming this hop of a chain.
    #[must_use]
    pub fn at(mut self, hop: Hop) -> Self {
        self.hop = Some(hop);
        self
    }

    /// After [`Kind::Redial`](crate::Kind::Redial): the handshake for a new connection to the same proxy, which answers the
    /// challenge at once. `None` after anything else.
    pub fn redial(&self) -> Option<Self> {
        match &self.machine {
            Inner::Http(machine) => {
                machine.redial().map(|machine| Self { machine: Inner::Http(machine), hop: self.hop.clone() })
            }
            _ => None,
        }
    }

    fn name(&self, error: Error) -> Error {
        match &self.hop {
            Some(hop) => error.at(hop.clone()),
            None => error,
        }
    }
}

impl Machine for Tunnel {
    type Event = Opened;
    type Error = Error;

    fn receive(&mut self, now: Instant, input: &mut &[u8]) -> Result<Option<Opened>, Error> {
        each!(&mut self.machine, machine => machine.receive(now, input)).map_err(|error| self.name(error))
    }

    fn transmit(&mut self, now: Instant, output: &mut Vec<u8>) -> bool {
        each!(&mut self.machine, machine => machine.transmit(now, output))
    }

    fn finish(&mut self) -> Result<(), Error> {
        each!(&mut self.machine, machine => machine.finish()).map_err(|error| self.name(error))
    }

    fn deadline(&self) -> Option<Deadline> {
        each!(&self.machine, machine => machine.deadline())
    }

    fn expire(&mut self, now: Instant) -> Result<(), Error> {
        each!(&mut self.machine, machine => machine.expire(now)).map_err(|error| self.name(error))
    }
}

macro_rules! from {
    ($($machine:ty => $variant:ident),*) => {
        $(impl From<$machine> for Tunnel {
            fn from(machine: $machine) -> Self {
                Self { machine: Inner::$variant(machine), hop: None }
            }
        })*
    };
}

from!(
    socks4::Connect => Socks4,
    socks5::Connect => Socks5,
    http::Connect => Http,
    proxy_header::ProxyHeader => ProxyHeader
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Limits};
    use alloc::string::ToString;

    #[test]
    fn it_can_go_to_another_thread() {
        fn sendable<T: Send + 'static>() {}
        sendable::<Tunnel>();
        sendable::<Error>();
    }

    #[test]
    fn errors_name_the_hop_and_stay() {
        let target = "192.0.2.1:25".parse().expect("a target");
        let socks4 = socks4::Connect::socks4(&target, "", Limits::default()).expect("well-formed");
        let mut tunnel = Tunnel::from(socks4).at(Hop::named(3, "socks4://c:1080"));
        let early = tunnel.finish().expect_err("nothing was said yet");
        assert_eq!(early.kind(), &Kind::EndOfStream);
        assert!(early.to_string().starts_with("hop 3, socks4://c:1080: the connection was closed"));
        assert_eq!(tunnel.finish(), Err(early));
        assert!(tunnel.redial().is_none());
    }
}
