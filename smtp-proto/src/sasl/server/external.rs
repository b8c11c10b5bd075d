//! EXTERNAL (RFC 4422 appendix A) and ANONYMOUS (RFC 4505), the server side: one message, and no proof in it.
//!
//! The rules of this file: who the client is was proved below, or not at all, so the owner says it; the message is read by the
//! grammar of its RFC and means nothing by itself.

use alloc::string::String;
use alloc::vec::Vec;

use super::exchange::{Exchange, Next, Steps};
use super::{Answer, Error, Event, MechanismName, Misuse};

/// The most characters of ANONYMOUS' trace (RFC 4505 section 2).
const TRACE: usize = 255;

pub(super) struct External {
    authzid: Option<String>,
}

pub(super) struct Anonymous;

pub(super) fn external() -> Exchange<External> {
    Exchange::client_first(External { authzid: None }, Vec::new())
}

pub(super) fn anonymous() -> Exchange<Anonymous> {
    Exchange::client_first(Anonymous, Vec::new())
}

fn text(response: &[u8]) -> Result<&str, Error> {
    core::str::from_utf8(response).map_err(|_| Error::Syntax("not UTF-8"))
}

impl Steps for External {
    fn name(&self) -> &MechanismName {
        &MechanismName::External
    }

    fn response(&mut self, response: &[u8]) -> Result<Next, Error> {
        let authzid = text(response)?;
        if authzid.contains('\0') {
            return Err(Error::Syntax("authorization identity"));
        }
        self.authzid = Some(authzid.into()).filter(|authzid: &String| !authzid.is_empty());
        Ok(Next::Ask(Event::External { authzid: self.authzid.clone() }))
    }

    fn answer(&mut self, answer: Answer) -> Result<Next, Misuse> {
        match answer {
            Answer::AcceptAs(user) => Ok(Next::Accepted(Event::Authenticated { user, authzid: self.authzid.take() })),
            Answer::Refuse => Ok(Next::Refused),
            _ => Err(Misuse::UnexpectedAnswer),
        }
    }
}

impl Steps for Anonymous {
    fn name(&self) -> &MechanismName {
        &MechanismName::Anonymous
    }

    fn response(&mut self, response: &[u8]) -> Result<Next, Error> {
        let trace = text(response)?;
        if trace.chars().count() > TRACE || trace.chars().any(char::is_control) {
            return Err(Error::Syntax("trace information"));
        }
        Ok(Next::Ask(Event::Anonymous { trace: trace.into() }))
    }

    fn answer(&mut self, answer: Answer) -> Result<Next, Misuse> {
        match answer {
            Answer::AcceptAs(user) => Ok(Next::Accepted(Event::Authenticated { user, authzid: None })),
            Answer::Refuse => Ok(Next::Refused),
            _ => Err(Misuse::UnexpectedAnswer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::duel::play;
    use super::super::{self as server, Mechanism};
    use super::*;
    use crate::sasl::{self, Channel, Credentials};
    use alloc::boxed::Box;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proxy_proto::Instant;

    const NOW: Instant = Instant::EPOCH;

    fn machine(name: &MechanismName) -> Box<dyn Mechanism> {
        server::start(name, &Channel::secured(), "mail.example", [0; 24]).unwrap()
    }

    fn asked(name: &MechanismName, response: &[u8]) -> Result<Option<Event>, Error> {
        machine(name).receive(NOW, &mut &response[..])
    }

    #[test]
    fn the_examples_of_rfc_4422_appendix_a() {
        let external = |response| asked(&MechanismName::External, response);
        assert_eq!(external(b""), Ok(Some(Event::External { authzid: None })));
        let fred = Event::External { authzid: Some("fred@example.com".into()) };
        assert_eq!(external(b"fred@example.com"), Ok(Some(fred)));
        // Without an initial response the server asks for it by an empty challenge.
        let (mut waiting, mut challenge) = (machine(&MechanismName::External), Vec::new());
        assert!(waiting.transmit(NOW, &mut challenge));
        assert!(challenge.is_empty());
        assert!(matches!(waiting.receive(NOW, &mut &b""[..]), Ok(Some(Event::External { authzid: None }))));
        for bad in [&b"a\0b"[..], b"\xff"] {
            assert!(matches!(external(bad), Err(Error::Syntax(_))));
        }
    }

    #[test]
    fn the_example_of_rfc_4505_section_3() {
        let anonymous = |response: &[u8]| asked(&MechanismName::Anonymous, response);
        let sirhc = STANDARD.decode("c2lyaGM=").unwrap();
        assert_eq!(anonymous(&sirhc), Ok(Some(Event::Anonymous { trace: "sirhc".into() })));
        assert!(anonymous(b"").is_ok() && anonymous("\u{e9}".repeat(255).as_bytes()).is_ok());
        for bad in ["\u{e9}".repeat(256).as_bytes(), b"a\n", b"\xff"] {
            assert!(matches!(anonymous(bad), Err(Error::Syntax(_))));
        }
    }

    #[test]
    fn our_client_is_whom_the_owner_says() {
        for (credentials, name, authzid) in [
            (Credentials::external("fred@example.com"), MechanismName::External, Some("fred@example.com")),
            (Credentials::external(""), MechanismName::External, None),
            (Credentials::anonymous("sirhc"), MechanismName::Anonymous, None),
        ] {
            let duel = |answer: Answer| {
                let mut client =
                    sasl::start(&name, &credentials, &Channel::secured(), "mail.example", [1; 24]).unwrap();
                play(&mut *client, &mut *machine(&name), |_| answer.clone())
            };
            let outcome = duel(Answer::AcceptAs("fred".into()));
            assert_eq!(
                outcome.server,
                Event::Authenticated { user: "fred".into(), authzid: authzid.map(String::from) }
            );
            assert_eq!(outcome.client, Ok(()));
            assert_eq!(duel(Answer::Refuse).server, Event::Refused);
        }
    }

    #[test]
    fn a_yes_names_somebody() {
        for name in [MechanismName::External, MechanismName::Anonymous] {
            let mut machine = machine(&name);
            assert_eq!(machine.answer(Answer::Refuse), Err(Misuse::UnexpectedAnswer));
            assert!(machine.receive(NOW, &mut &b""[..]).is_ok());
            for wrong in [Answer::Accept, Answer::Password("x".into())] {
                assert_eq!(machine.answer(wrong), Err(Misuse::UnexpectedAnswer));
            }
            assert_eq!(machine.answer(Answer::Refuse), Ok(Some(Event::Refused)));
        }
    }
}
