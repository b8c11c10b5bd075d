//! MAIL and RCPT: what opens a transaction, and which parameters it takes.
//!
//! The rules of this file: a parameter is taken only where its extension was offered (555 otherwise) and its value is of that
//! extension's grammar (501 otherwise); then the owner is asked.

use super::replies::{self, Fixed};
use super::{Abandoned, Event, Open, Server, State};
use crate::command::{ForwardPath, Parameter, ReversePath};
use crate::parameter::{BodyKind, MailParameters, RcptParameters, extension_of_mail, extension_of_rcpt};

/// What the machine itself must know of an open transaction.
#[derive(Clone, Default)]
pub(super) struct Transaction {
    /// BODY=BINARYMIME.
    pub(super) binary: bool,
    /// PRDR: each accepted recipient is to be answered for.
    pub(super) each: bool,
    /// SMTPUTF8.
    pub(super) international: bool,
    /// BDAT was used, so DATA is no longer lawful.
    pub(super) chunked: bool,
    /// A chunk was refused: RSET is due.
    pub(super) spoilt: bool,
    /// Octets handed out.
    pub(super) received: u64,
    /// The last octet handed out was CR.
    pub(super) after_cr: bool,
    /// Recipients for whom there was no room.
    pub(super) surplus: usize,
}

impl Server {
    pub(super) fn mail(&mut self, from: ReversePath, parameters: &[Parameter]) -> Option<Event> {
        let checked = match (&self.session.helo, &self.transaction) {
            (None, _) => Err(replies::HELLO_FIRST),
            (_, Some(transaction)) if transaction.spoilt => Err(replies::RESET_FIRST),
            (_, Some(_)) => Err(replies::NESTED_MAIL),
            _ => self.check_mail(&from, parameters),
        };
        match checked {
            Ok(parameters) => {
                let binary = parameters.body == Some(BodyKind::BinaryMime);
                let (each, international) = (parameters.prdr, parameters.smtputf8);
                let transaction = Transaction { binary, each, international, ..Transaction::default() };
                self.state = State::Question(Open::Mail(transaction));
                Some(Event::Mail { from, parameters })
            }
            Err(fixed) => self.fault(fixed),
        }
    }

    pub(super) fn rcpt(&mut self, to: ForwardPath, parameters: &[Parameter]) -> Option<Event> {
        let checked = match &self.transaction {
            None => Err(replies::MAIL_FIRST),
            Some(transaction) if transaction.chunked => Err(replies::CHUNKS_BEGUN),
            Some(transaction) if to.is_international() && !transaction.international => Err(replies::INTERNATIONAL),
            Some(_) => self.check_rcpt(parameters),
        };
        match checked {
            // A full transaction is no error of the client's: it is told to open another.
            Ok(_) if self.session.recipients >= self.config.limits.recipients => {
                self.say(replies::TOO_MANY_RECIPIENTS);
                let within = self.config.limits.recipients.saturating_mul(super::limits::SURPLUS);
                if let Some(transaction) = self.transaction.as_mut().filter(|one| one.surplus < within) {
                    transaction.surplus += 1;
                    self.commands = self.commands.saturating_sub(1);
                }
                None
            }
            Ok(parameters) => {
                self.state = State::Question(Open::Recipient);
                Some(Event::Recipient { to, parameters })
            }
            Err(fixed) if self.transaction.is_none() => self.misplaced(fixed),
            Err(fixed) => self.fault(fixed),
        }
    }

    pub(super) fn open_transaction(&mut self, transaction: Transaction) {
        self.transaction = Some(transaction);
        self.session.recipients = 0;
    }

    /// Forgets the transaction; the event is for an owner that knows of it.
    pub(super) fn abandon(&mut self, why: Abandoned) -> Option<Event> {
        self.session.recipients = 0;
        // Whoever was told that a chunk was refused knows already.
        self.transaction.take().filter(|transaction| !transaction.spoilt).map(|_| Event::Abandoned(why))
    }

    fn check_mail(&self, from: &ReversePath, parameters: &[Parameter]) -> Result<MailParameters, Fixed> {
        let mut given = MailParameters::default();
        for one in parameters {
            if !self.takes(one, extension_of_mail(one.keyword())) {
                return Err(replies::UNKNOWN_PARAMETER);
            }
            given.take(one).map_err(|_| replies::PARAMETER)?;
        }
        let limit = self.config.limits.message;
        match given.size {
            Some(size) if limit > 0 && size > limit => Err(replies::TOO_LARGE),
            _ if from.is_international() && !given.smtputf8 => Err(replies::INTERNATIONAL),
            _ => Ok(given),
        }
    }

    fn check_rcpt(&self, parameters: &[Parameter]) -> Result<RcptParameters, Fixed> {
        let mut given = RcptParameters::default();
        for one in parameters {
            if !self.takes(one, extension_of_rcpt(one.keyword())) {
                return Err(replies::UNKNOWN_PARAMETER);
            }
            given.take(one).map_err(|_| replies::PARAMETER)?;
        }
        Ok(given)
    }

    /// Whether what a parameter belongs to was offered.
    fn takes(&self, one: &Parameter, extension: Option<&'static str>) -> bool {
        let offers = |keyword| self.session.extended && self.config.offers(keyword, self.session.secured);
        match (extension, one.value().map(str::parse)) {
            (None, _) => self.session.extended && self.config.takes_own(one.keyword()),
            (Some("8BITMIME"), Some(Ok(BodyKind::BinaryMime))) => offers("BINARYMIME"),
            (Some("8BITMIME"), Some(Ok(_))) => offers("8BITMIME"),
            (Some("8BITMIME"), _) => offers("8BITMIME") || offers("BINARYMIME"),
            (Some(extension), _) => offers(extension),
        }
    }
}
