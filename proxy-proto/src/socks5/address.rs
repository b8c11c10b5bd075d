//! ATYP, ADDR and PORT: the same in requests and replies (RFC 1928, section 5).
//!
//! The rules of this file: it works on whole slices and says how long a field will be once its first octets are known.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::{Host, Misuse, Name, Target};

const IPV4: u8 = 1;
const DOMAIN: u8 = 3;
const IPV6: u8 = 4;

/// What is known of an address field from its first octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Extent {
    /// Too little to say.
    Unknown,
    /// This many octets, ATYP and port included.
    Octets(usize),
    /// An ATYP nobody assigned.
    NoSuchType(u8),
}

/// How long the field is that begins like this.
pub(super) fn extent(field: &[u8]) -> Extent {
    match *field {
        [IPV4, ..] => Extent::Octets(1 + 4 + 2),
        [IPV6, ..] => Extent::Octets(1 + 16 + 2),
        [DOMAIN, length, ..] => Extent::Octets(1 + 1 + usize::from(length) + 2),
        [] | [DOMAIN] => Extent::Unknown,
        [other, ..] => Extent::NoSuchType(other),
    }
}

/// Reads a whole field; refuses a name that [`Name`] refuses.
pub(super) fn read(field: &[u8]) -> Result<Target, Misuse> {
    let (head, port) = field.split_last_chunk::<2>().ok_or(Misuse::Port)?;
    let host = match *head {
        [IPV4, a, b, c, d] => Host::V4(Ipv4Addr::new(a, b, c, d)),
        [IPV6, ref address @ ..] => {
            let octets = <[u8; 16]>::try_from(address).map_err(|_| Misuse::Empty { what: "host" })?;
            Host::V6(Ipv6Addr::from(octets))
        }
        [DOMAIN, _, ref name @ ..] => Host::Name(Name::new(String::from_utf8_lossy(name))?),
        _ => return Err(Misuse::Empty { what: "host" }),
    };
    Ok(Target { host, port: u16::from_be_bytes(*port) })
}

/// Appends the field.
pub(super) fn write(output: &mut Vec<u8>, target: &Target) {
    match &target.host {
        Host::V4(address) => {
            output.push(IPV4);
            output.extend(address.octets());
        }
        Host::V6(address) => {
            output.push(IPV6);
            output.extend(address.octets());
        }
        Host::Name(name) => {
            // A `Name` is at most 255 octets long, so nothing is cut off here.
            output.extend([DOMAIN, u8::try_from(name.as_str().len()).unwrap_or(u8::MAX)]);
            output.extend(name.as_str().bytes());
        }
    }
    output.extend(target.port.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_octet_by_octet_both_ways() {
        for (text, wire) in [
            ("192.0.2.1:25", &b"\x01\xc0\x00\x02\x01\x00\x19"[..]),
            ("mx.example:587", b"\x03\x0amx.example\x02\x4b"),
            ("[2001:db8::a:b]:465", b"\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0a\x00\x0b\x01\xd1"),
        ] {
            let target: Target = text.parse().expect("a target");
            let mut output = Vec::new();
            write(&mut output, &target);
            assert_eq!(output, wire);
            assert_eq!(extent(wire), Extent::Octets(wire.len()));
            assert_eq!(read(wire), Ok(target));
        }
    }

    #[test]
    fn the_longest_name_fills_its_field() {
        let target = Target::new(&"n".repeat(255), 1).expect("a target");
        let mut output = Vec::new();
        write(&mut output, &target);
        assert_eq!((output.len(), output.get(1)), (1 + 1 + 255 + 2, Some(&255)));
        assert_eq!(read(&output), Ok(target));
    }

    #[test]
    fn unknown_types_and_short_fields_are_told_apart() {
        assert_eq!((extent(b""), extent(b"\x03")), (Extent::Unknown, Extent::Unknown));
        assert_eq!(extent(b"\x02"), Extent::NoSuchType(2));
        assert!(read(b"").is_err() && read(b"\x01\x02\x03").is_err() && read(b"\x03\x00\x00\x19").is_err());
    }
}
