//! PLAIN, the server side (RFC 4616): one message, one verdict.
//!
//! The rules of this file: names are UTF-8 and not empty, as the grammar says; the password is octets, whatever they are.

use alloc::string::String;
use alloc::vec::Vec;

use proxy_proto::Secret;

use super::exchange::{Exchange, Next, Steps};
use super::{Answer, Error, Event, MechanismName, Misuse};

#[derive(Default)]
pub(super) struct Plain {
    authzid: Option<String>,
    user: String,
}

pub(super) fn start() -> Exchange<Plain> {
    Exchange::client_first(Plain::default(), Vec::new())
}

impl Steps for Plain {
    fn name(&self) -> &MechanismName {
        &MechanismName::Plain
    }

    fn response(&mut self, message: &[u8]) -> Result<Next, Error> {
        let mut fields = message.split(|&octet| octet == 0);
        let (Some(authzid), Some(user), Some(password), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(Error::Syntax("PLAIN has three fields"));
        };
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).map_err(|_| Error::Syntax("names are UTF-8"));
        self.authzid = Some(text(authzid)?).filter(|id| !id.is_empty());
        self.user = text(user)?;
        if self.user.is_empty() || password.is_empty() {
            return Err(Error::Syntax("user name and password are not empty"));
        }
        let password = Secret::new(password);
        Ok(Next::Ask(Event::Verify { authzid: self.authzid.clone(), user: self.user.clone(), password }))
    }

    fn answer(&mut self, answer: Answer) -> Result<Next, Misuse> {
        match answer {
            Answer::Accept => {
                Ok(Next::Accepted(Event::Authenticated { user: self.user.clone(), authzid: self.authzid.clone() }))
            }
            Answer::Refuse => Ok(Next::Refused),
            _ => Err(Misuse::UnexpectedAnswer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::duel::play;
    use super::super::{Mechanism, start};
    use super::*;
    use crate::sasl::{self, Channel, Credentials};
    use proxy_proto::{Instant, Machine};

    const NOW: Instant = Instant::EPOCH;

    fn verify(event: &Event) -> Answer {
        let right = Event::Verify { authzid: Some("Ursel".into()), user: "Kurt".into(), password: "xipj3plmq".into() };
        if *event == right { Answer::Accept } else { Answer::Refuse }
    }

    fn duel(password: &str) -> super::super::duel::Outcome {
        let credentials = Credentials::password("Kurt", password).authzid("Ursel");
        let mut client =
            sasl::start(&MechanismName::Plain, &credentials, &Channel::secured(), "mail.example", [0; 24]).unwrap();
        let mut server = start(&MechanismName::Plain, &Channel::secured(), "mail.example", [0; 24]).unwrap();
        play(&mut *client, &mut *server, verify)
    }

    #[test]
    fn right_and_wrong_password() {
        let outcome = duel("xipj3plmq");
        assert_eq!(outcome.server, Event::Authenticated { user: "Kurt".into(), authzid: Some("Ursel".into()) });
        assert_eq!(outcome.client, Ok(()));
        assert_eq!(duel("wrong").server, Event::Refused);
    }

    #[test]
    fn the_first_challenge_is_empty_but_there() {
        let mut plain = super::start();
        let mut out = Vec::new();
        assert!(plain.transmit(NOW, &mut out) && out.is_empty());
        assert!(!plain.transmit(NOW, &mut out));
        assert!(matches!(plain.receive(NOW, &mut &b"\0tim\0x"[..]), Ok(Some(Event::Verify { .. }))));
    }

    #[test]
    fn malformed_messages_are_errors_that_stick() {
        for bad in [&b""[..], b"tim", b"\0tim", b"\0tim\0", b"\0\0x", b"\0tim\0x\0", b"\0\xff\0x"] {
            let mut plain = super::start();
            let error = plain.receive(NOW, &mut &bad[..]).unwrap_err();
            assert!(matches!(error, Error::Syntax(_)), "{bad:?}");
            assert_eq!(plain.receive(NOW, &mut &b"\0tim\0x"[..]), Err(error));
        }
    }

    #[test]
    fn an_answer_out_of_place_changes_nothing() {
        let mut plain = super::start();
        assert_eq!(plain.answer(Answer::Accept), Err(Misuse::UnexpectedAnswer));
        assert!(plain.receive(NOW, &mut &b"\0tim\0x"[..]).unwrap().is_some());
        assert_eq!(plain.answer(Answer::Password("x".into())), Err(Misuse::UnexpectedAnswer));
        assert!(matches!(plain.answer(Answer::Accept), Ok(Some(Event::Authenticated { .. }))));
        assert_eq!(plain.answer(Answer::Accept), Err(Misuse::UnexpectedAnswer));
        assert_eq!(plain.receive(NOW, &mut &b""[..]), Err(Error::OutOfOrder));
    }

    #[test]
    fn an_unanswered_question_is_not_success() {
        let mut plain = super::start();
        assert!(plain.receive(NOW, &mut &b"\0tim\0x"[..]).unwrap().is_some());
        assert_eq!(plain.finish(), Err(Error::OutOfOrder));
    }
}
