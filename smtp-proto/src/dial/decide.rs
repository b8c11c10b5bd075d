//! What the dialer makes of what it was told.
//!
//! The rules of this file: [`settle`](Dialer::settle) alone decides who has won, or that all is lost; whatever ends is
//! noted on the way.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proxy_proto::{Host, Instant};

use super::attempt::{Attempt, Why};
use super::dialer::Dialer;
use super::lookup::State;
use super::order::{Id, Live, Open, Reached};
use super::place::{Candidate, Place};
use super::verdict::{Mode, Verdict};
use crate::error::{AuthenticationError, Cause};
use crate::{Error, phase, tls};

impl<E> Dialer<E> {
    pub(super) fn is_over(&self) -> bool {
        self.won.is_some() || self.lost
    }

    pub(super) fn has_room(&self) -> bool {
        self.live.iter().filter(|live| !live.is_ready()).count() < self.policy.at_once
    }

    /// Is there anything that the connections under way do not watch themselves?
    pub(super) fn is_unsure(&self) -> bool {
        let open = |place: &Place| place.has_more() || place.lookups().any(|lookup| !lookup.is_over());
        self.live.iter().any(|live| live.connected.is_none())
            || !self.again.is_empty()
            || self.places.len() > 1
            || self.places.front().is_some_and(open)
    }

    /// When the next candidate's turn comes, if there is one.
    pub(super) fn turn_at(&self) -> Option<Instant> {
        let usable = self.places.front()?.usable_at()?;
        Some(self.next_at.map_or(usable, |next| next.max(usable)))
    }

    /// When an attempt has been silent for so long that the other guess is worth a connection.
    pub(super) fn guess_at(&self, live: &Live) -> Option<Instant> {
        let place = self.places.front().filter(|place| self.policy.second_guess && place.guesses())?;
        let Some(Reached::Server) = live.reached else { return None };
        place.other_guess(&live.what)?;
        // An answer takes as long again as the way to the server took, at least: a long way is not taken for silence.
        Some(live.opened.after(self.policy.stagger).max(live.sign.after(live.way() * 2)))
    }

    /// What to open now, if anything.
    pub(super) fn take(&mut self, now: Instant) -> Option<Candidate> {
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

    pub(super) fn open(&mut self, now: Instant, what: Candidate) -> Option<Open> {
        let place = self.places.front_mut()?;
        place.guessed(&what);
        let id = Id(self.count);
        self.count += 1;
        let to = what.endpoint();
        let live = Live {
            id,
            opened: now,
            connected: None,
            arrived: None,
            sign: now,
            reached: None,
            spoke_early: false,
            what,
        };
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
    pub(super) fn learn(&mut self, now: Instant, live: &Live, error: &Error) {
        let Some(place) = self.places.front() else { return };
        let clear_first = place.other_guess(&live.what).filter(|_| live.what.config.guesses_tls());
        match (&error.cause, &error.hop) {
            // It may have taken offence at that: it is asked once more, in the order that everybody knows.
            _ if live.spoke_early => {
                let config = live.what.config.clone().forget();
                self.again.push_back(Candidate { config, ..live.what.clone() });
            }
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
    pub(super) fn end_guesses(&mut self, now: Instant, settled: &Candidate, but: Option<Id>) {
        let same = |what: &Candidate| what.is_beside(settled);
        self.again.retain(|what| !same(what));
        self.give_up(now, |live| Some(live.id) != but && !live.is_ready() && same(&live.what));
    }

    pub(super) fn give_up(&mut self, now: Instant, which: impl Fn(&Live) -> bool) {
        let (over, live) = core::mem::take(&mut self.live).into_iter().partition(|live| which(live));
        self.live = live;
        for live in over {
            self.closing.push_back(live.id);
            self.note(now, live, Why::GivenUp);
        }
    }

    pub(super) fn note(&mut self, now: Instant, live: Live, why: Why<E>) {
        let (config, to) = (&live.what.config, Some(live.what.endpoint()));
        let (host, port, tls_first) = (config.host().to_string(), config.port(), live.what.tls_first);
        let took = now.since(live.opened);
        self.attempts.push(Attempt { id: Some(live.id), host, port, to, tls_first, took, why });
    }

    pub(super) fn end_lookups(&mut self, now: Instant, name: Option<&str>, mut why: Option<Why<E>>) {
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
                self.attempts.push(Attempt { id: None, host, port, to: None, tls_first: false, took, why });
            }
        }
    }

    /// Ends what is beyond the limits that are watched here.
    pub(super) fn expire(&mut self, now: Instant) {
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
    pub(super) fn settle(&mut self, now: Instant) {
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
pub(super) fn is_refusal_of_credentials<E>(why: &Why<E>) -> bool {
    let Why::Session { error, .. } = why else { return false };
    match &error.cause {
        Cause::Authentication(AuthenticationError::Refused { reply, .. }) => !reply.code().is_transient(),
        _ => false,
    }
}
