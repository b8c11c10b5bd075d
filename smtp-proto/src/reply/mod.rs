//! Replies: what the server says (RFC 5321 section 4.2).
//!
//! The rules of this room: text is octets, because servers write Latin-1 and worse; it is shown lossily and never with
//! control characters, because it ends up on terminals and in logs.

mod blocks;
mod code;
mod enhanced;
mod reader;

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

pub use code::Code;
pub use enhanced::EnhancedStatus;
pub use reader::{MalformedReply, ReplyLimits, ReplyReader};

use crate::Misuse;

/// One reply, of one line or several.
///
/// A clone shares its text. Who keeps a reply keeps its text and no more, except that a short one may lie in a block of 256
/// octets with others.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    code: Code,
    /// The lines' text, joined by LF: a line cannot hold one.
    text: Bytes,
}

impl Reply {
    /// A reply to be sent; each LF in `text` begins a further line.
    ///
    /// # Errors
    ///
    /// [`Misuse::Forbidden`] where `text` holds CR, NUL or another control character.
    pub fn new(code: Code, text: impl Into<String>) -> Result<Self, Misuse> {
        let text = text.into();
        match text.bytes().find(|octet| octet.is_ascii_control() && !matches!(octet, b'\n' | b'\t')) {
            Some(octet) => Err(Misuse::Forbidden { what: "reply text", octet }),
            None => Ok(Self { code, text: text.into_bytes().into() }),
        }
    }

    /// A reply of the code alone.
    pub(crate) fn bare(code: Code) -> Self {
        Self { code, text: Bytes::new() }
    }

    fn from_parts(code: Code, text: Bytes) -> Self {
        Self { code, text }
    }

    /// The same on its own, for who keeps it as long as the session: it keeps no block of the reader's.
    pub(crate) fn detached(&self) -> Self {
        Self { code: self.code, text: Bytes::copy_from_slice(&self.text) }
    }

    /// The code, the same on every line.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The text of each line, without code and line end; at least one, possibly empty.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text.split(|octet| *octet == b'\n')
    }

    /// The whole text as the server wrote it, its lines joined by LF; octets that are not UTF-8 are replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }

    /// The enhanced status code, where the first line begins with one of the code's own class (RFC 2034 section 4).
    pub fn enhanced(&self) -> Option<EnhancedStatus> {
        let (status, _) = EnhancedStatus::split(self.lines().next()?)?;
        (u16::from(status.class) == self.code.number() / 100).then_some(status)
    }

    /// The text for a person: in one line, without enhanced status codes and control characters.
    pub fn message(&self) -> String {
        let mut message = String::new();
        for line in self.lines() {
            let line = match (self.enhanced(), EnhancedStatus::split(line)) {
                (Some(_), Some((_, rest))) => rest,
                _ => line,
            };
            if !message.is_empty() {
                message.push(' ');
            }
            message.extend(String::from_utf8_lossy(line).chars().map(printable));
        }
        message
    }

    /// Appends the reply as it goes over the wire.
    pub fn encode(&self, output: &mut Vec<u8>) {
        let mut lines = self.lines().peekable();
        while let Some(line) = lines.next() {
            let code = self.code.number();
            output.extend([code / 100, code / 10 % 10, code % 10].map(|digit| b'0' + digit as u8));
            output.push(if lines.peek().is_some() { b'-' } else { b' ' });
            output.extend_from_slice(line);
            output.extend_from_slice(b"\r\n");
        }
    }

    /// The same reply with every occurrence of `secret` blotted out: servers echo what they refuse.
    pub(crate) fn redact(&mut self, secret: &[u8]) {
        if let Some(clean) = blotted(&self.text, secret) {
            self.text = clean.into();
        }
    }

    /// The same for a challenge, which hides in base64 what it repeats: nothing of such a line is left.
    pub(crate) fn redact_encoded(&mut self, secret: &[u8]) {
        let repeats =
            |line: &[u8]| STANDARD.decode(line.trim_ascii()).is_ok_and(|said| blotted(&said, secret).is_some());
        if self.lines().any(repeats) {
            self.text = Bytes::from_static(BLOT);
        }
    }
}

/// What stands in the place of a secret.
const BLOT: &[u8] = b"***";

/// Shorter ones would blot out ordinary words, and are no secret worth the name.
pub(crate) const SECRET: usize = 4;

/// `text` with every occurrence of `secret` blotted out; `None` where there is none.
pub(crate) fn blotted(text: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
    if secret.len() < SECRET {
        return None;
    }
    // In one pass: a server that echoes nothing else must not cost more than its octets.
    let mut clean = Vec::new();
    let mut from = 0;
    for at in memchr::memmem::find_iter(text, secret) {
        clean.extend_from_slice(&text[from..at]);
        clean.extend_from_slice(BLOT);
        from = at + secret.len();
    }
    (from > 0).then(|| {
        clean.extend_from_slice(&text[from..]);
        clean
    })
}

/// Control characters can rewrite a terminal; they are shown as what cannot be shown.
fn printable(c: char) -> char {
    if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = self.enhanced() {
            write!(f, " {status}")?;
        }
        match self.message() {
            message if message.is_empty() => Ok(()),
            message => write!(f, " {message}"),
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({} {:?})", self.code, self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn reply(code: u16, text: &[u8]) -> Reply {
        Reply::from_parts(Code::new(code).unwrap(), Bytes::copy_from_slice(text))
    }

    #[test]
    fn a_status_of_another_class_is_text() {
        assert_eq!(reply(250, b"2.1.5 fine").enhanced().unwrap().to_string(), "2.1.5");
        assert_eq!(reply(550, b"2.1.5 odd").enhanced(), None);
    }

    #[test]
    fn people_see_one_clean_line() {
        let reply = reply(550, b"5.7.1 no\n5.7.1 \x1b[2Jreally\xe9");
        assert_eq!(reply.to_string(), "550 5.7.1 no \u{fffd}[2Jreally\u{fffd}");
        let debugged = alloc::format!("{reply:?}");
        assert!(debugged.contains("550") && debugged.contains("really"), "{debugged}");
        assert!(!debugged.contains(char::is_control), "{debugged:?}");
    }

    #[test]
    fn a_reply_is_written_line_by_line() {
        let mut wire = Vec::new();
        Reply::new(Code::OK, "a\n\nb").unwrap().encode(&mut wire);
        assert_eq!(wire, b"250-a\r\n250-\r\n250 b\r\n");
        assert_eq!(Reply::new(Code::OK, "a\r\n250 b"), Err(Misuse::Forbidden { what: "reply text", octet: b'\r' }));
    }

    #[test]
    fn an_echoed_secret_is_blotted_out() {
        let mut echo = reply(535, b"no: hunter2, hunter2");
        echo.redact(b"hunter2");
        assert_eq!(echo.text(), "no: ***, ***");
        // An echo may stand at either end, and beside another; what is no echo stays as it is.
        let mut echo = reply(535, b"keysKEYS is keyskeys, no key");
        echo.redact(b"keys");
        assert_eq!(echo.text(), "***KEYS is ******, no key");
        let mut echo = reply(535, b"no for you");
        echo.redact(b"no");
        echo.redact(b"for");
        assert_eq!(echo.text(), "no for you", "so short a secret would blot out ordinary words");
    }

    #[test]
    fn a_secret_echoed_in_base64_is_blotted_out_wherever_it_stands() {
        for said in ["hunter2", "a hunter2", "a  hunter2."] {
            let mut echo = reply(334, STANDARD.encode(said).as_bytes());
            echo.redact_encoded(b"hunter2");
            assert_eq!(echo.text(), "***", "{said}");
        }
        let mut other = reply(334, b"VXNlcm5hbWU6");
        other.redact_encoded(b"hunter2");
        assert_eq!(other.text(), "VXNlcm5hbWU6");
    }
}
