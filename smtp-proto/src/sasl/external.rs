//! EXTERNAL (RFC 4422 appendix A) and ANONYMOUS (RFC 4505): one message that says who, and no proof.
//!
//! The rules of this file: the message may be empty, and is then sent as an empty response, not as none.

use proxy_proto::Secret;

use super::exchange::{Answer, Exchange, Steps};
use super::{Error, MechanismName, Misuse};

pub(super) struct Said(MechanismName);

/// EXTERNAL; an empty identity leaves it to the server.
pub(super) fn external(authzid: &str) -> Result<Exchange<Said>, Misuse> {
    if authzid.contains('\0') {
        return Err(Misuse::Prohibited("authorization identity"));
    }
    Ok(Exchange::client_first(Said(MechanismName::External), Secret::from(authzid)))
}

/// ANONYMOUS; the trace is of at most 255 characters and has no controls (RFC 4505 section 2).
pub(super) fn anonymous(trace: &str) -> Result<Exchange<Said>, Misuse> {
    if trace.chars().count() > 255 {
        return Err(Misuse::TooLong("trace"));
    }
    if trace.chars().any(char::is_control) {
        return Err(Misuse::Prohibited("trace"));
    }
    Ok(Exchange::client_first(Said(MechanismName::Anonymous), Secret::from(trace)))
}

impl Steps for Said {
    fn name(&self) -> &MechanismName {
        &self.0
    }

    fn challenge(&mut self, _: &[u8]) -> Result<Answer, Error> {
        Err(Error::OutOfOrder)
    }

    fn finish(&self) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proxy_proto::{Instant, Machine};

    fn said(mut machine: impl Machine<Error = Error>) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(machine.transmit(Instant::EPOCH, &mut out));
        assert_eq!(machine.finish(), Ok(()));
        out
    }

    #[test]
    fn the_examples_of_rfc_4422_appendix_a() {
        assert_eq!(said(external("").unwrap()), b"");
        assert_eq!(said(external("fred@example.com").unwrap()), b"fred@example.com");
    }

    #[test]
    fn the_example_of_rfc_4505_section_3() {
        assert_eq!(STANDARD.encode(said(anonymous("sirhc").unwrap())), "c2lyaGM=");
        assert_eq!(said(anonymous("").unwrap()), b"");
    }

    #[test]
    fn what_neither_can_carry_is_the_callers_slip() {
        assert_eq!(external("\0").err(), Some(Misuse::Prohibited("authorization identity")));
        assert_eq!(anonymous("a\n").err(), Some(Misuse::Prohibited("trace")));
        assert_eq!(anonymous(&"é".repeat(256)).err(), Some(Misuse::TooLong("trace")));
        assert!(anonymous(&"é".repeat(255)).is_ok());
    }

    #[test]
    fn no_challenge_is_expected() {
        let mut external = external("").unwrap();
        assert!(external.transmit(Instant::EPOCH, &mut Vec::new()));
        assert_eq!(external.receive(Instant::EPOCH, &mut &b"x"[..]), Err(Error::OutOfOrder));
    }
}
