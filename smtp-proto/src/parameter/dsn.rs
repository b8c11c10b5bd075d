//! Reports of delivery: what is asked for, and of whom it speaks (DSN, RFC 3461).
//!
//! The rules of this file: those of the room.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use super::malformed;
use crate::Misuse;
use crate::command::xtext;

/// How much of a message comes back with a report that it could not be delivered (RFC 3461 section 4.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ret {
    /// All of it.
    Full,
    /// Its header section.
    Headers,
}

impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Full { "FULL" } else { "HDRS" })
    }
}

impl FromStr for Ret {
    type Err = Misuse;

    fn from_str(text: &str) -> Result<Self, Misuse> {
        match text {
            _ if text.eq_ignore_ascii_case("FULL") => Ok(Self::Full),
            _ if text.eq_ignore_ascii_case("HDRS") => Ok(Self::Headers),
            _ => malformed("RET"),
        }
    }
}

/// When a recipient's fate is to be reported (RFC 3461 section 4.1). Without any, never.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Notify {
    /// When it was delivered.
    pub success: bool,
    /// When it could not be delivered.
    pub failure: bool,
    /// When it takes long.
    pub delay: bool,
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let mut separator = "";
        for (_, name) in named.into_iter().filter(|(wanted, _)| *wanted) {
            write!(f, "{separator}{name}")?;
            separator = ",";
        }
        if separator.is_empty() { f.write_str("NEVER") } else { Ok(()) }
    }
}

impl FromStr for Notify {
    type Err = Misuse;

    fn from_str(text: &str) -> Result<Self, Misuse> {
        let mut notify = Self::default();
        if text.eq_ignore_ascii_case("NEVER") {
            return Ok(notify);
        }
        for word in text.split(',') {
            match word {
                _ if word.eq_ignore_ascii_case("SUCCESS") => notify.success = true,
                _ if word.eq_ignore_ascii_case("FAILURE") => notify.failure = true,
                _ if word.eq_ignore_ascii_case("DELAY") => notify.delay = true,
                _ => return malformed("NOTIFY"),
            }
        }
        Ok(notify)
    }
}

/// A name for a message in reports, of the sender's choice (RFC 3461 section 4.4).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct EnvelopeId(String);

impl EnvelopeId {
    /// A name.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where it is empty, longer than 100 octets as xtext, or not printable ASCII.
    pub fn new(id: &str) -> Result<Self, Misuse> {
        let what = "ENVID";
        if id.is_empty() {
            return Err(Misuse::Empty { what });
        }
        if let Some(octet) = id.bytes().find(|octet| !(b' '..=b'~').contains(octet)) {
            return Err(Misuse::Forbidden { what, octet });
        }
        if xtext::encode(id.as_bytes()).len() > 100 {
            return Err(Misuse::TooLong { what, limit: 100 });
        }
        Ok(Self(id.to_string()))
    }

    /// The name itself, decoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EnvelopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&xtext::encode(self.0.as_bytes()))
    }
}

impl FromStr for EnvelopeId {
    type Err = Misuse;

    fn from_str(text: &str) -> Result<Self, Misuse> {
        match xtext::decode(text).map(String::from_utf8) {
            Some(Ok(id)) if text.len() <= 100 => Self::new(&id),
            _ => malformed("ENVID"),
        }
    }
}

/// The address that a recipient had at first (RFC 3461 section 4.2; of kind `utf-8`, RFC 6533 section 3).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct OriginalRecipient {
    kind: String,
    address: String,
}

impl OriginalRecipient {
    /// An address of a kind, such as `"rfc822"` and `"bob@example.net"`; one with letters beyond ASCII is of kind `"utf-8"`.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the kind is not a word, the address is empty or holds a control character, or all is longer than
    /// 500 octets.
    pub fn new(kind: &str, address: &str) -> Result<Self, Misuse> {
        let what = "ORCPT";
        if kind.is_empty() || address.is_empty() {
            return Err(Misuse::Empty { what });
        }
        if let Some(octet) = kind.bytes().find(|octet| !octet.is_ascii_alphanumeric() && *octet != b'-') {
            return Err(Misuse::Forbidden { what, octet });
        }
        if let Some(control) = address.chars().find(|c| c.is_control()) {
            let mut octets = [0; 4];
            return Err(Misuse::Forbidden { what, octet: control.encode_utf8(&mut octets).as_bytes()[0] });
        }
        let one = Self { kind: kind.to_string(), address: address.to_string() };
        if one.to_string().len() > 500 {
            return Err(Misuse::TooLong { what, limit: 500 });
        }
        Ok(one)
    }

    /// Of which kind the address is.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The address itself, decoded.
    pub fn address(&self) -> &str {
        &self.address
    }
}

fn is_utf8(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("utf-8")
}

impl fmt::Display for OriginalRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};", self.kind)?;
        if !is_utf8(&self.kind) {
            return f.write_str(&xtext::encode(self.address.as_bytes()));
        }
        // The form for any session, with and without SMTPUTF8.
        for c in self.address.chars() {
            match c {
                '+' | '=' | '\\' => write!(f, "\\x{{{:X}}}", u32::from(c))?,
                '!'..='~' => write!(f, "{c}")?,
                _ => write!(f, "\\x{{{:X}}}", u32::from(c))?,
            }
        }
        Ok(())
    }
}

impl FromStr for OriginalRecipient {
    type Err = Misuse;

    fn from_str(text: &str) -> Result<Self, Misuse> {
        let what = "ORCPT";
        let Some((kind, value)) = text.split_once(';') else { return malformed(what) };
        let address = if is_utf8(kind) {
            decode_utf8(value)
        } else {
            xtext::decode(value).and_then(|octets| String::from_utf8(octets).ok())
        };
        address.map_or(malformed(what), |address| Self::new(kind, &address))
    }
}

/// `utf-8-addr-xtext` and `utf-8-addr-unitext`: `\x{HEX}` stands for a character.
fn decode_utf8(value: &str) -> Option<String> {
    let (mut text, mut rest) = (String::with_capacity(value.len()), value);
    while let Some(c) = rest.chars().next() {
        match c {
            '\\' => {
                let (digits, behind) = rest.strip_prefix("\\x{")?.split_once('}')?;
                if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|octet| octet.is_ascii_hexdigit()) {
                    return None;
                }
                text.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
                rest = behind;
            }
            '+' | '=' | '\0'..=' ' => return None,
            _ => {
                text.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::super::is_read_and_written;
    use super::*;

    #[test]
    fn values_are_those_of_rfc_3461() {
        is_read_and_written::<Ret>(&["FULL", "HDRS"], &["", "SOME", "FULL,HDRS"]);
        is_read_and_written::<Notify>(
            &["NEVER", "SUCCESS", "FAILURE", "DELAY", "SUCCESS,DELAY", "SUCCESS,FAILURE,DELAY"],
            &["", "NEVER,DELAY", "SUCCESS,", ",", "ALWAYS"],
        );
        assert_eq!("delay,Success".parse(), Ok(Notify { success: true, delay: true, failure: false }));
        let long = "x".repeat(101);
        is_read_and_written::<EnvelopeId>(&["QQ314159", "a+2Bb+3Dc+20d"], &["", "+", "a=b", "+00", "+E4", &long]);
        assert_eq!("a+2bb".parse(), EnvelopeId::new("a+b"));
        assert!(EnvelopeId::new(&"+".repeat(34)).is_err(), "as xtext it is too long");
    }

    #[test]
    fn original_recipients_are_those_of_rfc_3461_and_6533() {
        let long = ["rfc822;", &"x".repeat(494)].concat();
        is_read_and_written::<OriginalRecipient>(
            &["rfc822;Carol@Ivory.EDU", "rfc822;b+2Bx@example.net", "x400;/S+3Dx/"],
            &["", "rfc822", "rfc822;", ";a@b", "rfc 822;a@b", "rfc822;a+b", "rfc822;+00", "rfc822;d\u{f6}", &long],
        );
        is_read_and_written::<OriginalRecipient>(
            &["utf-8;d\\x{F6}rte@s\\x{F6}rensen.example", "UTF-8;a\\x{2B}b\\x{3D}c\\x{5C}"],
            &[
                "utf-8;",
                "utf-8;a+b",
                "utf-8;a\\b",
                "utf-8;\\x{}",
                "utf-8;\\x{D800}",
                "utf-8;\\x{110000}",
                "utf-8;\\x{7}",
            ],
        );
        let dörte = OriginalRecipient::new("utf-8", "d\u{f6}rte@b").unwrap();
        assert_eq!("utf-8;d\u{f6}rte@b".parse(), Ok(dörte.clone()), "as SMTPUTF8 sessions may have it");
        assert_eq!((dörte.kind(), dörte.address()), ("utf-8", "d\u{f6}rte@b"));
    }
}
