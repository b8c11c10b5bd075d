//! A server, or a proxy before it, that stalls: wherever it does, the error names phase and hop, at the right moment.
//!
//! The rules of this file: a way is a list of stages, and a message's session another; at each stage in turn nothing more
//! comes. What is expected stands in the tables: the limit, by the table of `limits.rs`, and the last reply.

use std::time::Duration;

use proxy_proto::ProxyUrl;
use smtp_proto::client::{Envelope, Event};
use smtp_proto::sasl::{Allowed, Credentials};
use smtp_proto::{Cause, Config, Connection, Instant, Limits, Security};
use tests::transparent::Transparent;

/// Every limit another one, so that none can be taken for another.
fn limits() -> Limits {
    let seconds = Duration::from_secs;
    Limits {
        resolve: seconds(3),
        connect: seconds(5),
        hop: seconds(7),
        tls: seconds(11),
        greeting: seconds(13),
        ehlo: seconds(17),
        auth: seconds(19),
        mail: seconds(23),
        rcpt: seconds(29),
        data: seconds(31),
        block: seconds(37),
        message: seconds(41),
        command: seconds(43),
        quit: seconds(47),
        operation: None,
    }
}

/// What is waited for: its name, at which hop, how long at most, and the answer that ends the wait.
struct Stage {
    phase: &'static str,
    hop: Option<usize>,
    limit: Duration,
    answer: &'static [u8],
}

fn stage(phase: &'static str, limit: Duration, answer: &'static str) -> Stage {
    Stage { phase, hop: None, limit, answer: answer.as_bytes() }
}

fn at_hop(hop: usize, phase: &'static str, limit: Duration, answer: &'static [u8]) -> Stage {
    Stage { phase, hop: Some(hop), limit, answer }
}

/// From the greeting to the end of QUIT.
fn session() -> Vec<Stage> {
    let l = limits();
    vec![
        stage("greeting", l.greeting, "220 mx.example.org\r\n"),
        stage("EHLO", l.ehlo, "250-mx.example.org\r\n250 AUTH LOGIN\r\n"),
        stage("AUTH", l.auth, "334 VXNlcm5hbWU6\r\n"),
        stage("AUTH", l.auth, "334 UGFzc3dvcmQ6\r\n"),
        stage("AUTH", l.auth, "235 welcome\r\n"),
        stage("MAIL", l.mail, "250 sender\r\n"),
        stage("RCPT", l.rcpt, "250 recipient\r\n"),
        stage("DATA", l.data, "354 go\r\n"),
        stage("final dot", l.message, "251 taken\r\n"),
    ]
}

/// TLS to the first proxy, CONNECT, and SOCKS5 to the second.
fn hops() -> Vec<Stage> {
    let l = limits();
    vec![
        at_hop(1, "TLS handshake", l.tls, b"\x16"),
        at_hop(1, "CONNECT reply", l.hop, b"HTTP/1.1 200 OK\r\n\r\n"),
        at_hop(2, "SOCKS5 method", l.hop, b"\x05\x00"),
        // One limit for the whole handshake with a proxy, of which a second has gone.
        at_hop(2, "SOCKS5 request", l.hop - SECOND, b"\x05\x00\x00\x01\0\0\0\0\0\0"),
    ]
}

const SECOND: Duration = Duration::from_secs(1);

fn config(security: Security, hops: bool) -> Config {
    let config = Config::new("mx.example.org", 25)
        .security(security)
        .tls(Transparent)
        .helo("client.example.org")
        .limits(limits())
        .credentials(Credentials::password("tim", "secret"))
        .allowed(Allowed::only(["LOGIN".parse().unwrap()]).danger_allow_clear_text());
    if hops {
        let url = |text: &str| text.parse::<ProxyUrl>().expect("a URL");
        config.proxy(url("https://first.example.org")).proxy(url("socks5h://second.example.org"))
    } else {
        config
    }
}

/// Every way to a server, and the stages on it.
fn ways() -> Vec<(&'static str, Config, Vec<Stage>)> {
    let l = limits();
    let tls = || stage("TLS handshake", l.tls, "\x16");
    let starttls = || {
        vec![
            stage("greeting", l.greeting, "220 mx.example.org\r\n"),
            stage("EHLO", l.ehlo, "250-mx.example.org\r\n250 STARTTLS\r\n"),
            stage("STARTTLS", l.ehlo, "220 go\r\n"),
            tls(),
        ]
    };
    let mut ways = Vec::new();
    for through in [false, true] {
        let way = || if through { hops() } else { Vec::new() };
        let mut clear = way();
        clear.extend(session());
        ways.push(("clear", config(Security::None, through), clear));
        let mut implicit = way();
        implicit.push(tls());
        implicit.extend(session());
        ways.push(("implicit TLS", config(Security::Implicit, through), implicit));
        let mut secured = way();
        secured.extend(starttls());
        // Behind STARTTLS there is no second greeting.
        secured.extend(session().into_iter().skip(1));
        ways.push(("STARTTLS", config(Security::StartTls, through), secured));
    }
    ways
}

struct Heard {
    connection: Connection,
    now: Instant,
}

impl Heard {
    fn speak(&mut self) {
        if let Some(body) = self.connection.body(self.now) {
            body.end();
        }
        let written = self.connection.wants(self.now).write.len();
        self.connection.sent(written);
    }

    fn hear(&mut self, octets: &[u8]) {
        self.connection.wants(self.now).read[..octets.len()].copy_from_slice(octets);
        self.connection.received(octets.len());
        while self.connection.poll(self.now).expect("it goes on").is_some() {}
        self.speak();
    }
}

/// The code of the last reply among these answers.
fn last_code(answers: &[Stage]) -> Option<u16> {
    let reply = |stage: &&Stage| stage.hop.is_none() && stage.answer.first().is_some_and(u8::is_ascii_digit);
    let answer = answers.iter().rev().find(reply)?.answer;
    std::str::from_utf8(&answer[..3]).ok()?.parse().ok()
}

#[test]
fn wherever_it_stalls_phase_and_hop_are_named_at_the_right_moment() {
    for (way, config, stages) in ways() {
        for at in 0..stages.len() {
            let route = config.route(&[]).expect("a route");
            let through = config.proxies().count() > 0;
            let connection = Connection::new(config.clone(), route).expect("a configuration");
            let mut heard = Heard { connection, now: Instant::from_epoch(Duration::from_secs(100)) };
            let envelope = Envelope::new("a@example.org", ["b@example.net"]).expect("an envelope");
            heard.connection.send(envelope, Default::default()).expect("it may be queued");
            heard.speak();
            for passed in &stages[..at] {
                heard.now = heard.now.after(SECOND);
                heard.hear(passed.answer);
            }
            let stage = &stages[at];
            let place = format!("{way}, proxies: {through}, stage {at}: {}", stage.phase);
            let due = heard.now.after(stage.limit);
            let deadline = heard.connection.wants(heard.now).deadline.unwrap_or_else(|| panic!("{place}: no limit"));
            assert_eq!((deadline.watching.name(), deadline.at), (stage.phase, due), "{place}");
            // Octets that complete nothing prolong nothing; some protocols have no such octet.
            heard.now = Instant::from_epoch(due.since_epoch() - Duration::from_nanos(1));
            assert_eq!(heard.connection.poll(heard.now), Ok(None), "{place}");
            heard.now = due;
            let error = loop {
                match heard.connection.poll(heard.now) {
                    Ok(Some(Event::Sent(_))) => {}
                    Ok(other) => panic!("{place}: {other:?}"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.phase.name(), stage.phase, "{place}");
            assert_eq!(error.hop.as_ref().map(|hop| hop.number()), stage.hop, "{place}");
            let Cause::TimedOut { waited, last } = &error.cause else { panic!("{place}: {error:?}") };
            // The handshake with one proxy is one wait.
            let whole = if stage.phase == "SOCKS5 request" { limits().hop } else { stage.limit };
            assert_eq!(*waited, whole, "{place}");
            assert_eq!(last.as_ref().map(|reply| reply.code().number()), last_code(&stages[..at]), "{place}");
            let text = error.to_string();
            assert!(text.contains(stage.phase) && text.contains(&format!("timed out after {whole:.1?}")), "{text}");
            assert_eq!(text.starts_with("hop "), stage.hop.is_some(), "{text}");
        }
    }
}

#[test]
fn quit_is_not_waited_for_longer_than_its_limit_and_is_no_error() {
    for (way, config, stages) in ways() {
        let route = config.route(&[]).expect("a route");
        let connection = Connection::new(config.clone(), route).expect("a configuration");
        let mut heard = Heard { connection, now: Instant::from_epoch(Duration::from_secs(100)) };
        let envelope = Envelope::new("a@example.org", ["b@example.net"]).expect("an envelope");
        heard.connection.send(envelope, Default::default()).expect("it may be queued");
        heard.speak();
        for passed in &stages {
            heard.now = heard.now.after(SECOND);
            heard.hear(passed.answer);
        }
        heard.connection.quit().expect("an open session");
        heard.speak();
        let deadline = heard.connection.wants(heard.now).deadline.expect("a limit");
        assert_eq!((deadline.watching.name(), deadline.at), ("QUIT", heard.now.after(limits().quit)), "{way}");
        heard.now = deadline.at;
        assert_eq!(heard.connection.poll(heard.now), Ok(Some(Event::Closed(None))), "{way}");
    }
}

#[test]
fn the_operation_as_a_whole_is_told_as_such_in_every_phase() {
    let whole = Duration::from_secs(6);
    for (way, config, stages) in ways() {
        // The first dial was three seconds before this connection.
        let began = Instant::from_epoch(Duration::from_secs(97));
        for at in 0..stages.len().min(3) {
            let config = config.clone().limits(limits().operation(whole));
            let route = config.route(&[]).expect("a route");
            let mut connection = Connection::new(config, route).expect("a configuration");
            connection.began(began);
            let mut heard = Heard { connection, now: began.after(SECOND * 3) };
            heard.speak();
            for passed in &stages[..at] {
                heard.now = heard.now.after(SECOND);
                heard.hear(passed.answer);
            }
            let deadline = heard.connection.wants(heard.now).deadline.expect("a limit");
            assert_eq!((deadline.at, deadline.watching.name()), (began.after(whole), stages[at].phase), "{way} {at}");
            heard.now = deadline.at;
            let error = heard.connection.poll(heard.now).expect_err("the time is up");
            assert_eq!(error.hop.as_ref().map(|hop| hop.number()), stages[at].hop, "{way} {at}");
            assert!(matches!(error.cause, Cause::TimedOut { waited, .. } if waited == whole), "{way} {at}: {error:?}");
        }
    }
}
