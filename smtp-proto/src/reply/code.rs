//! The three digits at the head of a reply (RFC 5321 section 4.2.1).

use core::fmt;

/// A reply code, 200 to 599.
///
/// RFC 5321 gives the second digit two meanings at most and asks clients to decide by the first alone; codes that no
/// RFC lists are lawful, so this is a number and not a closed list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

impl Code {
    /// `220`, the greeting and the answer to STARTTLS.
    pub const READY: Self = Self(220);
    /// `221`, the answer to QUIT.
    pub const CLOSING: Self = Self(221);
    /// `235`, authentication succeeded (RFC 4954 section 6).
    pub const AUTHENTICATED: Self = Self(235);
    /// `250`, done.
    pub const OK: Self = Self(250);
    /// `334`, a SASL challenge (RFC 4954 section 4).
    pub const CHALLENGE: Self = Self(334);
    /// `353`, each recipient is answered for, and then the message (PRDR, draft-hall-prdr-00).
    pub const EACH_RECIPIENT: Self = Self(353);
    /// `354`, start mail input.
    pub const START_MAIL: Self = Self(354);
    /// `421`, the service is closing the channel; lawful at any moment (RFC 5321 section 3.8).
    pub const SERVICE_CLOSING: Self = Self(421);

    /// `503`, bad sequence of commands.
    pub const BAD_SEQUENCE: Self = Self(503);

    /// The code of this number, if it is one: 200 to 599.
    pub const fn new(number: u16) -> Option<Self> {
        if number >= 200 && number <= 599 { Some(Self(number)) } else { None }
    }

    /// The number, 200 to 599.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// 2yz: the command was done.
    pub const fn is_positive(self) -> bool {
        self.0 / 100 == 2
    }

    /// 3yz: the server waits for more.
    pub const fn is_intermediate(self) -> bool {
        self.0 / 100 == 3
    }

    /// 4yz: not done, worth another try later.
    pub const fn is_transient(self) -> bool {
        self.0 / 100 == 4
    }

    /// 5yz: not done, and not to be repeated as it is.
    pub const fn is_permanent(self) -> bool {
        self.0 / 100 == 5
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_first_digit_is_the_class() {
        for number in 0..=1000 {
            let Some(code) = Code::new(number) else {
                assert!(!(200..=599).contains(&number), "{number}");
                continue;
            };
            assert_eq!(code.number(), number);
            let text = code.to_string();
            assert_eq!(text.parse(), Ok(number));
            let classes = [code.is_positive(), code.is_intermediate(), code.is_transient(), code.is_permanent()];
            assert_eq!(classes, ["2", "3", "4", "5"].map(|first| text.starts_with(first)), "{number}");
            assert!(alloc::format!("{code:?}").contains(&text));
        }
        assert!(Code::new(200).is_some() && Code::new(599).is_some());
    }
}
