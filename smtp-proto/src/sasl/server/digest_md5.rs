//! DIGEST-MD5, the server side (RFC 2831, historic by RFC 6331): for clients that know nothing better.
//!
//! The rules of this file: one realm, the server's name; quality of protection `auth` only; each exchange has a nonce of its own,
//! so nothing is resumed; it answers a proof with a proof, and believes the client once that was acknowledged.

use alloc::string::String;
use alloc::vec::Vec;

use proxy_proto::Secret;

use super::super::digest_md5::{NC, a1, directives, hashed, once, push_quoted, response_value};
use super::exchange::{Exchange, Next, Steps};
use super::{Answer, Error, Event, MechanismName, Misuse};

pub(super) struct DigestMd5 {
    service: &'static str,
    realm: String,
    nonce: String,
    user: String,
    authzid: Option<String>,
    state: State,
}

enum State {
    First,
    Lookup(Proof),
    /// The client has to take note of our proof.
    Proved,
}

/// What the client has sent, until the password is known.
struct Proof {
    cnonce: Vec<u8>,
    uri: Vec<u8>,
    response: Secret,
}

/// `realm` is the name of this server; `service` that of the protocol as registered for GSSAPI.
pub(super) fn start(realm: &str, service: &'static str, nonce: String) -> Result<Exchange<DigestMd5>, Misuse> {
    if realm.is_empty() {
        return Err(Misuse::Empty("host"));
    }
    // So it is the same octets in every character set.
    if realm.bytes().any(|octet| !octet.is_ascii_graphic()) {
        return Err(Misuse::Prohibited("host"));
    }
    let mut challenge = Vec::new();
    push_quoted(&mut challenge, "realm", realm.as_bytes());
    push_quoted(&mut challenge, "nonce", nonce.as_bytes());
    challenge.extend_from_slice(b"qop=\"auth\",algorithm=md5-sess,charset=utf-8");
    let (user, authzid, state) = (String::new(), None, State::First);
    Ok(Exchange::server_first(DigestMd5 { service, realm: realm.into(), nonce, user, authzid, state }, challenge))
}

impl DigestMd5 {
    fn read(&mut self, response: &[u8]) -> Result<Proof, Error> {
        let all = directives(response)?;
        let needed = |name| once(&all, name)?.ok_or(Error::Syntax(name));
        let utf8 = match once(&all, "charset")? {
            Some(charset) if charset.eq_ignore_ascii_case(b"utf-8") => true,
            Some(_) => return Err(Error::Syntax("charset")),
            None => false,
        };
        let user = needed("username")?;
        self.user = match utf8 {
            true => String::from_utf8(user.to_vec()).map_err(|_| Error::Syntax("not UTF-8"))?,
            // ISO 8859-1 are the first code points of Unicode.
            false => user.iter().copied().map(char::from).collect(),
        };
        let authzid = once(&all, "authzid")?.map(|id| String::from_utf8(id.to_vec())).transpose();
        self.authzid = authzid.map_err(|_| Error::Syntax("not UTF-8"))?.filter(|id| !id.is_empty());
        if [&*self.user, self.authzid.as_deref().unwrap_or("-")]
            .iter()
            .any(|name| name.is_empty() || name.contains('\0'))
        {
            return Err(Error::Syntax("user name"));
        }
        if once(&all, "realm")?.unwrap_or_default() != self.realm.as_bytes() {
            return Err(Error::Syntax("realm"));
        }
        if needed("nonce")? != self.nonce.as_bytes() {
            return Err(Error::NonceMismatch);
        }
        if needed("nc")? != NC.as_bytes() {
            return Err(Error::Syntax("nc"));
        }
        if !once(&all, "qop")?.unwrap_or(b"auth").eq_ignore_ascii_case(b"auth") {
            return Err(Error::NotSupported("a security layer"));
        }
        let uri = needed("digest-uri")?;
        let service = uri.split(|octet| *octet == b'/').next().unwrap_or_default();
        // A proof made for another service is none; under which names this host is known is not known here.
        if !service.eq_ignore_ascii_case(self.service.as_bytes()) || uri.len() < service.len() + 2 {
            return Err(Error::Syntax("digest-uri"));
        }
        let (cnonce, response) = (needed("cnonce")?, needed("response")?);
        if cnonce.is_empty() || response.len() != 32 || !response.iter().all(u8::is_ascii_hexdigit) {
            return Err(Error::Syntax("response"));
        }
        let response = Secret::new(response.to_ascii_lowercase());
        Ok(Proof { cnonce: cnonce.into(), uri: uri.into(), response })
    }

    /// Our own proof, where that of the client is right.
    fn verify(&self, proof: &Proof, password: &Secret) -> Option<String> {
        let (user, realm) = (hashed(self.user.as_bytes()), hashed(self.realm.as_bytes()));
        let (nonce, password) = (self.nonce.as_bytes(), hashed(password.expose()));
        let a1 = a1([&user, &realm], &password, nonce, &proof.cnonce, self.authzid.as_deref());
        let value = |method| response_value(&a1, nonce, &proof.cnonce, &proof.uri, method);
        // Secret compares in constant time.
        (Secret::from(value("AUTHENTICATE")) == proof.response).then(|| value(""))
    }
}

impl Steps for DigestMd5 {
    fn name(&self) -> &MechanismName {
        &MechanismName::DigestMd5
    }

    fn response(&mut self, response: &[u8]) -> Result<Next, Error> {
        match self.state {
            State::First => {
                self.state = State::Lookup(self.read(response)?);
                let (user, authzid) = (self.user.clone(), self.authzid.clone());
                Ok(Next::Ask(Event::Lookup { authzid, user, mechanism: MechanismName::DigestMd5 }))
            }
            State::Proved if response.is_empty() => {
                Ok(Next::Accepted(Event::Authenticated { user: self.user.clone(), authzid: self.authzid.clone() }))
            }
            State::Proved | State::Lookup(_) => Err(Error::OutOfOrder),
        }
    }

    fn answer(&mut self, answer: Answer) -> Result<Next, Misuse> {
        match (&self.state, answer) {
            (State::Lookup(proof), Answer::Password(password)) => {
                let Some(rspauth) = self.verify(proof, &password) else { return Ok(Next::Refused) };
                self.state = State::Proved;
                Ok(Next::Challenge(alloc::format!("rspauth={rspauth}").into_bytes()))
            }
            (_, Answer::Refuse) => Ok(Next::Refused),
            _ => Err(Misuse::UnexpectedAnswer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::duel::{Outcome, play};
    use super::super::{self as server, Mechanism};
    use super::*;
    use crate::sasl::{self, Channel, Credentials};
    use proxy_proto::{Instant, Machine};

    const NOW: Instant = Instant::EPOCH;
    const HOST: &str = "elwood.innosoft.com";

    fn said(machine: &mut impl Machine) -> String {
        let mut out = Vec::new();
        assert!(machine.transmit(NOW, &mut out));
        String::from_utf8(out).unwrap()
    }

    /// The two examples of RFC 2831 section 4, as the server.
    fn example(service: &'static str, nonce: &str, cnonce: &str, response: &str, rspauth: &str) {
        let mut digest = start(HOST, service, nonce.into()).unwrap();
        let expected =
            alloc::format!("realm=\"{HOST}\",nonce=\"{nonce}\",qop=\"auth\",algorithm=md5-sess,charset=utf-8");
        assert_eq!(said(&mut digest), expected);
        let answer = alloc::format!(
            "charset=utf-8,username=\"chris\",realm=\"{HOST}\",nonce=\"{nonce}\",nc=00000001,cnonce=\"{cnonce}\",\
             digest-uri=\"{service}/{HOST}\",response={response},qop=auth"
        );
        let asked = digest.receive(NOW, &mut answer.as_bytes());
        assert!(matches!(asked, Ok(Some(Event::Lookup { user, authzid: None, .. })) if user == "chris"));
        assert_eq!(digest.answer(Answer::Accept), Err(Misuse::UnexpectedAnswer));
        assert_eq!(digest.answer(Answer::Password("secret".into())), Ok(None));
        assert_eq!(said(&mut digest), alloc::format!("rspauth={rspauth}"));
        let authenticated = Event::Authenticated { user: "chris".into(), authzid: None };
        assert_eq!(digest.receive(NOW, &mut &b""[..]), Ok(Some(authenticated)));
        assert_eq!(digest.finish(), Ok(()));
    }

    #[test]
    fn the_imap_example_of_rfc_2831_section_4() {
        let (response, rspauth) = ("d388dad90d4bbd760a152321f2143af7", "ea40f60335c427b5527b84dbabcdfffd");
        example("imap", "OA6MG9tEQGm2hh", "OA6MHXh6VqTrRk", response, rspauth);
    }

    #[test]
    fn the_acap_example_of_rfc_2831_section_4() {
        let (response, rspauth) = ("6084c6db3fede7352c551284490fd0fc", "2f0b3d7c3c2e486600ef710726aa2eae");
        example("acap", "OA9BSXrbuRhWay", "OA9BSuZWMSpW8m", response, rspauth);
    }

    fn duel(user: &str, password: &str, stored: Answer) -> Outcome {
        let credentials = Credentials::password(user, password).authzid("o");
        let (name, channel) = (MechanismName::DigestMd5, Channel::clear());
        let mut client = sasl::start(&name, &credentials, &channel, "mail.example", [1; 24]).unwrap();
        let mut server = server::start(&name, &channel, "mx.example", [2; 24]).unwrap();
        play(&mut *client, &mut *server, |_| stored.clone())
    }

    #[test]
    fn right_and_wrong_password_and_unknown_user() {
        // In ISO 8859-1, beyond it, and with what must be quoted.
        for user in ["chris", "d\u{f6}rte", "\u{4e2d}", "a\"b\\c"] {
            let outcome = duel(user, "s\u{e9}cret", Answer::Password("s\u{e9}cret".into()));
            let server = Event::Authenticated { user: user.into(), authzid: Some("o".into()) };
            assert_eq!(outcome, Outcome { server, client: Ok(()), told: None });
            assert_eq!(duel(user, "secret", Answer::Password("s\u{e9}cret".into())).server, Event::Refused);
            assert_eq!(duel(user, "secret", Answer::Refuse).server, Event::Refused);
        }
    }

    #[test]
    fn what_was_made_for_another_exchange_or_service_is_an_error() {
        const GOOD: &str = "username=\"u\",realm=\"h\",nonce=\"n\",nc=00000001,cnonce=\"c\",digest-uri=\"smtp/x\",\
            response=00000000000000000000000000000000,qop=auth";
        let read = |response: &str| {
            let mut digest = start("h", "smtp", "n".into()).unwrap();
            said(&mut digest);
            let read = digest.receive(NOW, &mut response.as_bytes());
            assert!(read.is_ok() || digest.receive(NOW, &mut GOOD.as_bytes()) == read, "an error stays");
            read
        };
        assert!(matches!(read(GOOD), Ok(Some(Event::Lookup { .. }))));
        for (part, bad, error) in [
            ("nonce=\"n\"", "nonce=\"m\"", Error::NonceMismatch),
            ("nonce=\"n\",", "", Error::Syntax("nonce")),
            ("nc=00000001", "nc=00000002", Error::Syntax("nc")),
            ("realm=\"h\"", "realm=\"i\"", Error::Syntax("realm")),
            ("smtp/x", "imap/x", Error::Syntax("digest-uri")),
            ("smtp/x", "smtp/", Error::Syntax("digest-uri")),
            ("smtp/x", "smtp", Error::Syntax("digest-uri")),
            ("qop=auth", "qop=auth-conf", Error::NotSupported("a security layer")),
            ("username=\"u\"", "username=\"\"", Error::Syntax("user name")),
            ("username=\"u\"", "username=\"u\",username=\"v\"", Error::Repeated("username")),
            ("cnonce=\"c\"", "cnonce=\"\"", Error::Syntax("response")),
            ("=0000000000", "=000000000", Error::Syntax("response")),
            ("=0000000000", "=g000000000", Error::Syntax("response")),
            ("username", "charset=ascii,username", Error::Syntax("charset")),
        ] {
            let response = GOOD.replacen(part, bad, 1);
            assert_ne!(response, GOOD);
            assert_eq!(read(&response), Err(error), "{response}");
        }
        let mut early = start("h", "smtp", "n".into()).unwrap();
        assert_eq!(early.receive(NOW, &mut GOOD.as_bytes()), Err(Error::OutOfOrder));
    }

    #[test]
    fn a_host_that_is_no_realm_is_the_callers_slip() {
        for (bad, slip) in [("", Misuse::Empty("host")), ("a b", Misuse::Prohibited("host"))] {
            assert_eq!(start(bad, "smtp", "n".into()).err(), Some(slip));
        }
    }
}
