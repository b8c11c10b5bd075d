//! The two buffers at the wire: what was received and not read yet, what was written and not sent yet.
//!
//! The rules of this file: octets are moved only when room runs out, or when more have left than are to be moved; room grows
//! where a read has filled it; an empty buffer can be given back, and a session that is idle takes little to be able to hear.

use alloc::vec::Vec;

/// Octets of one read from the transport, at most.
const READ: usize = 16 * 1024;

/// Octets of the first one: the replies to a group of commands.
const FIRST: usize = 1024;

/// Octets of one while the session is idle, when a 421 is all that can come. What is not larger is kept.
const IDLE: usize = 64;

/// What was received and not read yet.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    octets: Vec<u8>,
    start: usize,
    end: usize,
    /// The latest read has filled the room it had.
    filled: bool,
}

impl Incoming {
    pub(super) fn unread(&self) -> &[u8] {
        &self.octets[self.start..self.end]
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.start += n;
        if self.start >= self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Room for the transport to read into; empty while nothing is read out.
    pub(super) fn space(&mut self, idle: bool) -> &mut [u8] {
        let grown = if self.filled { self.octets.len() * 4 } else { 0 };
        let wanted = grown.clamp(if idle { IDLE } else { FIRST }, READ);
        if self.octets.len() < wanted {
            self.octets.resize(wanted, 0);
        }
        self.filled = false;
        if self.end == self.octets.len() && self.start > 0 {
            self.octets.copy_within(self.start.., 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.octets[self.end..]
    }

    /// The transport has put `n` octets into [`space`](Self::space).
    pub(super) fn fill(&mut self, n: usize) {
        self.end = (self.end + n).min(self.octets.len());
        self.filled = n > 0 && self.end == self.octets.len();
    }

    pub(super) fn give_back(&mut self) {
        if self.start == self.end && self.octets.len() > IDLE {
            *self = Self::default();
        }
    }
}

/// What was written and not sent yet.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    octets: Vec<u8>,
    sent: usize,
    /// Octets ever handed to the transport.
    handed_over: u64,
    /// Octets written that will never be.
    discarded: u64,
}

impl Outgoing {
    pub(super) fn unsent(&self) -> &[u8] {
        &self.octets[self.sent..]
    }

    /// Where to append.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        // A transport that never takes all of it must not make it grow.
        if self.sent > self.octets.len() - self.sent {
            self.octets.drain(..self.sent);
            self.sent = 0;
        }
        &mut self.octets
    }

    pub(super) fn sent(&mut self, n: usize) {
        let n = n.min(self.octets.len() - self.sent);
        self.sent += n;
        self.handed_over += n as u64;
        if self.sent == self.octets.len() {
            self.octets.clear();
            self.sent = 0;
        }
    }

    pub(super) fn discard(&mut self) {
        self.discarded += self.unsent().len() as u64;
        self.octets.clear();
        self.sent = 0;
    }

    /// How far the transport has taken what was written, counted from the first octet of the connection.
    pub(super) fn handed_over(&self) -> u64 {
        self.handed_over
    }

    /// Where the last octet written so far stands, on the same scale.
    pub(super) fn written(&self) -> u64 {
        self.handed_over + self.discarded + self.unsent().len() as u64
    }

    pub(super) fn give_back(&mut self) {
        if self.unsent().is_empty() && self.octets.capacity() > IDLE {
            self.octets = Vec::new();
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_is_read_in_order() {
        let mut buffer = Incoming::default();
        buffer.space(false)[..3].copy_from_slice(b"abc");
        buffer.fill(3);
        buffer.consume(1);
        assert_eq!(buffer.unread(), b"bc");
        while buffer.octets.len() < READ {
            let room = buffer.space(false).len();
            buffer.fill(room);
        }
        let room = buffer.space(false).len();
        buffer.fill(room);
        buffer.consume(1);
        assert_eq!(buffer.space(false).len(), 1, "what was read makes room");
        assert_eq!(&buffer.unread()[..1], b"c");
        assert_eq!(buffer.unread().len(), READ - 1, "and no more than that is held");
    }

    #[test]
    fn room_grows_where_it_was_filled_and_is_given_back() {
        let mut buffer = Incoming::default();
        assert_eq!(buffer.space(true).len(), IDLE);
        assert_eq!(buffer.space(false).len(), FIRST);
        buffer.fill(FIRST - 1);
        buffer.consume(FIRST - 1);
        assert_eq!(buffer.space(false).len(), FIRST, "it was enough");
        buffer.fill(FIRST);
        assert_eq!(buffer.space(false).len(), 3 * FIRST);
        buffer.give_back();
        assert_eq!(buffer.octets.len(), 4 * FIRST, "not while it holds something");
        buffer.consume(FIRST);
        buffer.give_back();
        assert_eq!(buffer.octets.capacity(), 0);
    }

    #[test]
    fn what_has_left_takes_no_room_though_the_rest_never_leaves() {
        let mut buffer = Outgoing::default();
        buffer.tail().extend_from_slice(&[0; 100]);
        for turn in 1..1000 {
            buffer.tail().extend_from_slice(&[turn as u8; 100]);
            buffer.sent(100);
            assert_eq!(buffer.unsent(), [turn as u8; 100]);
        }
        assert_eq!((buffer.handed_over(), buffer.written()), (99_900, 100_000));
        assert!(buffer.octets.capacity() <= 1000, "{}", buffer.octets.capacity());
    }

    #[test]
    fn what_was_handed_over_is_counted() {
        let mut buffer = Outgoing::default();
        buffer.tail().extend_from_slice(b"hello");
        assert_eq!((buffer.handed_over(), buffer.written()), (0, 5));
        buffer.sent(2);
        assert_eq!((buffer.handed_over(), buffer.written(), buffer.unsent()), (2, 5, &b"llo"[..]));
        buffer.sent(3);
        assert_eq!((buffer.handed_over(), buffer.written()), (5, 5));
        buffer.tail().extend_from_slice(b"lost");
        buffer.discard();
        assert_eq!((buffer.handed_over(), buffer.written()), (5, 9), "what is discarded was not handed over");
    }
}
