//! The dialer on a network in memory, in virtual time: what it finds, and how long that takes.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use smtp_proto::dial::{Attempt, Mode, Policy, Verdict, Why};
use smtp_proto::sasl::{Allowed, Credentials};
use smtp_proto::{AuthenticationError, Cause, Config, Limits, Security, phase, tls};
use tests::network::{Behaviour, Ended, Network};
use tests::tls::Pki;

const RTT: Duration = Duration::from_millis(40);
const STAGGER: Duration = Duration::from_millis(250);
/// TCP, the hello and its answer, the handshake's end and the greeting, EHLO.
const IMPLICIT: Duration = Duration::from_millis(4 * 40);
/// TCP, the greeting, EHLO.
const CLEAR: Duration = Duration::from_millis(3 * 40);
/// The same, STARTTLS, the hello, the handshake's end and EHLO.
const STARTTLS: Duration = Duration::from_millis(6 * 40);

const V4: &str = "192.0.2.1";

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Both ends' TLS.
struct Bed {
    client: tls::Rustls,
    acceptor: Arc<dyn tls::Acceptor>,
}

impl Bed {
    fn new() -> Self {
        let pki = Pki::new();
        Self { client: pki.forgetful_client(), acceptor: Arc::new(pki.server.clone()) }
    }

    fn config(&self, port: u16) -> Config {
        Config::new("localhost", port).address(V4).tls(self.client.clone()).helo("client.example.org")
    }

    fn behaviours(&self) -> [(&'static str, Behaviour); 9] {
        let (starttls, implicit) = (Behaviour::starttls(&self.acceptor), Behaviour::implicit(&self.acceptor));
        [
            ("clear text", Behaviour::clear()),
            ("clear text with STARTTLS", starttls.clone()),
            ("implicit TLS", implicit.clone()),
            ("STARTTLS, greets after 3 s", starttls.greeting_after(ms(3000))),
            ("implicit TLS, answers after 3 s", implicit.greeting_after(ms(3000))),
            ("silent for ever", Behaviour::Silent),
            ("accepts and closes", Behaviour::Closes),
            ("closes at a ClientHello", Behaviour::Resets),
            ("answers a ClientHello with an HTTP error", Behaviour::Answers("HTTP/1.1 400 Bad Request\r\n\r\n")),
        ]
    }

    fn one(&self, behaviour: Behaviour, port: u16, policy: Policy) -> Ended {
        Network::new(RTT).with(&format!("{V4}:{port}"), behaviour).dial([self.config(port)], policy)
    }
}

fn whys(ended: &Ended) -> Vec<String> {
    ended.failure.attempts.iter().map(|attempt| attempt.why.to_string()).collect()
}

const PORTS: [u16; 5] = [25, 465, 587, 2525, 10025];

#[test]
fn auto_finds_out_whatever_is_on_whatever_port_and_wastes_no_time() {
    let bed = Bed::new();
    let [clear, starttls, implicit, late, late_tls, silent, closes, resets, http] =
        bed.behaviours().map(|(_, behaviour)| behaviour);
    for port in PORTS {
        let tls_first = port == 465;
        let auto = |behaviour: &Behaviour| bed.one(behaviour.clone(), port, Policy::default());
        let found = |behaviour: &Behaviour, mode, bound: Duration| {
            let ended = auto(behaviour);
            let verdict = ended.verdict.clone().unwrap_or_else(|| panic!("port {port}: {}", ended.failure));
            assert_eq!(verdict.to_string(), format!("{V4}:{port}/{mode}"));
            assert!(ended.took <= bound, "port {port}, {mode}: {:?} of {bound:?}", ended.took);
            ended
        };
        // The wrong mode costs one connection and one round trip, the right one nothing.
        let wrong = if tls_first { RTT * 2 } else { Duration::ZERO };
        assert_eq!(found(&clear, Mode::None, CLEAR + wrong).opened.len(), if tls_first { 2 } else { 1 });
        assert_eq!(found(&starttls, Mode::StartTls, STARTTLS + wrong).opened.len(), if tls_first { 2 } else { 1 });
        let guess = if tls_first { Duration::ZERO } else { STAGGER };
        let ended = found(&implicit, Mode::Implicit, guess + IMPLICIT);
        assert_eq!((ended.opened.len(), ended.closed.len()), if tls_first { (1, 0) } else { (2, 1) });
        // Who is slow is waited for; the other guess at most delays it by what it takes to be proven wrong.
        found(&late, Mode::StartTls, ms(3000) + STARTTLS + if tls_first { STAGGER } else { Duration::ZERO });
        found(&late_tls, Mode::Implicit, ms(3000) + IMPLICIT + guess);
        // What is in vain ends by the limits of the phases, or at once.
        let limits = Limits::interactive();
        for (behaviour, bound) in [
            (&silent, STAGGER + RTT + limits.tls.max(limits.greeting * 2)),
            (&closes, RTT * 6),
            // The one that listens has to be given the time that a greeting may take.
            (&resets, if tls_first { RTT * 4 } else { Duration::ZERO } + limits.greeting * 2),
            (&http, if tls_first { RTT * 2 } else { STAGGER + RTT * 2 }),
        ] {
            let ended = auto(behaviour);
            assert_eq!(ended.verdict, None);
            assert!(ended.took <= bound, "port {port}: {:?} of {bound:?}: {}", ended.took, ended.failure);
            assert_eq!(ended.failure.attempts.len(), ended.opened.len(), "{}", ended.failure);
        }
        let ended = auto(&http);
        let telling = ended.failure.telling().expect("an attempt");
        assert!(
            matches!(&telling.why, Why::Session { error, .. } if error.cause == Cause::Tls(tls::Error::NotTls(b'H'))),
            "{telling}"
        );
    }
}

#[test]
fn what_was_asked_for_explicitly_is_not_guessed() {
    let bed = Bed::new();
    for port in PORTS {
        let dial = |behaviour: &Behaviour, security| {
            let network = Network::new(RTT).with(&format!("{V4}:{port}"), behaviour.clone());
            network.dial([bed.config(port).security(security)], Policy::default())
        };
        let (clear, starttls) = (Behaviour::clear(), Behaviour::starttls(&bed.acceptor));
        let ended = dial(&starttls, Security::Implicit);
        assert_eq!((ended.verdict.clone(), ended.opened.len()), (None, 1), "{}", ended.failure);
        let error = &ended.failure.attempts[0].why;
        assert!(matches!(error, Why::Session { error, .. } if error.cause == Cause::Tls(tls::Error::NotTls(b'2'))));
        let ended = dial(&clear, Security::StartTls);
        assert_eq!((ended.verdict.clone(), ended.opened.len()), (None, 1), "{}", ended.failure);
        let ended = dial(&Behaviour::implicit(&bed.acceptor), Security::StartTls);
        assert_eq!((ended.verdict.clone(), ended.opened.len()), (None, 1), "{}", ended.failure);
        for (behaviour, security, mode) in [
            (&clear, Security::None, Mode::None),
            (&starttls, Security::None, Mode::None),
            (&clear, Security::StartTlsIfOffered, Mode::None),
            (&starttls, Security::StartTlsIfOffered, Mode::StartTls),
        ] {
            assert_eq!(dial(behaviour, security).verdict.map(|verdict| verdict.mode), Some(mode));
        }
    }
}

#[test]
fn a_hint_is_followed_without_probing_and_never_down() {
    let bed = Bed::new();
    let all = [
        (Mode::None, Behaviour::clear(), CLEAR),
        (Mode::StartTls, Behaviour::starttls(&bed.acceptor), STARTTLS),
        (Mode::Implicit, Behaviour::implicit(&bed.acceptor), IMPLICIT),
    ];
    for port in PORTS {
        for (mode, behaviour, took) in &all {
            let first = bed.one(behaviour.clone(), port, Policy::default()).verdict.expect("it is found");
            assert_eq!(first.mode, *mode);
            let hint: Verdict = first.to_string().parse().expect("a hint");
            for base in [Config::any_port("localhost"), Config::new("localhost", 1)] {
                let config = base.tls(bed.client.clone()).helo("client.example.org").hint(&hint);
                let network = Network::new(RTT).with(&format!("{V4}:{port}"), behaviour.clone());
                let ended = network.dial([config], Policy::default());
                assert_eq!(ended.verdict.as_ref(), Some(&first));
                assert_eq!((ended.took, ended.opened.len()), (*took, 1));
            }
        }
        // What was secured before is not followed by clear text; what was in clear may have become better.
        let hinted = |mode: Mode, behaviour: &Behaviour| {
            let hint = format!("{V4}:{port}/{mode}").parse().expect("a hint");
            let config = Config::any_port("localhost").tls(bed.client.clone()).helo("c").hint(&hint);
            Network::new(RTT).with(&format!("{V4}:{port}"), behaviour.clone()).dial([config], Policy::default())
        };
        assert_eq!(hinted(Mode::Implicit, &all[0].1).verdict, None);
        assert_eq!(hinted(Mode::StartTls, &all[0].1).verdict, None);
        assert_eq!(hinted(Mode::Implicit, &all[1].1).verdict.map(|verdict| verdict.mode), Some(Mode::StartTls));
        assert_eq!(hinted(Mode::None, &all[1].1).verdict.map(|verdict| verdict.mode), Some(Mode::StartTls));
    }
    // A hint overrules nothing.
    let hint = format!("{V4}:587/none").parse().expect("a hint");
    let config = bed.config(587).security(Security::StartTls).hint(&hint);
    let network = Network::new(RTT).with(&format!("{V4}:587"), Behaviour::clear());
    assert_eq!(network.dial([config], Policy::default()).verdict, None);
}

fn any_port(bed: &Bed) -> Config {
    Config::any_port("localhost").tls(bed.client.clone()).helo("client.example.org")
}

/// What is on 465, 587 and 25 of one address.
fn ports(bed: &Bed, on: [Behaviour; 3]) -> Network {
    let network = Network::new(RTT).named("localhost", &[V4]);
    let _ = bed;
    [465, 587, 25]
        .iter()
        .zip(on)
        .fold(network, |network, (port, behaviour)| network.with(&format!("{V4}:{port}"), behaviour))
}

#[test]
fn an_unknown_port_is_found_the_best_first() {
    let bed = Bed::new();
    let (implicit, starttls) = (Behaviour::implicit(&bed.acceptor), Behaviour::starttls(&bed.acceptor));
    let find = |on: [Behaviour; 3]| ports(&bed, on).dial([any_port(&bed)], Policy::default());
    let (refuses, dead) = (Behaviour::Refuses, Behaviour::Dead);
    let clear = Behaviour::clear();
    for (on, hint, took) in [
        ([implicit.clone(), starttls.clone(), starttls.clone()], "465/implicit", IMPLICIT),
        ([refuses.clone(), starttls.clone(), clear.clone()], "587/starttls", RTT + STARTTLS),
        ([refuses.clone(), refuses.clone(), starttls.clone()], "25/starttls", RTT * 2 + STARTTLS),
        ([dead.clone(), starttls.clone(), clear.clone()], "587/starttls", STAGGER + STARTTLS),
        ([refuses.clone(), refuses.clone(), clear.clone()], "25/none", RTT * 2 + CLEAR),
        // On the wrong ports: TLS first on 587; clear text with STARTTLS on 465.
        ([refuses.clone(), implicit.clone(), refuses.clone()], "587/implicit", RTT + STAGGER + IMPLICIT),
        ([starttls.clone(), refuses.clone(), refuses.clone()], "465/starttls", RTT * 2 + STARTTLS),
        // STARTTLS is required on 587; what there is to be had on 25 is better than clear text.
        ([refuses.clone(), clear.clone(), starttls.clone()], "25/starttls", RTT * 4 + STARTTLS),
    ] {
        let ended = find(on);
        let verdict = ended.verdict.as_ref().map(ToString::to_string);
        assert_eq!(verdict, Some(format!("{V4}:{hint}")), "{}", ended.failure);
        assert_eq!(ended.took, took, "{hint}: {}", ended.failure);
    }
    // Delaying packets brings nobody down to clear text.
    let connect = Limits::interactive().connect;
    let ended = find([implicit.clone().slow(connect - ms(1000)), dead.clone(), clear.clone()]);
    assert_eq!(ended.verdict.expect("it is found").mode, Mode::Implicit);
    // Where nothing that is secure comes, clear text is had in the end.
    let ended = find([dead.clone(), dead.clone(), clear.clone()]);
    assert_eq!(ended.verdict.expect("it is found").mode, Mode::None);
    assert!(ended.took <= connect + STAGGER, "{:?}", ended.took);
    // Unless 25 is left out.
    let policy = Policy { ports: vec![465, 587], ..Policy::default() };
    let ended = ports(&bed, [refuses.clone(), refuses.clone(), clear.clone()]).dial([any_port(&bed)], policy);
    assert_eq!((ended.verdict.clone(), whys(&ended).len()), (None, 2));
}

#[test]
fn an_explicit_security_narrows_the_ports() {
    let bed = Bed::new();
    let (implicit, starttls) = (Behaviour::implicit(&bed.acceptor), Behaviour::starttls(&bed.acceptor));
    for (security, tried) in [
        (Security::Implicit, &[465][..]),
        (Security::StartTls, &[587, 25]),
        (Security::StartTlsIfOffered, &[587, 25]),
        (Security::None, &[587, 25]),
    ] {
        let network = ports(&bed, [Behaviour::Refuses, Behaviour::Refuses, Behaviour::Refuses]);
        let ended = network.dial([any_port(&bed).security(security)], Policy::default());
        let opened: Vec<u16> = ended.opened.iter().map(|(_, to, _)| to.port()).collect();
        assert_eq!(opened, tried, "{security:?}");
    }
    let network = ports(&bed, [implicit.clone(), starttls.clone(), starttls]);
    let ended = network.dial([any_port(&bed).security(Security::StartTls)], Policy::default());
    assert_eq!(ended.verdict.expect("it is found").port, 587);
    let ended = network.dial([any_port(&bed).security(Security::None)], Policy::default());
    assert_eq!(ended.verdict.expect("it is found").mode, Mode::None);
    let lmtp = Network::new(RTT).named("localhost", &[V4]).dial([any_port(&bed).lmtp(true)], Policy::default());
    assert_eq!(lmtp.opened[0].1.port(), 24);
}

#[test]
fn happy_eyeballs() {
    let bed = Bed::new();
    let (implicit, port) = (Behaviour::implicit(&bed.acceptor), 465);
    let config = || Config::new("localhost", port).tls(bed.client.clone()).helo("client.example.org");
    let v6 = |n: u8| format!("2001:db8::{n}");
    let v4 = |n: u8| format!("192.0.2.{n}");
    let at = |ip: &str| if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    let dial = |network: Network| network.dial([config()], Policy::default());
    let opened = |ended: &Ended| -> Vec<(u64, String)> {
        ended.opened.iter().map(|(when, to, _)| (when.as_millis() as u64, to.ip().to_string())).collect()
    };

    // IPv6 is dead: IPv4 a stagger later. RFC 8305 section 5.
    let network = Network::new(RTT).named("localhost", &[&v6(1), &v4(1)]).with(&at(&v6(1)), Behaviour::Dead);
    let ended = dial(network.with(&at(&v4(1)), implicit.clone()));
    assert_eq!(ended.took, STAGGER + IMPLICIT);
    assert_eq!(opened(&ended), [(0, v6(1)), (250, v4(1))]);
    assert_eq!(ended.verdict.expect("it is found").to_string(), format!("{}/implicit", at(&v4(1))));
    assert_eq!(ended.closed.len(), 1);

    // IPv6 is refused: IPv4 at once.
    let network = Network::new(RTT).named("localhost", &[&v6(1), &v4(1)]).with(&at(&v4(1)), implicit.clone());
    let ended = dial(network);
    assert_eq!((ended.took, ended.opened.len()), (RTT + IMPLICIT, 2));

    // IPv4 is slow: IPv6 wins, and IPv4 is never tried.
    let network = Network::new(RTT).named("localhost", &[&v6(1), &v4(1)]).with(&at(&v6(1)), implicit.clone());
    let ended = dial(network.with(&at(&v4(1)), implicit.clone().slow(ms(900))));
    assert_eq!((ended.took, ended.opened.len()), (IMPLICIT, 1));

    // IPv6 is dead and IPv4 slow: it is waited for.
    let network = Network::new(RTT).named("localhost", &[&v6(1), &v4(1)]).with(&at(&v6(1)), Behaviour::Dead);
    let ended = dial(network.with(&at(&v4(1)), implicit.clone().slow(ms(900))));
    assert_eq!(ended.took, STAGGER + ms(900) + IMPLICIT);

    // All are dead: each has its full time.
    let network = Network::new(RTT).named("localhost", &[&v6(1), &v4(1), &v6(2)]);
    let network = [v6(1), v4(1), v6(2)].iter().fold(network, |network, ip| network.with(&at(ip), Behaviour::Dead));
    let ended = dial(network);
    assert_eq!(ended.verdict, None);
    assert_eq!(ended.took, STAGGER * 2 + Limits::interactive().connect);
    assert_eq!(opened(&ended), [(0, v6(1)), (250, v4(1)), (500, v6(2))]);
    let connect = Limits::interactive().connect;
    let late = |attempt: &Attempt<_>| attempt.why == Why::TimedOut(phase::CONNECT) && attempt.took == connect;
    assert!(ended.failure.attempts.iter().all(late), "{}", ended.failure);
    assert_eq!(ended.failure.attempts.len(), 3);

    // One of eight is alive, wherever it stands: a stagger for each before it, families in turn.
    let mixed: Vec<String> = (1..=4).map(v6).chain((1..=4).map(v4)).collect();
    let names: Vec<&str> = mixed.iter().map(String::as_str).collect();
    let turns: Vec<String> = (1..=4).flat_map(|n| [v6(n), v4(n)]).collect();
    for (turn, alive) in turns.iter().enumerate() {
        let network = Network::new(RTT).named("localhost", &names);
        let network = mixed.iter().fold(network, |network, ip| network.with(&at(ip), Behaviour::Dead));
        let ended = dial(network.with(&at(alive), implicit.clone()));
        assert_eq!(ended.took, STAGGER * turn as u32 + IMPLICIT, "{alive}");
        let order: Vec<String> = opened(&ended).into_iter().map(|(_, ip)| ip).collect();
        assert_eq!(order, turns[..=turn]);
        assert_eq!(ended.closed.len(), turn);
    }

    // Who gets on is not raced, though it takes longer than the stagger.
    let slow = Network { rtt: ms(200), ..Network::new(RTT) };
    let network = slow.named("localhost", &[&v6(1), &v4(1)]).with(&at(&v6(1)), implicit.clone());
    let ended = dial(network.with(&at(&v4(1)), implicit.clone()));
    assert_eq!((ended.took, ended.opened.len()), (ms(800), 1));
}

#[test]
fn answers_of_the_resolver_may_come_one_after_the_other() {
    let bed = Bed::new();
    let (v6, v4) = ("2001:db8::1", V4);
    let config = || Config::new("localhost", 465).tls(bed.client.clone()).helo("client.example.org");
    let dial = |answers: &[(u64, &[&str])]| {
        let network = Network::new(RTT).answering("localhost", answers);
        let network = network.with(&format!("[{v6}]:465"), Behaviour::implicit(&bed.acceptor));
        network.with(&format!("{v4}:465"), Behaviour::implicit(&bed.acceptor)).dial([config()], Policy::default())
    };
    let won = |ended: Ended| (ended.took, ended.verdict.expect("it is found").host.to_string(), ended.opened.len());
    // RFC 8305 section 3: AAAA first is used at once; A first waits 50 ms for it, and no longer.
    assert_eq!(won(dial(&[(10, &[v6]), (500, &[v4])])), (ms(10) + IMPLICIT, v6.into(), 1));
    assert_eq!(won(dial(&[(10, &[v4]), (40, &[v6])])), (ms(40) + IMPLICIT, v6.into(), 1));
    assert_eq!(won(dial(&[(10, &[v4]), (5000, &[v6])])), (ms(60) + IMPLICIT, v4.into(), 1));
    assert_eq!(won(dial(&[(10, &[v4])])), (ms(10) + IMPLICIT, v4.into(), 1));
    // The resolver's own order holds within one answer.
    assert_eq!(won(dial(&[(10, &[v4, v6])])), (ms(10) + IMPLICIT, v4.into(), 1));
    // None, an error, and one that never comes.
    let ended = dial(&[(10, &[])]);
    assert_eq!((ended.took, whys(&ended)), (ms(10), vec!["the name has no address".to_owned()]));
    let ended = Network::new(RTT).dial([config()], Policy::default());
    assert_eq!(whys(&ended), ["not found: no such name"]);
    let ended = dial(&[(60_000, &[v4])]);
    assert_eq!((ended.took, &ended.failure.attempts[0].why), (ms(10_000), &Why::TimedOut(phase::RESOLVE)));
}

#[test]
fn one_server_comes_after_the_other() {
    let bed = Bed::new();
    let config = |host: &str| Config::new(host, 25).tls_name("localhost").tls(bed.client.clone()).helo("c.example.org");
    let network = Network::new(RTT)
        .named("a", &["192.0.2.1", "192.0.2.2"])
        .named("b", &["192.0.2.3"])
        .with("192.0.2.1:25", Behaviour::Script(&[Some("554 not today\r\n"), Some("221 bye\r\n"), None]))
        .with("192.0.2.3:25", Behaviour::starttls(&bed.acceptor));
    let ended = network.dial([config("a"), config("nowhere"), config("b")], Policy::default());
    assert_eq!(ended.verdict.as_ref().expect("it is found").to_string(), "192.0.2.3:25/starttls");
    let order: Vec<String> = ended.opened.iter().map(|(_, to, _)| to.ip().to_string()).collect();
    assert_eq!(order, ["192.0.2.1", "192.0.2.2", "192.0.2.3"], "all of one before the next");
    assert_eq!(ended.failure.attempts.len(), 3, "{}", ended.failure);
    let telling = ended.failure.telling().expect("an attempt").to_string();
    assert!(telling.contains("554"), "{telling}");
}

#[test]
fn refused_credentials_are_not_tried_elsewhere() {
    let bed = Bed::new();
    let config = |bed: &Bed| {
        any_port(bed)
            .security(Security::None)
            .credentials(Credentials::password("tim", "secret"))
            .allowed(Allowed::only(["PLAIN".parse().unwrap()]).danger_allow_clear_text())
    };
    let script = |reply| {
        let turns: [Option<&'static str>; 4] =
            [Some("220 mx\r\n"), Some("250-mx\r\n250 AUTH PLAIN\r\n"), Some(reply), Some("221 bye\r\n")];
        Behaviour::Script(Box::leak(Box::new(turns)))
    };
    for (reply, opened) in [("535 5.7.8 no\r\n", 1), ("454 4.7.0 later\r\n", 4)] {
        let network = Network::new(RTT)
            .named("localhost", &["192.0.2.1", "192.0.2.2"])
            .with("192.0.2.1:587", script(reply))
            .with("192.0.2.2:587", script(reply));
        let ended = network.dial([config(&bed)], Policy::default());
        assert_eq!((ended.verdict.clone(), ended.opened.len()), (None, opened), "{}", ended.failure);
        let telling = &ended.failure.telling().expect("an attempt").why;
        let Why::Session { error, .. } = telling else { panic!("{telling}") };
        assert!(matches!(error.cause, Cause::Authentication(AuthenticationError::Refused { .. })));
    }
}

#[test]
fn a_certificate_that_is_not_trusted_settles_the_guess() {
    let (bed, other) = (Bed::new(), Bed::new());
    for (port, bound) in [(465, RTT * 2), (587, STAGGER + RTT * 2)] {
        let ended = bed.one(Behaviour::implicit(&other.acceptor), port, Policy::default());
        assert_eq!(ended.verdict, None);
        assert!(ended.took <= bound, "{:?}", ended.took);
        let Why::Session { error, .. } = &ended.failure.telling().expect("an attempt").why else {
            panic!("{}", ended.failure)
        };
        assert!(matches!(error.cause, Cause::Tls(tls::Error::Certificate(_))), "{error}");
    }
}

#[test]
fn without_a_second_guess_the_first_connection_finds_out_alone() {
    let bed = Bed::new();
    let policy = || Policy { second_guess: false, ..Policy::default() };
    let ended = bed.one(Behaviour::implicit(&bed.acceptor), 2525, policy());
    assert_eq!((ended.verdict.expect("it is found").mode, ended.opened.len()), (Mode::Implicit, 1));
    assert_eq!(ended.took, Limits::interactive().greeting + IMPLICIT);
    // What is proven is acted on all the same.
    let ended = bed.one(Behaviour::clear(), 465, policy());
    assert_eq!((ended.took, ended.opened.len()), (RTT * 2 + CLEAR, 2));
}

#[test]
fn a_proxys_challenge_is_answered_on_a_new_connection_once() {
    let bed = Bed::new();
    let challenge = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Digest realm=\"r\", nonce=\"n\", \
                     qop=\"auth\", algorithm=MD5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let turns: &'static [Option<&'static str>] = Box::leak(Box::new([Some(""), Some(&*challenge.to_owned().leak())]));
    let config = || {
        let proxied = bed.config(587).security(Security::StartTls).entropy(|octets| octets.fill(7));
        proxied.proxy("http://tim:secret@192.0.2.9:3128".parse().expect("a URL"))
    };
    let network = Network::new(RTT).with("192.0.2.9:3128", Behaviour::Script(turns));
    let ended = network.dial([config()], Policy::default());
    assert_eq!((ended.verdict.clone(), ended.opened.len()), (None, 2), "{}", ended.failure);
    assert!(ended.heard[1].1.windows(28).any(|part| part == b"Proxy-Authorization: Digest "), "it is answered");
    let Why::Session { error, .. } = &ended.failure.attempts[1].why else { panic!("{}", ended.failure) };
    assert_eq!(error.hop.as_ref().map(|hop| hop.number()), Some(1));
}

#[test]
fn the_operation_as_a_whole_bounds_all_attempts_together() {
    let bed = Bed::new();
    let whole = ms(1500);
    let limits = || Limits::interactive().operation(whole);
    let network = Network::new(RTT).answering("localhost", &[(300, &["192.0.2.1", "192.0.2.2"])]);
    let network = network.with("192.0.2.1:587", Behaviour::Silent).with("192.0.2.2:587", Behaviour::Dead);
    let config = Config::new("localhost", 587).tls(bed.client.clone()).helo("c.example.org").limits(limits());
    let ended = network.dial([config], Policy { stagger: ms(200), ..Policy::default() });
    assert_eq!((ended.verdict.clone(), ended.took), (None, whole), "{}", ended.failure);
    assert_eq!(ended.failure.attempts.len(), ended.opened.len(), "{}", ended.failure);
    let waited = |attempt: &Attempt<_>| match &attempt.why {
        Why::Session { error, .. } => match error.cause {
            Cause::TimedOut { waited, .. } => waited == whole,
            _ => false,
        },
        Why::TimedOut(watched) => *watched == phase::CONNECT,
        _ => false,
    };
    assert!(ended.failure.attempts.iter().all(waited), "{}", ended.failure);
    // The lookup alone may use it up.
    let network = Network::new(RTT).answering("localhost", &[(3000, &[V4])]);
    let config = Config::new("localhost", 587).tls(bed.client.clone()).helo("c.example.org").limits(limits());
    let ended = network.dial([config], Policy::default());
    assert_eq!((ended.took, &ended.failure.attempts[0].why), (whole, &Why::TimedOut(phase::RESOLVE)));
}

#[test]
fn who_is_ready_in_clear_is_not_given_up_when_the_time_is_over() {
    let bed = Bed::new();
    let limits = Limits::interactive().operation(ms(2000));
    let network = ports(&bed, [Behaviour::Dead, Behaviour::Dead, Behaviour::clear()]);
    let ended = network.dial([any_port(&bed).limits(limits)], Policy::default());
    assert_eq!(ended.verdict.expect("it is ready").mode, Mode::None);
    assert_eq!(ended.took, ms(2000));
}

#[test]
fn few_at_once_find_the_same() {
    let bed = Bed::new();
    let policy = || Policy { at_once: 1, ..Policy::default() };
    let starttls = Behaviour::starttls(&bed.acceptor);
    let network = ports(&bed, [Behaviour::Dead, Behaviour::clear(), starttls]);
    let ended = network.dial([any_port(&bed)], policy());
    assert_eq!(ended.verdict.expect("it is found").to_string(), format!("{V4}:25/starttls"));
    assert_eq!(ended.opened.len(), 3);
    // Who is ready in clear does not stand in the way of what is still to be tried.
    let policy = Policy { ports: vec![25, 587], ..policy() };
    let network = ports(&bed, [Behaviour::Refuses, Behaviour::starttls(&bed.acceptor), Behaviour::clear()]);
    let ended = network.dial([any_port(&bed)], policy);
    assert_eq!(ended.verdict.expect("it is found").to_string(), format!("{V4}:587/starttls"));
}

fn cell(ended: &Ended) -> String {
    let took = format!("{} ms", ended.took.as_millis());
    match (&ended.verdict, ended.failure.telling()) {
        (Some(verdict), _) => format!("{took}, {}", verdict.mode),
        (None, Some(attempt)) => match &attempt.why {
            Why::Session { error, .. } => format!("fails after {took}, in {}", error.phase),
            why => format!("fails after {took}: {why}"),
        },
        (None, None) => panic!("neither won nor lost"),
    }
}

fn tables() -> String {
    let bed = Bed::new();
    let mut text = String::new();
    let head = PORTS.map(|port| format!("port {port}")).join(" | ");
    writeln!(text, "| the server | {head} |\n|---|{}", "---|".repeat(PORTS.len())).unwrap();
    for (name, behaviour) in bed.behaviours() {
        let cells = PORTS.map(|port| cell(&bed.one(behaviour.clone(), port, Policy::default())));
        writeln!(text, "| {name} | {} |", cells.join(" | ")).unwrap();
    }
    let (implicit, starttls) = (Behaviour::implicit(&bed.acceptor), Behaviour::starttls(&bed.acceptor));
    let (refuses, dead, clear) = (Behaviour::Refuses, Behaviour::Dead, Behaviour::clear());
    writeln!(text, "\n| 465 | 587 | 25 | found | after |\n|---|---|---|---|---|").unwrap();
    for (words, on) in [
        ("implicit TLS | STARTTLS | STARTTLS", [implicit.clone(), starttls.clone(), starttls.clone()]),
        ("refused | STARTTLS | STARTTLS", [refuses.clone(), starttls.clone(), starttls.clone()]),
        ("packets lost | STARTTLS | STARTTLS", [dead.clone(), starttls.clone(), starttls.clone()]),
        ("packets lost | packets lost | STARTTLS", [dead.clone(), dead.clone(), starttls.clone()]),
        ("refused | refused | clear text", [refuses.clone(), refuses.clone(), clear.clone()]),
        ("packets lost | packets lost | clear text", [dead.clone(), dead.clone(), clear]),
        ("STARTTLS | refused | refused", [starttls, refuses.clone(), refuses.clone()]),
        ("refused | implicit TLS | refused", [refuses.clone(), implicit, refuses]),
    ] {
        let ended = ports(&bed, on).dial([any_port(&bed)], Policy::default());
        let verdict = ended.verdict.expect("something is found");
        writeln!(text, "| {words} | {}/{} | {} ms |", verdict.port, verdict.mode, ended.took.as_millis()).unwrap();
    }
    text
}

/// What stands in the documentation is what is measured here; `UPDATE_TABLES=1` writes it.
#[test]
fn the_table_of_times_is_what_the_documentation_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/DIALLING.md");
    let document = std::fs::read_to_string(&path).expect("the documentation");
    let (begin, end) = ("<!-- times -->\n", "<!-- end of times -->");
    let (before, rest) = document.split_once(begin).expect("where the tables begin");
    let (written, after) = rest.split_once(end).expect("where the tables end");
    let measured = tables();
    if std::env::var_os("UPDATE_TABLES").is_some() {
        std::fs::write(&path, [before, begin, &measured, end, after].concat()).expect("a place to write");
    } else {
        assert_eq!(written, measured, "docs/DIALLING.md is not what is measured: UPDATE_TABLES=1 writes it anew");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn whatever_it_is_told_the_dialer_keeps_its_laws(input in prop::collection::vec(any::<u8>(), 0..160)) {
        tests::fuzz::dial(&input);
    }

    /// The same, where most of what is told makes sense: addresses come first, and failures are few.
    #[test]
    fn told_what_makes_sense_the_dialer_keeps_its_laws(
        setting in prop::collection::vec(any::<u8>(), 4),
        steps in prop::collection::vec((prop_oneof![Just(0u8), Just(2), Just(7), Just(8), any::<u8>()], 0u8..12), 0..80),
    ) {
        let found = [3 + 64, 0, 4 + 64, 1, 5, 0, 5, 1];
        let steps = steps.iter().flat_map(|(what, which)| [*what, *which]);
        let input: Vec<u8> = setting.into_iter().chain(found).chain(steps).collect();
        tests::fuzz::dial(&input);
    }
}

fn dialer(config: Config) -> smtp_proto::dial::Dialer<&'static str> {
    smtp_proto::dial::Dialer::new(config, Policy::default()).unwrap()
}

#[test]
fn somebody_must_be_dialled() {
    let nobody = smtp_proto::dial::Dialer::<&str>::among([], Policy::default());
    assert!(matches!(nobody, Err(smtp_proto::Misuse::Empty { what: "list of servers" })));
}

#[test]
fn a_name_that_is_wanted_twice_is_asked_for_once() {
    use smtp_proto::dial::Order;
    // The proxy is on the server's own host, and leaves names to its client.
    let config =
        Config::new("relay.example", 25).security(Security::None).proxy("socks5://relay.example:1080".parse().unwrap());
    for early in [false, true] {
        let mut dialer = dialer(config.clone());
        let now = smtp_proto::Instant::EPOCH;
        assert!(matches!(dialer.poll(now), Some(Order::Resolve { name, .. }) if name == "relay.example"));
        if early {
            assert!(dialer.poll(now).is_none(), "it is being asked for");
        }
        dialer.found(now, "relay.example", &[V4.parse().unwrap()]);
        dialer.looked_up(now, "relay.example", Ok(()));
        let Some(Order::Open(open)) = dialer.poll(now) else { panic!("nothing is opened") };
        assert_eq!(open.to, format!("{V4}:1080").parse().unwrap());
        assert!(open.connection().is_ok());
    }
}

#[test]
fn an_address_that_no_proxy_can_be_asked_for_is_told_and_the_next_is_tried() {
    use smtp_proto::dial::Order;
    // SOCKS4 carries no IPv6.
    let config =
        Config::new("mx.example.org", 25).security(Security::None).proxy("socks4://192.0.2.9:1080".parse().unwrap());
    let mut dialer = dialer(config);
    let now = smtp_proto::Instant::EPOCH;
    assert!(matches!(dialer.poll(now), Some(Order::Resolve { name, .. }) if name == "mx.example.org"));
    dialer.found(now, "mx.example.org", &["2001:db8::1".parse().unwrap()]);
    dialer.looked_up(now, "mx.example.org", Ok(()));
    assert!(dialer.poll(now).is_none());
    assert!(dialer.is_lost() && dialer.won().is_none());
    let failure = dialer.into_failure();
    let text = failure.to_string();
    assert!(matches!(&failure.attempts[0].why, Why::Misuse(smtp_proto::Misuse::Proxy { hop: 1, .. })), "{text}");
    assert!(text.contains("hop 1") && text.contains("mx.example.org"), "{text}");
}
