//! SCRAM (RFC 5802, RFC 7677): what both sides share, the digests and the grammar of attributes.
//!
//! The rules of this file: attributes come in the order of RFC 5802 section 7, each once; a mandatory extension ends the
//! exchange; numbers are bounded before any work is done for them; keys are wiped.

use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use proxy_proto::Secret;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use super::{Error, MAX_ITERATIONS, MIN_ITERATIONS, MechanismName, Misuse, prepare};

pub(super) mod client;

/// The digest under a SCRAM mechanism.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ScramHash {
    /// SHA-1, of 20 octets.
    Sha1,
    /// SHA-256, of 32 octets.
    Sha256,
    /// SHA-512, of 64 octets.
    Sha512,
}

impl ScramHash {
    /// The digest under a mechanism of this name; `None` where it is not SCRAM.
    pub const fn of(name: &MechanismName) -> Option<Self> {
        match name {
            MechanismName::ScramSha1 | MechanismName::ScramSha1Plus => Some(Self::Sha1),
            MechanismName::ScramSha256 | MechanismName::ScramSha256Plus => Some(Self::Sha256),
            MechanismName::ScramSha512 | MechanismName::ScramSha512Plus => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The size of the digest in octets.
    pub const fn octets(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// `H(data)` of RFC 5802 section 2.2.
    pub(super) fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(data).to_vec(),
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    /// `HMAC(key, text)` of RFC 5802 section 2.2.
    pub(super) fn hmac(self, key: &[u8], text: &[u8]) -> Secret {
        fn mac<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Secret {
            let mut mac = <M as Mac>::new_from_slice(key).expect("HMAC takes a key of any length");
            mac.update(text);
            Secret::new(mac.finalize().into_bytes().to_vec())
        }
        match self {
            Self::Sha1 => mac::<Hmac<Sha1>>(key, text),
            Self::Sha256 => mac::<Hmac<Sha256>>(key, text),
            Self::Sha512 => mac::<Hmac<Sha512>>(key, text),
        }
    }

    /// `Hi(password, salt, i)` of RFC 5802 section 2.2, which is PBKDF2; the caller has bounded `iterations`.
    pub(super) fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Secret {
        let mut key = Zeroizing::new([0; 64]);
        let key = &mut key[..self.octets()];
        match self {
            Self::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, key),
            Self::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, key),
            Self::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, key),
        }
        Secret::new(&*key)
    }
}

/// The password as it goes into the digest: UTF-8, prepared by SASLprep (RFC 5802 section 2.2, `Normalize`).
pub(super) fn password(password: &Secret) -> Result<Secret, Misuse> {
    let text = core::str::from_utf8(password.expose()).map_err(|_| Misuse::NotUtf8("password"))?;
    prepare(text, "password").map(Secret::from)
}

/// The most octets of a nonce, or of what the peer adds to ours: what we send back must not grow with it.
const MAX_NONCE: usize = 1024;

/// Whether it is the `printable` of RFC 5802 section 7, not empty, and not overlong: what a nonce is made of.
pub(super) fn is_nonce(text: &str) -> bool {
    (1..=MAX_NONCE).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b',')
}

/// Base64 as RFC 5802 section 7 wants it, padded.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, Error> {
    STANDARD.decode(text).map_err(|_| Error::Syntax("base64"))
}

pub(super) fn encode(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

/// The iteration count, bounded before anything is computed with it.
pub(super) fn iterations(text: &str) -> Result<u32, Error> {
    if text.is_empty() || text.starts_with('0') || !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(Error::Syntax("iteration count"));
    }
    let count = text.parse::<u64>().unwrap_or(u64::MAX); // digits only, so nothing but too large
    match u32::try_from(count) {
        Ok(count) if (MIN_ITERATIONS..=MAX_ITERATIONS).contains(&count) => Ok(count),
        _ => Err(Error::IterationCount(count)),
    }
}

/// The attributes of one message: letters with values, each letter once.
pub(super) struct Attributes<'a>(Vec<(u8, &'a str)>);

impl<'a> Attributes<'a> {
    pub(super) fn parse(message: &'a str) -> Result<Self, Error> {
        let (mut attributes, mut seen) = (Vec::new(), 0_u64);
        for part in message.split(',') {
            let (Some(&letter), Some((name, value))) = (part.as_bytes().first(), part.split_once('=')) else {
                return Err(Error::Syntax("attribute"));
            };
            if name.len() != 1 || !letter.is_ascii_alphabetic() {
                return Err(Error::Syntax("attribute"));
            }
            if letter == b'm' {
                return Err(Error::MandatoryExtension);
            }
            // Letters are 58 code points, from A to z.
            let bit = 1_u64 << (letter - b'A');
            if seen & bit != 0 {
                return Err(Error::Repeated("attribute"));
            }
            seen |= bit;
            attributes.push((letter, value));
        }
        Ok(Self(attributes))
    }

    /// The values of the attributes that come first, in this order; what comes behind them is an extension.
    pub(super) fn leading<const N: usize>(&self, letters: &[u8; N]) -> Result<[&'a str; N], Error> {
        let mut values = [""; N];
        for (at, value) in values.iter_mut().enumerate() {
            match self.0.get(at) {
                Some(&(letter, text)) if letter == letters[at] => *value = text,
                _ => return Err(Error::Syntax("order of attributes")),
            }
        }
        Ok(values)
    }

    /// The value of the first attribute, if it is this one.
    pub(super) fn first(&self, letter: u8) -> Option<&'a str> {
        self.0.first().filter(|first| first.0 == letter).map(|first| first.1)
    }
}

/// A message as text.
pub(super) fn text(message: &[u8]) -> Result<&str, Error> {
    core::str::from_utf8(message).map_err(|_| Error::Syntax("not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_printable_without_a_comma_and_bounded() {
        assert!(is_nonce("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0") && is_nonce(&"x".repeat(MAX_NONCE)));
        for bad in ["", "a b", "a,b", "é", "\u{7f}", &"x".repeat(MAX_NONCE + 1)] {
            assert!(!is_nonce(bad), "{bad}");
        }
    }

    #[test]
    fn iteration_counts_are_bounded() {
        assert_eq!(iterations("4096"), Ok(4096));
        assert_eq!(iterations("1000000"), Ok(1_000_000));
        assert_eq!(iterations("4095"), Err(Error::IterationCount(4095)));
        assert_eq!(iterations("1000001"), Err(Error::IterationCount(1_000_001)));
        assert_eq!(iterations("99999999999999999999999"), Err(Error::IterationCount(u64::MAX)));
        for bad in ["", "0", "04096", "-1", "+4096", "4096 "] {
            assert_eq!(iterations(bad), Err(Error::Syntax("iteration count")), "{bad}");
        }
    }

    #[test]
    fn attributes_come_in_order_and_once() {
        let parse = |text| Attributes::parse(text).and_then(|all| all.leading(b"rs"));
        assert_eq!(parse("r=a,s=b"), Ok(["a", "b"]));
        assert_eq!(parse("r=a,s=b=,x=later"), Ok(["a", "b="]));
        assert_eq!(parse("s=b,r=a"), Err(Error::Syntax("order of attributes")));
        assert_eq!(parse("r=a"), Err(Error::Syntax("order of attributes")));
        assert_eq!(parse("r=a,s=b,s=c"), Err(Error::Repeated("attribute")));
        assert_eq!(parse("m=x,r=a,s=b"), Err(Error::MandatoryExtension));
        for bad in ["", ",", "r", "rr=a", "=a", "1=a", "é=a", "r=a,,s=b"] {
            assert_eq!(parse(bad), Err(Error::Syntax("attribute")), "{bad}");
        }
    }
}
