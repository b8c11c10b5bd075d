//! A message on its way: where its octets are read from, and how far it is.
//!
//! The rules of this file: nothing is read here, because every runtime reads in its own way; what was read waits here until
//! the connection takes it.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use proxy_proto::Instant;

use super::Error;
use crate::Connection;
use crate::client::TransactionId;

/// Octets of a message that are read from its source at once.
const CHUNK: usize = 64 * 1024;

/// How far a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Which message: they are counted from 1 on each connection.
    pub transaction: TransactionId,
    /// Octets that the connection has taken.
    pub taken: u64,
    /// Octets in all, where the [envelope](crate::client::Envelope::size) says so.
    pub total: Option<u64>,
}

/// A message on its way: what was read of it, and not taken.
pub struct Source<R, E> {
    pub(super) id: TransactionId,
    total: Option<u64>,
    from: R,
    chunk: Vec<u8>,
    unread: Range<usize>,
    taken: u64,
    begun: bool,
    ended: bool,
    /// The connection has all of it, or will never have it.
    over: bool,
    pub(super) failed: Option<Error<E>>,
}

/// What became of an attempt to hand a message over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fed {
    /// The connection has enough for now.
    Enough,
    /// It would take more.
    Hungry,
    /// It has the whole message, or will never have it.
    Whole,
}

impl<R, E> Source<R, E> {
    pub(super) fn new(id: TransactionId, total: Option<u64>, from: R) -> Self {
        Self {
            id,
            total,
            from,
            chunk: Vec::new(),
            unread: 0..0,
            taken: 0,
            begun: false,
            ended: false,
            over: false,
            failed: None,
        }
    }

    /// Where the next octets are to be read from, and into; tell it with [`fetched`](Self::fetched).
    pub fn fetch(&mut self) -> (&mut R, &mut [u8]) {
        self.chunk.resize(CHUNK, 0);
        (&mut self.from, &mut self.chunk)
    }

    /// `true` until something was read of it: with its first octets at hand a small message leaves in one piece with its
    /// commands, so these are worth waiting for.
    pub fn is_at_its_head(&self) -> bool {
        !self.begun
    }

    /// So many octets were read, 0 at its end; or it cannot be read, and is given up.
    pub fn fetched(&mut self, fetched: Result<usize, E>) {
        self.begun = true;
        match fetched {
            Ok(n) => {
                self.unread = 0..n.min(self.chunk.len());
                self.ended = n == 0;
            }
            Err(error) => self.failed = Some(Error::Message(error)),
        }
    }

    /// [Fetches](Self::fetch) with a `read` that waits, for runtimes where it may: at the head of a message until there is no
    /// more room, else once. An end that is met on the way leaves in one piece with what stands before it.
    pub fn fill(&mut self, mut read: impl FnMut(&mut R, &mut [u8]) -> Result<usize, E>) {
        let head = self.is_at_its_head();
        let (from, into) = self.fetch();
        let mut got = 0;
        let ended = loop {
            match read(from, into.get_mut(got..).unwrap_or_default()) {
                Ok(0) => break Ok(true),
                Ok(n) => got += n,
                Err(error) => break Err(error),
            }
            if !head || got >= into.len() {
                break Ok(false);
            }
        };
        let met = matches!(ended, Ok(true));
        self.fetched(ended.map(|_| got));
        self.ended |= met;
    }

    /// Nothing more is to be read of it.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Hands over what was read, if it is this message's turn.
    pub(super) fn feed(&mut self, now: Instant, connection: &mut Connection) -> Option<(Fed, Option<Progress>)> {
        if self.over {
            return None;
        }
        let mut body = connection.body(now)?;
        if body.transaction() != Some(self.id) {
            return None;
        }
        let mut grown = false;
        let mut octets = self.chunk.get(self.unread.clone()).unwrap_or_default();
        match body.write(&mut octets) {
            _ if self.failed.is_some() => {}
            Err(misuse) => self.failed = Some(misuse.into()),
            Ok(n) => {
                self.unread.start += n;
                self.taken += n as u64;
                grown = n > 0;
            }
        }
        let fed = if self.failed.is_some() {
            body.abandon();
            self.over = true;
            Fed::Whole
        } else if !self.unread.is_empty() {
            Fed::Enough
        } else if self.ended {
            body.end();
            self.over = true;
            Fed::Whole
        } else {
            Fed::Hungry
        };
        let progress = Progress { transaction: self.id, taken: self.taken, total: self.total };
        Some((fed, grown.then_some(progress)))
    }
}

impl<R, E> fmt::Debug for Source<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("id", &self.id).field("taken", &self.taken).finish_non_exhaustive()
    }
}
