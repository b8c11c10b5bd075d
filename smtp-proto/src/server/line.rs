//! Lines from the client, one at a time (RFC 5321 section 2.3.8).
//!
//! The rules of this file:
//!
//! - A line ends at CRLF. One line, one reply: what is wrong with a line is reported once, as soon as it is certain, and the
//!   rest up to CRLF is swallowed.
//! - A bare LF is refused unless the setting says otherwise: two programs that do not agree where a line ends are how commands
//!   are smuggled past the first of them. Reporting it at once keeps a person at a terminal from waiting for nothing.
//! - What was held is wiped: it may have been a password.

use alloc::vec::Vec;

use zeroize::{Zeroize, Zeroizing};

/// What is wrong with a line, whatever it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LineFault {
    TooLong,
    BareLineFeed,
}

#[derive(Default)]
pub(super) struct Lines {
    held: Zeroizing<Vec<u8>>,
    /// LF alone ends a line too.
    lenient: bool,
    /// The line was reported already: it is gone up to its CRLF.
    swallowing: bool,
    /// The last octet swallowed was CR.
    after_cr: bool,
}

impl Lines {
    pub(super) fn new(lenient: bool) -> Self {
        Self { lenient, ..Self::default() }
    }

    /// Takes octets up to the end of a line and gives it without its end.
    ///
    /// `limit` counts the end, and may look at the line's head; it is never more than `longest`.
    pub(super) fn receive(
        &mut self,
        input: &mut &[u8],
        longest: usize,
        limit: impl Fn(&[u8]) -> usize,
    ) -> Option<Result<Zeroizing<Vec<u8>>, LineFault>> {
        while !input.is_empty() {
            let feed = memchr::memchr(b'\n', input);
            let (part, rest) = input.split_at(feed.map_or(input.len(), |at| at + 1));
            *input = rest;
            let after_cr = match part {
                [.., before, b'\n'] => *before == b'\r',
                _ => self.after_cr,
            };
            self.after_cr = part.last() == Some(&b'\r');
            let ended = feed.is_some() && (after_cr || self.lenient);
            if self.swallowing {
                self.swallowing = !ended;
                continue;
            }
            // One octet over the limit is enough to know, so no more is ever held.
            self.hold(&part[..part.len().min((longest + 1).saturating_sub(self.held.len()))]);
            if self.held.len() > limit(&self.held) {
                return Some(Err(self.give_up(LineFault::TooLong, ended)));
            }
            if ended {
                let mut line = core::mem::take(&mut self.held);
                let length = line.len() - if after_cr { 2 } else { 1 };
                line.truncate(length);
                return Some(Ok(line));
            }
            if feed.is_some() {
                return Some(Err(self.give_up(LineFault::BareLineFeed, false)));
            }
        }
        None
    }

    /// Appends without leaving a copy behind, as a growing vector would.
    fn hold(&mut self, part: &[u8]) {
        let needed = self.held.len() + part.len();
        if needed > self.held.capacity() {
            let mut grown = Zeroizing::new(Vec::with_capacity(needed.max(2 * self.held.capacity())));
            grown.extend_from_slice(&self.held);
            self.held = grown;
        }
        self.held.extend_from_slice(part);
    }

    fn give_up(&mut self, fault: LineFault, ended: bool) -> LineFault {
        self.held.zeroize();
        self.swallowing = !ended;
        fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};

    type Read = Vec<Result<String, LineFault>>;

    fn read(wire: &[u8], piece: usize, lenient: bool) -> Read {
        let (mut lines, mut read) = (Lines::new(lenient), Vec::new());
        for mut chunk in wire.chunks(piece) {
            while let Some(line) = lines.receive(&mut chunk, 12, |head| if head.starts_with(b"A") { 12 } else { 8 }) {
                read.push(line.map(|line| core::str::from_utf8(&line).unwrap().to_string()));
            }
            assert!(chunk.is_empty() && lines.held.len() <= 12);
        }
        read
    }

    #[test]
    fn lines_are_the_same_at_every_cut() {
        use LineFault::{BareLineFeed, TooLong};
        let ok = |line: &str| Ok(line.to_string());
        let table: [(&[u8], Read, Read); 8] = [
            (b"a\r\n\r\nb", alloc::vec![ok("a"), ok("")], alloc::vec![ok("a"), ok("")]),
            (
                b"123456\r\n1234567\r\nc\r\n",
                alloc::vec![ok("123456"), Err(TooLong), ok("c")],
                alloc::vec![ok("123456"), Err(TooLong), ok("c")],
            ),
            (
                b"A234567890\r\nA2345678901\r\n",
                alloc::vec![ok("A234567890"), Err(TooLong)],
                alloc::vec![ok("A234567890"), Err(TooLong)],
            ),
            (
                b"a\nb\nc\r\nd\r\n",
                alloc::vec![Err(BareLineFeed), ok("d")],
                alloc::vec![ok("a"), ok("b"), ok("c"), ok("d")],
            ),
            (b"\n\r\n", alloc::vec![Err(BareLineFeed)], alloc::vec![ok(""), ok("")]),
            (b"a\rb\r\r\n", alloc::vec![ok("a\rb\r")], alloc::vec![ok("a\rb\r")]),
            (
                b"123456789012345\n6\r\na\r\n",
                alloc::vec![Err(TooLong), ok("a")],
                alloc::vec![Err(TooLong), ok("6"), ok("a")],
            ),
            (
                b"1234567890123456789012345\r\na\r\n",
                alloc::vec![Err(TooLong), ok("a")],
                alloc::vec![Err(TooLong), ok("a")],
            ),
        ];
        for (wire, strict, lenient) in table {
            for piece in [1, 2, 3, 7, 64] {
                assert_eq!(read(wire, piece, false), strict, "{} in {piece}", wire.escape_ascii());
                assert_eq!(read(wire, piece, true), lenient, "{} in {piece}", wire.escape_ascii());
            }
        }
    }
}
