//! OAUTHBEARER (RFC 7628) and XOAUTH2, its forerunner: a bearer token in one message.
//!
//! The rules of this file: the two differ in the spelling of that message and in the answer to the server's error, and in
//! nothing else. That error is a challenge, to be answered before the refusal comes (RFC 7628 section 3.2.3).

use alloc::format;
use alloc::vec::Vec;

use proxy_proto::Secret;

use super::exchange::{Answer, Exchange, Steps};
use super::saslname::escape;
use super::{Error, Event, MechanismName, Misuse};

pub(super) struct OAuth {
    name: MechanismName,
    /// What acknowledges the error: OAUTHBEARER says %x01, XOAUTH2 nothing.
    acknowledgement: &'static str,
    refused: bool,
}

/// Neither may hold %x01, which separates; a token is printable (RFC 6750 section 2.1 allows less still).
fn check(user: &str, token: &Secret) -> Result<(), Misuse> {
    if token.expose().is_empty() {
        return Err(Misuse::Empty("token"));
    }
    if !token.expose().iter().all(u8::is_ascii_graphic) {
        return Err(Misuse::Prohibited("token"));
    }
    if user.bytes().any(|octet| octet.is_ascii_control()) {
        return Err(Misuse::Prohibited("user name"));
    }
    Ok(())
}

fn begin(name: MechanismName, acknowledgement: &'static str, head: &str, token: &Secret) -> Exchange<OAuth> {
    const AUTH: &[u8] = b"auth=Bearer ";
    // The exact size at once: a vector that grows would leave copies of the token behind.
    let mut message = Vec::with_capacity(head.len() + AUTH.len() + token.expose().len() + 2);
    for part in [head.as_bytes(), AUTH, token.expose(), b"\x01\x01"] {
        message.extend_from_slice(part);
    }
    Exchange::client_first(OAuth { name, acknowledgement, refused: false }, Secret::new(message))
}

/// OAUTHBEARER; an empty user name leaves it to the token.
pub(super) fn bearer(user: &str, token: &Secret, host: &str, port: Option<u16>) -> Result<Exchange<OAuth>, Misuse> {
    check(user, token)?;
    if host.bytes().any(|octet| !octet.is_ascii_graphic()) {
        return Err(Misuse::Prohibited("host"));
    }
    let user = if user.is_empty() { "".into() } else { format!("a={}", escape(user)) };
    let host = if host.is_empty() { "".into() } else { format!("host={host}\x01") };
    let port = port.map(|port| format!("port={port}\x01")).unwrap_or_default();
    let head = format!("n,{user},\x01{host}{port}");
    Ok(begin(MechanismName::OAuthBearer, "\x01", &head, token))
}

/// XOAUTH2, as Google and Microsoft describe it.
pub(super) fn xoauth2(user: &str, token: &Secret) -> Result<Exchange<OAuth>, Misuse> {
    check(user, token)?;
    if user.is_empty() {
        return Err(Misuse::Empty("user name"));
    }
    Ok(begin(MechanismName::XOAuth2, "", &format!("user={user}\x01"), token))
}

impl Steps for OAuth {
    fn name(&self) -> &MechanismName {
        &self.name
    }

    fn challenge(&mut self, challenge: &[u8]) -> Result<Answer, Error> {
        if self.refused {
            return Err(Error::OutOfOrder);
        }
        self.refused = true;
        let event = Some(Event::ServerError(challenge.into()));
        Ok(Answer { response: Secret::from(self.acknowledgement), event })
    }

    fn finish(&self) -> Result<(), Error> {
        if self.refused { Err(Error::OutOfOrder) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proxy_proto::{Instant, Machine};

    const NOW: Instant = Instant::EPOCH;

    fn said(machine: &mut impl Machine) -> String {
        let mut out = Vec::new();
        assert!(machine.transmit(NOW, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_examples_of_rfc_7628_section_4() {
        let token = Secret::from("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
        let mut oauth = bearer("user@example.com", &token, "server.example.com", Some(143)).unwrap();
        // Section 4.1, the successful exchange in IMAP.
        assert_eq!(
            STANDARD.encode(said(&mut oauth)),
            "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
        );
        // Section 4.3, the failed one, is acknowledged by AQ==.
        let json = br#"{"status":"invalid_token","scope":"example_scope"}"#;
        assert_eq!(oauth.receive(NOW, &mut &json[..]), Ok(Some(Event::ServerError(json.to_vec()))));
        assert_eq!(STANDARD.encode(said(&mut oauth)), "AQ==");
        assert_eq!(oauth.receive(NOW, &mut &b""[..]), Err(Error::OutOfOrder));
    }

    #[test]
    fn the_example_of_googles_description_of_xoauth2() {
        let token = Secret::from("vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg==");
        let mut oauth = xoauth2("someuser@example.com", &token).unwrap();
        assert_eq!(
            STANDARD.encode(said(&mut oauth)),
            "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB2RjlkZnQ0cW1UYzJOdmIzUmxja0JoZEhSaGRtbHpkR0V1WTI5dENnPT0BAQ=="
        );
        let json = br#"{"status":"401","schemes":"bearer mac","scope":"https://mail.google.com/"}"#;
        assert_eq!(oauth.receive(NOW, &mut &json[..]), Ok(Some(Event::ServerError(json.to_vec()))));
        assert_eq!(said(&mut oauth), "");
        assert_eq!(oauth.finish(), Err(Error::OutOfOrder));
    }

    #[test]
    fn names_are_escaped_in_the_header_only() {
        let token = Secret::from("t");
        assert_eq!(
            said(&mut bearer("a,b=c", &token, "h", None).unwrap()),
            "n,a=a=2Cb=3Dc,\x01host=h\x01auth=Bearer t\x01\x01"
        );
        assert_eq!(said(&mut bearer("", &token, "", None).unwrap()), "n,,\x01auth=Bearer t\x01\x01");
        assert_eq!(said(&mut xoauth2("a,b", &token).unwrap()), "user=a,b\x01auth=Bearer t\x01\x01");
    }

    #[test]
    fn separators_in_values_are_the_callers_slip() {
        let slip = |user, token: &str, host| bearer(user, &token.into(), host, None).err();
        assert_eq!(slip("a\x01", "t", "h"), Some(Misuse::Prohibited("user name")));
        assert_eq!(slip("a", "t\x01", "h"), Some(Misuse::Prohibited("token")));
        assert_eq!(slip("a", "", "h"), Some(Misuse::Empty("token")));
        assert_eq!(slip("a", "t", "h\x01port=1"), Some(Misuse::Prohibited("host")));
        assert_eq!(xoauth2("", &"t".into()).err(), Some(Misuse::Empty("user name")));
    }
}
