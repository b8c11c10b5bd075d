//! What the client says, and when (RFC 5321 section 4.1.1, RFC 2920 section 3.1, RFC 3030 section 2).
//!
//! The rules of this file:
//!
//! - Work is said in its order, as far as the dialogue permits; nothing overtakes.
//! - Until a server has answered a group with BDAT as it should, nothing is said behind that group: so whatever goes wrong with
//!   it can be said again, one level lower, and nothing is lost.
//! - A RSET stands between a BDAT that is not known to have succeeded and the next MAIL: it costs no flight, and keeps a refused
//!   chunk from spoiling the next message.
//! - QUIT never follows an unanswered BDAT LAST: large providers drop the message then.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use proxy_proto::{Instant, Phase};

use super::framing::{Framing, Which};
use super::transaction::{Next, Transaction};
use super::transcript::Line;
use super::{Client, Owed, Stage, Work};
use crate::connection::Seal;
use crate::dialogue::Grouping;
use crate::error::Cause;
use crate::phase;

/// Chunks outstanding at most: 2 MiB, what a link of 100 Mbit/s holds in 160 ms. It bounds what is sent in vain behind a
/// refused chunk.
const CHUNKS: usize = 32;

impl Client {
    pub(super) fn say(&mut self, now: Instant, output: &mut Vec<u8>) {
        if core::mem::take(&mut self.farewell) {
            self.line(now, phase::QUIT, output, |output| output.extend_from_slice(b"QUIT\r\n"));
        }
        // A reply that has begun though nothing is due was not asked for; speaking now would make it look like an answer.
        if self.failure.is_some() || self.hears_unasked() {
            return;
        }
        let limits = self.config.limits;
        match self.stage {
            Stage::Ready => self.say_work(now, output),
            _ if self.is_early() => self.say_early(now, output),
            _ if !self.dialogue.is_idle() => {}
            Stage::Ehlo => self.say_hello(now, output, true),
            Stage::Helo => {
                let line = format!("HELO {}\r\n", self.config.helo);
                self.line(now, phase::EHLO, output, |output| output.extend_from_slice(line.as_bytes()));
                self.owe(now, Owed::Helo, phase::EHLO, limits.ehlo, true);
            }
            Stage::StartTls => {
                self.line(now, phase::STARTTLS, output, |output| output.extend_from_slice(b"STARTTLS\r\n"));
                self.owe(now, Owed::StartTls, phase::STARTTLS, limits.ehlo, true);
            }
            Stage::Auth => self.say_auth(now, output),
            Stage::Begin | Stage::Greeting | Stage::Securing | Stage::Closed => {}
        }
    }

    /// The next line of the exchange, where it is the client's turn.
    pub(super) fn say_auth(&mut self, now: Instant, output: &mut Vec<u8>) {
        let Some(exchange) = &mut self.exchange else { return };
        if let Some(shown) = exchange.transmit(now, output) {
            self.dialogue.command();
            self.show(now, phase::AUTH, Line::Client(&shown));
            self.owe(now, Owed::Auth, phase::AUTH, self.config.limits.auth, true);
        }
    }

    /// As much of the caller's work as may go out now.
    fn say_work(&mut self, now: Instant, output: &mut Vec<u8>) {
        let limits = self.config.limits;
        while self.may_go_on() {
            match self.work.get(self.said) {
                None => return,
                Some(Work::Quit) if self.dialogue.is_due(|owed| matches!(owed, Owed::Last(_))) => return,
                Some(Work::Quit) => {
                    self.line(now, phase::QUIT, output, |output| output.extend_from_slice(b"QUIT\r\n"));
                    self.owe(now, Owed::Quit, phase::QUIT, limits.quit, true);
                    self.said += 1;
                }
                // It may not stand within a transaction, and nothing said before the session begins again may stand behind it.
                Some(Work::Command(_, command)) if command.reopens() && !self.dialogue.is_idle() => return,
                // Its owner is told first.
                Some(Work::Command(_, command)) if self.unchecked > 0 && command.check(&self.extensions).is_err() => {
                    return;
                }
                Some(Work::Command(id, command)) => {
                    let (id, command) = (*id, command.clone());
                    self.line(now, phase::COMMAND, output, |output| command.encode(output));
                    let owed = if command.reopens() { Owed::XClient(id) } else { Owed::Command(id) };
                    self.owe(now, owed, phase::COMMAND, limits.command, true);
                    self.said += 1;
                }
                Some(Work::Message(_)) => {
                    if !self.say_transaction(now, output) {
                        return;
                    }
                }
            }
        }
    }

    /// The next line of the transaction whose turn it is; `false` where it has none to say now.
    pub(super) fn say_transaction(&mut self, now: Instant, output: &mut Vec<u8>) -> bool {
        let limits = self.config.limits;
        let flights = self.dialogue.flights();
        let (begins, behind_others) = (self.dialogue.begins_flight(), !self.dialogue.is_idle());
        let (grouping, may_chunk) = (self.grouping(), self.may_chunk());
        let Some(Work::Message(transaction)) = self.work.get_mut(self.said) else { return false };
        transaction.say_no_more();
        let id = transaction.id;
        let start = output.len();
        let (owed, phase, limit, next) = match transaction.next {
            // Its owner is told first.
            Next::Mail if self.unchecked > 0 && !transaction.is_offered(&self.extensions) => return false,
            Next::Mail if self.must_reset || self.doubtful.is_some() => {
                output.extend_from_slice(b"RSET\r\n");
                self.must_reset = false;
                self.doubtful = None;
                (Owed::Rset, phase::RSET, limits.mail, Next::Mail)
            }
            Next::Mail => {
                self.operation_since.get_or_insert(now);
                if transaction.began.is_none() {
                    transaction.began = Some(now);
                    // A flight that is under way already carries this MAIL too.
                    transaction.flights_before = if begins { flights } else { flights.saturating_sub(1) };
                }
                transaction.behind_others = behind_others;
                self.mails += 1;
                transaction.begin(grouping, &self.extensions, &mut self.room);
                transaction.encode_mail(&self.extensions, output);
                (Owed::Mail(id), phase::MAIL, limits.mail, Next::Rcpt(0))
            }
            Next::Rcpt(recipient) => {
                if !transaction.encode_rcpt(recipient, output) {
                    transaction.next = transaction.behind_recipients();
                    return true;
                }
                (Owed::Rcpt(id, recipient), phase::RCPT, limits.rcpt, Next::Rcpt(recipient + 1))
            }
            Next::Data => {
                output.extend_from_slice(b"DATA\r\n");
                (Owed::Data(id), phase::DATA, limits.data, Next::Go)
            }
            Next::LoneDot => {
                output.extend_from_slice(b".\r\n");
                (Owed::LoneDot(id), phase::MESSAGE, limits.message, Next::Nothing)
            }
            Next::Body if transaction.has_replay() => {
                transaction.play_again(output);
                if transaction.complete {
                    self.end_body(now, output);
                } else if output.len() > start {
                    self.dialogue.speak();
                }
                return true;
            }
            Next::Body if transaction.framing.is_full() && may_chunk => {
                self.say_chunk(now, Which::Full(&[]), output, None);
                return true;
            }
            Next::Last if transaction.last_url.is_some() => return self.say_last_url(now, output),
            Next::Last if may_chunk => {
                // A message that is played again may be longer than a chunk.
                let which = if transaction.framing.is_full() { Which::Full(&[]) } else { Which::Last };
                self.say_chunk(now, which, output, None);
                return true;
            }
            Next::Verdict | Next::Go | Next::Body | Next::Last => return false,
            Next::Nothing if transaction.again => {
                if self.dialogue.is_due(|owed| owed.transaction() == Some(id)) {
                    return false;
                }
                transaction.begin_again();
                self.must_reset = true;
                return true;
            }
            Next::Nothing => {
                self.said += 1;
                self.forget_finished();
                return true;
            }
        };
        transaction.next = next;
        transaction.commands += u64::from(next != Next::Nothing);
        if next == Next::Nothing {
            self.dialogue.speak();
        } else {
            self.dialogue.command();
        }
        self.show_line(now, phase, &output[start..]);
        self.owe(now, owed, phase, limit, matches!(owed, Owed::Data(_)));
        true
    }

    /// A chunk with its command; sealed from where its octets lie, if it may be.
    pub(super) fn say_chunk(
        &mut self,
        now: Instant,
        which: Which<'_>,
        output: &mut Vec<u8>,
        seal: Option<&mut Seal<'_>>,
    ) {
        let limits = self.config.limits;
        let Some(Work::Message(transaction)) = self.work.get_mut(self.said) else { return };
        let Framing::Chunks(chunks) = &mut transaction.framing else { return };
        let kept = !self.proven && !transaction.chunks_said;
        let last = matches!(which, Which::Last);
        let size = match (which, seal) {
            (Which::Last, _) => chunks.end(output),
            (Which::Full(rest), Some(seal)) if !kept => {
                chunks.chunk_with(rest, output, |said, gathered, rest| seal.seal(said, [gathered, rest]))
            }
            (Which::Full(rest), _) => chunks.chunk_with(rest, output, |output, gathered, rest| {
                output.extend_from_slice(gathered);
                output.extend_from_slice(rest);
            }),
        };
        transaction.in_doubt = false;
        if kept {
            transaction.kept = Some(output[output.len() - size..].to_vec());
        }
        let (id, octets) = (transaction.id, transaction.octets);
        transaction.chunks_said = true;
        transaction.commands += 1;
        self.doubtful = Some(id);
        self.dialogue.command();
        let phase = if last { phase::MESSAGE } else { phase::BLOCK };
        if self.is_shown() {
            self.show(now, phase, Line::Client(&format!("BDAT {size}{}", if last { " LAST" } else { "" })));
        }
        if !last {
            return self.owe(now, Owed::Chunk(id), phase::BLOCK, limits.block, false);
        }
        self.show_message(now, octets);
        self.owe(now, Owed::Last(id), phase::MESSAGE, limits.message, false);
        self.all_said();
    }

    /// The message whose turn it is was put out as a whole.
    pub(super) fn all_said(&mut self) {
        if let Some(Work::Message(transaction)) = self.work.get_mut(self.said) {
            transaction.next = Next::Nothing;
            if let Some(room) = transaction.framing.take_room() {
                self.room = room;
            }
            self.ended = (self.ended.0 + 1, Some(transaction.id));
            self.said += 1;
        }
    }

    /// Drops work from the front that is said and settled; replies still due to it find it no more, and mean nothing.
    pub(super) fn forget_finished(&mut self) {
        while let Some(work) = self.work.front() {
            match work {
                Work::Message(transaction) if !transaction.is_over() => return,
                // Behind BDAT it is the doubt about that which asks for RSET.
                Work::Message(transaction) => {
                    self.must_reset |= transaction.open_at_server && !transaction.chunks_said;
                }
                Work::Command(..) if self.said == 0 => return,
                Work::Command(id, _) if self.is_owed(Owed::Command(*id)) || self.is_owed(Owed::XClient(*id)) => return,
                Work::Quit if self.said == 0 || self.is_owed(Owed::Quit) => return,
                Work::Command(..) | Work::Quit => {}
            }
            self.work.pop_front();
            self.said = self.said.saturating_sub(1);
        }
    }

    /// The message that is not complete yet, where its turn has come.
    pub(super) fn open_body(&mut self) -> Option<&mut Transaction> {
        match self.work.get_mut(self.said) {
            Some(Work::Message(transaction)) if transaction.next == Next::Body && !transaction.has_replay() => {
                Some(transaction).filter(|_| self.failure.is_none())
            }
            _ => None,
        }
    }

    /// The same, where octets of it may go out now.
    pub(super) fn sending_body(&mut self) -> Option<&mut Transaction> {
        let may_chunk = self.may_chunk();
        self.open_body().filter(|transaction| may_chunk || !transaction.framing.is_chunked())
    }

    pub(super) fn speak_body(&mut self) {
        self.dialogue.speak();
    }

    pub(super) fn end_body(&mut self, now: Instant, output: &mut Vec<u8>) {
        let (may_chunk, chunking) = (self.may_chunk(), self.extensions.chunking());
        let Some(transaction) = self.open_body() else { return };
        // It was to come from a URL, which alone the server takes without CHUNKING.
        if transaction.has_urls() && !chunking {
            return self.abandon_body();
        }
        transaction.complete = true;
        let Framing::Data(stuffing) = &mut transaction.framing else {
            transaction.next = Next::Last;
            if may_chunk && !transaction.framing.is_full() {
                self.say_chunk(now, Which::Last, output, None);
            }
            return;
        };
        stuffing.end(output);
        let (id, octets) = (transaction.id, transaction.octets);
        self.dialogue.speak();
        self.show_message(now, octets);
        self.show(now, phase::MESSAGE, Line::Client("."));
        self.owe(now, Owed::Message(id), phase::MESSAGE, self.config.limits.message, false);
        self.all_said();
    }

    pub(super) fn abandon_body(&mut self) {
        if self.open_body().is_some() {
            self.fail_with(phase::BLOCK, Cause::Abandoned);
        }
    }

    /// May one more command go out now?
    fn may_speak(&self) -> bool {
        self.dialogue.may_speak(self.grouping() >= Grouping::Groups)
    }

    /// The same, where the work before has nothing against it.
    pub(super) fn may_go_on(&self) -> bool {
        let on_trial = !self.proven && self.dialogue.is_due(|owed| matches!(owed, Owed::Last(_)));
        self.may_speak() && !on_trial
    }

    /// May one more chunk go out now?
    pub(super) fn may_chunk(&self) -> bool {
        // To a server that has not shown yet that it knows BDAT the message would be commands.
        if self.stage != Stage::Ready {
            return false;
        }
        if self.grouping() < Grouping::Flights {
            return self.dialogue.is_idle();
        }
        let outstanding = self.dialogue.count_due(|owed| matches!(owed, Owed::Chunk(_)));
        self.dialogue.may_speak(true) && outstanding < if self.proven { CHUNKS } else { 1 }
    }

    /// Could the client go on, were it not for its owner? Then it does not wait for what it hears.
    pub(super) fn could_speak(&self) -> bool {
        if self.stage != Stage::Ready {
            return false;
        }
        match self.work.get(self.said) {
            Some(Work::Message(transaction)) => match transaction.next {
                Next::Mail | Next::Rcpt(_) | Next::Data => self.may_go_on(),
                Next::Body | Next::Last => !transaction.framing.is_chunked() || self.may_chunk(),
                Next::Verdict | Next::Go | Next::LoneDot | Next::Nothing => false,
            },
            Some(Work::Command(_, command)) => self.may_go_on() && !command.reopens(),
            Some(Work::Quit) | None => false,
        }
    }

    pub(super) fn owe(&mut self, now: Instant, to: Owed, phase: Phase, limit: Duration, ends_group: bool) {
        self.dialogue.owe(now, to, phase, limit, ends_group);
    }

    pub(super) fn is_owed(&self, to: Owed) -> bool {
        self.dialogue.is_due(|owed| *owed == to)
    }

    /// Says a line that holds no secret.
    pub(super) fn line(&mut self, now: Instant, phase: Phase, output: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = output.len();
        write(output);
        self.dialogue.command();
        self.show_line(now, phase, &output[start..]);
    }

    pub(super) fn show_message(&mut self, now: Instant, octets: u64) {
        if self.is_shown() {
            self.show(now, phase::BLOCK, Line::Note(&format!("message, {octets} octets")));
        }
    }

    /// Whether anybody listens: what nobody hears is not worth its string.
    pub(super) fn is_shown(&self) -> bool {
        self.config.transcript.is_some() || self.tap.is_some()
    }

    fn show_line(&mut self, now: Instant, phase: Phase, line: &[u8]) {
        if self.is_shown() {
            let text = String::from_utf8_lossy(line);
            self.show(now, phase, Line::Client(text.trim_end()));
        }
    }

    pub(crate) fn show(&mut self, now: Instant, phase: Phase, line: Line<'_>) {
        if let (Some(tap), Line::Client(line)) = (&mut self.tap, line) {
            tap.push(line.into());
        }
        if let Some(transcript) = &self.config.transcript {
            transcript.line(now, phase, line);
        }
    }
}
