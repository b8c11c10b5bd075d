//! What must arrive of a message, said as plainly as it can be.

/// Each bare CR and each bare LF is a line's end (RFC 5321 section 2.3.8), an octet at a time; the end stays as it is.
pub fn line_ends(message: &[u8]) -> Vec<u8> {
    let mut canonical = Vec::new();
    for (at, octet) in message.iter().enumerate() {
        match octet {
            b'\n' if at > 0 && message[at - 1] == b'\r' => {}
            b'\r' | b'\n' => canonical.extend_from_slice(b"\r\n"),
            octet => canonical.push(*octet),
        }
    }
    canonical
}

/// The same, and the last line has its end, too.
pub fn canonical(message: &[u8]) -> Vec<u8> {
    let mut canonical = line_ends(message);
    if !canonical.is_empty() && !canonical.ends_with(b"\r\n") {
        canonical.extend_from_slice(b"\r\n");
    }
    canonical
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_end_is_one() {
        for (message, lines, whole) in [
            (&b""[..], &b""[..], &b""[..]),
            (b"a", b"a", b"a\r\n"),
            (b"\n\r\r\n", b"\r\n\r\n\r\n", b"\r\n\r\n\r\n"),
            (b"a\rb\nc\r\n", b"a\r\nb\r\nc\r\n", b"a\r\nb\r\nc\r\n"),
        ] {
            assert_eq!((line_ends(message), canonical(message)), (lines.to_vec(), whole.to_vec()));
        }
    }
}
