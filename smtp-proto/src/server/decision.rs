//! The handles that answer questions.
//!
//! The rules of this file: a handle exists only while its question is open, and the answer consumes it; an answer that is no
//! answer is [`Misuse`], and the question stays open.

use alloc::boxed::Box;

use super::auth::Exchange;
use super::replies::{self, Fixed};
use super::{Open, Server, State};
use crate::Misuse;
use crate::reply::{Code, Reply};
use crate::sasl::{self, Channel, Nonce};

/// What a [`Decision`] is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Question {
    /// May the client be greeted? ([`Config::hold_greeting`](super::Config::hold_greeting))
    Greeting,
    /// May the transaction begin?
    Mail,
    /// May the message go to this recipient?
    Recipient,
    /// Is the message accepted?
    Message,
    /// LMTP: is the message accepted for this recipient? They are counted from 0, in the order they were accepted.
    MessageFor(usize),
}

/// Answers a question with yes or no.
#[must_use = "the session waits for the answer"]
pub struct Decision<'a> {
    server: &'a mut Server,
    question: Question,
}

impl<'a> Decision<'a> {
    pub(super) fn new(server: &'a mut Server) -> Option<Self> {
        let question = match &server.state {
            State::Question(Open::Greeting) => Question::Greeting,
            State::Question(Open::Mail(_)) => Question::Mail,
            State::Question(Open::Recipient) => Question::Recipient,
            State::Question(Open::Message { next, .. }) if server.config.lmtp => Question::MessageFor(*next),
            State::Question(Open::Message { .. }) => Question::Message,
            _ => return None,
        };
        Some(Self { server, question })
    }

    /// What is asked.
    pub fn question(&self) -> Question {
        self.question
    }

    /// Yes, in the machine's words: 220 for the greeting, else 250.
    pub fn accept(self) {
        match self.question {
            Question::Greeting => self.server.greet(),
            Question::Mail => self.server.say(replies::SENDER_OK),
            Question::Recipient => self.server.say(replies::RECIPIENT_OK),
            Question::Message | Question::MessageFor(_) => self.server.say(replies::MESSAGE_OK),
        }
        self.settle(true);
    }

    /// Yes, in words of your own; enhanced status codes are yours to write too.
    ///
    /// # Errors
    ///
    /// [`Misuse::Malformed`] where the code is not 2yz, or not 220 for the greeting. The question stays open.
    pub fn accept_with(self, reply: &Reply) -> Result<(), Misuse> {
        let fits = match self.question {
            Question::Greeting => reply.code() == Code::READY,
            _ => reply.code().is_positive(),
        };
        if !fits {
            return Err(Misuse::Malformed { what: "accepting reply" });
        }
        reply.encode(&mut self.server.output);
        self.settle(true);
        Ok(())
    }

    /// No. After a refused greeting (554, say) only QUIT is taken (RFC 5321 section 3.1); after 421 the session is closed.
    ///
    /// # Errors
    ///
    /// [`Misuse::Malformed`] where the code is neither 4yz nor 5yz. The question stays open.
    pub fn refuse(self, reply: &Reply) -> Result<(), Misuse> {
        self.server.refuse(reply)?;
        let server = self.settle(false);
        server.close_behind(reply);
        Ok(())
    }

    /// No, in the machine's words: 554 for the greeting, else 550.
    pub fn reject(self) {
        let fixed = match self.question {
            Question::Greeting => replies::NO_SERVICE,
            Question::Mail => Fixed { code: 550, status: "5.7.1", text: "Sender refused" },
            Question::Recipient => Fixed { code: 550, status: "5.1.1", text: "No such mailbox" },
            Question::Message | Question::MessageFor(_) => {
                Fixed { code: 550, status: "5.7.1", text: "Message refused" }
            }
        };
        self.server.say(fixed);
        self.settle(false);
    }

    fn settle(self, accepted: bool) -> &'a mut Server {
        let server = self.server;
        server.since = None;
        let State::Question(open) = core::mem::replace(&mut server.state, State::Command) else { return server };
        match open {
            Open::Greeting => server.turned_away = !accepted,
            Open::Mail(transaction) if accepted => server.open_transaction(transaction),
            Open::Recipient if accepted => {
                server.session.recipients += 1;
                server.commands = server.commands.saturating_sub(1);
            }
            Open::Message { next, of } if next + 1 < of => {
                server.state = State::Question(Open::Message { next: next + 1, of });
            }
            Open::Message { .. } => {
                server.transaction = None;
                server.session.recipients = 0;
            }
            _ => {}
        }
        server
    }
}

/// Answers AUTH: whether an exchange begins.
#[must_use = "the session waits for the answer"]
pub struct Authentication<'a>(&'a mut Server);

impl<'a> Authentication<'a> {
    pub(super) fn new(server: &'a mut Server) -> Option<Self> {
        matches!(server.state, State::Question(Open::Authenticate { .. })).then_some(Self(server))
    }

    /// Begins the exchange. Then call [`receive`](crate::Machine::receive) again, were there nothing to give it: an initial
    /// response waits in the machine.
    ///
    /// `channel` is what is known of the connection, for mechanisms that bind to it; whether a `-PLUS` one was offered is
    /// filled in. `nonce` are random octets, fresh for
    /// each exchange, because there is no randomness in here.
    ///
    /// # Errors
    ///
    /// [`sasl::Misuse`] where the mechanism cannot be begun. The question stays open.
    pub fn begin(self, channel: &Channel, nonce: Nonce) -> Result<(), sasl::Misuse> {
        if let State::Question(Open::Authenticate { name, .. }) = &self.0.state {
            let channel = channel.clone().plus_offered(self.0.offers_plus());
            let mechanism = sasl::server::start(name, &channel, &self.0.config.host, nonce)?;
            self.begin_with(mechanism);
        }
        Ok(())
    }

    /// Begins the exchange with a mechanism of your own; else as [`Self::begin`].
    pub fn begin_with(self, mechanism: Box<dyn sasl::server::Mechanism>) {
        let server = self.0;
        let State::Question(Open::Authenticate { name, initial }) =
            core::mem::replace(&mut server.state, State::Command)
        else {
            return;
        };
        let waits = initial.is_some();
        server.since = None;
        server.state = State::Auth(Exchange { name, mechanism, initial });
        if !waits {
            server.challenge();
        }
    }

    /// Does not begin it: 454 4.7.0, say, where credentials cannot be looked up now (RFC 4954 section 6).
    ///
    /// # Errors
    ///
    /// [`Misuse::Malformed`] where the code is neither 4yz nor 5yz. The question stays open.
    pub fn refuse(self, reply: &Reply) -> Result<(), Misuse> {
        let server = self.0;
        server.refuse(reply)?;
        server.since = None;
        server.state = State::Command;
        server.close_behind(reply);
        Ok(())
    }
}

/// Answers what a mechanism asks.
#[must_use = "the session waits for the answer"]
pub struct Credentials<'a>(&'a mut Server);

impl<'a> Credentials<'a> {
    pub(super) fn new(server: &'a mut Server) -> Option<Self> {
        matches!(server.state, State::Question(Open::Credentials(_))).then_some(Self(server))
    }

    /// Answers. Whether the client has authenticated is then in [`Session::identity`](super::Session::identity), unless the
    /// mechanism has further challenges.
    ///
    /// # Errors
    ///
    /// [`sasl::Misuse`] where this is not an answer to that question. The question stays open.
    pub fn answer(self, answer: sasl::server::Answer) -> Result<(), sasl::Misuse> {
        let server = self.0;
        let State::Question(Open::Credentials(exchange)) = &mut server.state else { return Ok(()) };
        let outcome = exchange.mechanism.answer(answer)?;
        server.since = None;
        if let State::Question(Open::Credentials(exchange)) = core::mem::replace(&mut server.state, State::Command) {
            server.state = State::Auth(exchange);
        }
        if server.follow(Ok(outcome)).is_some() {
            // An answer to a question is no question, by the contract of mechanisms: one from outside broke it.
            server.fail_authentication(replies::AUTH_REFUSED);
        }
        Ok(())
    }

    /// Ends the exchange with a reply of your own, where there is no answer: 454 4.7.0, say (RFC 4954 section 6).
    ///
    /// It counts as a failed authentication where the code is 5yz.
    ///
    /// # Errors
    ///
    /// [`Misuse::Malformed`] where the code is neither 4yz nor 5yz. The question stays open.
    pub fn refuse(self, reply: &Reply) -> Result<(), Misuse> {
        let server = self.0;
        server.refuse(reply)?;
        server.since = None;
        server.state = State::Command;
        if reply.code().is_permanent() {
            server.count_failed_authentication();
        }
        server.close_behind(reply);
        Ok(())
    }
}
