//! What an input says: the owner's decisions, then the peer's octets.
//!
//! The rules of this file: every input means something, however short it is.

use crate::laws::Cut;

/// What the owner does, an octet a decision; nothing but zeroes once it is used up.
pub(super) struct Control<'a>(&'a [u8]);

impl<'a> Control<'a> {
    pub(super) fn split(input: &'a [u8]) -> (Self, &'a [u8]) {
        let Some((length, rest)) = input.split_first() else { return (Self(&[]), &[]) };
        let (control, data) = rest.split_at(rest.len().min(usize::from(*length)));
        (Self(control), data)
    }

    pub(super) fn next(&mut self) -> u8 {
        self.or_end().unwrap_or_default()
    }

    pub(super) fn or_end(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn flag(&mut self) -> bool {
        self.next() % 2 == 1
    }

    /// A cut: most often into small pieces, or once.
    pub(super) fn cut(&mut self) -> Cut {
        match self.next() {
            0 => Cut::Pieces(1),
            size @ 1..=127 => Cut::Pieces(usize::from(size)),
            at => Cut::At(usize::from(at - 127)),
        }
    }
}

/// What the peer says, turn by turn.
pub(super) fn turns(data: &[u8]) -> Vec<&[u8]> {
    data.split(|octet| *octet == 0xFE).collect()
}
