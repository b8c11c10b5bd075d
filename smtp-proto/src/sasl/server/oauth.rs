//! OAUTHBEARER (RFC 7628) and XOAUTH2, the server side: a token to verify, and a reason for the client where it is not good.
//!
//! The rules of this file: pairs that are not known are skipped, as RFC 7628 section 3.1 wants; a refusal is a challenge
//! first, and the outcome only after the client has acknowledged it.

use alloc::string::String;
use alloc::vec::Vec;

use proxy_proto::Secret;

use super::super::saslname::authzid;
use super::exchange::{Exchange, Next, Steps};
use super::{Answer, Error, Event, MechanismName, Misuse};

/// What a client is told where the owner gives no reason of its own (RFC 7628 section 3.2.2).
const INVALID_TOKEN: &[u8] = br#"{"status":"invalid_token"}"#;

pub(super) struct OAuth {
    name: MechanismName,
    user: String,
    refused: bool,
}

/// Starts `name`, which must be one of the two.
pub(super) fn start(name: &MechanismName) -> Exchange<OAuth> {
    Exchange::client_first(OAuth { name: name.clone(), user: String::new(), refused: false }, Vec::new())
}

impl OAuth {
    /// The user name and the pairs behind it.
    fn head<'a>(&self, message: &'a str) -> Result<(String, &'a str), Error> {
        if self.name == MechanismName::XOAuth2 {
            let rest = message.strip_prefix("user=").ok_or(Error::Syntax("no user"))?;
            let (user, pairs) = rest.split_once('\x01').ok_or(Error::Syntax("key-value pairs"))?;
            return Ok((user.into(), pairs));
        }
        let (header, pairs) = message.split_once('\x01').ok_or(Error::Syntax("key-value pairs"))?;
        let mut fields = header.split(',');
        let (Some("n" | "y"), Some(user), Some(""), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(Error::Syntax("gs2 header"));
        };
        Ok((authzid(user)?.unwrap_or_default(), pairs))
    }
}

impl Steps for OAuth {
    fn name(&self) -> &MechanismName {
        &self.name
    }

    fn response(&mut self, response: &[u8]) -> Result<Next, Error> {
        if self.refused {
            return Ok(Next::Refused);
        }
        let message = core::str::from_utf8(response).map_err(|_| Error::Syntax("not UTF-8"))?;
        let (user, pairs) = self.head(message)?;
        let pairs = pairs.strip_suffix("\x01\x01").ok_or(Error::Syntax("key-value pairs"))?;
        let mut token = None;
        for pair in pairs.split('\x01') {
            let (key, value) = pair.split_once('=').ok_or(Error::Syntax("key-value pairs"))?;
            if key == "auth" {
                if token.is_some() {
                    return Err(Error::Repeated("auth"));
                }
                let (scheme, given) = value.split_once(' ').ok_or(Error::Syntax("no bearer token"))?;
                if !scheme.eq_ignore_ascii_case("Bearer") || given.is_empty() {
                    return Err(Error::Syntax("no bearer token"));
                }
                token = Some(Secret::from(given));
            }
        }
        let token = token.ok_or(Error::Syntax("no bearer token"))?;
        self.user = user.clone();
        Ok(Next::Ask(Event::VerifyToken { user, token }))
    }

    fn answer(&mut self, answer: Answer) -> Result<Next, Misuse> {
        let reason = match answer {
            Answer::Accept => {
                return Ok(Next::Accepted(Event::Authenticated { user: self.user.clone(), authzid: None }));
            }
            Answer::Refuse => INVALID_TOKEN.into(),
            Answer::RefuseBecause(json) => json,
            _ => return Err(Misuse::UnexpectedAnswer),
        };
        self.refused = true;
        Ok(Next::Challenge(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::super::duel::play;
    use super::*;
    use crate::sasl::{self, Channel, Credentials};
    use MechanismName::{OAuthBearer, XOAuth2};
    use proxy_proto::{Instant, Machine};

    const NOW: Instant = Instant::EPOCH;

    #[test]
    fn right_and_wrong_token() {
        for name in [OAuthBearer, XOAuth2] {
            for (given, user) in [("good", "tim@example.com"), ("bad", "tim@example.com"), ("good", "t,i=m")] {
                let (credentials, channel) = (Credentials::token(user, given).port(587), Channel::secured());
                let mut client = sasl::start(&name, &credentials, &channel, "mail.example", [0; 24]).unwrap();
                let mut server = super::super::start(&name, &channel, "mail.example", [0; 24]).unwrap();
                let outcome = play(&mut *client, &mut *server, |event| {
                    let right = Event::VerifyToken { user: user.into(), token: "good".into() };
                    if *event == right { Answer::Accept } else { Answer::Refuse }
                });
                if given == "good" {
                    assert_eq!(outcome.server, Event::Authenticated { user: user.into(), authzid: None });
                    assert_eq!(outcome.client, Ok(()));
                } else {
                    assert_eq!(outcome.server, Event::Refused);
                    assert_eq!(outcome.told, Some(sasl::Event::ServerError(INVALID_TOKEN.into())));
                }
            }
        }
    }

    #[test]
    fn the_reason_of_the_owner_is_the_challenge() {
        let mut oauth = start(&XOAuth2);
        assert!(oauth.receive(NOW, &mut &b"user=u\x01auth=bearer t\x01\x01"[..]).unwrap().is_some());
        assert_eq!(super::super::Mechanism::answer(&mut oauth, Answer::RefuseBecause(b"{}".to_vec())), Ok(None));
        let mut out = Vec::new();
        assert!(oauth.transmit(NOW, &mut out));
        assert_eq!(out, b"{}");
        assert_eq!(oauth.receive(NOW, &mut &b""[..]), Ok(Some(Event::Refused)));
    }

    #[test]
    fn malformed_messages_are_errors() {
        for (name, bad) in [
            (OAuthBearer, ""),
            (OAuthBearer, "n,a=u,\x01\x01"),
            (OAuthBearer, "n,a=u\x01auth=Bearer t\x01\x01"),
            (OAuthBearer, "p=tls-unique,,\x01auth=Bearer t\x01\x01"),
            (OAuthBearer, "n,,\x01auth=Basic t\x01\x01"),
            (OAuthBearer, "n,,\x01auth=Bearer \x01\x01"),
            (OAuthBearer, "n,,\x01auth=Bearer t\x01auth=Bearer t\x01\x01"),
            (OAuthBearer, "n,,\x01auth=Bearer t"),
            (XOAuth2, "auth=Bearer t\x01\x01"),
            (XOAuth2, "user=u\x01\x01"),
        ] {
            assert!(start(&name).receive(NOW, &mut bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
