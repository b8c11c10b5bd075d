//! What a server tells its owner: events, and errors.
//!
//! The rules of this file: an event is something the owner must act on or know at once; what can be read at leisure is in
//! [`Session`](super::Session). No secret is in an error.

use alloc::vec::Vec;
use core::fmt;

use crate::Phase;
use crate::command::{ForwardPath, Parameter, ReversePath};
use crate::sasl::{self, MechanismName};

/// What the client wants, or did. Events marked *question* wait for an answer; no input is taken before it is given.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// STARTTLS was answered with 220 (RFC 3207). What is known of the client is forgotten, an open transaction too.
    ///
    /// Transmit, refuse the octets that are still in the input (they were sent in clear and could be anybody's), bring TLS
    /// up, then call [`Server::secured`](super::Server::secured). Octets received before that are an error.
    StartTls,
    /// *Question*: AUTH (RFC 4954). Answer through [`Server::authentication`](super::Server::authentication).
    Authenticate {
        /// The mechanism; one of those offered.
        mechanism: MechanismName,
    },
    /// *Question*: what the mechanism asks. Answer through [`Server::credentials`](super::Server::credentials).
    Credentials(sasl::server::Event),
    /// *Question*: MAIL (RFC 5321 section 4.1.1.2). Answer through [`Server::decision`](super::Server::decision).
    Mail {
        /// Where the message comes from.
        from: ReversePath,
        /// The parameters, checked against what was offered and against their grammar.
        parameters: Vec<Parameter>,
    },
    /// *Question*: RCPT (RFC 5321 section 4.1.1.3). Answer through [`Server::decision`](super::Server::decision).
    Recipient {
        /// To whom.
        to: ForwardPath,
        /// The parameters, as in [`Self::Mail`].
        parameters: Vec<Parameter>,
    },
    /// The next octets of the message, at most 16 KiB, without the doubled dots of DATA or the framing of BDAT.
    Content {
        /// The octets; may be empty where `last` is `true`.
        octets: Vec<u8>,
        /// *Question* if `true`: the message is complete; is it accepted? Answer through
        /// [`Server::decision`](super::Server::decision), once; in LMTP once for each accepted recipient, in their order
        /// (RFC 2033 section 4.2).
        last: bool,
    },
    /// The transaction is over without a message: drop what was collected of it. The client has its reply.
    Abandoned(Abandoned),
    /// QUIT was answered with 221: transmit, and close.
    Quit,
}

/// Why a transaction ended without a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Abandoned {
    /// RSET (RFC 5321 section 4.1.1.5).
    Reset,
    /// EHLO, HELO or LHLO, which reset too (section 4.1.4).
    Hello,
    /// A bare CR or LF in the content: answered with 550.
    BareLineEnding,
    /// More octets than [`Limits::message`](super::Limits::message): answered with 552.
    TooLarge,
}

/// How a session failed. Once returned, returned for ever; what [`transmit`](crate::Machine::transmit) still has to say is to
/// be sent before the connection is closed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// A limit has passed; 421 is said, but during a TLS handshake.
    Timeout(Phase),
    /// More than [`Limits::errors`](super::Limits::errors); 421 is said.
    TooManyErrors,
    /// More than [`Limits::commands`](super::Limits::commands); 421 is said.
    TooManyCommands,
    /// [`Limits::authentications`](super::Limits::authentications) exchanges failed; 421 is said.
    TooManyAuthentications,
    /// BDAT without a size that can be read: where the next command begins cannot be known. 421 is said.
    ChunkSize,
    /// Octets in clear behind STARTTLS, which may be somebody else's (RFC 3207 section 6). Nothing is said.
    ClearTextBehindStartTls,
    /// The stream ended without QUIT, while the server waited for this.
    Lost(Phase),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(phase) => write!(f, "timeout waiting for the {phase}"),
            Self::TooManyErrors => f.write_str("too many malformed or misplaced commands"),
            Self::TooManyCommands => f.write_str("too many commands without a message"),
            Self::TooManyAuthentications => f.write_str("too many failed authentications"),
            Self::ChunkSize => f.write_str("BDAT without a chunk size"),
            Self::ClearTextBehindStartTls => f.write_str("octets in clear behind STARTTLS"),
            Self::Lost(phase) => write!(f, "the connection ended where the {phase} was due"),
        }
    }
}

impl core::error::Error for Error {}
