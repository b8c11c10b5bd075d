//! The settings of TLS, each against a server in memory: what they permit, what they refuse and how it is said.

use std::sync::Arc;

use proxy_proto::{Instant, Machine};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use smtp_proto::client::Event;
use smtp_proto::rustls;
use smtp_proto::sasl::server::{Answer, Event as Found, Mechanism};
use smtp_proto::sasl::{BindingKind, Credentials, Error as SaslError, MechanismName, Misuse as SaslMisuse};
use smtp_proto::tls::{
    Acceptor, CertificateError, Connector, Error, Facts, Roots, Rustls, RustlsServer, ServerSettings, Session,
    Settings, Version,
};
use smtp_proto::{Accepted, Cause, Config, Connection, Misuse, Route, Security, server};
use tests::tls::Pki;
use tests::wire::Wire;

/// A key and its certificate, as PEM.
struct Certified {
    chain: String,
    key: String,
    der: Vec<u8>,
}

impl Certified {
    fn settings(&self) -> ServerSettings {
        ServerSettings::from_pem(self.chain.as_bytes(), self.key.as_bytes()).unwrap()
    }

    fn server(&self) -> RustlsServer {
        self.settings().acceptor().unwrap()
    }
}

/// An authority made for one test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    own: Certified,
}

fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn certified(certificate: &rcgen::Certificate, key: &KeyPair) -> Certified {
    Certified { chain: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
}

fn self_signed(params: &CertificateParams) -> Certified {
    let key = KeyPair::generate().unwrap();
    certified(&params.self_signed(&key).unwrap(), &key)
}

impl Authority {
    fn new(common_name: &str) -> Self {
        let mut params = params(common_name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let own = certified(&params.self_signed(&key).unwrap(), &key);
        Self { issuer: Issuer::new(params, key), own }
    }

    fn sign(&self, params: &CertificateParams) -> Certified {
        let key = KeyPair::generate().unwrap();
        certified(&params.signed_by(&key, &self.issuer).unwrap(), &key)
    }

    /// A server's certificate for `localhost`.
    fn localhost(&self) -> Certified {
        self.sign(&params("a server", &["localhost"]))
    }

    /// Settings that trust this authority, and nobody else.
    fn trusted(&self) -> Settings {
        Settings::default().roots(Roots::OnlyGiven).trust_pem(self.own.chain.as_bytes()).unwrap()
    }
}

fn config(connector: Rustls) -> Config {
    Config::new("localhost", 465).security(Security::Implicit).helo("client.example.org").tls(connector)
}

fn wire(config: Config, server: &RustlsServer) -> Wire {
    let acceptor = Arc::new(server.clone());
    Wire::new(config, server::Config::new("mx.example.org").unwrap(), Some(acceptor), true, 1000)
}

/// What both ends agreed on, or the client's error.
fn shake_hands(config: Config, server: &RustlsServer) -> Result<(Facts, Facts), Error> {
    let mut wire = wire(config, server);
    if wire.run_until(|event| *event == Event::Ready) {
        return Ok((wire.client.tls().unwrap().clone(), wire.server.tls().unwrap().clone()));
    }
    match wire.failure.expect("a failure").cause {
        Cause::Tls(error) => Err(error),
        other => panic!("not TLS: {other}"),
    }
}

fn misused<T>(result: Result<T, Misuse>) -> String {
    match result.err() {
        Some(Misuse::Tls { why }) => why,
        other => panic!("not a misuse of TLS: {other:?}"),
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let trusted = Authority::new("a trusted authority");
    let unknown = Authority::new("an unknown authority");
    let namesake = Authority::new("a server");
    let long_ago = |mut params: CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        params
    };
    let (mut far, mut ca, mut of_a_client) =
        (params("a", &["localhost"]), params("b", &["localhost"]), params("c", &["localhost"]));
    far.not_before = rcgen::date_time_ymd(3000, 1, 1);
    far.not_after = rcgen::date_time_ymd(3001, 1, 1);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    of_a_client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let right = || params("a server", &["localhost"]);

    type Is = fn(&CertificateError) -> bool;
    let cases: [(&str, Certified, Is, &str); 12] = [
        (
            "another name",
            trusted.sign(&params("localhost", &["elsewhere.example"])),
            |why| {
                let CertificateError::WrongName { expected, presented } = why else { return false };
                expected == "localhost" && presented == &["elsewhere.example"]
            },
            "it is not for localhost, but for elsewhere.example",
        ),
        ("expired", trusted.sign(&long_ago(right())), |why| matches!(why, CertificateError::Expired { .. }), "expired"),
        (
            "expired, of nobody known",
            unknown.sign(&long_ago(right())),
            |why| matches!(why, CertificateError::Expired { .. }),
            "days ago",
        ),
        ("not valid yet", trusted.sign(&far), |why| matches!(why, CertificateError::NotYetValid { .. }), "clock"),
        ("self-signed", self_signed(&right()), |why| *why == CertificateError::SelfSigned, "self-signed"),
        (
            "self-signed, and an authority's",
            self_signed(&ca),
            |why| *why == CertificateError::SelfSigned,
            "self-signed",
        ),
        (
            "an unknown authority",
            unknown.localhost(),
            |why| *why == CertificateError::UnknownAuthority,
            "not issued by an authority",
        ),
        (
            "an unknown authority of the server's own name",
            namesake.localhost(),
            |why| *why == CertificateError::UnknownAuthority,
            "not issued by an authority",
        ),
        ("an authority's own", unknown.sign(&ca), |why| *why == CertificateError::AnAuthoritys, "an authority's own"),
        (
            "a client's",
            trusted.sign(&of_a_client),
            |why| *why == CertificateError::WrongPurpose,
            "made for another purpose",
        ),
        (
            "the common name alone",
            trusted.sign(&params("localhost", &[])),
            |why| matches!(why, CertificateError::WrongName { presented, .. } if presented.is_empty()),
            "it is not for localhost",
        ),
        (
            "a wildcard of another depth",
            trusted.sign(&params("a", &["*.localhost"])),
            |why| matches!(why, CertificateError::WrongName { .. }),
            "*.localhost",
        ),
    ];
    for version in [Version::Tls12, Version::Tls13] {
        let settings = trusted.trusted().min(version).max(version);
        for (what, shown, is, says) in &cases {
            let error = shake_hands(config(settings.connector()), &shown.server()).unwrap_err();
            assert!(error.to_string().contains(says), "{what}: {error}");
            let Error::Certificate(why) = error else { panic!("{what}: {error:?}") };
            assert!(is(&why), "{what}: {why:?}");
            // The loud opt-out takes them all.
            let anything = settings.clone().danger_accept_invalid_certs();
            assert!(shake_hands(config(anything.connector()), &shown.server()).is_ok(), "{what}");
        }
        let (facts, _) = shake_hands(config(settings.connector()), &trusted.localhost().server()).unwrap();
        assert_eq!(facts.version, version.as_str());
    }
}

#[test]
fn not_even_the_loud_opt_out_takes_a_certificate_without_its_key() {
    let authority = Authority::new("an authority");
    let (stolen, other) = (authority.localhost(), authority.localhost());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    use rustls::pki_types::pem::PemObject;
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(other.key.as_bytes()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let shown = rustls::sign::CertifiedKey::new(vec![stolen.der.into()], key);
    for version in [Version::Tls12, Version::Tls13] {
        let built = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown.clone())));
        let server = RustlsServer::from(Arc::new(built));
        let settings = authority.trusted().min(version).max(version);
        for settings in [settings.clone(), settings.danger_accept_invalid_certs()] {
            assert!(shake_hands(config(settings.connector()), &server).is_err());
        }
    }
}

#[test]
fn the_version_is_one_that_both_permit_or_there_is_no_session() {
    use Version::{Tls12, Tls13};
    let authority = Authority::new("an authority");
    let server = authority.localhost();
    for (ours, theirs, agreed) in [
        ((Tls12, Tls13), (Tls12, Tls13), Some(Tls13)),
        ((Tls12, Tls12), (Tls12, Tls13), Some(Tls12)),
        ((Tls12, Tls13), (Tls12, Tls12), Some(Tls12)),
        ((Tls13, Tls13), (Tls12, Tls13), Some(Tls13)),
        ((Tls13, Tls13), (Tls12, Tls12), None),
        ((Tls12, Tls12), (Tls13, Tls13), None),
    ] {
        let settings = authority.trusted().min(ours.0).max(ours.1);
        let acceptor = server.settings().min(theirs.0).max(theirs.1).acceptor().unwrap();
        match (shake_hands(config(settings.connector()), &acceptor), agreed) {
            (Ok((client, server)), Some(version)) => {
                assert_eq!((&*client.version, &*server.version), (version.as_str(), version.as_str()));
                assert_eq!(client.cipher, server.cipher);
                let prefix = if version == Tls13 { "TLS_AES_" } else { "TLS_ECDHE_" };
                assert!(client.cipher.starts_with(prefix), "{}", client.cipher);
            }
            (Err(Error::Failed(why)), None) => assert!(why.contains("no TLS version in common"), "{why}"),
            (other, _) => panic!("{ours:?} with {theirs:?}: {other:?}"),
        }
    }
}

#[test]
fn versions_out_of_order_are_a_misuse() {
    let authority = Authority::new("an authority");
    let connector = authority.trusted().min(Version::Tls13).max(Version::Tls12).connector();
    for why in [
        misused(connector.check()),
        misused(connector.connect("localhost").map(drop)),
        misused(authority.localhost().settings().min(Version::Tls13).max(Version::Tls12).acceptor()),
    ] {
        assert!(why.contains("1.3") && why.contains("1.2"), "{why}");
    }
}

#[test]
fn whom_to_trust_is_chosen() {
    let authority = Authority::new("an authority");
    let server = authority.localhost().server();
    let pem = authority.own.chain.as_bytes();
    let accepted = |settings: Settings| shake_hands(config(settings.connector()), &server).map(drop);
    let unknown = Err(Error::Certificate(CertificateError::UnknownAuthority));

    let only = Settings::default().roots(Roots::OnlyGiven);
    assert_eq!(accepted(only.clone().trust_pem(pem).unwrap()), Ok(()));
    assert_eq!(accepted(only.clone().trust_der(&authority.own.der).unwrap()), Ok(()));
    assert_eq!(accepted(only.clone().trust_pem(Authority::new("another").own.chain.as_bytes()).unwrap()), unknown);
    let both = [pem, Authority::new("another").own.chain.as_bytes()].concat();
    assert_eq!(accepted(only.clone().trust_pem(&both).unwrap()), Ok(()), "several in one text");
    assert!(misused(only.connector().check()).contains("nobody to trust"));

    let mozilla = Settings::default().roots(Roots::WebPki);
    assert_eq!(accepted(mozilla.clone()), unknown);
    assert_eq!(accepted(mozilla.trust_pem(pem).unwrap()), Ok(()), "beside Mozilla's");
    assert_eq!(accepted(Settings::default().trust_pem(pem).unwrap()), Ok(()), "beside the platform's");
    let another = Settings::default().trust_pem(Authority::new("another").own.chain.as_bytes()).unwrap();
    assert_eq!(accepted(another), unknown, "not by the platform");
}

#[test]
fn what_is_no_certificate_is_refused_at_once() {
    let authority = Authority::new("an authority");
    let pem = &authority.own.chain;
    let broken = pem.replacen("\nMII", "\nAAA", 1);
    assert_ne!(broken, *pem);
    for text in ["", "no PEM", authority.own.key.as_str(), &broken, &pem[..pem.len() / 2]] {
        misused(Settings::default().trust_pem(text.as_bytes()));
        misused(authority.localhost().settings().ask_clients(text.as_bytes()));
    }
    misused(Settings::default().trust_der(pem.as_bytes()));
    misused(Settings::default().trust_der(&authority.own.der[..100]));
    misused(Settings::default().client_certificate(pem.as_bytes(), pem.as_bytes()));
    let half = &authority.own.key[..authority.own.key.len() / 2];
    misused(Settings::default().client_certificate(pem.as_bytes(), half.as_bytes()));
    let other = authority.localhost();
    misused(authority.trusted().client_certificate(pem.as_bytes(), other.key.as_bytes()).unwrap().connector().check());
    misused(ServerSettings::from_pem(pem.as_bytes(), other.key.as_bytes()).unwrap().acceptor());
}

#[test]
fn the_name_that_is_proved_can_be_another_than_the_hosts() {
    let authority = Authority::new("an authority");
    let server = authority.sign(&params("a server", &["mx.example.org", "192.0.2.1", "2001:db8::1"])).server();
    let connector = authority.trusted().connector();
    let named = |name: &str| shake_hands(config(connector.clone()).tls_name(name), &server).map(drop);
    assert!(matches!(
        shake_hands(config(connector.clone()), &server),
        Err(Error::Certificate(CertificateError::WrongName { .. }))
    ));
    for right in ["mx.example.org", "MX.Example.Org", "mx.example.org.", "192.0.2.1", "2001:db8::1"] {
        assert_eq!(named(right), Ok(()), "{right}");
    }
    for wrong in ["example.org", "x.mx.example.org", "192.0.2.2", "2001:db8::2"] {
        assert!(matches!(named(wrong), Err(Error::Certificate(CertificateError::WrongName { .. }))), "{wrong}");
    }
    for none in ["", "a b", "mx.example.org\r\n", "-", "mx.example.org\0.example.net", "[2001:db8::1]"] {
        assert!(matches!(named(none), Err(Error::Settings(Misuse::Tls { .. }))), "{none:?}");
    }
    let by_address = |host: &str| {
        let config = Config::new(host, 465).security(Security::Implicit).tls(connector.clone()).helo("c.example");
        shake_hands(config, &server).map(drop)
    };
    assert_eq!(by_address("[2001:db8::1]"), Ok(()));
    assert_eq!(by_address("192.0.2.1"), Ok(()));
}

#[test]
fn a_protocol_is_agreed_by_alpn() {
    let authority = Authority::new("an authority");
    let server = authority.localhost();
    let names = |all: &[&str]| all.iter().map(|one| one.as_bytes().to_vec()).collect::<Vec<_>>();
    for (ours, theirs, agreed) in [
        (&[][..], &[][..], Some(None)),
        (&["a", "b"], &["b", "c"], Some(Some(&b"b"[..]))),
        (&["a", "b"], &["b", "a"], Some(Some(b"b"))),
        (&["a"], &[], Some(None)),
        (&[], &["a"], Some(None)),
        (&["a"], &["b"], None),
    ] {
        let connector = authority.trusted().alpn(names(ours)).connector();
        let acceptor = server.settings().alpn(names(theirs)).acceptor().unwrap();
        match (shake_hands(config(connector), &acceptor), agreed) {
            (Ok((client, server)), Some(protocol)) => {
                assert_eq!((client.alpn.as_deref(), server.alpn.as_deref()), (protocol, protocol));
            }
            (Err(Error::Failed(why)), None) => assert!(why.contains("ALPN"), "{why}"),
            (other, _) => panic!("{ours:?} with {theirs:?}: {other:?}"),
        }
    }
}

#[test]
fn a_second_connection_resumes_the_session() {
    let authority = Authority::new("an authority");
    let certified = authority.localhost();
    for version in [Version::Tls12, Version::Tls13] {
        let settings = authority.trusted().max(version);
        let server = certified.server();
        let first = config(settings.connector());
        let (client, accepted) = shake_hands(first.clone(), &server).unwrap();
        assert!(!client.resumed && !accepted.resumed);
        // A clone of the configuration, and of the acceptor.
        let (again, accepted) = shake_hands(first.clone(), &server.clone()).unwrap();
        assert!(again.resumed && accepted.resumed, "{version}");
        assert_eq!(again.version, version.as_str());
        assert_eq!(again.peer_certificates, client.peer_certificates, "who it was is still known");
        assert_eq!(again.peer_certificates[0], certified.der);
        // Another connector, another name, another server: nothing to resume.
        let (other, _) = shake_hands(config(settings.connector()), &server).unwrap();
        assert!(!other.resumed, "connectors share no sessions");
        let (other, _) = shake_hands(first.clone(), &certified.server()).unwrap();
        assert!(!other.resumed, "a server that does not remember");
    }
}

#[test]
fn a_configuration_of_the_callers_own_is_used_as_it_is() {
    let authority = Authority::new("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.own.der.clone().into()).unwrap();
    let mut own = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    own.alpn_protocols = vec![b"own".to_vec()];
    let connector = Rustls::from(Arc::new(own));
    let acceptor = authority.localhost().settings().alpn([b"own".to_vec()]).acceptor().unwrap();
    let (client, _) = shake_hands(config(connector), &acceptor).unwrap();
    assert_eq!((&*client.version, client.alpn.as_deref()), ("1.2", Some(&b"own"[..])));
}

#[test]
fn a_provider_of_the_callers_own_is_used_and_no_other() {
    let authority = Authority::new("an authority");
    let server = authority.localhost().server();
    // RFC 8446 section 9.1 recommends it; by default another one is preferred.
    let only = rustls::crypto::ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
    let provider =
        rustls::crypto::CryptoProvider { cipher_suites: vec![only], ..rustls::crypto::ring::default_provider() };
    let connector = authority.trusted().connector_with(Arc::new(provider));
    let (client, accepted) = shake_hands(config(connector), &server).unwrap();
    assert_eq!(client.cipher, "TLS13_CHACHA20_POLY1305_SHA256".replace("TLS13", "TLS"));
    assert_eq!(client.cipher, accepted.cipher);
    let (by_default, _) = shake_hands(config(authority.trusted().connector()), &server).unwrap();
    assert_ne!(by_default.cipher, client.cipher);
}

/// EXTERNAL at the server: whoever TLS has proved is let in, as whom he says.
struct External {
    proved: bool,
    heard: bool,
}

impl Machine for External {
    type Event = Found;
    type Error = SaslError;

    fn receive(&mut self, _: Instant, input: &mut &[u8]) -> Result<Option<Found>, SaslError> {
        let authzid = String::from_utf8(std::mem::take(input).to_vec()).map_err(|_| SaslError::Syntax("UTF-8"))?;
        self.heard = true;
        let authenticated = Found::Authenticated { user: "by certificate".into(), authzid: Some(authzid) };
        Ok(Some(if self.proved { authenticated } else { Found::Refused }))
    }

    fn transmit(&mut self, _: Instant, _: &mut Vec<u8>) -> bool {
        !self.heard
    }

    fn finish(&mut self) -> Result<(), SaslError> {
        if self.heard && self.proved { Ok(()) } else { Err(SaslError::OutOfOrder) }
    }

    fn expire(&mut self, _: Instant) -> Result<(), SaslError> {
        Ok(())
    }
}

impl Mechanism for External {
    fn name(&self) -> &str {
        "EXTERNAL"
    }

    fn answer(&mut self, _: Answer) -> Result<Option<Found>, SaslMisuse> {
        Err(SaslMisuse::UnexpectedAnswer)
    }
}

/// Runs both ends until neither can do more, EXTERNAL being granted to whoever has shown a certificate.
fn run_external(config: Config, acceptor: &RustlsServer) -> (Connection, Accepted, bool) {
    let now = Instant::EPOCH;
    let offered = server::Config::new("mx.example.org").unwrap().mechanisms([MechanismName::External]);
    let mut server = Accepted::implicit(offered, Arc::new(acceptor.clone())).unwrap();
    let mut client = Connection::new(config, Route::direct()).unwrap();
    let mut ready = false;
    loop {
        while let Ok(Some(event)) = client.poll(now) {
            ready |= event == Event::Ready;
        }
        while let Ok(Some(event)) = server.poll(now) {
            if matches!(event, server::Event::Authenticate { .. }) {
                let proved = server.tls().is_some_and(|facts| !facts.peer_certificates.is_empty());
                server.authentication().unwrap().begin_with(Box::new(External { proved, heard: false }));
            }
        }
        let (ours, theirs) = (client.wants(now), server.wants(now));
        let up = ours.write.len().min(theirs.read.len());
        theirs.read[..up].copy_from_slice(&ours.write[..up]);
        let down = theirs.write.len().min(ours.read.len());
        ours.read[..down].copy_from_slice(&theirs.write[..down]);
        if up > 0 {
            client.sent(up);
            server.received(up);
        }
        if down > 0 {
            server.sent(down);
            client.received(down);
        }
        if up == 0 && down == 0 {
            return (client, server, ready);
        }
    }
}

#[test]
fn external_is_who_the_client_certificate_says() {
    let (authority, stranger) = (Authority::new("an authority"), Authority::new("a stranger"));
    let server = authority.localhost();
    let alice = authority.sign(&params("alice", &["alice.example.org"]));
    let eve = stranger.sign(&params("alice", &["alice.example.org"]));
    let with = |settings: Settings, shown: &Certified| {
        settings.client_certificate(shown.chain.as_bytes(), shown.key.as_bytes()).unwrap()
    };
    for version in [Version::Tls12, Version::Tls13] {
        let plain = authority.trusted().max(version);
        let external =
            |settings: &Settings| config(settings.connector()).credentials(Credentials::external("alice@example.org"));
        let asking = server.settings().ask_clients(authority.own.chain.as_bytes()).unwrap().acceptor().unwrap();
        let requiring = server.settings().require_clients(authority.own.chain.as_bytes()).unwrap().acceptor().unwrap();
        for acceptor in [&asking, &requiring] {
            let (client, accepted, ready) = run_external(external(&with(plain.clone(), &alice)), acceptor);
            assert!(ready, "{version}: {:?}", client.failure());
            assert_eq!(client.authenticated(), Some(&MechanismName::External));
            assert_eq!(accepted.tls().unwrap().peer_certificates.concat(), alice.der);
            let identity = accepted.session().identity().unwrap();
            assert_eq!(identity.authzid.as_deref(), Some("alice@example.org"));
            // A certificate of somebody else's authority is refused, whatever it says.
            let (_, accepted, ready) = run_external(external(&with(plain.clone(), &eve)), acceptor);
            assert!(!ready && accepted.session().identity().is_none());
        }
        let (client, accepted, ready) = run_external(external(&plain), &asking);
        assert!(!ready && accepted.tls().unwrap().peer_certificates.is_empty());
        assert!(matches!(client.failure().unwrap().cause, Cause::Authentication(_)));
        let (client, accepted, ready) = run_external(external(&plain), &requiring);
        assert!(!ready && accepted.session().identity().is_none());
        let said = client.failure().map(ToString::to_string).unwrap_or_default();
        if version == Version::Tls13 {
            assert!(said.contains("wants a client certificate"), "{said}");
        } else {
            assert!(said.contains("TLS"), "{said}");
        }
    }
}

#[test]
fn a_clients_certificate_does_not_name_the_channel() {
    let authority = Authority::new("an authority");
    let server = authority.localhost();
    let client = authority.sign(&params("alice", &["alice.example.org"]));
    let settings = authority.trusted().client_certificate(client.chain.as_bytes(), client.key.as_bytes()).unwrap();
    let ours = server.settings().require_clients(authority.own.chain.as_bytes()).unwrap().acceptor().unwrap();
    let (at_client, at_server) = shake_hands(config(settings.connector()), &ours).unwrap();
    assert!(!at_client.bindings.is_empty());
    assert_eq!(at_client.bindings, at_server.bindings, "both ends name it alike");

    // A server that does not know its own certificate has no binding to one, and surely not to the client's.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.own.der.clone().into()).unwrap();
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
    use rustls::pki_types::pem::PemObject;
    let own = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![server.der.clone().into()],
            rustls::pki_types::PrivateKeyDer::from_pem_slice(server.key.as_bytes()).unwrap(),
        )
        .unwrap();
    let (_, at_server) = shake_hands(config(settings.connector()), &RustlsServer::from(Arc::new(own))).unwrap();
    assert_eq!(at_server.peer_certificates, [client.der]);
    assert!(at_server.bindings.iter().all(|binding| binding.kind != BindingKind::TlsServerEndPoint));
}

#[test]
fn settings_and_identities_show_no_key() {
    let authority = Authority::new("an authority");
    let client = authority.sign(&params("alice", &["alice.example.org"]));
    let settings = authority.trusted().client_certificate(client.chain.as_bytes(), client.key.as_bytes()).unwrap();
    let server = client.settings();
    for shown in [format!("{settings:?}"), format!("{:?}", settings.connector()), format!("{server:?}")] {
        assert!(shown.contains("..") && !shown.contains("PrivateKey"), "{shown}");
    }
}

/// Carries what one end of a session says to the other, and gives what that opens.
fn carry(from: &mut dyn Session, to: &mut dyn Session, plaintext: &[u8]) -> Vec<u8> {
    let (mut wire, mut opened) = (Vec::new(), Vec::new());
    from.seal(plaintext, &mut wire).unwrap();
    to.open(&mut &wire[..], &mut opened, usize::MAX).unwrap();
    opened
}

fn shaken() -> (Box<dyn Session>, Box<dyn Session>) {
    let pki = Pki::new();
    let (mut client, mut server) = (pki.client.connect("localhost").unwrap(), pki.server.accept().unwrap());
    while client.is_handshaking() || server.is_handshaking() {
        carry(&mut *client, &mut *server, b"");
        carry(&mut *server, &mut *client, b"");
    }
    (client, server)
}

#[test]
fn behind_the_close_alert_nothing_is_read() {
    let (mut client, mut server) = shaken();
    assert_eq!(carry(&mut *server, &mut *client, b"220 mx\r\n"), b"220 mx\r\n");
    assert!(!client.is_closed_by_peer());
    let mut wire = Vec::new();
    server.close();
    server.seal(b"", &mut wire).unwrap();
    // RFC 8446 section 6.1: any data received after a closure alert must be ignored.
    wire.extend_from_slice(b"\x17\x03\x03\x00\x02ab, and what is no record at all");
    let (mut rest, mut opened) = (&wire[..], Vec::new());
    assert_eq!(client.open(&mut rest, &mut opened, usize::MAX), Ok(()));
    assert!(client.is_closed_by_peer() && rest.is_empty() && opened.is_empty());
    let mut later = &b"and more of it"[..];
    assert_eq!(client.open(&mut later, &mut opened, usize::MAX), Ok(()));
    assert!(later.is_empty() && opened.is_empty());
}

#[test]
fn a_broken_session_stays_broken() {
    let (mut client, mut server) = shaken();
    let mut wire = Vec::new();
    server.seal(b"220 mx\r\n", &mut wire).unwrap();
    // RFC 8446 section 5.2: a record that does not authenticate ends the connection.
    *wire.last_mut().unwrap() ^= 1;
    let mut opened = Vec::new();
    let error = client.open(&mut &wire[..], &mut opened, usize::MAX).unwrap_err();
    assert!(matches!(error, Error::Failed(_)) && opened.is_empty());
    wire.clear();
    server.seal(b"250 ok\r\n", &mut wire).unwrap();
    assert_eq!(client.open(&mut &wire[..], &mut opened, usize::MAX), Err(error));
    assert!(opened.is_empty());
}
