//! PLAIN (RFC 4616): `[authzid] NUL authcid NUL passwd`, in one message.
//!
//! The rules of this file: the strings go out as the caller gave them, since preparing them is the server's part (RFC 4616
//! section 2); the password need not be UTF-8, because there are servers that compare octets.

use alloc::vec::Vec;

use proxy_proto::Secret;

use super::exchange::{Answer, Exchange, Steps};
use super::{Error, MechanismName, Misuse};

pub(super) struct Plain(());

pub(super) fn start(authzid: Option<&str>, user: &str, password: &Secret) -> Result<Exchange<Plain>, Misuse> {
    let authzid = authzid.unwrap_or_default();
    if user.is_empty() {
        return Err(Misuse::Empty("user name"));
    }
    if password.expose().is_empty() {
        return Err(Misuse::Empty("password"));
    }
    for (field, octets) in [
        ("authorization identity", authzid.as_bytes()),
        ("user name", user.as_bytes()),
        ("password", password.expose()),
    ] {
        if octets.contains(&0) {
            return Err(Misuse::Prohibited(field));
        }
    }
    // The exact size at once: a vector that grows would leave copies of the password behind.
    let mut message = Vec::with_capacity(authzid.len() + user.len() + password.expose().len() + 2);
    message.extend_from_slice(authzid.as_bytes());
    message.push(0);
    message.extend_from_slice(user.as_bytes());
    message.push(0);
    message.extend_from_slice(password.expose());
    Ok(Exchange::client_first(Plain(()), Secret::new(message)))
}

impl Steps for Plain {
    fn name(&self) -> &MechanismName {
        &MechanismName::Plain
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
    use proxy_proto::{Instant, Machine};

    const NOW: Instant = Instant::EPOCH;

    fn initial(authzid: Option<&str>, user: &str, password: &str) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(start(authzid, user, &Secret::from(password)).unwrap().transmit(NOW, &mut out));
        out
    }

    #[test]
    fn the_examples_of_rfc_4616_section_4() {
        assert_eq!(initial(None, "tim", "tanstaaftanstaaf"), b"\0tim\0tanstaaftanstaaf");
        assert_eq!(initial(Some("Ursel"), "Kurt", "xipj3plmq"), b"Ursel\0Kurt\0xipj3plmq");
    }

    #[test]
    fn an_empty_challenge_asks_for_the_initial_response() {
        let mut plain = start(None, "tim", &"x".into()).unwrap();
        assert_eq!(plain.receive(NOW, &mut &b""[..]), Ok(None));
        let mut out = Vec::new();
        assert!(plain.transmit(NOW, &mut out));
        assert_eq!(out, b"\0tim\0x");
        assert!(!plain.transmit(NOW, &mut out));
        assert_eq!(plain.finish(), Ok(()));
    }

    #[test]
    fn nothing_may_follow_and_the_error_sticks() {
        let mut plain = start(None, "tim", &"x".into()).unwrap();
        assert!(plain.transmit(NOW, &mut Vec::new()));
        for _ in 0..2 {
            assert_eq!(plain.receive(NOW, &mut &b"more"[..]), Err(Error::OutOfOrder));
        }
        assert_eq!(plain.finish(), Err(Error::OutOfOrder));
        assert!(!plain.transmit(NOW, &mut Vec::new()));
    }

    #[test]
    fn success_before_the_response_is_not_success() {
        assert_eq!(start(None, "tim", &"x".into()).unwrap().finish(), Err(Error::OutOfOrder));
    }

    #[test]
    fn nul_and_emptiness_are_the_callers_slip() {
        let slip = |authzid, user, password: &str| start(authzid, user, &password.into()).err();
        assert_eq!(slip(None, "t\0m", "x"), Some(Misuse::Prohibited("user name")));
        assert_eq!(slip(None, "tim", "\0"), Some(Misuse::Prohibited("password")));
        assert_eq!(slip(Some("\0"), "tim", "x"), Some(Misuse::Prohibited("authorization identity")));
        assert_eq!(slip(None, "", "x"), Some(Misuse::Empty("user name")));
        assert_eq!(slip(None, "tim", ""), Some(Misuse::Empty("password")));
    }
}
