//! The server: the other side of the dialogue (RFC 5321), with STARTTLS, AUTH, CHUNKING, and LMTP (RFC 2033).
//!
//! The rules of this room:
//!
//! - The machine keeps the order of the dialogue; what is accepted is the owner's to decide. A question is an [`Event`]; while
//!   it is open no input is taken, and a handle exists to answer it, which the answer consumes.
//! - What the client did wrong is answered and goes on; an [`Error`] ends the session.
//! - Replies gather until they are transmitted, so a pipelined group is answered in one write (RFC 2920). While more than
//!   4 KiB of them wait, no input is taken.
//! - Held memory: one line, the replies that wait, the envelope's facts. Recipients are counted, not kept; content is handed
//!   out as it comes.
//!
//! # What may be said when
//!
//! | command | before EHLO | behind HELO | behind EHLO or LHLO |
//! |---|---|---|---|
//! | NOOP, RSET, HELP, VRFY, EXPN, QUIT | taken (RFC 5321 section 4.1.4) | taken | taken |
//! | MAIL | 503 | taken | taken, 503 within a transaction |
//! | a parameter of MAIL or RCPT | 503 | 555: nothing was offered (section 4.1.1.11) | 555 where not offered |
//! | an address that needs SMTPUTF8 | 503 | 553 | 553 where MAIL did not say SMTPUTF8 |
//! | BDAT | 503, octets passed over | 503, octets passed over (RFC 3030 section 2) | taken, 502 where not offered |
//! | AUTH | 503 | 503: it is announced by EHLO (RFC 4954 section 3) | taken, 503 within a transaction or once it has succeeded |
//! | STARTTLS | taken, 502 where not offered | taken | taken, 503 under TLS |
//! | ETRN, XCLIENT | 503 | 503 | taken, 503 within a transaction |
//!
//! STARTTLS is taken early because there are clients that ask blindly, and because refusing it would only keep them in clear.
//! After a greeting that was refused, QUIT is taken and nothing else (section 3.1).
//!
//! # The owner's loop
//!
//! Receive until nothing happens, transmit, write; again while that leaves input and something was said; then wait for the
//! socket, the deadline, or whoever answers the question. After an answer call [`receive`](Machine::receive) again, were
//! there nothing new to give it. Where [`Server::is_closed`] holds, or an error came, write what is left and close.
//!
//! ```
//! use smtp_proto::server::{Config, Event, Server};
//! use smtp_proto::{Instant, Machine};
//!
//! fn drive(server: &mut Server, now: Instant, input: &mut &[u8], output: &mut Vec<u8>, message: &mut Vec<u8>) {
//!     loop {
//!         while let Ok(Some(event)) = server.receive(now, input) {
//!             match event {
//!                 Event::Content { octets, .. } => message.extend(octets),
//!                 Event::Abandoned(_) => message.clear(),
//!                 _ => {}
//!             }
//!             // Whatever was asked: yes. In LMTP the end of a message is a question for each recipient.
//!             while let Some(decision) = server.decision() {
//!                 decision.accept();
//!             }
//!         }
//!         if !server.transmit(now, output) || input.is_empty() {
//!             return;
//!         }
//!     }
//! }
//!
//! let mut server = Server::new(Config::new("mx.example.org").unwrap());
//! let (mut output, mut message) = (Vec::new(), Vec::new());
//! let mut input = &b"EHLO client.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n..\r\n.\r\nQUIT\r\n"[..];
//! drive(&mut server, Instant::EPOCH, &mut input, &mut output, &mut message);
//! assert!(output.ends_with(b"354 Send the message, end with CRLF.CRLF\r\n250 2.0.0 Message accepted\r\n221 2.0.0 Closing the connection\r\n"));
//! assert_eq!(message, b".\r\n");
//! assert!(server.is_closed());
//! ```

mod auth;
mod config;
mod content;
mod decision;
mod event;
mod limits;
mod line;
mod obey;
mod parse;
mod replies;
mod say;
mod session;
#[cfg(test)]
mod tests;
mod transaction;
mod xclient;

use alloc::vec::Vec;
use core::fmt;

use crate::sasl::MechanismName;
use crate::{Deadline, Instant, Machine, Misuse, Phase, phase};

pub use config::{Ask, Config};
pub use decision::{Authentication, Credentials, Decision, Question};
pub use event::{Abandoned, Error, Event};
pub use limits::Limits;
pub use session::{Identity, Session};
pub use xclient::{Attribute, Xclient};

use auth::{Exchange, Initial};
use content::{Chunk, Data};
use line::Lines;
use transaction::Transaction;

/// Replies that wait to be transmitted, in octets, before no more input is taken.
const OUTPUT_HIGH: usize = 4 * 1024;

/// The server's side of one SMTP or LMTP session. See the [module](self) for how it is driven.
pub struct Server {
    config: Config,
    session: Session,
    state: State,
    transaction: Option<Transaction>,
    lines: Lines,
    output: Vec<u8>,
    /// The latest moment known.
    now: Instant,
    /// Since when the client is waited for; `None` while it is not, or while it has yet to hear what it is to answer.
    since: Option<Instant>,
    /// What counts towards the limits of the same names.
    errors: u32,
    commands: u32,
    failures: u32,
    /// The greeting was refused.
    turned_away: bool,
    shutting_down: bool,
    failed: Option<Error>,
}

/// What is due.
enum State {
    /// A command.
    Command,
    /// A line of an AUTH exchange.
    Auth(Exchange),
    /// Octets of a message.
    Data(Data),
    Chunk(Chunk),
    /// The owner's answer.
    Question(Open),
    /// The owner's word that TLS is up.
    StartTls,
    /// Nothing more.
    Closed,
}

/// An open question, with what the answer sets going.
enum Open {
    Greeting,
    Mail(Transaction),
    Recipient,
    Data,
    /// One that only a reply hangs on.
    Reply(Question),
    Xclient(Xclient),
    Message(Verdict),
    Authenticate {
        name: MechanismName,
        initial: Option<Initial>,
    },
    Credentials(Exchange),
}

/// The end of a message: what was answered, and what is due.
#[derive(Clone, Copy, Default)]
struct Verdict {
    /// Recipients that are answered for, and how many were.
    of: usize,
    next: usize,
    /// The message is answered for, too, behind them.
    whole: bool,
    /// Somebody was accepted; somebody may try again.
    accepted: bool,
    deferred: bool,
}

impl Server {
    /// A session that has just been opened by a client. The greeting waits to be transmitted, unless it is
    /// [held](Config::hold_greeting).
    pub fn new(config: Config) -> Self {
        let holds_greeting = config.holds_greeting;
        let mut server = Self {
            session: Session { secured: config.implicit_tls, ..Session::default() },
            lines: Lines::new(config.bare_line_feeds),
            config,
            state: State::Question(Open::Greeting),
            transaction: None,
            output: Vec::new(),
            now: Instant::EPOCH,
            since: None,
            errors: 0,
            commands: 0,
            failures: 0,
            turned_away: false,
            shutting_down: false,
            failed: None,
        };
        if !holds_greeting {
            server.greet();
            server.state = State::Command;
        }
        server
    }

    /// What is known of the client.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Answers the open question, where it is one of yes and no: every one but those of AUTH.
    pub fn decision(&mut self) -> Option<Decision<'_>> {
        Decision::new(self)
    }

    /// Answers [`Event::Authenticate`], while that is open.
    pub fn authentication(&mut self) -> Option<Authentication<'_>> {
        Authentication::new(self)
    }

    /// Answers [`Event::Credentials`], while that is open.
    pub fn credentials(&mut self) -> Option<Credentials<'_>> {
        Credentials::new(self)
    }

    /// Whether a question waits for its answer; no input is taken until then, and there is no deadline.
    pub fn is_asking(&self) -> bool {
        matches!(self.state, State::Question(_))
    }

    /// TLS is up: the session begins anew on the secured channel (RFC 3207 section 4.2). Called after [`Event::StartTls`].
    ///
    /// # Errors
    ///
    /// [`Misuse::NotOpen`] where STARTTLS was not said, or its 220 has not been transmitted yet.
    pub fn secured(&mut self) -> Result<(), Misuse> {
        if !matches!(self.state, State::StartTls) || !self.output.is_empty() {
            return Err(Misuse::NotOpen);
        }
        self.session.secured = true;
        self.state = State::Command;
        self.commands = 0;
        Ok(())
    }

    /// The TLS that is up, or is about to be [told of](Self::secured), has no name that a mechanism could bind to: `-PLUS`
    /// mechanisms are not offered and not taken in this session.
    ///
    /// [`Accepted`](crate::Accepted) calls it where [`Facts::bindings`](crate::tls::Facts::bindings) are empty, which under TLS
    /// 1.2 is every server whose certificate has no `tls-server-end-point` (RFC 5929 section 4), one signed with Ed25519 say.
    pub fn without_channel_binding(&mut self) {
        self.config.mechanisms.retain(|one| !one.binds_channel());
    }

    /// Closes the session at the next reply boundary: what is under way is answered, then 421 is said (RFC 5321 section 3.8).
    ///
    /// A message whose content has begun is finished first, a question that is open is waited for, and so is TLS.
    /// [`Self::is_closed`] holds once the 421 was transmitted.
    pub fn shut_down(&mut self) {
        self.shutting_down = true;
    }

    /// Whether the session is over, well or badly: transmit and write what is left, then close.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether 421 may be said now: nothing is owed and nothing under way.
    fn leaves_now(&self) -> bool {
        let chunks_due = |transaction: &Transaction| transaction.chunked && !transaction.spoilt;
        let idle = match &self.state {
            State::Command => !self.transaction.as_ref().is_some_and(chunks_due),
            State::Auth(exchange) => exchange.initial.is_none(),
            _ => false,
        };
        self.shutting_down && idle
    }

    /// Whether the client is waited for, and has nothing under way.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Command) && self.transaction.is_none() && self.output.is_empty()
    }

    fn phase(&self) -> Phase {
        match self.state {
            State::Data(_) | State::Chunk(_) => phase::BLOCK,
            State::Auth(_) => phase::AUTH,
            State::StartTls => phase::TLS,
            State::Command | State::Question(_) | State::Closed => phase::COMMAND,
        }
    }
}

impl Machine for Server {
    type Event = Event;
    type Error = Error;

    /// Takes what the client sent, up to the first event. Nothing is taken while a question is open, while TLS is awaited
    /// (octets are an error then), while many replies wait to be transmitted, and once the session is closed.
    ///
    /// # Errors
    ///
    /// See [`Error`]; transmit what is left to say, then close.
    fn receive(&mut self, now: Instant, input: &mut &[u8]) -> Result<Option<Event>, Error> {
        self.now = now;
        loop {
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            if self.output.len() >= OUTPUT_HIGH || self.leaves_now() {
                return Ok(None);
            }
            let event = match &self.state {
                State::Question(open) => {
                    self.session.early |= matches!(open, Open::Greeting) && !input.is_empty();
                    return Ok(None);
                }
                State::Closed => return Ok(None),
                State::StartTls if input.is_empty() => return Ok(None),
                State::StartTls => {
                    self.fail(None, Error::ClearTextBehindStartTls);
                    None
                }
                State::Auth(exchange) if exchange.initial.is_some() => {
                    self.since = Some(now);
                    self.respond(None)
                }
                State::Chunk(_) => {
                    self.since = if input.is_empty() { self.since } else { Some(now) };
                    match self.receive_chunk(input) {
                        None if matches!(self.state, State::Chunk(_)) => return Ok(None),
                        event => event,
                    }
                }
                _ if input.is_empty() => return Ok(None),
                State::Data(_) => {
                    self.since = Some(now);
                    self.receive_data(input)
                }
                State::Command | State::Auth(_) => match self.receive_line(input) {
                    None => return Ok(None),
                    Some(event) => event,
                },
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    fn transmit(&mut self, now: Instant, output: &mut Vec<u8>) -> bool {
        self.now = now;
        if self.leaves_now() {
            self.say(replies::SHUTTING_DOWN);
            self.close();
        }
        if self.output.is_empty() {
            return false;
        }
        output.append(&mut self.output);
        // The client can answer from now on; while a question is open it is not the client who is waited for.
        self.since = (!self.is_closed() && !self.is_asking()).then_some(now);
        true
    }

    /// The client has closed its side, and the input is empty. While a question is open or replies wait to be transmitted,
    /// nothing is decided yet: it is `Ok`, and to be asked again afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] where the client did not say QUIT; whether that matters is the owner's to judge.
    fn finish(&mut self) -> Result<(), Error> {
        let answers_due = self.is_asking() || !self.output.is_empty();
        if self.failed.is_none() && !self.is_closed() && !answers_due {
            self.fail(None, Error::Lost(self.phase()));
        }
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn deadline(&self) -> Option<Deadline> {
        let limits = &self.config.limits;
        let limit = match &self.state {
            State::Question(_) | State::Closed => return None,
            State::Data(_) | State::Chunk(_) => limits.content_time,
            State::StartTls => limits.handshake_time,
            State::Command | State::Auth(_) => limits.command_time,
        };
        self.since.map(|since| Deadline { at: since.after(limit), watching: self.phase() })
    }

    fn expire(&mut self, now: Instant) -> Result<(), Error> {
        if let Some(Deadline { at, watching }) = self.deadline() {
            if at <= now {
                // During the handshake the client expects TLS, and would take 421 for a broken one.
                let last_word = (watching != phase::TLS).then_some(replies::TIMEOUT);
                self.fail(last_word, Error::Timeout(watching));
            }
        }
        self.failed.clone().map_or(Ok(()), Err)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Half a line may be half a password.
        f.debug_struct("Server")
            .field("session", &self.session)
            .field("waits_for", &self.phase())
            .field("asking", &self.is_asking())
            .field("closed", &self.is_closed())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
