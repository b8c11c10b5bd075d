//! The two buffers at the wire: what was received and not read yet, what was written and not sent yet.
//!
//! The rules of this file: octets are moved only when room runs out; an empty buffer can be given back.

use alloc::vec::Vec;

/// Octets of one read from the transport, at most.
const READ: usize = 16 * 1024;

/// What was received and not read yet.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    octets: Vec<u8>,
    start: usize,
    end: usize,
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
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.octets.is_empty() {
            self.octets.resize(READ, 0);
        }
        if self.end == self.octets.len() && self.start > 0 {
            self.octets.copy_within(self.start.., 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.octets[self.end..]
    }

    /// The transport has put `n` octets into [`space`](Self::space).
    pub(super) fn fill(&mut self, n: usize) {
        self.end = (self.end + n).min(self.octets.len());
    }

    pub(super) fn give_back(&mut self) {
        if self.start == self.end {
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
        if self.unsent().is_empty() {
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
        buffer.space()[..3].copy_from_slice(b"abc");
        buffer.fill(3);
        buffer.consume(1);
        assert_eq!(buffer.unread(), b"bc");
        let room = buffer.space().len();
        buffer.fill(room);
        assert_eq!(buffer.space().len(), 1, "what was read makes room");
        assert_eq!(&buffer.unread()[..2], b"bc");
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
