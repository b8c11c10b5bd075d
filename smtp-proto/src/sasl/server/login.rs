//! LOGIN, the server side (draft-murchison-sasl-login): prompts for the name, then for the password.
//!
//! The rules of this file: the prompts are the ones that all clients know; a name sent inline is taken.

use alloc::string::String;
use alloc::vec::Vec;

use proxy_proto::Secret;

use super::exchange::{Exchange, Next, Steps};
use super::{Answer, Error, Event, MechanismName, Misuse};

#[derive(Default)]
pub(super) struct Login {
    user: Option<String>,
}

pub(super) fn start() -> Exchange<Login> {
    Exchange::client_first(Login::default(), Vec::from(&b"Username:"[..]))
}

impl Steps for Login {
    fn name(&self) -> &MechanismName {
        &MechanismName::Login
    }

    fn response(&mut self, message: &[u8]) -> Result<Next, Error> {
        if message.is_empty() {
            return Err(Error::Syntax("user name and password are not empty"));
        }
        if let Some(user) = &self.user {
            let (user, password) = (user.clone(), Secret::new(message));
            return Ok(Next::Ask(Event::Verify { authzid: None, user, password }));
        }
        let user = String::from_utf8(message.to_vec()).map_err(|_| Error::Syntax("names are UTF-8"))?;
        self.user = Some(user);
        Ok(Next::Challenge(Vec::from(&b"Password:"[..])))
    }

    fn answer(&mut self, answer: Answer) -> Result<Next, Misuse> {
        match answer {
            Answer::Accept => {
                let user = self.user.clone().unwrap_or_default();
                Ok(Next::Accepted(Event::Authenticated { user, authzid: None }))
            }
            Answer::Refuse => Ok(Next::Refused),
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

    fn duel(credentials: &Credentials) -> Outcome {
        let channel = Channel::secured();
        let mut client = sasl::start(&MechanismName::Login, credentials, &channel, "mail.example", [0; 24]).unwrap();
        let mut server = super::super::start(&MechanismName::Login, &channel, "mail.example", [0; 24]).unwrap();
        play(&mut *client, &mut *server, |event| {
            let right = Event::Verify { authzid: None, user: "tim".into(), password: "secret".into() };
            if *event == right { Answer::Accept } else { Answer::Refuse }
        })
    }

    #[test]
    fn right_and_wrong_password_prompted_and_inline() {
        for inline in [false, true] {
            let outcome = duel(&Credentials::password("tim", "secret").login_inline(inline));
            assert_eq!(outcome.server, Event::Authenticated { user: "tim".into(), authzid: None });
            assert_eq!(outcome.client, Ok(()));
            assert_eq!(duel(&Credentials::password("tim", "wrong").login_inline(inline)).server, Event::Refused);
        }
    }

    #[test]
    fn empty_and_unreadable_names_are_errors() {
        for bad in [&b""[..], b"\xff"] {
            assert!(matches!(start().receive(Instant::EPOCH, &mut &bad[..]), Err(Error::Syntax(_))));
        }
    }
}
