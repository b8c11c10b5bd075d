//! Enhanced status codes: `class.subject.detail` at the head of a reply's text (RFC 2034, RFC 3463).

use core::fmt;
use core::str::FromStr;

use crate::Misuse;

/// An enhanced status code, such as `5.1.1`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnhancedStatus {
    /// 2 success, 4 persistent transient failure, 5 permanent failure.
    pub class: u8,
    /// 0 to 999: address (1), mailbox (2), mail system (3), network (4), protocol (5), content (6), policy (7).
    pub subject: u16,
    /// 0 to 999, within the subject.
    pub detail: u16,
}

impl EnhancedStatus {
    /// Splits the code off the head of a line of text; `None` where the line does not begin with one.
    ///
    /// The code must be followed by a space or by the end of the line, so that "2.0.0.1 is my address" is text.
    pub fn split(text: &[u8]) -> Option<(Self, &[u8])> {
        let (class, rest) = number(text)?;
        if !matches!(class, 2 | 4 | 5) {
            return None;
        }
        let (subject, rest) = number(rest.strip_prefix(b".")?)?;
        let (detail, rest) = number(rest.strip_prefix(b".")?)?;
        let rest = match rest {
            [] => rest,
            [b' ' | b'\t', rest @ ..] => rest,
            _ => return None,
        };
        Some((Self { class: class as u8, subject, detail }, rest))
    }
}

/// One to three digits (RFC 2034 section 4 forbids leading zeroes; servers write them, and nothing is lost by reading them).
fn number(text: &[u8]) -> Option<(u16, &[u8])> {
    let digits = text.iter().take(4).take_while(|octet| octet.is_ascii_digit()).count();
    if !(1..=3).contains(&digits) {
        return None;
    }
    let (number, rest) = text.split_at(digits);
    Some((number.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')), rest))
}

impl FromStr for EnhancedStatus {
    type Err = Misuse;

    /// Reads `class.subject.detail`, and nothing behind it.
    fn from_str(text: &str) -> Result<Self, Misuse> {
        match Self::split(text.as_bytes()) {
            Some((status, [])) if !text.ends_with([' ', '\t']) => Ok(status),
            _ => Err(Misuse::Malformed { what: "enhanced status code" }),
        }
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl fmt::Debug for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnhancedStatus({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Option<(EnhancedStatus, &str)> {
        EnhancedStatus::split(text.as_bytes()).map(|(code, rest)| (code, core::str::from_utf8(rest).unwrap()))
    }

    #[test]
    fn codes_are_split_off_the_text() {
        let status = |class, subject, detail| EnhancedStatus { class, subject, detail };
        assert_eq!(split("2.1.0 Originator ok"), Some((status(2, 1, 0), "Originator ok")));
        assert_eq!(split("5.7.128"), Some((status(5, 7, 128), "")));
        assert_eq!(split("4.999.0 x"), Some((status(4, 999, 0), "x")));
    }

    #[test]
    fn one_that_is_written_alone_is_read_again() {
        assert_eq!("5.7.128".parse(), Ok(EnhancedStatus { class: 5, subject: 7, detail: 128 }));
        for text in ["", "5.1", "5.1.1 ", "5.1.1 no", "3.1.1"] {
            assert_eq!(
                text.parse::<EnhancedStatus>(),
                Err(Misuse::Malformed { what: "enhanced status code" }),
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_only_looks_like_a_code_is_text() {
        for text in
            ["", "2", "2.1", "2.1.", "3.1.0 no such class", "2.1.1000 x", "2.0.0.1 x", "2.1.0x", " 2.1.0 x", "12.1.0 x"]
        {
            assert_eq!(split(text), None, "{text:?}");
        }
    }
}
