//! SCRAM, the server side (RFC 5802 section 5), and what it stores of a user.
//!
//! The rules of this file: the password is never needed, only [`ScramKeys`]; a client that was told a false list of
//! mechanisms, or sees another channel, is an error and not a wrong password.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use proxy_proto::Secret;

use super::super::saslname;
use super::super::scram::{Attributes, ScramHash, decode, encode, is_nonce, password, text};
use super::super::{Channel, MAX_ITERATIONS, MIN_ITERATIONS, prepare};
use super::exchange::{Exchange, Next, Steps};
use super::{Answer, Error, Event, MechanismName, Misuse, Nonce};

/// What a server stores of a user for one digest (RFC 5802 section 3): not the password, nor enough to log in elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScramKeys {
    hash: ScramHash,
    salt: Vec<u8>,
    iterations: u32,
    stored_key: Secret,
    server_key: Secret,
}

impl ScramKeys {
    /// The keys as they were stored.
    ///
    /// # Errors
    ///
    /// [`Misuse::IterationCount`] out of its bounds; [`Misuse::Empty`] for the salt; [`Misuse::Prohibited`] for a key that is
    /// not of the digest's size.
    pub fn new(
        hash: ScramHash,
        salt: impl Into<Vec<u8>>,
        iterations: u32,
        stored_key: impl Into<Vec<u8>>,
        server_key: impl Into<Vec<u8>>,
    ) -> Result<Self, Misuse> {
        let (salt, stored_key, server_key) = (salt.into(), Secret::new(stored_key), Secret::new(server_key));
        if salt.is_empty() {
            return Err(Misuse::Empty("salt"));
        }
        if salt.len() > 1024 {
            return Err(Misuse::TooLong("salt"));
        }
        if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
            return Err(Misuse::IterationCount(iterations));
        }
        if [&stored_key, &server_key].iter().any(|key| key.expose().len() != hash.octets()) {
            return Err(Misuse::Prohibited("SCRAM key"));
        }
        Ok(Self { hash, salt, iterations, stored_key, server_key })
    }

    /// The keys of a password; at least 16 random octets of salt are advised.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and what SASLprep finds in the password.
    pub fn derive(hash: ScramHash, secret: &Secret, salt: impl Into<Vec<u8>>, iterations: u32) -> Result<Self, Misuse> {
        let prepared = password(secret)?;
        // Bounds first: the work below is as long as the count says.
        let blank = alloc::vec![0; hash.octets()];
        let mut keys = Self::new(hash, salt, iterations, blank.clone(), blank)?;
        let salted = hash.salted(prepared.expose(), &keys.salt, iterations);
        let client_key = hash.hmac(salted.expose(), b"Client Key");
        keys.stored_key = Secret::new(hash.digest(client_key.expose()));
        keys.server_key = hash.hmac(salted.expose(), b"Server Key");
        Ok(keys)
    }

    /// Keys that no password fits, for a user that does not exist: the exchange then looks like any with a wrong password.
    ///
    /// `secret` is the server's own and stays the same, so that a user name has one salt however often it is tried.
    ///
    /// # Errors
    ///
    /// [`Misuse::IterationCount`] out of its bounds; give the count that real users have.
    pub fn decoy(hash: ScramHash, secret: &Secret, user: &str, iterations: u32) -> Result<Self, Misuse> {
        let derive = |label: &str| hash.hmac(secret.expose(), format!("{label}\0{user}").as_bytes());
        let salt = derive("salt");
        Self::new(hash, &salt.expose()[..16], iterations, derive("stored key").expose(), derive("server key").expose())
    }

    /// The digest that the keys are for.
    pub const fn hash(&self) -> ScramHash {
        self.hash
    }

    /// The salt.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The iteration count.
    pub const fn iterations(&self) -> u32 {
        self.iterations
    }

    /// `StoredKey` of RFC 5802 section 3, with which a client's proof is verified.
    pub const fn stored_key(&self) -> &Secret {
        &self.stored_key
    }

    /// `ServerKey` of RFC 5802 section 3, with which the server proves itself.
    pub const fn server_key(&self) -> &Secret {
        &self.server_key
    }
}

pub(super) struct Scram {
    name: MechanismName,
    hash: ScramHash,
    channel: Channel,
    nonce: String,
    user: String,
    authzid: Option<String>,
    /// What `c=` must repeat.
    binding: Vec<u8>,
    client_first_bare: String,
    state: State,
}

enum State {
    First,
    Lookup,
    Final {
        keys: ScramKeys,
        server_first: String,
    },
    /// The client has to take note of our signature.
    Signed,
}

pub(super) fn start(name: &MechanismName, channel: &Channel, nonce: Nonce) -> Result<Exchange<Scram>, Misuse> {
    start_with(name, channel, encode(&nonce))
}

fn start_with(name: &MechanismName, channel: &Channel, nonce: String) -> Result<Exchange<Scram>, Misuse> {
    let Some(hash) = ScramHash::of(name) else { return Err(Misuse::Unavailable(name.clone())) };
    if name.binds_channel() && channel.bindings.is_empty() {
        return Err(Misuse::NoChannelBinding);
    }
    let scram = Scram {
        name: name.clone(),
        hash,
        channel: channel.clone(),
        nonce,
        user: String::new(),
        authzid: None,
        binding: Vec::new(),
        client_first_bare: String::new(),
        state: State::First,
    };
    Ok(Exchange::client_first(scram, Vec::new()))
}

impl Scram {
    fn client_first(&mut self, message: &str) -> Result<Next, Error> {
        let mut fields = message.splitn(3, ',');
        let (Some(flag), Some(authzid), Some(bare)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(Error::Syntax("gs2 header"));
        };
        let data = match (flag, flag.strip_prefix("p=")) {
            (_, Some(kind)) if self.name.binds_channel() => {
                let ours = self.channel.bindings.iter().find(|binding| binding.kind.as_str() == kind);
                &*ours.ok_or(Error::ChannelBinding)?.data
            }
            // It thinks that we cannot bind although we said so: somebody took -PLUS out of our list.
            ("y", _) if self.channel.plus_offered || self.name.binds_channel() => return Err(Error::ChannelBinding),
            ("n", _) if self.name.binds_channel() => return Err(Error::ChannelBinding),
            (_, Some(_)) => return Err(Error::ChannelBinding),
            ("y" | "n", _) => &[],
            _ => return Err(Error::Syntax("gs2 header")),
        };
        self.authzid = saslname::authzid(authzid)?;
        let header = &message.as_bytes()[..message.len() - bare.len()];
        self.binding = [header, data].concat();
        let [user, nonce] = Attributes::parse(bare)?.leading(b"nr")?;
        if !is_nonce(nonce) {
            return Err(Error::Syntax("nonce"));
        }
        let unprepared = saslname::unescape(user)?;
        self.user = prepare(&unprepared, "user name").map_err(|_| Error::Syntax("user name"))?;
        self.nonce.insert_str(0, nonce);
        self.client_first_bare = bare.into();
        self.state = State::Lookup;
        let (authzid, user, mechanism) = (self.authzid.clone(), self.user.clone(), self.name.clone());
        Ok(Next::Ask(Event::Lookup { authzid, user, mechanism }))
    }

    /// The signature that the server owes, where the proof is right.
    fn verify(&self, keys: &ScramKeys, server_first: &str, message: &str) -> Result<Option<Secret>, Error> {
        let attributes = Attributes::parse(message)?;
        let [binding, nonce] = attributes.leading(b"cr")?;
        // The proof is the last attribute; extensions may stand before it.
        let Some((without_proof, proof)) = message.rsplit_once(",p=") else { return Err(Error::Syntax("no proof")) };
        if decode(binding)? != self.binding {
            return Err(Error::ChannelBinding);
        }
        if nonce != self.nonce {
            return Err(Error::NonceMismatch);
        }
        let proof = decode(proof)?;
        if proof.len() != self.hash.octets() {
            return Ok(None);
        }
        let auth_message = format!("{},{server_first},{without_proof}", self.client_first_bare);
        let signature = self.hash.hmac(keys.stored_key.expose(), auth_message.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(signature.expose()).map(|(a, b)| a ^ b).collect();
        let client_key = Secret::new(client_key);
        // Secret compares in constant time.
        let right = Secret::new(self.hash.digest(client_key.expose())) == keys.stored_key;
        Ok(right.then(|| self.hash.hmac(keys.server_key.expose(), auth_message.as_bytes())))
    }
}

impl Steps for Scram {
    fn name(&self) -> &MechanismName {
        &self.name
    }

    fn response(&mut self, response: &[u8]) -> Result<Next, Error> {
        match &self.state {
            State::First => self.client_first(text(response)?),
            State::Final { keys, server_first } => {
                let Some(signature) = self.verify(keys, server_first, text(response)?)? else {
                    return Ok(Next::Refused);
                };
                self.state = State::Signed;
                Ok(Next::Challenge(format!("v={}", encode(signature.expose())).into_bytes()))
            }
            State::Signed if response.is_empty() => {
                Ok(Next::Accepted(Event::Authenticated { user: self.user.clone(), authzid: self.authzid.clone() }))
            }
            State::Signed | State::Lookup => Err(Error::OutOfOrder),
        }
    }

    fn answer(&mut self, answer: Answer) -> Result<Next, Misuse> {
        match answer {
            Answer::Scram(keys) if keys.hash == self.hash => {
                let server_first = format!("r={},s={},i={}", self.nonce, encode(&keys.salt), keys.iterations);
                let challenge = server_first.clone().into_bytes();
                self.state = State::Final { keys, server_first };
                Ok(Next::Challenge(challenge))
            }
            Answer::Refuse => Ok(Next::Refused),
            _ => Err(Misuse::UnexpectedAnswer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::duel::{Outcome, play};
    use super::super::{self as server, Mechanism};
    use super::*;
    use crate::sasl::{self, BindingKind, Credentials};
    use MechanismName as M;
    use proxy_proto::{Instant, Machine};

    const NOW: Instant = Instant::EPOCH;
    const ALL: [M; 6] =
        [M::ScramSha1, M::ScramSha256, M::ScramSha512, M::ScramSha1Plus, M::ScramSha256Plus, M::ScramSha512Plus];

    fn bound() -> Channel {
        Channel::secured().binding(BindingKind::TlsExporter, [7; 32]).plus_offered(true)
    }

    fn duel(name: &M, stored: &str, given: &str, client: &Channel, server: &Channel) -> Outcome {
        let credentials = Credentials::password("u=s,er", given).authzid("oth,er");
        let mut client = sasl::start(name, &credentials, client, "mail.example", [1; 24]).unwrap();
        let mut server = server::start(name, server, "mail.example", [2; 24]).unwrap();
        play(&mut *client, &mut *server, |event| {
            let Event::Lookup { user, authzid, mechanism } = event else { panic!("{event:?}") };
            assert_eq!((&**user, authzid.as_deref(), mechanism), ("u=s,er", Some("oth,er"), name));
            let hash = ScramHash::of(name).unwrap();
            Answer::Scram(ScramKeys::derive(hash, &stored.into(), *b"0123456789abcdef", 4096).unwrap())
        })
    }

    #[test]
    fn right_and_wrong_password() {
        for name in &ALL {
            let outcome = duel(name, "pencil", "pencil", &bound(), &bound());
            let authenticated = Event::Authenticated { user: "u=s,er".into(), authzid: Some("oth,er".into()) };
            assert_eq!(outcome, Outcome { server: authenticated, client: Ok(()), told: None }, "{name}");
            assert_eq!(duel(name, "pencil", "pen", &bound(), &bound()).server, Event::Refused, "{name}");
        }
    }

    #[test]
    fn passwords_that_look_the_same_are_the_same() {
        let outcome = duel(&M::ScramSha256, "IX", "\u{2168}", &bound(), &bound());
        assert!(matches!(outcome.server, Event::Authenticated { .. }));
    }

    /// Takes the messages of a published exchange as the server; `nonces` are the client's and ours.
    fn published(name: &M, nonces: [&str; 2], salt: &str, proof: &str, signature: &str) {
        let [theirs, ours] = nonces;
        let mut scram = start_with(name, &Channel::clear(), ours.into()).unwrap();
        let first = format!("n,,n=user,r={theirs}");
        let asked = scram.receive(NOW, &mut first.as_bytes());
        assert!(matches!(asked, Ok(Some(Event::Lookup { user, authzid: None, .. })) if user == "user"));
        let keys =
            ScramKeys::derive(ScramHash::of(name).unwrap(), &"pencil".into(), decode(salt).unwrap(), 4096).unwrap();
        assert_eq!(scram.answer(Answer::Scram(keys)), Ok(None));
        let mut out = Vec::new();
        assert!(scram.transmit(NOW, &mut out));
        assert_eq!(text(&out), Ok(&*format!("r={theirs}{ours},s={salt},i=4096")));
        let last = format!("c=biws,r={theirs}{ours},p={proof}");
        assert_eq!(scram.receive(NOW, &mut last.as_bytes()), Ok(None), "{name}");
        out.clear();
        assert!(scram.transmit(NOW, &mut out));
        assert_eq!(text(&out), Ok(&*format!("v={signature}")));
        assert_eq!(scram.finish(), Err(Error::OutOfOrder));
    }

    #[test]
    fn the_exchange_of_rfc_5802_section_5() {
        published(
            &M::ScramSha1,
            ["fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j"],
            "QSXCR+Q6sek8bf92",
            "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        );
    }

    #[test]
    fn the_exchange_of_rfc_7677_section_3() {
        published(
            &M::ScramSha256,
            ["rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"],
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        );
    }

    /// No RFC has an example for SHA-512; this one is in the tests of Apache Qpid Proton and of other implementations.
    #[test]
    fn the_exchange_for_sha_512_that_implementations_share() {
        published(
            &M::ScramSha512,
            ["rOprNGfwEbeRWgbNEkqO", "02431b08-2f89-4bad-a4e6-80c0564ec865"],
            "Yin2FuHTt/M0kJWb0t9OI32n2VmOGi3m+JfjOvuDF88=",
            "Hc5yec3NmCD7t+kFRw4/3yD6/F3SQHc7AVYschRja+Bc3sbdjlA0eH1OjJc0DD4ghn1tnXN5/Wr6qm9xmaHt4A==",
            "BQuhnKHqYDwQWS5jAw4sZed+C9KFUALsbrq81bB0mh+bcUUbbMPNNmBIupnS2AmyyDnG5CTBQtkjJ9kyY4kzmw==",
        );
    }

    fn first(name: &M, channel: &Channel, message: &str) -> Result<Option<Event>, Error> {
        start(name, channel, [2; 24]).unwrap().receive(NOW, &mut message.as_bytes())
    }

    #[test]
    fn a_forged_list_of_mechanisms_is_found_out() {
        let error = Err(Error::ChannelBinding);
        assert_eq!(first(&M::ScramSha1, &bound(), "y,,n=u,r=x"), error);
        assert_eq!(first(&M::ScramSha1Plus, &bound(), "n,,n=u,r=x"), error);
        assert_eq!(first(&M::ScramSha1Plus, &bound(), "p=tls-unique,,n=u,r=x"), error);
        assert_eq!(first(&M::ScramSha1, &bound(), "p=tls-exporter,,n=u,r=x"), error);
        assert!(first(&M::ScramSha1, &Channel::secured(), "y,,n=u,r=x").is_ok());
        assert!(first(&M::ScramSha1, &bound(), "n,,n=u,r=x").is_ok());
    }

    #[test]
    fn another_channel_is_found_out() {
        let elsewhere = Channel::secured().binding(BindingKind::TlsExporter, [8; 32]);
        let credentials = Credentials::password("user", "pencil");
        let mut client = sasl::start(&M::ScramSha1Plus, &credentials, &elsewhere, "mail.example", [1; 24]).unwrap();
        let mut server = server::start(&M::ScramSha1Plus, &bound(), "mail.example", [2; 24]).unwrap();
        let mut message = Vec::new();
        assert!(client.transmit(NOW, &mut message));
        assert!(matches!(server.receive(NOW, &mut &message[..]), Ok(Some(Event::Lookup { .. }))));
        let keys = ScramKeys::derive(ScramHash::Sha1, &"pencil".into(), *b"salt", 4096).unwrap();
        assert_eq!(server.answer(Answer::Scram(keys)), Ok(None));
        message.clear();
        assert!(server.transmit(NOW, &mut message));
        assert_eq!(client.receive(NOW, &mut &message[..]), Ok(None));
        message.clear();
        assert!(client.transmit(NOW, &mut message));
        assert_eq!(server.receive(NOW, &mut &message[..]), Err(Error::ChannelBinding));
    }

    #[test]
    fn malformed_first_messages_are_errors() {
        for bad in [
            "",
            "n",
            "n,",
            "n,,",
            "x,,n=u,r=x",
            "n,b=x,n=u,r=x",
            "n,a=,n=u,r=x",
            "n,,r=x,n=u",
            "n,,n=u",
            "n,,n=,r=x",
            "n,,n=u,r=",
            "n,,n=a=b,r=x",
            "n,,n=u,r=x,r=y",
        ] {
            assert!(first(&M::ScramSha1, &Channel::clear(), bad).is_err(), "{bad}");
        }
        assert_eq!(first(&M::ScramSha1, &Channel::clear(), "n,,m=a,n=u,r=x"), Err(Error::MandatoryExtension));
    }

    #[test]
    fn keys_for_another_digest_or_another_question_are_the_callers_slip() {
        let mut scram = start(&M::ScramSha1, &Channel::clear(), [2; 24]).unwrap();
        assert!(scram.receive(NOW, &mut &b"n,,n=u,r=x"[..]).is_ok());
        let keys = ScramKeys::derive(ScramHash::Sha256, &"pencil".into(), *b"salt", 4096).unwrap();
        assert_eq!(scram.answer(Answer::Scram(keys)), Err(Misuse::UnexpectedAnswer));
        assert_eq!(scram.answer(Answer::Accept), Err(Misuse::UnexpectedAnswer));
        assert_eq!(scram.answer(Answer::Refuse), Ok(Some(Event::Refused)));
    }

    #[test]
    fn a_decoy_is_steady_and_fits_no_password() {
        let decoy = |user| ScramKeys::decoy(ScramHash::Sha256, &"server secret".into(), user, 4096).unwrap();
        assert_eq!(decoy("a"), decoy("a"));
        assert_ne!(decoy("a").salt(), decoy("b").salt());
    }

    #[test]
    fn unfit_keys_are_refused() {
        let new =
            |salt: &[u8], count, size| ScramKeys::new(ScramHash::Sha1, salt, count, [0; 20], alloc::vec![0; size]);
        assert_eq!(new(b"", 4096, 20).err(), Some(Misuse::Empty("salt")));
        assert_eq!(new(b"x", 1, 20).err(), Some(Misuse::IterationCount(1)));
        assert_eq!(new(b"x", 4096, 19).err(), Some(Misuse::Prohibited("SCRAM key")));
    }

    #[test]
    fn keys_are_told_as_they_are_stored() {
        let (stored, key) = (Secret::new([1; 20]), Secret::new([2; 20]));
        let keys = ScramKeys::new(ScramHash::Sha1, *b"salt", 4096, [1; 20], [2; 20]).unwrap();
        assert_eq!((keys.hash(), keys.salt(), keys.iterations()), (ScramHash::Sha1, &b"salt"[..], 4096));
        assert_eq!((keys.stored_key(), keys.server_key()), (&stored, &key));
        let new = |salt: usize| ScramKeys::new(ScramHash::Sha1, alloc::vec![0; salt], 4096, [0; 20], [0; 20]);
        assert!(new(1024).is_ok());
        assert_eq!(new(1025).err(), Some(Misuse::TooLong("salt")));
    }

    #[test]
    fn a_name_that_binds_needs_something_to_bind_to() {
        for (name, binds) in [(M::ScramSha1, false), (M::ScramSha1Plus, true)] {
            let slip = start(&name, &Channel::secured(), [2; 24]).err();
            assert_eq!(slip, binds.then_some(Misuse::NoChannelBinding), "{name}");
        }
    }

    /// The messages of RFC 5802 section 5, as far as the client's last.
    fn asked() -> Exchange<Scram> {
        let mut scram = start_with(&M::ScramSha1, &Channel::clear(), "3rfcNHYJY1ZVvWVs7j".into()).unwrap();
        assert!(scram.receive(NOW, &mut &b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"[..]).is_ok());
        let salt = decode("QSXCR+Q6sek8bf92").unwrap();
        let keys = ScramKeys::derive(ScramHash::Sha1, &"pencil".into(), salt, 4096).unwrap();
        assert_eq!(scram.answer(Answer::Scram(keys)), Ok(None));
        assert!(scram.transmit(NOW, &mut Vec::new()));
        scram
    }

    #[test]
    fn a_proof_of_another_length_or_for_another_nonce_lets_nobody_in() {
        let whole = "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=";
        assert_eq!(asked().receive(NOW, &mut whole.as_bytes()), Ok(None));
        // 19 and 21 octets: the digest of RFC 5802's mechanism has 20.
        for proof in ["v0X8v3Bz2T0CJGbJQyF0X+HI4Q==", "v0X8v3Bz2T0CJGbJQyF0X+HI4TsA", "AA=="] {
            let last = ["c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=", proof].concat();
            assert_eq!(asked().receive(NOW, &mut last.as_bytes()), Ok(Some(Event::Refused)), "{proof}");
        }
        let last = whole.replace("ZVvWVs7j", "ZVvWVs7k");
        assert_eq!(asked().receive(NOW, &mut last.as_bytes()), Err(Error::NonceMismatch));
        assert_eq!(asked().receive(NOW, &mut &b"c=biws,r=x"[..]), Err(Error::Syntax("no proof")));
    }

    #[test]
    fn behind_the_signature_only_an_empty_message_may_come() {
        let whole = b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=";
        for (message, good) in [(&b""[..], true), (b"x", false), (whole, false)] {
            let mut scram = asked();
            assert_eq!(scram.receive(NOW, &mut &whole[..]), Ok(None));
            assert!(scram.transmit(NOW, &mut Vec::new()));
            let got = scram.receive(NOW, &mut &message[..]);
            assert_eq!(matches!(got, Ok(Some(Event::Authenticated { .. }))), good);
            assert_eq!(got.is_err(), !good);
            assert_eq!(scram.finish().is_ok(), good);
        }
    }
}
