//! The laws of a client mechanism, obeyed once for all of them.
//!
//! The rules of this file: a mechanism is its steps, pure functions from a challenge to a response; length, order,
//! stickiness, silence and wiping are done here and nowhere else.

use alloc::vec::Vec;

use proxy_proto::{Instant, Machine, Secret};

use super::{Error, Event, MAX_MESSAGE, Mechanism, MechanismName};

/// What a mechanism answers to one challenge.
pub(super) struct Answer {
    pub(super) response: Secret,
    pub(super) event: Option<Event>,
}

impl From<Secret> for Answer {
    fn from(response: Secret) -> Self {
        Self { response, event: None }
    }
}

/// The steps of a mechanism. After an error none is called again.
pub(super) trait Steps: Send {
    /// The name under which it is selected.
    fn name(&self) -> &MechanismName;
    /// Answers one challenge of at most [`MAX_MESSAGE`] octets.
    fn challenge(&mut self, challenge: &[u8]) -> Result<Answer, Error>;
    /// The server reported success: is the mechanism content?
    fn finish(&self) -> Result<(), Error>;
}

/// A mechanism as a machine.
pub(super) struct Exchange<S> {
    steps: S,
    /// The next response, until `transmit` takes it.
    pending: Option<Secret>,
    /// The initial response has not been taken: an empty first challenge asks for it.
    initial: bool,
    ended: bool,
    failed: Option<Error>,
}

impl<S: Steps> Exchange<S> {
    /// A mechanism in which the server speaks first.
    pub(super) fn server_first(steps: S) -> Self {
        Self { steps, pending: None, initial: false, ended: false, failed: None }
    }

    /// A mechanism in which the client speaks first.
    pub(super) fn client_first(steps: S, initial: Secret) -> Self {
        Self { steps, pending: Some(initial), initial: true, ended: false, failed: None }
    }

    fn fail<T>(&mut self, error: Error) -> Result<T, Error> {
        self.pending = None;
        self.failed = Some(error.clone());
        Err(error)
    }

    fn step(&mut self, challenge: &[u8]) -> Result<Option<Event>, Error> {
        if challenge.len() > MAX_MESSAGE {
            return Err(Error::TooLong { octets: challenge.len() });
        }
        if self.ended {
            return Err(Error::OutOfOrder);
        }
        if self.initial {
            // The AUTH command went without the initial response, so the server asks for it (RFC 4954 section 4).
            return if challenge.is_empty() { Ok(None) } else { Err(Error::OutOfOrder) };
        }
        if self.pending.is_some() {
            return Err(Error::OutOfOrder);
        }
        let answer = self.steps.challenge(challenge)?;
        // Some answers repeat what the peer sent; none may grow with it.
        let octets = answer.response.expose().len();
        if octets > MAX_MESSAGE {
            return Err(Error::TooLong { octets });
        }
        self.pending = Some(answer.response);
        Ok(answer.event)
    }
}

impl<S: Steps> Machine for Exchange<S> {
    type Event = Event;
    type Error = Error;

    fn receive(&mut self, _: Instant, input: &mut &[u8]) -> Result<Option<Event>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let challenge = core::mem::take(input);
        self.step(challenge).or_else(|error| self.fail(error))
    }

    fn transmit(&mut self, _: Instant, output: &mut Vec<u8>) -> bool {
        let Some(response) = self.pending.take() else { return false };
        self.initial = false;
        output.extend_from_slice(response.expose());
        true
    }

    fn finish(&mut self) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.ended {
            return Ok(());
        }
        if self.pending.is_some() {
            return self.fail(Error::OutOfOrder);
        }
        match self.steps.finish() {
            Ok(()) => self.ended = true,
            Err(error) => return self.fail(error),
        }
        Ok(())
    }

    fn expire(&mut self, _: Instant) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}

impl<S: Steps> Mechanism for Exchange<S> {
    fn name(&self) -> &str {
        self.steps.name().as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// Answers each challenge with this many octets.
    struct Wordy(usize);

    impl Steps for Wordy {
        fn name(&self) -> &MechanismName {
            &MechanismName::Plain
        }

        fn challenge(&mut self, _: &[u8]) -> Result<Answer, Error> {
            Ok(Secret::new(vec![b'x'; self.0]).into())
        }

        fn finish(&self) -> Result<(), Error> {
            Ok(())
        }
    }

    #[test]
    fn a_message_may_fill_the_limit_and_no_more_in_both_directions_and_an_error_stays() {
        let fails = Err(Error::TooLong { octets: MAX_MESSAGE + 1 });
        for (heard, said, comes) in [
            (MAX_MESSAGE, MAX_MESSAGE, Ok(None)),
            (MAX_MESSAGE + 1, 0, fails.clone()),
            (0, MAX_MESSAGE + 1, fails.clone()),
        ] {
            let mut exchange = Exchange::server_first(Wordy(said));
            assert_eq!(exchange.receive(Instant::EPOCH, &mut &vec![b'y'; heard][..]), comes);
            let mut output = Vec::new();
            assert_eq!(exchange.transmit(Instant::EPOCH, &mut output), comes.is_ok());
            assert_eq!(output.len(), if comes.is_ok() { said } else { 0 });
            // Stickiness, a law of the contract.
            let stays = comes.map(|_| ());
            assert_eq!(exchange.expire(Instant::EPOCH), stays);
            assert_eq!(exchange.finish(), stays);
        }
    }

    #[test]
    fn who_speaks_out_of_turn_is_refused_for_good() {
        let challenge = |exchange: &mut Exchange<Wordy>, text: &[u8]| exchange.receive(Instant::EPOCH, &mut &text[..]);
        // A second challenge before the first was answered.
        let mut exchange = Exchange::server_first(Wordy(1));
        assert_eq!(challenge(&mut exchange, b"a"), Ok(None));
        assert_eq!(challenge(&mut exchange, b"b"), Err(Error::OutOfOrder));
        assert!(!exchange.transmit(Instant::EPOCH, &mut Vec::new()), "silence, a law of the contract");
        // Success while an answer is still to be given.
        let mut exchange = Exchange::server_first(Wordy(1));
        assert_eq!(challenge(&mut exchange, b"a"), Ok(None));
        assert_eq!(exchange.finish(), Err(Error::OutOfOrder));
        // A challenge behind success.
        let mut exchange = Exchange::server_first(Wordy(1));
        assert_eq!((exchange.finish(), exchange.finish()), (Ok(()), Ok(())));
        assert_eq!(challenge(&mut exchange, b"a"), Err(Error::OutOfOrder));
        assert_eq!(exchange.finish(), Err(Error::OutOfOrder));
        // RFC 4954 section 4: to AUTH without an initial response the server says an empty challenge first.
        let mut exchange = Exchange::client_first(Wordy(1), Secret::from("initial"));
        assert_eq!(challenge(&mut exchange, b""), Ok(None));
        assert_eq!(challenge(&mut exchange, b"a"), Err(Error::OutOfOrder));
    }
}
