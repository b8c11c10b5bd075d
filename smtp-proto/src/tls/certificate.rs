//! What is wrong with a certificate.
//!
//! The rules of this file: each reason that a person can do something about has a variant, and its text says what is wrong
//! in words that need no knowledge of X.509.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// Why a peer's certificate is not accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CertificateError {
    /// It is another host's.
    WrongName {
        /// The name that it had to prove.
        expected: String,
        /// The names that it proves, as far as they are told.
        presented: Vec<String>,
    },
    /// Its time is over.
    Expired {
        /// For how long.
        since: Duration,
    },
    /// Its time has not come; or the clock here is wrong.
    NotYetValid {
        /// How long it will still take.
        until: Duration,
    },
    /// It vouches for itself, and was not given as one to trust.
    SelfSigned,
    /// Its chain does not lead to an authority that is trusted here.
    UnknownAuthority,
    /// It is an authority's own, signed by another one, and stands where a server's should.
    AnAuthoritys,
    /// It was made for another purpose than this.
    WrongPurpose,
    /// Its authority has revoked it.
    Revoked,
    /// There is none, where one is needed.
    Missing,
    /// Anything else; the reason.
    Other(String),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongName { expected, presented } => {
                write!(f, "it is not for {expected}")?;
                for (at, name) in presented.iter().enumerate() {
                    write!(f, "{}{}", if at == 0 { ", but for " } else { ", " }, name.escape_debug())?;
                }
                Ok(())
            }
            Self::Expired { since } => write!(f, "it expired {} ago", Span(*since)),
            Self::NotYetValid { until } => {
                write!(f, "it will be valid in {}: is the clock of this machine right?", Span(*until))
            }
            Self::SelfSigned => f.write_str("it is self-signed, and not trusted here"),
            Self::UnknownAuthority => f.write_str("it is not issued by an authority that is trusted here"),
            Self::AnAuthoritys => f.write_str("it is an authority's own, and not trusted here"),
            Self::WrongPurpose => f.write_str("it is made for another purpose"),
            Self::Revoked => f.write_str("it is revoked"),
            Self::Missing => f.write_str("there is none"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for CertificateError {}

/// A span of time, as coarse as one would say it.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (count, unit) = match seconds {
            0..=119 => (seconds, "second"),
            120..=7_199 => (seconds / 60, "minute"),
            7_200..=172_799 => (seconds / 3_600, "hour"),
            _ => (seconds / 86_400, "day"),
        };
        write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    #[test]
    fn spans_are_said_as_coarsely_as_people_do() {
        let said = |seconds| Span(Duration::from_secs(seconds)).to_string();
        assert_eq!(said(1), "1 second");
        assert_eq!(said(119), "119 seconds");
        assert_eq!(said(120), "2 minutes");
        assert_eq!(said(3 * 3_600), "3 hours");
        assert_eq!(said(90 * 86_400), "90 days");
    }

    #[test]
    fn names_of_a_certificate_cannot_write_on_a_terminal() {
        let error = CertificateError::WrongName { expected: "a.example".into(), presented: vec!["b\x1b[1m".into()] };
        assert_eq!(error.to_string(), "it is not for a.example, but for b\\u{1b}[1m");
    }

    #[test]
    fn every_reason_is_said_in_words_that_need_no_x_509() {
        let day = Duration::from_secs(86_400 * 3);
        for (error, part) in [
            (CertificateError::Expired { since: day }, "expired 3 days ago"),
            (CertificateError::NotYetValid { until: day }, "valid in 3 days"),
            (CertificateError::SelfSigned, "self-signed"),
            (CertificateError::UnknownAuthority, "authority that is trusted here"),
            (CertificateError::AnAuthoritys, "authority's own"),
            (CertificateError::WrongPurpose, "another purpose"),
            (CertificateError::Revoked, "revoked"),
            (CertificateError::Missing, "none"),
            (CertificateError::Other("its reason".into()), "its reason"),
            (CertificateError::WrongName { expected: "a.example".into(), presented: vec![] }, "not for a.example"),
        ] {
            let text = super::super::Error::Certificate(error).to_string();
            assert!(text.contains("certificate is not accepted") && text.contains(part), "{text}");
        }
    }
}
