//! `Proxy-Authenticate`: the challenges of one header field (RFC 9110, section 11.6.1).
//!
//! The rules of this file: it reads the grammar and knows no scheme. The comma separates both challenges and parameters; a
//! token is a new scheme unless "=" follows it. What cannot be read ends the list, it is no error.

use alloc::string::String;
use alloc::vec::Vec;

/// One challenge: a scheme and its parameters, the names in lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Offer {
    pub(super) scheme: String,
    pub(super) parameters: Vec<(String, Vec<u8>)>,
}

impl Offer {
    /// The value of a parameter, unquoted.
    pub(super) fn parameter(&self, name: &str) -> Option<&[u8]> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }
}

/// Reads the value of one header field.
pub(super) fn read(mut value: &[u8]) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    loop {
        skip(&mut value, |octet| matches!(octet, b' ' | b'\t' | b','));
        let Some(word) = token(&mut value) else { return offers };
        let after_word = value;
        skip(&mut value, is_space);
        if let (Some((b'=', rest)), Some(offer)) = (value.split_first(), offers.last_mut()) {
            value = rest;
            skip(&mut value, is_space);
            let Some(content) = quoted(&mut value).or_else(|| token(&mut value).map(<[u8]>::to_vec)) else {
                return offers;
            };
            offer.parameters.push((lower(word), content));
            continue;
        }
        value = after_word;
        offers.push(Offer { scheme: String::from_utf8_lossy(word).into_owned(), parameters: Vec::new() });
        skip(&mut value, is_space);
        skip_token68(&mut value);
    }
}

/// `Negotiate oYG7==`: data that is no parameter runs to the next comma and is not kept, no scheme here uses it.
fn skip_token68(value: &mut &[u8]) {
    let mut ahead = *value;
    skip(&mut ahead, |octet| octet.is_ascii_alphanumeric() || b"-._~+/".contains(&octet));
    skip(&mut ahead, |octet| octet == b'=');
    skip(&mut ahead, is_space);
    if ahead.is_empty() || ahead.first() == Some(&b',') {
        *value = ahead;
    }
}

fn is_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

fn lower(word: &[u8]) -> String {
    String::from_utf8_lossy(word).to_ascii_lowercase()
}

/// Drops octets while they are like this.
fn skip(value: &mut &[u8], like: impl Fn(u8) -> bool) {
    let end = value.iter().position(|octet| !like(*octet)).unwrap_or(value.len());
    *value = value.get(end..).unwrap_or_default();
}

/// Whether an octet may stand in a token (RFC 9110, section 5.6.2).
pub(super) fn is_token(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

fn token<'a>(value: &mut &'a [u8]) -> Option<&'a [u8]> {
    let whole = *value;
    skip(value, is_token);
    let word = whole.get(..whole.len() - value.len())?;
    (!word.is_empty()).then_some(word)
}

/// A quoted string, unquoted. Controls have no place in one and would be sent back in the answer.
fn quoted(value: &mut &[u8]) -> Option<Vec<u8>> {
    let mut rest = value.strip_prefix(b"\"")?;
    let mut content = Vec::new();
    loop {
        let (&octet, behind) = rest.split_first()?;
        rest = behind;
        match octet {
            b'"' => break,
            b'\\' => {
                let (&octet, behind) = rest.split_first()?;
                rest = behind;
                content.push(octet);
            }
            other => content.push(other),
        }
    }
    if content.iter().any(|octet| octet.is_ascii_control()) {
        return None;
    }
    *value = rest;
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(value: &[u8]) -> Vec<String> {
        read(value).into_iter().map(|offer| offer.scheme).collect()
    }

    #[test]
    fn challenges_and_parameters_share_the_comma() {
        // The shape of the example in RFC 9110, section 11.6.1.
        let offers = read(b"Basic realm=\"simple\", Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\"");
        assert_eq!(offers.len(), 2);
        let newauth = offers.get(1).expect("two");
        assert_eq!(newauth.scheme, "Newauth");
        assert_eq!(newauth.parameter("type"), Some(&b"1"[..]));
        assert_eq!(newauth.parameter("title"), Some(&b"Login to \"apps\""[..]));
    }

    #[test]
    fn schemes_without_parameters_and_token68_are_told_apart() {
        assert_eq!(names(b"Negotiate"), ["Negotiate"]);
        assert_eq!(names(b"Negotiate, NTLM , Basic realm=x"), ["Negotiate", "NTLM", "Basic"]);
        assert_eq!(names(b"Negotiate oYG7+/8=, Basic realm=\"a, b\""), ["Negotiate", "Basic"]);
        assert_eq!(names(b", ,Basic Realm = \"x\""), ["Basic"]);
        let spaced = read(b"Basic Realm = \"x\"");
        assert_eq!(spaced.first().and_then(|offer| offer.parameter("realm")), Some(&b"x"[..]));
    }

    #[test]
    fn what_cannot_be_read_ends_the_list() {
        assert_eq!(names(b""), [""; 0]);
        assert_eq!(names(b"=x"), [""; 0]);
        assert_eq!(names(b"Basic realm=\"open"), ["Basic"]);
        assert_eq!(names(b"Basic realm=\"a\rb\", Digest"), ["Basic"]);
        assert_eq!(names(b"Basic a=b, realm=, Digest"), ["Basic"]);
        assert_eq!(names(b"Basic realm=, Digest"), ["Basic", "Digest"], "by the grammar, a token68");
    }
}
