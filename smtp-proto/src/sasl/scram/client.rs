//! SCRAM, the client side (RFC 5802 section 5).
//!
//! The rules of this file: the proof goes out only to a nonce that extends ours, under a bounded number of iterations; the
//! exchange ends well only after the server's signature was verified, whatever the server says.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use proxy_proto::Secret;

use super::super::exchange::{Answer, Exchange, Steps};
use super::super::saslname::escape;
use super::super::{Channel, Error, Event, MechanismName, Misuse, prepare};
use super::{Attributes, ScramHash, decode, encode, is_nonce, iterations, text};

pub(in super::super) struct Scram {
    name: MechanismName,
    hash: ScramHash,
    password: Secret,
    nonce: String,
    /// The gs2 header and what it binds to: what `c=` repeats.
    binding: Vec<u8>,
    client_first_bare: String,
    state: State,
}

enum State {
    First,
    Final { signature: Secret },
    Verified,
    Refused,
}

/// Starts `name`, which must be a SCRAM mechanism. The nonce is text as RFC 5802 section 7 wants it.
pub(in super::super) fn start(
    name: &MechanismName,
    authzid: Option<&str>,
    user: &str,
    password: &Secret,
    channel: &Channel,
    nonce: String,
) -> Result<Exchange<Scram>, Misuse> {
    let Some(hash) = ScramHash::of(name) else { return Err(Misuse::Unavailable(name.clone())) };
    if authzid.is_some_and(|id| id.contains('\0')) {
        return Err(Misuse::Prohibited("authorization identity"));
    }
    let user = prepare(user, "user name")?;
    let password = super::password(password)?;
    let mut data = &[][..];
    let flag = match channel.bindings.first() {
        Some(binding) if name.binds_channel() => {
            data = &binding.data;
            format!("p={}", binding.kind.as_str())
        }
        None if name.binds_channel() => return Err(Misuse::NoChannelBinding),
        // We could bind, and were told that the server cannot: it will know whether that was true.
        Some(_) if !channel.plus_offered => "y".into(),
        _ => "n".into(),
    };
    let authzid = authzid.map(|id| format!("a={}", escape(id))).unwrap_or_default();
    let header = format!("{flag},{authzid},");
    let client_first_bare = format!("n={},r={nonce}", escape(&user));
    let initial = Secret::from(format!("{header}{client_first_bare}"));
    let binding = [header.as_bytes(), data].concat();
    let scram = Scram { name: name.clone(), hash, password, nonce, binding, client_first_bare, state: State::First };
    Ok(Exchange::client_first(scram, initial))
}

impl Scram {
    /// Takes the server-first-message; gives the client-final-message, and the signature that the server owes for it.
    fn proof(&self, server_first: &str) -> Result<(String, Secret), Error> {
        let [nonce, salt, count] = Attributes::parse(server_first)?.leading(b"rsi")?;
        match nonce.strip_prefix(&*self.nonce) {
            Some(theirs) if is_nonce(theirs) => {}
            _ => return Err(Error::NonceMismatch),
        }
        let (salt, count) = (decode(salt)?, iterations(count)?);
        if salt.is_empty() {
            return Err(Error::Syntax("empty salt"));
        }
        let without_proof = format!("c={},r={nonce}", encode(&self.binding));
        let auth_message = format!("{},{server_first},{without_proof}", self.client_first_bare);
        let salted = self.hash.salted(self.password.expose(), &salt, count);
        let client_key = self.hash.hmac(salted.expose(), b"Client Key");
        let stored_key = Secret::new(self.hash.digest(client_key.expose()));
        let signature = self.hash.hmac(stored_key.expose(), auth_message.as_bytes());
        let proof: Vec<u8> = client_key.expose().iter().zip(signature.expose()).map(|(a, b)| a ^ b).collect();
        let server_key = self.hash.hmac(salted.expose(), b"Server Key");
        let owed = self.hash.hmac(server_key.expose(), auth_message.as_bytes());
        Ok((format!("{without_proof},p={}", encode(&proof)), owed))
    }
}

impl Steps for Scram {
    fn name(&self) -> &MechanismName {
        &self.name
    }

    fn challenge(&mut self, challenge: &[u8]) -> Result<Answer, Error> {
        let message = text(challenge)?;
        match &self.state {
            State::First => {
                let (response, signature) = self.proof(message)?;
                self.state = State::Final { signature };
                Ok(Secret::from(response).into())
            }
            State::Final { signature } => {
                let attributes = Attributes::parse(message)?;
                if let Some(error) = attributes.first(b'e') {
                    self.state = State::Refused;
                    let event = Some(Event::ServerError(error.into()));
                    return Ok(Answer { response: Secret::from(""), event });
                }
                let [verifier] = attributes.leading(b"v")?;
                // Secret compares in constant time.
                if Secret::new(decode(verifier)?) != *signature {
                    return Err(Error::ServerNotAuthentic);
                }
                self.state = State::Verified;
                Ok(Secret::from("").into())
            }
            State::Verified | State::Refused => Err(Error::OutOfOrder),
        }
    }

    fn finish(&self) -> Result<(), Error> {
        match self.state {
            State::Verified => Ok(()),
            State::First => Err(Error::OutOfOrder),
            State::Final { .. } | State::Refused => Err(Error::ServerUnproven),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::BindingKind;
    use super::*;
    use MechanismName as M;
    use proxy_proto::{Instant, Machine};

    const NOW: Instant = Instant::EPOCH;

    fn pencil(name: &M, nonce: &str) -> Exchange<Scram> {
        start(name, None, "user", &"pencil".into(), &Channel::clear(), nonce.into()).unwrap()
    }

    fn said(machine: &mut impl Machine) -> String {
        let mut out = Vec::new();
        assert!(machine.transmit(NOW, &mut out));
        String::from_utf8(out).unwrap()
    }

    /// Plays a published exchange, all four messages.
    fn published(name: &M, nonce: &str, first: &str, last: &str, proof: &str, verifier: &str) {
        let mut scram = pencil(name, nonce);
        assert_eq!(said(&mut scram), format!("n,,n=user,r={nonce}"));
        assert_eq!(scram.receive(NOW, &mut first.as_bytes()), Ok(None));
        assert_eq!(said(&mut scram), format!("{last},p={proof}"));
        assert_eq!(scram.receive(NOW, &mut format!("v={verifier}").as_bytes()), Ok(None));
        assert_eq!(said(&mut scram), "");
        assert_eq!(scram.finish(), Ok(()));
    }

    #[test]
    fn the_exchange_of_rfc_5802_section_5() {
        published(
            &M::ScramSha1,
            "fyko+d2lbbFgONRv9qkxdawL",
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
            "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        );
    }

    #[test]
    fn the_exchange_of_rfc_7677_section_3() {
        published(
            &M::ScramSha256,
            "rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        );
    }

    /// No RFC has an example for SHA-512; this one is in the tests of Apache Qpid Proton and of other implementations.
    #[test]
    fn the_exchange_for_sha_512_that_implementations_share() {
        published(
            &M::ScramSha512,
            "rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO02431b08-2f89-4bad-a4e6-80c0564ec865,s=Yin2FuHTt/M0kJWb0t9OI32n2VmOGi3m+JfjOvuDF88=,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO02431b08-2f89-4bad-a4e6-80c0564ec865",
            "Hc5yec3NmCD7t+kFRw4/3yD6/F3SQHc7AVYschRja+Bc3sbdjlA0eH1OjJc0DD4ghn1tnXN5/Wr6qm9xmaHt4A==",
            "BQuhnKHqYDwQWS5jAw4sZed+C9KFUALsbrq81bB0mh+bcUUbbMPNNmBIupnS2AmyyDnG5CTBQtkjJ9kyY4kzmw==",
        );
    }

    #[test]
    fn the_gs2_flag_says_what_each_end_can() {
        let first = |name: &M, channel: &Channel, authzid| {
            said(&mut start(name, authzid, "user", &"pencil".into(), channel, "N".into()).unwrap())
        };
        let bound = Channel::secured().binding(BindingKind::TlsExporter, [1, 2]).binding(BindingKind::TlsUnique, [3]);
        assert_eq!(first(&M::ScramSha1Plus, &bound, None), "p=tls-exporter,,n=user,r=N");
        assert_eq!(first(&M::ScramSha1, &bound, None), "y,,n=user,r=N");
        assert_eq!(first(&M::ScramSha1, &bound.plus_offered(true), None), "n,,n=user,r=N");
        assert_eq!(first(&M::ScramSha1, &Channel::secured(), Some("a,b")), "n,a=a=2Cb,n=user,r=N");
        let bare = start(&M::ScramSha1Plus, None, "user", &"pencil".into(), &Channel::secured(), "N".into());
        assert_eq!(bare.err(), Some(Misuse::NoChannelBinding));
    }

    #[test]
    fn the_binding_is_repeated_in_the_last_message() {
        let channel = Channel::secured().binding(BindingKind::TlsUnique, [0xff]);
        let mut scram = start(&M::ScramSha1Plus, None, "user", &"pencil".into(), &channel, "N".into()).unwrap();
        said(&mut scram);
        assert_eq!(scram.receive(NOW, &mut &b"r=Nx,s=QSXCR+Q6sek8bf92,i=4096"[..]), Ok(None));
        // RFC 5802 section 7: cbind-input is the gs2 header and the data; in base64 of RFC 4648.
        let expected = encode(b"p=tls-unique,,\xff");
        assert!(said(&mut scram).starts_with(&format!("c={expected},r=Nx,p=")));
    }

    #[test]
    fn names_are_prepared_and_escaped() {
        let first =
            |user| said(&mut start(&M::ScramSha1, None, user, &"x".into(), &Channel::clear(), "N".into()).unwrap());
        assert_eq!(first("a=b,c"), "n,,n=a=3Db=2Cc,r=N");
        assert_eq!(first("I\u{ad}X"), "n,,n=IX,r=N");
        let slip = |user: &str, password: Secret| {
            start(&M::ScramSha1, None, user, &password, &Channel::clear(), "N".into()).err()
        };
        assert_eq!(slip("\u{7}", "x".into()), Some(Misuse::Prohibited("user name")));
        assert_eq!(slip("user", Secret::new([0xff])), Some(Misuse::NotUtf8("password")));
        assert_eq!(slip("user", "".into()), Some(Misuse::Empty("password")));
    }

    #[test]
    fn a_hostile_first_message_gets_no_proof() {
        for (bad, error) in [
            ("r=xx,s=QQ==,i=4096", Error::NonceMismatch),
            ("r=N,s=QQ==,i=4096", Error::NonceMismatch),
            ("r=N\u{e9},s=QQ==,i=4096", Error::NonceMismatch),
            ("r=Nx,s=QQ==,i=1", Error::IterationCount(1)),
            ("r=Nx,s=QQ==,i=4000000000", Error::IterationCount(4_000_000_000)),
            ("r=Nx,s=,i=4096", Error::Syntax("empty salt")),
            ("r=Nx,s=!,i=4096", Error::Syntax("base64")),
            ("m=a,r=Nx,s=QQ==,i=4096", Error::MandatoryExtension),
            ("r=Nx,s=QQ==,i=4096,i=4096", Error::Repeated("attribute")),
            ("v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", Error::Syntax("order of attributes")),
            ("", Error::Syntax("attribute")),
        ] {
            let mut scram = pencil(&M::ScramSha1, "N");
            said(&mut scram);
            for _ in 0..2 {
                assert_eq!(scram.receive(NOW, &mut bad.as_bytes()), Err(error.clone()), "{bad}");
            }
            assert!(!scram.transmit(NOW, &mut Vec::new()));
            assert_eq!(scram.finish(), Err(error));
        }
    }

    /// Up to the proof of RFC 5802's example.
    fn proved() -> Exchange<Scram> {
        let mut scram = pencil(&M::ScramSha1, "fyko+d2lbbFgONRv9qkxdawL");
        said(&mut scram);
        let mut first = &b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"[..];
        assert_eq!(scram.receive(NOW, &mut first), Ok(None));
        said(&mut scram);
        scram
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        assert_eq!(proved().receive(NOW, &mut &b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAA="[..]), Err(Error::ServerNotAuthentic));
        assert_eq!(proved().receive(NOW, &mut &b"v="[..]), Err(Error::ServerNotAuthentic));
        assert_eq!(proved().receive(NOW, &mut &b""[..]), Err(Error::Syntax("attribute")));
        assert_eq!(proved().finish(), Err(Error::ServerUnproven));
    }

    #[test]
    fn the_servers_error_is_told_and_is_no_success() {
        let mut scram = proved();
        let told = scram.receive(NOW, &mut &b"e=invalid-proof"[..]);
        assert_eq!(told, Ok(Some(Event::ServerError(b"invalid-proof".to_vec()))));
        assert_eq!(said(&mut scram), "");
        assert_eq!(scram.finish(), Err(Error::ServerUnproven));
    }

    #[test]
    fn an_identity_that_cannot_be_written_is_the_callers_slip_and_success_before_a_word_is_none() {
        // RFC 5802 section 7: a saslname holds no NUL.
        let slip = start(&M::ScramSha1, Some("a\0b"), "user", &"x".into(), &Channel::clear(), "N".into());
        assert_eq!(slip.err(), Some(Misuse::Prohibited("authorization identity")));
        let mut scram = pencil(&M::ScramSha1, "N");
        said(&mut scram);
        assert_eq!(scram.finish(), Err(Error::OutOfOrder));
    }
}
