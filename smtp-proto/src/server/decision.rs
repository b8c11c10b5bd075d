//! The handles that answer questions.
//!
//! The rules of this file: a handle exists only while its question is open, and the answer consumes it; an answer that is no
//! answer is [`Misuse`], and the question stays open.

use alloc::boxed::Box;

use super::auth::Exchange;
use super::replies::{self, Fixed};
use super::{Open, Server, State, Verdict};
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
    /// May the message come? ([`Ask::Data`](super::Ask::Data))
    Data,
    /// Is the message accepted? Behind [`MessageFor`](Self::MessageFor) in PRDR it is the last word: a no to it takes back each
    /// yes before. It is not asked where every recipient was refused: the machine says so then.
    Message,
    /// LMTP and PRDR: is the message accepted for this recipient? They are counted from 0, in the order they were accepted.
    MessageFor(usize),
    /// What is known of this user? ([`Ask::Verify`](super::Ask::Verify))
    Verify,
    /// Who is on this list? ([`Ask::Expand`](super::Ask::Expand))
    Expand,
    /// What is there to say of it? ([`Ask::Help`](super::Ask::Help))
    Help,
    /// Is this queue to be started?
    Etrn,
    /// Is the client believed?
    Xclient,
    /// What is the answer to this verb? ([`Ask::Unknown`](super::Ask::Unknown))
    Command,
}

impl Question {
    /// Yes, or what is said where the owner has nothing to say.
    fn acceptance(self) -> Fixed {
        match self {
            // These are answered by the greeting.
            Self::Greeting | Self::Xclient => replies::NOOP,
            Self::Mail => replies::SENDER_OK,
            Self::Recipient => replies::RECIPIENT_OK,
            Self::Data => replies::START_MAIL,
            Self::Message | Self::MessageFor(_) => replies::MESSAGE_OK,
            Self::Verify => replies::VRFY,
            Self::Expand => replies::EXPN,
            Self::Help => replies::HELP,
            Self::Etrn => replies::QUEUE_STARTED,
            Self::Command => replies::UNKNOWN,
        }
    }

    fn rejection(self) -> Fixed {
        match self {
            Self::Greeting => replies::NO_SERVICE,
            Self::Mail => replies::SENDER_REFUSED,
            Self::Recipient => replies::NO_MAILBOX,
            Self::Data | Self::Message | Self::MessageFor(_) => replies::MESSAGE_REFUSED,
            Self::Verify | Self::Expand => replies::NOT_TOLD,
            Self::Help => replies::NO_HELP,
            Self::Etrn => replies::QUEUE_REFUSED,
            Self::Xclient => replies::NOT_PERMITTED,
            Self::Command => replies::UNKNOWN,
        }
    }

    fn deferral(self) -> Fixed {
        match self {
            Self::Greeting => replies::NOT_NOW,
            Self::Recipient => replies::RECIPIENT_LATER,
            Self::Etrn => replies::QUEUE_LATER,
            _ => replies::LATER,
        }
    }

    /// Whether a reply of the owner's says yes.
    fn is_accepted_by(self, code: Code) -> bool {
        match self {
            Self::Greeting | Self::Xclient => code == Code::READY,
            Self::Data => code == Code::START_MAIL,
            _ => code.is_positive(),
        }
    }
}

/// Answers a question with yes or no.
#[must_use = "the session waits for the answer"]
pub struct Decision<'a> {
    server: &'a mut Server,
    question: Question,
}

impl<'a> Decision<'a> {
    pub(super) fn new(server: &'a mut Server) -> Option<Self> {
        let State::Question(open) = &server.state else { return None };
        let question = match open {
            Open::Greeting => Question::Greeting,
            Open::Mail(_) => Question::Mail,
            Open::Recipient => Question::Recipient,
            Open::Data => Question::Data,
            Open::Message(verdict) if verdict.next < verdict.of => Question::MessageFor(verdict.next),
            Open::Message(_) => Question::Message,
            Open::Reply(question) => *question,
            Open::Xclient(_) => Question::Xclient,
            Open::Authenticate { .. } | Open::Credentials(_) => return None,
        };
        Some(Self { server, question })
    }

    /// What is asked.
    pub fn question(&self) -> Question {
        self.question
    }

    /// Yes, in the machine's words: 220 for the greeting and XCLIENT, 354 for DATA, else 250.
    ///
    /// Where a yes is not to be had without the owner's words, it is the answer of a server that does not tell: 252 for VRFY,
    /// 502 for EXPN, 214 for HELP, 500 for an unknown verb.
    pub fn accept(self) {
        let words = match self.question {
            Question::Greeting | Question::Xclient => Words::Greeting,
            question => Words::Fixed(question.acceptance()),
        };
        self.settle(true, words);
    }

    /// Yes, in words of your own; enhanced status codes are yours to write too.
    ///
    /// # Errors
    ///
    /// [`Misuse::Malformed`] where the code is not 2yz, or not that of [`accept`](Self::accept) for the greeting, XCLIENT and
    /// DATA. The question stays open.
    pub fn accept_with(self, reply: &Reply) -> Result<(), Misuse> {
        if !self.question.is_accepted_by(reply.code()) {
            return Err(Misuse::Malformed { what: "accepting reply" });
        }
        self.settle(true, Words::Reply(reply));
        Ok(())
    }

    /// No. After a refused greeting (554, say) only QUIT is taken (RFC 5321 section 3.1); after 421 the session is closed.
    ///
    /// # Errors
    ///
    /// [`Misuse::Malformed`] where the code is neither 4yz nor 5yz. The question stays open.
    pub fn refuse(self, reply: &Reply) -> Result<(), Misuse> {
        if !reply.code().is_transient() && !reply.code().is_permanent() {
            return Err(Misuse::Malformed { what: "refusing reply" });
        }
        self.settle(false, Words::Reply(reply));
        Ok(())
    }

    /// No, in the machine's words: 554 for the greeting, 459 for ETRN, 502 for HELP, 500 for an unknown verb, else 550.
    pub fn reject(self) {
        let fixed = self.question.rejection();
        self.settle(false, Words::Fixed(fixed));
    }

    /// Not now, in the machine's words: the client may come again. 450 for RCPT, 458 for ETRN, else 451; for the greeting 421,
    /// which closes the session.
    pub fn defer(self) {
        let fixed = self.question.deferral();
        self.settle(false, Words::Fixed(fixed));
    }

    /// Closes the question, says the answer, and does what hangs on it.
    fn settle(self, accepted: bool, words: Words<'_>) {
        let Self { server, question } = self;
        server.since = None;
        let State::Question(open) = core::mem::replace(&mut server.state, State::Command) else { return };
        let mut verdict = None;
        match open {
            Open::Greeting => server.turned_away = !accepted,
            Open::Mail(transaction) if accepted => server.open_transaction(transaction),
            Open::Recipient if accepted => {
                server.session.recipients += 1;
                server.commands = server.commands.saturating_sub(1);
            }
            Open::Data if accepted => server.take_data(),
            Open::Xclient(said) if accepted => server.begin_anew(said),
            Open::Message(before) => verdict = Some(before),
            _ => {}
        }
        let code = match words {
            Words::Greeting => {
                server.greet();
                220
            }
            Words::Fixed(fixed) => {
                server.say(fixed);
                fixed.code
            }
            Words::Reply(reply) => {
                reply.encode(&mut server.output);
                reply.code().number()
            }
        };
        if let Some(verdict) = verdict.filter(|_| code != 421) {
            server.go_on_with(verdict, code);
        }
        match (question, code) {
            // Whoever says 421 closes (RFC 5321 section 3.8).
            (_, 421) => server.close(),
            // What nobody knows is an error of the client's, whoever says so.
            (Question::Command, 500) | (Question::Expand, 502) => server.count_error(),
            _ => {}
        }
    }
}

impl Server {
    /// One reply to the message was given: asks for the next, or ends the transaction.
    fn go_on_with(&mut self, mut verdict: Verdict, code: u16) {
        let behind_all = verdict.next >= verdict.of;
        verdict.next += 1;
        verdict.accepted |= code < 400;
        verdict.deferred |= (400..500).contains(&code);
        if verdict.next < verdict.of || (verdict.whole && !behind_all && verdict.accepted) {
            self.state = State::Question(Open::Message(verdict));
            return;
        }
        if verdict.whole && !behind_all {
            // There is nobody left to whom a yes could apply.
            self.say(if verdict.deferred { replies::LATER } else { replies::MESSAGE_REFUSED });
        }
        self.transaction = None;
        self.session.recipients = 0;
    }
}

/// In whose words a question is answered.
enum Words<'r> {
    Greeting,
    Fixed(Fixed),
    Reply(&'r Reply),
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
