//! DIGEST-MD5 (RFC 2831, historic by RFC 6331), with quality of protection `auth` only: TLS does the rest better.
//!
//! The rules of this file: strings are octets in the character set that the server chose; every directive that matters comes
//! once; the exchange ends well only after `rspauth` was verified, since that proves the server.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use md5::{Digest, Md5};
use proxy_proto::Secret;

use super::exchange::{Answer, Exchange, Steps};
use super::{Error, MechanismName, Misuse};

pub(super) struct DigestMd5 {
    user: String,
    password: Secret,
    authzid: Option<String>,
    /// The realm to pick, where several are offered.
    wanted: Option<String>,
    /// Service and host: `smtp/mail.example`.
    uri: String,
    cnonce: String,
    state: State,
}

enum State {
    First,
    Final { rspauth: Secret },
    Verified,
}

/// `service` is the name of the protocol as registered for GSSAPI, `smtp` say.
pub(super) fn start(
    user: &str,
    password: &Secret,
    authzid: Option<&str>,
    realm: Option<&str>,
    service: &str,
    host: &str,
    cnonce: String,
) -> Result<Exchange<DigestMd5>, Misuse> {
    if user.is_empty() {
        return Err(Misuse::Empty("user name"));
    }
    if host.is_empty() {
        return Err(Misuse::Empty("host"));
    }
    for (field, text) in [("user name", user), ("host", host), ("authorization identity", authzid.unwrap_or_default())]
    {
        if text.chars().any(char::is_control) {
            return Err(Misuse::Prohibited(field));
        }
    }
    Ok(Exchange::server_first(DigestMd5 {
        user: user.into(),
        password: password.clone(),
        authzid: authzid.map(String::from),
        wanted: realm.map(String::from),
        uri: alloc::format!("{service}/{host}"),
        cnonce,
        state: State::First,
    }))
}

/// The directives of a message: names in lower case, values without their quotes.
pub(super) fn directives(mut rest: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut found = Vec::new();
    loop {
        // A list may have empty elements, and white space anywhere between (RFC 2831 section 7.1).
        while let [b',' | b' ' | b'\t' | b'\r' | b'\n', tail @ ..] = rest {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(found);
        }
        let equals = rest.iter().position(|&octet| octet == b'=').ok_or(Error::Syntax("directive"))?;
        let name = rest[..equals].trim_ascii();
        if name.is_empty() || !name.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-') {
            return Err(Error::Syntax("directive"));
        }
        let name = name.iter().map(|octet| char::from(octet.to_ascii_lowercase())).collect();
        let (value, tail) = value(rest[equals + 1..].trim_ascii_start())?;
        rest = tail.trim_ascii_start();
        if !matches!(rest.first(), None | Some(b',')) {
            return Err(Error::Syntax("directive"));
        }
        found.push((name, value));
    }
}

/// A quoted string or a token, and what is behind it.
fn value(text: &[u8]) -> Result<(Vec<u8>, &[u8]), Error> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|octet| matches!(octet, b',' | b' ' | b'\t' | b'\r' | b'\n'));
        let (token, tail) = text.split_at(end.unwrap_or(text.len()));
        return Ok((token.into(), tail));
    };
    let (mut plain, mut octets) = (Vec::new(), quoted.iter());
    while let Some(&octet) = octets.next() {
        match octet {
            b'"' => return Ok((plain, octets.as_slice())),
            b'\\' => plain.push(*octets.next().ok_or(Error::Syntax("quoted string"))?),
            octet => plain.push(octet),
        }
    }
    Err(Error::Syntax("quoted string"))
}

/// The value of a directive that may come once.
pub(super) fn once<'a>(all: &'a [(String, Vec<u8>)], name: &'static str) -> Result<Option<&'a [u8]>, Error> {
    let mut values = all.iter().filter(|directive| directive.0 == name).map(|directive| &*directive.1);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Error::Repeated(name)),
        (value, None) => Ok(value),
    }
}

/// Text as ISO 8859-1, where it has no other characters.
fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

/// What goes into the digest: ISO 8859-1 where that can say it, else the octets (RFC 2831 section 2.1.2.1).
pub(super) fn hashed(octets: &[u8]) -> Secret {
    Secret::new(core::str::from_utf8(octets).ok().and_then(latin1).unwrap_or_else(|| octets.into()))
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut digest = Md5::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().into()
}

fn hex(octets: [u8; 16]) -> String {
    let mut text = String::with_capacity(32);
    for octet in octets {
        let _ = write!(text, "{octet:02x}"); // a String takes everything
    }
    text
}

pub(super) fn push_quoted(message: &mut Vec<u8>, name: &str, value: &[u8]) {
    message.extend_from_slice(name.as_bytes());
    message.extend_from_slice(b"=\"");
    for &octet in value {
        if matches!(octet, b'"' | b'\\') {
            message.push(b'\\');
        }
        message.push(octet);
    }
    message.extend_from_slice(b"\",");
}

/// The only request that is made of a nonce.
pub(super) const NC: &str = "00000001";

/// `A1` of RFC 2831 section 2.1.2.1; names and password as [`hashed`] has them.
pub(super) fn a1(names: [&Secret; 2], password: &Secret, nonce: &[u8], cnonce: &[u8], authzid: Option<&str>) -> Secret {
    let [user, realm] = names.map(Secret::expose);
    let key = Secret::new(md5(&[user, b":", realm, b":", password.expose()]));
    let mut a1 = [key.expose(), b":", nonce, b":", cnonce].concat();
    if let Some(authzid) = authzid {
        a1.push(b':');
        a1.extend_from_slice(authzid.as_bytes());
    }
    Secret::new(a1)
}

/// `response-value` of the same section, or with an empty method `rspauth` of section 2.1.3.
pub(super) fn response_value(a1: &Secret, nonce: &[u8], cnonce: &[u8], uri: &[u8], method: &str) -> String {
    let a2 = hex(md5(&[method.as_bytes(), b":", uri]));
    let a1 = Secret::from(hex(md5(&[a1.expose()])));
    hex(md5(&[a1.expose(), b":", nonce, b":", NC.as_bytes(), b":", cnonce, b":auth:", a2.as_bytes()]))
}

impl DigestMd5 {
    fn realm(&self, all: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut offered = all.iter().filter(|directive| directive.0 == "realm").map(|directive| &directive.1);
        let wanted = self.wanted.as_ref().map(|realm| realm.as_bytes());
        let named = offered.clone().find(|realm| wanted == Some(realm));
        // Without an offer the client may name one, and the empty one is the default (RFC 2831 section 2.1.2).
        named.or(offered.next()).cloned().unwrap_or_else(|| wanted.unwrap_or_default().into())
    }

    fn respond(&self, challenge: &[u8]) -> Result<(Vec<u8>, Secret), Error> {
        let all = directives(challenge)?;
        let nonce = once(&all, "nonce")?.filter(|nonce| !nonce.is_empty()).ok_or(Error::Syntax("no nonce"))?;
        let algorithm = once(&all, "algorithm")?.ok_or(Error::Syntax("no algorithm"))?;
        if !algorithm.eq_ignore_ascii_case(b"md5-sess") {
            return Err(Error::NotSupported("an algorithm other than md5-sess"));
        }
        let utf8 = match once(&all, "charset")? {
            Some(charset) if charset.eq_ignore_ascii_case(b"utf-8") => true,
            Some(_) => return Err(Error::Syntax("charset")),
            None => false,
        };
        let qop = once(&all, "qop")?.unwrap_or(b"auth");
        if !qop.split(|&octet| octet == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(b"auth")) {
            return Err(Error::NotSupported("a security layer"));
        }
        let realm = self.realm(&all);
        let user = if utf8 {
            self.user.clone().into_bytes()
        } else {
            latin1(&self.user).ok_or(Error::NotSupported("names in ISO 8859-1"))?
        };

        let hashed_realm = if utf8 { hashed(&realm) } else { Secret::new(&*realm) };
        let hashed_user = hashed(self.user.as_bytes());
        let password = hashed(self.password.expose());
        let cnonce = self.cnonce.as_bytes();
        let a1 = a1([&hashed_user, &hashed_realm], &password, nonce, cnonce, self.authzid.as_deref());
        let value = |method| response_value(&a1, nonce, cnonce, self.uri.as_bytes(), method);
        let (response, rspauth) = (value("AUTHENTICATE"), Secret::from(value("")));

        let mut message = Vec::from(if utf8 { &b"charset=utf-8,"[..] } else { b"" });
        push_quoted(&mut message, "username", &user);
        push_quoted(&mut message, "realm", &realm);
        push_quoted(&mut message, "nonce", nonce);
        message.extend_from_slice(alloc::format!("nc={NC},").as_bytes());
        push_quoted(&mut message, "cnonce", cnonce);
        push_quoted(&mut message, "digest-uri", self.uri.as_bytes());
        if let Some(authzid) = &self.authzid {
            push_quoted(&mut message, "authzid", authzid.as_bytes());
        }
        message.extend_from_slice(alloc::format!("response={response},qop=auth").as_bytes());
        Ok((message, rspauth))
    }
}

impl Steps for DigestMd5 {
    fn name(&self) -> &MechanismName {
        &MechanismName::DigestMd5
    }

    fn challenge(&mut self, challenge: &[u8]) -> Result<Answer, Error> {
        match &self.state {
            State::First => {
                let (response, rspauth) = self.respond(challenge)?;
                self.state = State::Final { rspauth };
                Ok(Secret::new(response).into())
            }
            State::Final { rspauth } => {
                let all = directives(challenge)?;
                let given = once(&all, "rspauth")?.ok_or(Error::Syntax("no rspauth"))?;
                // Secret compares in constant time.
                if Secret::new(given.to_ascii_lowercase()) != *rspauth {
                    return Err(Error::ServerNotAuthentic);
                }
                self.state = State::Verified;
                Ok(Secret::from("").into())
            }
            State::Verified => Err(Error::OutOfOrder),
        }
    }

    fn finish(&self) -> Result<(), Error> {
        match self.state {
            State::Verified => Ok(()),
            State::First => Err(Error::OutOfOrder),
            State::Final { .. } => Err(Error::ServerUnproven),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_proto::{Instant, Machine};

    const NOW: Instant = Instant::EPOCH;
    const HOST: &str = "elwood.innosoft.com";

    fn chris(service: &str, cnonce: &str) -> Exchange<DigestMd5> {
        start("chris", &"secret".into(), None, None, service, HOST, cnonce.into()).unwrap()
    }

    fn said(machine: &mut impl Machine) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(machine.transmit(NOW, &mut out));
        out
    }

    /// Up to the response of RFC 2831's first example.
    fn proved() -> Exchange<DigestMd5> {
        let mut digest = chris("imap", "OA6MHXh6VqTrRk");
        let challenge =
            "realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\",qop=\"auth\",algorithm=md5-sess,charset=utf-8";
        assert_eq!(digest.receive(NOW, &mut challenge.as_bytes()), Ok(None));
        assert_eq!(
            said(&mut digest),
            b"charset=utf-8,username=\"chris\",realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\",nc=00000001,\
              cnonce=\"OA6MHXh6VqTrRk\",digest-uri=\"imap/elwood.innosoft.com\",\
              response=d388dad90d4bbd760a152321f2143af7,qop=auth"
        );
        digest
    }

    #[test]
    fn the_imap_example_of_rfc_2831_section_4() {
        let mut digest = proved();
        assert_eq!(digest.receive(NOW, &mut &b"rspauth=ea40f60335c427b5527b84dbabcdfffd"[..]), Ok(None));
        assert_eq!(said(&mut digest), b"");
        assert_eq!(digest.finish(), Ok(()));
    }

    #[test]
    fn the_acap_example_of_rfc_2831_section_4() {
        let mut digest = chris("acap", "OA9BSuZWMSpW8m");
        let challenge =
            "realm=\"elwood.innosoft.com\",nonce=\"OA9BSXrbuRhWay\",qop=\"auth\",algorithm=md5-sess,charset=utf-8";
        assert_eq!(digest.receive(NOW, &mut challenge.as_bytes()), Ok(None));
        let response = String::from_utf8(said(&mut digest)).unwrap();
        assert!(response.contains(",response=6084c6db3fede7352c551284490fd0fc,"), "{response}");
        assert_eq!(digest.receive(NOW, &mut &b"rspauth=2f0b3d7c3c2e486600ef710726aa2eae"[..]), Ok(None));
        assert!(said(&mut digest).is_empty());
        assert_eq!(digest.finish(), Ok(()));
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let forged = "rspauth=00000000000000000000000000000000";
        assert_eq!(proved().receive(NOW, &mut forged.as_bytes()), Err(Error::ServerNotAuthentic));
        assert_eq!(proved().receive(NOW, &mut &b""[..]), Err(Error::Syntax("no rspauth")));
        assert_eq!(proved().finish(), Err(Error::ServerUnproven));
    }

    #[test]
    fn hostile_challenges_get_no_response() {
        for (bad, error) in [
            ("", Error::Syntax("no nonce")),
            ("nonce=\"\",algorithm=md5-sess", Error::Syntax("no nonce")),
            ("nonce=\"a\"", Error::Syntax("no algorithm")),
            ("nonce=\"a\",algorithm=md5", Error::NotSupported("an algorithm other than md5-sess")),
            ("nonce=\"a\",nonce=\"b\",algorithm=md5-sess", Error::Repeated("nonce")),
            ("nonce=\"a\",algorithm=md5-sess,algorithm=md5-sess", Error::Repeated("algorithm")),
            ("nonce=\"a\",algorithm=md5-sess,charset=latin1", Error::Syntax("charset")),
            ("nonce=\"a\",algorithm=md5-sess,qop=\"auth-int, auth-conf\"", Error::NotSupported("a security layer")),
            ("nonce=\"a", Error::Syntax("quoted string")),
            ("nonce=\"a\\", Error::Syntax("quoted string")),
            ("nonce=\"a\"b", Error::Syntax("directive")),
            ("nonce", Error::Syntax("directive")),
            ("=a", Error::Syntax("directive")),
        ] {
            let mut digest = chris("smtp", "c");
            assert_eq!(digest.receive(NOW, &mut bad.as_bytes()), Err(error.clone()), "{bad}");
            assert!(!digest.transmit(NOW, &mut Vec::new()));
            assert_eq!(digest.receive(NOW, &mut &b""[..]), Err(error));
        }
    }

    #[test]
    fn lists_are_read_with_their_white_space_and_empty_elements() {
        let found = directives(b" , realm = \"a\\\"b\" ,\r\n\t,NONCE=x ,qop=\"auth,auth-int\"").unwrap();
        let expected: [(&str, &[u8]); 3] = [("realm", b"a\"b"), ("nonce", b"x"), ("qop", b"auth,auth-int")];
        assert_eq!(found.len(), 3);
        for ((name, value), (want, wanted)) in found.iter().zip(expected) {
            assert_eq!((&**name, &**value), (want, wanted));
        }
    }

    #[test]
    fn the_realm_is_the_wanted_one_else_the_first_else_empty() {
        let pick = |wanted: Option<&str>, challenge: &str| {
            let mut digest = start("u", &"p".into(), None, wanted, "smtp", HOST, "c".into()).unwrap();
            assert_eq!(digest.receive(NOW, &mut challenge.as_bytes()), Ok(None));
            let said = String::from_utf8(said(&mut digest)).unwrap();
            let realm = said.split("realm=\"").nth(1).unwrap();
            String::from(realm.split('"').next().unwrap())
        };
        let several = "realm=\"a\",realm=\"b\",nonce=\"n\",algorithm=md5-sess";
        assert_eq!(pick(None, several), "a");
        assert_eq!(pick(Some("b"), several), "b");
        assert_eq!(pick(Some("z"), several), "a");
        assert_eq!(pick(None, "nonce=\"n\",algorithm=md5-sess"), "");
        assert_eq!(pick(Some("z"), "nonce=\"n\",algorithm=md5-sess"), "z");
    }

    #[test]
    fn without_utf_8_names_go_as_iso_8859_1_or_not_at_all() {
        let mut digest = start("é\"", &"p".into(), Some("o"), None, "smtp", HOST, "c".into()).unwrap();
        assert_eq!(digest.receive(NOW, &mut &b"nonce=\"n\",algorithm=md5-sess"[..]), Ok(None));
        let message = said(&mut digest);
        assert!(message.starts_with(b"username=\"\xe9\\\"\","), "{message:?}");
        assert!(message.windows(12).any(|part| part == b"authzid=\"o\","));
        let mut digest = start("\u{4e2d}", &"p".into(), None, None, "smtp", HOST, "c".into()).unwrap();
        let error = Err(Error::NotSupported("names in ISO 8859-1"));
        assert_eq!(digest.receive(NOW, &mut &b"nonce=\"n\",algorithm=md5-sess"[..]), error);
    }

    #[test]
    fn what_cannot_be_said_is_the_callers_slip() {
        let slip = |user, host| start(user, &"p".into(), None, None, "smtp", host, "c".into()).err();
        assert_eq!(slip("", HOST), Some(Misuse::Empty("user name")));
        assert_eq!(slip("a\n", HOST), Some(Misuse::Prohibited("user name")));
        assert_eq!(slip("a", ""), Some(Misuse::Empty("host")));
    }

    #[test]
    fn success_before_the_proof_and_a_message_behind_it_are_out_of_order() {
        assert_eq!(chris("smtp", "c").finish(), Err(Error::OutOfOrder));
        let mut digest = proved();
        assert_eq!(digest.receive(NOW, &mut &b"rspauth=ea40f60335c427b5527b84dbabcdfffd"[..]), Ok(None));
        said(&mut digest);
        assert_eq!(digest.receive(NOW, &mut &b"rspauth=ea40f60335c427b5527b84dbabcdfffd"[..]), Err(Error::OutOfOrder));
        assert_eq!(digest.finish(), Err(Error::OutOfOrder), "sticky");
    }
}
