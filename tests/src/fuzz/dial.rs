//! The fuzz target `dial`: whatever it is told, in whatever order, it keeps its laws.
//!
//! The rules of this file: the first octets of an input say what is dialled, each pair behind them what happens next.
//! Numbers that were never given, or are over, are told of as well; nothing may come of that.
//!
//! The laws: a number is ordered open once, and closed at most once, and only while it is under way. Behind `None` the
//! deadline is later than now. Attempts at once are bounded. Who has won is under way and ready, and nobody else is left
//! open. Who has lost has each attempt in the account exactly once. It comes to an end.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use smtp_proto::dial::{Dialer, Id, Mode, Order, Policy, Reached, Why};
use smtp_proto::reply::{Reply, ReplyReader};
use smtp_proto::{AuthenticationError, Cause, Config, Error, Instant, Limits, Security, phase, tls};

use crate::transparent::Transparent;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Something,
    Ready,
}

struct Run {
    dialer: Dialer<u8>,
    now: Instant,
    at_once: usize,
    asked: Vec<String>,
    /// What is under way, and how far it was told to have come.
    open: BTreeMap<Id, Told>,
    opened: Vec<SocketAddr>,
    /// Every number ever given.
    known: Vec<Id>,
}

/// See the head of the file.
pub fn dial(input: &[u8]) {
    let (setting, steps) = input.split_at(input.len().min(4));
    let setting = |at: usize| setting.get(at).copied().unwrap_or_default();
    let mut run = Run::new(setting(0), setting(1), setting(2), setting(3));
    run.poll();
    for step in steps.chunks_exact(2).take(400) {
        run.step(step[0], step[1]);
        run.poll();
    }
    // Nothing more is told but failures: it must come to an end by itself.
    for _ in 0..5000 {
        if run.is_over() {
            return;
        }
        if let Some((&id, _)) = run.open.iter().find(|(_, told)| **told != Told::Nothing) {
            run.fail(id, 0);
        } else if let Some(deadline) = run.dialer.deadline() {
            run.now = deadline.at;
        } else {
            panic!("nothing can happen any more: {:?}", run.dialer);
        }
        run.poll();
    }
    panic!("it never ends: {:?}", run.dialer);
}

impl Run {
    fn new(how: u8, policy: u8, ports: u8, limits: u8) -> Self {
        let security = [
            Security::Auto,
            Security::Implicit,
            Security::StartTls,
            Security::StartTlsIfOffered,
            Security::None,
            Security::Auto,
        ][usize::from(how % 6)];
        let mut config = match how / 6 % 4 {
            0 => Config::any_port("mx.example.org"),
            1 => Config::new("mx.example.org", 465),
            2 => Config::new("mx.example.org", 587),
            _ => Config::new("192.0.2.1", 25),
        };
        config = config.security(security).tls(Transparent).helo("client.example.org").lmtp(how >= 240);
        if how / 24 % 3 == 1 {
            config = config.proxy("socks5h://proxy.example.org".parse().expect("a URL"));
        } else if how / 24 % 3 == 2 {
            config = config.proxy("socks5://proxy.example.org".parse().expect("a URL"));
        }
        if how / 72 % 3 == 2 {
            config = config.hint(&"192.0.2.9:465/implicit".parse().expect("a hint"));
        }
        if limits % 2 == 1 {
            config = config.limits(Limits::interactive().operation(Duration::from_secs(u64::from(limits / 2) + 1)));
        }
        let at_once = usize::from(policy % 4) + 1;
        let ports: &[u16] = [&[465, 587, 25][..], &[587], &[25, 2525], &[465]][usize::from(ports % 4)];
        let stagger = Duration::from_millis([250, 100, 2000, 300][usize::from(policy / 16 % 4)]);
        let policy = Policy { at_once, second_guess: policy & 4 == 0, ports: ports.to_vec(), stagger };
        let other = Config::new("mx2.example.org", 25).tls(Transparent).helo("client.example.org");
        let places = if limits >= 200 { vec![config, other] } else { vec![config] };
        let dialer = Dialer::among(places, policy).expect("a configuration");
        let now = Instant::from_epoch(Duration::from_secs(5));
        let (asked, open, opened, known) = (Vec::new(), BTreeMap::new(), Vec::new(), Vec::new());
        Self { dialer, now, at_once, asked, open, opened, known }
    }

    fn is_over(&self) -> bool {
        self.dialer.won().is_some() || self.dialer.is_lost()
    }

    fn poll(&mut self) {
        while let Some(order) = self.dialer.poll(self.now) {
            match order {
                Order::Resolve { name, .. } => {
                    assert!(!self.asked.contains(&name), "{name} is asked for twice");
                    self.asked.push(name);
                }
                Order::Open(open) => {
                    assert!(!self.is_over(), "it goes on behind its end");
                    assert!(!self.known.contains(&open.id), "a number is given twice");
                    self.known.push(open.id);
                    self.open.insert(open.id, Told::Nothing);
                    self.opened.push(open.to);
                    assert!(open.config.port() > 0, "a port is known when it is dialled");
                    open.connection().expect("a configuration");
                }
                Order::Close(id) => assert!(self.open.remove(&id).is_some(), "closed, and not under way"),
                other => panic!("an order that is not known: {other:?}"),
            }
        }
        let under_way = self.open.values().filter(|told| **told != Told::Ready).count();
        assert!(under_way <= self.at_once, "{under_way} at once");
        // Two guesses at 64 addresses and three ports are far beyond what is given here.
        assert!(self.opened.len() < 200, "it tries for ever");
        if let Some(deadline) = self.dialer.deadline() {
            assert!(deadline.at > self.now, "it wants to be asked again at once");
        }
        if let Some((id, verdict)) = self.dialer.won() {
            assert_eq!(self.open.keys().collect::<Vec<_>>(), [&id], "somebody else is left open");
            assert_eq!(verdict.to_string().parse().as_ref(), Ok(verdict));
        }
        if self.dialer.is_lost() {
            assert!(self.open.is_empty(), "somebody is left open");
            assert!(!self.dialer.attempts().is_empty(), "no reason is given");
            let mut told: Vec<SocketAddr> = self
                .dialer
                .attempts()
                .iter()
                .filter(|attempt| !matches!(attempt.why, Why::Misuse(_)))
                .filter_map(|attempt| attempt.to)
                .collect();
            told.sort();
            self.opened.sort();
            assert_eq!(told, self.opened, "the account is not what was ordered");
            assert!(self.dialer.deadline().is_none());
        }
    }

    fn step(&mut self, what: u8, which: u8) {
        let id = self.known.get(usize::from(which) % self.known.len().max(1)).copied();
        let name = self.asked.get(usize::from(which) % self.asked.len().max(1)).cloned();
        match (what % 16, id, name) {
            (0, ..) => self.now = self.now.after(Duration::from_millis(u64::from(which))),
            (1, ..) => self.now = self.now.after(Duration::from_millis(u64::from(which) * 40)),
            (2, ..) => {
                if let Some(deadline) = self.dialer.deadline() {
                    self.now = deadline.at;
                }
            }
            (3 | 4, _, Some(name)) => {
                let v4 = |n: u8| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n % 5));
                let v6 = |n: u8| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(n % 5)));
                let addresses = [v6(what), v4(which), v6(which), v4(what / 16)];
                self.dialer.found(
                    self.now,
                    &name,
                    &addresses[usize::from(which % 3)..][..usize::from(what / 64 % 2) + 1],
                );
            }
            (5, _, Some(name)) => {
                self.dialer.looked_up(self.now, &name, if which % 3 == 2 { Err(which) } else { Ok(()) });
            }
            (6..=10, Some(id), _) => {
                let mode = [Mode::None, Mode::StartTls, Mode::Implicit][usize::from(what / 16 % 3)];
                let reached = match what % 16 {
                    6 => Reached::Connected,
                    7 => Reached::Server,
                    8 => Reached::Greeted(u64::from(what / 64)),
                    9 => Reached::Secured(u64::from(what / 64)),
                    _ => Reached::Ready(mode),
                };
                if let Some(told) = self.open.get_mut(&id).filter(|told| **told != Told::Ready) {
                    *told = if matches!(reached, Reached::Ready(_)) { Told::Ready } else { Told::Something };
                }
                self.dialer.reached(self.now, id, reached);
            }
            (11..=15, Some(id), _) => self.fail(id, what),
            _ => {}
        }
    }

    fn fail(&mut self, id: Id, what: u8) {
        let session = |phase, cause| Why::Session { error: Error { phase, hop: None, cause }, source: None };
        let why = match what / 16 {
            0 | 1 => Why::Connect(what),
            2 => session(phase::TLS, Cause::Tls(tls::Error::NotTls(b'2'))),
            3 => session(phase::TLS, Cause::Tls(tls::Error::NotTls(b'H'))),
            4 => session(phase::TLS, Cause::Closed { last: None }),
            5 => session(phase::TLS, Cause::Tls(tls::Error::Certificate(tls::CertificateError::SelfSigned))),
            6 => session(phase::AUTH, refused(b"535 no\r\n")),
            7 => session(phase::AUTH, refused(b"454 later\r\n")),
            8 => session(phase::GREETING, Cause::TimedOut { waited: Duration::from_secs(10), last: None }),
            _ => session(phase::EHLO, Cause::Closed { last: None }),
        };
        // Who has won is the caller's own by now.
        if self.dialer.won().is_none() {
            self.open.remove(&id);
        }
        self.dialer.failed(self.now, id, why);
    }
}

fn refused(reply: &[u8]) -> Cause {
    let reply: Reply = ReplyReader::default().receive(&mut &reply[..]).ok().flatten().expect("a reply");
    let mechanism = "PLAIN".parse().expect("a mechanism");
    Cause::Authentication(AuthenticationError::Refused { mechanism, reply, detail: None })
}
