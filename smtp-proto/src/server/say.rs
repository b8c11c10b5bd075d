//! Speaking: how replies come into the output, and how a session ends.
//!
//! The rules of this file: enhanced status codes stand before every text of ours but greeting and EHLO, for a client that has
//! said EHLO (RFC 2034 section 4); whoever says 421 closes.

use alloc::string::String;

use super::replies::{self, Fixed};
use super::{Error, Event, Server, State};
use crate::Misuse;
use crate::reply::{Code, Reply};

impl Server {
    pub(super) fn greet(&mut self) {
        let text = match &self.config.greeting {
            Some(text) => text,
            None if self.config.lmtp => "LMTP",
            None => "ESMTP",
        };
        let text = [&self.config.host, " ", text].concat();
        self.reply(Code::READY, text);
    }

    /// A reply whose text was checked, word by word, where it came in.
    pub(super) fn reply(&mut self, code: Code, text: String) -> Reply {
        let reply = Reply::new(code, text).unwrap_or_else(|_| Reply::bare(code));
        reply.encode(&mut self.output);
        reply
    }

    pub(super) fn say(&mut self, Fixed { code, status, text }: Fixed) {
        if status.is_empty() || !self.session.extended || !self.config.offers("ENHANCEDSTATUSCODES", false) {
            return self.say_line(code, text);
        }
        self.say_line(code, &[status, " ", text].concat());
    }

    pub(super) fn say_line(&mut self, code: u16, text: &str) {
        self.output.extend([code / 100, code / 10 % 10, code % 10].map(|digit| b'0' + digit as u8));
        self.output.push(b' ');
        self.output.extend_from_slice(text.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    /// The owner's refusal.
    pub(super) fn refuse(&mut self, reply: &Reply) -> Result<(), Misuse> {
        if !reply.code().is_transient() && !reply.code().is_permanent() {
            return Err(Misuse::Malformed { what: "refusing reply" });
        }
        reply.encode(&mut self.output);
        Ok(())
    }

    /// Whoever says 421 closes (RFC 5321 section 3.8), the owner too.
    pub(super) fn close_behind(&mut self, reply: &Reply) {
        if reply.code() == Code::SERVICE_CLOSING {
            self.close();
        }
    }

    /// Answers what the client did wrong.
    pub(super) fn fault(&mut self, fixed: Fixed) -> Option<Event> {
        self.say(fixed);
        self.count_error();
        None
    }

    pub(super) fn count_error(&mut self) {
        self.errors = self.errors.saturating_add(1);
        if self.errors > self.config.limits.errors {
            self.fail(Some(replies::TOO_MANY_ERRORS), Error::TooManyErrors);
        }
    }

    /// Answers what is out of order only because something before it in its group was refused (RFC 2920 section 3.1).
    pub(super) fn misplaced(&mut self, fixed: Fixed) -> Option<Event> {
        self.say(fixed);
        None
    }

    /// Counts a command that may have brought nothing; `false` where it was one too many.
    pub(super) fn count_command(&mut self) -> bool {
        self.commands = self.commands.saturating_add(1);
        let within = self.commands <= self.config.limits.commands;
        if !within {
            self.fail(Some(replies::TOO_MANY_COMMANDS), Error::TooManyCommands);
        }
        within
    }

    pub(super) fn fail(&mut self, last_word: Option<Fixed>, error: Error) {
        if let Some(fixed) = last_word {
            self.say(fixed);
        }
        self.close();
        self.failed = Some(error);
    }

    pub(super) fn close(&mut self) {
        self.state = State::Closed;
        self.transaction = None;
        self.session.recipients = 0;
        self.since = None;
    }
}
