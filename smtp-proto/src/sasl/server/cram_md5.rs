//! CRAM-MD5, the server side (RFC 2195): a fresh msg-id out, a name and a keyed digest back.
//!
//! The rules of this file: the challenge is unique by its random part, since no clock is read here; digests are compared in
//! constant time.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use proxy_proto::Secret;
use subtle::ConstantTimeEq;

use super::super::cram_md5::digest;
use super::exchange::{Exchange, Next, Steps};
use super::{Answer, Error, Event, MechanismName, Misuse, Nonce};

pub(super) struct CramMd5 {
    challenge: String,
    user: String,
    digest: Vec<u8>,
}

pub(super) fn start(host: &str, nonce: Nonce) -> Result<Exchange<CramMd5>, Misuse> {
    if host.is_empty() {
        return Err(Misuse::Empty("host"));
    }
    if host.bytes().any(|octet| !octet.is_ascii_graphic() || octet == b'<' || octet == b'>') {
        return Err(Misuse::Prohibited("host"));
    }
    if host.len() > 255 {
        return Err(Misuse::TooLong("host"));
    }
    let mut challenge = String::from("<");
    for octet in nonce {
        let _ = write!(challenge, "{octet:02x}"); // a String takes everything
    }
    challenge.push('@');
    challenge.push_str(host);
    challenge.push('>');
    let first = challenge.clone().into_bytes();
    Ok(Exchange::server_first(CramMd5 { challenge, user: String::new(), digest: Vec::new() }, first))
}

impl Steps for CramMd5 {
    fn name(&self) -> &MechanismName {
        &MechanismName::CramMd5
    }

    fn response(&mut self, message: &[u8]) -> Result<Next, Error> {
        // At the last space: a user name may hold some.
        let Some(space) = message.iter().rposition(|&octet| octet == b' ') else {
            return Err(Error::Syntax("no space before the digest"));
        };
        let (user, digest) = (&message[..space], &message[space + 1..]);
        if user.is_empty() || digest.len() != 32 || !digest.iter().all(u8::is_ascii_hexdigit) {
            return Err(Error::Syntax("a user name and 32 hexadecimal digits"));
        }
        self.user = String::from_utf8(user.to_vec()).map_err(|_| Error::Syntax("names are UTF-8"))?;
        self.digest = digest.to_ascii_lowercase();
        let (user, mechanism) = (self.user.clone(), MechanismName::CramMd5);
        Ok(Next::Ask(Event::Lookup { authzid: None, user, mechanism }))
    }

    fn answer(&mut self, answer: Answer) -> Result<Next, Misuse> {
        let matches =
            |password: &Secret| bool::from(digest(password, self.challenge.as_bytes()).as_bytes().ct_eq(&self.digest));
        match answer {
            Answer::Password(password) if matches(&password) => {
                Ok(Next::Accepted(Event::Authenticated { user: self.user.clone(), authzid: None }))
            }
            Answer::Password(_) | Answer::Refuse => Ok(Next::Refused),
            _ => Err(Misuse::UnexpectedAnswer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::duel::{Outcome, play};
    use super::*;
    use crate::sasl::{self, Channel, Credentials};
    use proxy_proto::{Instant, Machine};

    const NOW: Instant = Instant::EPOCH;

    fn duel(password: &str, stored: Answer) -> Outcome {
        let credentials = Credentials::password("tim o'reilly", password);
        let (name, channel) = (MechanismName::CramMd5, Channel::clear());
        let mut client = sasl::start(&name, &credentials, &channel, "mail.example", [0; 24]).unwrap();
        let mut server = super::super::start(&name, &channel, "mail.example", [9; 24]).unwrap();
        play(&mut *client, &mut *server, |event| {
            assert!(matches!(event, Event::Lookup { user, .. } if user == "tim o'reilly"));
            stored.clone()
        })
    }

    #[test]
    fn right_and_wrong_password_and_unknown_user() {
        let outcome = duel("secret", Answer::Password("secret".into()));
        assert_eq!(outcome.server, Event::Authenticated { user: "tim o'reilly".into(), authzid: None });
        assert_eq!(outcome.client, Ok(()));
        assert_eq!(duel("wrong", Answer::Password("secret".into())).server, Event::Refused);
        assert_eq!(duel("secret", Answer::Refuse).server, Event::Refused);
    }

    #[test]
    fn a_response_before_the_challenge_was_seen_is_refused() {
        let mut cram = start("mail.example", [9; 24]).unwrap();
        let mut early = &b"tim b913a602c7eda7a495b4e6e7334d3890"[..];
        assert_eq!(cram.receive(NOW, &mut early), Err(Error::OutOfOrder));
    }

    #[test]
    fn malformed_responses_are_errors() {
        for bad in [
            &b""[..],
            b"tim",
            b"tim abc",
            b" b913a602c7eda7a495b4e6e7334d3890",
            b"tim zzzza602c7eda7a495b4e6e7334d3890",
        ] {
            let mut cram = start("mail.example", [9; 24]).unwrap();
            assert!(cram.transmit(NOW, &mut Vec::new()));
            assert!(matches!(cram.receive(NOW, &mut &bad[..]), Err(Error::Syntax(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_host_that_fits_no_msg_id_is_the_callers_slip() {
        for (bad, slip) in [("", Misuse::Empty("host")), ("a b", Misuse::Prohibited("host"))] {
            assert_eq!(start(bad, [9; 24]).err(), Some(slip));
        }
    }

    #[test]
    fn a_host_longer_than_a_domain_may_be_is_the_callers_slip() {
        // RFC 5321 section 4.5.3.1.2.
        assert!(start(&"a".repeat(255), [9; 24]).is_ok());
        assert_eq!(start(&"a".repeat(256), [9; 24]).err(), Some(Misuse::TooLong("host")));
    }
}
