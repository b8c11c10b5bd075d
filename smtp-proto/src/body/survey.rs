//! What a message is made of, as far as the server must be told (RFC 2045 section 2.7 to 2.9, RFC 6152, RFC 3030 section 3).
//!
//! The rules of this file: the message is looked at once, in any pieces, and only counted; what is found does not depend on how
//! it was cut.

use super::LineEndings;
use crate::client::BodyKind;

/// The longest line, its end not counted, that SMTP carries without BINARYMIME (RFC 5321 section 4.5.3.1.6).
const LINE: usize = 998;

/// Looks at a message, to say what `BODY=` it needs.
///
/// ```
/// use smtp_proto::body::{LineEndings, Survey};
/// use smtp_proto::client::BodyKind;
///
/// let mut survey = Survey::default();
/// survey.write("Subject: gr\u{fc}n\r\n".as_bytes());
/// assert_eq!(survey.kind(LineEndings::Canonical), BodyKind::EightBitMime);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Survey {
    octets: u64,
    eight_bit: bool,
    nul: bool,
    bare: bool,
    /// Octets of the line under way, as far as they matter, and the longest before it.
    line: usize,
    longest: usize,
    /// The last octet was CR.
    after_cr: bool,
    /// The header section is over: there was an empty line.
    in_body: bool,
    eight_bit_header: bool,
}

impl Survey {
    /// Looks at the next octets.
    pub fn write(&mut self, chunk: &[u8]) {
        self.octets += chunk.len() as u64;
        self.eight_bit = self.eight_bit || !chunk.is_ascii();
        self.nul = self.nul || memchr::memchr(0, chunk).is_some();
        let (mut from, mut header) = (0, if self.in_body { 0 } else { chunk.len() });
        for at in memchr::memchr2_iter(b'\r', b'\n', chunk) {
            let span = at - from;
            if self.after_cr && (span > 0 || chunk[at] == b'\r') {
                self.bare_cr();
            }
            self.lengthen(span);
            if chunk[at] == b'\r' {
                self.after_cr = true;
            } else {
                self.bare = self.bare || !self.after_cr;
                self.end_line();
            }
            from = at + 1;
            if self.in_body {
                header = header.min(from);
            }
        }
        self.eight_bit_header = self.eight_bit_header || !chunk[..header].is_ascii();
        if from < chunk.len() {
            if self.after_cr {
                self.bare_cr();
            }
            self.lengthen(chunk.len() - from);
        }
    }

    fn lengthen(&mut self, octets: usize) {
        self.line = self.line.saturating_add(octets);
        self.longest = self.longest.max(self.line);
    }

    fn bare_cr(&mut self) {
        self.bare = true;
        self.end_line();
    }

    fn end_line(&mut self) {
        self.in_body |= self.line == 0;
        (self.line, self.after_cr) = (0, false);
    }

    /// Octets in all: what [`Envelope::size`](crate::client::Envelope::size) asks for, but for line endings that are made.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Whether there are octets beyond ASCII.
    pub fn has_eight_bit(&self) -> bool {
        self.eight_bit
    }

    /// Whether there are octets beyond ASCII in the header section, which ends at the first empty line: SMTPUTF8 (RFC 6531) is
    /// what permits them.
    pub fn has_eight_bit_header(&self) -> bool {
        self.eight_bit_header
    }

    /// Whether there is a NUL, which no text holds.
    pub fn has_nul(&self) -> bool {
        self.nul
    }

    /// Whether there is a CR or LF that is not part of a CRLF.
    pub fn has_bare_line_endings(&self) -> bool {
        self.bare || self.after_cr
    }

    /// The longest line in octets, its end not counted; a bare CR or LF ends a line here, too.
    pub fn longest_line(&self) -> usize {
        self.longest
    }

    /// What the message is made of, as the server has to carry it.
    ///
    /// BINARYMIME where there is a NUL, a line of more than 998 octets, or, under [`LineEndings::Exact`], a bare CR or LF, which
    /// would be put right otherwise. Many servers carry long lines all the same; whom the strict answer does not help can ask
    /// what was found, and declare 8BITMIME.
    pub fn kind(&self, endings: LineEndings) -> BodyKind {
        let bare = endings == LineEndings::Exact && self.has_bare_line_endings();
        if self.nul || bare || self.longest > LINE {
            BodyKind::BinaryMime
        } else if self.eight_bit {
            BodyKind::EightBitMime
        } else {
            BodyKind::SevenBit
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn survey(message: &[u8], piece: usize) -> Survey {
        let mut survey = Survey::default();
        message.chunks(piece).for_each(|chunk| survey.write(chunk));
        survey
    }

    #[test]
    fn the_header_section_ends_at_the_first_empty_line() {
        for (message, header) in [
            ("Subject: gr\u{fc}n\r\n\r\nHello.\r\n", true),
            ("Subject: green\r\n\r\nGr\u{fc}\u{df}e.\r\n", false),
            ("Subject: green\n\nGr\u{fc}\u{df}e.\n", false),
            ("\r\nGr\u{fc}\u{df}e.\r\n", false),
            ("Subject: green\r\nFrom: J\u{fc}rgen", true),
        ] {
            for piece in 1..=message.len() {
                let survey = survey(message.as_bytes(), piece);
                assert!(survey.has_eight_bit());
                assert_eq!(survey.has_eight_bit_header(), header, "{message:?} in pieces of {piece}");
            }
        }
    }

    /// The same, an octet at a time and without cleverness: bare, longest line.
    fn oracle(message: &[u8]) -> (bool, usize) {
        let canonical = message.iter().enumerate().all(|(at, octet)| match octet {
            b'\r' => message.get(at + 1) == Some(&b'\n'),
            b'\n' => at > 0 && message[at - 1] == b'\r',
            _ => true,
        });
        let longest = message.split(|octet| matches!(octet, b'\r' | b'\n')).map(<[u8]>::len).max();
        (!canonical, longest.unwrap_or_default())
    }

    #[test]
    fn every_short_message_is_seen_as_the_oracle_sees_it_at_every_cut() {
        for length in 0..=6_u32 {
            for n in 0..4_u32.pow(length) {
                let message: Vec<u8> = (0..length).map(|at| b"\0\r\n\xe9"[(n / 4_u32.pow(at) % 4) as usize]).collect();
                let (bare, longest) = oracle(&message);
                for piece in [1, 2, 3, 7] {
                    let seen = survey(&message, piece);
                    assert_eq!(
                        (seen.has_bare_line_endings(), seen.longest_line()),
                        (bare, longest),
                        "{}",
                        message.escape_ascii()
                    );
                    assert_eq!(seen.has_nul(), message.contains(&0));
                    assert_eq!(seen.has_eight_bit(), message.contains(&0xe9));
                    assert_eq!(seen.octets(), u64::from(length));
                }
            }
        }
    }

    #[test]
    fn what_a_message_needs() {
        use BodyKind::{BinaryMime, EightBitMime, SevenBit};
        let line = |length: usize| [&alloc::vec![b'x'; length][..], b"\r\n"].concat();
        for (message, canonical, exact) in [
            (&b""[..], SevenBit, SevenBit),
            (b"a\r\nb\r\n", SevenBit, SevenBit),
            (b"a\nb", SevenBit, BinaryMime),
            (b"a\r", SevenBit, BinaryMime),
            (b"gr\xc3\xbcn\r\n", EightBitMime, EightBitMime),
            (b"gr\xfcn\n", EightBitMime, BinaryMime),
            (b"a\0b", BinaryMime, BinaryMime),
            (&line(998).repeat(3), SevenBit, SevenBit),
            (&line(999), BinaryMime, BinaryMime),
        ] {
            for piece in [1, 500, 10_000] {
                let seen = survey(message, piece);
                assert_eq!(seen.kind(LineEndings::Canonical), canonical, "{}", message.escape_ascii());
                assert_eq!(seen.kind(LineEndings::Exact), exact, "{}", message.escape_ascii());
            }
        }
    }
}
