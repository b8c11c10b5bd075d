//! Paths: the addresses of an envelope (RFC 5321 section 4.1.2).
//!
//! The rules of this file: a path that leaves here can stand between `<` and `>` and means one address. The grammar is
//! read liberally beyond that, because servers know their own mailboxes better; source routes are not written any more.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use crate::Misuse;

/// Section 4.5.3.1.3 asks for 256 octets at least, brackets included; longer ones are met in the field (VERP).
const PATH_LIMIT: usize = 1000;

/// Where a message comes from, and where its bounces go; may be null (`<>`).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct ReversePath(String);

impl ReversePath {
    /// A path from an address without angle brackets; the empty one is the null path.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the address cannot stand in an envelope.
    pub fn new(address: &str) -> Result<Self, Misuse> {
        if !address.is_empty() {
            check("reverse-path", address)?;
        }
        Ok(Self(address.to_string()))
    }

    /// `<>`, for bounces and other mail that must not be answered (RFC 5321 section 4.5.5).
    pub fn null() -> Self {
        Self(String::new())
    }

    /// The address without angle brackets; empty for the null path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One recipient of a message; never empty.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ForwardPath(String);

impl ForwardPath {
    /// A path from an address without angle brackets.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the address is empty or cannot stand in an envelope.
    pub fn new(address: &str) -> Result<Self, Misuse> {
        check("forward-path", address)?;
        Ok(Self(address.to_string()))
    }

    /// The address without angle brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `local-part`, or `local-part@domain`, where the local part may be a quoted string.
fn check(what: &'static str, address: &str) -> Result<(), Misuse> {
    if address.is_empty() {
        return Err(Misuse::Empty { what });
    }
    if address.len() > PATH_LIMIT {
        return Err(Misuse::TooLong { what, limit: PATH_LIMIT });
    }
    super::no_controls(what, address)?;
    // The server would read a source route, and another address behind it.
    if address.starts_with('@') {
        return Err(Misuse::Malformed { what });
    }
    let (local, domain) = if address.starts_with('"') {
        let end = quoted_end(address).ok_or(Misuse::Malformed { what })?;
        match address[end..].strip_prefix('@') {
            Some(domain) => (&address[..end], Some(domain)),
            None if address.len() == end => (address, None),
            None => return Err(Misuse::Malformed { what }),
        }
    } else {
        match address.rsplit_once('@') {
            Some((local, domain)) => (local, Some(domain)),
            None => (address, None),
        }
    };
    let unquoted = [if local.starts_with('"') { "" } else { local }, domain.unwrap_or_default()];
    for part in unquoted {
        if let Some(octet) = part.bytes().find(|octet| matches!(octet, b' ' | b'<' | b'>' | b'"')) {
            return Err(Misuse::Forbidden { what, octet });
        }
    }
    if local.is_empty() || domain == Some("") {
        return Err(Misuse::Malformed { what });
    }
    Ok(())
}

/// The index behind the closing quote of a string that begins with a quote.
fn quoted_end(text: &str) -> Option<usize> {
    let mut octets = text.bytes().enumerate().skip(1);
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'\\' => drop(octets.next()?),
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

macro_rules! text {
    ($path:ident) => {
        impl FromStr for $path {
            type Err = Misuse;

            fn from_str(address: &str) -> Result<Self, Misuse> {
                Self::new(address)
            }
        }

        impl fmt::Display for $path {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl $path {
            /// `true` where the path needs SMTPUTF8 (RFC 6531).
            pub fn is_international(&self) -> bool {
                !self.0.is_ascii()
            }
        }
    };
}

text!(ReversePath);
text!(ForwardPath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_every_form_are_taken() {
        for address in [
            "alice@example.org",
            "postmaster",
            "a@[192.0.2.1]",
            "a@[IPv6:2001:db8::1]",
            "\"a b\"@example.org",
            "\"a\\\"<>@b\"@example.org",
            "dörte@sörensen.example",
            "a+b=c/d@example.org",
            "prvs=1=x@example.org",
        ] {
            assert_eq!(ForwardPath::new(address).unwrap().as_str(), address);
        }
        assert_eq!(ReversePath::new("").unwrap(), ReversePath::null());
    }

    #[test]
    fn nothing_leaves_the_angle_brackets() {
        for address in [
            "a@b\r\nDATA",
            "a@b\n",
            "a\0@b",
            "a@b> SIZE=1",
            "<a@b>",
            "a b@c",
            "a@b c",
            "\"a@b",
            "\"a\"b@c",
            "\"a\"@",
            "@b",
            "@relay.example:a@b",
            "a@",
            "a\"b@c",
            "\"\\\"@b",
        ] {
            assert!(ForwardPath::new(address).is_err(), "{address:?}");
            assert!(ReversePath::new(address).is_err(), "{address:?}");
        }
        assert_eq!(ForwardPath::new(""), Err(Misuse::Empty { what: "forward-path" }));
        assert!(matches!(ForwardPath::new(&"a".repeat(1001)), Err(Misuse::TooLong { .. })));
    }
}
