//! The message on its way out: a handle that exists only while octets of it may go.

use alloc::vec::Vec;

use bytes::Buf;
use proxy_proto::Instant;

use super::Client;
use super::event::TransactionId;
use crate::Misuse;

/// The message being sent. Dropping the handle loses nothing: ask for it again.
pub struct Body<'a> {
    pub(super) client: &'a mut Client,
    pub(super) now: Instant,
    pub(super) output: &'a mut Vec<u8>,
    /// Octets that `output` may hold before the transport must take some.
    pub(super) room: usize,
}

impl Body<'_> {
    /// The transaction this message belongs to.
    pub fn transaction(&mut self) -> Option<TransactionId> {
        self.client.sending_body().map(|transaction| transaction.id)
    }

    /// Takes octets from the front of `chunk`, and says how many; fewer than all means "write first".
    ///
    /// Memory stays constant whatever the size of the message, because no more is taken than what fits.
    ///
    /// # Errors
    ///
    /// [`Misuse::BareLineEnding`] where line endings are [`Strict`](crate::body::LineEndings::Strict) and the next octets
    /// hold a bare one. Nothing of them was taken; the message can only be [abandoned](Self::abandon).
    pub fn write(&mut self, chunk: &mut impl Buf) -> Result<usize, Misuse> {
        let mut taken = 0;
        while chunk.has_remaining() && self.output.len() < self.room {
            let piece = chunk.chunk();
            let piece = &piece[..piece.len().min(self.room - self.output.len())];
            let Some(transaction) = self.client.sending_body() else { break };
            transaction.body.write(piece, self.output)?;
            transaction.octets += piece.len() as u64;
            let length = piece.len();
            chunk.advance(length);
            taken += length;
        }
        if taken > 0 {
            self.client.speak_body();
        }
        Ok(taken)
    }

    /// The message is complete. This consumes the handle: no octet can follow the dot.
    pub fn end(self) {
        self.client.end_body(self.now, self.output);
    }

    /// Gives the message up. The server must not take a part for the whole, so the session ends here.
    pub fn abandon(self) {
        self.client.abandon_body();
    }
}
