//! Where a session stands, and what its replies answer.
//!
//! The rule of this file: every reply that is due is one of these, and every command says which before it goes out.

use super::event::{CommandId, TransactionId};

/// Where the session stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Nobody has told the time yet.
    Begin,
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    /// 220 was said to STARTTLS: what comes now is TLS, and not for this machine.
    Securing,
    Auth,
    Ready,
    Closed,
}

/// What a reply answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owed {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Auth,
    Rset,
    Mail(TransactionId),
    Rcpt(TransactionId, usize),
    Data(TransactionId),
    /// A chunk that is not the last.
    Chunk(TransactionId),
    /// BDAT LAST.
    Last(TransactionId),
    /// The final dot.
    Message(TransactionId),
    LoneDot(TransactionId),
    Command(CommandId),
    /// XCLIENT: where it is granted, the session begins again.
    XClient(CommandId),
    Quit,
}

impl Owed {
    /// The transaction that the reply belongs to.
    pub(super) fn transaction(self) -> Option<TransactionId> {
        match self {
            Self::Mail(id) | Self::Rcpt(id, _) | Self::Data(id) | Self::Chunk(id) => Some(id),
            Self::Last(id) | Self::Message(id) | Self::LoneDot(id) => Some(id),
            _ => None,
        }
    }
}
