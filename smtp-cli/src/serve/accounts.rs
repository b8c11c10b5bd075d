//! The one user that may log in.
//!
//! The rules of this file: every mechanism is answered from the same password; a wrong user looks like a wrong password.

use smtp_proto::Secret;
use smtp_proto::sasl::server::{Answer, Event, ScramKeys};
use smtp_proto::sasl::{self, MIN_ITERATIONS, MechanismName, ScramHash};

use crate::failure::Failure;

/// What AUTH offers where nothing else is asked for, as far as the library has it, in the order of the names.
///
/// What nobody should use any more, and nobody must to be tried, has to be asked for.
const USUAL: [MechanismName; 11] = [
    MechanismName::ScramSha512Plus,
    MechanismName::ScramSha256Plus,
    MechanismName::ScramSha1Plus,
    MechanismName::ScramSha512,
    MechanismName::ScramSha256,
    MechanismName::ScramSha1,
    MechanismName::CramMd5,
    MechanismName::Plain,
    MechanismName::Login,
    MechanismName::OAuthBearer,
    MechanismName::XOAuth2,
];

/// All that AUTH can offer, the strongest first. Who proves nothing to be the one user there is, has no place among them.
pub(crate) fn available() -> impl Iterator<Item = &'static MechanismName> {
    let proves = |name: &MechanismName| !matches!(name, MechanismName::External | MechanismName::Anonymous);
    MechanismName::BY_STRENGTH.iter().filter(move |name| proves(name) && sasl::server::is_available(name))
}

/// A user and the password, which is the token, too.
pub(crate) struct Account {
    user: String,
    password: Secret,
    salt: [u8; 16],
    mechanisms: Vec<MechanismName>,
}

impl Account {
    pub(crate) fn new(user: &str, password: impl Into<Secret>) -> Result<Self, Failure> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| Failure::usage(format_args!("no randomness: {error}")))?;
        let mechanisms = USUAL.into_iter().filter(sasl::server::is_available).collect();
        Ok(Self { user: user.into(), password: password.into(), salt, mechanisms })
    }

    /// The same, by these mechanisms only, in this order; where there are none, by the usual ones.
    pub(crate) fn by(mut self, mechanisms: &[MechanismName]) -> Self {
        if !mechanisms.is_empty() {
            self.mechanisms = mechanisms.to_vec();
        }
        self
    }

    /// What AUTH offers.
    pub(crate) fn mechanisms(&self) -> &[MechanismName] {
        &self.mechanisms
    }

    /// What is said to a mechanism's question.
    pub(crate) fn answer(&self, question: &Event) -> Answer {
        let verdict = |holds: bool| if holds { Answer::Accept } else { Answer::Refuse };
        match question {
            // Nobody acts for anybody else (RFC 4616 section 2).
            Event::Verify { authzid: Some(other), user, .. } | Event::Lookup { authzid: Some(other), user, .. }
                if other != user =>
            {
                Answer::Refuse
            }
            Event::Verify { user, password, .. } => verdict(*user == self.user && *password == self.password),
            // The token may say by itself whose it is.
            Event::VerifyToken { user, token } => {
                verdict((user.is_empty() || *user == self.user) && *token == self.password)
            }
            Event::Lookup { user, mechanism, .. } => self.look_up(user, mechanism).unwrap_or(Answer::Refuse),
            _ => Answer::Refuse,
        }
    }

    fn look_up(&self, user: &str, mechanism: &MechanismName) -> Option<Answer> {
        let known = user == self.user;
        match ScramHash::of(mechanism) {
            None => known.then(|| Answer::Password(self.password.clone())),
            Some(hash) => {
                let keys = if known {
                    ScramKeys::derive(hash, &self.password, self.salt, MIN_ITERATIONS)
                } else {
                    ScramKeys::decoy(hash, &Secret::new(self.salt), user, MIN_ITERATIONS)
                };
                keys.ok().map(Answer::Scram)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_is_accepted() {
        let account = Account::new("tim", "tanstaaftanstaaf").unwrap();
        let verify = |user: &str, password: &str| {
            account.answer(&Event::Verify { authzid: None, user: user.into(), password: password.into() })
        };
        assert_eq!(verify("tim", "tanstaaftanstaaf"), Answer::Accept);
        assert_eq!(verify("tim", "x"), Answer::Refuse);
        assert_eq!(verify("tom", "tanstaaftanstaaf"), Answer::Refuse);
        let acting_as = |other: &str| {
            let (user, password) = ("tim".into(), "tanstaaftanstaaf".into());
            account.answer(&Event::Verify { authzid: Some(other.into()), user, password })
        };
        assert_eq!((acting_as("tim"), acting_as("tom")), (Answer::Accept, Answer::Refuse));
    }

    #[test]
    fn an_unknown_user_gets_keys_that_fit_nothing() {
        let account = Account::new("tim", "tanstaaftanstaaf").unwrap();
        let mechanism = MechanismName::ScramSha256;
        let lookup = Event::Lookup { authzid: None, user: "tom".into(), mechanism };
        assert!(matches!(account.answer(&lookup), Answer::Scram(_)));
    }
}
