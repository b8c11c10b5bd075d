//! What a client may cost: time, octets, attempts.
//!
//! The rules of this file: every limit has a name, a default and a reason; what is over a limit is answered with a reply,
//! never with silence.

use core::time::Duration;

/// How many times the recipients that a transaction has room for may be refused in it before they count as commands. A client
/// that lists all it has, whatever it hears, would lose its connection with the message to those that were accepted.
pub(super) const SURPLUS: usize = 10;

/// How much one client may have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Octets of one command line, line end included. Default 2048.
    ///
    /// RFC 5321 section 4.5.3.1.4 asks for 512, and each extension adds to it; 2048 holds MAIL and RCPT with the parameters
    /// of all of them. More is answered with 500.
    pub line: usize,
    /// Octets of one AUTH command or line of its exchange, line end included. Default 12,336.
    ///
    /// RFC 4954 section 4 asks for 12,288 octets of base64; the rest is for `AUTH`, the longest name of a mechanism, and CRLF.
    /// More is answered with 500.
    pub auth_line: usize,
    /// Recipients accepted in one transaction. Default 1000.
    ///
    /// RFC 5321 section 4.5.3.1.8 asks for 100 at least. More are answered with 452, which asks the client to bring them in
    /// another transaction; whoever lists ten times as many more can still send to those that were accepted.
    pub recipients: usize,
    /// Octets of one message, dots unstuffed; 0 means no limit, as in SIZE (RFC 1870 section 4). Default 50 MiB.
    ///
    /// Room for the attachments that large providers pass. More is answered with 552, at MAIL where SIZE tells it.
    pub message: u64,
    /// Malformed, unknown and misplaced commands in one session. Default 20.
    ///
    /// A client that goes on after that many is none, or looks for a hole. The next is answered with 421. What a refused MAIL
    /// or RCPT makes of the rest of its group (RFC 2920) is no error of the client's, and not counted.
    pub errors: u32,
    /// Commands since the last message or authentication, accepted recipients, accepted chunks and
    /// [recipients too many](Self::recipients) not counted. Default 1500.
    ///
    /// Bounds what a client can have done before it has authenticated, and still leaves room for a group of a thousand
    /// recipients behind a MAIL that was refused. One more is answered with 421.
    pub commands: u32,
    /// AUTH exchanges that fail in one session. Default 3.
    ///
    /// Guessing passwords is to cost a connection each few. The last failure is answered, and then 421 is said.
    pub authentications: u32,
    /// How long a client may take to its next complete command, or line of an AUTH exchange. Default 5 minutes.
    ///
    /// RFC 5321 section 4.5.3.2.7. A line that trickles in does not extend it.
    pub command_time: Duration,
    /// How long a client may pause within a message. Default 5 minutes.
    ///
    /// The same section: RFC 5321 gives the server one limit, and the client's own is 3 minutes a block.
    pub content_time: Duration,
    /// How long TLS may take to be up after STARTTLS was answered. Default 1 minute.
    ///
    /// A handshake is two or three round trips; this leaves room for the slowest.
    pub handshake_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self {
            line: crate::command::LINE_LIMIT,
            auth_line: 12_288 + 48,
            recipients: 1000,
            message: 50 * 1024 * 1024,
            errors: 20,
            commands: 1500,
            authentications: 3,
            command_time: minutes(5),
            content_time: minutes(5),
            handshake_time: minutes(1),
        }
    }
}
