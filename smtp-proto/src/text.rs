//! Formatted text: put where octets go without a string between, or made safe to print.

use alloc::vec::Vec;
use core::fmt::{self, Write};

/// Appends text, as in `put(output, format_args!(" SIZE={size}"))`.
pub(crate) fn put(output: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // A vector takes whatever comes.
    let _ = Text(output).write_fmt(text);
}

struct Text<'a>(&'a mut Vec<u8>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Lets no control character through, and none of the other characters that end a line or turn its direction.
pub(crate) struct SafeLine<W>(pub(crate) W);

impl<W: Write> Write for SafeLine<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(is_unsafe) {
            match part.char_indices().next_back() {
                Some((at, last)) if is_unsafe(last) => {
                    self.0.write_str(&part[..at])?;
                    self.0.write_char(char::REPLACEMENT_CHARACTER)?;
                }
                _ => self.0.write_str(part)?,
            }
        }
        Ok(())
    }
}

fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    #[test]
    fn clean_text_goes_through_as_it_is() {
        let mut out = String::new();
        write!(SafeLine(&mut out), "gr\u{fc}n \u{1f600}").unwrap();
        assert_eq!(out, "gr\u{fc}n \u{1f600}");
    }
}
