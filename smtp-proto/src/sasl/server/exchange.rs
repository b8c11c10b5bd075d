//! The laws of a server mechanism, obeyed once for all of them.
//!
//! The rules of this file: a mechanism is its steps; length, order, stickiness, silence, and who may answer when, are done
//! here and nowhere else.

use alloc::vec::Vec;

use proxy_proto::{Instant, Machine};

use super::super::MAX_MESSAGE;
use super::{Answer, Error, Event, Mechanism, MechanismName, Misuse};

/// What follows a response or an answer.
pub(super) enum Next {
    Challenge(Vec<u8>),
    Ask(Event),
    Accepted(Event),
    Refused,
}

/// The steps of a mechanism. After an error or an outcome none is called again.
pub(super) trait Steps: Send {
    /// The name under which it is started.
    fn name(&self) -> &MechanismName;
    /// Takes one response of at most [`MAX_MESSAGE`] octets.
    fn response(&mut self, response: &[u8]) -> Result<Next, Error>;
    /// Takes the answer to the question asked last; unchanged where it is not an answer to that.
    fn answer(&mut self, answer: Answer) -> Result<Next, Misuse>;
}

#[derive(Clone, Copy, PartialEq)]
enum Turn {
    /// The first challenge has not been taken; it may be skipped where the client speaks first.
    First {
        skippable: bool,
    },
    /// A challenge waits to be taken.
    Ours,
    /// The client is to speak.
    Theirs,
    /// The owner is to answer.
    Owner,
    Over {
        accepted: bool,
    },
}

/// A server mechanism as a machine.
pub(super) struct Exchange<S> {
    steps: S,
    challenge: Vec<u8>,
    turn: Turn,
    failed: Option<Error>,
}

impl<S: Steps> Exchange<S> {
    /// A mechanism whose first challenge the client must have seen.
    #[cfg(any(feature = "cram-md5", feature = "digest-md5"))]
    pub(super) const fn server_first(steps: S, challenge: Vec<u8>) -> Self {
        Self { steps, challenge, turn: Turn::First { skippable: false }, failed: None }
    }

    /// A mechanism whose client may speak first; `prompt` is for the one that did not.
    pub(super) const fn client_first(steps: S, prompt: Vec<u8>) -> Self {
        Self { steps, challenge: prompt, turn: Turn::First { skippable: true }, failed: None }
    }

    fn go(&mut self, next: Next) -> Option<Event> {
        match next {
            Next::Challenge(challenge) => {
                self.challenge = challenge;
                self.turn = Turn::Ours;
                None
            }
            Next::Ask(question) => {
                self.turn = Turn::Owner;
                Some(question)
            }
            Next::Accepted(event) => {
                self.turn = Turn::Over { accepted: true };
                Some(event)
            }
            Next::Refused => {
                self.turn = Turn::Over { accepted: false };
                Some(Event::Refused)
            }
        }
    }
}

impl<S: Steps> Machine for Exchange<S> {
    type Event = Event;
    type Error = Error;

    fn receive(&mut self, _: Instant, input: &mut &[u8]) -> Result<Option<Event>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let response = core::mem::take(input);
        let next = if response.len() > MAX_MESSAGE {
            Err(Error::TooLong { octets: response.len() })
        } else if matches!(self.turn, Turn::Theirs | Turn::First { skippable: true }) {
            self.steps.response(response)
        } else {
            Err(Error::OutOfOrder)
        };
        match next {
            Ok(next) => Ok(self.go(next)),
            Err(error) => {
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    fn transmit(&mut self, _: Instant, output: &mut Vec<u8>) -> bool {
        if self.failed.is_some() || !matches!(self.turn, Turn::First { .. } | Turn::Ours) {
            return false;
        }
        self.turn = Turn::Theirs;
        output.append(&mut self.challenge);
        true
    }

    fn finish(&mut self) -> Result<(), Error> {
        match (&self.failed, self.turn) {
            (Some(error), _) => Err(error.clone()),
            (None, Turn::Over { accepted: true }) => Ok(()),
            (None, _) => {
                self.failed = Some(Error::OutOfOrder);
                Err(Error::OutOfOrder)
            }
        }
    }

    fn expire(&mut self, _: Instant) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}

impl<S: Steps> Mechanism for Exchange<S> {
    fn name(&self) -> &str {
        self.steps.name().as_str()
    }

    fn answer(&mut self, answer: Answer) -> Result<Option<Event>, Misuse> {
        if self.failed.is_some() || self.turn != Turn::Owner {
            return Err(Misuse::UnexpectedAnswer);
        }
        let next = self.steps.answer(answer)?;
        Ok(self.go(next))
    }
}
