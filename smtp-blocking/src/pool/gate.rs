//! Who may ask r2d2 for a session: as many at a time as there may be connections, and nobody once the pool was closed.
//!
//! The rules of this file: r2d2 cannot be closed, and whoever waits in it waits until his time is over. So who would wait there for a
//! session that is lent waits here, where he can be told.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A clone is the same gate.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: u32,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    inside: u32,
    closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave to hold one session, until it is dropped.
#[derive(Debug)]
pub(super) struct Pass(Arc<Shared>);

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.state().inside -= 1;
        self.0.changed.notify_one();
    }
}

impl Gate {
    pub(super) fn new(most: u32) -> Self {
        Self(Arc::new(Shared { most, state: Mutex::default(), changed: Condvar::new() }))
    }

    /// Waits for leave, at most so long, and says how much of that is left; `None` once the gate is closed. Where nothing is left, the
    /// leave is given all the same: then r2d2 says that the time is over, in its words.
    pub(super) fn enter(&self, limit: Duration) -> Option<(Pass, Duration)> {
        let begun = Instant::now();
        let full = |state: &mut State| !state.closed && state.inside >= self.0.most;
        let waited = self.0.changed.wait_timeout_while(self.0.state(), limit, full);
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return None;
        }
        state.inside += 1;
        let left = if waited.timed_out() { Duration::ZERO } else { limit.saturating_sub(begun.elapsed()) };
        Some((Pass(self.0.clone()), left))
    }

    /// Nobody enters any more, and who waits is told.
    pub(super) fn close(&self) {
        self.0.state().closed = true;
        self.0.changed.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.state().closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVER: Duration = Duration::from_secs(3600);

    #[test]
    fn as_many_enter_as_there_may_be_and_one_more_for_each_that_leaves() {
        let gate = Gate::new(2);
        let (first, left) = gate.enter(EVER).unwrap();
        assert!(left <= EVER && left > Duration::ZERO);
        let _second = gate.enter(EVER).unwrap();
        assert_eq!(gate.enter(Duration::from_millis(1)).map(|(_, left)| left), Some(Duration::ZERO));
        let waiting = gate.clone();
        let third = std::thread::spawn(move || waiting.enter(EVER).is_some_and(|(_, left)| left > Duration::ZERO));
        drop(first);
        assert!(third.join().unwrap());
        assert_eq!(gate.0.state().inside, 1);
    }

    #[test]
    fn who_waits_is_told_when_it_closes_and_nobody_enters_any_more() {
        let gate = Gate::new(1);
        let inside = gate.enter(EVER).unwrap();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let gate = gate.clone();
                std::thread::spawn(move || gate.enter(EVER).is_none())
            })
            .collect();
        assert!(!gate.is_closed());
        gate.close();
        assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
        drop(inside);
        assert!(gate.is_closed() && gate.enter(EVER).is_none());
    }
}
