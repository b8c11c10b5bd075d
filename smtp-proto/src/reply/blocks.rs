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

    #[test]
    fn a_block_is_filled_to_its_end_and_never_grows() {
        let mut blocks = Blocks::default();
        let halves = [BLOCK / 2; 2].map(|octets| blocks.keep(&mut vec![b'x'; octets]));
        assert_eq!(blocks.blocks.len(), 1, "two halves fill a block");
        let third = blocks.keep(&mut vec![b'y'; 1]);
        assert_eq!(blocks.blocks.len(), 2, "an octet more takes another");
        assert_eq!(&third[..], b"y");
        // Nine tenths each: what does not fit is not put there.
        let kept: Vec<_> = (0..5).map(|_| blocks.keep(&mut vec![b'z'; BLOCK * 9 / 10])).collect();
        assert_eq!(blocks.blocks.len(), 2 + 4, "the first of them still fits behind that octet");
        assert!(kept.iter().all(|text| text[..] == vec![b'z'; BLOCK * 9 / 10]));
        assert!(halves.iter().all(|text| text[..] == [b'x'; BLOCK / 2]));
    }

    #[test]
    fn a_text_has_a_block_up_to_its_size_and_is_alone_beyond() {
        let mut blocks = Blocks::default();
        assert!(!blocks.give_back(), "there is none yet");
        let mut text = vec![b'x'; BLOCK + 1];
        assert_eq!(blocks.keep(&mut text).len(), BLOCK + 1);
        assert!(text.is_empty() && blocks.blocks.is_empty());
        let mut text = vec![b'x'; BLOCK];
        let kept = blocks.keep(&mut text);
        assert!(text.is_empty() && blocks.blocks.len() == 1);
        assert!(blocks.give_back());
        assert_eq!(kept[..], [b'x'; BLOCK], "who keeps it keeps it");
        assert!(!blocks.give_back());
    }
}
