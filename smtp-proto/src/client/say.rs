//! What the client says, and when (RFC 5321 section 4.1.1, RFC 2920 section 3.1).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use proxy_proto::{Instant, Phase};

use super::transaction::{Next, Transaction};
use super::transcript::Line;
use super::{Client, Owed, Stage, Work};
use crate::dialogue::Grouping;
use crate::error::Cause;
use crate::phase;

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
            _ if !self.dialogue.is_idle() => {}
            Stage::Ehlo => {
                let line = format!("EHLO {}\r\n", self.config.helo);
                self.line(now, phase::EHLO, output, |output| output.extend_from_slice(line.as_bytes()));
                self.owe(now, Owed::Ehlo, phase::EHLO, limits.ehlo, true);
            }
            Stage::Helo => {
                let line = format!("HELO {}\r\n", self.config.helo);
                self.line(now, phase::EHLO, output, |output| output.extend_from_slice(line.as_bytes()));
                self.owe(now, Owed::Helo, phase::EHLO, limits.ehlo, true);
            }
            Stage::StartTls => {
                self.line(now, phase::STARTTLS, output, |output| output.extend_from_slice(b"STARTTLS\r\n"));
                self.owe(now, Owed::StartTls, phase::STARTTLS, limits.ehlo, true);
            }
            Stage::Auth => {
                let Some(exchange) = &mut self.exchange else { return };
                if let Some(shown) = exchange.transmit(now, output) {
                    self.dialogue.speak();
                    self.show(now, phase::AUTH, Line::Client(&shown));
                    self.owe(now, Owed::Auth, phase::AUTH, limits.auth, true);
                }
            }
            Stage::Begin | Stage::Greeting | Stage::Securing | Stage::Closed => {}
        }
    }

    /// As much of the caller's work as may go out now.
    fn say_work(&mut self, now: Instant, output: &mut Vec<u8>) {
        let limits = self.config.limits;
        while self.may_speak() {
            match self.work.get(self.said) {
                None => return,
                Some(Work::Quit) => {
                    self.line(now, phase::QUIT, output, |output| output.extend_from_slice(b"QUIT\r\n"));
                    self.owe(now, Owed::Quit, phase::QUIT, limits.quit, true);
                    self.said += 1;
                }
                Some(Work::Command(id, command)) => {
                    let (id, command) = (*id, command.clone());
                    self.line(now, phase::COMMAND, output, |output| command.encode(output));
                    self.owe(now, Owed::Command(id), phase::COMMAND, limits.command, true);
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
    fn say_transaction(&mut self, now: Instant, output: &mut Vec<u8>) -> bool {
        let limits = self.config.limits;
        let flights = self.dialogue.flights();
        let begins = self.begins_flight();
        let Some(Work::Message(transaction)) = self.work.get_mut(self.said) else { return false };
        // Nothing more is said of a transaction whose end is known; only a 354 already asked for must be answered.
        if transaction.is_settled() && matches!(transaction.next, Next::Rcpt(_) | Next::Data) {
            transaction.next = Next::Nothing;
        }
        let id = transaction.id;
        let start = output.len();
        let (owed, phase, limit, next) = match transaction.next {
            Next::Mail if self.must_reset => {
                output.extend_from_slice(b"RSET\r\n");
                self.must_reset = false;
                (Owed::Rset, phase::RSET, limits.mail, Next::Mail)
            }
            Next::Mail => {
                self.operation_since.get_or_insert(now);
                transaction.began = Some(now);
                // A flight that is under way already carries this MAIL too.
                transaction.flights_before = if begins { flights } else { flights.saturating_sub(1) };
                transaction.encode_mail(&self.extensions, output);
                (Owed::Mail(id), phase::MAIL, limits.mail, Next::Rcpt(0))
            }
            Next::Rcpt(recipient) => {
                if !transaction.encode_rcpt(recipient, output) {
                    transaction.next = Next::Data;
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
            Next::Go | Next::Body => return false,
            Next::Nothing => {
                self.said += 1;
                self.forget_finished();
                return true;
            }
        };
        transaction.next = next;
        self.dialogue.speak();
        self.show_line(now, phase, &output[start..]);
        self.owe(now, owed, phase, limit, matches!(owed, Owed::Data(_)));
        true
    }

    /// Drops work from the front that is said and settled; replies still due to it find it no more, and mean nothing.
    pub(super) fn forget_finished(&mut self) {
        while let Some(work) = self.work.front() {
            match work {
                Work::Message(transaction) if !transaction.is_over() => return,
                Work::Message(transaction) => self.must_reset |= transaction.open_at_server,
                Work::Command(id, _) if self.said == 0 || self.is_owed(Owed::Command(*id)) => return,
                Work::Quit if self.said == 0 || self.is_owed(Owed::Quit) => return,
                Work::Command(..) | Work::Quit => {}
            }
            self.work.pop_front();
            self.said = self.said.saturating_sub(1);
        }
    }

    pub(super) fn sending_body(&mut self) -> Option<&mut Transaction> {
        if self.failure.is_some() {
            return None;
        }
        match self.work.get_mut(self.said) {
            Some(Work::Message(transaction)) if transaction.next == Next::Body => Some(transaction),
            _ => None,
        }
    }

    pub(super) fn speak_body(&mut self) {
        self.dialogue.speak();
    }

    pub(super) fn end_body(&mut self, now: Instant, output: &mut Vec<u8>) {
        let Some(transaction) = self.sending_body() else { return };
        transaction.body.end(output);
        transaction.next = Next::Nothing;
        let (id, octets) = (transaction.id, transaction.octets);
        self.dialogue.speak();
        self.show(now, phase::BLOCK, Line::Note(&format!("message, {octets} octets")));
        self.show(now, phase::MESSAGE, Line::Client("."));
        self.owe(now, Owed::Message(id), phase::MESSAGE, self.config.limits.message, false);
        self.ended = Some(id);
        self.said += 1;
    }

    pub(super) fn abandon_body(&mut self) {
        if self.sending_body().is_some() {
            self.fail_with(phase::BLOCK, Cause::Abandoned);
        }
    }

    fn may_speak(&self) -> bool {
        let grouped = self.extensions.pipelining() && self.config.grouping >= Grouping::Groups;
        self.dialogue.may_speak(grouped)
    }

    fn begins_flight(&self) -> bool {
        self.dialogue.begins_flight()
    }

    fn owe(&mut self, now: Instant, to: Owed, phase: Phase, limit: Duration, ends_group: bool) {
        self.dialogue.owe(now, to, phase, limit, ends_group);
    }

    fn is_owed(&self, to: Owed) -> bool {
        self.dialogue.is_due(|owed| *owed == to)
    }

    /// Says a line that holds no secret.
    fn line(&mut self, now: Instant, phase: Phase, output: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = output.len();
        write(output);
        self.dialogue.speak();
        self.show_line(now, phase, &output[start..]);
    }

    fn show_line(&self, now: Instant, phase: Phase, line: &[u8]) {
        if self.config.transcript.is_some() {
            let text = String::from_utf8_lossy(line);
            self.show(now, phase, Line::Client(text.trim_end()));
        }
    }

    pub(crate) fn show(&self, now: Instant, phase: Phase, line: Line<'_>) {
        if let Some(transcript) = &self.config.transcript {
            transcript.line(now, phase, line);
        }
    }
}
