//! What became of a message, recipient by recipient.
//!
//! The rules of this file: there are three answers, because "not sent" and "perhaps sent" must not look alike. *Unknown* is
//! said exactly between the moment the message's last octet was handed to the transport and the moment its reply was read.

use alloc::vec::Vec;

use proxy_proto::Phase;

use super::envelope::{Declared, Given};
use super::event::TransactionId;
use crate::command::{ForwardPath, ReversePath};
use crate::reply::Reply;
use crate::{Error, Misuse};

/// What became of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The transaction, as `send` named it.
    pub transaction: TransactionId,
    /// Who sent it.
    pub reverse_path: ReversePath,
    /// Each recipient, in the order of the envelope.
    pub recipients: Vec<Recipient>,
    /// The reply that decided about the whole: the one to the message, or the one that refused MAIL or DATA.
    pub reply: Option<Reply>,
    /// What that reply answered: [MAIL](crate::phase::MAIL), [DATA](crate::phase::DATA), the [block](crate::phase::BLOCK) where it
    /// came before the message was said as a whole, or the [final dot](crate::phase::MESSAGE), be it BDAT's LAST.
    pub answered: Option<Phase>,
    /// What cut the transaction short, if anything did. The session is over then, too.
    pub cut_short: Option<Error>,
    /// What the server would have had to offer, where the message was queued before that was known; nothing was said of it.
    pub misuse: Option<Misuse>,
    /// Octets of the message that were taken from the caller.
    pub octets: u64,
    /// Flights from MAIL to the final reply: times the client spoke after it had to listen.
    pub flights: u64,
    /// Commands, from MAIL (or a RSET before it) on.
    pub commands: u64,
    /// What else the envelope said.
    pub(crate) declared: Declared,
}

/// What became of one recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Recipient {
    /// The address.
    pub path: ForwardPath,
    /// The reply to this recipient's own RCPT.
    pub rcpt: Option<Reply>,
    /// The end of it.
    pub outcome: Outcome,
    /// What was to be said with the address.
    pub(crate) parameters: Vec<Given>,
    /// Where it stands in the envelope that the caller made.
    pub(crate) place: usize,
}

impl Recipient {
    /// A recipient of whom nothing was said yet.
    pub(crate) fn new(place: usize, path: ForwardPath) -> Self {
        Self { path, rcpt: None, outcome: Outcome::NotSent, parameters: Vec::new(), place }
    }
}

/// What became of the message for one recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The server took responsibility, with this reply to the message.
    Accepted(Reply),
    /// The server refused, with this reply to MAIL, RCPT, DATA or the message; 4yz may be tried again later.
    Refused(Reply),
    /// The whole message was handed to the transport, and the reply was lost. Sending again may deliver it twice.
    Unknown,
    /// The message cannot have been delivered: it did not go out as a whole.
    NotSent,
}

impl Outcome {
    /// By the reply to the message.
    pub(crate) fn by(reply: Reply) -> Self {
        if reply.code().is_positive() { Self::Accepted(reply) } else { Self::Refused(reply) }
    }
}

impl Outcome {
    /// `true` where the message did not go out as a whole, and nobody refused it.
    pub fn is_not_sent(&self) -> bool {
        matches!(self, Self::NotSent)
    }
}

impl Report {
    /// `true` where every recipient was accepted.
    pub fn is_accepted(&self) -> bool {
        self.recipients.iter().all(|one| matches!(one.outcome, Outcome::Accepted(_)))
    }

    /// The recipients to whom the message may be sent again without delivering it twice.
    pub fn safe_to_retry(&self) -> impl Iterator<Item = &Recipient> {
        self.recipients.iter().filter(|one| match &one.outcome {
            Outcome::Refused(reply) => reply.code().is_transient(),
            Outcome::NotSent => true,
            Outcome::Accepted(_) | Outcome::Unknown => false,
        })
    }
}
