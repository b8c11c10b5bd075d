//! Octets on their way, in one direction.
//!
//! The rules of this file: whatever is put in comes out in its order, and so much later; the end of the stream too.

use std::collections::VecDeque;
use std::time::Duration;

use smtp_proto::Instant;

pub(super) struct Pipe {
    takes: Duration,
    /// `None` is the end.
    under_way: VecDeque<(Instant, Option<Vec<u8>>)>,
}

impl Pipe {
    pub(super) fn new(takes: Duration) -> Self {
        Self { takes, under_way: VecDeque::new() }
    }

    pub(super) fn put(&mut self, now: Instant, octets: &[u8]) {
        self.under_way.push_back((now.after(self.takes), Some(octets.to_vec())));
    }

    pub(super) fn end(&mut self, now: Instant) {
        self.under_way.push_back((now.after(self.takes), None));
    }

    /// What has arrived.
    pub(super) fn take(&mut self, now: Instant) -> Option<Option<Vec<u8>>> {
        if self.next()? > now { None } else { self.under_way.pop_front().map(|(_, octets)| octets) }
    }

    /// When something arrives next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.under_way.front().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out_in_its_order_and_so_much_later() {
        let at = |ms| Instant::EPOCH.after(Duration::from_millis(ms));
        let mut pipe = Pipe::new(Duration::from_millis(20));
        assert_eq!((pipe.next(), pipe.take(at(0))), (None, None));
        pipe.put(at(1), b"one");
        pipe.put(at(5), b"two");
        pipe.end(at(5));
        assert_eq!((pipe.next(), pipe.take(at(20))), (Some(at(21)), None));
        assert_eq!((pipe.take(at(21)), pipe.take(at(21))), (Some(Some(b"one".to_vec())), None));
        assert_eq!((pipe.take(at(25)), pipe.take(at(25))), (Some(Some(b"two".to_vec())), Some(None)));
        assert_eq!(pipe.next(), None);
    }
}
