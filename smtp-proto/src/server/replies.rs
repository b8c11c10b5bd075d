//! The replies that a server gives by itself, all in one place.
//!
//! The rules of this file: text never repeats what the client said; code and enhanced status are of one class.

/// A reply of our own: code, enhanced status (RFC 3463; empty where none belongs), text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fixed {
    pub(super) code: u16,
    pub(super) status: &'static str,
    pub(super) text: &'static str,
}

const fn fixed(code: u16, status: &'static str, text: &'static str) -> Fixed {
    Fixed { code, status, text }
}

pub(super) const NO_SERVICE: Fixed = fixed(554, "5.3.2", "No SMTP service here");
pub(super) const GO_AHEAD: Fixed = fixed(220, "2.0.0", "Ready to start TLS");
pub(super) const RESET: Fixed = fixed(250, "2.0.0", "Reset");
pub(super) const NOOP: Fixed = fixed(250, "2.0.0", "OK");
pub(super) const BYE: Fixed = fixed(221, "2.0.0", "Closing the connection");
pub(super) const VRFY: Fixed = fixed(252, "2.5.0", "Cannot verify; send the mail and see");
pub(super) const HELP: Fixed = fixed(214, "2.0.0", "See RFC 5321");
pub(super) const EXPN: Fixed = fixed(502, "5.5.1", "EXPN is not implemented");
pub(super) const QUEUE_STARTED: Fixed = fixed(250, "2.0.0", "Queuing started");
pub(super) const SENDER_OK: Fixed = fixed(250, "2.1.0", "Sender OK");
pub(super) const RECIPIENT_OK: Fixed = fixed(250, "2.1.5", "Recipient OK");
pub(super) const START_MAIL: Fixed = fixed(354, "", "Send the message, end with CRLF.CRLF");
pub(super) const EACH_RECIPIENT: Fixed = fixed(353, "", "Content analysis has started");
pub(super) const CHUNK_OK: Fixed = fixed(250, "2.0.0", "Chunk received");
pub(super) const MESSAGE_OK: Fixed = fixed(250, "2.0.0", "Message accepted");
pub(super) const AUTHENTICATED: Fixed = fixed(235, "2.7.0", "Authentication succeeded");

pub(super) const SHUTTING_DOWN: Fixed = fixed(421, "4.3.2", "Shutting down, closing the connection");
pub(super) const TIMEOUT: Fixed = fixed(421, "4.4.2", "Timeout, closing the connection");
pub(super) const TOO_MANY_ERRORS: Fixed = fixed(421, "4.7.0", "Too many errors, closing the connection");
pub(super) const TOO_MANY_COMMANDS: Fixed = fixed(421, "4.7.0", "Too many commands, closing the connection");
pub(super) const TOO_MANY_FAILURES: Fixed = fixed(421, "4.7.0", "Too many failures, closing the connection");
pub(super) const NOT_NOW: Fixed = fixed(421, "4.3.2", "Try again later, closing the connection");
pub(super) const CHUNK_SIZE: Fixed = fixed(421, "4.5.2", "Cannot read the chunk size, closing the connection");
pub(super) const RECIPIENT_LATER: Fixed = fixed(450, "4.2.0", "Try again later");
pub(super) const LATER: Fixed = fixed(451, "4.3.0", "Try again later");
pub(super) const QUEUE_LATER: Fixed = fixed(458, "4.3.0", "Unable to queue messages for this node");
pub(super) const QUEUE_REFUSED: Fixed = fixed(459, "4.7.1", "Not allowed for this node");
pub(super) const TOO_MANY_RECIPIENTS: Fixed = fixed(452, "4.5.3", "Too many recipients");

pub(super) const UNKNOWN: Fixed = fixed(500, "5.5.1", "Command unknown");
pub(super) const LINE_TOO_LONG: Fixed = fixed(500, "5.5.2", "Line too long");
pub(super) const AUTH_LINE_TOO_LONG: Fixed = fixed(500, "5.5.6", "Authentication exchange line is too long");
pub(super) const BARE_LINE_FEED: Fixed = fixed(500, "5.5.2", "Lines must end with CRLF");
pub(super) const NOT_TEXT: Fixed = fixed(500, "5.5.2", "Control characters or octets that are not UTF-8");
pub(super) const NO_ARGUMENT: Fixed = fixed(501, "5.5.4", "This command takes no argument");
pub(super) const ARGUMENT: Fixed = fixed(501, "5.5.4", "An argument is missing");
pub(super) const HELLO_NAME: Fixed = fixed(501, "5.5.4", "A domain or an address literal is required");
pub(super) const REVERSE_PATH: Fixed = fixed(501, "5.1.7", "Syntax: MAIL FROM:<address> [parameters]");
pub(super) const FORWARD_PATH: Fixed = fixed(501, "5.1.3", "Syntax: RCPT TO:<address> [parameters]");
pub(super) const PARAMETER: Fixed = fixed(501, "5.5.4", "Malformed parameter");
pub(super) const ARGUMENT_SYNTAX: Fixed = fixed(501, "5.5.4", "Malformed argument");
pub(super) const ATTRIBUTE: Fixed = fixed(501, "5.5.4", "Malformed or unknown attribute");
pub(super) const BASE64: Fixed = fixed(501, "5.5.2", "Cannot decode base64");
pub(super) const SASL_SYNTAX: Fixed = fixed(501, "5.5.2", "Not a response of this mechanism");
pub(super) const CANCELLED: Fixed = fixed(501, "5.7.0", "Authentication cancelled");
pub(super) const NO_AUTH: Fixed = fixed(502, "5.5.1", "AUTH is not available");
pub(super) const NO_TLS: Fixed = fixed(502, "5.5.1", "TLS is not available");
pub(super) const NO_CHUNKING: Fixed = fixed(502, "5.5.1", "BDAT is not available");
pub(super) const NO_ETRN: Fixed = fixed(502, "5.5.1", "ETRN is not available");
pub(super) const NO_HELP: Fixed = fixed(502, "5.5.1", "HELP is not available");
pub(super) const HELLO_FIRST: Fixed = fixed(503, "5.5.1", "Introduce yourself first");
pub(super) const EXTENDED_HELLO_FIRST: Fixed = fixed(503, "5.5.1", "EHLO first");
pub(super) const ONLY_QUIT: Fixed = fixed(503, "5.5.1", "Only QUIT is taken here");
pub(super) const ALREADY_SECURED: Fixed = fixed(503, "5.5.1", "TLS is active already");
pub(super) const ALREADY_AUTHENTICATED: Fixed = fixed(503, "5.5.1", "Authenticated already");
pub(super) const IN_TRANSACTION: Fixed = fixed(503, "5.5.1", "Not within a transaction");
pub(super) const NESTED_MAIL: Fixed = fixed(503, "5.5.1", "A transaction is open already");
pub(super) const MAIL_FIRST: Fixed = fixed(503, "5.5.1", "MAIL first");
pub(super) const RECIPIENT_FIRST: Fixed = fixed(503, "5.5.1", "RCPT first");
pub(super) const RESET_FIRST: Fixed = fixed(503, "5.5.1", "A chunk was refused: RSET first");
pub(super) const CHUNKS_BEGUN: Fixed = fixed(503, "5.5.1", "The message is being sent by BDAT");
pub(super) const BINARY_BY_DATA: Fixed = fixed(503, "5.5.1", "BINARYMIME must be sent by BDAT");
pub(super) const MECHANISM: Fixed = fixed(504, "5.5.4", "Mechanism not offered");
pub(super) const AUTH_REFUSED: Fixed = fixed(535, "5.7.8", "Authentication credentials invalid");
pub(super) const CHANNEL_BINDING: Fixed = fixed(535, "5.7.8", "Channel binding does not match, or is of another kind");
pub(super) const CLEAR_TEXT: Fixed = fixed(538, "5.7.11", "Encryption required for this mechanism");
pub(super) const NO_MAILBOX: Fixed = fixed(550, "5.1.1", "No such mailbox");
pub(super) const SENDER_REFUSED: Fixed = fixed(550, "5.7.1", "Sender refused");
pub(super) const MESSAGE_REFUSED: Fixed = fixed(550, "5.7.1", "Message refused");
pub(super) const NOT_TOLD: Fixed = fixed(550, "5.7.1", "That is not told");
pub(super) const NOT_PERMITTED: Fixed = fixed(550, "5.7.1", "Not permitted");
pub(super) const BARE_LINE_ENDING: Fixed = fixed(550, "5.6.0", "Bare CR or LF in the message");
pub(super) const TOO_LARGE: Fixed = fixed(552, "5.3.4", "Message larger than the limit");
pub(super) const INTERNATIONAL: Fixed = fixed(553, "5.6.7", "Address needs SMTPUTF8");
pub(super) const NO_RECIPIENTS: Fixed = fixed(554, "5.5.1", "No valid recipients");
pub(super) const UNKNOWN_PARAMETER: Fixed = fixed(555, "5.5.4", "Parameter not recognized");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_code_are_of_one_class() {
        let source = include_str!("replies.rs");
        let mut seen = 0;
        for line in source.lines().filter(|line| line.starts_with("pub(super) const ")) {
            let inside = line.split_once("fixed(").unwrap().1;
            let (code, rest) = inside.split_once(", \"").unwrap();
            let status = rest.split('"').next().unwrap();
            assert!(status.is_empty() && code.starts_with('3') || status[..1] == code[..1], "{line}");
            seen += 1;
        }
        assert!(seen > 40);
        assert_eq!(UNKNOWN.code, 500);
    }
}
