//! The arithmetic of Digest (RFC 7616, section 3.4): MD5 and SHA-256, quality of protection "auth"; and MD5 without any, as RFC
//! 2069 had it.
//!
//! The rules of this file: it computes and knows no header; the client's nonce comes from the caller.

use alloc::string::String;
use core::fmt::Write;

use md5::Md5;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::authorization::Algorithm;

/// What goes into a response besides the credentials.
pub(super) struct Inputs<'a> {
    pub(super) algorithm: Algorithm,
    /// `true` for the "-sess" variants: the nonces are part of A1.
    pub(super) session: bool,
    pub(super) realm: &'a [u8],
    pub(super) nonce: &'a [u8],
    /// The client's nonce; `None` where the proxy knows no quality of protection (RFC 2617, section 3.2.2.1).
    pub(super) cnonce: Option<&'a str>,
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
}

/// The response to a challenge, as lower-case hexadecimal digits; the nonce count, where there is one, is 1.
pub(super) fn response(inputs: &Inputs<'_>, user: &[u8], password: &[u8]) -> String {
    match inputs.algorithm {
        Algorithm::Md5 => with::<Md5>(inputs, user, password),
        Algorithm::Sha256 => with::<Sha256>(inputs, user, password),
    }
}

fn with<H: Digest>(inputs: &Inputs<'_>, user: &[u8], password: &[u8]) -> String {
    // As good as the password to whoever learns it.
    let mut a1 = Zeroizing::new(hash::<H>(&[user, inputs.realm, password]));
    let a2 = hash::<H>(&[inputs.method.as_bytes(), inputs.uri.as_bytes()]);
    let Some(cnonce) = inputs.cnonce.map(str::as_bytes) else {
        return hash::<H>(&[a1.as_bytes(), inputs.nonce, a2.as_bytes()]);
    };
    if inputs.session {
        a1 = Zeroizing::new(hash::<H>(&[a1.as_bytes(), inputs.nonce, cnonce]));
    }
    hash::<H>(&[a1.as_bytes(), inputs.nonce, b"00000001", cnonce, b"auth", a2.as_bytes()])
}

/// The hash of these parts with colons between them, as hexadecimal digits.
fn hash<H: Digest>(parts: &[&[u8]]) -> String {
    let mut state = H::new();
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            state.update(b":");
        }
        state.update(part);
    }
    hex(&state.finalize())
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn example(algorithm: Algorithm) -> String {
        // RFC 7616, section 3.9.1.
        let inputs = Inputs {
            algorithm,
            session: false,
            realm: b"http-auth@example.org",
            nonce: b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            cnonce: Some("f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"),
            method: "GET",
            uri: "/dir/index.html",
        };
        response(&inputs, b"Mufasa", b"Circle of Life")
    }

    #[test]
    fn the_examples_of_rfc_7616() {
        assert_eq!(example(Algorithm::Md5), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(example(Algorithm::Sha256), "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
    }

    #[test]
    fn the_example_of_rfc_2069_without_a_quality_of_protection() {
        // Section 2.4, with the value of the RFC's errata 749: what the RFC itself prints is wrong.
        let inputs = Inputs {
            algorithm: Algorithm::Md5,
            session: false,
            realm: b"testrealm@host.com",
            nonce: b"dcd98b7102dd2f0e8b11d0f600bfb0c093",
            cnonce: None,
            method: "GET",
            uri: "/dir/index.html",
        };
        assert_eq!(response(&inputs, b"Mufasa", b"CircleOfLife"), "1949323746fe6a43ef61f9606e7febea");
    }

    #[test]
    fn a_session_binds_both_nonces_into_a1() {
        // RFC 7616, section 3.4.2: A1 = H(user ":" realm ":" password) ":" nonce ":" cnonce; H gives hexadecimal digits.
        let sha256 = |text: String| hex(&Sha256::digest(text));
        let a1 = sha256("Mufasa:r:Circle of Life".into()) + ":n:c";
        let expected = sha256(format!("{}:n:00000001:c:auth:{}", sha256(a1), sha256("CONNECT:mx.example:25".into())));
        let algorithm = Algorithm::Sha256;
        let (realm, nonce, cnonce, method, uri) = (&b"r"[..], &b"n"[..], Some("c"), "CONNECT", "mx.example:25");
        let inputs = |session| Inputs { algorithm, session, realm, nonce, cnonce, method, uri };
        assert_eq!(response(&inputs(true), b"Mufasa", b"Circle of Life"), expected);
        assert_ne!(response(&inputs(false), b"Mufasa", b"Circle of Life"), expected);
    }
}
