//! The content of a 407, read only to get past it: the next reply comes behind it on the same connection.
//!
//! The rules of this file: nothing is held; whatever cannot be passed cheaply and for certain (RFC 9112, section 6.3) is not
//! passed at all, the caller dials again instead.

use crate::handshake::octet;

/// More than this is not read away; a new connection is cheaper.
const LIMIT: u64 = 64 * 1024;

/// What is left of the content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Skip {
    /// This many octets (Content-Length, or nothing).
    Octets(u64),
    /// Chunks (RFC 9112, section 7.1): the place within them, and the octets seen so far.
    Chunked(Place, u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In the size; how many digits were read, and their value.
    Size(u8, u64),
    /// Behind the size, up to the end of the line.
    Extension(u64),
    /// In the data and the CRLF behind it.
    Data(u64),
    /// In the CRLF behind the data.
    DataEnd,
    /// In a line of the trailer section; whether it is empty so far.
    Trailer(bool),
}

/// The content cannot be passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Impassable;

impl Skip {
    /// Chunked content from its beginning.
    pub(super) const CHUNKED: Self = Self::Chunked(Place::Size(0, 0), 0);

    /// Content of this length, if it is worth reading.
    pub(super) fn octets(length: u64) -> Option<Self> {
        (length <= LIMIT).then_some(Self::Octets(length))
    }

    /// Takes content from the front of `input`; `true` once all of it is gone.
    pub(super) fn pass(&mut self, input: &mut &[u8]) -> Result<bool, Impassable> {
        match self {
            Self::Octets(left) => {
                advance(input, left);
                Ok(*left == 0)
            }
            Self::Chunked(place, seen) => loop {
                if let Place::Data(left) = place {
                    advance(input, left);
                    if *left > 0 {
                        return Ok(false);
                    }
                    *place = Place::DataEnd;
                }
                let Some(octet) = octet(input) else { return Ok(false) };
                *seen += 1;
                let size = match *place {
                    Place::Size(_, size) | Place::Extension(size) => size,
                    _ => 0,
                };
                if *seen + size > LIMIT {
                    return Err(Impassable);
                }
                if step(place, octet)? {
                    return Ok(true);
                }
                if let Place::Data(size) = *place {
                    *seen += size;
                }
            },
        }
    }
}

/// Drops up to `left` octets.
fn advance(input: &mut &[u8], left: &mut u64) {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    *input = input.get(count..).unwrap_or_default();
    *left -= count as u64;
}

/// One octet of the framing; `true` at the end of the content.
fn step(place: &mut Place, octet: u8) -> Result<bool, Impassable> {
    *place = match (*place, octet) {
        (Place::Size(1.., 0) | Place::Extension(0), b'\n') => Place::Trailer(true),
        (Place::Size(1.., size) | Place::Extension(size), b'\n') => Place::Data(size),
        // Seven digits are far above the limit already.
        (Place::Size(count @ ..7, size), digit) if digit.is_ascii_hexdigit() => {
            let value = char::from(digit).to_digit(16).unwrap_or_default();
            Place::Size(count + 1, size * 16 + u64::from(value))
        }
        (Place::Size(1.., size), b'\r' | b';' | b' ' | b'\t') => Place::Extension(size),
        (Place::Extension(size), _) => Place::Extension(size),
        (Place::DataEnd, b'\r') => Place::DataEnd,
        (Place::DataEnd, b'\n') => Place::Size(0, 0),
        (Place::Trailer(true), b'\n') => return Ok(true),
        (Place::Trailer(_), b'\n') => Place::Trailer(true),
        (Place::Trailer(empty), b'\r') => Place::Trailer(empty),
        (Place::Trailer(_), _) => Place::Trailer(false),
        _ => return Err(Impassable),
    };
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_passed_at_every_cut() {
        let content = b"5\r\nhello\r\n1A;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nT: v\r\n\r\n";
        let stream = [&content[..], b"HTTP/1.1 200"].concat();
        for size in 1..=stream.len() {
            let (mut skip, mut fed, mut done) = (Skip::CHUNKED, 0, false);
            for chunk in stream.chunks(size) {
                let mut input = chunk;
                done = skip.pass(&mut input).expect("passable");
                fed += chunk.len() - input.len();
                if done {
                    break;
                }
            }
            assert!(done);
            assert_eq!(fed, content.len(), "in pieces of {size}");
        }
    }

    #[test]
    fn a_length_is_passed_to_the_octet() {
        let mut skip = Skip::octets(3).expect("small");
        let mut input = &b"ab"[..];
        assert_eq!((skip.pass(&mut input), input.len()), (Ok(false), 0));
        let mut input = &b"cdef"[..];
        assert_eq!((skip.pass(&mut input), input), (Ok(true), &b"def"[..]));
        assert_eq!(Skip::octets(LIMIT + 1), None);
    }

    #[test]
    fn what_is_no_chunk_or_too_much_is_impassable() {
        for bad in [&b"x"[..], b"\r\n", b"-1\r\n", b"5\r\nhellox", b"fffffff\r\n", b"10001\r\n", b"00000000\r\n"] {
            let mut skip = Skip::CHUNKED;
            assert_eq!(skip.pass(&mut &bad[..]), Err(Impassable), "{bad:?}");
        }
        let endless = b"1\r\nx\r\n".repeat(20_000);
        let mut skip = Skip::CHUNKED;
        assert_eq!(skip.pass(&mut &endless[..]), Err(Impassable));
    }
}
