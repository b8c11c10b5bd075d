//! What a message is made of, how urgent it is, and who submitted it.
//!
//! The rules of this file: those of the room.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use super::malformed;
use crate::Misuse;
use crate::command::{ForwardPath, xtext};

/// What a message is made of, as the server has to carry it (BODY).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum BodyKind {
    /// Lines of ASCII. Nothing is declared.
    #[default]
    SevenBit,
    /// Lines of any octets (8BITMIME, RFC 6152).
    EightBitMime,
    /// Any octets (BINARYMIME, RFC 3030). It goes by BDAT.
    BinaryMime,
}

const BODY_KINDS: [(BodyKind, &str); 3] =
    [(BodyKind::SevenBit, "7BIT"), (BodyKind::EightBitMime, "8BITMIME"), (BodyKind::BinaryMime, "BINARYMIME")];

impl fmt::Display for BodyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        BODY_KINDS.iter().filter(|(kind, _)| kind == self).try_for_each(|(_, word)| f.write_str(word))
    }
}

impl FromStr for BodyKind {
    type Err = Misuse;

    fn from_str(text: &str) -> Result<Self, Misuse> {
        let found = BODY_KINDS.iter().find(|(_, word)| word.eq_ignore_ascii_case(text));
        found.map_or(malformed("BODY"), |(kind, _)| Ok(*kind))
    }
}

/// How urgent a message is, from -9 to 9; 0 is usual (MT-PRIORITY, RFC 6710).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Priority(i8);

impl Priority {
    /// A priority.
    ///
    /// # Errors
    ///
    /// [`Misuse::Malformed`] for less than -9 or more than 9.
    pub fn new(priority: i8) -> Result<Self, Misuse> {
        if (-9..=9).contains(&priority) { Ok(Self(priority)) } else { malformed("MT-PRIORITY") }
    }

    /// From -9 to 9.
    pub fn get(self) -> i8 {
        self.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Priority {
    type Err = Misuse;

    fn from_str(text: &str) -> Result<Self, Misuse> {
        match text.strip_prefix('-').unwrap_or(text).as_bytes() {
            [b'1'..=b'9'] => text.parse().map_or(malformed("MT-PRIORITY"), Self::new),
            _ if text == "0" => Ok(Self(0)),
            _ => malformed("MT-PRIORITY"),
        }
    }
}

/// Who submitted the message at first, as far as the client vouches for it (AUTH, RFC 4954 section 5).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Submitter {
    /// The client does not know, or does not vouch for it: `<>`.
    #[default]
    Unknown,
    /// This mailbox.
    Mailbox(ForwardPath),
}

impl fmt::Display for Submitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("<>"),
            Self::Mailbox(mailbox) => f.write_str(&xtext::encode(mailbox.as_str().as_bytes())),
        }
    }
}

impl FromStr for Submitter {
    type Err = Misuse;

    fn from_str(text: &str) -> Result<Self, Misuse> {
        let decoded = xtext::decode(text).and_then(|octets| String::from_utf8(octets).ok());
        match decoded.as_deref() {
            Some("<>") => Ok(Self::Unknown),
            // Some clients write it as a path.
            Some(mailbox) => ForwardPath::new(bare(mailbox)).map(Self::Mailbox),
            None => malformed("AUTH"),
        }
    }
}

/// A mailbox without the angle brackets around it.
fn bare(mailbox: &str) -> &str {
    mailbox.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(mailbox)
}

#[cfg(test)]
mod tests {
    use super::super::is_read_and_written;
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn values_are_those_of_their_rfcs() {
        is_read_and_written::<BodyKind>(&["7BIT", "8BITMIME", "BINARYMIME"], &["", "9BIT", "7BIT "]);
        assert_eq!("binarymime".parse(), Ok(BodyKind::BinaryMime));
        // RFC 6710 section 8: no plus sign, no leading zero, no minus zero.
        is_read_and_written::<Priority>(&["-9", "-1", "0", "9"], &["", "-", "-0", "00", "01", "+1", "10", "-10", "x"]);
        // RFC 4954 section 5's own example.
        is_read_and_written::<Submitter>(&["e+3Dmc2@example.com", "<>"], &["", "a+b", "a=b", "+0D", "a@", "+FF"]);
        assert_eq!("<e+3Dmc2@example.com>".parse::<Submitter>(), "e+3Dmc2@example.com".parse());
        assert_eq!("e+3Dmc2@example.com".parse(), Ok(Submitter::Mailbox("e=mc2@example.com".parse().unwrap())));
    }

    #[test]
    fn a_priority_is_what_was_written() {
        for priority in -9..=9 {
            assert_eq!(Priority::new(priority).map(Priority::get), Ok(priority));
            assert_eq!(Priority::new(priority).unwrap().to_string().parse().map(Priority::get), Ok(priority));
        }
        assert!(Priority::new(10).is_err() && Priority::new(-10).is_err());
    }
}
