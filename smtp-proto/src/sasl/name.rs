//! The names of mechanisms, and what is known of each.
//!
//! The rules of this file: a name is compared without regard to case and kept in upper case; what a mechanism gives away
//! and who speaks first is said here once, and nowhere else.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// The most octets accepted in the name of a mechanism.
///
/// RFC 4422 section 3.1 says 20, yet longer names are in use (`ECDH-X25519-CHALLENGE`).
pub const MAX_NAME: usize = 40;

/// The name of a SASL mechanism.
///
/// `FromStr` takes any case; `Display` gives the registered spelling.
///
/// ```
/// use smtp_proto::sasl::MechanismName;
///
/// assert_eq!("scram-sha-256".parse(), Ok(MechanismName::ScramSha256));
/// assert_eq!("gssapi".parse::<MechanismName>().unwrap().as_str(), "GSSAPI");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum MechanismName {
    /// `EXTERNAL` (RFC 4422 appendix A): the identity was proved below, by a client certificate say.
    External,
    /// `OAUTHBEARER` (RFC 7628).
    OAuthBearer,
    /// `XOAUTH2`, the forerunner of OAUTHBEARER.
    XOAuth2,
    /// `SCRAM-SHA-512-PLUS`, bound to the channel.
    ScramSha512Plus,
    /// `SCRAM-SHA-256-PLUS` (RFC 7677), bound to the channel.
    ScramSha256Plus,
    /// `SCRAM-SHA-1-PLUS` (RFC 5802), bound to the channel.
    ScramSha1Plus,
    /// `SCRAM-SHA-512`.
    ScramSha512,
    /// `SCRAM-SHA-256` (RFC 7677).
    ScramSha256,
    /// `SCRAM-SHA-1` (RFC 5802).
    ScramSha1,
    /// `DIGEST-MD5` (RFC 2831, historic by RFC 6331).
    DigestMd5,
    /// `CRAM-MD5` (RFC 2195).
    CramMd5,
    /// `NTLM` (MS-NLMP), version 2 only.
    Ntlm,
    /// `PLAIN` (RFC 4616).
    Plain,
    /// `LOGIN`, never standardized.
    Login,
    /// `ANONYMOUS` (RFC 4505).
    Anonymous,
    /// Any other, in upper case.
    Other(String),
}

impl MechanismName {
    /// Every mechanism known here, the strongest first: the order in which [`select`](super::select) tries them.
    ///
    /// - EXTERNAL first: it is used only where asked for, and gives nothing away.
    /// - The two that carry a token, the standardized one first; they compete with nothing, since a token drives only them.
    /// - SCRAM bound to the channel before any that is not: only binding stops somebody who sits between with a valid
    ///   certificate. Then by digest.
    /// - DIGEST-MD5 before CRAM-MD5: it proves the server too, and mixes in a nonce of the client.
    /// - NTLM behind both: it leaves the MD4 of the password as the only key, and proves no server.
    /// - PLAIN and LOGIN last, since they give the password away; PLAIN before LOGIN, since it is defined.
    pub const BY_STRENGTH: &'static [Self] = &[
        Self::External,
        Self::OAuthBearer,
        Self::XOAuth2,
        Self::ScramSha512Plus,
        Self::ScramSha256Plus,
        Self::ScramSha1Plus,
        Self::ScramSha512,
        Self::ScramSha256,
        Self::ScramSha1,
        Self::DigestMd5,
        Self::CramMd5,
        Self::Ntlm,
        Self::Plain,
        Self::Login,
        Self::Anonymous,
    ];

    /// The name as it is registered, in upper case.
    pub fn as_str(&self) -> &str {
        match self {
            Self::External => "EXTERNAL",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
            Self::ScramSha512Plus => "SCRAM-SHA-512-PLUS",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::DigestMd5 => "DIGEST-MD5",
            Self::CramMd5 => "CRAM-MD5",
            Self::Ntlm => "NTLM",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::Anonymous => "ANONYMOUS",
            Self::Other(name) => name,
        }
    }

    /// Whether whoever reads the connection can use what it carries: password or token.
    ///
    /// Nothing is known of other mechanisms, so the worst is said of them.
    pub const fn reveals_secret(&self) -> bool {
        matches!(self, Self::Plain | Self::Login | Self::XOAuth2 | Self::OAuthBearer | Self::Other(_))
    }

    /// Whether the client speaks first, and so may put an initial response into its AUTH command (RFC 4954 section 4).
    ///
    /// NTLM's first message is such a response too. `false` for other mechanisms; LOGIN can be told to be so by
    /// [`Credentials::login_inline`](super::Credentials::login_inline).
    pub const fn client_first(&self) -> bool {
        !matches!(self, Self::DigestMd5 | Self::CramMd5 | Self::Login | Self::Other(_))
    }

    /// Whether it is a `-PLUS` mechanism, which needs channel binding data.
    pub const fn binds_channel(&self) -> bool {
        matches!(self, Self::ScramSha512Plus | Self::ScramSha256Plus | Self::ScramSha1Plus)
    }

    pub(super) const fn is_scram(&self) -> bool {
        self.binds_channel() || matches!(self, Self::ScramSha512 | Self::ScramSha256 | Self::ScramSha1)
    }

    /// Whether this build has the client side of the mechanism: known, and its cargo feature on.
    pub const fn is_available(&self) -> bool {
        match self {
            Self::CramMd5 => cfg!(feature = "cram-md5"),
            name if name.is_scram() => cfg!(feature = "scram"),
            Self::DigestMd5 => cfg!(feature = "digest-md5"),
            Self::Ntlm => cfg!(feature = "ntlm"),
            Self::Other(_) => false,
            _ => true,
        }
    }
}

impl fmt::Display for MechanismName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not the name of a mechanism: empty, over [`MAX_NAME`] octets, or other than letters, digits, `-` and `_`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidName;

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the name of a SASL mechanism")
    }
}

impl core::error::Error for InvalidName {}

impl FromStr for MechanismName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if let Some(known) = Self::BY_STRENGTH.iter().find(|known| known.as_str().eq_ignore_ascii_case(text)) {
            return Ok(known.clone());
        }
        let octet = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(octet) {
            return Err(InvalidName);
        }
        Ok(Self::Other(text.to_ascii_uppercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_name_comes_back_in_any_case() {
        for name in MechanismName::BY_STRENGTH {
            assert_eq!(name.to_string().parse().as_ref(), Ok(name));
            assert_eq!(name.to_string().to_ascii_lowercase().parse().as_ref(), Ok(name));
        }
        assert_eq!("x-Odd_1".parse(), Ok(MechanismName::Other("X-ODD_1".into())));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "PLAIN ", "A=B", "é", &"A".repeat(MAX_NAME + 1)] {
            assert_eq!(text.parse::<MechanismName>(), Err(InvalidName), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_not_repeated() {
        assert!(InvalidName.to_string().contains("SASL mechanism"));
    }
}
