//! The contract: what a machine is, and the words it uses for time.
//!
//! The rules of this file:
//!
//! - It is the leaf of the house: it knows no protocol, no buffer and no clock.
//! - Time comes in as [`Instant`] and goes out as [`Deadline`]; nothing below or above reads a clock.
//!
//! The laws that every [`Machine`] obeys, tested generically in the `tests` package:
//!
//! 1. *Cut*: events, output and final state do not depend on how the input is cut.
//! 2. *Progress*: `receive` takes bytes, returns an event, or waits; never an event twice without input between.
//! 3. *Silence*: `transmit` right after `transmit` appends nothing.
//! 4. *Stickiness*: after `Err`, the same `Err`.
//! 5. *Clock*: `expire(t)` before the deadline changes nothing; the deadline moves only through a call.
//! 6. *Bound*: held memory stays under a stated constant, whatever the peer sends.
//! 7. *Peer data never panics*; a caller's slip is returned at once and changes nothing.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// A moment on the caller's monotonic clock, counted from an epoch that the caller picks.
///
/// Any epoch will do (process start, connection start, a counter in a simulation) as long as one connection sees one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(Duration);

impl Instant {
    /// The caller's epoch itself.
    pub const EPOCH: Self = Self(Duration::ZERO);

    /// The moment `elapsed` after the caller's epoch.
    pub const fn from_epoch(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// The time between the caller's epoch and this moment.
    pub const fn since_epoch(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to this moment; zero where `earlier` is in truth later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `delay` later; the end of time where that cannot be counted.
    #[must_use]
    pub const fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(delay))
    }
}

/// What a machine is waiting for, as a name for people: `"greeting"`, `"RCPT reply"`.
///
/// A name and not a closed list, because each machine knows its own phases and a limit is looked up where it is set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phase(&'static str);

impl Phase {
    /// A phase of this name.
    pub const fn named(name: &'static str) -> Self {
        Self(name)
    }

    /// The name, in the words of the RFC that defines the phase.
    pub const fn name(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Phase({})", self.0)
    }
}

/// When a machine must be asked again, and which limit it is watching.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Deadline {
    /// The moment at which [`Machine::expire`] will act.
    pub at: Instant,
    /// The phase whose limit runs out at that moment.
    pub watching: Phase,
}

impl Deadline {
    /// The earlier of two deadlines, where there are any: how layers compose theirs.
    pub fn earlier(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(a), Some(b)) => Some(if b.at < a.at { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}

/// A protocol, as a pure state machine: bytes in, bytes out, the time told.
///
/// A machine holds at most half a unit (a line that is not complete yet, say); it works on slices and on a buffer lent by
/// its owner.
pub trait Machine {
    /// What happened, in the words of the protocol.
    type Event;
    /// The peer's fault, or the stream's. Once returned, returned for ever.
    type Error;

    /// Takes bytes from the front of `input`, stopping right after the first event; `None` wants more.
    ///
    /// What is behind the event stays in `input`: nothing is queued, and nothing is lost.
    ///
    /// # Errors
    ///
    /// What the peer sent is not this protocol, or ends it. The same error comes back at every later call.
    fn receive(&mut self, now: Instant, input: &mut &[u8]) -> Result<Option<Self::Event>, Self::Error>;

    /// Appends what the peer should hear; `true` if it spoke, were it only an empty message.
    fn transmit(&mut self, now: Instant, output: &mut Vec<u8>) -> bool;

    /// No more input will come: may it end here?
    ///
    /// # Errors
    ///
    /// The stream ended where the protocol does not allow it.
    fn finish(&mut self) -> Result<(), Self::Error>;

    /// When [`expire`](Self::expire) wants to be called, if at all.
    fn deadline(&self) -> Option<Deadline> {
        None
    }

    /// Acts on a deadline that has passed, else does nothing.
    ///
    /// # Errors
    ///
    /// A limit has passed; the error names its phase.
    fn expire(&mut self, now: Instant) -> Result<(), Self::Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_deadline_wins_and_any_beats_none() {
        let at = |s, watching| Deadline { at: Instant::from_epoch(Duration::from_secs(s)), watching };
        let (a, b) = (at(3, Phase::named("a")), at(5, Phase::named("b")));
        assert_eq!(Deadline::earlier(Some(a), Some(b)), Some(a));
        assert_eq!(Deadline::earlier(Some(b), Some(a)), Some(a));
        assert_eq!(Deadline::earlier(None, Some(b)), Some(b));
        assert_eq!(Deadline::earlier(None, None), None);
    }

    #[test]
    fn time_neither_overflows_nor_turns_back() {
        let late = Instant::from_epoch(Duration::MAX);
        assert_eq!(late.after(Duration::from_secs(1)), late);
        assert_eq!(Instant::EPOCH.since(late), Duration::ZERO);
    }
}
