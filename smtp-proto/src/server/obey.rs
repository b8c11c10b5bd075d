//! Commands: what each one does, once its line is complete.
//!
//! The rules of this file: QUIT is always taken; everything else is counted, so that a session cannot go on for ever without
//! bringing anything; a command with rules of its own is done in the file of that name.

use alloc::string::{String, ToString};
use core::cell::Cell;

use super::line::LineFault;
use super::parse::{Said, parse};
use super::replies;
use super::{Abandoned, Ask, Error, Event, Open, Question, Server, Session, State, Xclient, xclient};
use crate::extension::Extensions;
use crate::reply::Code;

impl Server {
    /// Takes a line and does it; `None` where it is not complete yet.
    pub(super) fn receive_line(&mut self, input: &mut &[u8]) -> Option<Option<Event>> {
        let limits = &self.config.limits;
        let in_auth = matches!(self.state, State::Auth(_));
        let auth = in_auth || !self.config.mechanisms.is_empty();
        let longest = if auth { limits.line.max(limits.auth_line) } else { limits.line };
        // A response is one wherever it stands, behind AUTH too (RFC 4954 section 6, 5.5.6).
        let (response, chunk) = (Cell::new(in_auth), Cell::new(false));
        let limit = |head: &[u8]| {
            let is = |verb: &[u8]| head.get(..verb.len()).is_some_and(|said| said.eq_ignore_ascii_case(verb));
            chunk.set(!in_auth && is(b"BDAT"));
            if auth && is(b"AUTH ") {
                response.set(true);
            }
            match () {
                () if in_auth => limits.auth_line,
                () if response.get() => longest,
                () => limits.line,
            }
        };
        let line = self.lines.receive(input, longest, limit)?;
        self.since = Some(self.now);
        Some(match line {
            Ok(line) if in_auth => self.respond(Some(&line)),
            Ok(line) => self.obey(&line),
            // What counts the octets behind it cannot be read, and nothing of them may be: whoever is less strict has sent them as
            // those of a message.
            Err(_) if chunk.get() => {
                self.fail(Some(replies::CHUNK_SIZE), Error::ChunkSize);
                None
            }
            Err(fault) => {
                // A response that cannot be read ends the exchange.
                self.state = State::Command;
                self.fault(match fault {
                    LineFault::TooLong if response.get() => replies::AUTH_LINE_TOO_LONG,
                    LineFault::TooLong => replies::LINE_TOO_LONG,
                    LineFault::BareLineFeed => replies::BARE_LINE_FEED,
                })
            }
        })
    }

    /// Does one command; unlawful ones get their reply here.
    fn obey(&mut self, line: &[u8]) -> Option<Event> {
        let said = match parse(line) {
            Ok(Said::Quit) => {
                self.say(replies::BYE);
                self.close();
                return Some(Event::Quit);
            }
            Ok(Said::Bdat { size: None, .. }) => {
                self.fail(Some(replies::CHUNK_SIZE), Error::ChunkSize);
                return None;
            }
            // It is counted at its end, where it was refused; octets of a message have a limit of their own. Whatever the state is:
            // its octets are passed over, and are never commands.
            Ok(Said::Bdat { size: Some(size), last }) if size > 0 => {
                self.begin_chunk(size, last);
                return None;
            }
            _ if self.turned_away => return self.fault(replies::ONLY_QUIT),
            Ok(said) => said,
            Err(fixed) => return self.fault(fixed),
        };
        if !self.count_command() {
            return None;
        }
        match said {
            Said::Ehlo(name) if !self.config.lmtp => return self.hello(name, true),
            Said::Helo(name) if !self.config.lmtp => return self.hello(name, false),
            Said::Lhlo(name) if self.config.lmtp => return self.hello(name, true),
            // RFC 2033 section 4.1: the other protocol's words are unknown here.
            Said::Ehlo(_) | Said::Helo(_) | Said::Lhlo(_) => return self.fault(replies::UNKNOWN),
            Said::Mail(from, parameters) => return self.mail(from, &parameters),
            Said::Rcpt(to, parameters) => return self.rcpt(to, &parameters),
            Said::Data => return self.begin_data(),
            Said::Bdat { size, last } => self.begin_chunk(size.unwrap_or_default(), last),
            Said::Auth { mechanism, initial } => return self.auth(mechanism, initial),
            Said::StartTls => return self.starttls(),
            Said::Rset => {
                self.say(replies::RESET);
                return self.abandon(Abandoned::Reset);
            }
            Said::Noop => self.say(replies::NOOP),
            Said::Vrfy(who) if self.config.asks(Ask::Verify) => {
                return self.ask(Question::Verify, Event::Verify { who: who.into() });
            }
            Said::Vrfy(_) => self.say(replies::VRFY),
            Said::Help(topic) if self.config.asks(Ask::Help) => {
                return self.ask(Question::Help, Event::Help { topic: topic.map(String::from) });
            }
            Said::Help(_) => self.say(replies::HELP),
            Said::Expn(list) if self.config.asks(Ask::Expand) => {
                return self.ask(Question::Expand, Event::Expand { list: list.into() });
            }
            Said::Expn(_) => return self.fault(replies::EXPN),
            Said::Etrn(node) => return self.etrn(node),
            Said::Xclient(words) => return self.xclient(words),
            Said::Other(verb, argument) if self.config.asks(Ask::Unknown) => {
                let (verb, argument) = (verb.to_ascii_uppercase(), argument.into());
                return self.ask(Question::Command, Event::Command { verb, argument });
            }
            Said::Other(..) => return self.fault(replies::UNKNOWN),
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

    /// Asks for a reply, and nothing more.
    fn ask(&mut self, question: Question, event: Event) -> Option<Event> {
        self.state = State::Question(Open::Reply(question));
        Some(event)
    }

    fn etrn(&mut self, node: &str) -> Option<Event> {
        let fixed = match () {
            () if !self.config.offers("ETRN", self.session.secured) => replies::NO_ETRN,
            () if !self.session.extended => self.hello_first(),
            // RFC 1985 section 5: illegal between MAIL and the end of the message.
            () if self.transaction.is_some() => replies::IN_TRANSACTION,
            () if node.contains([' ', '\t']) => replies::ARGUMENT_SYNTAX,
            () => return self.ask(Question::Etrn, Event::Etrn { node: node.into() }),
        };
        self.fault(fixed)
    }

    fn xclient(&mut self, words: &str) -> Option<Event> {
        let fixed = match xclient::read(words, self.session.xclient.clone().unwrap_or_default()) {
            _ if !self.config.offers("XCLIENT", self.session.secured) => replies::NOT_PERMITTED,
            _ if !self.session.extended => self.hello_first(),
            _ if self.transaction.is_some() => replies::IN_TRANSACTION,
            Err(fixed) => fixed,
            Ok(said) => {
                self.state = State::Question(Open::Xclient(said.clone()));
                return Some(Event::Xclient(said));
            }
        };
        self.fault(fixed)
    }

    /// The client is believed: the session is as if it had just been opened by whom it speaks for.
    pub(super) fn begin_anew(&mut self, said: Xclient) {
        let (secured, early) = (self.session.secured, self.session.early);
        self.session = Session { secured, early, xclient: Some(said), ..Session::default() };
        self.commands = 0;
    }

    fn starttls(&mut self) -> Option<Event> {
        if self.session.secured {
            return self.fault(replies::ALREADY_SECURED);
        }
        if !self.config.offers("STARTTLS", false) {
            return self.fault(replies::NO_TLS);
        }
        // Before EHLO, too: there are clients that ask blindly, what is not a mail transaction needs no EHLO (RFC 5321 section
        // 4.1.4), and the session begins anew behind it anyway.
        self.say(replies::GO_AHEAD);
        let (early, xclient) = (self.session.early, self.session.xclient.take());
        self.session = Session { early, xclient, ..Session::default() };
        self.transaction = None;
        self.state = State::StartTls;
        Some(Event::StartTls)
    }
}
