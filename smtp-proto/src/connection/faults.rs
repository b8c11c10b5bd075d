//! Misbehaviour on purpose: a server that is slow to speak, or gone in the middle.
//!
//! The rules of this file: it stands between the stack and the transport, and sees octets only; time is told, so a slow
//! server is tried without waiting for it.

use core::time::Duration;

use proxy_proto::{Deadline, Instant};

use super::Wants;
use crate::phase;

/// What is done wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Waits so long before each time it speaks, the greeting too.
    pub delay: Duration,
    /// Is gone without a word once so many octets have come from the client; 0 is gone at once.
    pub cut_after: Option<u64>,
}

/// Faults, and how far they have come.
#[derive(Debug, Default)]
pub(super) struct Faulty {
    faults: Faults,
    received: u64,
    /// Since when there is something to say.
    since: Option<Instant>,
}

impl Faulty {
    pub(super) fn new(faults: Faults) -> Self {
        Self { faults, ..Self::default() }
    }

    pub(super) fn received(&mut self, n: usize) {
        self.received += n as u64;
    }

    pub(super) fn has_cut(&self) -> bool {
        self.faults.cut_after.is_some_and(|most| self.received >= most)
    }

    /// What is wanted in spite of all; `over` where nothing more will come of the connection.
    pub(super) fn spoil<'a>(&mut self, now: Instant, wants: Wants<'a>, over: bool) -> Wants<'a> {
        let Wants { mut read, mut write, mut deadline } = wants;
        if self.has_cut() {
            let at_once = Deadline { at: now, watching: phase::COMMAND };
            return Wants { read: &mut [], write: &[], deadline: Some(at_once).filter(|_| !over) };
        }
        if let Some(most) = self.faults.cut_after {
            let left = usize::try_from(most - self.received).unwrap_or(usize::MAX);
            let room = read.len().min(left);
            read = &mut read[..room];
        }
        if write.is_empty() {
            self.since = None;
        } else if !self.faults.delay.is_zero() {
            let at = self.since.get_or_insert(now).after(self.faults.delay);
            if now < at {
                write = &[];
                deadline = Deadline::earlier(deadline, Some(Deadline { at, watching: phase::COMMAND }));
            }
        }
        Wants { read, write, deadline }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_said_waits() {
        let mut slow = Faulty::new(Faults { delay: SECOND, ..Faults::default() });
        let end = Instant::EPOCH.after(SECOND);
        let mut spoil = |now, write: &'static [u8]| {
            let mut room = [0];
            let wants = slow.spoil(now, Wants { read: &mut room, write, deadline: None }, false);
            (wants.write.to_vec(), wants.deadline.map(|deadline| deadline.at))
        };
        assert_eq!(spoil(Instant::EPOCH, b"a"), (b"".to_vec(), Some(end)));
        assert_eq!(spoil(end, b"ab"), (b"ab".to_vec(), None), "and what was added to it");
        assert_eq!(spoil(end, b""), (b"".to_vec(), None));
        assert_eq!(spoil(end, b"c"), (b"".to_vec(), Some(end.after(SECOND))), "each time");
    }

    #[test]
    fn it_is_gone_after_so_many_octets() {
        let mut gone = Faulty::new(Faults { cut_after: Some(3), ..Faults::default() });
        let room = |gone: &mut Faulty| {
            let mut room = [0; 9];
            let wants = gone.spoil(Instant::EPOCH, Wants { read: &mut room, write: b"x", deadline: None }, false);
            (wants.read.len(), wants.write.len())
        };
        assert_eq!(room(&mut gone), (3, 1));
        gone.received(2);
        assert_eq!((room(&mut gone), gone.has_cut()), ((1, 1), false));
        gone.received(1);
        assert_eq!((room(&mut gone), gone.has_cut()), ((0, 0), true));
    }
}
