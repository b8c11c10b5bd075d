//! The versions of TLS that may be asked for.
//!
//! The rules of this file: what is too old is refused by name, never taken for something newer.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

/// A version of TLS. Older ones than 1.2 are broken (RFC 8996), and cannot be had.
///
/// ```
/// use smtp_proto::tls::{Version, VersionError};
///
/// assert_eq!("1.3".parse(), Ok(Version::Tls13));
/// assert_eq!("TLSv1.1".parse::<Version>(), Err(VersionError::TooOld("TLSv1.1".into())));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Version {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl Version {
    /// The number: `"1.2"`, `"1.3"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was written is no version that can be had.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum VersionError {
    /// SSL, or TLS before 1.2; as it was written.
    TooOld(String),
    /// Nothing that is known; as it was written.
    Unknown(String),
}

impl fmt::Display for VersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooOld(asked) => write!(
                f,
                "{asked:?} is broken and cannot be had (RFC 8996): the oldest TLS version is 1.2, and a server that \
                 cannot speak it must be updated"
            ),
            Self::Unknown(asked) => write!(f, "{asked:?} is no TLS version: there are 1.2 and 1.3"),
        }
    }
}

impl core::error::Error for VersionError {}

impl FromStr for Version {
    type Err = VersionError;

    /// Reads `1.2` or `1.3`, with or without `TLS` or `TLSv` before it, in any case.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let small = text.to_ascii_lowercase();
        if small.starts_with("ssl") {
            return Err(VersionError::TooOld(text.to_string()));
        }
        let number = small.strip_prefix("tls").unwrap_or(&small);
        let number = number.trim_start_matches([' ', '_', '-']);
        match number.strip_prefix('v').unwrap_or(number) {
            "1.2" | "1_2" => Ok(Self::Tls12),
            "1.3" | "1_3" => Ok(Self::Tls13),
            "1" | "1.0" | "1_0" | "1.1" | "1_1" | "2" | "2.0" | "3" | "3.0" => {
                Err(VersionError::TooOld(text.to_string()))
            }
            _ => Err(VersionError::Unknown(text.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_write_a_version() {
        for (text, version) in
            [("1.2", Version::Tls12), ("1.3", Version::Tls13), ("TLSv1.2", Version::Tls12), ("tls1_3", Version::Tls13)]
        {
            assert_eq!(text.parse(), Ok(version), "{text}");
            assert_eq!(version.to_string().parse(), Ok(version));
        }
    }

    #[test]
    fn what_is_older_is_refused_and_said_to_be_older() {
        for text in ["1", "1.0", "1.1", "TLSv1", "tlsv1.1", "TLS 1.0", "ssl", "SSLv2", "ssl3", "SSLv3", "2.0", "3.0"] {
            let error = text.parse::<Version>().unwrap_err();
            assert_eq!(error, VersionError::TooOld(text.into()));
            assert!(error.to_string().contains("RFC 8996") && error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "1.4", "1.", "v", "tls", "1.22", "l.2", "1.3 "] {
            let error = text.parse::<Version>().unwrap_err();
            assert_eq!(error, VersionError::Unknown(text.into()));
            assert!(error.to_string().ends_with("there are 1.2 and 1.3"), "{error}");
        }
    }
}
