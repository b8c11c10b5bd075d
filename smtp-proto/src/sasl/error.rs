//! What can go wrong in an exchange: by the peer ([`Error`]) or by the caller ([`Misuse`]).
//!
//! The rules of this file: no error holds a secret, a user name or unbounded bytes of the peer; both are `Clone + Eq`, so
//! that a machine can repeat its error for ever and a test can compare it.

use alloc::string::String;
use core::fmt;

use super::MechanismName;

/// The peer broke the mechanism, or failed to prove who it is. Once returned by a machine, returned for ever.
///
/// A wrong password is not among these: the server says so in its reply, and the mechanism worked.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// A message of more than [`MAX_MESSAGE`](super::MAX_MESSAGE) octets, or one whose answer would be.
    TooLong {
        /// Its length in octets.
        octets: usize,
    },
    /// A message where the mechanism has none, or the success reply before its last message.
    OutOfOrder,
    /// A message that does not follow the grammar of the mechanism; says which part.
    Syntax(&'static str),
    /// The same attribute twice in one message; says which.
    Repeated(&'static str),
    /// A mandatory extension (`m=` of RFC 5802 section 5.1), which we cannot know.
    MandatoryExtension,
    /// The nonce of the server does not begin with ours, or adds nothing to it or too much, or changed (RFC 5802
    /// section 5).
    NonceMismatch,
    /// An iteration count below [`MIN_ITERATIONS`](super::MIN_ITERATIONS) or above
    /// [`MAX_ITERATIONS`](super::MAX_ITERATIONS).
    IterationCount(u64),
    /// The server wants something of the mechanism that is not spoken here (a quality of protection, a character set);
    /// says what.
    NotSupported(&'static str),
    /// The server did not prove that it knows the password: it is not the server it claims to be.
    ServerNotAuthentic,
    /// The server reported success before it had proved that it knows the password.
    ServerUnproven,
    /// The two ends do not see the same channel, or one of them was told that the other cannot bind to it: somebody may
    /// be between them (RFC 5802 section 6).
    ChannelBinding,
    /// The fault of a mechanism brought by the user of this library, in its own words (no secrets, please).
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { octets } => {
                write!(f, "SASL message of {octets} octets, more than the limit of {}", super::MAX_MESSAGE)
            }
            Self::OutOfOrder => f.write_str("SASL message out of order"),
            Self::Syntax(part) => write!(f, "malformed SASL message: {part}"),
            Self::Repeated(part) => write!(f, "malformed SASL message: {part} given twice"),
            Self::MandatoryExtension => f.write_str("the peer demands an unknown SCRAM extension"),
            Self::NonceMismatch => f.write_str("the peer's nonce does not extend ours"),
            Self::IterationCount(count) => write!(
                f,
                "iteration count {count} is not between {} and {}",
                super::MIN_ITERATIONS,
                super::MAX_ITERATIONS
            ),
            Self::NotSupported(what) => write!(f, "the server demands {what}, which is not supported"),
            Self::ServerNotAuthentic => f.write_str("the server does not know the password: wrong or forged server"),
            Self::ServerUnproven => f.write_str("the server reported success without proving its identity"),
            Self::ChannelBinding => f.write_str("channel binding does not match: the connection may be intercepted"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl core::error::Error for Error {}

/// The caller's slip: returned at once, and the machine is unchanged.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Misuse {
    /// No such mechanism here: unknown, or its cargo feature is off.
    Unavailable(MechanismName),
    /// The mechanism cannot carry credentials of this kind (a token in CRAM-MD5, an authorization identity in LOGIN).
    WrongCredentials(MechanismName),
    /// An octet or character that the mechanism cannot carry, or that SASLprep (RFC 4013) prohibits; says where.
    Prohibited(&'static str),
    /// A field that must not be empty; says which.
    Empty(&'static str),
    /// A field that the mechanism needs in UTF-8 and is not; says which.
    NotUtf8(&'static str),
    /// A field longer than its limit; says which.
    TooLong(&'static str),
    /// An iteration count below [`MIN_ITERATIONS`](super::MIN_ITERATIONS) or above
    /// [`MAX_ITERATIONS`](super::MAX_ITERATIONS).
    IterationCount(u32),
    /// A `-PLUS` mechanism without channel binding data.
    NoChannelBinding,
    /// An answer to a server machine that has not asked, or not asked for this.
    UnexpectedAnswer,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(name) => write!(f, "mechanism {name} is not available"),
            Self::WrongCredentials(name) => write!(f, "mechanism {name} cannot carry these credentials"),
            Self::Prohibited(field) => write!(f, "prohibited character in the {field}"),
            Self::Empty(field) => write!(f, "the {field} is empty"),
            Self::NotUtf8(field) => write!(f, "the {field} is not UTF-8"),
            Self::TooLong(field) => write!(f, "the {field} is too long"),
            Self::IterationCount(count) => write!(
                f,
                "iteration count {count} is not between {} and {}",
                super::MIN_ITERATIONS,
                super::MAX_ITERATIONS
            ),
            Self::NoChannelBinding => f.write_str("a -PLUS mechanism needs channel binding data"),
            Self::UnexpectedAnswer => f.write_str("the mechanism did not ask for this answer"),
        }
    }
}

impl core::error::Error for Misuse {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn says(text: &str, parts: &[&str]) {
        for part in parts {
            assert!(text.contains(part), "{part:?} in {text:?}");
        }
    }

    #[test]
    fn every_fault_of_the_peer_says_what_it_did() {
        let texts: [(Error, &[&str]); 12] = [
            (Error::TooLong { octets: 9217 }, &["9217", "9216"]),
            (Error::OutOfOrder, &["out of order"]),
            (Error::Syntax("no nonce"), &["malformed", "no nonce"]),
            (Error::Repeated("realm"), &["realm", "twice"]),
            (Error::MandatoryExtension, &["unknown SCRAM extension"]),
            (Error::NonceMismatch, &["nonce"]),
            (Error::IterationCount(1), &["iteration count 1", "4096", "1000000"]),
            (Error::NotSupported("a security layer"), &["a security layer", "not supported"]),
            (Error::ServerNotAuthentic, &["does not know the password"]),
            (Error::ServerUnproven, &["success without proving"]),
            (Error::ChannelBinding, &["channel binding", "intercepted"]),
            (Error::Other("its own words".into()), &["its own words"]),
        ];
        texts.iter().for_each(|(error, parts)| says(&error.to_string(), parts));
    }

    #[test]
    fn every_slip_names_the_mechanism_or_the_field() {
        let texts: [(Misuse, &[&str]); 9] = [
            (Misuse::Unavailable(MechanismName::Ntlm), &["NTLM", "not available"]),
            (Misuse::WrongCredentials(MechanismName::Plain), &["PLAIN", "these credentials"]),
            (Misuse::Prohibited("user name"), &["prohibited", "user name"]),
            (Misuse::Empty("token"), &["token", "empty"]),
            (Misuse::NotUtf8("password"), &["password", "UTF-8"]),
            (Misuse::TooLong("salt"), &["salt", "too long"]),
            (Misuse::IterationCount(1), &["iteration count 1", "4096", "1000000"]),
            (Misuse::NoChannelBinding, &["-PLUS", "channel binding"]),
            (Misuse::UnexpectedAnswer, &["did not ask"]),
        ];
        texts.iter().for_each(|(misuse, parts)| says(&misuse.to_string(), parts));
    }
}
