//! One name and its addresses, in the order they are tried.
//!
//! The rules of this file: families alternate, the first of them by the resolver's own order where one answer holds
//! both, and else IPv6 (RFC 8305 section 4); answers may come one after the other, and addresses found late are tried
//! all the same.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use proxy_proto::Instant;

/// How long an answer in IPv6 is waited for when one in IPv4 is there (RFC 8305 section 3, Resolution Delay).
const DELAY: Duration = Duration::from_millis(50);

/// Addresses of one name that are kept; what a resolver gives beyond is not tried.
pub(super) const MOST: usize = 64;

/// How far a lookup is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Wanted,
    Asked(Instant),
    Over,
}

/// A name to be looked up.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) state: State,
    pub(super) addresses: Vec<IpAddr>,
    /// When the first answer came.
    answered: Option<Instant>,
    v4_first: bool,
}

impl Lookup {
    pub(super) fn new(name: String, port: u16) -> Self {
        let mut lookup =
            Self { name, port, state: State::Wanted, addresses: Vec::new(), answered: None, v4_first: false };
        // An address is its own answer.
        if let Ok(address) = lookup.name.parse::<IpAddr>() {
            lookup.addresses.push(address);
            lookup.state = State::Over;
        }
        lookup
    }

    pub(super) fn found(&mut self, now: Instant, addresses: &[IpAddr]) {
        let Some(first) = addresses.first() else { return };
        if self.answered.is_none() {
            self.answered = Some(now);
            self.v4_first = first.is_ipv4() && addresses.iter().any(IpAddr::is_ipv6);
        }
        for address in addresses {
            if self.addresses.len() < MOST && !self.addresses.contains(address) {
                self.addresses.push(*address);
            }
        }
    }

    /// Since when it is under way.
    pub(super) fn asked_at(&self) -> Option<Instant> {
        match self.state {
            State::Asked(since) => Some(since),
            _ => None,
        }
    }

    /// Stands where another one of the same name does.
    pub(super) fn follow(&mut self, other: &Self) {
        (self.state, self.answered, self.v4_first) = (other.state, other.answered, other.v4_first);
        self.addresses.clone_from(&other.addresses);
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// From when on its addresses may be used; `None` while there are none.
    pub(super) fn usable_at(&self) -> Option<Instant> {
        let answered = self.answered.unwrap_or_default();
        let waits = !self.is_over() && self.addresses.iter().all(IpAddr::is_ipv4);
        (!self.addresses.is_empty()).then(|| if waits { answered.after(DELAY) } else { answered })
    }

    /// The address to try behind those tried before.
    pub(super) fn next(&self, tried: &[IpAddr]) -> Option<IpAddr> {
        let v4 = tried.last().map_or(self.v4_first, IpAddr::is_ipv6);
        let untried = || self.addresses.iter().filter(|address| !tried.contains(address));
        untried().find(|address| address.is_ipv4() == v4).or_else(|| untried().next()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn order(answers: &[&[&str]]) -> Vec<IpAddr> {
        let mut lookup = Lookup::new("mx.example.org".into(), 25);
        for answer in answers {
            lookup.found(Instant::EPOCH, &ips(answer));
        }
        let mut tried = vec![];
        while let Some(next) = lookup.next(&tried) {
            tried.push(next);
        }
        tried
    }

    #[test]
    fn families_alternate_and_the_resolver_says_which_is_first() {
        let alternating = ips(&["::1", "192.0.2.1", "::2", "192.0.2.2", "::3"]);
        assert_eq!(order(&[&["::1", "::2", "::3", "192.0.2.1", "192.0.2.2"]]), alternating);
        assert_eq!(order(&[&["192.0.2.1", "192.0.2.2"], &["::1", "::2", "::3"]]), alternating, "one after the other");
        assert_eq!(order(&[&["192.0.2.1", "::1", "::1", "192.0.2.2"]]), ips(&["192.0.2.1", "::1", "192.0.2.2"]));
        assert_eq!(order(&[&["192.0.2.1", "192.0.2.2"]]), ips(&["192.0.2.1", "192.0.2.2"]));
    }

    #[test]
    fn ipv4_alone_waits_a_moment_for_ipv6() {
        let (now, mut lookup) = (Instant::from_epoch(Duration::from_secs(1)), Lookup::new("mx".into(), 25));
        assert_eq!(lookup.usable_at(), None);
        lookup.found(now, &ips(&["192.0.2.1"]));
        assert_eq!(lookup.usable_at(), Some(now.after(DELAY)));
        lookup.found(now.after(DELAY / 2), &ips(&["::1"]));
        assert_eq!(lookup.usable_at(), Some(now));
        let mut lookup = Lookup::new("mx".into(), 25);
        lookup.found(now, &ips(&["192.0.2.1"]));
        lookup.state = State::Over;
        assert_eq!(lookup.usable_at(), Some(now), "nothing more will come");
    }

    #[test]
    fn an_address_needs_no_resolver_and_a_flood_is_bounded() {
        assert!(Lookup::new("2001:db8::1".into(), 25).is_over());
        let mut lookup = Lookup::new("mx".into(), 25);
        let many: Vec<IpAddr> = (0..1000u32).map(|n| IpAddr::V4(n.into())).collect();
        lookup.found(Instant::EPOCH, &many);
        assert_eq!(lookup.addresses.len(), MOST);
    }
}
