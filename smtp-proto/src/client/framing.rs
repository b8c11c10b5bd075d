//! How a message is put on the wire: DATA and its dot, or the chunks of BDAT.
//!
//! The rules of this file: the first chunk that goes to a server which has not yet shown that it bears grouping is kept until
//! it is answered, so that nothing is lost where it does not. What goes out as it is is not copied where it fills a record.

use alloc::vec::Vec;

use crate::Misuse;
use crate::body::{Chunks, DotStuffing, LineEndings};
use crate::connection::Seal;

/// The encoder of one message.
pub(super) enum Framing {
    Data(DotStuffing),
    Chunks(Chunks),
}

/// Which chunk is put out.
pub(super) enum Which<'a> {
    /// One that is full with these octets, which were not gathered.
    Full(&'a [u8]),
    /// What was gathered, with which the message ends.
    Last,
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

    /// Whether anything goes on the wire where `piece` is next. A chunk that is not full with it is but gathered.
    pub(super) fn puts_out(&self, piece: &[u8]) -> bool {
        match self {
            Self::Data(_) => true,
            Self::Chunks(chunks) => chunks.reaches_beyond(piece),
        }
    }

    /// How many octets at the front of `piece` complete a chunk that is to be put out with them now; they count as written.
    pub(super) fn complete(&mut self, piece: &[u8]) -> Option<usize> {
        match self {
            Self::Data(_) => None,
            Self::Chunks(chunks) => chunks.complete(piece),
        }
    }

    /// Takes octets from the front of `piece`, and says how many, no more than `room` where they go on the wire.
    pub(super) fn write(
        &mut self,
        piece: &[u8],
        room: usize,
        output: &mut Vec<u8>,
        seal: Option<&mut Seal<'_>>,
    ) -> Result<usize, Misuse> {
        let stuffing = match self {
            Self::Data(stuffing) => stuffing,
            Self::Chunks(chunks) => return chunks.write(piece),
        };
        let piece = &piece[..piece.len().min(room)];
        match seal {
            Some(seal) => write_sealed(stuffing, piece, output, seal),
            None => stuffing.write(piece, output).map(|()| piece.len()),
        }
    }
}

/// Octets of DATA on their way to be sealed: a record is filled from where they lie, and `output` holds what is less than one
/// or is not as it was.
fn write_sealed(
    stuffing: &mut DotStuffing,
    piece: &[u8],
    output: &mut Vec<u8>,
    seal: &mut Seal<'_>,
) -> Result<usize, Misuse> {
    let mut rest = piece;
    while !rest.is_empty() {
        seal.seal_records(output);
        let missing = Seal::RECORD - output.len();
        let passed = stuffing.pass(&rest[..rest.len().min(missing)]);
        let (as_it_is, behind) = rest.split_at(passed);
        rest = behind;
        if passed == missing {
            seal.seal(output, [as_it_is, &[]]);
            continue;
        }
        output.extend_from_slice(as_it_is);
        match stuffing.write_block(rest, output) {
            Ok(written) => rest = &rest[written..],
            // What stands before it was taken, and is told first.
            Err(_) if rest.len() < piece.len() => break,
            Err(misuse) => return Err(misuse),
        }
    }
    Ok(piece.len() - rest.len())
}
