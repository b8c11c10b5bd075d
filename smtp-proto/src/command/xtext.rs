//! xtext: how a value that may hold anything travels in a parameter (RFC 3461 section 4).

use alloc::string::String;
use alloc::vec::Vec;

/// Encodes octets: `+`, `=` and whatever is not printable ASCII become `+` and two upper-case hexadecimal digits.
pub fn encode(octets: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::with_capacity(octets.len());
    for octet in octets {
        if octet.is_ascii_graphic() && !matches!(octet, b'+' | b'=') {
            text.push(char::from(*octet));
        } else {
            text.push('+');
            text.push(char::from(DIGITS[usize::from(octet >> 4)]));
            text.push(char::from(DIGITS[usize::from(octet & 15)]));
        }
    }
    text
}

/// Decodes xtext; `None` where it is none. Lower-case digits are read too.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'+', [high, low, tail @ ..]) => {
                let digit = |octet: &u8| char::from(*octet).to_digit(16);
                octets.push((digit(high)? * 16 + digit(low)?) as u8);
                tail
            }
            (b'+' | b'=', _) => return None,
            (octet, tail) if octet.is_ascii_graphic() => {
                octets.push(*octet);
                tail
            }
            _ => return None,
        };
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_3461() {
        // Section 10.1: ORCPT=rfc822;Carol@Ivory.EDU needs no encoding; a plus sign does.
        assert_eq!(encode(b"rfc822;Carol@Ivory.EDU"), "rfc822;Carol@Ivory.EDU");
        assert_eq!(encode(b"a+b=c d\x00\xff"), "a+2Bb+3Dc+20d+00+FF");
        assert_eq!(decode("a+2Bb+3Dc+20d+00+ff").unwrap(), b"a+b=c d\x00\xff");
    }

    #[test]
    fn what_is_no_xtext_is_refused() {
        for text in ["a=b", "+", "+2", "+2G", "+-1", "a b", "\u{e9}"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
