//! The message on its way out: a handle that exists only while octets of it may go.
//!
//! The rules of this file: DATA's octets go out as they come, and under TLS from where they lie. So do those of BDAT that
//! complete a chunk; the others are gathered first, because its size stands before it. A handle that was obtained can always
//! be ended, also where the last chunk has to wait.

use alloc::vec::Vec;

use bytes::Buf;
use proxy_proto::Instant;

use super::Client;
use super::event::TransactionId;
use super::framing::Which;
use super::urls::ContentUrl;
use crate::Misuse;
use crate::connection::Seal;

/// The message being sent. Dropping the handle loses nothing: ask for it again.
pub struct Body<'a> {
    pub(super) client: &'a mut Client,
    pub(super) now: Instant,
    pub(super) output: &'a mut Vec<u8>,
    /// Where whole records may go, behind what `output` holds.
    pub(super) seal: Option<Seal<'a>>,
    /// Octets that `output` may hold, those sealed among them, before the transport must take some.
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
    /// hold a bare one, and [`Misuse::Nul`] where they hold a NUL. Nothing of them was taken; the message can only be [abandoned](Self::abandon).
    /// [`Misuse::NotOffered`] where the message is to come [from a URL](super::Envelope::burl), and the server offers BURL
    /// without CHUNKING.
    pub fn write(&mut self, chunk: &mut impl Buf) -> Result<usize, Misuse> {
        let (mut taken, chunking) = (0, self.client.extensions.chunking());
        while chunk.has_remaining() {
            let Some(transaction) = self.client.sending_body() else { break };
            if transaction.has_urls() && !chunking {
                return Err(Misuse::NotOffered { extension: "CHUNKING" });
            }
            let piece = chunk.chunk();
            let sealed = self.seal.as_ref().map_or(0, Seal::sealed);
            let room = self.room.saturating_sub(sealed + self.output.len());
            if room == 0 && transaction.framing.puts_out(piece) {
                break;
            }
            if let Some(rest) = transaction.framing.complete(piece) {
                transaction.octets += rest as u64;
                self.client.say_chunk(self.now, Which::Full(&piece[..rest]), self.output, self.seal.as_mut());
                chunk.advance(rest);
                taken += rest;
                continue;
            }
            let written = transaction.framing.write(piece, room, self.output, self.seal.as_mut())?;
            transaction.octets += written as u64;
            let on_the_wire = !transaction.framing.is_chunked();
            chunk.advance(written);
            taken += written;
            if on_the_wire {
                self.client.speak_body();
            }
        }
        Ok(taken)
    }

    /// Lets the server fetch the next part of the message from `url` (BURL, RFC 4468). What was written before ends with a line's
    /// end, which is added where it is missing.
    ///
    /// Gives `false` where replies must be waited for first; nothing of the URL was said then, and it is to be given again.
    ///
    /// # Errors
    ///
    /// [`Misuse::NotOffered`] where the envelope does not say that there are URLs
    /// ([`Envelope::burl`](super::Envelope::burl)), or the server does not offer CHUNKING: then a URL can only be all of the
    /// message.
    pub fn url(&mut self, url: &ContentUrl) -> Result<bool, Misuse> {
        self.check_urls()?;
        if !self.client.extensions.chunking() {
            return Err(Misuse::NotOffered { extension: "CHUNKING" });
        }
        Ok(self.client.say_part(self.now, url, self.output))
    }

    /// The message is complete with what the server fetches from `url`. It goes out by itself as soon as it may.
    ///
    /// # Errors
    ///
    /// [`Misuse::NotOffered`] where the envelope does not say that there are URLs; the message can be written on with another
    /// handle.
    pub fn end_with_url(mut self, url: ContentUrl) -> Result<(), Misuse> {
        self.check_urls()?;
        self.client.end_with_url(self.now, url, self.output);
        Ok(())
    }

    fn check_urls(&mut self) -> Result<(), Misuse> {
        match self.client.open_body() {
            Some(transaction) if transaction.has_urls() => Ok(()),
            _ => Err(Misuse::NotOffered { extension: "BURL" }),
        }
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
