//! The caller's slips: found before anything is sent, and changing nothing.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

/// What a caller asked for and cannot have. Nothing was sent, and no state has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Misuse {
    /// An octet that would end the line or the argument: CR, LF, NUL, another control character, or a misplaced space.
    Forbidden {
        /// What was being said, such as `"forward-path"`.
        what: &'static str,
        /// The octet.
        octet: u8,
    },
    /// Something that must not be empty.
    Empty {
        /// What was being said.
        what: &'static str,
    },
    /// Longer than RFC 5321 section 4.5.3.1 allows.
    TooLong {
        /// What was being said.
        what: &'static str,
        /// The limit in octets.
        limit: usize,
    },
    /// Not of the form that its RFC gives.
    Malformed {
        /// What was being said.
        what: &'static str,
    },
    /// A command that has a method of its own, because the machine must know about it.
    HasItsOwnMethod {
        /// The verb.
        verb: String,
    },
    /// The server did not offer the extension that this needs.
    NotOffered {
        /// The EHLO keyword.
        extension: &'static str,
    },
    /// The message is larger than the server says it takes (SIZE, RFC 1870 section 6.1).
    TooLarge {
        /// The message's size in octets.
        octets: u64,
        /// The server's limit in octets.
        limit: u64,
    },
    /// More recipients than the server says it takes in one transaction (LIMITS, RFC 9422).
    TooManyRecipients {
        /// The server's limit.
        limit: u64,
    },
    /// Recipients in more domains than the server says it takes in one transaction (LIMITS, RFC 9422).
    TooManyDomains {
        /// The server's limit.
        limit: u64,
    },
    /// More messages than the server says it takes on one connection (LIMITS, RFC 9422): connect again for this one.
    TooManyMessages {
        /// The server's limit.
        limit: u64,
    },
    /// The session is not ready yet, or QUIT was said, or it has failed.
    NotOpen,
    /// A transaction without a recipient.
    NoRecipients,
    /// A bare CR or LF in a message whose line endings are to be checked ([`crate::body::LineEndings::Strict`]).
    BareLineEnding,
    /// A NUL in such a message: it is no text, and lawful in BINARYMIME alone (RFC 6152 section 3), which
    /// [`crate::body::LineEndings::Exact`] sends.
    Nul,
    /// A duration of zero, or one beyond a day.
    Duration {
        /// The limit it was meant for.
        what: &'static str,
    },
    /// A duration outside of what can be meant.
    Range {
        /// What it was meant for.
        what: &'static str,
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// The credentials cannot be used with any mechanism, or not with this one.
    Credentials {
        /// Why not.
        why: String,
    },
    /// A proxy cannot be asked for what comes behind it.
    Proxy {
        /// The proxy's place, counted from 1; 0 where there is none, and it is the server itself.
        hop: usize,
        /// Why not.
        why: String,
    },
    /// The TLS settings cannot be used.
    Tls {
        /// Why not.
        why: String,
    },
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { what, octet } => write!(f, "{what} must not contain \"{}\"", octet.escape_ascii()),
            Self::Empty { what } => write!(f, "{what} must not be empty"),
            Self::TooLong { what, limit } => write!(f, "{what} is longer than {limit} octets"),
            Self::Malformed { what } => write!(f, "malformed {what}"),
            Self::HasItsOwnMethod { verb } => {
                write!(f, "{verb} is not an arbitrary command: it has a method of its own")
            }
            Self::NotOffered { extension } => write!(f, "this needs {extension}, which the server does not offer"),
            Self::TooLarge { octets, limit } => {
                write!(f, "the message of {octets} octets is larger than the {limit} that the server takes")
            }
            Self::TooManyRecipients { limit } => write!(f, "the server takes {limit} recipients at once"),
            Self::TooManyDomains { limit } => write!(f, "the server takes recipients in {limit} domains at once"),
            Self::TooManyMessages { limit } => {
                write!(f, "the server takes {limit} messages on one connection; connect again for more")
            }
            Self::NotOpen => f.write_str("the session is not open for commands"),
            Self::NoRecipients => f.write_str("a message needs at least one recipient"),
            Self::BareLineEnding => f.write_str("the message contains a bare CR or LF"),
            Self::Nul => f.write_str("the message contains a NUL, which takes BINARYMIME"),
            Self::Duration { what } => write!(f, "the {what} limit must be more than zero and at most a day"),
            Self::Range { what, least, most } => write!(f, "the {what} must be from {least:?} to {most:?}"),
            Self::Credentials { why } => write!(f, "the credentials cannot be used: {why}"),
            Self::Proxy { hop: 0, why } => f.write_str(why),
            Self::Proxy { hop, why } => write!(f, "hop {hop}: {why}"),
            Self::Tls { why } => write!(f, "the TLS settings cannot be used: {why}"),
        }
    }
}

impl core::error::Error for Misuse {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_slip_says_what_was_wrong_and_what_would_do() {
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(2));
        let why = || String::from("the reason");
        let texts: [(Misuse, &[&str]); 20] = [
            (Misuse::Forbidden { what: "forward-path", octet: b'\n' }, &["forward-path", "\\n"]),
            (Misuse::Empty { what: "HELP topic" }, &["HELP topic", "empty"]),
            (Misuse::TooLong { what: "EHLO name", limit: 255 }, &["EHLO name", "255 octets"]),
            (Misuse::Malformed { what: "ORCPT" }, &["malformed", "ORCPT"]),
            (Misuse::HasItsOwnMethod { verb: "QUIT".into() }, &["QUIT", "method of its own"]),
            (Misuse::NotOffered { extension: "DSN" }, &["DSN", "not offer"]),
            (Misuse::TooLarge { octets: 2000, limit: 1000 }, &["2000 octets", "1000"]),
            (Misuse::TooManyRecipients { limit: 100 }, &["100 recipients"]),
            (Misuse::TooManyDomains { limit: 3 }, &["3 domains"]),
            (Misuse::TooManyMessages { limit: 7 }, &["7 messages", "connect again"]),
            (Misuse::NotOpen, &["not open"]),
            (Misuse::NoRecipients, &["at least one recipient"]),
            (Misuse::BareLineEnding, &["bare CR or LF"]),
            (Misuse::Duration { what: "greeting" }, &["greeting", "more than zero", "at most a day"]),
            (Misuse::Range { what: "stagger", least, most }, &["stagger", "100ms", "2s"]),
            (Misuse::Credentials { why: why() }, &["credentials", "the reason"]),
            (Misuse::Proxy { hop: 2, why: why() }, &["hop 2: the reason"]),
            (Misuse::Proxy { hop: 0, why: why() }, &["the reason"]),
            (Misuse::Tls { why: why() }, &["TLS settings", "the reason"]),
            (Misuse::Forbidden { what: "EHLO name", octet: 0x7f }, &["EHLO name", "\\x7f"]),
        ];
        for (misuse, parts) in texts {
            let text = misuse.to_string();
            for part in parts {
                assert!(text.contains(part), "{part:?} in {text:?}");
            }
        }
        assert!(!Misuse::Proxy { hop: 0, why: why() }.to_string().contains("hop"), "there is none");
    }
}
