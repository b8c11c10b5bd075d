//! SASLprep (RFC 4013): one spelling for names and passwords that look the same.
//!
//! The rules of this file: strings are queries (RFC 3454 section 7), so code points that Unicode 3.2 did not assign pass.
//! The tables are those of RFC 3454 that SASLprep names; bidirectional classes and normalization come from the Unicode
//! crates. Written here because the `stringprep` crate needs `std`.

use alloc::string::String;

use unicode_bidi::{BidiClass, bidi_class};
use unicode_normalization::UnicodeNormalization;

use super::Misuse;

/// Prepares a name or a password by SASLprep (RFC 4013): for whoever stores or compares one that a mechanism sent.
///
/// `field` names the string in the error. ASCII without control characters comes back unchanged.
///
/// # Errors
///
/// [`Misuse::Prohibited`]: it holds a character of RFC 4013 section 2.3, or mixes directions against section 2.4.
/// [`Misuse::Empty`]: nothing is left of it.
pub fn prepare(text: &str, field: &'static str) -> Result<String, Misuse> {
    let prohibited = Err(Misuse::Prohibited(field));
    if text.is_ascii() {
        // Neither mapping nor normalization touches ASCII.
        return match text {
            "" => Err(Misuse::Empty(field)),
            _ if text.bytes().any(|octet| octet.is_ascii_control()) => prohibited,
            _ => Ok(text.into()),
        };
    }
    let mapped = text.chars().map(|c| if is_space(c) { ' ' } else { c }).filter(|&c| !is_nothing(c));
    let mut prepared = String::with_capacity(text.len());
    prepared.extend(mapped.nfkc());
    if prepared.is_empty() {
        return Err(Misuse::Empty(field));
    }
    if prepared.chars().any(is_prohibited) || !is_one_direction(&prepared) {
        return prohibited;
    }
    Ok(prepared)
}

/// Table C.1.2: spaces other than that of ASCII.
const fn is_space(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200b}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// Table B.1: commonly mapped to nothing.
const fn is_nothing(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{1806}' | '\u{180b}'..='\u{180d}' | '\u{200b}'..='\u{200d}' | '\u{2060}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

/// Tables C.1.2 to C.9; surrogates (C.5) are no `char`.
fn is_prohibited(c: char) -> bool {
    let not_a_character = (c as u32) & 0xfffe == 0xfffe || matches!(c, '\u{fdd0}'..='\u{fdef}');
    not_a_character
        || is_space(c)
        || c.is_control()
        || matches!(c, '\u{6dd}' | '\u{70f}' | '\u{180e}' | '\u{200c}' | '\u{200d}' | '\u{2028}' | '\u{2029}'
            | '\u{2060}'..='\u{2063}' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{1d173}'..='\u{1d17a}')
        || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
        || matches!(c, '\u{fff9}'..='\u{fffd}' | '\u{2ff0}'..='\u{2ffb}')
        || matches!(c, '\u{340}' | '\u{341}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

/// RFC 3454 section 6: with right-to-left characters there are no left-to-right ones, and they stand at both ends.
fn is_one_direction(text: &str) -> bool {
    let right_to_left = |c| matches!(bidi_class(c), BidiClass::R | BidiClass::AL);
    if !text.chars().any(right_to_left) {
        return true;
    }
    !text.chars().any(|c| bidi_class(c) == BidiClass::L)
        && text.chars().next().is_some_and(right_to_left)
        && text.chars().next_back().is_some_and(right_to_left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_4013_section_3() {
        for (given, prepared) in
            [("I\u{ad}X", "IX"), ("user", "user"), ("USER", "USER"), ("\u{aa}", "a"), ("\u{2168}", "IX")]
        {
            assert_eq!(prepare(given, "name").as_deref(), Ok(prepared));
        }
        assert_eq!(prepare("\u{7}", "name"), Err(Misuse::Prohibited("name")));
        assert_eq!(prepare("\u{627}1", "name"), Err(Misuse::Prohibited("name")));
    }

    #[test]
    fn spaces_become_one_kind_and_directions_may_not_mix() {
        assert_eq!(prepare("a\u{a0}b\u{3000}c", "name").as_deref(), Ok("a b c"));
        assert_eq!(prepare("\u{627}1\u{628}", "name").as_deref(), Ok("\u{627}1\u{628}"));
        // RFC 3454 section 6, requirement 2.
        assert_eq!(prepare("\u{627}a\u{628}", "name"), Err(Misuse::Prohibited("name")));
    }

    #[test]
    fn each_table_prohibits() {
        for c in [
            '\u{85}',
            '\u{6dd}',
            '\u{2028}',
            '\u{206a}',
            '\u{e000}',
            '\u{10fffd}',
            '\u{fdd0}',
            '\u{1ffff}',
            '\u{fffd}',
            '\u{2ff0}',
            '\u{200e}',
            '\u{202e}',
            '\u{e0001}',
            '\u{e0041}',
        ] {
            assert_eq!(prepare(&alloc::format!("x{c}"), "name"), Err(Misuse::Prohibited("name")), "{c:?}");
        }
    }

    #[test]
    fn nothing_left_is_empty() {
        assert_eq!(prepare("", "password"), Err(Misuse::Empty("password")));
        assert_eq!(prepare("\u{ad}", "password"), Err(Misuse::Empty("password")));
    }
}
