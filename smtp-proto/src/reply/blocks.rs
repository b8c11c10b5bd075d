//! Where the texts of replies are kept.
//!
//! The rules of this file:
//!
//! - A short text lies beside its neighbours in a block; a long one is on its own. So who keeps a reply keeps a block at most,
//!   or that reply, and never what came with it.
//! - A block is filled once more when nobody keeps a text in it: a session whose replies are read and dropped does not
//!   allocate for them.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

/// Octets of a block: the replies to a message of a few recipients.
const BLOCK: usize = 256;

/// Blocks at most: the replies to a message of a hundred recipients, which are kept until it is settled.
const BLOCKS: usize = 32;

/// The blocks of one reader; the last one is being filled.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    blocks: Vec<BytesMut>,
}

impl Blocks {
    /// Moves `text` out, leaving it empty.
    pub(super) fn keep(&mut self, text: &mut Vec<u8>) -> Bytes {
        if text.len() > BLOCK {
            return core::mem::take(text).into_boxed_slice().into();
        }
        if text.is_empty() {
            return Bytes::new();
        }
        let block = self.with_room(text.len());
        block.extend_from_slice(text);
        text.clear();
        block.split().freeze()
    }

    fn with_room(&mut self, octets: usize) -> &mut BytesMut {
        if self.blocks.last().is_none_or(|block| block.capacity() < octets) {
            match self.blocks.iter_mut().position(|block| block.try_reclaim(BLOCK)) {
                Some(free) => {
                    let last = self.blocks.len() - 1;
                    self.blocks.swap(free, last);
                }
                None => {
                    if self.blocks.len() == BLOCKS {
                        self.blocks.clear();
                    }
                    self.blocks.push(BytesMut::with_capacity(BLOCK));
                }
            }
        }
        let last = self.blocks.len() - 1;
        &mut self.blocks[last]
    }

    /// Forgets all blocks; those that hold a reply somebody keeps stay as long as that. `false` where there is none.
    pub(super) fn give_back(&mut self) -> bool {
        !core::mem::take(&mut self.blocks).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_block_is_used_again_once_nobody_keeps_a_text_in_it() {
        let mut blocks = Blocks::default();
        let kept = blocks.keep(&mut b"kept".to_vec());
        for _ in 0..100 {
            assert_eq!(blocks.keep(&mut vec![b'x'; 100])[..], [b'x'; 100]);
        }
        assert_eq!(blocks.blocks.len(), 2, "one that is kept, and one that is used again and again");
        assert_eq!(&kept[..], b"kept");
        drop(kept);
        for _ in 0..100 {
            blocks.keep(&mut vec![b'x'; BLOCK]);
        }
        assert_eq!(blocks.blocks.len(), 2);
    }

    #[test]
    fn texts_that_are_kept_stay_as_they_are() {
        let mut blocks = Blocks::default();
        let texts: Vec<_> = (0..2000_usize).map(|n| vec![n as u8; n % 300]).collect();
        let kept: Vec<_> = texts.iter().map(|text| blocks.keep(&mut text.clone())).collect();
        assert!(kept.iter().zip(&texts).all(|(kept, text)| kept[..] == text[..]));
        assert!(blocks.blocks.len() <= BLOCKS);
    }
}
