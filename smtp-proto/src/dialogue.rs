//! Held and owed: which commands may go out, and which replies are due (RFC 5321 section 4.1.4, RFC 2920 section 3.1).
//!
//! The rules of this room:
//!
//! - Replies come in the order of their commands; that is all that ties one to the other.
//! - Without PIPELINING one command is outstanding. With it commands go out in groups; EHLO, STARTTLS, AUTH, DATA, VRFY,
//!   EXPN, NOOP, QUIT and whatever is not known may only end one.
//! - A flight is what is said without having waited for a reply: who could have gone on anyway has not waited.
//! - The reply at the front is watched: its limit runs from when it became the front.

use alloc::collections::VecDeque;
use core::time::Duration;

use proxy_proto::{Deadline, Instant, Phase};

/// Replies outstanding at most. It bounds the memory of the queue, and how many messages are in doubt where the wire breaks;
/// a group of this size fills many segments already.
const WINDOW: usize = 1000;

/// How eagerly commands are grouped (RFC 2920), where the server offers PIPELINING. Each level needs what the one before needs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Grouping {
    /// One command, one reply.
    OneByOne,
    /// The groups of RFC 2920: MAIL, RCPT.., DATA leave together; the next MAIL may follow the body.
    Groups,
    /// Where CHUNKING is offered, too: MAIL, RCPT.., BDAT LAST leave together, and message follows message in a window. That is
    /// more than RFC 3030 spells out; a server that turns out not to bear it is spoken to at a lower level from then on.
    #[default]
    Flights,
}

impl Grouping {
    /// The next lower level.
    pub(crate) fn lower(self) -> Self {
        match self {
            Self::Flights => Self::Groups,
            Self::Groups | Self::OneByOne => Self::OneByOne,
        }
    }
}

/// One reply that is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due<T> {
    /// What it will answer.
    pub(crate) to: T,
    pub(crate) phase: Phase,
    limit: Duration,
    ends_group: bool,
}

/// The replies that are due, in order.
#[derive(Debug)]
pub(crate) struct Dialogue<T> {
    due: VecDeque<Due<T>>,
    /// When the front became the front.
    since: Instant,
    heard_since_speaking: bool,
    flights: u64,
    commands: u64,
}

impl<T: Copy> Dialogue<T> {
    pub(crate) fn new() -> Self {
        Self { due: VecDeque::new(), since: Instant::EPOCH, heard_since_speaking: true, flights: 0, commands: 0 }
    }

    /// A command was put out, and its reply is due within `limit`.
    pub(crate) fn owe(&mut self, now: Instant, to: T, phase: Phase, limit: Duration, ends_group: bool) {
        if self.due.is_empty() {
            self.since = now;
        }
        self.due.push_back(Due { to, phase, limit, ends_group });
    }

    /// Something is being put out: a flight begins unless one is under way.
    pub(crate) fn speak(&mut self) {
        if core::mem::take(&mut self.heard_since_speaking) {
            self.flights += 1;
        }
    }

    /// A command is among what is put out.
    pub(crate) fn command(&mut self) {
        self.commands += 1;
        self.speak();
    }

    /// A reply was read: what it answers; `None` where nothing was due. `free`: who reads it had no need to wait for it.
    pub(crate) fn hear(&mut self, now: Instant, free: bool) -> Option<Due<T>> {
        self.heard_since_speaking |= !free;
        self.since = now;
        self.due.pop_front()
    }

    /// What was answered just now will be answered once more (RFC 2033 section 4.2).
    pub(crate) fn once_more(&mut self, due: Due<T>) {
        self.due.push_front(due);
    }

    /// May one more command go out now?
    pub(crate) fn may_speak(&self, grouped: bool) -> bool {
        match self.due.back() {
            None => true,
            Some(last) => grouped && !last.ends_group && self.due.len() < WINDOW,
        }
    }

    /// Would speaking now begin a flight?
    pub(crate) fn begins_flight(&self) -> bool {
        self.heard_since_speaking
    }

    /// Is a reply due to what `answers` describes?
    pub(crate) fn is_due(&self, answers: impl Fn(&T) -> bool) -> bool {
        self.due.iter().any(|due| answers(&due.to))
    }

    /// The phases of the replies that are due, in order.
    pub(crate) fn phases(&self) -> impl ExactSizeIterator<Item = Phase> {
        self.due.iter().map(|due| due.phase)
    }

    /// How many replies are due to what `answers` describes.
    pub(crate) fn count_due(&self, answers: impl Fn(&T) -> bool) -> usize {
        self.due.iter().filter(|due| answers(&due.to)).count()
    }

    /// Frees the queue where it is empty.
    pub(crate) fn give_back(&mut self) {
        if self.due.is_empty() {
            self.due = VecDeque::new();
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.due.is_empty()
    }

    pub(crate) fn front(&self) -> Option<&Due<T>> {
        self.due.front()
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.due.front().map(|due| Deadline { at: self.since.after(due.limit), watching: due.phase })
    }

    /// How long the front has been waited for.
    pub(crate) fn waited(&self, now: Instant) -> Duration {
        now.since(self.since)
    }

    /// Flights so far: times the client spoke after it had to listen.
    pub(crate) fn flights(&self) -> u64 {
        self.flights
    }

    /// Commands so far.
    pub(crate) fn commands(&self) -> u64 {
        self.commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Phase = Phase::named("p");
    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_epoch(SECOND * seconds as u32)
    }

    #[test]
    fn a_group_goes_out_together_and_stops_behind_what_ends_it() {
        let mut dialogue = Dialogue::new();
        assert!(dialogue.may_speak(false));
        dialogue.owe(at(0), "MAIL", P, SECOND, false);
        assert!(dialogue.may_speak(true));
        assert!(!dialogue.may_speak(false));
        dialogue.owe(at(0), "DATA", P, SECOND, true);
        assert!(!dialogue.may_speak(true));
        assert_eq!(dialogue.hear(at(0), false).unwrap().to, "MAIL");
        assert!(!dialogue.may_speak(true));
        assert_eq!(dialogue.hear(at(0), false).unwrap().to, "DATA");
        assert!(dialogue.may_speak(true));
        assert!(dialogue.hear(at(0), false).is_none());
    }

    #[test]
    fn each_reply_has_its_own_limit_from_when_it_is_next() {
        let mut dialogue = Dialogue::new();
        dialogue.owe(at(1), 1, P, SECOND * 10, false);
        dialogue.owe(at(2), 2, P, SECOND * 5, false);
        assert_eq!(dialogue.deadline().unwrap().at, at(11));
        dialogue.hear(at(4), false);
        assert_eq!(dialogue.deadline().unwrap().at, at(9));
        assert_eq!(dialogue.waited(at(6)), SECOND * 2);
    }

    #[test]
    fn a_flight_is_a_turn_to_speak() {
        let mut dialogue = Dialogue::new();
        dialogue.speak();
        dialogue.speak();
        dialogue.owe(at(0), 1, P, SECOND, true);
        assert_eq!(dialogue.flights(), 1);
        dialogue.owe(at(0), 2, P, SECOND, true);
        dialogue.hear(at(0), true);
        dialogue.speak();
        assert_eq!(dialogue.flights(), 1, "it could have spoken before");
        dialogue.hear(at(0), false);
        dialogue.speak();
        assert_eq!(dialogue.flights(), 2);
    }

    #[test]
    fn the_window_bounds_what_is_outstanding() {
        let mut dialogue = Dialogue::new();
        for n in 0..WINDOW {
            assert!(dialogue.may_speak(true));
            dialogue.owe(at(0), n, P, SECOND, false);
        }
        assert!(!dialogue.may_speak(true));
    }
}
