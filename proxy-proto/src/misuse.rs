//! The caller's own slips, apart from anything a peer can do.
//!
//! The rules of this file: a `Misuse` is returned at once, before a single octet has gone out and with the machine
//! unchanged; it never carries a password, nor a URL that may hold one.

use alloc::string::String;
use core::fmt;

/// What the caller gave cannot be put on the wire, or came at the wrong moment. Nothing was sent and nothing has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Misuse {
    /// A value that must not be empty is.
    Empty {
        /// Which value, in plain words.
        what: &'static str,
    },
    /// A value does not fit into its field; it is never truncated.
    TooLong {
        /// Which value, in plain words.
        what: &'static str,
        /// The most octets the field holds.
        limit: usize,
        /// The octets that were given.
        length: usize,
    },
    /// A value holds an octet that has no place there: NUL, CR, LF, a space in a host name.
    Octet {
        /// Which value, in plain words.
        what: &'static str,
        /// The first octet at fault.
        octet: u8,
    },
    /// The port is missing or is not a number from 0 to 65535.
    Port,
    /// The scheme is none of `socks4`, `socks4a`, `socks5`, `socks5h`, `http`, `https`.
    Scheme(String),
    /// A proxy URL names a proxy and nothing behind it: no path, query or fragment.
    Path,
    /// SOCKS4 and SOCKS4a have no field for an IPv6 address.
    NoIpv6,
    /// The protocol, or the scheme chosen, carries addresses only: resolve the name first.
    NotResolved,
    /// SOCKS4 sends a user name but has no field for a password.
    NoPassword,
    /// The header field is made by this crate, or would change where the head ends.
    ReservedHeader(String),
    /// Digest was asked for, but no octets for the client's nonce were given, or the feature `digest` is off.
    NoDigest,
    /// The SOCKS5 method is one this crate speaks itself, a reserved code, or offered twice.
    Method(u8),
    /// Nothing is offered to the SOCKS5 proxy: neither "no authentication" nor credentials.
    NothingOffered,
    /// One flight needs exactly one SOCKS5 method: what follows depends on which the proxy picks.
    OneFlight,
    /// The two ends of a PROXY protocol header are of different address families.
    Families,
    /// An answer was given where no question is open.
    OutOfTurn,
    /// The status code is not one this answer can carry.
    Status(u16),
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty { what } => write!(f, "the {what} is empty"),
            Self::TooLong { what, limit, length } => {
                write!(f, "the {what} has {length} octets, its field holds {limit}")
            }
            Self::Octet { what, octet } => {
                write!(f, "the {what} holds the octet 0x{octet:02x}, which has no place there")
            }
            Self::Port => f.write_str("the port is missing or is not a number from 0 to 65535"),
            Self::Scheme(scheme) => {
                write!(f, "\"{scheme}\" is no scheme of a proxy: use socks4, socks4a, socks5, socks5h, http or https")
            }
            Self::Path => f.write_str("a proxy URL ends after host and port (percent-encode / ? # in a password)"),
            Self::NoIpv6 => f.write_str("SOCKS4 cannot carry an IPv6 address: use socks5, socks5h or http"),
            Self::NotResolved => {
                f.write_str("this scheme carries addresses only: resolve the name first, or use socks4a or socks5h")
            }
            Self::NoPassword => {
                f.write_str("SOCKS4 has no field for a password: use socks5, or leave the password out")
            }
            Self::ReservedHeader(name) => write!(f, "the header field \"{name}\" is not the caller's to set"),
            Self::NoDigest => f.write_str("Digest needs octets for the client's nonce and the feature `digest`"),
            Self::Method(code) => write!(f, "0x{code:02x} is not a SOCKS5 method that can be added"),
            Self::NothingOffered => f.write_str("no SOCKS5 method is offered: allow anonymous use or give credentials"),
            Self::OneFlight => f.write_str("one flight needs exactly one SOCKS5 method"),
            Self::Families => f.write_str("source and destination are of different address families"),
            Self::OutOfTurn => f.write_str("there is no open question that this would answer"),
            Self::Status(code) => write!(f, "the status {code} cannot be sent here"),
        }
    }
}

impl core::error::Error for Misuse {}

/// Refuses the octets that end a field early in one protocol or another, whichever is spoken in the end.
pub(crate) fn check_text(what: &'static str, text: &[u8]) -> Result<(), Misuse> {
    match text.iter().find(|octet| matches!(octet, 0 | b'\r' | b'\n')) {
        Some(&octet) => Err(Misuse::Octet { what, octet }),
        None => Ok(()),
    }
}

/// Refuses what its field cannot hold.
pub(crate) fn check_length(what: &'static str, length: usize, limit: usize) -> Result<(), Misuse> {
    if length > limit { Err(Misuse::TooLong { what, limit, length }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_three_octets_that_end_fields_are_refused() {
        for octet in [0, b'\r', b'\n'] {
            assert_eq!(check_text("user", &[b'a', octet]), Err(Misuse::Octet { what: "user", octet }));
        }
        assert_eq!(check_text("user", "žába \t".as_bytes()), Ok(()));
    }

    #[test]
    fn messages_name_the_field_and_its_size() {
        let misuse = check_length("user", 256, 255);
        assert_eq!(misuse.map_err(|m| m.to_string()), Err("the user has 256 octets, its field holds 255".into()));
        assert_eq!(check_length("user", 255, 255), Ok(()));
    }

    #[test]
    fn every_message_says_what_was_wrong_and_what_to_use_instead() {
        let texts: [(Misuse, &[&str]); 17] = [
            (Misuse::Empty { what: "token" }, &["token", "empty"]),
            (Misuse::TooLong { what: "user", limit: 255, length: 256 }, &["user", "256", "255"]),
            (Misuse::Octet { what: "host", octet: 0x0d }, &["host", "0x0d"]),
            (Misuse::Port, &["port", "65535"]),
            (Misuse::Scheme("ftp".into()), &["\"ftp\"", "socks4, socks4a, socks5, socks5h, http or https"]),
            (Misuse::Path, &["host and port", "percent-encode"]),
            (Misuse::NoIpv6, &["SOCKS4", "IPv6", "socks5"]),
            (Misuse::NotResolved, &["resolve the name first", "socks4a or socks5h"]),
            (Misuse::NoPassword, &["SOCKS4", "password", "socks5"]),
            (Misuse::ReservedHeader("Host".into()), &["\"Host\""]),
            (Misuse::NoDigest, &["Digest", "nonce", "`digest`"]),
            (Misuse::Method(0xff), &["0xff", "method"]),
            (Misuse::NothingOffered, &["anonymous", "credentials"]),
            (Misuse::OneFlight, &["one flight", "exactly one"]),
            (Misuse::Families, &["address families"]),
            (Misuse::OutOfTurn, &["no open question"]),
            (Misuse::Status(200), &["200"]),
        ];
        for (misuse, parts) in texts {
            let text = misuse.to_string();
            for part in parts {
                assert!(text.contains(part), "{part:?} in {text:?}");
            }
        }
    }
}
