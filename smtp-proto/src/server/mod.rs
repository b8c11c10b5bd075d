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
mod parse;
mod replies;
mod session;
#[cfg(test)]
mod tests;
mod transaction;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::extension::Extensions;
use crate::reply::{Code, Reply};
use crate::sasl::MechanismName;
use crate::{Deadline, Instant, Machine, Misuse, Phase};

pub use config::Config;
pub use decision::{Authentication, Credentials, Decision, Question};
pub use event::{Abandoned, Error, Event};
pub use limits::Limits;
pub use session::{Identity, Session};

use auth::{Exchange, Initial};
use content::{Chunk, Data};
use line::{LineFault, Lines};
use parse::{Said, parse};
use replies::Fixed;
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
    /// The end of a message: which of how many replies is due.
    Message {
        next: usize,
        of: usize,
    },
    Authenticate {
        name: MechanismName,
        initial: Option<Initial>,
    },
    Credentials(Exchange),
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

    /// Answers the open question, where it is one of yes and no: greeting, MAIL, RCPT, the end of a message.
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

    /// Does one command; unlawful ones get their reply here.
    fn obey(&mut self, line: &[u8]) -> Option<Event> {
        let said = match parse(line) {
            Ok(Said::Quit) => {
                self.say(replies::BYE);
                self.close();
                return Some(Event::Quit);
            }
            _ if self.turned_away => return self.fault(replies::ONLY_QUIT),
            Ok(Said::Bdat { size: None, .. }) => {
                self.fail(Some(replies::CHUNK_SIZE), Error::ChunkSize);
                return None;
            }
            // Octets of a message are bounded by its own limit.
            Ok(Said::Bdat { size: Some(size), last }) if size > 0 => {
                self.begin_chunk(size, last);
                return None;
            }
            Ok(said) => said,
            Err(fixed) => return self.fault(fixed),
        };
        self.commands += 1;
        if self.commands > self.config.limits.commands {
            self.fail(Some(replies::TOO_MANY_COMMANDS), Error::TooManyCommands);
            return None;
        }
        match said {
            Said::Ehlo(name) if !self.config.lmtp => return self.hello(name, true),
            Said::Helo(name) if !self.config.lmtp => return self.hello(name, false),
            Said::Lhlo(name) if self.config.lmtp => return self.hello(name, true),
            // RFC 2033 section 4.1: the other protocol's words are unknown here.
            Said::Ehlo(_) | Said::Helo(_) | Said::Lhlo(_) => return self.fault(replies::UNKNOWN),
            Said::Mail(from, parameters) => return self.mail(from, parameters),
            Said::Rcpt(to, parameters) => return self.rcpt(to, parameters),
            Said::Data => return self.begin_data(),
            Said::Bdat { size, last } => self.begin_chunk(size.unwrap_or_default(), last),
            Said::Auth { mechanism, initial } => return self.auth(mechanism, initial),
            Said::StartTls => return self.starttls(),
            Said::Rset => {
                self.say(replies::RESET);
                return self.abandon(Abandoned::Reset);
            }
            Said::Noop => self.say(replies::NOOP),
            Said::Vrfy => self.say(replies::VRFY),
            Said::Help => self.say(replies::HELP),
            Said::Expn => return self.fault(replies::EXPN),
            Said::Quit => {}
        }
        None
    }

    fn hello(&mut self, name: &str, extended: bool) -> Option<Event> {
        let abandoned = self.abandon(Abandoned::Hello);
        let text = if extended { self.config.offer(name, self.session.secured) } else { self.config.host.to_string() };
        let reply = self.reply(Code::OK, text);
        self.session.offered = if extended { Extensions::from_reply(&reply) } else { Extensions::default() };
        self.session.helo = Some(name.to_string());
        self.session.extended = extended;
        abandoned
    }

    fn starttls(&mut self) -> Option<Event> {
        if self.session.secured {
            return self.fault(replies::ALREADY_SECURED);
        }
        if !self.config.offers("STARTTLS", false) {
            return self.fault(replies::NO_TLS);
        }
        if !self.session.extended {
            return self.fault(replies::EXTENDED_HELLO_FIRST);
        }
        self.say(replies::GO_AHEAD);
        self.session = Session::default();
        self.transaction = None;
        self.state = State::StartTls;
        Some(Event::StartTls)
    }

    fn greet(&mut self) {
        let text = match &self.config.greeting {
            Some(text) => text,
            None if self.config.lmtp => "LMTP",
            None => "ESMTP",
        };
        let text = [&self.config.host, " ", text].concat();
        self.reply(Code::READY, text);
    }

    /// A reply whose text was checked, word by word, where it came in.
    fn reply(&mut self, code: Code, text: String) -> Reply {
        let reply = Reply::new(code, text).unwrap_or_else(|_| Reply::fixed(code.number(), ""));
        reply.encode(&mut self.output);
        reply
    }

    fn say(&mut self, Fixed { code, status, text }: Fixed) {
        if status.is_empty() || !self.session.extended || !self.config.offers("ENHANCEDSTATUSCODES", false) {
            return self.say_line(code, text);
        }
        self.say_line(code, &[status, " ", text].concat());
    }

    fn say_line(&mut self, code: u16, text: &str) {
        self.output.extend([code / 100, code / 10 % 10, code % 10].map(|digit| b'0' + digit as u8));
        self.output.push(b' ');
        self.output.extend_from_slice(text.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    /// The owner's refusal.
    fn refuse(&mut self, reply: &Reply) -> Result<(), Misuse> {
        if !reply.code().is_transient() && !reply.code().is_permanent() {
            return Err(Misuse::Malformed { what: "refusing reply" });
        }
        reply.encode(&mut self.output);
        Ok(())
    }

    /// Whoever says 421 closes (RFC 5321 section 3.8), the owner too.
    fn close_behind(&mut self, reply: &Reply) {
        if reply.code() == Code::SERVICE_CLOSING {
            self.close();
        }
    }

    /// Answers what the client did wrong.
    fn fault(&mut self, fixed: Fixed) -> Option<Event> {
        self.say(fixed);
        self.errors += 1;
        if self.errors > self.config.limits.errors {
            self.fail(Some(replies::TOO_MANY_ERRORS), Error::TooManyErrors);
        }
        None
    }

    fn fail(&mut self, last_word: Option<Fixed>, error: Error) {
        if let Some(fixed) = last_word {
            self.say(fixed);
        }
        self.close();
        self.failed = Some(error);
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.transaction = None;
        self.session.recipients = 0;
        self.since = None;
    }

    /// Whether 421 may be said now: nothing is owed and nothing under way.
    fn leaves_now(&self) -> bool {
        let idle = match &self.state {
            State::Command => true,
            State::Auth(exchange) => exchange.initial.is_none(),
            _ => false,
        };
        self.shutting_down && idle
    }

    fn receive_line(&mut self, input: &mut &[u8]) -> Option<Option<Event>> {
        let limits = &self.config.limits;
        let in_auth = matches!(self.state, State::Auth(_));
        let auth = in_auth || !self.config.mechanisms.is_empty();
        let longest = if auth { limits.line.max(limits.auth_line) } else { limits.line };
        let limit = |head: &[u8]| match head.get(..5) {
            _ if in_auth => limits.auth_line,
            Some(verb) if auth && verb.eq_ignore_ascii_case(b"AUTH ") => longest,
            _ => limits.line,
        };
        let line = self.lines.receive(input, longest, limit)?;
        self.since = Some(self.now);
        Some(match line {
            Ok(line) if in_auth => self.respond(Some(&line)),
            Ok(line) => self.obey(&line),
            Err(fault) => {
                // A response that cannot be read ends the exchange.
                self.state = State::Command;
                self.fault(match fault {
                    LineFault::TooLong if in_auth => replies::AUTH_LINE_TOO_LONG,
                    LineFault::TooLong => replies::LINE_TOO_LONG,
                    LineFault::BareLineFeed => replies::BARE_LINE_FEED,
                })
            }
        })
    }

    fn phase(&self) -> Phase {
        match self.state {
            State::Data(_) | State::Chunk(_) => limits::CONTENT,
            State::Auth(_) => limits::RESPONSE,
            State::StartTls => limits::HANDSHAKE,
            State::Command | State::Question(_) | State::Closed => limits::COMMAND,
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
                State::Question(_) | State::Closed => return Ok(None),
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

    /// The client has closed its side. Call it once the input is empty and no question is open.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] where the client did not say QUIT; whether that matters is the owner's to judge.
    fn finish(&mut self) -> Result<(), Error> {
        if self.failed.is_none() && !self.is_closed() {
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
                let last_word = (watching != limits::HANDSHAKE).then_some(replies::TIMEOUT);
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
