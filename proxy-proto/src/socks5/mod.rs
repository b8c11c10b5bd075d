//! SOCKS5 (RFC 1928), with user name and password (RFC 1929) or a method of the caller's own.
//!
//! The rules of this room: messages are read octet by octet, at most 262 of them, so nothing depends on how the stream is
//! cut; lengths are checked before the first octet goes out.
//!
//! ```text
//! greeting  VER=5  NMETHODS  METHODS                 method   VER=5  METHOD
//! RFC 1929  VER=1  ULEN UNAME  PLEN PASSWD           status   VER=1  STATUS
//! request   VER=5  CMD  RSV=0  ATYP ADDR PORT        reply    VER=5  REP  RSV=0  ATYP ADDR PORT
//! ```

mod accept;
mod address;
mod connect;
mod method;

use core::fmt;

pub use accept::{Accept, Admission, Asked};
pub use connect::{Config, Connect};
pub use method::Method;

/// The version octet of RFC 1928.
const VERSION: u8 = 5;
/// The version octet of RFC 1929.
const AUTH_VERSION: u8 = 1;
/// "No authentication required", RFC 1928, section 3.
const ANONYMOUS: u8 = 0x00;
/// "Username/password", RFC 1928, section 3.
const USERNAME_PASSWORD: u8 = 0x02;
/// "No acceptable methods", RFC 1928, section 3.
const NONE_ACCEPTABLE: u8 = 0xff;
/// The command that everybody uses, RFC 1928, section 4.
const CONNECT: u8 = 1;

/// What a reply says, other than that the request succeeded (RFC 1928, section 6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// 1: general SOCKS server failure.
    GeneralFailure,
    /// 2: connection not allowed by ruleset.
    NotAllowed,
    /// 3: network unreachable.
    NetworkUnreachable,
    /// 4: host unreachable; also said where a name cannot be resolved.
    HostUnreachable,
    /// 5: connection refused by the target.
    ConnectionRefused,
    /// 6: TTL expired; also said where the target does not answer.
    TtlExpired,
    /// 7: command not supported.
    CommandNotSupported,
    /// 8: address type not supported.
    AddressTypeNotSupported,
    /// A code RFC 1928 leaves unassigned.
    Other(u8),
}

impl Refusal {
    /// The code on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::GeneralFailure => 1,
            Self::NotAllowed => 2,
            Self::NetworkUnreachable => 3,
            Self::HostUnreachable => 4,
            Self::ConnectionRefused => 5,
            Self::TtlExpired => 6,
            Self::CommandNotSupported => 7,
            Self::AddressTypeNotSupported => 8,
            Self::Other(code) => code,
        }
    }

    /// The meaning of a code; `None` for 0, which is no refusal.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => return None,
            1 => Self::GeneralFailure,
            2 => Self::NotAllowed,
            3 => Self::NetworkUnreachable,
            4 => Self::HostUnreachable,
            5 => Self::ConnectionRefused,
            6 => Self::TtlExpired,
            7 => Self::CommandNotSupported,
            8 => Self::AddressTypeNotSupported,
            other => Self::Other(other),
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GeneralFailure => "general failure of the proxy",
            Self::NotAllowed => "connection not allowed by the proxy's rules",
            Self::NetworkUnreachable => "network unreachable",
            Self::HostUnreachable => "host unreachable",
            Self::ConnectionRefused => "connection refused by the target",
            Self::TtlExpired => "TTL expired on the way to the target",
            Self::CommandNotSupported => "the proxy does not support CONNECT",
            Self::AddressTypeNotSupported => "the proxy does not support this type of address",
            Self::Other(code) => return write!(f, "the request was refused with the unknown code 0x{code:02x}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_refusal_reads_as_rfc_1928_has_it() {
        // Section 6, in the order of the codes.
        for (code, part) in [
            (1, "general failure"),
            (2, "not allowed"),
            (3, "network unreachable"),
            (4, "host unreachable"),
            (5, "connection refused"),
            (6, "TTL expired"),
            (7, "not support CONNECT"),
            (8, "type of address"),
            (9, "0x09"),
            (255, "0xff"),
        ] {
            let text = Refusal::from_code(code).map(|refusal| refusal.to_string()).unwrap_or_default();
            assert!(text.contains(part), "{code}: {text}");
        }
        assert_eq!(Refusal::from_code(0), None);
    }
}
