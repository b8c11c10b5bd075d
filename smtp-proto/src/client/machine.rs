//! The client under the contract: octets, the end of the stream, time.

use alloc::vec::Vec;

use proxy_proto::{Deadline, Instant, Machine};

use super::event::Event;
use super::transcript::Line;
use super::{Client, Owed, Stage};
use crate::error::{Cause, Error};
use crate::phase;

impl Machine for Client {
    type Event = Event;
    type Error = Error;

    fn receive(&mut self, now: Instant, input: &mut &[u8]) -> Result<Option<Event>, Error> {
        self.begin(now);
        loop {
            if let Some(error) = self.failure() {
                return Err(error.clone());
            }
            if self.stage == Stage::Securing && !input.is_empty() {
                return Err(self.fail_with(phase::STARTTLS, Cause::Injected));
            }
            if self.stage == Stage::Closed {
                return Ok(None);
            }
            if let Some(event) = self.check_queued() {
                return Ok(Some(event));
            }
            let reply = match self.reader.receive(input) {
                Ok(Some(reply)) => reply,
                Ok(None) => {
                    self.unasked_since = self.hears_unasked().then(|| self.unasked_since.unwrap_or(now));
                    return Ok(None);
                }
                Err(mut malformed) => {
                    self.gather_secrets();
                    self.secrets.iter().chain(&self.tokens).for_each(|secret| malformed.redact(secret.expose()));
                    let here = self.phase();
                    self.show(now, here, Line::Note("a malformed reply"));
                    return Err(self.fail_with(here, Cause::Malformed(malformed)));
                }
            };
            if let Some(event) = self.hear(now, reply)? {
                return Ok(Some(event));
            }
        }
    }

    fn transmit(&mut self, now: Instant, output: &mut Vec<u8>) -> bool {
        self.begin(now);
        let before = output.len();
        self.say(now, output);
        output.len() > before
    }

    fn finish(&mut self) -> Result<(), Error> {
        if let Some(error) = self.failure() {
            return Err(error.clone());
        }
        let quit_is_out = self.dialogue.front().is_some_and(|due| due.to == Owed::Quit);
        if self.stage == Stage::Closed || quit_is_out {
            self.stage = Stage::Closed;
            return Ok(());
        }
        let last = self.last.clone();
        Err(self.fail_with(self.phase(), Cause::Closed { last }))
    }

    fn deadline(&self) -> Option<Deadline> {
        if self.failure.is_some() || self.stage == Stage::Closed {
            return None;
        }
        let reply = self.dialogue.deadline().or(self.unasked_deadline());
        Deadline::earlier(reply, self.operation_deadline())
    }

    fn expire(&mut self, now: Instant) -> Result<(), Error> {
        if let Some(error) = self.failure() {
            return Err(error.clone());
        }
        match self.deadline() {
            Some(deadline) if deadline.at <= now => {
                // A server that does not answer QUIT has nothing to tell any more.
                if self.dialogue.front().is_some_and(|due| due.to == Owed::Quit) {
                    self.stage = Stage::Closed;
                    return Ok(());
                }
                let waited = match (self.dialogue.deadline(), self.unasked_since) {
                    (Some(due), _) if due.at <= now => self.dialogue.waited(now),
                    (None, Some(since)) if since.after(self.config.limits.command) <= now => now.since(since),
                    _ => self.operation_since.map_or(self.dialogue.waited(now), |since| now.since(since)),
                };
                let last = self.last.clone();
                Err(self.fail_with(deadline.watching, Cause::TimedOut { waited, last }))
            }
            _ => Ok(()),
        }
    }
}
