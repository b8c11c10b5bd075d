//! What a server tells its owner: events, and errors.
//!
//! The rules of this file: an event is something the owner must act on or know at once; what can be read at leisure is in
//! [`Session`](super::Session). No secret is in an error.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::Xclient;
use crate::Phase;
use crate::command::{ForwardPath, ReversePath};
use crate::parameter::{MailParameters, RcptParameters};
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
        parameters: MailParameters,
    },
    /// *Question*: RCPT (RFC 5321 section 4.1.1.3). Answer through [`Server::decision`](super::Server::decision).
    Recipient {
        /// To whom.
        to: ForwardPath,
        /// The parameters, as in [`Self::Mail`].
        parameters: RcptParameters,
    },
    /// *Question*: DATA (RFC 5321 section 4.1.1.4), where [`Ask::Data`](super::Ask::Data) is set: may the message come? Not asked
    /// for BDAT, whose octets follow it unasked. Answer through [`Server::decision`](super::Server::decision).
    Data,
    /// The next octets of the message, at most 16 KiB, without the doubled dots of DATA or the framing of BDAT.
    ///
    /// Bare CR and LF apart, they are as they came: octets beyond ASCII where 8BITMIME was not declared, lines of any length, and NUL,
    /// by DATA as by BDAT, although it is lawful in BINARYMIME alone (RFC 6152 section 3, RFC 3030 section 3). Who cannot store a
    /// NUL refuses the message.
    Content {
        /// The octets; may be empty where `last` is `true`.
        octets: Vec<u8>,
        /// *Question* if `true`: the message is complete; is it accepted? Answer through
        /// [`Server::decision`](super::Server::decision), once; in LMTP once for each accepted recipient, in their order
        /// (RFC 2033 section 4.2). Where the client asked for PRDR and has several recipients, once for each and then, if any was
        /// accepted, once for the message: answer until there is no decision left.
        last: bool,
    },
    /// *Question*: VRFY (RFC 5321 section 3.5), where [`Ask::Verify`](super::Ask::Verify) is set. Answer through
    /// [`Server::decision`](super::Server::decision), with 250 and the mailbox, say.
    Verify {
        /// A user's name or a mailbox, as the client wrote it.
        who: String,
    },
    /// *Question*: EXPN (the same section), where [`Ask::Expand`](super::Ask::Expand) is set.
    Expand {
        /// A list's name, as the client wrote it.
        list: String,
    },
    /// *Question*: HELP (RFC 5321 section 4.1.1.8), where [`Ask::Help`](super::Ask::Help) is set.
    Help {
        /// About what.
        topic: Option<String>,
    },
    /// *Question*: ETRN (RFC 1985), where it is offered: is the queue for this node to be started? 251, 252 and 253 say more than
    /// 250; who may ask for which node is the owner's to judge (section 8).
    Etrn {
        /// A domain, `@` and a domain for all below it, or `#` and the name of a queue.
        node: String,
    },
    /// *Question*: XCLIENT, where it is [permitted](super::Config::permit_xclient): is the client believed? If so the session begins
    /// anew with its greeting, and [`Session::xclient`](super::Session::xclient) knows what was said.
    Xclient(Xclient),
    /// *Question*: a verb that the machine does not know, where [`Ask::Unknown`](super::Ask::Unknown) is set. One that is answered
    /// with 500 counts as an error.
    Command {
        /// In upper case; may be empty.
        verb: String,
        /// What stands behind it, without spaces around it; may be empty.
        argument: String,
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
    /// BDAT without a size that can be read, or in a line that cannot be (too long, or ended by a bare LF): where the next command
    /// begins cannot be known. 421 is said.
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
