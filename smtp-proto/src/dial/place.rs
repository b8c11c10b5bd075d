//! One server: its names to look up, its ports, and what of all that was tried.
//!
//! The rules of this file: a port's addresses come before the next port; each guess is made once at each address and
//! port.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use proxy_proto::Instant;

use super::lookup::{Lookup, State};
use super::policy::Policy;
use super::verdict::Mode;
use crate::{Config, Misuse, Route, Security};

/// Something that may be tried.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// Where the transport is to lead.
    pub(super) address: IpAddr,
    pub(super) dial_port: u16,
    /// With the port of the server, and the security to be tried.
    pub(super) config: Config,
    pub(super) tls_first: bool,
}

impl Candidate {
    pub(super) fn endpoint(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.dial_port)
    }

    /// Do both lead to the same port of the same server by the same way?
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        self.endpoint() == other.endpoint() && self.config.port() == other.config.port()
    }

    pub(super) fn may_be_secure(&self) -> bool {
        self.config.may_be_secure()
    }
}

/// One port of the server.
#[derive(Debug)]
struct Port {
    config: Config,
    tried: Vec<IpAddr>,
}

/// One server.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) config: Config,
    /// Where the transport leads, first; then what the proxies leave to be looked up.
    dialled: Lookup,
    others: Vec<Lookup>,
    ports: Vec<Port>,
    /// Address and port of the server, and whether TLS came first.
    guesses: Vec<(IpAddr, u16, bool)>,
}

impl Place {
    pub(super) fn new(config: Config, policy: &Policy) -> Result<Self, Misuse> {
        config.check()?;
        let ports = ports(&config, policy);
        // Whether the proxies can be asked is known before anything is opened, but for what is to be looked up.
        let mut others: Vec<Lookup> = Vec::new();
        for port in &ports {
            for (name, port) in port.config.names_to_resolve()? {
                if others.iter().all(|known| known.name != name) {
                    others.push(Lookup::new(name, port));
                }
            }
        }
        let (host, port) = config.dial();
        Ok(Self { dialled: Lookup::new(host, port), config, others, ports, guesses: Vec::new() })
    }

    pub(super) fn lookups(&self) -> impl Iterator<Item = &Lookup> {
        core::iter::once(&self.dialled).chain(&self.others)
    }

    pub(super) fn lookups_mut(&mut self) -> impl Iterator<Item = &mut Lookup> {
        core::iter::once(&mut self.dialled).chain(&mut self.others)
    }

    /// A name that nobody was asked for yet.
    pub(super) fn wanted(&mut self) -> Option<&mut Lookup> {
        // One name may be wanted twice, and is asked for once.
        if self.dialled.state != State::Wanted {
            let known = &self.dialled.name;
            let same = self.others.iter_mut().find(|lookup| lookup.state == State::Wanted && lookup.name == *known);
            if let Some(lookup) = same {
                lookup.follow(&self.dialled);
            }
        }
        self.lookups_mut().find(|lookup| lookup.state == State::Wanted)
    }

    /// The lookups of a name that are under way.
    pub(super) fn asked(&mut self, name: &str) -> impl Iterator<Item = &mut Lookup> {
        self.lookups_mut().filter(move |lookup| lookup.name == name && lookup.asked_at().is_some())
    }

    /// Does the caller leave it to the dialer to find out how the server is secured?
    pub(super) fn guesses(&self) -> bool {
        self.config.get_security() == Security::Auto && self.config.hinted().is_none() && self.config.has_tls()
    }

    /// The other guess at the same address and port, if it was not made yet.
    pub(super) fn other_guess(&self, what: &Candidate) -> Option<Candidate> {
        if self.config.get_security() != Security::Auto {
            return None;
        }
        let made = (what.address, what.config.port(), !what.tls_first);
        if self.guesses.contains(&made) {
            return None;
        }
        let config = what.config.clone();
        let config = if what.tls_first { config.clear_first() } else { config.security(Security::Implicit) };
        Some(Candidate { config, tls_first: !what.tls_first, ..what.clone() })
    }

    /// A guess is being made.
    pub(super) fn guessed(&mut self, what: &Candidate) {
        let made = (what.address, what.config.port(), what.tls_first);
        if !self.guesses.contains(&made) {
            self.guesses.push(made);
        }
    }

    /// The next candidate.
    pub(super) fn next(&mut self) -> Option<Candidate> {
        let lookup = &self.dialled;
        let (port, address) =
            self.ports.iter_mut().find_map(|port| Some((lookup.next(&port.tried), port)).and_then(swap))?;
        port.tried.push(address);
        let config = port.config.clone();
        let (_, dial_port) = config.dial();
        Some(Candidate { address, dial_port, tls_first: config.tls_first(), config })
    }

    /// Is there a candidate, now or by an address found later?
    pub(super) fn may_have_more(&self) -> bool {
        !self.is_cut_off() && (self.has_more() || !self.dialled.is_over() || self.waits())
    }

    /// Is there an address that was not tried?
    pub(super) fn has_more(&self) -> bool {
        !self.is_cut_off() && self.ports.iter().any(|port| self.dialled.next(&port.tried).is_some())
    }

    /// Is there a candidate, now or later, that would be secure, on another port?
    pub(super) fn has_more_secure(&self, port: u16) -> bool {
        let others = || self.ports.iter().filter(|other| other.config.port() != port && other.config.may_be_secure());
        !self.is_cut_off() && others().any(|other| !self.dialled.is_over() || self.dialled.next(&other.tried).is_some())
    }

    /// From when on there is a candidate.
    pub(super) fn usable_at(&self) -> Option<Instant> {
        if self.waits() || !self.has_more() { None } else { self.dialled.usable_at() }
    }

    /// A proxy is to be asked for an address that is not known yet.
    fn waits(&self) -> bool {
        self.others.iter().any(|lookup| !lookup.is_over())
    }

    /// A proxy would have to be asked for an address, and there is none.
    fn is_cut_off(&self) -> bool {
        self.others.iter().any(|lookup| lookup.is_over() && lookup.addresses.is_empty())
    }

    /// The route from the nearest proxy to the server.
    pub(super) fn route(&self, config: &Config) -> Result<Route, Misuse> {
        let resolved: Vec<(String, IpAddr)> = self
            .others
            .iter()
            .flat_map(|lookup| lookup.addresses.iter().map(|address| (lookup.name.clone(), *address)))
            .collect();
        config.route(&resolved)
    }
}

fn swap<A, B>((first, second): (Option<A>, B)) -> Option<(B, A)> {
    Some((second, first?))
}

/// The ports to try, each with the security that it stands for.
fn ports(config: &Config, policy: &Policy) -> Vec<Port> {
    if config.port() != 0 {
        return vec![Port { config: config.clone(), tried: Vec::new() }];
    }
    let (wanted, security) = (&policy.ports, config.get_security());
    let fits = |port: &&u16| match security {
        Security::Auto => true,
        Security::Implicit => **port == 465,
        _ => **port != 465,
    };
    let mut ports: Vec<u16> = wanted.iter().filter(fits).copied().collect();
    if config.is_lmtp() {
        // RFC 2033 section 5: never on 25; 24 is what IANA has for private mail systems.
        ports = vec![24];
    } else if ports.is_empty() {
        ports.clone_from(wanted);
    }
    let at = |port| match security {
        Security::Auto if port == 587 => config.clone().at_port(port).security(Security::StartTls),
        _ => config.clone().at_port(port),
    };
    ports.into_iter().map(|port| Port { config: at(port), tried: Vec::new() }).collect()
}

impl Config {
    /// May what is tried end in a secured session?
    fn may_be_secure(&self) -> bool {
        self.get_security() != Security::None && self.hinted() != Some(Mode::None)
    }
}
