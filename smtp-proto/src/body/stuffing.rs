//! Dot-stuffing and its inverse (RFC 5321 section 4.5.2).
//!
//! The rules of this file:
//!
//! - What was written so far is summed up in one word: where in a line the next octet stands.
//! - Most of what is ever sent needs no change: a block is looked at as a whole, and copied as a whole. Only where there is
//!   something to change are line ends looked for, by memchr.
//! - The receiving side ends only at CRLF.CRLF; every other end-of-data in circulation is content or an error.

use alloc::vec::Vec;
use core::fmt;

use super::LineEndings;
use crate::Misuse;

/// Octets looked at before they are copied: so many that calls cost nothing, and so few that they are still at hand then.
const BLOCK: usize = 4 * 1024;

/// The same where a dot was seen among them.
const SMALL: usize = 256;

/// Octets looked at without a branch: so many that it hardly matters where in memory the code has come to stand. A shorter loop
/// was seen to take up to half as long again where that was unfortunate.
const STEP: usize = 128;

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

impl At {
    /// Behind this octet, where line endings are whole.
    fn behind(octet: u8) -> Self {
        match octet {
            b'\r' => Self::Cr,
            b'\n' => Self::Head,
            _ => Self::Middle,
        }
    }
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
    /// In [`LineEndings::Strict`], [`Misuse::BareLineEnding`] where `chunk` would put a bare CR or LF on the wire, and
    /// [`Misuse::Nul`] where a NUL; whichever comes first. Nothing was appended then. A CR at the very end of a chunk is judged
    /// with the next one.
    pub fn write(&mut self, chunk: &[u8], output: &mut Vec<u8>) -> Result<(), Misuse> {
        let (length, at) = (output.len(), self.at);
        output.reserve(chunk.len());
        let mut rest = chunk;
        while !rest.is_empty() {
            match self.write_block(rest, output) {
                Ok(written) => rest = &rest[written..],
                Err(misuse) => {
                    output.truncate(length);
                    self.at = at;
                    return Err(misuse);
                }
            }
        }
        Ok(())
    }

    /// How many octets at the front of `chunk` go out as they are; they count as written. As many as are looked at together
    /// and do not are for [`write_block`](Self::write_block).
    pub(crate) fn pass(&mut self, chunk: &[u8]) -> usize {
        let mut passed = 0;
        for block in chunk.chunks(BLOCK) {
            let Some((first, last)) = block.first().zip(block.last()) else { break };
            let head = self.at == At::Head && *first == b'.' && !self.dotless;
            if head || !self.fits(*first) || !is_clean(block) || (!self.dotless && has_dots(block)) || self.minds(block)
            {
                break;
            }
            self.at = At::behind(*last);
            passed += block.len();
        }
        passed
    }

    /// Appends as many octets from the front of `chunk` as are looked at together, and says how many.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub(crate) fn write_block(&mut self, chunk: &[u8], output: &mut Vec<u8>) -> Result<usize, Misuse> {
        let block = &chunk[..chunk.len().min(BLOCK)];
        if self.minds(block) {
            return Err(self.fault(block));
        }
        if !self.write_clean(block, output) {
            if self.endings == LineEndings::Strict {
                return Err(self.fault(block));
            }
            self.write_any(block, output);
        }
        Ok(block.len())
    }

    /// Is there a NUL that must not be sent? It is lawful in BINARYMIME alone (RFC 6152 section 3, RFC 3030 section 3), and that is
    /// not sent line by line.
    fn minds(&self, block: &[u8]) -> bool {
        self.endings == LineEndings::Strict && memchr::memchr(0, block).is_some()
    }

    /// What is refused of a block that has something of the kind: the first, so that it does not depend on the cut.
    fn fault(&self, block: &[u8]) -> Misuse {
        let mut after_cr = self.at == At::Cr;
        for octet in block {
            match octet {
                _ if after_cr != (*octet == b'\n') => break,
                0 => return Misuse::Nul,
                _ => after_cr = *octet == b'\r',
            }
        }
        Misuse::BareLineEnding
    }

    /// Does this octet complete the line ending that has begun, where one has?
    fn fits(&self, first: u8) -> bool {
        (self.at == At::Cr) == (first == b'\n')
    }

    /// Octets without a bare CR or LF, which is most of what is ever sent; `false` where there is one, and nothing was appended.
    fn write_clean(&mut self, block: &[u8], output: &mut Vec<u8>) -> bool {
        let (Some(first), Some(last)) = (block.first(), block.last()) else { return true };
        if !self.fits(*first) || !is_clean(block) {
            return false;
        }
        let dots = !self.dotless && has_dots(block);
        // Most of it may still be copied as a whole.
        if dots && block.len() > SMALL {
            return block.chunks(SMALL).all(|small| self.write_clean(small, output));
        }
        if self.at == At::Head && *first == b'.' && !self.dotless {
            output.push(b'.');
        }
        let mut copied = 0;
        if dots {
            for end in memchr::memchr_iter(b'\n', block) {
                if block.get(end + 1) == Some(&b'.') {
                    output.extend_from_slice(&block[copied..=end]);
                    output.push(b'.');
                    copied = end + 1;
                }
            }
        }
        output.extend_from_slice(&block[copied..]);
        self.at = At::behind(*last);
        true
    }

    /// Octets of any kind.
    fn write_any(&mut self, octets: &[u8], output: &mut Vec<u8>) {
        let mut rest = octets;
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
            let line = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            let (line, end) = rest.split_at(line);
            output.extend_from_slice(line);
            (self.at, rest) = match end {
                [] => (At::Middle, end),
                [b'\n', behind @ ..] => {
                    output.extend_from_slice(b"\r\n");
                    (At::Head, behind)
                }
                [_, behind @ ..] => {
                    output.push(b'\r');
                    (At::Cr, behind)
                }
            };
        }
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
}

/// Whether each CR stands before a LF and each LF behind a CR, as far as two neighbours within `block` can tell. There is no
/// branch among [`STEP`] of them, so that the compiler makes it look at many octets at once.
#[inline(never)]
fn is_clean(block: &[u8]) -> bool {
    let is_bare = |ones: &[u8], nexts: &[u8]| {
        let pairs = ones.iter().zip(nexts);
        pairs.fold(false, |bare, (one, next)| bare | ((*one == b'\r') != (*next == b'\n')))
    };
    let (mut ones, mut nexts, mut bare) = (block, block.get(1..).unwrap_or_default(), false);
    while let (Some((these, ones_left)), Some((those, nexts_left))) =
        (ones.split_first_chunk::<STEP>(), nexts.split_first_chunk::<STEP>())
    {
        bare |= is_bare(these, those);
        (ones, nexts) = (ones_left, nexts_left);
    }
    !(bare | is_bare(ones, nexts))
}

/// Whether a dot stands behind a LF. Much of what is large has no dot at all, and memchr looks at the most octets at once.
fn has_dots(block: &[u8]) -> bool {
    let Some(dot) = memchr::memchr(b'.', block) else { return false };
    let block = &block[dot.saturating_sub(1)..];
    let pairs = block.iter().zip(block.get(1..).unwrap_or_default());
    pairs.fold(false, |dots, (one, next)| dots | ((*one == b'\n') & (*next == b'.')))
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
        // What goes out as it is can be had without being copied.
        let (mut same, mut stuffing) = (Vec::new(), DotStuffing::new(endings));
        for chunk in message.chunks(piece.min(message.len().max(1))) {
            let mut rest = chunk;
            while !rest.is_empty() {
                let (as_it_is, behind) = rest.split_at(stuffing.pass(rest));
                same.extend_from_slice(as_it_is);
                let written = stuffing.write_block(behind, &mut same)?;
                rest = &behind[written..];
            }
        }
        stuffing.end(&mut same);
        assert!(same == wire, "{}", message.escape_ascii());
        Ok(wire)
    }

    /// A CR at the very end is completed, not refused: there is nothing behind it to be smuggled.
    fn is_strict(message: &[u8]) -> bool {
        let message = message.strip_suffix(b"\r").unwrap_or(message);
        !message.iter().enumerate().any(|(at, octet)| match octet {
            b'\r' => message.get(at + 1) != Some(&b'\n'),
            b'\n' => at == 0 || message[at - 1] != b'\r',
            _ => false,
        })
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
    fn long_messages_are_stuffed_as_the_oracle_says_wherever_something_is_odd() {
        let mut random = 1_u64;
        let mut next = |below: usize| {
            // Numerical Recipes' generator: any will do.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        for oddities in [0, 0, 1, 1, 1, 2, 20] {
            for size in [SMALL - 1, SMALL, SMALL + 1, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + SMALL, 3 * BLOCK] {
                let mut message = Vec::new();
                while message.len() < size {
                    message.extend_from_slice(&b"....a line of text....."[next(4)..][..next(19)]);
                    message.extend_from_slice(b"\r\n");
                }
                message.truncate(size);
                for _ in 0..oddities {
                    message[next(size)] = b"\r\n.x"[next(4)];
                }
                let expected = oracle(&message);
                for piece in [1, SMALL, 1000, BLOCK, usize::MAX] {
                    let wire = stuff(&message, piece, LineEndings::Canonical).unwrap();
                    assert!(wire == expected, "{oddities} oddities in {size} octets, in {piece}");
                    match stuff(&message, piece, LineEndings::Strict) {
                        Ok(wire) => assert!(is_strict(&message) && wire == expected),
                        Err(_) => assert!(!is_strict(&message)),
                    }
                }
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
            // NUL goes as it is.
            (b"\0\r\n.\0", b"\0\r\n..\0\r\n.\r\n"),
        ] {
            assert_eq!(stuff(message, usize::MAX, LineEndings::Canonical).unwrap(), wire, "{}", message.escape_ascii());
        }
    }

    #[test]
    fn strict_refuses_nul_wherever_it_stands_and_names_what_comes_first() {
        // RFC 6152 section 3: 8BITMIME has the octets of text, of which NUL is none (RFC 2045 section 2.8).
        for size in [1, 2, SMALL, BLOCK, BLOCK + 1] {
            for at in [0, size / 2, size - 1] {
                let mut message = alloc::vec![b'x'; size];
                message[at] = 0;
                for piece in PIECES {
                    assert_eq!(stuff(&message, piece, LineEndings::Strict), Err(Misuse::Nul), "{at} of {size}");
                    assert!(stuff(&message, piece, LineEndings::Canonical).is_ok());
                }
            }
        }
        for (message, first) in [
            (&b"a\0b\nc"[..], Misuse::Nul),
            (b"a\nb\0c", Misuse::BareLineEnding),
            (b"a\r\0", Misuse::BareLineEnding),
            (b"\0\r", Misuse::Nul),
            (b"a\r\n\0", Misuse::Nul),
        ] {
            for piece in PIECES {
                assert_eq!(
                    stuff(message, piece, LineEndings::Strict),
                    Err(first.clone()),
                    "{}",
                    message.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn strict_takes_what_is_canonical_and_refuses_the_rest_at_every_cut() {
        for message in messages(6) {
            let lawful = is_strict(&message);
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

    #[test]
    fn a_refusal_says_what_is_wrong() {
        assert!(alloc::format!("{}", UnstuffingError::BareLineEnding).contains("bare CR or LF"));
    }

    #[test]
    fn what_needs_no_change_goes_out_as_it_is() {
        let text = b"a line. Another.\r\n".repeat(BLOCK / 4);
        for (message, passed, dotless) in [
            (&text[..], text.len(), text.len()),
            (b"", 0, 0),
            (b"x", 1, 1),
            (b".x", 0, 2),
            (b"x\r\n.y", 0, 5),
            (b"x\ny", 0, 0),
            (b"\nx", 0, 0),
        ] {
            assert_eq!(DotStuffing::new(LineEndings::Canonical).pass(message), passed, "{}", message.escape_ascii());
            assert_eq!(DotStuffing::dotless(LineEndings::Canonical).pass(message), dotless);
        }
        // What stands in the second block does not keep the first.
        let message = [&b"x".repeat(BLOCK)[..], b"\r\n.y"].concat();
        assert_eq!(DotStuffing::new(LineEndings::Strict).pass(&message), BLOCK);
        assert_eq!(DotStuffing::dotless(LineEndings::Strict).pass(&message), message.len());
    }

    #[test]
    fn behind_the_end_nothing_is_taken() {
        for (message, flawed) in [(&b"a\r\n.\r\n"[..], false), (b"a\nb\r\n.\r\n", true)] {
            let mut unstuffing = Unstuffing::new(false);
            let mut content = Vec::new();
            let end = if flawed { Err(UnstuffingError::BareLineEnding) } else { Ok(true) };
            assert_eq!(unstuffing.receive(&mut &message[..], &mut content), end);
            let whole = content.clone();
            let mut behind = &b"MAIL FROM:<>\r\n"[..];
            assert_eq!(unstuffing.receive(&mut behind, &mut content), end, "the same for ever");
            assert_eq!((behind, content), (&b"MAIL FROM:<>\r\n"[..], whole));
        }
    }
}
