//! The head of an HTTP message: collected up to its empty line, never further, and bounded.
//!
//! The rules of this file: it knows where a head ends and nothing of what it says. Slices are taken whole; the first octets
//! are compared with what the head must begin with, so that another protocol is noticed at its first octet and not when
//! the time is over.

use alloc::vec::Vec;

use zeroize::Zeroizing;

use crate::error::{Kind, Spoken};

/// Collects one head.
pub(super) struct Collector {
    begins: &'static [u8],
    limit: usize,
    /// Wiped: on the accepting side it may hold a password.
    held: Zeroizing<Vec<u8>>,
    /// Nothing but perhaps a CR since the last LF.
    line_empty: bool,
}

impl Collector {
    /// For a head that begins like this and has at most `limit` octets.
    pub(super) fn new(begins: &'static [u8], limit: usize) -> Self {
        Self { begins, limit, held: Zeroizing::default(), line_empty: false }
    }

    /// Whether nothing has come yet.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes octets up to the end of the head; the head, once it is complete. The collector is empty again then.
    pub(super) fn take(&mut self, input: &mut &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Kind> {
        let mut taken = 0;
        let mut outcome = Ok(false);
        for &octet in *input {
            let place = self.held.len() + taken;
            if place >= self.limit {
                outcome = Err(Kind::HeadTooLong(self.limit));
                break;
            }
            taken += 1;
            if self.begins.get(place).is_some_and(|&expected| expected != octet) {
                outcome = Err(Kind::Speaks(Spoken::by(octet)));
                break;
            }
            match octet {
                b'\n' if self.line_empty => {
                    outcome = Ok(true);
                    break;
                }
                b'\n' => self.line_empty = true,
                b'\r' => {}
                _ => self.line_empty = false,
            }
        }
        let (head, rest) = input.split_at(taken);
        *input = rest;
        self.held.extend_from_slice(head);
        if !outcome? {
            return Ok(None);
        }
        self.line_empty = false;
        Ok(Some(core::mem::take(&mut self.held)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n";

    #[test]
    fn a_head_ends_at_its_empty_line_at_every_cut() {
        let stream = [HEAD, b"\r\n220 mx"].concat();
        for cut in 0..=HEAD.len() {
            let mut collector = Collector::new(b"HTTP/", 1024);
            let (first, _) = stream.split_at(cut);
            let mut input = first;
            let early = collector.take(&mut input).expect("a head");
            assert_eq!((early.is_some(), input.len()), (cut == HEAD.len(), 0));
            if early.is_none() {
                let mut input = stream.get(cut..).expect("in bounds");
                let head = collector.take(&mut input).expect("a head");
                assert_eq!(head.map(|head| head.to_vec()).as_deref(), Some(HEAD));
                assert_eq!(input, b"\r\n220 mx");
            }
            assert!(collector.is_empty());
        }
    }

    #[test]
    fn bare_line_feeds_end_lines_too() {
        let mut input = &b"HTTP/1.0 200\n\nx"[..];
        assert!(matches!(Collector::new(b"HTTP/", 64).take(&mut input), Ok(Some(_))));
        assert_eq!(input, b"x");
    }

    #[test]
    fn the_limit_holds_to_the_octet() {
        let limit = HEAD.len();
        assert!(matches!(Collector::new(b"HTTP/", limit).take(&mut &HEAD[..]), Ok(Some(_))));
        let got = Collector::new(b"HTTP/", limit - 1).take(&mut &HEAD[..]);
        assert_eq!(got.err(), Some(Kind::HeadTooLong(limit - 1)));
    }

    #[test]
    fn other_protocols_show_at_once() {
        let seen = |octets: &[u8]| Collector::new(b"HTTP/", 64).take(&mut &octets[..]).err();
        assert_eq!(seen(b"\x05\x00"), Some(Kind::Speaks(Spoken::Socks5)));
        assert_eq!(seen(b"\x00\x5a"), Some(Kind::Speaks(Spoken::Socks4)));
        assert_eq!(seen(b"220 mx ESMTP"), Some(Kind::Speaks(Spoken::Smtp)));
        assert_eq!(seen(b"\x15\x03\x03"), Some(Kind::Speaks(Spoken::Tls)));
        assert_eq!(seen(b"HTTP"), None);
    }
}
