//! The dialer itself; see the [room](super) for its rules.
//!
//! The rules of this file: what is under way is in `live`, what is to be opened at once in `again`, what is over in
//! `attempts`; whatever is told ends in `settle`, which alone decides. It deals in numbers; a number that is not under
//! way is not listened to.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;

use proxy_proto::{Deadline, Instant};

use super::attempt::{Attempt, Failure, Why};
use super::decide::is_refusal_of_credentials;
use super::lookup::State;
use super::order::{Id, Live, Order, Reached};
use super::place::{Candidate, Place};
use super::policy::Policy;
use super::verdict::Verdict;
use crate::{Config, Misuse, phase};

/// Gives orders until a connection is ready, or everything was tried. `E` is the transport's error.
///
/// Holds no more than 64 addresses a name, and an account of what was tried.
#[derive(Debug)]
pub struct Dialer<E> {
    pub(super) policy: Policy,
    /// The places to come; the first is the one that is dialled.
    pub(super) places: VecDeque<Place>,
    pub(super) live: Vec<Live>,
    /// To be opened at once: the other guess where the first was proven wrong, an answer to a proxy's challenge.
    pub(super) again: VecDeque<Candidate>,
    pub(super) closing: VecDeque<Id>,
    pub(super) attempts: Vec<Attempt<E>>,
    pub(super) began: Option<Instant>,
    /// When the next candidate's turn comes, if nothing is heard until then; `None`: at once.
    pub(super) next_at: Option<Instant>,
    /// The time for the operation is over: nothing more is begun.
    pub(super) late: bool,
    pub(super) count: u32,
    pub(super) won: Option<(Id, Verdict)>,
    pub(super) lost: bool,
}

impl<E> Dialer<E> {
    /// A dialer to one server.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the configuration or the policy cannot be said or meant.
    pub fn new(config: Config, policy: Policy) -> Result<Self, Misuse> {
        Self::among([config], policy)
    }

    /// A dialer to the first of several servers that can be reached: the next one's turn comes when everything there is
    /// to the one before has failed, as MX and SRV records want it (RFC 5321 section 5.1, RFC 2782).
    ///
    /// # Errors
    ///
    /// [`Misuse`] where there is none, or where a configuration or the policy cannot be said or meant.
    pub fn among(configs: impl IntoIterator<Item = Config>, policy: Policy) -> Result<Self, Misuse> {
        policy.check()?;
        let places =
            configs.into_iter().map(|config| Place::new(config, &policy)).collect::<Result<VecDeque<_>, _>>()?;
        if places.is_empty() {
            return Err(Misuse::Empty { what: "list of servers" });
        }
        Ok(Self {
            policy,
            places,
            live: Vec::new(),
            again: VecDeque::new(),
            closing: VecDeque::new(),
            attempts: Vec::new(),
            began: None,
            next_at: None,
            late: false,
            count: 0,
            won: None,
            lost: false,
        })
    }

    /// The next thing to do; `None` until something is told or the [deadline](Self::deadline) has come. The time of the
    /// operation as a whole counts from the first call.
    #[must_use = "an order not obeyed is never given again"]
    pub fn poll(&mut self, now: Instant) -> Option<Order> {
        self.began.get_or_insert(now);
        self.expire(now);
        self.settle(now);
        loop {
            if let Some(id) = self.closing.pop_front() {
                return Some(Order::Close(id));
            }
            if self.is_over() {
                return None;
            }
            if let Some(lookup) = self.places.front_mut().and_then(Place::wanted) {
                lookup.state = State::Asked(now);
                return Some(Order::Resolve { name: lookup.name.clone(), port: lookup.port });
            }
            let candidate = self.take(now)?;
            if let Some(open) = self.open(now, candidate) {
                return Some(Order::Open(open));
            }
            self.settle(now);
        }
    }

    /// Addresses of a name, in the resolver's order; more may follow.
    pub fn found(&mut self, now: Instant, name: &str, addresses: &[IpAddr]) {
        for lookup in self.places.front_mut().into_iter().flat_map(|place| place.asked(name)) {
            lookup.found(now, addresses);
        }
    }

    /// The lookup of a name is over: there are no more addresses, or there was an error.
    pub fn looked_up(&mut self, now: Instant, name: &str, result: Result<(), E>) {
        self.end_lookups(now, Some(name), result.err().map(Why::Unresolved));
        self.settle(now);
    }

    /// A connection has come so far: what [`Connection::reached`](crate::Connection::reached) says, to be told once the
    /// transport is open and after each turn; that nothing has changed is not minded.
    pub fn reached(&mut self, now: Instant, id: Id, reached: Reached) {
        let Some(live) = self.live.iter_mut().find(|live| live.id == id) else { return };
        if live.reached == Some(reached) || live.is_ready() {
            return;
        }
        live.connected.get_or_insert(now);
        if reached != Reached::Connected {
            live.arrived.get_or_insert(now);
        }
        (live.sign, live.reached) = (now, Some(reached));
        // On a long way the next sign takes longer, too.
        let patience = live.way() * 2;
        self.next_at = self.next_at.map(|_| now.after(patience.max(self.policy.stagger)));
        // Who speaks in clear, or does not, has settled it for the port.
        let proves = match reached {
            Reached::Greeted(_) | Reached::Ready(_) => true,
            Reached::Secured(_) => live.what.tls_first,
            _ => false,
        };
        if proves {
            let settled = live.what.clone();
            self.end_guesses(now, &settled, Some(id));
        }
        self.settle(now);
    }

    /// This attempt relies on what is [remembered](Config::remembered): commands have left before the greeting was read, as
    /// [`Connection::spoke_early`](crate::Connection::spoke_early) says. If it fails, the server is asked once more without.
    pub fn spoke_early(&mut self, id: Id) {
        if let Some(live) = self.live.iter_mut().find(|live| live.id == id) {
            live.spoke_early = true;
        }
    }

    /// An attempt is over: it could not be opened ([`Why::Connect`]), or its connection has failed ([`Why::Session`]).
    pub fn failed(&mut self, now: Instant, id: Id, why: Why<E>) {
        let Some(at) = self.live.iter().position(|live| live.id == id) else { return };
        let live = self.live.remove(at);
        self.next_at = None;
        if let Why::Session { error, .. } = &why {
            self.learn(now, &live, error);
        }
        let is_final = is_refusal_of_credentials(&why);
        self.note(now, live, why);
        if is_final && !self.live.iter().any(Live::is_ready) {
            self.give_up(now, |_| true);
            self.places.clear();
            self.again.clear();
        }
        self.settle(now);
    }

    /// When to [poll](Self::poll) again even if nothing is told; always after the moment of the last poll that said
    /// `None`.
    pub fn deadline(&self) -> Option<Deadline> {
        let limits = |place: &Place| *place.config.get_limits();
        let (place, false) = (self.places.front()?, self.is_over()) else { return None };
        let limits = limits(place);
        let at = |at, watching| Some(Deadline { at, watching });
        let mut next = None;
        let mut consider = |deadline| next = Deadline::earlier(next, deadline);
        for asked in place.lookups().filter_map(|lookup| lookup.asked_at()) {
            consider(at(asked.after(limits.resolve), phase::RESOLVE));
        }
        for live in self.live.iter().filter(|live| live.connected.is_none()) {
            consider(at(live.opened.after(limits.connect), phase::CONNECT));
        }
        if !self.late {
            if let (Some(began), Some(whole), true) = (self.began, limits.operation, self.is_unsure()) {
                consider(at(began.after(whole), phase::CONNECT));
            }
            if self.has_room() {
                for live in &self.live {
                    consider(self.guess_at(live).and_then(|due| at(due, phase::CONNECT)));
                }
                consider(self.turn_at().and_then(|due| at(due, phase::CONNECT)));
            }
        }
        next
    }

    /// Who has won, and what was found. Every other attempt is ordered closed.
    pub fn won(&self) -> Option<(Id, &Verdict)> {
        self.won.as_ref().map(|(id, verdict)| (*id, verdict))
    }

    /// Everything was tried, and nobody is ready.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// What was in vain so far.
    pub fn attempts(&self) -> &[Attempt<E>] {
        &self.attempts
    }

    /// The account of everything that was in vain.
    pub fn into_failure(mut self) -> Failure<E> {
        self.take_failure()
    }

    /// The same, and only once.
    pub fn take_failure(&mut self) -> Failure<E> {
        Failure { attempts: core::mem::take(&mut self.attempts) }
    }
}
