//! The loop: one session, one stream, one clock. Everything is waited for at once; only reading the message from its source may
//! block, and while it does nothing is owed to the peer. The head of a message is read before its commands are written, so
//! that a small one leaves in one piece.

use std::io::{self, ErrorKind, Read};

use smtp_proto::session::{Source, Step, Task};

use crate::stream::exchange;
use crate::{Error, Smtp, Transport};

impl<S: Transport> Smtp<S> {
    /// Runs until the task has an outcome.
    pub(crate) fn run<T: Task<io::Error, From: Read>>(&mut self, task: &mut T) -> Result<T::Outcome, Error> {
        loop {
            let now = self.clock.now();
            let hungry = match self.session.step(now, task) {
                Step::Done(outcome) => return Ok(outcome),
                Step::Failed(error) => return Err(error),
                Step::Turn(hungry) => hungry,
            };
            if !hungry.as_ref().is_some_and(|source| source.is_at_its_head()) {
                let did = exchange(&mut self.stream, self.session.turn(now), now, hungry.is_some());
                did.into_iter().flatten().for_each(|did| self.session.did(did));
            }
            hungry.into_iter().for_each(fetch);
        }
    }

    /// Does what can be done at once.
    pub(crate) fn catch_up(&mut self) {
        loop {
            let now = self.clock.now();
            let did = exchange(&mut self.stream, self.session.turn(now), now, true);
            if did.iter().all(Option::is_none) {
                return;
            }
            did.into_iter().flatten().for_each(|did| self.session.did(did));
        }
    }
}

/// Reads what there is, at the head of a message as much as fits.
fn fetch<R: Read>(source: &mut Source<R, io::Error>) {
    source.fill(|from, into| {
        loop {
            match from.read(into) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    });
}
