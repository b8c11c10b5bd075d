//! Parts of a message that the server fetches by itself: BURL (RFC 4468).
//!
//! The rules of this file:
//!
//! - What stands before a URL in the message goes out before it, as a chunk that ends with a line's end.
//! - A URL may carry a token that opens a mailbox (URLAUTH, RFC 4467): it is a secret, and no transcript shows it.
//! - What was fetched cannot be said again by the client: a server that loses track of such a message is not asked once more.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use proxy_proto::{Instant, Secret};

use super::framing::{Framing, Which};
use super::transaction::Next;
use super::transcript::Line;
use super::{Client, Owed, Work};
use crate::{Misuse, phase};

/// Where the server fetches a part of the message: an `imap:` URL as a rule, with a URLAUTH token.
#[derive(Clone, PartialEq, Eq)]
pub struct ContentUrl(Secret);

impl ContentUrl {
    /// An absolute URL, in the form in which it travels.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where it has no scheme, is longer than 2000 octets, or holds a space, a control character, or anything but
    /// ASCII.
    pub fn new(url: &str) -> Result<Self, Misuse> {
        let what = "BURL URL";
        if let Some(octet) = url.bytes().find(|octet| !octet.is_ascii_graphic()) {
            return Err(Misuse::Forbidden { what, octet });
        }
        if url.len() > 2000 {
            return Err(Misuse::TooLong { what, limit: 2000 });
        }
        match url.split_once(':') {
            Some((scheme, rest)) if scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && !rest.is_empty() => {
                Ok(Self(Secret::from(url)))
            }
            _ => Err(Misuse::Malformed { what }),
        }
    }

    /// The URL without its token.
    fn shown(&self) -> String {
        let url = String::from_utf8_lossy(self.0.expose());
        match self.token() {
            Some(token) => format!("{}***", &url[..url.len() - token.expose().len()]),
            None => url.into_owned(),
        }
    }

    /// What must not be seen of it.
    fn token(&self) -> Option<Secret> {
        let url = core::str::from_utf8(self.0.expose()).ok()?;
        let at = url.to_ascii_uppercase().find(";URLAUTH=")? + ";URLAUTH=".len();
        Some(Secret::from(&url[at..]))
    }
}

impl fmt::Debug for ContentUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentUrl({})", self.shown())
    }
}

impl Client {
    /// Puts out what was gathered before the URL, and the URL itself; `false` where either has to wait for a reply.
    pub(super) fn say_part(&mut self, now: Instant, url: &ContentUrl, output: &mut Vec<u8>) -> bool {
        self.say_rest(now, output) && self.may_chunk() && {
            self.say_url(now, url, false, output);
            true
        }
    }

    /// Puts out what was gathered; `false` where it has to wait.
    pub(super) fn say_rest(&mut self, now: Instant, output: &mut Vec<u8>) -> bool {
        let may_chunk = self.may_chunk();
        let Some(Work::Message(transaction)) = self.work.get_mut(self.said) else { return false };
        let Framing::Chunks(chunks) = &mut transaction.framing else { return false };
        if !chunks.complete_line() {
            return true;
        }
        if may_chunk {
            self.say_chunk(now, Which::Full(&[]), output, None);
        }
        // A chunk has its limit, and what was gathered may go a little beyond.
        may_chunk && self.say_rest(now, output)
    }

    /// `BURL`, on its own or as the message's end.
    pub(super) fn say_url(&mut self, now: Instant, url: &ContentUrl, last: bool, output: &mut Vec<u8>) {
        let limits = self.config.limits;
        let Some(Work::Message(transaction)) = self.work.get_mut(self.said) else { return };
        (transaction.kept, transaction.in_doubt) = (None, false);
        transaction.chunks_said = true;
        transaction.commands += 1;
        let id = transaction.id;
        let octets = transaction.octets;
        let end = if last { " LAST" } else { "" };
        output.extend_from_slice(b"BURL ");
        output.extend_from_slice(url.0.expose());
        output.extend_from_slice(end.as_bytes());
        output.extend_from_slice(b"\r\n");
        self.tokens.extend(url.token());
        self.doubtful = Some(id);
        self.dialogue.command();
        let phase = if last { phase::MESSAGE } else { phase::BLOCK };
        if self.is_shown() {
            self.show(now, phase, Line::Client(&format!("BURL {}{end}", url.shown())));
        }
        if last {
            self.show_message(now, octets);
            self.owe(now, Owed::Last(id), phase::MESSAGE, limits.message, false);
            self.all_said();
        } else {
            // The server has to fetch it first.
            self.owe(now, Owed::Chunk(id), phase::BLOCK, limits.message, false);
        }
    }

    /// The message ends with this URL, as soon as it may be said.
    pub(super) fn end_with_url(&mut self, now: Instant, url: ContentUrl, output: &mut Vec<u8>) {
        let Some(transaction) = self.open_body() else { return };
        transaction.complete = true;
        transaction.next = Next::Last;
        transaction.last_url = Some(url);
        self.say_last_url(now, output);
    }

    /// The end of a message that ends with a URL; `true` where something of it went out.
    pub(super) fn say_last_url(&mut self, now: Instant, output: &mut Vec<u8>) -> bool {
        let before = output.len();
        if self.say_rest(now, output) && self.may_chunk() {
            let Some(Work::Message(transaction)) = self.work.get_mut(self.said) else { return false };
            if let Some(url) = transaction.last_url.take() {
                self.say_url(now, &url, true, output);
            }
        }
        output.len() > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_one_word_and_its_token_is_not_shown() {
        let text = "imap://harry@gryffindor.example.com/outbox;uidvalidity=1078863300/;uid=25;urlauth=submit+harry:internal:91354";
        let url = ContentUrl::new(text).unwrap();
        let shown = "imap://harry@gryffindor.example.com/outbox;uidvalidity=1078863300/;uid=25;urlauth=***";
        assert_eq!(url.shown(), shown);
        assert_eq!(format!("{url:?}"), format!("ContentUrl({shown})"));
        assert_eq!(url.token().unwrap().expose(), b"submit+harry:internal:91354");
        assert_eq!(ContentUrl::new("http://a/b").unwrap().shown(), "http://a/b");
        for bad in ["", "imap", "imap:", ":x", "imap://a b", "imap://a\r\nQUIT", "imap://\u{e9}"] {
            assert!(ContentUrl::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_url_may_be_long_and_not_longer() {
        let url = |length: usize| ContentUrl::new(&["imap://a/", &"b".repeat(length - 9)].concat()).map(|_| ());
        assert_eq!(url(2000), Ok(()));
        assert!(matches!(url(2001), Err(Misuse::TooLong { limit: 2000, .. })));
    }
}
