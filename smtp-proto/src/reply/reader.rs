//! Reads replies from the wire: every lawful shape, and nothing else (RFC 5321 sections 4.2 and 4.5.3.1.5).
//!
//! The rules of this file:
//!
//! - A line ends at LF; one CR before it belongs to the end. Servers that write bare LF exist, and a reply cannot be
//!   misread for it.
//! - After the code comes a space, a hyphen, or nothing at all: `220` CRLF alone must be accepted (section 4.2).
//! - A line that cannot be a reply is refused as early as its octets allow, and the error does not depend on the cut.

use alloc::vec::Vec;
use core::fmt;

use super::blocks::Blocks;
use super::{Code, Reply, SECRET, blotted};

/// How much one reply may hold.
///
/// RFC 5321 asks for 512 octets a line at least and sets no limit to the number of lines; these leave room for everything
/// seen in the field and keep a hostile server from filling the memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyLimits {
    /// Octets of one line, line end included. Default 16,384: a challenge may have 12,288 (RFC 4954 section 4).
    pub line: usize,
    /// Lines of one reply. Default 512.
    pub lines: usize,
    /// Octets of one reply's text. Default 131,072.
    pub octets: usize,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self { line: 16 * 1024, lines: 512, octets: 128 * 1024 }
    }
}

/// Why what the peer sent is not a reply.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MalformedReply {
    /// A line that does not begin with three digits and then a space, a hyphen or its end; the first octets of it.
    NotAReply(Vec<u8>),
    /// A code outside 200 to 599.
    CodeOutOfRange(u16),
    /// The lines of one reply do not carry one code.
    CodesDiffer {
        /// The code of the first line.
        first: Code,
        /// The code of the line that differs.
        then: Code,
    },
    /// A line longer than [`ReplyLimits::line`].
    LineTooLong {
        /// The limit, in octets.
        limit: usize,
    },
    /// More lines than [`ReplyLimits::lines`], or more text than [`ReplyLimits::octets`].
    ReplyTooLong {
        /// The limit that was passed, in lines or octets.
        limit: usize,
    },
}

impl MalformedReply {
    /// The same with every occurrence of `secret` blotted out: the excerpt may end within one.
    pub(crate) fn redact(&mut self, secret: &[u8]) {
        let Self::NotAReply(start) = self else { return };
        if let Some(clean) = blotted(start, secret) {
            *start = clean;
        }
        let most = start.len().min(secret.len());
        if let Some(cut) = (SECRET..=most).rev().find(|length| start.ends_with(&secret[..*length])) {
            start.truncate(start.len() - cut);
            start.extend_from_slice(b"***");
        }
    }
}

impl fmt::Display for MalformedReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAReply(start) => {
                write!(f, "not an SMTP reply: \"{}\"", start.escape_ascii())?;
                match start.as_slice() {
                    [0x14..=0x17, ..] => f.write_str(" (this looks like TLS: use implicit TLS on this port)"),
                    [b'H', b'T', b'T', b'P', ..] => f.write_str(" (this is an HTTP server)"),
                    [b'S', b'S', b'H', ..] => f.write_str(" (this is an SSH server)"),
                    [b'*', b' ', ..] | [b'+', ..] => f.write_str(" (this looks like IMAP or POP3)"),
                    _ => Ok(()),
                }
            }
            Self::CodeOutOfRange(code) => write!(f, "reply code {code:03} is outside 200 to 599"),
            Self::CodesDiffer { first, then } => write!(f, "the lines of one reply carry {first} and {then}"),
            Self::LineTooLong { limit } => write!(f, "a reply line is longer than {limit} octets"),
            Self::ReplyTooLong { limit } => write!(f, "a reply is longer than the limit of {limit}"),
        }
    }
}

impl core::error::Error for MalformedReply {}

/// Assembles replies from octets cut anywhere.
///
/// Holds the reply that is not complete yet, at most [`ReplyLimits::octets`] and one line, and up to 8 KiB for the texts of
/// those before it.
#[derive(Debug, Default)]
pub struct ReplyReader {
    limits: ReplyLimits,
    /// The line that is not complete yet.
    line: Vec<u8>,
    text: Vec<u8>,
    blocks: Blocks,
    code: Option<Code>,
    lines: usize,
}

/// As much of a line that is no reply as an error shows.
const EXCERPT: usize = 48;

/// Octets of a line whose room is kept for the next one: what RFC 5321 section 4.5.3.1.5 gives a reply line.
const LINE: usize = 512;

impl ReplyReader {
    /// A reader with these limits.
    pub fn new(limits: ReplyLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// `true` between replies: no octet of the next one was read.
    pub fn is_idle(&self) -> bool {
        self.line.is_empty() && self.code.is_none()
    }

    /// Takes octets from the front of `input`, up to the end of the first reply; `None` wants more.
    ///
    /// # Errors
    ///
    /// What was read is not a reply; the reader is of no use afterwards.
    pub fn receive(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, MalformedReply> {
        while !input.is_empty() {
            let end = memchr::memchr(b'\n', input);
            let (part, rest) = input.split_at(end.map_or(input.len(), |at| at + 1));
            let room = self.limits.line - self.line.len().min(self.limits.line);
            let fits = &part[..part.len().min(room)];
            // A line that came in one piece is read where it lies.
            let whole = end.is_some() && self.line.is_empty();
            if !whole {
                self.line.extend_from_slice(fits);
            }
            // The head is judged before the length, so that the error is the same however the line was cut.
            check_head(if whole { fits } else { &self.line })?;
            if part.len() > room {
                return Err(MalformedReply::LineTooLong { limit: self.limits.line });
            }
            *input = rest;
            if end.is_none() {
                continue;
            }
            let last = if whole { self.take_line(part)? } else { self.take_gathered()? };
            if let Some(code) = last {
                self.code = None;
                self.lines = 0;
                return Ok(Some(Reply::from_parts(code, self.blocks.keep(&mut self.text))));
            }
        }
        Ok(None)
    }

    /// Gives back what is only kept to be used again, between replies; `true` where replies that are kept had better be
    /// [detached](Reply::detached) then. For a session that is idle.
    pub(crate) fn give_back(&mut self) -> bool {
        self.line = Vec::new();
        self.text = Vec::new();
        self.blocks.give_back()
    }

    fn take_gathered(&mut self) -> Result<Option<Code>, MalformedReply> {
        let mut line = core::mem::take(&mut self.line);
        let last = self.take_line(&line)?;
        line.clear();
        // A long line is rare: its room is not kept.
        line.shrink_to(LINE);
        self.line = line;
        Ok(last)
    }

    /// Files a complete line; its code where it is the last of its reply.
    fn take_line(&mut self, line: &[u8]) -> Result<Option<Code>, MalformedReply> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (digits, rest) = match line {
            [a, b, c, rest @ ..] if [a, b, c].into_iter().all(u8::is_ascii_digit) => ([*a, *b, *c], rest),
            _ => return Err(not_a_reply(line)),
        };
        let number = digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        let code = Code::new(number).ok_or(MalformedReply::CodeOutOfRange(number))?;
        let (more, text) = match rest {
            [] => (false, rest),
            [b' ', text @ ..] => (false, text),
            [b'-', text @ ..] => (true, text),
            _ => return Err(not_a_reply(line)),
        };
        match self.code {
            None => self.code = Some(code),
            Some(first) if first != code => return Err(MalformedReply::CodesDiffer { first, then: code }),
            Some(_) => self.text.push(b'\n'),
        }
        self.lines += 1;
        if self.lines > self.limits.lines {
            return Err(MalformedReply::ReplyTooLong { limit: self.limits.lines });
        }
        if self.text.len() + text.len() > self.limits.octets {
            return Err(MalformedReply::ReplyTooLong { limit: self.limits.octets });
        }
        self.text.extend_from_slice(text);
        Ok((!more).then_some(code))
    }
}

/// Refuses a line that begins wrongly before its end has come: another protocol may never send one.
fn check_head(line: &[u8]) -> Result<(), MalformedReply> {
    let wrong = line.iter().take(3).position(|octet| !octet.is_ascii_digit());
    let wrong = wrong.or_else(|| line.get(3).filter(|octet| !matches!(octet, b' ' | b'-' | b'\r' | b'\n')).map(|_| 3));
    let Some(wrong) = wrong else { return Ok(()) };
    // Text is shown up to its line end; what is not text is refused at once, for no line end may ever come.
    let shown = line.iter().take(EXCERPT);
    let ends = shown.clone().skip(wrong).any(|octet| octet.is_ascii_control() || !octet.is_ascii());
    if ends || line.len() >= EXCERPT { Err(not_a_reply(line)) } else { Ok(()) }
}

fn not_a_reply(line: &[u8]) -> MalformedReply {
    let shown = &line[..line.len().min(EXCERPT)];
    let end = shown.iter().position(|octet| matches!(octet, b'\r' | b'\n')).unwrap_or(shown.len());
    // Octets behind the first one that is no text may or may not be here yet: they are not shown.
    let end =
        shown.iter().position(|octet| !octet.is_ascii() || octet.is_ascii_control()).map_or(end, |at| end.min(at + 1));
    MalformedReply::NotAReply(shown[..end].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// Everything that comes out of `wire`, fed in pieces of `size`.
    fn read_in(wire: &[u8], size: usize) -> Result<Vec<(u16, Vec<u8>)>, MalformedReply> {
        let mut reader = ReplyReader::default();
        let mut replies = Vec::new();
        for mut piece in wire.chunks(size) {
            while let Some(reply) = reader.receive(&mut piece)? {
                replies.push((reply.code().number(), reply.text.to_vec()));
            }
        }
        Ok(replies)
    }

    fn read(wire: &[u8]) -> Result<Vec<(u16, Vec<u8>)>, MalformedReply> {
        let whole = read_in(wire, wire.len().max(1));
        for size in [1, 2, 3, 7, 64, 1000] {
            assert_eq!(read_in(wire, size), whole, "cut at {size}: {}", wire[..wire.len().min(80)].escape_ascii());
        }
        whole
    }

    #[test]
    fn every_lawful_shape_is_read() {
        for (wire, code, text) in [
            (&b"220 mx ready\r\n"[..], 220, &b"mx ready"[..]),
            (b"220\r\n", 220, b""),
            (b"220 \r\n", 220, b""),
            (b"250-a\r\n250-b\r\n250\r\n", 250, b"a\nb\n"),
            (b"250-\r\n250 b\r\n", 250, b"\nb"),
            (b"250-a\n250 b\n", 250, b"a\nb"),
            (b"250 caf\xc3\xa9\r\n", 250, b"caf\xc3\xa9"),
            (b"250 caf\xe9 \x00\x01\r\n", 250, b"caf\xe9 \x00\x01"),
            (b"599 x\r\n", 599, b"x"),
            (b"250 a\rb\r\n", 250, b"a\rb"),
        ] {
            assert_eq!(read(wire).unwrap(), vec![(code, text.to_vec())], "{}", wire.escape_ascii());
        }
    }

    #[test]
    fn long_lines_and_many_lines_are_read() {
        let mut wire = b"250 ".to_vec();
        wire.resize(1998, b'x');
        wire.extend_from_slice(b"\r\n");
        assert_eq!(read(&wire).unwrap()[0].1.len(), 1994);

        let mut wire = Vec::new();
        (0..199).for_each(|_| wire.extend_from_slice(b"214-help\r\n"));
        wire.extend_from_slice(b"214 end\r\n");
        assert_eq!(read(&wire).unwrap().len(), 1);
    }

    #[test]
    fn several_replies_are_read_one_by_one() {
        let mut input = &b"250 a\r\n550 b\r\n354"[..];
        let mut reader = ReplyReader::default();
        assert_eq!(reader.receive(&mut input).unwrap().unwrap().code().number(), 250);
        assert_eq!(input, b"550 b\r\n354");
        assert_eq!(reader.receive(&mut input).unwrap().unwrap().code().number(), 550);
        assert!(reader.is_idle());
        assert_eq!(reader.receive(&mut input), Ok(None));
        assert!(!reader.is_idle());
    }

    #[test]
    fn everything_else_is_refused_the_same_at_every_cut() {
        use MalformedReply::*;
        let code = |number| Code::new(number).unwrap();
        for (wire, error) in [
            (&b"250-a\r\n251 b\r\n"[..], CodesDiffer { first: code(250), then: code(251) }),
            (b"199 x\r\n", CodeOutOfRange(199)),
            (b"600 x\r\n", CodeOutOfRange(600)),
            (b"000\r\n", CodeOutOfRange(0)),
            (b"\r\n", NotAReply(vec![])),
            (b"hello\r\n", NotAReply(b"hello".to_vec())),
            (b"25\r\n", NotAReply(b"25".to_vec())),
            (b"2500 x\r\n", NotAReply(b"2500 x".to_vec())),
            (b"250_x\r\n", NotAReply(b"250_x".to_vec())),
            (b"250\tx\r\n", NotAReply(b"250\t".to_vec())),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", NotAReply(b"HTTP/1.1 400 Bad Request".to_vec())),
            (b"\x15\x03\x01\x00\x02\x02\x46", NotAReply(vec![0x15])),
            (&[b'x'; 100_000], NotAReply(vec![b'x'; EXCERPT])),
        ] {
            assert_eq!(read(wire), Err(error), "{}", wire[..wire.len().min(40)].escape_ascii());
        }
    }

    #[test]
    fn the_limits_hold() {
        let mut wire = b"250 ".to_vec();
        wire.resize(1_000_000, b'x');
        assert_eq!(read(&wire), Err(MalformedReply::LineTooLong { limit: 16_384 }));
        let wire = b"250-x\r\n".repeat(513);
        assert_eq!(read(&wire), Err(MalformedReply::ReplyTooLong { limit: 512 }));
        let mut line = b"250-".to_vec();
        line.resize(4000, b'x');
        line.extend_from_slice(b"\r\n");
        assert_eq!(read(&line.repeat(40)), Err(MalformedReply::ReplyTooLong { limit: 131_072 }));
    }

    #[test]
    fn what_is_just_within_the_limits_is_read() {
        let limits = ReplyLimits { line: 16, lines: 3, octets: 20 };
        let read = |wire: &str| {
            let whole = ReplyReader::new(limits).receive(&mut wire.as_bytes());
            let mut reader = ReplyReader::new(limits);
            let bit_by_bit = wire.as_bytes().iter().find_map(|octet| reader.receive(&mut &[*octet][..]).transpose());
            assert_eq!(whole.clone().transpose(), bit_by_bit, "{wire:?}");
            whole.map(|reply| reply.map_or(0, |reply| reply.text().len()))
        };
        // Sixteen octets with the line end, which counts.
        assert_eq!(read("250 0123456789\r\n"), Ok(10));
        assert_eq!(read("250 01234567890\n"), Ok(11));
        assert_eq!(read("250 01234567890\r\n"), Err(MalformedReply::LineTooLong { limit: 16 }));
        assert_eq!(read("250-a\r\n250-b\r\n250 c\r\n"), Ok(5));
        assert_eq!(read("250-a\r\n250-b\r\n250-c\r\n250 d\r\n"), Err(MalformedReply::ReplyTooLong { limit: 3 }));
        // Twenty octets of text, with the LF that joins its lines.
        assert_eq!(read("250-0123456789\r\n250 012345678\r\n"), Ok(20));
        assert_eq!(read("250-0123456789\r\n250 0123456789\r\n"), Err(MalformedReply::ReplyTooLong { limit: 20 }));
    }

    #[test]
    fn limits_are_for_one_reply_and_not_for_all() {
        let mut reader = ReplyReader::new(ReplyLimits { line: 16, lines: 2, octets: 8 });
        let wire = b"250-1234\r\n250 567\r\n".repeat(3);
        let mut rest = &wire[..];
        for _ in 0..3 {
            assert_eq!(reader.receive(&mut rest).unwrap().unwrap().text(), "1234\n567");
        }
    }

    #[test]
    fn a_reader_is_idle_between_replies_alone() {
        let mut reader = ReplyReader::default();
        assert!(reader.is_idle());
        for (wire, idle) in [("2", false), ("50-a\r\n", false), ("250 ", false), ("b\r\n", true)] {
            reader.receive(&mut wire.as_bytes()).unwrap();
            assert_eq!(reader.is_idle(), idle, "behind {wire:?}");
        }
        assert!(reader.give_back(), "the text of a reply lies in a block");
        assert!(!reader.give_back());
        assert_eq!((reader.line.capacity(), reader.text.capacity()), (0, 0));
    }

    #[test]
    fn another_protocol_is_named() {
        for (wire, hint) in [
            (&b"\x15\x03\x01\x00\x02"[..], "looks like TLS"), // an alert record (RFC 8446 section 5.1)
            (b"\x16\x03\x01\x00\x02", "looks like TLS"),
            (b"HTTP/1.1 400 Bad Request\r\n", "an HTTP server"),
            (b"SSH-2.0-server\r\n", "an SSH server"),
            (b"* OK ready\r\n", "IMAP or POP3"),
            (b"+OK ready\r\n", "IMAP or POP3"),
        ] {
            let error = alloc::format!("{}", read(wire).unwrap_err());
            assert!(error.contains("not an SMTP reply") && error.contains(hint), "{error}");
        }
        let plain = alloc::format!("{}", read(b"hello\r\n").unwrap_err());
        assert!(plain.contains("hello") && !plain.contains("this"), "{plain}");
        for (wire, named) in [
            (&b"199 x\r\n"[..], &["199", "200 to 599"][..]),
            (b"250-a\r\n251 b\r\n", &["250", "251"]),
            (&b"250-x\r\n".repeat(513), &["512"]),
        ] {
            let error = alloc::format!("{}", read(wire).unwrap_err());
            assert!(named.iter().all(|one| error.contains(one)), "{error}");
        }
    }

    #[test]
    fn a_secret_in_an_excerpt_is_blotted_out_also_where_the_excerpt_ends_within_it() {
        for (shown, left) in [
            (&b"no hunter2 here"[..], &b"no *** here"[..]),
            (b"hunter2", b"***"),
            (b"no hunter", b"no ***"),
            (b"no hunt", b"no ***"),
            (b"hunt", b"***"),
            // So few octets would blot out ordinary words.
            (b"no hun", b"no hun"),
            (b"hunter2, hunter", b"***, ***"),
            (b"unter2", b"unter2"),
        ] {
            let mut error = MalformedReply::NotAReply(shown.to_vec());
            error.redact(b"hunter2");
            assert_eq!(error, MalformedReply::NotAReply(left.to_vec()), "{}", shown.escape_ascii());
        }
        let mut other = MalformedReply::CodeOutOfRange(199);
        other.redact(b"hunter2");
        assert_eq!(other, MalformedReply::CodeOutOfRange(199));
    }

    #[test]
    fn each_limit_is_named() {
        for (error, part) in [
            (MalformedReply::LineTooLong { limit: 2048 }, "2048 octets"),
            (MalformedReply::ReplyTooLong { limit: 512 }, "512"),
            (MalformedReply::CodesDiffer { first: Code::OK, then: Code::READY }, "250 and 220"),
        ] {
            let text = alloc::format!("{error}");
            assert!(text.contains(part), "{text}");
        }
    }
}
