//! Formatted text, put where octets go without a string between.

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
