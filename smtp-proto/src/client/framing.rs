//! How a message is put on the wire: DATA and its dot, or the chunks of BDAT.
//!
//! The rules of this file: the first chunk that goes to a server which has not yet shown that it bears grouping is kept until
//! it is answered, so that nothing is lost where it does not.

use alloc::vec::Vec;

use crate::Misuse;
use crate::body::{Chunks, DotStuffing, LineEndings};

/// The encoder of one message.
pub(super) enum Framing {
    Data(DotStuffing),
    Chunks(Chunks),
}

impl Framing {
    /// Where it is chunked, chunks are gathered in `room`, which is taken for it.
    pub(super) fn new(endings: LineEndings, chunked: bool, room: &mut Vec<u8>) -> Self {
        if chunked {
            Self::Chunks(Chunks::within(endings, core::mem::take(room)))
        } else {
            Self::Data(DotStuffing::new(endings))
        }
    }

    /// The message is out: what it was gathered in is free for the next.
    pub(super) fn take_room(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Data(_) => None,
            Self::Chunks(chunks) => Some(chunks.take_room()),
        }
    }

    pub(super) fn is_chunked(&self) -> bool {
        matches!(self, Self::Chunks(_))
    }

    /// A chunk is complete, and must be put out before more is written.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Chunks(chunks) if chunks.is_full())
    }

    /// Takes octets from the front of `piece`, and says how many.
    pub(super) fn write(&mut self, piece: &[u8], output: &mut Vec<u8>) -> Result<usize, Misuse> {
        match self {
            Self::Data(stuffing) => stuffing.write(piece, output).map(|()| piece.len()),
            Self::Chunks(chunks) => chunks.write(piece),
        }
    }
}
