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
    pub(super) fn write(
        &mut self,
        piece: &[u8],
        output: &mut Vec<u8>,
        seal: Option<&mut Seal<'_>>,
    ) -> Result<usize, Misuse> {
        match (self, seal) {
            (Self::Data(stuffing), Some(seal)) => write_sealed(stuffing, piece, output, seal),
            (Self::Data(stuffing), None) => stuffing.write(piece, output).map(|()| piece.len()),
            (Self::Chunks(chunks), _) => chunks.write(piece),
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
            seal.seal(output, as_it_is);
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
