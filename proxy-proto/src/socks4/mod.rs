//! SOCKS4 and its extension SOCKS4a: a user id and an IPv4 address, or a name for the proxy to resolve.
//!
//! The rules of this room: both versions are one message each way; SOCKS4a differs only in the address 0.0.0.x, which says
//! that a name follows. There is no IPv6 and no password.
//!
//! ```text
//! request  VN=4  CD=1  DSTPORT(2, big endian)  DSTIP(4)  USERID  NUL  [name NUL]
//! reply    VN=0  CD    DSTPORT(2)              DSTIP(4)
//! ```

mod accept;
mod connect;

use core::fmt;

pub use accept::{Accept, Request};
pub use connect::Connect;

/// The longest user id that is sent or accepted, in octets. The protocol sets no limit, memory does.
pub const USER_LIMIT: usize = 255;

/// What a reply says, other than that the request is granted (90).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// 91: rejected or failed, for whatever reason.
    Rejected,
    /// 92: the proxy asked identd on the client's host and got no answer.
    NoIdentd,
    /// 93: identd named another user than the request did.
    UserMismatch,
    /// A code the protocol does not define.
    Other(u8),
}

impl Refusal {
    /// The code on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Rejected => 91,
            Self::NoIdentd => 92,
            Self::UserMismatch => 93,
            Self::Other(code) => code,
        }
    }

    /// The meaning of a code; `None` for 90, which is no refusal.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            90 => return None,
            91 => Self::Rejected,
            92 => Self::NoIdentd,
            93 => Self::UserMismatch,
            other => Self::Other(other),
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected => f.write_str("the request was rejected or failed"),
            Self::NoIdentd => f.write_str("the proxy cannot reach identd on this host"),
            Self::UserMismatch => f.write_str("identd on this host names another user"),
            Self::Other(code) => write!(f, "the request was refused with the unknown code {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_code_but_granted_is_a_refusal_that_says_why() {
        for code in 0..=255 {
            let refusal = Refusal::from_code(code);
            assert_eq!(refusal.map(Refusal::code), (code != 90).then_some(code));
            let part = match code {
                90 => continue,
                91 => "rejected or failed",
                92 => "cannot reach identd",
                93 => "another user",
                _ => "unknown code",
            };
            let text = refusal.map(|refusal| refusal.to_string()).unwrap_or_default();
            assert!(text.contains(part), "{code}: {text}");
        }
        assert!(Refusal::Other(7).to_string().ends_with(" 7"));
    }
}
