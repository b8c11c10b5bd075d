//! Parameters of MAIL and RCPT: `keyword` or `keyword=value` (RFC 5321 section 4.1.2).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::Misuse;

/// One ESMTP parameter, in raw form.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Parameter {
    keyword: String,
    value: Option<String>,
}

impl Parameter {
    /// A parameter from its keyword and value; a value that needs it is encoded by the caller ([`super::xtext`]).
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the keyword is not letters, digits and hyphens, or the value holds `=`, a space or a control
    /// character, or is empty.
    pub fn new(keyword: &str, value: Option<&str>) -> Result<Self, Misuse> {
        let what = "ESMTP keyword";
        if !keyword.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(Misuse::Malformed { what });
        }
        match keyword.bytes().find(|octet| !octet.is_ascii_alphanumeric() && *octet != b'-') {
            Some(octet) => return Err(Misuse::Forbidden { what, octet }),
            None if keyword.len() > 64 => return Err(Misuse::TooLong { what, limit: 64 }),
            None => {}
        }
        if let Some(value) = value {
            let what = "ESMTP value";
            if value.is_empty() {
                return Err(Misuse::Empty { what });
            }
            if let Some(octet) = value.bytes().find(|octet| octet.is_ascii_control() || matches!(octet, b' ' | b'=')) {
                return Err(Misuse::Forbidden { what, octet });
            }
            if value.len() > 1000 {
                return Err(Misuse::TooLong { what, limit: 1000 });
            }
        }
        Ok(Self { keyword: keyword.to_ascii_uppercase(), value: value.map(ToString::to_string) })
    }

    /// One whose keyword and value are known to be well formed.
    pub(crate) fn known(keyword: &str, value: Option<&str>) -> Self {
        Self { keyword: keyword.to_string(), value: value.map(ToString::to_string) }
    }

    /// The keyword, in upper case.
    pub fn keyword(&self) -> &str {
        &self.keyword
    }

    /// The value, where there is one.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    pub(crate) fn encode(&self, output: &mut Vec<u8>) {
        output.push(b' ');
        output.extend_from_slice(self.keyword.as_bytes());
        if let Some(value) = &self.value {
            output.push(b'=');
            output.extend_from_slice(value.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_stays_one_word() {
        let mut wire = Vec::new();
        Parameter::new("size", Some("1000")).unwrap().encode(&mut wire);
        Parameter::new("SMTPUTF8", None).unwrap().encode(&mut wire);
        assert_eq!(wire, b" SIZE=1000 SMTPUTF8");
        for (keyword, value) in [
            ("", None),
            ("-A", None),
            ("A B", None),
            ("A=B", None),
            ("A", Some("")),
            ("A", Some("b c")),
            ("A", Some("b=c")),
            ("A", Some("b\r\nDATA")),
            ("A", Some("b\0")),
        ] {
            assert!(Parameter::new(keyword, value).is_err(), "{keyword:?} {value:?}");
        }
    }

    #[test]
    fn a_value_may_be_long_and_not_longer() {
        let given = |length: usize| Parameter::new("X-ODD", Some(&"a".repeat(length))).map(|_| ());
        assert_eq!(given(1000), Ok(()));
        assert!(matches!(given(1001), Err(Misuse::TooLong { limit: 1000, .. })));
    }
}
