//! MAIL and RCPT: what opens a transaction, and which parameters it takes.
//!
//! The rules of this file: a parameter is taken only where its extension was offered (555 otherwise) and its value is of that
//! extension's grammar (501 otherwise); then the owner is asked.

use alloc::vec::Vec;

use super::replies::{self, Fixed};
use super::{Abandoned, Event, Open, Server, State};
use crate::command::{ForwardPath, Parameter, ReversePath, xtext};

/// What the machine itself must know of an open transaction.
#[derive(Clone, Default)]
pub(super) struct Transaction {
    /// BODY=BINARYMIME.
    pub(super) binary: bool,
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
}

impl Server {
    pub(super) fn mail(&mut self, from: ReversePath, parameters: Vec<Parameter>) -> Option<Event> {
        let checked = match (&self.session.helo, &self.transaction) {
            (None, _) => Err(replies::HELLO_FIRST),
            (_, Some(transaction)) if transaction.spoilt => Err(replies::RESET_FIRST),
            (_, Some(_)) => Err(replies::NESTED_MAIL),
            _ => self.check_mail(&from, &parameters),
        };
        match checked {
            Ok(transaction) => {
                self.state = State::Question(Open::Mail(transaction));
                Some(Event::Mail { from, parameters })
            }
            Err(fixed) => self.fault(fixed),
        }
    }

    pub(super) fn rcpt(&mut self, to: ForwardPath, parameters: Vec<Parameter>) -> Option<Event> {
        let checked = match &self.transaction {
            None => Err(replies::MAIL_FIRST),
            Some(transaction) if transaction.chunked => Err(replies::CHUNKS_BEGUN),
            Some(transaction) if to.is_international() && !transaction.international => Err(replies::INTERNATIONAL),
            Some(_) => parameters.iter().try_for_each(|parameter| self.check_rcpt_parameter(parameter)),
        };
        match checked {
            // A full transaction is no error of the client's: it is told to open another.
            Ok(()) if self.session.recipients >= self.config.limits.recipients => {
                self.say(replies::TOO_MANY_RECIPIENTS);
                None
            }
            Ok(()) => {
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

    fn check_mail(&self, from: &ReversePath, parameters: &[Parameter]) -> Result<Transaction, Fixed> {
        let mut transaction = Transaction::default();
        for parameter in parameters {
            self.check_mail_parameter(parameter, &mut transaction)?;
        }
        if from.is_international() && !transaction.international {
            return Err(replies::INTERNATIONAL);
        }
        Ok(transaction)
    }

    fn check_mail_parameter(&self, parameter: &Parameter, transaction: &mut Transaction) -> Result<(), Fixed> {
        let offers = |keyword| self.session.extended && self.config.offers(keyword, self.session.secured);
        let is_one_of = |value: &str, words: &[&str]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
        match (parameter.keyword(), parameter.value()) {
            ("SIZE", value) if offers("SIZE") => {
                let digits = value.filter(|value| value.len() <= 20 && value.bytes().all(|o| o.is_ascii_digit()));
                // Twenty digits may be more than can be counted, and are then more than the limit too.
                let size = digits.ok_or(replies::PARAMETER)?.parse().unwrap_or(u64::MAX);
                match self.config.limits.message {
                    limit if limit > 0 && size > limit => Err(replies::TOO_LARGE),
                    _ => Ok(()),
                }
            }
            ("BODY", Some(value)) if offers("8BITMIME") && is_one_of(value, &["7BIT", "8BITMIME"]) => Ok(()),
            ("BODY", Some(value)) if offers("BINARYMIME") && is_one_of(value, &["BINARYMIME"]) => {
                transaction.binary = true;
                Ok(())
            }
            ("BODY", Some(value)) if is_one_of(value, &["7BIT", "8BITMIME", "BINARYMIME"]) => {
                Err(replies::UNKNOWN_PARAMETER)
            }
            ("BODY", _) if offers("8BITMIME") || offers("BINARYMIME") => Err(replies::PARAMETER),
            ("SMTPUTF8", None) if offers("SMTPUTF8") => {
                transaction.international = true;
                Ok(())
            }
            ("REQUIRETLS", None) if offers("REQUIRETLS") => Ok(()),
            ("SMTPUTF8" | "REQUIRETLS", Some(_)) if offers(parameter.keyword()) => Err(replies::PARAMETER),
            ("AUTH", value) if offers("AUTH") => lawful(value.is_some_and(|value| xtext::decode(value).is_some())),
            ("RET", value) if offers("DSN") => lawful(value.is_some_and(|value| is_one_of(value, &["FULL", "HDRS"]))),
            ("ENVID", value) if offers("DSN") => lawful(value.is_some_and(|value| xtext::decode(value).is_some())),
            _ => Err(replies::UNKNOWN_PARAMETER),
        }
    }

    fn check_rcpt_parameter(&self, parameter: &Parameter) -> Result<(), Fixed> {
        if !self.session.extended || !self.config.offers("DSN", self.session.secured) {
            return Err(replies::UNKNOWN_PARAMETER);
        }
        let value = parameter.value().unwrap_or_default();
        match parameter.keyword() {
            "NOTIFY" => lawful(
                value.eq_ignore_ascii_case("NEVER")
                    || value.split(',').all(|word| {
                        ["SUCCESS", "FAILURE", "DELAY"].iter().any(|known| word.eq_ignore_ascii_case(known))
                    }),
            ),
            // An address in UTF-8 form is not xtext (RFC 6533 section 3), so only the form around it is looked at.
            "ORCPT" => {
                lawful(value.split_once(';').is_some_and(|(kind, address)| !kind.is_empty() && !address.is_empty()))
            }
            _ => Err(replies::UNKNOWN_PARAMETER),
        }
    }
}

fn lawful(lawful: bool) -> Result<(), Fixed> {
    if lawful { Ok(()) } else { Err(replies::PARAMETER) }
}
