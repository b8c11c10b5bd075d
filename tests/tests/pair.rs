//! A client and a server in memory: what is sent arrives, at every cut, in clear and over TLS.

use std::sync::Arc;

use smtp_proto::body::LineEndings;
use smtp_proto::client::{Envelope, Event, Outcome};
use smtp_proto::sasl::{Allowed, Credentials, MechanismName};
use smtp_proto::{Cause, Config, Grouping, Security, server, tls};
use tests::oracle::line_ends;
use tests::tls::Pki;
use tests::wire::{Manners, Wire};

const PIECES: [usize; 7] = [1, 2, 3, 7, 64, 1000, usize::MAX];

fn server_config() -> server::Config {
    server::Config::new("mx.example.org").unwrap()
}

fn client_config(security: Security) -> Config {
    Config::new("localhost", 2525).security(security).helo("client.example.org").entropy(|octets| octets.fill(7))
}

fn envelope() -> Envelope {
    Envelope::new("alice@example.org", ["bob@example.net", "carol@example.net", "dan@example.net"]).unwrap()
}

fn ready(wire: &mut Wire) {
    assert!(wire.run_until(|event| *event == Event::Ready), "{:?} {:?}", wire.failure, wire.server_failure);
}

#[test]
fn messages_arrive_in_clear_at_every_cut() {
    let mut seen = Vec::new();
    for piece in PIECES {
        let mut wire = Wire::new(client_config(Security::None), server_config(), None, false, piece);
        ready(&mut wire);
        let messages: [&[u8]; 5] = [b"", b".", b"Subject: a\r\n\r\n..\n.\r\nb", b"\r\n", b"x\r\n.\r\n"];
        let arrived: [&[u8]; 5] = [b"", b".\r\n", b"Subject: a\r\n\r\n..\r\n.\r\nb\r\n", b"\r\n", b"x\r\n.\r\n"];
        for message in messages {
            assert!(wire.send(&envelope(), message).is_accepted());
        }
        wire.client.quit().unwrap();
        assert!(wire.run_until(|event| matches!(event, Event::Closed(Some(_)))));
        assert_eq!(wire.arrived.iter().map(|one| &one.content[..]).collect::<Vec<_>>(), arrived);
        assert_eq!(wire.arrived[0].to.len(), 3);
        seen.push((wire.events, wire.from_client, wire.from_server));
    }
    for other in &seen[1..] {
        assert_eq!(*other, seen[0], "the dialogue depends on the cut");
    }
}

#[test]
fn messages_arrive_over_tls_at_every_cut() {
    let pki = Pki::new();
    let acceptor: Arc<dyn tls::Acceptor> = Arc::new(pki.server.clone());
    for (security, implicit) in
        [(Security::StartTls, false), (Security::Implicit, true), (Security::Auto, false), (Security::Auto, true)]
    {
        let mut seen = Vec::new();
        for piece in PIECES {
            let config = client_config(security).tls(pki.client.clone());
            let mut wire = Wire::new(config, server_config(), Some(acceptor.clone()), implicit, piece);
            ready(&mut wire);
            assert!(wire.events.contains(&Event::Secured));
            assert_eq!(wire.client.security(), if implicit { Security::Implicit } else { Security::StartTls });
            assert_eq!(wire.client.tls().unwrap().version, "1.3");
            let big = b"0123456789abcdef.\r\n".repeat(if piece < 64 { 10 } else { 20_000 });
            assert!(wire.send(&envelope(), &big).is_accepted());
            assert_eq!(wire.arrived[0].content, big);
            wire.client.quit().unwrap();
            assert!(wire.run_until(|event| matches!(event, Event::Closed(Some(_)))));
            let events: Vec<_> = wire.events.into_iter().filter(|event| !matches!(event, Event::Sent(_))).collect();
            seen.push(events);
        }
        for other in &seen[1..] {
            assert_eq!(*other, seen[0], "the events depend on the cut");
        }
    }
}

/// The lengths of the TLS records among these octets (RFC 8446 section 5.1).
fn records(mut octets: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [23, 3, 3, high, low, rest @ ..] = octets {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        lengths.push(length);
        octets = &rest[length..];
    }
    assert!(octets.is_empty(), "not a record: {:?}", &octets[..octets.len().min(5)]);
    lengths
}

#[test]
fn data_over_tls_arrives_in_full_records_whatever_has_to_be_changed() {
    let pki = Pki::new();
    let acceptor: Arc<dyn tls::Acceptor> = Arc::new(pki.server.clone());
    let plain = b"0123456789abcdef0123456789abcdef\r\n".repeat(20_000);
    let mut rare = plain.clone();
    for at in [0, 16_383, 16_384, 100_000, 100_001, 300_000, 399_998] {
        rare[at] = b"\n.\r"[at % 3];
    }
    let dotted = [&b"a line of text\r\n".repeat(50)[..], b".and a dot\r\n"].concat().repeat(500);
    let bare = b"one\ntwo\rthree\r\n.four\n\r\n".repeat(20_000);
    for (message, odd) in [(plain, false), (rare, true), (dotted, true), (bare, true)] {
        for piece in [1000, usize::MAX] {
            let config = client_config(Security::Implicit).tls(pki.client.clone()).grouping(Grouping::Groups);
            let mut wire = Wire::new(config, server_config(), Some(acceptor.clone()), true, piece);
            ready(&mut wire);
            let before = wire.from_client.len();
            assert!(wire.send(&envelope(), &message).is_accepted());
            assert!(wire.arrived[0].content == line_ends(&message));
            let records = records(&wire.from_client[before..]);
            let octets: usize = records.iter().sum();
            // The commands and the dot, and where something was changed what is left of each turn of 64 KiB.
            let more = 4 + if odd { octets / (64 * 1024) } else { 0 };
            assert!(records.len() <= octets / (16 * 1024) + more, "{records:?}");
        }
    }
}

/// Octets of one record at most (RFC 8446 section 5.1).
const RECORD: usize = 16 * 1024;

/// Every way to cut a message of so many octets in two that may matter: around whole records, and here and there.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..=length).filter(move |cut| {
        let near = (cut + 4) % RECORD;
        near < 8 || *cut < 4 || length - cut < 4 || cut % 1009 == 0
    })
}

#[test]
fn what_arrives_over_tls_is_what_was_given_wherever_it_was_cut() {
    let pki = Pki::new();
    let acceptor: Arc<dyn tls::Acceptor> = Arc::new(pki.server.clone());
    let plain = b"0123456789abcdef0123456789abcdef\r\n".repeat(2200);
    // A change at each end of a record, one within it, and one in each block.
    let mut few = plain.clone();
    for at in [0, RECORD - 1, RECORD, RECORD + 100, 2 * RECORD - 1, 3 * RECORD] {
        few[at] = b"\n.\r"[at % 3];
    }
    let many = b"one\ntwo\rthree\r\n.four\n\r\n..\r\n.\r\n\r\r\n".repeat(1700);
    for (grouping, endings) in [
        (Grouping::Groups, LineEndings::Canonical),
        (Grouping::Flights, LineEndings::Canonical),
        (Grouping::Flights, LineEndings::Exact),
    ] {
        let exact = endings == LineEndings::Exact;
        let config = client_config(Security::Implicit).tls(pki.client.clone()).grouping(grouping);
        let offer = server_config().with("BINARYMIME").unwrap();
        let mut wire = Wire::new(config, offer, Some(acceptor.clone()), true, usize::MAX);
        ready(&mut wire);
        for message in [&plain, &few, &many] {
            let expected = if exact { message.clone() } else { line_ends(message) };
            let mut check = |pieces: &[&[u8]], how: &str, size: usize| {
                assert!(wire.send_pieces(&envelope(), endings, pieces).is_accepted());
                assert!(wire.arrived.pop().unwrap().content == expected, "{grouping:?} {endings:?}, {how} {size}");
                wire.from_client.clear();
                wire.events.clear();
            };
            for cut in cuts(message.len()) {
                check(&[&message[..cut], &message[cut..]], "cut at", cut);
            }
            for size in [1, 2, 3, 7, 255, 256, 257, 4095, 4096, 4097, RECORD - 1, RECORD, RECORD + 1] {
                check(&message.chunks(size).collect::<Vec<_>>(), "in pieces of", size);
            }
        }
    }
}

#[test]
fn the_events_are_the_same_with_and_without_pipelining() {
    let run = |grouping, refuse: &[&str]| {
        let mut wire = Wire::new(client_config(Security::None).grouping(grouping), server_config(), None, false, 1000);
        wire.manners = Manners { refuse: refuse.iter().map(|one| one.to_string()).collect(), ..Manners::default() };
        ready(&mut wire);
        for _ in 0..2 {
            wire.send(&envelope(), b"hello\r\n");
        }
        let flights = wire.client.flights();
        let events = wire.events.into_iter().map(|event| match event {
            Event::Sent(mut report) => {
                // What it cost is another thing.
                (report.flights, report.commands, report.octets) = (0, 0, 0);
                Event::Sent(report)
            }
            event => event,
        });
        (events.collect::<Vec<_>>(), flights, wire.arrived)
    };
    let all = ["bob@example.net", "carol@example.net", "dan@example.net"];
    for refuse in [&all[..0], &all[..1], &all[1..], &all[..]] {
        let (grouped, few, arrived) = run(Grouping::Groups, refuse);
        let (single, many, same) = run(Grouping::OneByOne, refuse);
        let (chunked, fewest, alike) = run(Grouping::Flights, refuse);
        assert_eq!(grouped, single, "refusing {refuse:?}");
        assert_eq!(chunked, single, "refusing {refuse:?}");
        assert!(arrived == same && alike == same);
        assert_eq!(arrived.len(), if refuse.len() == 3 { 0 } else { 2 });
        assert!(few < many && fewest <= few);
    }
}

#[test]
fn flights_are_one_a_message_with_chunking_two_with_pipelining_and_six_without() {
    for (grouping, flights) in [(Grouping::Flights, 1), (Grouping::Groups, 2), (Grouping::OneByOne, 6)] {
        let mut wire = Wire::new(client_config(Security::None).grouping(grouping), server_config(), None, false, 1000);
        ready(&mut wire);
        for _ in 0..3 {
            assert_eq!(wire.send(&envelope(), b"hello\r\n").flights, flights);
        }
    }
}

#[test]
fn each_recipient_has_an_outcome() {
    let mut wire = Wire::new(client_config(Security::None), server_config(), None, false, 7);
    wire.manners.refuse = vec!["carol@example.net".into()];
    ready(&mut wire);
    let report = wire.send(&envelope(), b"hello\r\n");
    assert!(!report.is_accepted());
    let outcomes: Vec<_> = report.recipients.iter().map(|one| &one.outcome).collect();
    assert!(matches!(outcomes[0], Outcome::Accepted(reply) if reply.code().number() == 250));
    assert!(matches!(outcomes[1], Outcome::Refused(reply) if reply.code().number() == 550));
    assert!(matches!(outcomes[2], Outcome::Accepted(_)));
    assert_eq!(wire.arrived[0].to, ["bob@example.net", "dan@example.net"]);
}

#[test]
fn every_mechanism_authenticates_and_refuses() {
    let pki = Pki::new();
    let acceptor: Arc<dyn tls::Acceptor> = Arc::new(pki.server.clone());
    let names: Vec<MechanismName> = [
        "PLAIN",
        "LOGIN",
        "CRAM-MD5",
        "DIGEST-MD5",
        "SCRAM-SHA-1",
        "SCRAM-SHA-256",
        "SCRAM-SHA-512",
        "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-512-PLUS",
    ]
    .iter()
    .map(|name| name.parse().unwrap())
    .collect();
    for name in &names {
        for (password, right) in [("correct horse", true), ("wrong horse", false)] {
            for piece in [1, 7, usize::MAX] {
                let config = client_config(Security::StartTls)
                    .tls(pki.client.clone())
                    .credentials(Credentials::password("alice", password))
                    .allowed(Allowed::only([name.clone()]));
                let server = server_config().mechanisms(names.clone());
                let mut wire = Wire::new(config, server, Some(acceptor.clone()), false, piece);
                wire.manners.password = Some("correct horse".into());
                let opened = wire.run_until(|event| *event == Event::Ready);
                assert_eq!(opened, right, "{name} {password:?}: {:?} {:?}", wire.failure, wire.server_failure);
                if right {
                    assert_eq!(wire.client.authenticated(), Some(name));
                } else {
                    let error = wire.failure.unwrap();
                    assert!(matches!(error.cause, Cause::Authentication(_)), "{error:?}");
                    assert_eq!(error.phase.name(), "AUTH");
                    assert!(!format!("{error:?}").contains(password));
                }
            }
        }
    }
}

#[test]
fn who_proves_nothing_in_the_exchange_is_whom_the_owner_says() {
    let pki = Pki::new();
    for (name, credentials, authzid) in [
        (MechanismName::External, Credentials::external("alice@example.org"), Some("alice@example.org")),
        (MechanismName::External, Credentials::external(""), None),
        (MechanismName::Anonymous, Credentials::anonymous("sirhc"), None),
    ] {
        for known in [true, false] {
            let config = client_config(Security::Implicit).tls(pki.client.clone()).credentials(credentials.clone());
            let config = config.allowed(Allowed::only([name.clone()]));
            let server = server_config().mechanisms([name.clone()]);
            let mut wire = Wire::new(config, server, Some(Arc::new(pki.server.clone())), true, 7);
            wire.manners.password = known.then(|| "somebody".into());
            assert_eq!(wire.run_until(|event| *event == Event::Ready), known, "{name}: {:?}", wire.failure);
            let identity = wire.server.session().identity();
            let expected = known.then_some(("somebody", authzid, &name));
            assert_eq!(identity.map(|one| (&*one.user, one.authzid.as_deref(), &one.mechanism)), expected);
        }
    }
}

#[test]
fn credentials_never_leave_in_clear_unless_the_loud_opt_in_is_set() {
    let plain: MechanismName = "PLAIN".parse().unwrap();
    let login = Credentials::password("alice", "correct horse");
    let server = || server_config().mechanisms([plain.clone()]).danger_allow_clear_text_auth(true);
    let config = client_config(Security::None).credentials(login.clone());
    let mut wire = Wire::new(config.clone(), server(), None, false, 1000);
    assert!(!wire.run_until(|event| *event == Event::Ready));
    assert!(matches!(wire.failure.as_ref().unwrap().cause, Cause::Authentication(_)));
    assert!(wire.from_client.ends_with(b"QUIT\r\n"), "{}", wire.from_client.escape_ascii());

    let config = config.allowed(Allowed::all().danger_allow_clear_text());
    let mut wire = Wire::new(config, server(), None, false, 1000);
    wire.manners.password = Some("correct horse".into());
    ready(&mut wire);
}

#[test]
fn a_certificate_that_is_not_trusted_ends_the_session() {
    let (one, other) = (Pki::new(), Pki::new());
    for implicit in [false, true] {
        let security = if implicit { Security::Implicit } else { Security::StartTls };
        let config = client_config(security).tls(one.client.clone());
        let mut wire = Wire::new(config, server_config(), Some(Arc::new(other.server.clone())), implicit, 1000);
        assert!(!wire.run_until(|event| *event == Event::Ready));
        let error = wire.failure.unwrap();
        assert!(matches!(error.cause, Cause::Tls(tls::Error::Certificate(_))), "{error:?}");
        assert_eq!(error.phase.name(), "TLS handshake");
    }
}

#[test]
fn a_refused_token_may_be_replaced_once() {
    let pki = Pki::new();
    let acceptor: Arc<dyn tls::Acceptor> = Arc::new(pki.server.clone());
    for name in ["OAUTHBEARER", "XOAUTH2"] {
        let name: MechanismName = name.parse().unwrap();
        for (fresh, right) in [(Some("the-right-one"), true), (Some("still-wrong"), false), (None, false)] {
            for by_event in [false, true] {
                let config = client_config(Security::StartTls)
                    .tls(pki.client.clone())
                    .credentials(Credentials::token("alice", "an-old-one"))
                    .allowed(Allowed::only([name.clone()]));
                let config = if by_event {
                    config.refresh_token(true)
                } else {
                    config.token_source(move |_, detail| {
                        assert!(detail.is_some_and(|json| json.starts_with(b"{")));
                        fresh.map(Into::into)
                    })
                };
                let server = server_config().mechanisms([name.clone()]);
                let mut wire = Wire::new(config, server, Some(acceptor.clone()), false, 7);
                wire.manners.password = Some("the-right-one".into());
                if by_event {
                    assert!(wire.run_until(|event| matches!(event, Event::NeedsToken { detail: Some(_), .. })));
                    wire.client.fresh_token(fresh.map(Into::into)).unwrap();
                    assert!(wire.client.fresh_token(None).is_err(), "only one is asked for");
                }
                let opened = wire.run_until(|event| *event == Event::Ready);
                assert_eq!(opened, right, "{name} {fresh:?}: {:?}", wire.failure);
                if !right {
                    assert!(matches!(wire.failure.unwrap().cause, Cause::Authentication(_)));
                }
            }
        }
    }
}

#[test]
fn before_tls_1_3_scram_binds_to_the_servers_certificate() {
    let pki = Pki::new();
    let settings = tls::Settings::default().roots(tls::Roots::OnlyGiven).max(tls::Version::Tls12);
    let name: MechanismName = "SCRAM-SHA-256-PLUS".parse().unwrap();
    let config = client_config(Security::Implicit)
        .tls(settings.trust_pem(pki.authority.as_bytes()).unwrap().connector())
        .credentials(Credentials::password("alice", "correct horse"));
    let server = server_config().mechanisms([name.clone()]);
    let mut wire = Wire::new(config, server, Some(Arc::new(pki.server.clone())), true, 1000);
    wire.manners.password = Some("correct horse".into());
    ready(&mut wire);
    assert_eq!(wire.client.tls().unwrap().version, "1.2");
    assert_eq!(wire.client.authenticated(), Some(&name));
}

#[test]
fn nothing_that_binds_is_offered_where_there_is_nothing_to_bind_to() {
    // RFC 5929 section 4.1: the digest is that of the certificate's signature, and Ed25519 names none.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_string()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let server = tls::RustlsServer::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    let names: Vec<MechanismName> =
        ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"].iter().map(|name| name.parse().unwrap()).collect();
    for (version, offered) in [(tls::Version::Tls12, &names[1..]), (tls::Version::Tls13, &names[..])] {
        for security in [Security::Implicit, Security::StartTls] {
            let settings = tls::Settings::default().roots(tls::Roots::OnlyGiven).min(version).max(version);
            let settings = settings.trust_pem(certificate.pem().as_bytes()).unwrap();
            let config = client_config(security)
                .tls(settings.connector())
                .credentials(Credentials::password("alice", "correct horse"));
            let implicit = security == Security::Implicit;
            let offer = server_config().mechanisms(names.clone());
            let mut wire = Wire::new(config, offer, Some(Arc::new(server.clone())), implicit, 1000);
            wire.manners.password = Some("correct horse".into());
            ready(&mut wire);
            let said: Vec<&str> = offered.iter().map(MechanismName::as_str).collect();
            assert_eq!(wire.client.extensions().mechanisms(), said);
            assert_eq!(wire.client.authenticated(), offered.first());
        }
    }
}

#[test]
fn a_certificate_given_as_a_root_may_be_the_servers_own() {
    let made = |names: &[&str]| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params =
            rcgen::CertificateParams::new(names.iter().map(|name| name.to_string()).collect::<Vec<_>>()).unwrap();
        // What openssl makes by default: self-signed, and an authority.
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let server = tls::RustlsServer::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        (certificate.pem(), server)
    };
    let (own, server) = made(&["localhost"]);
    let (other, _) = made(&["localhost"]);
    let (elsewhere, server_elsewhere) = made(&["elsewhere.example"]);
    for (given, server, accepted) in
        [(&own, &server, true), (&other, &server, false), (&elsewhere, &server_elsewhere, false)]
    {
        let settings = tls::Settings::default().roots(tls::Roots::OnlyGiven).trust_pem(given.as_bytes()).unwrap();
        let config = client_config(Security::Implicit).tls(settings.connector());
        let mut wire = Wire::new(config, server_config(), Some(Arc::new(server.clone())), true, 1000);
        assert_eq!(wire.run_until(|event| *event == Event::Ready), accepted, "{:?}", wire.failure);
        assert_eq!(
            matches!(wire.failure.map(|error| error.cause), Some(Cause::Tls(tls::Error::Certificate(_)))),
            !accepted
        );
    }
}
