//! PIPECONNECT: the first commands leave before the server has said a word (Exim, `hosts_pipe_connect`).
//!
//! The rules of this file:
//!
//! - Only what the last session with this server has shown to be welcome is said unasked; what the server's own answer to
//!   EHLO does not bear out is in doubt, and a refusal of it then counts for nothing: it is asked again in due order.
//! - No octet of a message is among it: to a server that does not know DATA or BDAT a message would be commands.
//! - Nothing is said in clear that waits for TLS but EHLO, and no transaction where somebody is to be authenticated.

use alloc::vec::Vec;

use proxy_proto::Instant;

use super::auth::Exchange;
use super::config::StartTls;
use super::event::TransactionId;
use super::remembered::Remembered;
use super::{Client, Owed, Stage, Work};
use crate::extension::Extensions;
use crate::reply::Code;
use crate::{Grouping, phase, sasl};

/// What is said unasked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plan {
    /// EHLO; more depends on its answer.
    Hello,
    /// EHLO, and AUTH behind it.
    Auth,
    /// EHLO, and the first transaction behind it.
    Mail,
}

/// What was said before its time.
#[derive(Debug)]
pub(super) struct Early {
    plan: Plan,
    said_hello: bool,
    said_auth: bool,
    /// EHLO was answered: what is said from now on is said in its time.
    answered: bool,
    transaction: Option<TransactionId>,
    assumed: Extensions,
}

impl Client {
    /// Begins to assume what is remembered of this server, where it may be spoken to unasked.
    pub(super) fn plan_early(&mut self) {
        self.early = self.early_plan().map(Into::into);
        if let Some(early) = &self.early {
            self.extensions = early.assumed.clone();
        }
    }

    fn early_plan(&self) -> Option<Early> {
        let remembered = self.config.remembered.as_ref()?;
        let mut assumed = remembered.extensions().clone();
        self.config.correct(&mut assumed);
        if !assumed.pipe_connect() || !assumed.pipelining() || self.grouping < Grouping::Groups {
            return None;
        }
        let as_it_is_to_be = self.channel.secure || self.starttls == StartTls::Never;
        let plan = match &self.config.credentials {
            _ if !as_it_is_to_be => Plan::Hello,
            None => Plan::Mail,
            Some(_) if self.channel.secure => Plan::Auth,
            Some(_) => Plan::Hello,
        };
        Some(Early { plan, said_hello: false, said_auth: false, answered: false, transaction: None, assumed })
    }

    /// Whether commands left before the server's greeting was read ([`Remembered`]).
    ///
    /// Where such a session fails before it is ready, the server may have taken offence at that: connect again without what
    /// is remembered. Nothing of a message has left then.
    pub fn spoke_early(&self) -> bool {
        self.early.as_ref().is_some_and(|early| early.said_hello)
    }

    /// What is worth remembering of this server, once it has answered EHLO.
    pub fn remembered(&self) -> Option<Remembered> {
        (self.is_ready() && self.extensions.iter().next().is_some())
            .then(|| Remembered::new(self.extensions.clone(), self.grouping))
    }

    /// Whether what is said now is said unasked.
    pub(super) fn is_early(&self) -> bool {
        let before_ehlo = matches!(self.stage, Stage::Greeting | Stage::Ehlo);
        before_ehlo && self.early.as_ref().is_some_and(|early| !early.answered)
    }

    /// Says what may be said unasked.
    pub(super) fn say_early(&mut self, now: Instant, output: &mut Vec<u8>) {
        let Some(early) = &mut self.early else { return };
        if !early.said_hello {
            early.said_hello = true;
            let ends = early.plan == Plan::Hello;
            self.say_hello(now, output, ends);
        }
        match &mut self.early {
            Some(early) if early.plan == Plan::Auth => {
                early.plan = Plan::Hello;
                self.say_auth_early(now, output);
            }
            Some(early) if early.plan == Plan::Mail => self.say_mail_early(now, output),
            _ => {}
        }
    }

    /// AUTH, where the mechanism of choice is done in one message: what is asked of it in a challenge depends on what the server
    /// offers now.
    fn say_auth_early(&mut self, now: Instant, output: &mut Vec<u8>) {
        let Some(credentials) = &self.config.credentials else { return };
        let offered = self.extensions.mechanisms();
        // What cannot be begun by what is remembered is begun, or refused, by what will be offered.
        let Ok(exchange) = Exchange::begin(&self.config, credentials, offered, &self.channel) else { return };
        if is_one_message(exchange.mechanism()) {
            self.exchange = Some(exchange.into());
            self.say_auth(now, output);
            if let Some(early) = &mut self.early {
                early.said_auth = true;
            }
        }
    }

    /// The first transaction, up to where its message would begin.
    fn say_mail_early(&mut self, now: Instant, output: &mut Vec<u8>) {
        while self.may_go_on() {
            let Some(Work::Message(transaction)) = self.work.get(self.said) else { return };
            let id = transaction.id;
            let Some(early) = &mut self.early else { return };
            if *early.transaction.get_or_insert(id) != id || !self.say_transaction(now, output) {
                return;
            }
        }
    }

    /// The server has answered EHLO, or has not let itself be told so.
    pub(super) fn hear_early_hello(&mut self, extended: bool) {
        let Some(early) = self.early.as_mut().filter(|early| !early.answered) else { return };
        early.answered = true;
        let assumed = core::mem::take(&mut early.assumed);
        let in_doubt = !self.extensions.pipe_connect() || self.extensions != assumed;
        let Some(id) = early.transaction else { return };
        let grouping = self.grouping();
        let (extensions, room) = (&self.extensions, &mut self.room);
        let transaction = self.work.iter_mut().find_map(|work| match work {
            Work::Message(transaction) if transaction.id == id && transaction.began.is_some() => Some(transaction),
            _ => None,
        });
        let Some(transaction) = transaction else { return };
        if extended {
            transaction.in_doubt = in_doubt;
            transaction.reframe(grouping, extensions, room);
        } else {
            transaction.again = true;
            transaction.say_no_more();
        }
    }

    /// Whether this refusal is of an AUTH that was said before its time, and is none: it is to be begun by what is offered now.
    pub(super) fn is_auth_in_doubt(&mut self, code: Code) -> bool {
        let Some(early) = &mut self.early else { return false };
        let was_early = core::mem::take(&mut early.said_auth);
        let Some(exchange) = self.exchange.as_ref().filter(|_| was_early) else { return false };
        let name = exchange.mechanism().as_str();
        let offered = self.extensions.mechanisms().iter().any(|one| one.eq_ignore_ascii_case(name));
        let out_of_step = matches!(code.number(), 500 | 502 | 503);
        (code.is_transient() || code.is_permanent()) && (out_of_step || !offered)
    }

    /// AUTH was said already, and waits for its answer.
    pub(super) fn awaits_early_auth(&self) -> bool {
        self.exchange.is_some() && self.dialogue.is_due(|owed| *owed == Owed::Auth)
    }

    pub(super) fn say_hello(&mut self, now: Instant, output: &mut Vec<u8>, ends_group: bool) {
        let verb = if self.config.lmtp { "LHLO" } else { "EHLO" };
        let line = alloc::format!("{verb} {}\r\n", self.config.helo);
        self.line(now, phase::EHLO, output, |output| output.extend_from_slice(line.as_bytes()));
        self.owe(now, Owed::Ehlo, phase::EHLO, self.config.limits.ehlo, ends_group);
    }
}

/// Is all that the client has to say in the first message?
fn is_one_message(name: &sasl::MechanismName) -> bool {
    matches!(name.as_str(), "PLAIN" | "XOAUTH2" | "OAUTHBEARER" | "EXTERNAL" | "ANONYMOUS")
}
