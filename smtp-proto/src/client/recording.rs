//! A transcript as text: written to a file line by line, and read back.
//!
//! The rules of this file:
//!
//! - A line of text for each line on the wire: when, in which phase, who, what; `1.250000000 [MAIL] S: 250 2.1.0 ok`.
//! - What a server said is kept octet by octet, because a bug may be in one: `\xHH` stands for what cannot be printed, `\\` for a
//!   backslash.
//! - Secrets were hidden where they were said. They are not in a recording, and nothing here can bring them back.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::str::FromStr;
use core::time::Duration;

use proxy_proto::{Instant, Phase};

use super::transcript::Line;
use crate::reply::{Reply, ReplyReader};

/// One entry of a transcript, to be kept.
///
/// ```
/// use smtp_proto::client::{Entry, Line};
/// use smtp_proto::{Instant, phase};
///
/// // In a file: one such line for each call of the listener of a `Transcript`.
/// let entry = Entry::new(Instant::EPOCH, phase::EHLO, Line::Client("EHLO client.example.org"));
/// assert_eq!(entry.to_string(), "0.000000000 [EHLO] C: EHLO client.example.org");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// When it was said.
    pub at: Instant,
    /// The phase's name.
    pub phase: String,
    /// Who said what.
    pub said: Said,
}

/// Who said what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// What the client said: a command without its line end, with `***` in the place of a secret.
    Client(String),
    /// What the server said.
    Server(Reply),
    /// What happened below the dialogue.
    Note(String),
}

/// A whole transcript.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recording {
    /// In the order in which it was said.
    pub entries: Vec<Entry>,
}

/// A line that no [`Entry`] wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotARecording {
    /// Which line, counted from 1.
    pub line: usize,
}

impl fmt::Display for NotARecording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is not of a transcript", self.line)
    }
}

impl core::error::Error for NotARecording {}

impl Entry {
    /// What the listener of a [`Transcript`](super::Transcript) is called with.
    pub fn new(at: Instant, phase: Phase, line: Line<'_>) -> Self {
        let said = match line {
            Line::Client(line) => Said::Client(line.into()),
            Line::Server(reply) => Said::Server(reply.clone()),
            Line::Note(note) => Said::Note(note.into()),
        };
        Self { at, phase: phase.name().into(), said }
    }

    fn head(&self, f: &mut fmt::Formatter<'_>, who: &str) -> fmt::Result {
        let at = self.at.since_epoch();
        write!(f, "{}.{:09} [", at.as_secs(), at.subsec_nanos())?;
        // It ends at its bracket.
        for part in self.phase.split_inclusive(']') {
            escape(f, part.trim_end_matches(']').as_bytes())?;
            if part.ends_with(']') {
                f.write_str("\\x5d")?;
            }
        }
        write!(f, "] {who} ")
    }
}

impl fmt::Display for Entry {
    /// One line of text; for a reply of several lines, as many.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.said {
            Said::Client(line) => {
                self.head(f, "C:")?;
                escape(f, line.as_bytes())
            }
            Said::Note(note) => {
                self.head(f, "--")?;
                escape(f, note.as_bytes())
            }
            Said::Server(reply) => {
                let mut lines = reply.lines().peekable();
                while let Some(line) = lines.next() {
                    let more = lines.peek().is_some();
                    self.head(f, "S:")?;
                    write!(f, "{}{}", reply.code(), if more { '-' } else { ' ' })?;
                    escape(f, line)?;
                    if more {
                        f.write_char('\n')?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl FromStr for Recording {
    type Err = NotARecording;

    /// Reads what entries wrote; empty lines may stand between them.
    ///
    /// # Errors
    ///
    /// [`NotARecording`] names the first line that is none.
    fn from_str(text: &str) -> Result<Self, NotARecording> {
        let (mut entries, mut reader) = (Vec::new(), ReplyReader::default());
        let mut last = 0;
        // `lines` would take a CR off, which is escaped where it belongs to the line.
        for (at, line) in text.split('\n').enumerate().filter(|(_, line)| !line.is_empty()) {
            last = at + 1;
            read(line, &mut reader).map(|entry| entries.extend(entry)).ok_or(NotARecording { line: last })?;
        }
        if reader.is_idle() { Ok(Self { entries }) } else { Err(NotARecording { line: last }) }
    }
}

impl Recording {
    /// The octets of each message that went out as a whole, as its owner gave them; in order.
    pub fn message_sizes(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().filter_map(|entry| match &entry.said {
            Said::Note(note) => note.strip_prefix("message, ")?.strip_suffix(" octets")?.parse().ok(),
            _ => None,
        })
    }
}

/// Reads a line; nothing yet where a reply goes on, `None` where it is no line of a transcript.
fn read(line: &str, reader: &mut ReplyReader) -> Option<Option<Entry>> {
    let (at, rest) = line.split_once(" [")?;
    let (phase, rest) = rest.split_once("] ")?;
    let (who, said) = rest.split_at_checked(2)?;
    let said = unescape(said.strip_prefix(' ')?)?;
    let (seconds, nanos) = at.split_once('.').filter(|(_, nanos)| nanos.len() == 9)?;
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if !digits(seconds) || !digits(nanos) {
        return None;
    }
    let at = Instant::from_epoch(Duration::new(seconds.parse().ok()?, nanos.parse().ok()?));
    let phase = String::from_utf8(unescape(phase)?).ok()?;
    let said = match who {
        "S:" => {
            let wire = [&said[..], b"\r\n"].concat();
            let mut input = &wire[..];
            let reply = reader.receive(&mut input).ok()?;
            // One line of text is one line of a reply.
            if !input.is_empty() {
                return None;
            }
            let Some(reply) = reply else { return Some(None) };
            Said::Server(reply)
        }
        // A reply that has begun goes on before anything else is said.
        _ if !reader.is_idle() => return None,
        "C:" => Said::Client(String::from_utf8(said).ok()?),
        "--" => Said::Note(String::from_utf8(said).ok()?),
        _ => return None,
    };
    Some(Some(Entry { at, phase, said }))
}

fn escape(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    for chunk in octets.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                c if c.is_control() => {
                    let mut octets = [0; 4];
                    c.encode_utf8(&mut octets).bytes().try_for_each(|octet| write!(f, "\\x{octet:02x}"))?;
                }
                c => f.write_char(c)?,
            }
        }
        chunk.invalid().iter().try_for_each(|octet| write!(f, "\\x{octet:02x}"))?;
    }
    Ok(())
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let (mut octets, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (b'\\', [b'\\', tail @ ..]) => {
                octets.push(b'\\');
                tail
            }
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let digit = |octet: &u8| char::from(*octet).to_digit(16);
                octets.push((digit(high)? * 16 + digit(low)?) as u8);
                tail
            }
            (b'\\', _) => return None,
            (octet, tail) => {
                octets.push(*octet);
                tail
            }
        };
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phase;
    use alloc::string::ToString;

    #[test]
    fn what_is_written_is_read_again_octet_by_octet() {
        let mut wire = &b"250-one \\ \xe9\x1b[2J\r\n250-\r\n250 [three] gr\xc3\xbcn\r\n"[..];
        let reply = ReplyReader::default().receive(&mut wire).unwrap().unwrap();
        let at = Instant::from_epoch(Duration::new(7, 1_000));
        let recording = Recording {
            entries: alloc::vec![
                Entry::new(Instant::EPOCH, phase::GREETING, Line::Note("TLS 1.3, a [cipher]\nof mine")),
                Entry::new(at, phase::MAIL, Line::Client("MAIL FROM:<gr\u{fc}n\\@example.org>")),
                Entry::new(at, phase::MESSAGE, Line::Server(&reply)),
                Entry::new(at, phase::AUTH, Line::Client("***")),
            ],
        };
        let text = recording.to_string();
        assert_eq!(
            text,
            "0.000000000 [greeting] -- TLS 1.3, a [cipher]\\x0aof mine\n\
             7.000001000 [MAIL] C: MAIL FROM:<gr\u{fc}n\\\\@example.org>\n\
             7.000001000 [final dot] S: 250-one \\\\ \\xe9\\x1b[2J\n\
             7.000001000 [final dot] S: 250-\n\
             7.000001000 [final dot] S: 250 [three] gr\u{fc}n\n\
             7.000001000 [AUTH] C: ***\n"
        );
        assert_eq!(text.parse(), Ok(recording));
    }

    #[test]
    fn the_first_line_that_is_none_is_named() {
        let good = "0.000000000 [MAIL] C: a";
        for (bad, line) in [
            ("x", 1),
            ("0.0 [MAIL] C: a", 1),
            ("+0.000000000 [MAIL] C: a", 1),
            ("0.000000000 MAIL C: a", 1),
            ("0.000000000 [MAIL] X: a", 1),
            ("0.000000000 [MAIL] C:a", 1),
            ("0.000000000 [MAIL] C: \\x1", 1),
            ("0.000000000 [MAIL] C: \\xff", 1),
            ("0.000000000 [MAIL] S: 250", 0),
            ("0.000000000 [MAIL] S: 2x0 a", 1),
            ("0.000000000 [MAIL] S: 250 a\\x0d\\x0a250 b", 1),
            ("0.000000000 [MAIL] S: 250-a", 1),
            ("0.000000000 [MAIL] S: 250-a\n0.000000000 [MAIL] C: a", 2),
            ("0.000000000 [MAIL] S: 250-a\n0.000000000 [MAIL] S: 550 a", 2),
        ] {
            let read = [good, "\n\n", bad].concat().parse::<Recording>();
            assert_eq!(read.err().map(|error| error.line), Some(line + 2).filter(|_| line > 0), "{bad}");
        }
        assert_eq!("".parse(), Ok(Recording::default()));
    }

    #[test]
    fn a_phase_of_a_machine_from_outside_may_hold_what_ends_it() {
        let phase = Phase::named("a] C: b");
        let recording = Recording { entries: alloc::vec![Entry::new(Instant::EPOCH, phase, Line::Client("NOOP"))] };
        let text = recording.to_string();
        assert_eq!(text, "0.000000000 [a\\x5d C: b] C: NOOP\n");
        assert_eq!(text.parse(), Ok(recording));
        assert!(NotARecording { line: 7 }.to_string().contains("line 7"));
    }
}
