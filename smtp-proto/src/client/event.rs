//! What a client tells its owner.

use alloc::vec::Vec;

use super::report::Report;
use crate::Misuse;
use crate::reply::Reply;

/// One message on its way, counted from 1 on each connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TransactionId(pub(crate) u64);

/// One command of the caller's own, counted from 1 on each connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CommandId(pub(crate) u64);

/// What happened. A reply gives one event at most, and the events are the same with and without PIPELINING.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The server greeted with 220.
    Greeted(Reply),
    /// The server answered EHLO or HELO, and the session is not ready yet: STARTTLS or AUTH follows.
    Offered(Reply),
    /// The server agreed to STARTTLS. The owner of a bare [`Client`](super::Client) now puts TLS below it and calls
    /// [`secured`](super::Client::secured); a [`Connection`](crate::Connection) does so by itself.
    StartTls(Reply),
    /// The server refused the token, and [`Config::refresh_token`](super::Config::refresh_token) says that there may be
    /// another. Answer with [`fresh_token`](super::Client::fresh_token), once; nothing happens before.
    NeedsToken {
        /// The refusal.
        reply: Reply,
        /// What the server said in its last challenge: JSON in OAUTHBEARER and XOAUTH2 (RFC 7628 section 3.2.2).
        detail: Option<Vec<u8>>,
    },
    /// TLS stands, with the server itself (only from a [`Connection`](crate::Connection)).
    Secured,
    /// Greeted, secured and authenticated as configured: messages may be sent.
    Ready,
    /// MAIL was accepted.
    Mail {
        /// Which message.
        transaction: TransactionId,
        /// The server's reply.
        reply: Reply,
    },
    /// A RCPT was answered, and the transaction goes on.
    Recipient {
        /// Which message.
        transaction: TransactionId,
        /// Which recipient, in the order of the envelope, from 0.
        recipient: usize,
        /// The server's reply.
        reply: Reply,
    },
    /// A message's transaction is over.
    Sent(Report),
    /// The answer to a command of the caller's own.
    Replied {
        /// Which command.
        command: CommandId,
        /// The server's reply.
        reply: Reply,
    },
    /// A command of the caller's own was asked for before it was known what the server offers, and needs what it does not
    /// offer. Nothing was said of it.
    NotSaid {
        /// Which command.
        command: CommandId,
        /// What the server would have had to offer.
        misuse: Misuse,
    },
    /// The session ended as it should: QUIT was answered, or the server closed behind it.
    Closed(Option<Reply>),
}
