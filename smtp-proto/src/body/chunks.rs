//! The chunks of BDAT (RFC 3030 section 2).
//!
//! The rules of this file:
//!
//! - A chunk's size stands before its octets, so one chunk is gathered at a time; the size of the message need not be known.
//! - Nothing is searched for an end, so nothing is doubled. Line endings are made as for DATA.
//! - How a message is cut into chunks depends on its octets alone, not on the pieces it was written in.
//! - What completes a chunk is put out from where it lies; only what is behind the last full chunk of a piece is gathered.

use alloc::vec::Vec;

use super::{DotStuffing, LineEndings};
use crate::{Misuse, text};

/// Encodes a message for BDAT.
#[derive(Clone, Debug)]
pub struct Chunks {
    /// `None` leaves line endings as they are.
    lines: Option<DotStuffing>,
    gathered: Vec<u8>,
}

impl Chunks {
    /// Octets of each chunk but the last: so many that the command before them and the reply cost nothing, and so few that
    /// they can be held. With that command they are 64 KiB, four records of TLS without a short one behind them.
    pub const SIZE: usize = 64 * 1024 - "BDAT 65524\r\n".len();

    /// An encoder at the head of a message.
    pub fn new(endings: LineEndings) -> Self {
        Self::within(endings, Vec::new())
    }

    /// The same, gathering in `room`.
    pub(crate) fn within(endings: LineEndings, mut room: Vec<u8>) -> Self {
        room.clear();
        let lines = (endings != LineEndings::Exact).then(|| DotStuffing::dotless(endings));
        Self { lines, gathered: room }
    }

    /// What chunks were gathered in; the encoder is of no use afterwards.
    pub(crate) fn take_room(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.gathered)
    }

    /// Takes octets from the front of `piece`, as many as the chunk under way has room for, and says how many. None where it
    /// [is full](Self::is_full).
    ///
    /// # Errors
    ///
    /// In [`LineEndings::Strict`], [`Misuse::BareLineEnding`] where these octets would put a bare CR or LF on the wire, and
    /// [`Misuse::Nul`] where a NUL; none was taken then.
    pub fn write(&mut self, piece: &[u8]) -> Result<usize, Misuse> {
        // One more than a chunk: then the message goes on, and this chunk is not the last.
        let room = (Self::SIZE + 1).saturating_sub(self.gathered.len());
        let piece = &piece[..piece.len().min(room)];
        match &mut self.lines {
            Some(lines) => lines.write(piece, &mut self.gathered)?,
            None => self.gathered.extend_from_slice(piece),
        }
        Ok(piece.len())
    }

    /// Takes all of these octets, which came from such an encoder before, at the head of a message.
    pub(crate) fn restore(&mut self, octets: &[u8]) -> Result<(), Misuse> {
        match &mut self.lines {
            Some(lines) => lines.write(octets, &mut self.gathered),
            None => {
                self.gathered.extend_from_slice(octets);
                Ok(())
            }
        }
    }

    /// Whether the message is known to go on behind this chunk once `piece` is written.
    pub(crate) fn reaches_beyond(&self, piece: &[u8]) -> bool {
        self.gathered.len() + piece.len() > Self::SIZE
    }

    /// How many octets at the front of `piece` complete this chunk as they are: none where it [is full](Self::is_full). They
    /// count as written, and are for [`chunk_with`](Self::chunk_with).
    ///
    /// `None` where they must be [written](Self::write): the message may end with them, or they go out as something else.
    pub(crate) fn complete(&mut self, piece: &[u8]) -> Option<usize> {
        if !self.reaches_beyond(piece) {
            return None;
        }
        let missing = Self::SIZE.saturating_sub(self.gathered.len());
        if let Some(lines) = &mut self.lines {
            let mut behind = lines.clone();
            if behind.pass(&piece[..missing]) < missing {
                return None;
            }
            *lines = behind;
        }
        Some(missing)
    }

    /// What was written and not put out.
    pub(crate) fn gathered(&self) -> &[u8] {
        &self.gathered
    }

    /// Completes the line under way; `true` where anything was gathered.
    pub(crate) fn complete_line(&mut self) -> bool {
        if let Some(lines) = &mut self.lines {
            lines.end_line(&mut self.gathered);
        }
        !self.gathered.is_empty()
    }

    /// Whether a chunk must be put out before more is written.
    pub fn is_full(&self) -> bool {
        self.gathered.len() > Self::SIZE
    }

    /// Appends a chunk with its command, and gives its size.
    pub fn chunk(&mut self, output: &mut Vec<u8>) -> usize {
        self.put(self.gathered.len().min(Self::SIZE), "", output)
    }

    /// Completes the last line, and appends the last chunk with its command, which may be empty; gives its size.
    pub fn end(&mut self, output: &mut Vec<u8>) -> usize {
        self.complete_line();
        self.put(self.gathered.len(), " LAST", output)
    }

    fn put(&mut self, size: usize, last: &str, output: &mut Vec<u8>) -> usize {
        self.put_with(size, last, &[], output, |output, gathered, _| output.extend_from_slice(gathered))
    }

    /// Appends the command of a full chunk, whose last octets are those that [complete](Self::complete) it, and gives its octets to
    /// `take`, those that were gathered first; gives its size.
    pub(crate) fn chunk_with(
        &mut self,
        completing: &[u8],
        output: &mut Vec<u8>,
        take: impl FnOnce(&mut Vec<u8>, &[u8], &[u8]),
    ) -> usize {
        let size = Self::SIZE.min(self.gathered.len() + completing.len());
        self.put_with(size, "", completing, output, take)
    }

    fn put_with(
        &mut self,
        size: usize,
        last: &str,
        completing: &[u8],
        output: &mut Vec<u8>,
        take: impl FnOnce(&mut Vec<u8>, &[u8], &[u8]),
    ) -> usize {
        text::put(output, format_args!("BDAT {size}{last}\r\n"));
        let gathered = size - completing.len();
        take(output, &self.gathered[..gathered], completing);
        self.gathered.drain(..gathered);
        size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(message: &[u8], piece: usize, endings: LineEndings) -> Result<Vec<u8>, Misuse> {
        let (mut wire, mut chunks) = (Vec::new(), Chunks::new(endings));
        for mut piece in message.chunks(piece) {
            while !piece.is_empty() {
                let taken = chunks.write(piece)?;
                assert!(taken > 0, "a chunk that is full is put out at once here");
                piece = &piece[taken..];
                while chunks.is_full() {
                    assert_eq!(chunks.chunk(&mut wire), Chunks::SIZE);
                }
            }
        }
        chunks.end(&mut wire);
        Ok(wire)
    }

    #[test]
    fn a_small_message_is_one_chunk_and_nothing_is_doubled() {
        for (message, wire) in [
            (&b""[..], &b"BDAT 0 LAST\r\n"[..]),
            (b".", b"BDAT 3 LAST\r\n.\r\n"),
            (b"a\n.\n", b"BDAT 6 LAST\r\na\r\n.\r\n"),
            (b"a\r", b"BDAT 3 LAST\r\na\r\n"),
            (b"a\r\n", b"BDAT 3 LAST\r\na\r\n"),
        ] {
            for piece in [1, 2, 100] {
                assert_eq!(encode(message, piece, LineEndings::Canonical).unwrap(), wire);
            }
        }
        assert_eq!(encode(b"a\nb\r", 1, LineEndings::Exact).unwrap(), b"BDAT 4 LAST\r\na\nb\r");
        assert_eq!(encode(b"a\nb", 9, LineEndings::Strict), Err(Misuse::BareLineEnding));
        assert_eq!(encode(b"a\0b", 9, LineEndings::Strict), Err(Misuse::Nul));
        assert_eq!(encode(b"a\0b", 9, LineEndings::Canonical).unwrap(), b"BDAT 5 LAST\r\na\0b\r\n");
    }

    #[test]
    fn a_large_message_is_cut_by_its_octets_alone() {
        let message = b"0123456\n.89\r\n".repeat(20_000);
        let whole = encode(&message, message.len(), LineEndings::Canonical).unwrap();
        for piece in [1, 7, 1000, 65_537] {
            assert!(encode(&message, piece, LineEndings::Canonical).unwrap() == whole, "pieces of {piece}");
        }
        let (mut rest, mut content) = (&whole[..], Vec::new());
        while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
            let line = core::str::from_utf8(&rest[..end]).unwrap();
            let size: usize = line.split(' ').nth(1).unwrap().parse().unwrap();
            content.extend_from_slice(&rest[end + 2..][..size]);
            rest = &rest[end + 2 + size..];
            assert_eq!(rest.is_empty(), line.ends_with(" LAST"));
        }
        assert!(content == b"0123456\r\n.89\r\n".repeat(20_000));
        // A message of just one chunk needs no empty last one.
        let one = encode(&[b'x'; Chunks::SIZE], 1000, LineEndings::Exact).unwrap();
        assert!(one.starts_with(b"BDAT 65524 LAST\r\n"));
    }

    #[test]
    fn what_was_gathered_is_gathered_again_by_another_encoder() {
        for endings in [LineEndings::Canonical, LineEndings::Strict, LineEndings::Exact] {
            // Longer than a chunk, as what is played again may be; a line's end and a dot stand at every cut once.
            let message = [&b"x".repeat(Chunks::SIZE - 4)[..], b"\r\n.a\r\n..b\r\n"].concat();
            for cut in [0, 1, Chunks::SIZE - 3, Chunks::SIZE - 2, Chunks::SIZE - 1, Chunks::SIZE] {
                let (head, tail) = message.split_at(cut);
                let (mut first, mut second) = (Chunks::new(endings), Chunks::new(endings));
                assert_eq!(first.write(head), Ok(head.len()));
                assert!(first.gathered() == head);
                second.restore(first.gathered()).unwrap();
                second.restore(tail).unwrap();
                assert!(second.gathered() == message && second.is_full());
                let mut wire = Vec::new();
                assert_eq!(second.chunk(&mut wire), Chunks::SIZE);
                assert_eq!(second.end(&mut wire), message.len() - Chunks::SIZE);
            }
        }
        assert_eq!(Chunks::new(LineEndings::Strict).restore(b"a\nb"), Err(Misuse::BareLineEnding));
    }

    #[test]
    fn what_a_server_fetches_begins_on_a_line_of_its_own() {
        for (endings, written, gathered) in [
            (LineEndings::Canonical, &b""[..], &b""[..]),
            (LineEndings::Canonical, b"a", b"a\r\n"),
            (LineEndings::Canonical, b"a\r", b"a\r\n"),
            (LineEndings::Canonical, b"a\r\n", b"a\r\n"),
            (LineEndings::Exact, b"", b""),
            (LineEndings::Exact, b"a", b"a"),
        ] {
            let mut chunks = Chunks::new(endings);
            chunks.write(written).unwrap();
            assert_eq!(chunks.complete_line(), !gathered.is_empty());
            assert_eq!(chunks.gathered(), gathered);
        }
    }

    #[test]
    fn the_room_is_handed_on_and_nothing_in_it() {
        let room = Vec::with_capacity(3 * Chunks::SIZE);
        let mut first = Chunks::within(LineEndings::Canonical, room);
        first.write(b"of the message before").unwrap();
        let room = first.take_room();
        assert!(room.capacity() >= 3 * Chunks::SIZE);
        let (mut second, mut wire) = (Chunks::within(LineEndings::Canonical, room), Vec::new());
        assert_eq!(second.end(&mut wire), 0);
        assert_eq!(wire, b"BDAT 0 LAST\r\n");
    }

    #[test]
    fn a_chunk_is_full_where_the_message_is_known_to_go_on() {
        let mut chunks = Chunks::new(LineEndings::Exact);
        // RFC 3030 leaves sizes to the client, and RFC 8446 section 5.1 has 2^14 octets in a record.
        assert_eq!("BDAT 65524\r\n".len() + Chunks::SIZE, 4 << 14);
        assert_eq!(chunks.write(&[b'x'; Chunks::SIZE]), Ok(Chunks::SIZE));
        assert!(!chunks.is_full());
        assert_eq!(chunks.write(b"yz"), Ok(1));
        assert!(chunks.is_full());
        assert_eq!(chunks.write(b"z"), Ok(0));
        let mut wire = Vec::new();
        assert_eq!((chunks.chunk(&mut wire), chunks.is_full()), (Chunks::SIZE, false));
        assert_eq!(chunks.gathered(), b"y");
        // Line endings that become longer may pass the mark by as much as they grow.
        let mut chunks = Chunks::new(LineEndings::Canonical);
        assert_eq!(chunks.write(&[b'\n'; Chunks::SIZE + 1]), Ok(Chunks::SIZE + 1));
        assert!(chunks.is_full());
    }

    #[test]
    fn a_full_chunk_can_be_taken_apart_from_its_command() {
        let mut chunks = Chunks::new(LineEndings::Exact);
        chunks.write(&[b'x'; Chunks::SIZE + 1]).unwrap();
        assert_eq!(chunks.complete(b"y"), Some(0), "it is full");
        let (mut wire, mut taken) = (Vec::new(), Vec::new());
        let size = chunks.chunk_with(b"", &mut wire, |_, gathered, _| taken.extend_from_slice(gathered));
        assert_eq!((size, &wire[..]), (Chunks::SIZE, &b"BDAT 65524\r\n"[..]));
        assert!(taken == [b'x'; Chunks::SIZE] && chunks.gathered() == b"x");
    }

    #[test]
    fn what_completes_a_chunk_is_not_gathered_and_makes_the_same_chunks() {
        // With a line's end at every place around a chunk's end, and something to be changed here and there.
        let lines = b"0123456789\r\n".repeat(20_000);
        let shifted = |by: usize| [&b"x"[..by], &lines].concat();
        let odd = [&lines[..100_000], b"a\nb\rc", &lines[100_000..]].concat();
        let messages = [lines.clone(), shifted(1), [&b"xxxxxx"[..], &lines].concat(), odd, b"\n".repeat(100_000)];
        for (message, endings) in
            messages.iter().flat_map(|message| [(message, LineEndings::Canonical), (message, LineEndings::Exact)])
        {
            let expected = encode(message, message.len(), endings).unwrap();
            for piece in [1000, Chunks::SIZE, Chunks::SIZE + 1, 1 << 16, message.len()] {
                let (mut wire, mut chunks, mut passed) = (Vec::new(), Chunks::new(endings), 0);
                for mut piece in message.chunks(piece) {
                    while !piece.is_empty() {
                        let taken = match chunks.complete(piece) {
                            Some(rest) => {
                                chunks.chunk_with(&piece[..rest], &mut wire, |wire, gathered, rest| {
                                    wire.extend_from_slice(gathered);
                                    wire.extend_from_slice(rest);
                                });
                                passed += rest;
                                rest
                            }
                            None => chunks.write(piece).unwrap(),
                        };
                        piece = &piece[taken..];
                    }
                }
                while chunks.is_full() {
                    chunks.chunk(&mut wire);
                }
                chunks.end(&mut wire);
                assert!(wire == expected, "pieces of {piece}");
                assert!(passed > 0 || piece <= Chunks::SIZE || message[0] == b'\n', "pieces of {piece}");
            }
        }
    }

    #[test]
    fn what_may_be_the_end_completes_no_chunk() {
        let mut chunks = Chunks::new(LineEndings::Canonical);
        chunks.write(b"x").unwrap();
        assert!(!chunks.reaches_beyond(&[b'x'; Chunks::SIZE - 1]));
        assert_eq!(chunks.complete(&[b'x'; Chunks::SIZE - 1]), None);
        assert_eq!(chunks.complete(&[b'\n'; Chunks::SIZE]), None, "each of them becomes two");
        assert_eq!(chunks.complete(&[b'x'; Chunks::SIZE]), Some(Chunks::SIZE - 1));
        let mut strict = Chunks::new(LineEndings::Strict);
        assert_eq!(strict.complete(&[b'\n'; Chunks::SIZE + 1]), None);
        assert_eq!(strict.write(b"\n"), Err(Misuse::BareLineEnding));
    }
}
