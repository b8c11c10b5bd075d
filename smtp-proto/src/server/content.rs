//! DATA and BDAT: the octets of a message (RFC 5321 section 4.1.1.4, RFC 3030).
//!
//! The rules of this file:
//!
//! - What is handed out does not depend on how the input was cut: up to the octet that proves a fault, for BDAT and for the
//!   size limit, or up to the end, for DATA.
//! - An event takes at least one octet. Where a message ends in a fault and there is content still to be handed out, the
//!   octet that completes the fault is left for the next call.
//! - Only CRLF.CRLF ends DATA. A refused chunk is taken to its end: its octets are never commands.

use alloc::vec::Vec;

use super::replies::{self, Fixed};
use super::{Abandoned, Ask, Event, Open, Server, State, Transaction, Verdict};
use crate::body::Unstuffing;

/// The most octets handed out at once.
const PIECE: usize = 16 * 1024;

/// DATA on its way in.
#[derive(Default)]
pub(super) struct Data {
    unstuffing: Unstuffing,
    too_large: bool,
}

/// A chunk on its way in.
pub(super) struct Chunk {
    /// Octets still to come.
    left: u64,
    last: bool,
    /// How it will be answered, and what the owner is told, where that is settled already.
    refusal: Option<(Fixed, Option<Abandoned>)>,
}

impl Server {
    pub(super) fn begin_data(&mut self) -> Option<Event> {
        let fault = match &self.transaction {
            None => return self.misplaced(replies::MAIL_FIRST),
            Some(transaction) if transaction.spoilt => return self.misplaced(replies::RESET_FIRST),
            Some(_) if self.session.recipients == 0 => return self.misplaced(self.no_recipients()),
            Some(transaction) if transaction.chunked => replies::CHUNKS_BEGUN,
            Some(transaction) if transaction.binary => replies::BINARY_BY_DATA,
            Some(_) if self.config.asks(Ask::Data) => {
                self.state = State::Question(Open::Data);
                return Some(Event::Data);
            }
            Some(_) => {
                self.say(replies::START_MAIL);
                self.take_data();
                return None;
            }
        };
        self.fault(fault)
    }

    /// 354 was said: the octets of the message come.
    pub(super) fn take_data(&mut self) {
        let unstuffing = Unstuffing::new(self.config.bare_line_endings);
        self.state = State::Data(Data { unstuffing, too_large: false });
    }

    pub(super) fn begin_chunk(&mut self, left: u64, last: bool) {
        let refusal = match &mut self.transaction {
            _ if self.turned_away => Some(replies::ONLY_QUIT),
            _ if !self.config.offers("CHUNKING", self.session.secured) => Some(replies::NO_CHUNKING),
            // What is not announced to a client cannot be used by it: behind HELO nothing is (RFC 3030 section 2).
            _ if !self.session.extended => Some(self.hello_first()),
            None => Some(replies::MAIL_FIRST),
            Some(transaction) if transaction.spoilt => Some(replies::RESET_FIRST),
            Some(_) if self.session.recipients == 0 => Some(self.no_recipients()),
            Some(transaction) => {
                transaction.chunked = true;
                None
            }
        };
        self.state = State::Chunk(Chunk { left, last, refusal: refusal.map(|fixed| (fixed, None)) });
    }

    /// The greeting that extensions need.
    pub(super) fn hello_first(&self) -> Fixed {
        if self.config.lmtp { replies::HELLO_FIRST } else { replies::EXTENDED_HELLO_FIRST }
    }

    /// RFC 2033 section 4.2 asks for 503, where RFC 5321 section 3.3 leaves the choice.
    fn no_recipients(&self) -> Fixed {
        if self.config.lmtp { replies::RECIPIENT_FIRST } else { replies::NO_RECIPIENTS }
    }

    /// How many more octets the message may have.
    fn room(&self) -> usize {
        let received = self.transaction.as_ref().map_or(0, |transaction| transaction.received);
        match self.config.limits.message {
            0 => usize::MAX,
            limit => usize::try_from(limit.saturating_sub(received)).unwrap_or(usize::MAX),
        }
    }

    pub(super) fn receive_data(&mut self, input: &mut &[u8]) -> Option<Event> {
        while !input.is_empty() {
            let room = self.room();
            let State::Data(data) = &mut self.state else { return None };
            let before = data.unstuffing.clone();
            let piece = &input[..input.len().min(PIECE)];
            let (mut rest, mut octets) = (piece, Vec::with_capacity(piece.len() + 1));
            let verdict = data.unstuffing.receive(&mut rest, &mut octets);
            let mut taken = piece.len() - rest.len();
            data.too_large |= octets.len() > room;
            octets.truncate(room);
            let mut ended = verdict != Ok(false);
            let fault = match verdict {
                _ if data.too_large => Some(Abandoned::TooLarge),
                Err(_) => Some(Abandoned::BareLineEnding),
                Ok(_) => None,
            };
            if ended && fault.is_some() && !octets.is_empty() {
                // Once more without the last octet, the LF of CRLF.CRLF, which adds nothing to the content.
                taken -= 1;
                ended = false;
                data.unstuffing = before;
                octets.clear();
                let _ = data.unstuffing.receive(&mut &piece[..taken], &mut octets);
                octets.truncate(room);
            }
            *input = &input[taken..];
            if let Some(transaction) = &mut self.transaction {
                transaction.received += octets.len() as u64;
            }
            match fault {
                Some(why) if ended => return self.refuse_message(why),
                _ if ended => return Some(self.complete_message(octets)),
                _ if !octets.is_empty() => return Some(Event::Content { octets, last: false }),
                _ => {}
            }
        }
        None
    }

    /// Called at once for each chunk, because an empty one is complete without input.
    pub(super) fn receive_chunk(&mut self, input: &mut &[u8]) -> Option<Event> {
        loop {
            let room = self.room();
            let State::Chunk(chunk) = &mut self.state else { return None };
            if chunk.left == 0 {
                // Only an empty last chunk can end the message behind a CR that was handed out as half of CRLF.
                let strict = !self.config.bare_line_endings;
                let cut = |transaction: &Transaction| transaction.after_cr && !transaction.binary && strict;
                if chunk.last && chunk.refusal.is_none() && self.transaction.as_ref().is_some_and(cut) {
                    chunk.refusal = Some((replies::BARE_LINE_ENDING, Some(Abandoned::BareLineEnding)));
                }
                return self.end_chunk(Vec::new());
            }
            if input.is_empty() {
                return None;
            }
            let left = usize::try_from(chunk.left).unwrap_or(usize::MAX);
            let piece = &input[..input.len().min(PIECE).min(left)];
            let Some(transaction) = self.transaction.as_mut().filter(|_| chunk.refusal.is_none()) else {
                chunk.left -= piece.len() as u64;
                *input = &input[piece.len()..];
                continue;
            };
            let mut lawful = piece.len();
            let mut fault = (replies::BARE_LINE_ENDING, Some(Abandoned::BareLineEnding));
            if !transaction.binary && !self.config.bare_line_endings {
                lawful = lawful_prefix(transaction.after_cr, piece, chunk.last && piece.len() == left);
            }
            if lawful > room {
                lawful = room;
                fault = (replies::TOO_LARGE, Some(Abandoned::TooLarge));
            }
            if lawful == 0 {
                chunk.refusal = Some(fault);
                continue;
            }
            let octets = piece[..lawful].to_vec();
            *input = &input[lawful..];
            chunk.left -= lawful as u64;
            transaction.received += lawful as u64;
            transaction.after_cr = octets.ends_with(b"\r");
            if chunk.left == 0 {
                return self.end_chunk(octets);
            }
            return Some(Event::Content { octets, last: false });
        }
    }

    fn end_chunk(&mut self, octets: Vec<u8>) -> Option<Event> {
        let State::Chunk(Chunk { last, refusal, .. }) = core::mem::replace(&mut self.state, State::Command) else {
            return None;
        };
        match refusal {
            Some((_, Some(why))) if last => self.refuse_message(why),
            Some((fixed, Some(why))) => {
                // The state is indeterminate until RSET (RFC 3030 section 2).
                if let Some(transaction) = &mut self.transaction {
                    transaction.spoilt = true;
                }
                self.say(fixed);
                Some(Event::Abandoned(why))
            }
            Some((fixed, None)) => {
                self.say(fixed);
                self.count_command();
                None
            }
            None if last => Some(self.complete_message(octets)),
            None => {
                self.say(replies::CHUNK_OK);
                (!octets.is_empty()).then_some(Event::Content { octets, last: false })
            }
        }
    }

    fn complete_message(&mut self, octets: Vec<u8>) -> Event {
        self.commands = 0;
        let recipients = self.session.recipients;
        // One recipient's word is the message's, as Exim does it: the client takes it for both.
        let each = self.transaction.as_ref().is_some_and(|transaction| transaction.each) && recipients > 1;
        if each {
            self.say(replies::EACH_RECIPIENT);
        }
        let of = if each || self.config.lmtp { recipients } else { 0 };
        self.state = State::Question(Open::Message(Verdict { of, whole: !self.config.lmtp, ..Verdict::default() }));
        Event::Content { octets, last: true }
    }

    fn refuse_message(&mut self, why: Abandoned) -> Option<Event> {
        let fixed = if why == Abandoned::TooLarge { replies::TOO_LARGE } else { replies::BARE_LINE_ENDING };
        // In PRDR too a single reply is about everybody.
        for _ in 0..if self.config.lmtp { self.session.recipients } else { 1 } {
            self.say(fixed);
        }
        self.state = State::Command;
        self.abandon(why)
    }
}

/// The octets before the first that proves a bare CR or LF; `ends` where the message ends with `piece`.
fn lawful_prefix(mut after_cr: bool, piece: &[u8], ends: bool) -> usize {
    let mut next = 0;
    for at in memchr::memchr2_iter(b'\r', b'\n', piece) {
        let feed = piece[at] == b'\n';
        if after_cr && at != next {
            return next;
        }
        if after_cr != feed {
            return at;
        }
        after_cr = !feed;
        next = at + 1;
    }
    match after_cr {
        true if next < piece.len() => next,
        true if ends => piece.len() - 1,
        _ => piece.len(),
    }
}
