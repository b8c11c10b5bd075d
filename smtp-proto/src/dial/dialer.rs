//! The dialer itself; see the [room](super) for its rules.
//!
//! The rules of this file: what is under way is in `live`, what is to be opened at once in `again`, what is over in
//! `attempts`; whatever is told ends in `settle`, which alone decides. It deals in numbers; a number that is not under way
//! is not listened to.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use proxy_proto::{Deadline, Host, Instant};

use super::attempt::{Attempt, Failure, Why};
use super::lookup::State;
use super::place::{Candidate, Place};
use super::policy::Policy;
use super::verdict::{Mode, Verdict};
use crate::error::{AuthenticationError, Cause};
use crate::{Config, Connection, Error, Misuse, Route, phase, tls};

/// The number of an attempt; never used twice by one dialer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Id(u32);

/// How far a connection has come, as [`Connection::reached`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reached {
    /// The transport is open; there may be proxies yet to be asked.
    Connected,
    /// What is heard next is the server's.
    Server,
    /// It has greeted, in clear; and so many commands were said to it since, each of them a sign that it gets on.
    Greeted(u64),
    /// TLS with it stands; and so many commands were said to it so far.
    Secured(u64),
    /// It is ready.
    Ready(Mode),
}

/// What is to be done. Nothing is waited for: the answer may come at any time.
#[derive(Debug)]
#[non_exhaustive]
pub enum Order {
    /// Look up the addresses of a name.
    Resolve {
        /// The name.
        name: String,
        /// The port that will be asked for, for resolvers that want one; 0 where it is not known.
        port: u16,
    },
    /// Open a connection.
    Open(Open),
    /// Close a connection, or stop opening it; nothing needs to be told of it any more.
    Close(Id),
}

/// A connection to be opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct Open {
    /// Its number.
    pub id: Id,
    /// Where to connect to: the server, or the nearest proxy.
    pub to: SocketAddr,
    /// How to go on from there. An adapter may still set what it learns by connecting, such as the name for EHLO.
    pub config: Config,
    /// The proxies on the way.
    pub route: Route,
    /// When the operation of becoming ready began; what [`Connection::began`] is to be told.
    pub began: Instant,
}

impl Open {
    /// The connection, to be driven over the transport.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the configuration cannot be said or meant.
    pub fn connection(self) -> Result<Connection, Misuse> {
        let mut connection = Connection::new(self.config, self.route)?;
        connection.began(self.began);
        Ok(connection)
    }
}

/// An attempt under way.
#[derive(Debug)]
struct Live {
    id: Id,
    what: Candidate,
    opened: Instant,
    connected: Option<Instant>,
    /// When the server itself was reached, through whatever proxies.
    arrived: Option<Instant>,
    /// When it was last heard of.
    sign: Instant,
    reached: Option<Reached>,
}

impl Live {
    /// How long the way to the server is, as far as it is known; a second at most.
    fn way(&self) -> Duration {
        let far = self.arrived.or(self.connected).unwrap_or(self.opened);
        far.since(self.opened).min(Policy::LONGEST / 2)
    }

    fn is_ready(&self) -> bool {
        matches!(self.reached, Some(Reached::Ready(_)))
    }
}

/// Gives orders until a connection is ready, or everything was tried. `E` is the transport's error.
///
/// Holds no more than 64 addresses a name, and an account of what was tried.
#[derive(Debug)]
pub struct Dialer<E> {
    policy: Policy,
    /// The places to come; the first is the one that is dialled.
    places: VecDeque<Place>,
    live: Vec<Live>,
    /// To be opened at once: the other guess where the first was proven wrong, an answer to a proxy's challenge.
    again: VecDeque<Candidate>,
    closing: VecDeque<Id>,
    attempts: Vec<Attempt<E>>,
    began: Option<Instant>,
    /// When the next candidate's turn comes, if nothing is heard until then; `None`: at once.
    next_at: Option<Instant>,
    /// The time for the operation is over: nothing more is begun.
    late: bool,
    count: u32,
    won: Option<(Id, Verdict)>,
    lost: bool,
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

    /// A dialer to the first of several servers that can be reached: the next one's turn comes when everything there is to
    /// the one before has failed, as MX and SRV records want it (RFC 5321 section 5.1, RFC 2782).
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

    /// A connection has come so far: what [`Connection::reached`] says, to be told once the transport is open and after each
    /// turn; that nothing has changed is not minded.
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

    /// When to [poll](Self::poll) again even if nothing is told; always after the moment of the last poll that said `None`.
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
    pub fn into_failure(self) -> Failure<E> {
        Failure { attempts: self.attempts }
    }

    fn is_over(&self) -> bool {
        self.won.is_some() || self.lost
    }

    fn has_room(&self) -> bool {
        self.live.iter().filter(|live| !live.is_ready()).count() < self.policy.at_once
    }

    /// Is there anything that the connections under way do not watch themselves?
    fn is_unsure(&self) -> bool {
        let open = |place: &Place| place.has_more() || place.lookups().any(|lookup| !lookup.is_over());
        self.live.iter().any(|live| live.connected.is_none())
            || !self.again.is_empty()
            || self.places.len() > 1
            || self.places.front().is_some_and(open)
    }

    /// When the next candidate's turn comes, if there is one.
    fn turn_at(&self) -> Option<Instant> {
        let usable = self.places.front()?.usable_at()?;
        Some(self.next_at.map_or(usable, |next| next.max(usable)))
    }

    /// When an attempt has been silent for so long that the other guess is worth a connection.
    fn guess_at(&self, live: &Live) -> Option<Instant> {
        let place = self.places.front().filter(|place| self.policy.second_guess && place.guesses())?;
        let Some(Reached::Server) = live.reached else { return None };
        place.other_guess(&live.what)?;
        // An answer takes as long again as the way to the server took, at least: a long way is not taken for silence.
        Some(live.opened.after(self.policy.stagger).max(live.sign.after(live.way() * 2)))
    }

    /// What to open now, if anything.
    fn take(&mut self, now: Instant) -> Option<Candidate> {
        if self.late || !self.has_room() {
            return None;
        }
        if let Some(again) = self.again.pop_front() {
            return Some(again);
        }
        let silent = self.live.iter().find(|live| self.guess_at(live).is_some_and(|due| due <= now));
        if let Some(other) = silent.and_then(|live| self.places.front()?.other_guess(&live.what)) {
            return Some(other);
        }
        self.turn_at().filter(|due| *due <= now)?;
        self.places.front_mut()?.next()
    }

    fn open(&mut self, now: Instant, what: Candidate) -> Option<Open> {
        let place = self.places.front_mut()?;
        place.guessed(&what);
        let id = Id(self.count);
        self.count += 1;
        let to = what.endpoint();
        let live = Live { id, opened: now, connected: None, arrived: None, sign: now, reached: None, what };
        match place.route(&live.what.config) {
            Ok(route) => {
                let (config, began) = (live.what.config.clone(), self.began.unwrap_or(now));
                self.live.push(live);
                self.next_at = Some(now.after(self.policy.stagger));
                Some(Open { id, to, config, route, began })
            }
            Err(misuse) => {
                self.note(now, live, Why::Misuse(misuse));
                None
            }
        }
    }

    /// What a failure says about what else to try.
    fn learn(&mut self, now: Instant, live: &Live, error: &Error) {
        let Some(place) = self.places.front() else { return };
        let clear_first = place.other_guess(&live.what).filter(|_| live.what.config.guesses_tls());
        match (&error.cause, &error.hop) {
            // It is listened to; or it was already, and that goes on.
            (Cause::Tls(tls::Error::NotTls(b'2'..=b'5')), None) => self.again.extend(clear_first),
            // Neither a record of TLS nor a reply: the server may not bear to be spoken to first.
            (Cause::Closed { .. }, None) if error.phase == phase::TLS => self.again.extend(clear_first),
            // It speaks TLS, or no SMTP at all.
            (Cause::Tls(tls::Error::Certificate(_) | tls::Error::Failed(_) | tls::Error::NotTls(_)), None) => {
                self.end_guesses(now, &live.what, None);
            }
            _ => {
                let config = live.what.config.answering(error);
                self.again.extend(config.map(|config| Candidate { config, ..live.what.clone() }));
            }
        }
    }

    /// What is settled for an address and port of the server ends what else is tried there to find out.
    fn end_guesses(&mut self, now: Instant, settled: &Candidate, but: Option<Id>) {
        let same = |what: &Candidate| what.is_beside(settled);
        self.again.retain(|what| !same(what));
        self.give_up(now, |live| Some(live.id) != but && !live.is_ready() && same(&live.what));
    }

    fn give_up(&mut self, now: Instant, which: impl Fn(&Live) -> bool) {
        let (over, live) = core::mem::take(&mut self.live).into_iter().partition(|live| which(live));
        self.live = live;
        for live in over {
            self.closing.push_back(live.id);
            self.note(now, live, Why::GivenUp);
        }
    }

    fn note(&mut self, now: Instant, live: Live, why: Why<E>) {
        let (config, to) = (&live.what.config, Some(live.what.endpoint()));
        let (host, port, tls_first) = (config.host().to_string(), config.port(), live.what.tls_first);
        let took = now.since(live.opened);
        self.attempts.push(Attempt { host, port, to, tls_first, took, why });
    }

    fn end_lookups(&mut self, now: Instant, name: Option<&str>, mut why: Option<Why<E>>) {
        let Some(place) = self.places.front_mut() else { return };
        let (port, mut told) = (place.config.port(), false);
        for lookup in place.lookups_mut().filter(|lookup| name.is_none_or(|name| lookup.name == name)) {
            let State::Asked(since) = lookup.state else { continue };
            lookup.state = State::Over;
            // An error behind addresses is worth a word as well; that a name was wanted twice is not.
            if why.is_some() || (lookup.addresses.is_empty() && !core::mem::replace(&mut told, true)) {
                told = true;
                let (host, took) = (lookup.name.clone(), now.since(since));
                let why = why.take().unwrap_or(Why::NoAddress);
                self.attempts.push(Attempt { host, port, to: None, tls_first: false, took, why });
            }
        }
    }

    /// Ends what is beyond the limits that are watched here.
    fn expire(&mut self, now: Instant) {
        let (Some(place), false) = (self.places.front(), self.is_over()) else { return };
        let limits = *place.config.get_limits();
        let whole = limits.operation.zip(self.began).is_some_and(|(whole, began)| began.after(whole) <= now);
        let late: Vec<String> = place
            .lookups()
            .filter(|lookup| lookup.asked_at().is_some_and(|since| whole || since.after(limits.resolve) <= now))
            .map(|lookup| lookup.name.clone())
            .collect();
        for name in late {
            self.end_lookups(now, Some(&name), Some(Why::TimedOut(phase::RESOLVE)));
        }
        let is_late = |live: &Live| live.connected.is_none() && (whole || live.opened.after(limits.connect) <= now);
        let (over, live): (Vec<_>, Vec<_>) = core::mem::take(&mut self.live).into_iter().partition(is_late);
        self.live = live;
        for live in over {
            self.closing.push_back(live.id);
            self.next_at = None;
            self.note(now, live, Why::TimedOut(phase::CONNECT));
        }
        if whole {
            self.late = true;
            self.again.clear();
        }
    }

    /// Decides what can be decided.
    fn settle(&mut self, now: Instant) {
        while !self.is_over() {
            let ready = |live: &&Live| matches!(live.reached, Some(Reached::Ready(mode)) if mode != Mode::None);
            let clear = || self.live.iter().find(|live| live.is_ready() && !self.is_more_secure_on_the_way(live));
            if let Some(id) = self.live.iter().find(ready).or_else(clear).map(|live| live.id) {
                return self.win(now, id);
            }
            let more = !self.late && self.places.front().is_some_and(|place| place.may_have_more());
            if more || !self.live.is_empty() || !self.again.is_empty() {
                return;
            }
            self.places.pop_front();
            self.next_at = None;
            self.lost = self.late || self.places.is_empty();
        }
    }

    /// Is anything on its way that would be secure, on another port than where this one is ready in clear?
    fn is_more_secure_on_the_way(&self, clear: &Live) -> bool {
        let port = clear.what.config.port();
        let better = |what: &Candidate| what.config.port() != port && what.may_be_secure();
        let untried = || self.places.front().is_some_and(|place| place.has_more_secure(port));
        self.live.iter().any(|live| !live.is_ready() && better(&live.what))
            || self.again.iter().any(better)
            || (!self.late && untried())
    }

    fn win(&mut self, now: Instant, id: Id) {
        let Some(at) = self.live.iter().position(|live| live.id == id) else { return };
        let winner = self.live.remove(at);
        let mode = match winner.reached {
            Some(Reached::Ready(mode)) => mode,
            _ => Mode::None,
        };
        let config = &winner.what.config;
        let direct = config.proxies().next().is_none();
        let asked = || config.asked_for().ok();
        let host = if direct { Some(Host::from(winner.what.address)) } else { asked() };
        let host = host.unwrap_or(Host::from(winner.what.address));
        self.won = Some((id, Verdict { host, port: config.port(), mode }));
        self.give_up(now, |_| true);
        self.again.clear();
    }
}

/// Is it an answer that would only be repeated, and counted, elsewhere?
fn is_refusal_of_credentials<E>(why: &Why<E>) -> bool {
    let Why::Session { error, .. } = why else { return false };
    match &error.cause {
        Cause::Authentication(AuthenticationError::Refused { reply, .. }) => !reply.code().is_transient(),
        _ => false,
    }
}
