//! CRAM-MD5 (RFC 2195): the user name, a space, and HMAC-MD5 of the challenge in hexadecimal.
//!
//! The rules of this file: the challenge is digested as it came, since its form (a msg-id) matters to no one but the server;
//! only an empty one is refused, because its digest would be the same every time.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use hmac::{Hmac, Mac};
use md5::Md5;
use proxy_proto::Secret;

use super::exchange::{Answer, Exchange, Steps};
use super::{Error, MechanismName, Misuse};

pub(super) struct CramMd5 {
    user: String,
    password: Secret,
    answered: bool,
}

pub(super) fn start(user: &str, password: &Secret) -> Result<Exchange<CramMd5>, Misuse> {
    if user.is_empty() {
        return Err(Misuse::Empty("user name"));
    }
    if user.contains('\0') {
        return Err(Misuse::Prohibited("user name"));
    }
    Ok(Exchange::server_first(CramMd5 { user: user.into(), password: password.clone(), answered: false }))
}

/// The 32 lower-case hexadecimal digits of the keyed digest.
pub(super) fn digest(password: &Secret, challenge: &[u8]) -> String {
    // HMAC takes keys of any length, so there is no error to report; an empty string would match no digest.
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(password.expose()) else { return String::new() };
    mac.update(challenge);
    let mut hex = String::with_capacity(32);
    for octet in mac.finalize().into_bytes() {
        let _ = write!(hex, "{octet:02x}"); // a String takes everything
    }
    hex
}

impl Steps for CramMd5 {
    fn name(&self) -> &MechanismName {
        &MechanismName::CramMd5
    }

    fn challenge(&mut self, challenge: &[u8]) -> Result<Answer, Error> {
        if self.answered {
            return Err(Error::OutOfOrder);
        }
        if challenge.is_empty() {
            return Err(Error::Syntax("empty challenge"));
        }
        self.answered = true;
        let mut response = Vec::from(self.user.as_bytes());
        response.push(b' ');
        response.extend_from_slice(digest(&self.password, challenge).as_bytes());
        Ok(Secret::new(response).into())
    }

    fn finish(&self) -> Result<(), Error> {
        if self.answered { Ok(()) } else { Err(Error::OutOfOrder) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_proto::{Instant, Machine};

    const NOW: Instant = Instant::EPOCH;

    #[test]
    fn the_example_of_rfc_2195_section_2() {
        let mut cram = start("tim", &"tanstaaftanstaaf".into()).unwrap();
        let mut out = Vec::new();
        assert!(!cram.transmit(NOW, &mut out));
        let mut challenge = &b"<1896.697170952@postoffice.reston.mci.net>"[..];
        assert_eq!(cram.receive(NOW, &mut challenge), Ok(None));
        assert!(challenge.is_empty());
        assert!(cram.transmit(NOW, &mut out));
        assert_eq!(out, b"tim b913a602c7eda7a495b4e6e7334d3890");
        assert_eq!(cram.finish(), Ok(()));
    }

    #[test]
    fn keys_longer_than_a_block_are_digested_first() {
        // RFC 2202 section 2, test case 6.
        let key = Secret::new([0xaa; 80]);
        let data = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(digest(&key, data), "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }

    #[test]
    fn a_second_challenge_an_empty_one_and_an_early_success_are_errors() {
        let mut cram = start("tim", &"x".into()).unwrap();
        assert_eq!(cram.receive(NOW, &mut &b"<1@a>"[..]), Ok(None));
        assert!(cram.transmit(NOW, &mut Vec::new()));
        assert_eq!(cram.receive(NOW, &mut &b"<2@a>"[..]), Err(Error::OutOfOrder));
        let mut cram = start("tim", &"x".into()).unwrap();
        assert_eq!(cram.receive(NOW, &mut &b""[..]), Err(Error::Syntax("empty challenge")));
        assert_eq!(start("tim", &"x".into()).unwrap().finish(), Err(Error::OutOfOrder));
    }

    #[test]
    fn a_name_that_cannot_be_sent_is_the_callers_slip() {
        let slip = |user| start(user, &"x".into()).err();
        assert_eq!(slip(""), Some(Misuse::Empty("user name")));
        assert_eq!(slip("a\0b"), Some(Misuse::Prohibited("user name")));
        // RFC 2195 section 2: the digest stands behind the last space, so the name may hold some.
        assert_eq!(slip("a b"), None);
    }
}
