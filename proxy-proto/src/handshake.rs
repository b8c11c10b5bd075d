//! What all handshakes share: the clock, the error that stays, the end of the stream.
//!
//! The rules of this file: it knows no protocol. A handshake is written as [`Steps`], which may forget about time and about
//! having failed; [`Guarded`] adds both, so the laws of the contract hold in one place.

use alloc::vec::Vec;
use core::time::Duration;

use crate::error::{Error, Kind};
use crate::{Deadline, Instant, Phase};

/// How long a handshake may take and how much it may hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// From the first call that carries the time to the open tunnel. The default is 60 seconds: the proxy has a host to
    /// reach before it can answer, and gives up on its own within a minute as a rule.
    pub handshake: Duration,
    /// The most octets of an HTTP head. The default is 16 KiB, what common proxies allow themselves.
    pub head: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { handshake: Duration::from_secs(60), head: 16 * 1024 }
    }
}

/// A handshake, seen from inside: what to do with octets, and what is waited for.
pub(crate) trait Steps {
    type Event;

    /// Whether it may still speak after an error: the accepting side tells its peer why.
    const LAST_WORDS: bool = false;

    /// As [`Machine::receive`](crate::Machine::receive), never called again after an error.
    fn take(&mut self, now: Instant, input: &mut &[u8]) -> Result<Option<Self::Event>, Kind>;

    /// As [`Machine::transmit`](crate::Machine::transmit).
    fn speak(&mut self, now: Instant, output: &mut Vec<u8>) -> bool;

    /// What the peer owes; nothing when the handshake is over or the caller's answer is awaited.
    fn phase(&self) -> Option<Phase>;

    /// Why the end of the stream is wrong here.
    fn ended(&mut self) -> Kind {
        Kind::EndOfStream
    }

    /// The deadline of a machine inside this one.
    fn inner_deadline(&self) -> Option<Deadline> {
        None
    }

    /// Lets a machine inside this one act on its deadline.
    fn inner_expire(&mut self, _now: Instant) -> Result<(), Kind> {
        Ok(())
    }
}

/// Steps with a clock and a memory for the error.
pub(crate) struct Guarded<S> {
    pub(crate) steps: S,
    limit: Duration,
    ends: Option<Instant>,
    failed: Option<Error>,
}

impl<S: Steps> Guarded<S> {
    pub(crate) fn new(steps: S, limits: Limits) -> Self {
        Self { steps, limit: limits.handshake, ends: None, failed: None }
    }

    /// Starts the clock anew at the next call that carries the time: the caller's own time to answer is not the peer's.
    pub(crate) fn restart(&mut self) {
        self.ends = None;
    }

    /// The error that stays, if there is one.
    pub(crate) fn failed(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    fn start(&mut self, now: Instant) {
        self.ends.get_or_insert(now.after(self.limit));
    }

    fn check(&self) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, kind: Kind) -> Error {
        // The phase as it is now, not as it was when the call began: that would depend on how the input was cut.
        let phase = self.steps.phase().unwrap_or(Phase::named("handshake"));
        self.failed.insert(Error::new(kind, phase)).clone()
    }

    pub(crate) fn receive(&mut self, now: Instant, input: &mut &[u8]) -> Result<Option<S::Event>, Error> {
        self.check()?;
        self.start(now);
        self.steps.take(now, input).map_err(|kind| self.fail(kind))
    }

    pub(crate) fn transmit(&mut self, now: Instant, output: &mut Vec<u8>) -> bool {
        self.start(now);
        (S::LAST_WORDS || self.failed.is_none()) && self.steps.speak(now, output)
    }

    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.check()?;
        if self.steps.phase().is_none() {
            return Ok(());
        }
        let kind = self.steps.ended();
        Err(self.fail(kind))
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        if self.failed.is_some() {
            return None;
        }
        let watching = self.steps.phase()?;
        Deadline::earlier(self.ends.map(|at| Deadline { at, watching }), self.steps.inner_deadline())
    }

    pub(crate) fn expire(&mut self, now: Instant) -> Result<(), Error> {
        self.check()?;
        self.start(now);
        if self.steps.phase().is_none() {
            return Ok(());
        }
        if self.ends.is_some_and(|end| end <= now) {
            return Err(self.fail(Kind::TimedOut));
        }
        self.steps.inner_expire(now).map_err(|kind| self.fail(kind))
    }
}

/// Makes a machine of a tuple struct around [`Guarded`]. Its `Debug` shows what is waited for and nothing that was held.
macro_rules! machine {
    ($machine:ident, $event:ty) => {
        impl crate::Machine for $machine {
            type Event = $event;
            type Error = crate::Error;

            fn receive(&mut self, now: crate::Instant, input: &mut &[u8]) -> Result<Option<$event>, crate::Error> {
                self.0.receive(now, input)
            }

            fn transmit(&mut self, now: crate::Instant, output: &mut alloc::vec::Vec<u8>) -> bool {
                self.0.transmit(now, output)
            }

            fn finish(&mut self) -> Result<(), crate::Error> {
                self.0.finish()
            }

            fn deadline(&self) -> Option<crate::Deadline> {
                self.0.deadline()
            }

            fn expire(&mut self, now: crate::Instant) -> Result<(), crate::Error> {
                self.0.expire(now)
            }
        }

        impl core::fmt::Debug for $machine {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                use crate::handshake::Steps as _;
                let phase = self.0.steps.phase();
                f.debug_struct(concat!(module_path!(), "::", stringify!($machine))).field("phase", &phase).finish()
            }
        }
    };
}
pub(crate) use machine;

/// Takes one octet from the front.
pub(crate) fn octet(input: &mut &[u8]) -> Option<u8> {
    let (&first, rest) = input.split_first()?;
    *input = rest;
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for one octet, which must not be zero.
    struct One(bool);

    impl Steps for One {
        type Event = u8;

        fn take(&mut self, _now: Instant, input: &mut &[u8]) -> Result<Option<u8>, Kind> {
            match octet(input) {
                Some(0) => Err(Kind::NotConnect),
                got => {
                    self.0 |= got.is_some();
                    Ok(got)
                }
            }
        }

        fn speak(&mut self, _now: Instant, _output: &mut Vec<u8>) -> bool {
            false
        }

        fn phase(&self) -> Option<Phase> {
            (!self.0).then_some(Phase::named("octet"))
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn the_clock_starts_at_the_first_call_and_runs_out_once() {
        let mut one = Guarded::new(One(false), Limits { handshake: Duration::from_secs(5), ..Limits::default() });
        assert_eq!(one.deadline(), None);
        assert_eq!(one.receive(at(10), &mut &[][..]), Ok(None));
        assert_eq!(one.deadline(), Some(Deadline { at: at(15), watching: Phase::named("octet") }));
        assert_eq!(one.expire(at(14)), Ok(()));
        let late = Err(Error::new(Kind::TimedOut, Phase::named("octet")));
        assert_eq!(one.expire(at(15)), late);
        assert_eq!(one.expire(at(0)), late, "sticky");
        assert_eq!(one.finish(), late);
        assert_eq!(one.receive(at(16), &mut &[1][..]).map(|_| ()), late);
        assert_eq!(one.deadline(), None);
    }

    #[test]
    fn what_is_over_neither_expires_nor_ends_early() {
        let mut one = Guarded::new(One(false), Limits::default());
        assert_eq!(one.receive(at(0), &mut &[7][..]), Ok(Some(7)));
        assert_eq!((one.deadline(), one.finish(), one.expire(at(10_000))), (None, Ok(()), Ok(())));
        let mut one = Guarded::new(One(false), Limits::default());
        assert_eq!(one.finish(), Err(Error::new(Kind::EndOfStream, Phase::named("octet"))));
    }
}
