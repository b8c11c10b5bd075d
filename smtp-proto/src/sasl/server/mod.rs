//! The server side of the mechanisms: it asks its owner for a verdict or for what is stored of a user.
//!
//! The rules of this room: it stores no users and grants nothing by itself. A wrong password is not an error but the event
//! [`Event::Refused`]; an error is a client that does not speak the mechanism. Either way the reply is the owner's to give.
//!
//! # How it uses the contract
//!
//! - [`transmit`](Machine::transmit) appends the next challenge and says whether there is one, were it empty. An initial
//!   response in the AUTH command is received without asking for the first challenge.
//! - [`receive`](Machine::receive) is called once a response, with all of it, and takes all of it. Its event is a question
//!   ([`Event::Verify`], [`Event::VerifyToken`], [`Event::Lookup`], [`Event::External`], [`Event::Anonymous`]) or the outcome
//!   ([`Event::Authenticated`], [`Event::Refused`]); `None` means that there is a challenge to transmit.
//! - [`answer`](Mechanism::answer) answers a question, and gives the outcome where the answer settles it; `None` again means
//!   that there is a challenge to transmit.
//! - [`finish`](Machine::finish) is `Ok` only after [`Event::Authenticated`].
//!
//! ```
//! use smtp_proto::sasl::{Channel, MechanismName, server};
//! use smtp_proto::{Instant, Machine};
//! use server::{Answer, Event, Mechanism};
//!
//! let mut plain = server::start(&MechanismName::Plain, &Channel::secured(), "mail.example", [0; 24]).unwrap();
//! let asked = plain.receive(Instant::EPOCH, &mut &b"\0tim\0tanstaaftanstaaf"[..]).unwrap();
//! let Some(Event::Verify { user, password, .. }) = asked else { panic!() };
//! let known = user == "tim" && password == "tanstaaftanstaaf".into();
//! let outcome = plain.answer(if known { Answer::Accept } else { Answer::Refuse });
//! assert_eq!(outcome, Ok(Some(Event::Authenticated { user: "tim".into(), authzid: None })));
//! ```

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use proxy_proto::{Machine, Secret};

use super::{Channel, Error, MechanismName, Misuse, Nonce};

#[cfg(feature = "cram-md5")]
mod cram_md5;
#[cfg(feature = "digest-md5")]
mod digest_md5;
mod exchange;
mod external;
mod login;
mod oauth;
mod plain;
#[cfg(feature = "scram")]
mod scram;

#[cfg(feature = "scram")]
pub use scram::ScramKeys;

/// What the server side wants to know, or what it found.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Is this the password of the user, and may the user act as `authzid`? Answer with [`Answer::Accept`] or
    /// [`Answer::Refuse`].
    ///
    /// The strings are as the client sent them; who compares them prepares both sides the same way (RFC 4616 section 2;
    /// `sasl::prepare` does it).
    Verify {
        /// As whom the user wants to act, where it said so.
        authzid: Option<String>,
        /// The user name.
        user: String,
        /// The password to check.
        password: Secret,
    },
    /// Is this token good for this user? Answer with [`Answer::Accept`], [`Answer::Refuse`] or [`Answer::RefuseBecause`].
    VerifyToken {
        /// The user name; empty where the client leaves it to the token.
        user: String,
        /// The token, without the word `Bearer`.
        token: Secret,
    },
    /// What is stored of this user, and may the user act as `authzid`? Answer with what the mechanism needs:
    /// [`Answer::Password`] for CRAM-MD5 and DIGEST-MD5, `Answer::Scram` for SCRAM; else [`Answer::Refuse`].
    ///
    /// Who would hide from a SCRAM client which users exist answers with `ScramKeys::decoy`.
    Lookup {
        /// As whom the user wants to act, where it said so.
        authzid: Option<String>,
        /// The user name.
        user: String,
        /// The mechanism that asks.
        mechanism: MechanismName,
    },
    /// EXTERNAL: who has the client proved to be below this exchange, by the certificate that TLS verified say, and may it act as
    /// `authzid`? Answer with [`Answer::AcceptAs`] or [`Answer::Refuse`].
    External {
        /// As whom the client wants to act, where it said so; else the owner derives it from who the client is (RFC 4422
        /// appendix A).
        authzid: Option<String>,
    },
    /// ANONYMOUS: may somebody in whom nobody knows? Answer with [`Answer::AcceptAs`], naming the user that stands for all of
    /// them, or [`Answer::Refuse`].
    Anonymous {
        /// Whatever the client said of itself, an address perhaps; nothing is proved of it. At most 255 characters, no
        /// controls; may be empty.
        trace: String,
    },
    /// The client has proved that it is this user. The exchange is over.
    Authenticated {
        /// The user name.
        user: String,
        /// As whom the user acts, where it said so.
        authzid: Option<String>,
    },
    /// The client has not proved it, or the owner refused. The exchange is over.
    Refused,
}

/// What the owner says to a question.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// Yes.
    Accept,
    /// Yes, and it is this user. For [`Event::External`] and [`Event::Anonymous`], which prove nobody's name by themselves.
    AcceptAs(String),
    /// No: wrong, unknown, or not permitted; the client is not told which.
    Refuse,
    /// No, and this JSON tells the client why (RFC 7628 section 3.2.2). For [`Event::VerifyToken`] only.
    RefuseBecause(Vec<u8>),
    /// The password that is stored of the user.
    Password(Secret),
    /// The SCRAM keys that are stored of the user, for the digest of the mechanism that asked.
    #[cfg(feature = "scram")]
    Scram(ScramKeys),
}

/// The server side of a mechanism. See the [module](self) for its contract.
pub trait Mechanism: Machine<Event = Event, Error = Error> + Send {
    /// The name of the mechanism, in upper case.
    fn name(&self) -> &str;

    /// Answers the question that [`receive`](Machine::receive) asked last, and gives the outcome where that settles it.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnexpectedAnswer`]: there is no question, or not one with such an answer. The question stays open.
    fn answer(&mut self, answer: Answer) -> Result<Option<Event>, Misuse>;
}

impl fmt::Debug for dyn Mechanism + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server::Mechanism({})", self.name())
    }
}

/// Whether this build has the server side of a mechanism.
pub const fn is_available(name: &MechanismName) -> bool {
    match name {
        MechanismName::CramMd5 => cfg!(feature = "cram-md5"),
        MechanismName::DigestMd5 => cfg!(feature = "digest-md5"),
        name if name.is_scram() => cfg!(feature = "scram"),
        MechanismName::Plain | MechanismName::Login | MechanismName::OAuthBearer | MechanismName::XOAuth2 => true,
        MechanismName::External | MechanismName::Anonymous => true,
        _ => false,
    }
}

/// Starts the server side of a mechanism.
///
/// `host` is the name of this server, for challenges that hold it (CRAM-MD5, DIGEST-MD5). Whether a mechanism may be used on a channel
/// that is not secure is decided by whoever offers it, not here.
///
/// # Errors
///
/// [`Misuse::Unavailable`], [`Misuse::NoChannelBinding`], or [`Misuse::Prohibited`] for a host that fits no challenge.
pub fn start(name: &MechanismName, channel: &Channel, host: &str, nonce: Nonce) -> Result<Box<dyn Mechanism>, Misuse> {
    let _ = (channel, host, nonce); // not every set of features uses them
    Ok(match name {
        MechanismName::Plain => Box::new(plain::start()),
        MechanismName::Login => Box::new(login::start()),
        MechanismName::OAuthBearer | MechanismName::XOAuth2 => Box::new(oauth::start(name)),
        MechanismName::External => Box::new(external::external()),
        MechanismName::Anonymous => Box::new(external::anonymous()),
        #[cfg(feature = "cram-md5")]
        MechanismName::CramMd5 => Box::new(cram_md5::start(host, nonce)?),
        #[cfg(feature = "digest-md5")]
        MechanismName::DigestMd5 => Box::new(digest_md5::start(host, super::SERVICE, super::text(nonce))?),
        #[cfg(feature = "scram")]
        name if name.is_scram() => Box::new(scram::start(name, channel, nonce)?),
        _ => return Err(Misuse::Unavailable(name.clone())),
    })
}

/// One end against the other, for the tests of each mechanism.
#[cfg(test)]
pub(super) mod duel {
    use super::*;
    use proxy_proto::Instant;

    const NOW: Instant = Instant::EPOCH;

    /// How a duel ended: what the server found, and whether the client was content with it.
    #[derive(PartialEq, Eq, Debug)]
    pub(crate) struct Outcome {
        pub(crate) server: Event,
        pub(crate) client: Result<(), Error>,
        pub(crate) told: Option<super::super::Event>,
    }

    /// Plays both ends; `owner` answers the server's questions.
    pub(crate) fn play(
        client: &mut dyn super::super::Mechanism,
        server: &mut dyn Mechanism,
        mut owner: impl FnMut(&Event) -> Answer,
    ) -> Outcome {
        let (mut challenge, mut told) = (Vec::new(), None);
        for _ in 0..8 {
            let mut response = Vec::new();
            if !client.transmit(NOW, &mut response) {
                challenge.clear();
                assert!(server.transmit(NOW, &mut challenge), "both ends are silent");
                told = client.receive(NOW, &mut &challenge[..]).unwrap().or(told);
                continue;
            }
            let mut event = server.receive(NOW, &mut &response[..]).unwrap();
            if let Some(question) =
                event.as_ref().filter(|event| !matches!(event, Event::Authenticated { .. } | Event::Refused))
            {
                event = server.answer(owner(question)).unwrap();
            }
            match event {
                Some(Event::Authenticated { .. }) => {
                    assert_eq!(server.finish(), Ok(()));
                    return Outcome { server: event.unwrap(), client: client.finish(), told };
                }
                Some(event) => {
                    assert_eq!(event, Event::Refused);
                    assert!(server.finish().is_err());
                    return Outcome { server: event, client: Ok(()), told };
                }
                None => {}
            }
        }
        panic!("the exchange does not end");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::BindingKind;
    use alloc::format;
    use alloc::vec;
    use proxy_proto::Instant;

    const NOW: Instant = Instant::EPOCH;

    fn begin(name: &MechanismName) -> Box<dyn Mechanism> {
        let channel = Channel::secured().binding(BindingKind::TlsExporter, [7; 32]);
        start(name, &channel, "mail.example", [2; 24]).unwrap()
    }

    fn available() -> impl Iterator<Item = &'static MechanismName> {
        MechanismName::BY_STRENGTH.iter().filter(|name| is_available(name))
    }

    #[test]
    fn a_mechanism_bears_its_name_and_shows_nothing_else() {
        for name in available() {
            let mechanism = begin(name);
            assert_eq!(mechanism.name(), name.as_str());
            assert_eq!(format!("{mechanism:?}"), format!("server::Mechanism({name})"));
        }
        let other = MechanismName::Other("GSSAPI".into());
        let refused = start(&other, &Channel::secured(), "mail.example", [2; 24]).map(|_| ());
        assert_eq!(refused, Err(Misuse::Unavailable(other)));
    }

    /// What answers DIGEST-MD5's challenge (RFC 2831 section 2.1.2), by a password that nobody has.
    fn digest_response(challenge: &[u8]) -> String {
        let challenge = String::from_utf8_lossy(challenge);
        let nonce = challenge.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        format!(
            "username=\"tim\",realm=\"mail.example\",nonce=\"{nonce}\",nc=00000001,cnonce=\"c\",qop=auth,\
             digest-uri=\"smtp/mail.example\",response={}",
            "0".repeat(32)
        )
    }

    #[test]
    fn an_answer_that_is_none_to_the_question_leaves_it_open() {
        let password = || Answer::Password("pencil".into());
        for name in available() {
            let mut mechanism = begin(name);
            assert_eq!(mechanism.answer(Answer::Refuse), Err(Misuse::UnexpectedAnswer), "{name}: nothing was asked");
            let mut challenge = Vec::new();
            mechanism.transmit(NOW, &mut challenge);
            let digest = digest_response(&challenge);
            let responses = match name {
                MechanismName::External | MechanismName::Anonymous => vec![&b""[..]],
                MechanismName::DigestMd5 => vec![digest.as_bytes()],
                MechanismName::Plain => vec![&b"\0tim\0pencil"[..]],
                MechanismName::Login => vec![&b"tim"[..], b"pencil"],
                MechanismName::CramMd5 => vec![&b"tim b913a602c7eda7a495b4e6e7334d3890"[..]],
                MechanismName::XOAuth2 => vec![&b"user=tim\x01auth=Bearer t\x01\x01"[..]],
                MechanismName::OAuthBearer => vec![&b"n,a=tim,\x01auth=Bearer t\x01\x01"[..]],
                name if name.binds_channel() => vec![&b"p=tls-exporter,,n=tim,r=x"[..]],
                _ => vec![&b"n,,n=tim,r=x"[..]],
            };
            let mut asked = None;
            for response in responses {
                mechanism.transmit(NOW, &mut Vec::new());
                asked = mechanism.receive(NOW, &mut &response[..]).unwrap();
            }
            let wrong = match asked {
                Some(Event::Verify { .. }) => vec![password(), Answer::RefuseBecause(vec![])],
                Some(Event::VerifyToken { .. }) => vec![password()],
                Some(Event::Lookup { .. }) => vec![Answer::Accept, Answer::RefuseBecause(vec![])],
                Some(Event::External { .. } | Event::Anonymous { .. }) => vec![Answer::Accept, password()],
                other => panic!("{name}: {other:?}"),
            };
            for answer in wrong {
                assert_eq!(mechanism.answer(answer), Err(Misuse::UnexpectedAnswer), "{name}");
                // No success, and nothing to say, while the question is open.
                assert!(!mechanism.transmit(NOW, &mut Vec::new()), "{name}");
            }
            let told = mechanism.answer(Answer::Refuse).unwrap();
            let by_token = matches!(name, MechanismName::OAuthBearer | MechanismName::XOAuth2);
            assert_eq!(told, (!by_token).then_some(Event::Refused), "{name}");
            assert!(mechanism.finish().is_err(), "{name}");
        }
    }
}
