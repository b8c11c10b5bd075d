//! LOGIN, never standardized (draft-murchison-sasl-login): the server prompts for the name, then for the password.
//!
//! The rules of this file: prompts are told by their order, because their texts differ (`Username:`, `User Name` with a NUL,
//! other languages). One text matters: who sent the name inline and is still asked for it sends it again, once. A question
//! for the name is never answered with the password, since names are logged.

use proxy_proto::Secret;

use super::exchange::{Answer, Exchange, Steps};
use super::{Error, MechanismName, Misuse};

pub(super) struct Login {
    user: Secret,
    password: Option<Secret>,
    next: Next,
}

#[derive(PartialEq)]
enum Next {
    User,
    /// The name went out inline, unasked.
    PasswordOrUser,
    Password,
    Done,
}

pub(super) fn start(user: &str, password: &Secret, inline: bool) -> Result<Exchange<Login>, Misuse> {
    if user.is_empty() {
        return Err(Misuse::Empty("user name"));
    }
    let next = if inline { Next::PasswordOrUser } else { Next::User };
    let login = Login { user: Secret::from(user), password: Some(password.clone()), next };
    Ok(if inline { Exchange::client_first(login, Secret::from(user)) } else { Exchange::server_first(login) })
}

/// Whether a prompt asks for a name, in the texts that are in use.
fn asks_for_user(prompt: &[u8]) -> bool {
    let is = |part: &[u8], word: &[u8]| part.eq_ignore_ascii_case(word);
    prompt.get(..4).is_some_and(|start| is(start, b"user")) && !prompt.windows(4).any(|part| is(part, b"pass"))
}

impl Steps for Login {
    fn name(&self) -> &MechanismName {
        &MechanismName::Login
    }

    fn challenge(&mut self, prompt: &[u8]) -> Result<Answer, Error> {
        match self.next {
            Next::User => {}
            Next::PasswordOrUser if asks_for_user(prompt) => {}
            Next::Password if asks_for_user(prompt) => return Err(Error::OutOfOrder),
            Next::PasswordOrUser | Next::Password => {
                self.next = Next::Done;
                return self.password.take().map(Answer::from).ok_or(Error::OutOfOrder);
            }
            Next::Done => return Err(Error::OutOfOrder),
        }
        self.next = Next::Password;
        Ok(self.user.clone().into())
    }

    fn finish(&self) -> Result<(), Error> {
        if self.next == Next::Done { Ok(()) } else { Err(Error::OutOfOrder) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proxy_proto::{Instant, Machine};

    const NOW: Instant = Instant::EPOCH;

    fn said(machine: &mut impl Machine) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        machine.transmit(NOW, &mut out).then_some(out)
    }

    #[test]
    fn prompts_are_told_by_their_order() {
        // The first pair is of draft-murchison-sasl-login section 3; the others are seen in the field.
        for (first, second) in
            [("User Name\0", "Password\0"), ("Username:", "Password:"), ("Benutzer:", "Kennwort:"), ("", "")]
        {
            let mut login = start("tim", &"secret".into(), false).unwrap();
            assert_eq!(said(&mut login), None);
            assert_eq!(login.receive(NOW, &mut first.as_bytes()), Ok(None));
            assert_eq!(said(&mut login).as_deref(), Some(&b"tim"[..]));
            assert_eq!(login.receive(NOW, &mut second.as_bytes()), Ok(None));
            assert_eq!(said(&mut login).as_deref(), Some(&b"secret"[..]));
            assert_eq!(login.finish(), Ok(()));
        }
    }

    #[test]
    fn an_inline_name_is_followed_by_the_password() {
        let mut login = start("tim", &"secret".into(), true).unwrap();
        assert_eq!(said(&mut login).as_deref(), Some(&b"tim"[..]));
        assert_eq!(login.receive(NOW, &mut &b"Password:"[..]), Ok(None));
        assert_eq!(said(&mut login).as_deref(), Some(&b"secret"[..]));
        assert_eq!(login.finish(), Ok(()));
    }

    #[test]
    fn a_name_that_was_not_heard_is_repeated_once() {
        let mut login = start("tim", &"secret".into(), true).unwrap();
        assert!(said(&mut login).is_some());
        assert_eq!(login.receive(NOW, &mut &b"Username:"[..]), Ok(None));
        assert_eq!(said(&mut login).as_deref(), Some(&b"tim"[..]));
        assert_eq!(login.receive(NOW, &mut &b"Password:"[..]), Ok(None));
        assert_eq!(said(&mut login).as_deref(), Some(&b"secret"[..]));
    }

    #[test]
    fn the_password_is_no_answer_to_a_question_for_the_name() {
        for inline in [false, true] {
            let mut login = start("tim", &"secret".into(), inline).unwrap();
            said(&mut login);
            assert_eq!(login.receive(NOW, &mut &b"Username:"[..]), Ok(None));
            said(&mut login);
            assert_eq!(login.receive(NOW, &mut &b"Username:"[..]), Err(Error::OutOfOrder));
            assert_eq!(said(&mut login), None);
        }
        assert!(asks_for_user(b"user name") && !asks_for_user(b"User password:"));
    }

    #[test]
    fn a_third_prompt_and_an_early_success_are_errors() {
        let mut login = start("tim", &"secret".into(), false).unwrap();
        for prompt in ["Username:", "Password:"] {
            assert_eq!(login.receive(NOW, &mut prompt.as_bytes()), Ok(None));
            assert!(said(&mut login).is_some());
        }
        assert_eq!(login.receive(NOW, &mut &b"More:"[..]), Err(Error::OutOfOrder));
        assert_eq!(start("tim", &"secret".into(), false).unwrap().finish(), Err(Error::OutOfOrder));
    }

    #[test]
    fn nobody_has_no_empty_name() {
        for inline in [false, true] {
            assert_eq!(start("", &"secret".into(), inline).err(), Some(Misuse::Empty("user name")));
        }
    }
}
