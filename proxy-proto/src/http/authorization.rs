//! Who the caller is to an HTTP proxy: `Proxy-Authorization` (RFC 9110, section 11.7; RFC 7617, 6750, 7616).
//!
//! The rules of this file: which challenge is answered is decided here, and what the answer is; it knows nothing of
//! connections and retries. Header values are made when they are sent, and wiped.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::challenge::{self, Offer};
use crate::{Credentials, Misuse, Secret};

/// How to present oneself to an HTTP proxy.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Authorization {
    /// Not at all.
    #[default]
    None,
    /// Basic (RFC 7617), with the first request. If the proxy wants Digest instead, that is answered.
    Basic(Credentials),
    /// A bearer token (RFC 6750), with the first request.
    Bearer(Secret),
    /// Digest (RFC 7616) and nothing else, once the proxy has sent its challenge. A challenge without `qop`, which RFC 7616
    /// does not know any more, is answered with MD5 as RFC 2617 section 3.2.2.1 has it, and only where there is no better one.
    Digest(Credentials),
    /// Once the proxy has said what it wants, the strongest of it: Digest with SHA-256, Digest with MD5, the same without
    /// `qop`, Basic. The password never goes out in clear to a proxy that knows better.
    Challenged(Credentials),
}

impl Authorization {
    /// Checks what cannot be sent. `digest` says whether Digest can be spoken.
    pub(super) fn check(&self, digest: bool) -> Result<(), Misuse> {
        match self {
            Self::None => Ok(()),
            Self::Bearer(token) if token.expose().is_empty() => Err(Misuse::Empty { what: "token" }),
            Self::Bearer(token) => {
                // token68 (RFC 6750, section 2.1) and whatever else is visible: tokens in the field are not always.
                match token.expose().iter().find(|octet| !octet.is_ascii_graphic()) {
                    Some(&octet) => Err(Misuse::Octet { what: "token", octet }),
                    None => Ok(()),
                }
            }
            Self::Digest(_) if !digest => Err(Misuse::NoDigest),
            Self::Digest(credentials) => check_user(credentials),
            Self::Basic(credentials) | Self::Challenged(credentials) => {
                check_user(credentials)?;
                if credentials.user.contains(':') {
                    // RFC 7617, section 2: the first colon ends the user.
                    return Err(Misuse::Octet { what: "user", octet: b':' });
                }
                Ok(())
            }
        }
    }

    pub(super) fn credentials(&self) -> Option<&Credentials> {
        match self {
            Self::Basic(credentials) | Self::Digest(credentials) | Self::Challenged(credentials) => Some(credentials),
            Self::None | Self::Bearer(_) => None,
        }
    }

    /// Whether a text repeats the secret, as it is or as Basic sends it.
    pub(super) fn is_repeated_in(&self, text: &str) -> bool {
        let holds =
            |secret: &[u8]| !secret.is_empty() && text.as_bytes().windows(secret.len()).any(|part| part == secret);
        match self {
            Self::None => false,
            Self::Bearer(token) => holds(token.expose()),
            Self::Basic(shown) | Self::Digest(shown) | Self::Challenged(shown) => {
                let sent = basic(shown);
                let sent = sent.strip_prefix(b"Basic ").unwrap_or(&sent);
                // The padding is no part of a name, and says nothing.
                let padding = sent.iter().rev().take_while(|octet| **octet == b'=').count();
                holds(shown.password.expose()) || holds(&sent[..sent.len() - padding])
            }
        }
    }

    /// The value to send before any challenge, if there is one.
    pub(super) fn at_once(&self) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Basic(credentials) => Some(basic(credentials)),
            Self::Bearer(token) => Some(Zeroizing::new([b"Bearer ", token.expose()].concat())),
            Self::None | Self::Digest(_) | Self::Challenged(_) => None,
        }
    }

    /// The strongest challenge that can be answered, `basic` and `digest` permitting.
    pub(super) fn choose(&self, offers: &[Offer], basic: bool, digest: bool) -> Option<Answer> {
        self.credentials()?;
        let digests = |wanted, qop| {
            let readable = offers.iter().filter(|_| digest).filter_map(DigestChallenge::read);
            readable.filter(|offer| (offer.algorithm, offer.qop) == (wanted, qop)).map(Answer::Digest).next()
        };
        let basics = || {
            let known = offers.iter().any(|offer| offer.scheme.eq_ignore_ascii_case("basic"));
            (known && basic && !matches!(self, Self::Digest(_))).then_some(Answer::Basic)
        };
        let best = digests(Algorithm::Sha256, true).or_else(|| digests(Algorithm::Md5, true));
        best.or_else(|| digests(Algorithm::Md5, false)).or_else(basics)
    }
}

fn check_user(credentials: &Credentials) -> Result<(), Misuse> {
    credentials.check()?;
    // Neither scheme allows controls in the user (RFC 7617, section 2; RFC 9110, section 5.6.4).
    match credentials.user.bytes().find(u8::is_ascii_control) {
        Some(octet) => Err(Misuse::Octet { what: "user", octet }),
        None => Ok(()),
    }
}

/// A proxy's challenge, to be answered with the next request, here or on a new connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Challenge {
    pub(super) answer: Answer,
    /// How many challenges were answered, this one included: so that no proxy can keep a client dialling.
    pub(super) round: u8,
}

impl Challenge {
    /// The scheme: `"Basic"` or `"Digest"`.
    pub fn scheme(&self) -> &'static str {
        match self.answer {
            Answer::Basic => "Basic",
            Answer::Digest(_) => "Digest",
        }
    }

    /// The value of `Proxy-Authorization` that answers it.
    pub(super) fn value(&self, credentials: &Credentials, uri: &str, cnonce: &[u8]) -> Zeroizing<Vec<u8>> {
        match &self.answer {
            Answer::Basic => basic(credentials),
            Answer::Digest(challenge) => challenge.value(credentials, uri, cnonce),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    Basic,
    Digest(DigestChallenge),
}

/// The hash functions of Digest that are known here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Algorithm {
    Md5,
    Sha256,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct DigestChallenge {
    pub(super) algorithm: Algorithm,
    session: bool,
    /// Whether it offers "auth"; else it names no quality of protection at all, as before RFC 2617.
    qop: bool,
    /// As the proxy wrote it: it is sent back so.
    algorithm_name: Option<String>,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    opaque: Option<Vec<u8>>,
    pub(super) stale: bool,
}

impl DigestChallenge {
    /// A challenge that can be answered; another algorithm, or one without "auth" in its qop, cannot. Without a qop it can where
    /// the algorithm is MD5: RFC 2617 knows no other, and its "MD5-sess" needs the client's nonce, which is not sent then.
    fn read(offer: &Offer) -> Option<Self> {
        if !offer.scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let text = |name| offer.parameter(name).and_then(|value| core::str::from_utf8(value).ok());
        let name = text("algorithm");
        let (algorithm, session) = match name.unwrap_or("MD5").to_ascii_lowercase().as_str() {
            "md5" => (Algorithm::Md5, false),
            "md5-sess" => (Algorithm::Md5, true),
            "sha-256" => (Algorithm::Sha256, false),
            "sha-256-sess" => (Algorithm::Sha256, true),
            _ => return None,
        };
        let qop = offer.parameter("qop").is_some();
        if qop {
            text("qop")?.split(',').find(|qop| qop.trim().eq_ignore_ascii_case("auth"))?;
        } else if algorithm != Algorithm::Md5 || session {
            return None;
        }
        Some(Self {
            algorithm,
            session,
            qop,
            algorithm_name: name.map(ToOwned::to_owned),
            realm: offer.parameter("realm")?.to_vec(),
            nonce: offer.parameter("nonce")?.to_vec(),
            opaque: offer.parameter("opaque").map(<[u8]>::to_vec),
            stale: text("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }

    #[cfg(feature = "digest")]
    fn value(&self, credentials: &Credentials, uri: &str, cnonce: &[u8]) -> Zeroizing<Vec<u8>> {
        use super::digest::{Inputs, hex, response};
        let cnonce = hex(cnonce);
        let inputs = Inputs {
            algorithm: self.algorithm,
            session: self.session,
            realm: &self.realm,
            nonce: &self.nonce,
            cnonce: self.qop.then_some(&*cnonce),
            method: "CONNECT",
            uri,
        };
        let response = response(&inputs, credentials.user.as_bytes(), credentials.password.expose());
        let mut value = b"Digest ".to_vec();
        let mut first = true;
        let mut add = |name: &str, content: &[u8], in_quotes: bool| {
            if !core::mem::take(&mut first) {
                value.extend(b", ");
            }
            value.extend(name.bytes());
            value.push(b'=');
            if in_quotes {
                quote(&mut value, content);
            } else {
                value.extend_from_slice(content);
            }
        };
        add("username", credentials.user.as_bytes(), true);
        add("realm", &self.realm, true);
        add("uri", uri.as_bytes(), true);
        if let Some(name) = &self.algorithm_name {
            add("algorithm", name.as_bytes(), false);
        }
        add("nonce", &self.nonce, true);
        // RFC 2617, section 3.2.2: these must not be sent to a proxy that named no qop.
        if self.qop {
            add("nc", b"00000001", false);
            add("cnonce", cnonce.as_bytes(), true);
            add("qop", b"auth", false);
        }
        add("response", response.as_bytes(), true);
        if let Some(opaque) = &self.opaque {
            add("opaque", opaque, true);
        }
        Zeroizing::new(value)
    }

    /// Never reached: without the feature no Digest challenge is chosen.
    #[cfg(not(feature = "digest"))]
    fn value(&self, _credentials: &Credentials, _uri: &str, _cnonce: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::default()
    }
}

/// A quoted string (RFC 9110, section 5.6.4).
#[cfg(feature = "digest")]
fn quote(value: &mut Vec<u8>, content: &[u8]) {
    value.push(b'"');
    for &octet in content {
        if matches!(octet, b'"' | b'\\') {
            value.push(b'\\');
        }
        value.push(octet);
    }
    value.push(b'"');
}

fn basic(Credentials { user, password }: &Credentials) -> Zeroizing<Vec<u8>> {
    let plain = Zeroizing::new([user.as_bytes(), b":", password.expose()].concat());
    let encoded = Zeroizing::new(STANDARD.encode(&*plain));
    Zeroizing::new([b"Basic ", encoded.as_bytes()].concat())
}

/// The credentials in the value of `Proxy-Authorization`, if it is Basic.
pub(super) fn read_basic(value: &[u8]) -> Option<Credentials> {
    let (scheme, encoded) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let plain = Zeroizing::new(STANDARD.decode(encoded.trim_ascii()).ok()?);
    let colon = plain.iter().position(|&octet| octet == b':')?;
    let (user, password) = plain.split_at_checked(colon)?;
    Some(Credentials::new(core::str::from_utf8(user).ok()?, Secret::new(password.get(1..)?)))
}

/// The challenges of all `Proxy-Authenticate` fields, in order.
pub(super) fn offers<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<Offer> {
    values.flat_map(challenge::read).collect()
}

/// The names of the schemes, for people; not those in which the proxy repeats what it was told in confidence.
pub(super) fn names(offers: &[Offer], shown: &Authorization) -> String {
    let algorithm = |offer: &Offer| {
        offer.parameter("algorithm").map(String::from_utf8_lossy).is_some_and(|name| shown.is_repeated_in(&name))
    };
    let presentable = offers.iter().filter(|offer| !shown.is_repeated_in(&offer.scheme) && !algorithm(offer));
    let mut text = String::new();
    // A proxy that offers more is not offering help.
    for offer in presentable.take(8) {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.extend(offer.scheme.chars().take(32));
        if let Some(Ok(algorithm)) = offer.parameter("algorithm").map(core::str::from_utf8) {
            text.push(' ');
            text.extend(algorithm.chars().take(32));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aladdin() -> Credentials {
        // RFC 7617, section 2.
        Credentials::new("Aladdin", "open sesame")
    }

    #[test]
    fn the_example_of_rfc_7617_both_ways() {
        let value = Authorization::Basic(aladdin()).at_once().map(|value| value.to_vec());
        assert_eq!(value.as_deref(), Some(&b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="[..]));
        assert_eq!(read_basic(b"basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), Some(aladdin()));
        // Section 2.1: "test" and "123" with a pound sign, in UTF-8.
        let value = Authorization::Basic(Credentials::new("test", "123\u{a3}")).at_once().map(|value| value.to_vec());
        assert_eq!(value.as_deref(), Some(&b"Basic dGVzdDoxMjPCow=="[..]));
        for bad in [&b"Basic"[..], b"Bearer x", b"Basic !", b"Basic QQ=="] {
            assert_eq!(read_basic(bad), None);
        }
    }

    #[test]
    fn a_bearer_token_goes_as_it_is() {
        let bearer = Authorization::Bearer(Secret::from("mF_9.B5f-4.1JqM"));
        assert_eq!(bearer.at_once().map(|v| v.to_vec()).as_deref(), Some(&b"Bearer mF_9.B5f-4.1JqM"[..]));
        let check = |token: &str| Authorization::Bearer(Secret::from(token)).check(false);
        assert_eq!(check("a b"), Err(Misuse::Octet { what: "token", octet: b' ' }));
        assert_eq!(check(""), Err(Misuse::Empty { what: "token" }));
    }

    #[test]
    fn the_strongest_challenge_is_chosen() {
        let offered = |value: &[u8], authorization: &Authorization| match authorization.choose(
            &offers(core::iter::once(value)),
            true,
            true,
        )? {
            Answer::Basic => Some("Basic"),
            Answer::Digest(DigestChallenge { algorithm: Algorithm::Md5, .. }) => Some("MD5"),
            Answer::Digest(_) => Some("SHA-256"),
        };
        let any = Authorization::Challenged(aladdin());
        let all = b"Basic realm=x, Digest realm=x, nonce=n, qop=\"auth\", Digest realm=x, nonce=n, \
            qop=\"auth-int, auth\", algorithm=SHA-256";
        assert_eq!(offered(all, &any), Some("SHA-256"));
        assert_eq!(offered(b"Basic realm=x, Digest realm=x, nonce=n, qop=auth", &any), Some("MD5"));
        assert_eq!(
            offered(b"Digest realm=x, nonce=n, qop=auth, algorithm=SHA-512-256, Basic realm=x", &any),
            Some("Basic")
        );
        assert_eq!(offered(b"Digest realm=x, nonce=n, qop=auth-int", &any), None);
        assert_eq!(offered(b"Digest realm=x, qop=auth", &any), None, "no nonce");
        // Without qop: MD5 alone, and rather than the password in clear.
        assert_eq!(offered(b"Basic realm=x, Digest realm=x, nonce=n", &any), Some("MD5"));
        assert_eq!(offered(b"Digest realm=x, nonce=n, algorithm=MD5-sess", &any), None);
        assert_eq!(offered(b"Digest realm=x, nonce=n, algorithm=SHA-256", &any), None);
        assert_eq!(offered(b"Digest realm=x, nonce=n, qop=\"\"", &any), None);
        let both = offers(core::iter::once(&b"Digest realm=old, nonce=n, Digest realm=new, nonce=n, qop=auth"[..]));
        match any.choose(&both, true, true) {
            Some(Answer::Digest(chosen)) => assert_eq!((&*chosen.realm, chosen.qop), (&b"new"[..], true)),
            other => panic!("{other:?}"),
        }
        assert_eq!(offered(b"Basic realm=x", &Authorization::Digest(aladdin())), None);
        assert_eq!(offered(b"Basic realm=x", &Authorization::None), None);
        let names = names(&offers(core::iter::once(&all[..])), &Authorization::None);
        assert_eq!(names, "Basic, Digest, Digest SHA-256");
    }

    #[test]
    fn users_that_end_their_field_early_are_refused() {
        let colon = Credentials::new("a:b", "c");
        assert_eq!(Authorization::Basic(colon.clone()).check(true), Err(Misuse::Octet { what: "user", octet: b':' }));
        assert_eq!(Authorization::Digest(colon.clone()).check(true), Ok(()));
        assert_eq!(Authorization::Digest(colon).check(false), Err(Misuse::NoDigest));
        let lines = Credentials::new("a", "b\r\n");
        assert!(Authorization::Challenged(lines).check(true).is_err());
        // Controls that end no field, and have no place in a quoted string either.
        for octet in [0x01, b'\t', 0x7f] {
            let user = Credentials::new(alloc::format!("a{}", char::from(octet)), "c");
            for authorization in [Authorization::Basic(user.clone()), Authorization::Digest(user)] {
                assert_eq!(authorization.check(true), Err(Misuse::Octet { what: "user", octet }));
            }
        }
    }

    #[cfg(feature = "digest")]
    #[test]
    fn quotes_are_escaped() {
        let mut value = Vec::new();
        quote(&mut value, br#"a"b\c"#);
        assert_eq!(value, br#""a\"b\\c""#);
    }
}
