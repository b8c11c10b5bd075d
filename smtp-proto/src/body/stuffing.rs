//! Dot-stuffing and its inverse (RFC 5321 section 4.5.2).
//!
//! The rules of this file:
//!
//! - What was written so far is summed up in one word: where in a line the next octet stands.
//! - Lines are found by memchr, which looks at many octets at once; octets are copied a line at a time.
//! - The receiving side ends only at CRLF.CRLF; every other end-of-data in circulation is content or an error.

use alloc::vec::Vec;
use core::fmt;

use super::LineEndings;
use crate::Misuse;

/// Where the next octet stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum At {
    /// At the head of a line: a dot here is doubled.
    #[default]
    Head,
    /// Within a line.
    Middle,
    /// Behind a CR: a LF completes it, anything else proves it bare.
    Cr,
}

/// Encodes a message for DATA: line endings, doubled dots, the closing dot.
#[derive(Clone, Debug, Default)]
pub struct DotStuffing {
    endings: LineEndings,
    at: At,
    /// Line endings only, as BDAT wants them.
    dotless: bool,
}

impl DotStuffing {
    /// An encoder at the head of a message.
    pub fn new(endings: LineEndings) -> Self {
        Self { endings, at: At::Head, dotless: false }
    }

    /// The same line endings, and no dots: what BDAT counts is not searched for an end.
    pub(super) fn dotless(endings: LineEndings) -> Self {
        Self { endings, at: At::Head, dotless: true }
    }

    /// Appends the encoded form of the next octets of the message to `output`.
    ///
    /// # Errors
    ///
    /// In [`LineEndings::Strict`], [`Misuse::BareLineEnding`] where `chunk` would put a bare CR or LF on the wire; nothing
    /// was appended then. A CR at the very end of a chunk is judged with the next one.
    pub fn write(&mut self, chunk: &[u8], output: &mut Vec<u8>) -> Result<(), Misuse> {
        if self.endings == LineEndings::Strict {
            self.check(chunk)?;
        }
        let mut rest = chunk;
        while let Some(&first) = rest.first() {
            match (self.at, first) {
                (At::Cr, b'\n') => {
                    output.push(b'\n');
                    rest = &rest[1..];
                    self.at = At::Head;
                    continue;
                }
                // The CR is on the wire already; its LF makes it a line ending.
                (At::Cr, _) => {
                    output.push(b'\n');
                    self.at = At::Head;
                }
                (At::Head | At::Middle, _) => {}
            }
            if self.at == At::Head && first == b'.' && !self.dotless {
                output.push(b'.');
            }
            let line = memchr::memchr(b'\n', rest);
            let span = &rest[..line.unwrap_or(rest.len())];
            match memchr::memchr(b'\r', span) {
                // The common line: its only CR is the one before its LF.
                Some(cr) if cr + 1 == span.len() && line.is_some() => {
                    output.extend_from_slice(&rest[..span.len() + 1]);
                    rest = &rest[span.len() + 1..];
                    self.at = At::Head;
                }
                Some(cr) => {
                    output.extend_from_slice(&span[..cr + 1]);
                    rest = &rest[cr + 1..];
                    self.at = At::Cr;
                }
                None => {
                    output.extend_from_slice(span);
                    self.at = At::Middle;
                    rest = &rest[span.len()..];
                    if line.is_some() {
                        output.extend_from_slice(b"\r\n");
                        rest = &rest[1..];
                        self.at = At::Head;
                    }
                }
            }
        }
        Ok(())
    }

    /// Completes the last line, and appends the dot that ends the message.
    pub fn end(&mut self, output: &mut Vec<u8>) {
        self.end_line(output);
        output.extend_from_slice(b".\r\n");
    }

    /// Completes the last line.
    pub(super) fn end_line(&mut self, output: &mut Vec<u8>) {
        match self.at {
            At::Head => {}
            At::Middle => output.extend_from_slice(b"\r\n"),
            At::Cr => output.push(b'\n'),
        }
        self.at = At::Head;
    }

    fn check(&self, chunk: &[u8]) -> Result<(), Misuse> {
        let mut after_cr = self.at == At::Cr;
        let mut next = 0;
        for at in memchr::memchr2_iter(b'\r', b'\n', chunk) {
            let lf = chunk[at] == b'\n';
            // A CR must stand right before a LF, and a LF right behind a CR.
            if after_cr != lf || (after_cr && at != next) {
                return Err(Misuse::BareLineEnding);
            }
            after_cr = !lf;
            next = at + 1;
        }
        if after_cr && next != chunk.len() { Err(Misuse::BareLineEnding) } else { Ok(()) }
    }
}

/// Why received content is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum UnstuffingError {
    /// A bare CR or LF: SMTP does not know it, and it is how messages are smuggled (RFC 5321 section 2.3.8).
    BareLineEnding,
}

impl fmt::Display for UnstuffingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BareLineEnding => f.write_str("the content contains a bare CR or LF"),
        }
    }
}

impl core::error::Error for UnstuffingError {}

/// Decodes received DATA: takes off the doubled dots and finds the one end that counts, CRLF.CRLF.
#[derive(Clone, Debug, Default)]
pub struct Unstuffing {
    seen: Seen,
    /// Keep bare CR and LF as they are, instead of refusing them.
    lenient: bool,
    flawed: bool,
}

/// What stands before the next octet; each variant after `Middle` holds back what may be part of the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Seen {
    #[default]
    CrLf,
    Middle,
    Cr,
    CrLfDot,
    CrLfDotCr,
    End,
}

impl Unstuffing {
    /// A decoder at the head of a message; `lenient` keeps bare CR and LF as content instead of refusing the message.
    pub fn new(lenient: bool) -> Self {
        Self { lenient, ..Self::default() }
    }

    /// Takes octets from the front of `input` and appends the message's own to `content`, up to its end; `true` there.
    ///
    /// # Errors
    ///
    /// At the end of the message (so that the dialogue stays in step), [`UnstuffingError`] where it was flawed.
    pub fn receive(&mut self, input: &mut &[u8], content: &mut Vec<u8>) -> Result<bool, UnstuffingError> {
        while let Some((&octet, rest)) = input.split_first() {
            self.seen = match (self.seen, octet) {
                (Seen::End, _) => break,
                (Seen::CrLf, b'.') => {
                    *input = rest;
                    Seen::CrLfDot
                }
                (Seen::CrLfDot, b'\r') => {
                    *input = rest;
                    Seen::CrLfDotCr
                }
                (Seen::CrLfDotCr, b'\n') => {
                    *input = rest;
                    Seen::End
                }
                // The dot was a doubled one, or one that the client forgot to double; the CR behind it was bare.
                (Seen::CrLfDotCr, _) => {
                    content.push(b'\r');
                    Seen::Cr
                }
                (Seen::Cr, b'\n') => {
                    content.push(b'\n');
                    *input = rest;
                    Seen::CrLf
                }
                (Seen::Cr, _) => {
                    self.flawed = true;
                    Seen::Middle
                }
                (Seen::CrLf | Seen::Middle, b'\r') => {
                    content.push(b'\r');
                    *input = rest;
                    Seen::Cr
                }
                (Seen::CrLf | Seen::CrLfDot | Seen::Middle, b'\n') => {
                    self.flawed = true;
                    content.push(b'\n');
                    *input = rest;
                    Seen::Middle
                }
                (Seen::CrLf | Seen::CrLfDot | Seen::Middle, _) => {
                    let span = memchr::memchr2(b'\r', b'\n', input).unwrap_or(input.len());
                    content.extend_from_slice(&input[..span]);
                    *input = &input[span..];
                    Seen::Middle
                }
            };
            if self.seen == Seen::End {
                break;
            }
        }
        match self.seen {
            Seen::End if self.flawed && !self.lenient => Err(UnstuffingError::BareLineEnding),
            seen => Ok(seen == Seen::End),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const PIECES: [usize; 7] = [1, 2, 3, 7, 64, 1000, usize::MAX];

    /// What the RFC says, one octet at a time and without any cleverness.
    fn oracle(message: &[u8]) -> Vec<u8> {
        let mut canonical = Vec::new();
        for (at, octet) in message.iter().enumerate() {
            match octet {
                b'\n' if at > 0 && message[at - 1] == b'\r' => {}
                b'\r' | b'\n' => canonical.extend_from_slice(b"\r\n"),
                octet => canonical.push(*octet),
            }
        }
        if !canonical.is_empty() && !canonical.ends_with(b"\r\n") {
            canonical.extend_from_slice(b"\r\n");
        }
        let mut wire = Vec::new();
        for (at, octet) in canonical.iter().enumerate() {
            if *octet == b'.' && (at == 0 || canonical[at - 1] == b'\n') {
                wire.push(b'.');
            }
            wire.push(*octet);
        }
        wire.extend_from_slice(b".\r\n");
        wire
    }

    fn stuff(message: &[u8], piece: usize, endings: LineEndings) -> Result<Vec<u8>, Misuse> {
        let (mut wire, mut stuffing) = (Vec::new(), DotStuffing::new(endings));
        for chunk in message.chunks(piece.min(message.len().max(1))) {
            stuffing.write(chunk, &mut wire)?;
        }
        stuffing.end(&mut wire);
        Ok(wire)
    }

    /// Every message over an alphabet of what matters, up to some length.
    fn messages(longest: u32) -> impl Iterator<Item = Vec<u8>> {
        (0..=longest).flat_map(|length| {
            (0..4_u32.pow(length))
                .map(move |n| (0..length).map(|at| b".\r\nx"[(n / 4_u32.pow(at) % 4) as usize]).collect())
        })
    }

    #[test]
    fn every_short_message_is_stuffed_as_the_oracle_says_at_every_cut() {
        for message in messages(6) {
            let expected = oracle(&message);
            for piece in [1, 2, 3, 7] {
                assert_eq!(
                    stuff(&message, piece, LineEndings::Canonical).unwrap(),
                    expected,
                    "{}",
                    message.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn the_cases_most_often_got_wrong() {
        for (message, wire) in [
            (&b""[..], &b".\r\n"[..]),
            (b".", b"..\r\n.\r\n"),
            (b".\r\n", b"..\r\n.\r\n"),
            (b"..\r\n", b"...\r\n.\r\n"),
            (b".hidden\r\n", b"..hidden\r\n.\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b"a\r", b"a\r\n.\r\n"),
            (b"a\r\n.\r\nb", b"a\r\n..\r\nb\r\n.\r\n"),
        ] {
            assert_eq!(stuff(message, usize::MAX, LineEndings::Canonical).unwrap(), wire, "{}", message.escape_ascii());
        }
    }

    #[test]
    fn strict_takes_what_is_canonical_and_refuses_the_rest_at_every_cut() {
        for message in messages(6) {
            let mut canonical = oracle(&message);
            canonical.truncate(canonical.len() - 3);
            let plain = |m: &[u8]| {
                !m.iter().enumerate().any(|(at, octet)| match octet {
                    b'\r' => m.get(at + 1) != Some(&b'\n'),
                    b'\n' => at == 0 || m[at - 1] != b'\r',
                    _ => false,
                })
            };
            // A CR at the very end is completed, not refused: there is nothing behind it to be smuggled.
            let lawful = plain(&message) || (message.ends_with(b"\r") && plain(&[&message[..], b"\n"].concat()));
            for piece in PIECES {
                match stuff(&message, piece, LineEndings::Strict) {
                    Ok(wire) => {
                        assert!(lawful, "{}", message.escape_ascii());
                        assert_eq!(wire, oracle(&message));
                    }
                    Err(_) => assert!(!lawful, "{} in {piece}", message.escape_ascii()),
                }
            }
        }
    }

    #[test]
    fn what_was_stuffed_is_unstuffed_at_every_cut() {
        for message in messages(6) {
            let wire = [&oracle(&message)[..], b"NEXT"].concat();
            let mut canonical: Vec<u8> = Vec::new();
            for (at, octet) in message.iter().enumerate() {
                match octet {
                    b'\n' if at > 0 && message[at - 1] == b'\r' => {}
                    b'\r' | b'\n' => canonical.extend_from_slice(b"\r\n"),
                    octet => canonical.push(*octet),
                }
            }
            if !canonical.is_empty() && !canonical.ends_with(b"\r\n") {
                canonical.extend_from_slice(b"\r\n");
            }
            for piece in PIECES {
                let (mut content, mut unstuffing, mut left) = (Vec::new(), Unstuffing::default(), Vec::new());
                let mut ended = false;
                for mut chunk in wire.chunks(piece.min(wire.len())) {
                    if !ended {
                        ended = unstuffing.receive(&mut chunk, &mut content).unwrap();
                    }
                    left.extend_from_slice(chunk);
                }
                assert!(ended);
                assert_eq!(content, canonical, "{}", message.escape_ascii());
                assert_eq!(left, b"NEXT");
            }
        }
    }

    #[test]
    fn no_other_end_of_data_ends_a_message() {
        for end in [
            "\n.\n",
            "\n.\r\n",
            "\r.\r",
            "\r.\r\n",
            "\r\n.\n",
            "\r\n.\r",
            "\n\n.\n\n",
            "\r\n.\r\r\n",
            "\r\n\0.\r\n",
            "\r\n.\0\r\n",
        ] {
            let wire = ["a", end, "MAIL FROM:<evil@example.org>\r\n.\r\n"].concat();
            for lenient in [false, true] {
                for piece in PIECES {
                    let (mut content, mut unstuffing) = (Vec::new(), Unstuffing::new(lenient));
                    let mut verdict = Ok(false);
                    for mut chunk in wire.as_bytes().chunks(piece.min(wire.len())) {
                        assert_eq!(verdict, Ok(false), "{end:?} ended the message");
                        verdict = unstuffing.receive(&mut chunk, &mut content);
                    }
                    let bare = end.replace("\r\n", "").contains(['\r', '\n']);
                    assert_eq!(verdict.is_err(), bare && !lenient, "{end:?}");
                    assert!(content.ends_with(b"MAIL FROM:<evil@example.org>\r\n"), "{end:?}");
                }
            }
        }
    }
}
