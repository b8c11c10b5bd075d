//! How a plan is thrown: all that chance decides, in one place.
//!
//! The rules of this file: what has been got wrong before comes more often than chance would have it; a quarter of the seeds
//! is calm, because where everything goes wrong at once little is seen of each.

use std::time::Duration;

use proxy_proto::{Credentials as ProxyCredentials, ProxyUrl, Scheme, Target};
use smtp_proto::body::LineEndings;
use smtp_proto::client::{BodyKind, Require};
use smtp_proto::sasl::{Credentials, MechanismName};
use smtp_proto::{Grouping, Limits, Security, server};

use super::plan::{Asks, Message, Network, Pace, Plan, Policy, Proxy, SESSIONS, Server, Wants};
use crate::dice::Dice;
use crate::stream::{Fault, Way, Weather};

impl Plan {
    /// What this seed says.
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let dice = &mut dice;
        // Where everything goes wrong at once, little is seen of each.
        let calm = dice.one_in(4);
        let real_tls = dice.one_in(60);
        let security = dice.pick(&[
            Security::None,
            Security::None,
            Security::StartTls,
            Security::StartTls,
            Security::StartTlsIfOffered,
            Security::Implicit,
            Security::Auto,
            Security::Auto,
        ]);
        let port = dice.pick(&[25, 587, 465]);
        let host = if real_tls { "localhost" } else { dice.pick(&["mx.example.org", "192.0.2.25", "[2001:db8::25]"]) };
        let lmtp = dice.one_in(6);
        let secret = format!("tan-{:016x}-staaf", dice.throw());
        let right = !dice.one_in(5);
        let right_secret = if right { secret.clone() } else { "another one".to_owned() };
        let credentials = dice.one_in(3).then(|| (credentials(dice, &secret), right));
        let messages = messages(dice);
        // Many octets one by one are slow, and show no more than a few.
        let octets: usize = messages.iter().map(|message| message.content.len()).sum();
        let least = if octets > 10_000 || real_tls { 100 } else { 1 };
        let networks = (0..SESSIONS).map(|_| network(dice, least, calm)).collect();
        let proxies = proxies(dice, host, real_tls, calm);
        // A wrong token is followed by the right one, where its source has that.
        let fresh_token = !right && dice.one_in(2);
        Self {
            seed,
            fresh_token,
            host,
            port,
            header: dice.one_in(12),
            proxies,
            security,
            real_tls,
            lmtp,
            credentials,
            secret,
            right_secret,
            clear_text: dice.one_in(2),
            limits: limits(dice, calm),
            grouping: dice.pick(&[Grouping::Flights, Grouping::Flights, Grouping::Groups, Grouping::OneByOne]),
            without: some_of(
                dice,
                12,
                &["PIPELINING", "CHUNKING", "SIZE", "8BITMIME", "PIPECONNECT", "AUTH", "STARTTLS"],
            ),
            with: some_of(dice, 40, &["PIPELINING", "CHUNKING", "8BITMIME", "DSN", "SIZE 100"]),
            remembers: !dice.one_in(4),
            pace: dice.pick(&[Pace::AtOnce, Pace::AtOnce, Pace::WhenReady, Pace::OneByOne]),
            noops: if dice.one_in(8) { 2 } else { 0 },
            messages,
            servers: servers(dice, security, port, lmtp, calm),
            networks,
        }
    }
}

fn some_of(dice: &mut Dice, one_in: usize, these: &[&'static str]) -> Vec<&'static str> {
    these.iter().filter(|_| dice.one_in(one_in)).copied().collect()
}

fn credentials(dice: &mut Dice, secret: &str) -> Credentials {
    match dice.below(4) {
        0 => Credentials::token("tim", secret),
        1 => Credentials::password("tim", secret).authzid("bob"),
        _ => Credentials::password("tim", secret),
    }
}

fn limits(dice: &mut Dice, calm: bool) -> Limits {
    let limits = match dice.below(if calm { 2 } else { 3 }) {
        0 => Limits::rfc5321(),
        1 => Limits::interactive(),
        _ => {
            let mut short = || dice.millis(200, 5000);
            Limits {
                hop: short(),
                tls: short(),
                greeting: short(),
                ehlo: short(),
                auth: short(),
                mail: short(),
                rcpt: short(),
                data: short(),
                block: short(),
                message: short(),
                command: short(),
                quit: short(),
                ..Limits::interactive()
            }
        }
    };
    if !calm && dice.one_in(10) { limits.operation(dice.millis(500, 20_000)) } else { limits }
}

fn proxies(dice: &mut Dice, server: &str, real_tls: bool, calm: bool) -> Vec<Proxy> {
    let count = [0, 0, 0, 0, 1, 1, 2, 3][dice.below(8)];
    let all = [Scheme::Socks4, Scheme::Socks4a, Scheme::Socks5, Scheme::Socks5h, Scheme::Http, Scheme::Https];
    (0..count)
        .map(|at| {
            let mut scheme = dice.pick(&all);
            // SOCKS4 has no field for an IPv6 address.
            if at + 1 == count && server.starts_with('[') && !scheme.carries_ipv6() {
                scheme = Scheme::Socks5;
            }
            let host = if real_tls { "localhost".to_owned() } else { format!("p{at}.example") };
            let target = Target::new(&host, 1080 + at as u16).expect("a proxy");
            let wants = match scheme {
                Scheme::Socks4 | Scheme::Socks4a => Wants::Nothing,
                Scheme::Socks5 | Scheme::Socks5h => dice.pick(&[Wants::Nothing, Wants::Password]),
                _ => dice.pick(&[Wants::Nothing, Wants::Nothing, Wants::Password, Wants::PasswordAnew, Wants::Digest]),
            };
            let socks4 = !scheme.carries_ipv6();
            let known = wants != Wants::Nothing && (calm || !dice.one_in(20));
            let credentials = match known {
                _ if socks4 && dice.one_in(2) => Some(ProxyCredentials::new("fred", "")),
                true => Some(ProxyCredentials::new("fred", "open sesame")),
                false => None,
            };
            let knows = calm || !dice.one_in(20);
            let refuses = !calm && dice.one_in(25);
            Proxy { url: ProxyUrl::new(scheme, target, credentials), wants, knows, refuses }
        })
        .collect()
}

fn weather(dice: &mut Dice, least: usize, calm: bool) -> Weather {
    let stall = (!calm && dice.one_in(12)).then(|| (dice.below(4000) as u64, dice.millis(1, 30_000)));
    Weather {
        latency: dice.millis(0, 100),
        jitter: if dice.one_in(3) { dice.millis(0, 200) } else { Duration::ZERO },
        gathers: if dice.one_in(4) { dice.millis(1, 100) } else { Duration::ZERO },
        piece: match dice.below(4) {
            0 => dice.range(least, least + 2),
            1 => dice.range(least, least + 200),
            _ => usize::MAX,
        },
        capacity: if dice.one_in(3) { dice.range(200, 20_000) } else { 1 << 20 },
        stall,
    }
}

fn network(dice: &mut Dice, least: usize, calm: bool) -> Network {
    let (up, down) = (weather(dice, least, calm), weather(dice, least, calm));
    let fault = (!calm && dice.one_in(2)).then(|| {
        let place = match dice.below(4) {
            0 => dice.below(200),
            1 => dice.below(1000),
            2 => dice.below(4000),
            _ => dice.below(40_000),
        };
        (dice.pick(&[Way::Up, Way::Down]), place as u64, dice.pick(&Fault::ALL))
    });
    Network { up, down, fault }
}

fn messages(dice: &mut Dice) -> Vec<Message> {
    let count = dice.pick(&[1, 1, 2, 3, 5, 8]);
    (0..count).map(|at| message(dice, at)).collect()
}

fn message(dice: &mut Dice, at: usize) -> Message {
    let recipients = dice.pick(&[1, 1, 1, 2, 3, 5, 20]);
    let international = dice.one_in(20);
    let to = (0..recipients)
        .map(|number| match dice.below(8) {
            0 => format!("\"r{number} m{at} \\\"q\\\"\"@example.net"),
            _ if international => format!("r{number}.m{at}.käse@example.net"),
            _ => format!("r{number}.m{at}@example.net"),
        })
        .collect();
    let from = if dice.one_in(10) { String::new() } else { format!("m{at}@example.org") };
    let kind = dice.pick(&[BodyKind::SevenBit, BodyKind::SevenBit, BodyKind::EightBitMime, BodyKind::BinaryMime]);
    let endings = match kind {
        BodyKind::BinaryMime => dice.pick(&[LineEndings::Exact, LineEndings::Canonical]),
        _ => dice.pick(&[LineEndings::Canonical, LineEndings::Canonical, LineEndings::Canonical, LineEndings::Strict]),
    };
    Message {
        from,
        to,
        content: content(dice),
        endings,
        kind: if dice.one_in(2) { BodyKind::SevenBit } else { kind },
        sized: dice.one_in(3),
        require: dice.pick(&[Require::Any, Require::Any, Require::Any, Require::All, Require::AtLeast(2)]),
        asks: Asks {
            dsn: dice.one_in(8),
            by: dice.one_in(20),
            priority: dice.one_in(20),
            require_tls: dice.one_in(30),
            prdr: dice.one_in(10),
        },
        abandoned: dice.one_in(60),
    }
}

/// Octets that have been got wrong before, more often than chance would have them.
fn content(dice: &mut Dice) -> Vec<u8> {
    let size = match dice.below(40) {
        0..=3 => 0,
        4..=11 => dice.range(1, 10),
        12..=29 => dice.range(10, 2000),
        30..=36 => dice.range(2000, 20_000),
        // About the size of a chunk.
        37 | 38 => dice.range(65_530, 65_542),
        _ => dice.range(65_543, 300_000),
    };
    let parts: [&[u8]; 12] = [
        b"\r\n",
        b"\r\n",
        b"\r\n.\r\n",
        b".",
        b"\r",
        b"\n",
        b"..",
        b"\r\n.",
        b"QUIT\r\n",
        b"\xff\x00\x16\x15\x17",
        b"caf\xc3\xa9",
        b".\r",
    ];
    // Most messages have but CRLF.
    let known = dice.pick(&[2, 2, 4, 9, parts.len()]);
    let long = dice.one_in(2);
    let mut octets = Vec::with_capacity(size + 600);
    while octets.len() < size {
        if dice.one_in(2) {
            octets.extend_from_slice(parts[dice.below(known)]);
        } else {
            let run = dice.range(1, if long { 500 } else { 8 });
            octets.extend(std::iter::repeat_n(b'a' + dice.below(26) as u8, run));
        }
    }
    octets.truncate(size);
    octets
}

fn policy(dice: &mut Dice, calm: bool) -> Policy {
    let mut often = |odds: &[usize]| dice.pick(odds);
    let policy = Policy {
        greeting: often(&[0, 0, 0, 30]),
        mail: often(&[0, 0, 20, 4]),
        rcpt: often(&[0, 0, 8, 2]),
        data: often(&[0, 0, 0, 4]),
        amid: often(&[0, 0, 0, 8]),
        message: often(&[0, 0, 8, 2]),
        auth: often(&[0, 0, 0, 10]),
        closing: often(&[0, 0, 3, 10]),
        lost_track: often(&[0, 0, 2, 2]),
        shuts_down: often(&[0, 0, 0, 0, 0, 12]),
        vanishes: often(&[0, 0, 0, 0, 0, 0, 12]),
        late: often(&[0, 0, 0, 5]),
        lateness: Duration::from_secs(often(&[1, 1, 10, 400]) as u64),
    };
    if calm || dice.one_in(4) { Policy::default() } else { policy }
}

fn servers(dice: &mut Dice, security: Security, port: u16, lmtp: bool, calm: bool) -> Vec<Server> {
    // As the client expects it, more often than chance would have it.
    let fits = calm || !dice.one_in(12);
    let implicit = match security {
        Security::Implicit => fits,
        Security::Auto if port == 465 => !dice.one_in(4),
        Security::Auto => dice.one_in(5),
        _ => !fits && dice.one_in(4),
    };
    let tls = match security {
        Security::StartTls => fits,
        _ => implicit || dice.one_in(2),
    };
    let speaks_lmtp = if !calm && dice.one_in(30) { !lmtp } else { lmtp };
    let (config, is_strict) = server(dice, speaks_lmtp, calm);
    let mut servers = vec![Server { config, implicit, tls, lmtp: speaks_lmtp, is_strict, policy: policy(dice, calm) }];
    while servers.len() < SESSIONS {
        // What is remembered of it is stale then.
        let last = servers[servers.len() - 1].clone();
        if dice.one_in(3) {
            let (config, is_strict) = server(dice, speaks_lmtp, calm);
            servers.push(Server { config, is_strict, ..last });
        } else {
            servers.push(last);
        }
    }
    servers
}

fn server(dice: &mut Dice, lmtp: bool, calm: bool) -> (server::Config, bool) {
    let mut config = server::Config::new("mx.example.org").expect("a name").lmtp(lmtp);
    let all = MechanismName::BY_STRENGTH;
    let names = ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER"];
    let mut offered: Vec<MechanismName> =
        names.iter().filter(|_| !dice.one_in(3)).map(|name| name.parse().expect("a mechanism")).collect();
    // Its thousands of digests are the slowest thing in a run.
    if dice.one_in(20) {
        offered.extend(all.iter().filter(|name| name.as_str().starts_with("SCRAM") && dice.one_in(2)).cloned());
    }
    config = config.mechanisms(offered).danger_allow_clear_text_auth(dice.one_in(2));
    config = config.hold_greeting(dice.one_in(4));
    if dice.one_in(2) {
        config = config.ask([server::Ask::Data]);
    }
    for keyword in ["PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE", "ENHANCEDSTATUSCODES", "CHUNKING", "AUTH"] {
        let rarely = if keyword == "CHUNKING" { 2 } else { 6 };
        if dice.one_in(rarely) {
            config = config.without(keyword);
        }
    }
    for keyword in ["BINARYMIME", "DSN", "PIPECONNECT", "REQUIRETLS", "LIMITS", "DELIVERBY", "MT-PRIORITY", "PRDR"] {
        if dice.one_in(2) {
            config = config.with(keyword).expect("an extension");
        }
    }
    let mut limits = server::Limits::default();
    if dice.one_in(6) {
        limits.message = dice.range(0, 3000) as u64;
    }
    if dice.one_in(8) {
        limits.recipients = dice.range(1, 4);
    }
    if !calm && dice.one_in(20) {
        limits.commands = dice.range(1, 20) as u32;
    }
    if !calm && dice.one_in(10) {
        limits.errors = dice.range(0, 3) as u32;
    }
    if !calm && dice.one_in(8) {
        (limits.command_time, limits.content_time) = (dice.millis(50, 20_000), dice.millis(50, 20_000));
    }
    let defaults = server::Limits::default();
    let is_strict = limits.commands != defaults.commands
        || limits.errors != defaults.errors
        || limits.command_time != defaults.command_time;
    limits.authentications = dice.range(1, 3) as u32;
    (config.limits(limits), is_strict)
}
