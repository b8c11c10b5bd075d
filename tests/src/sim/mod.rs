//! Whole stacks by chance: a client, proxies, a server, and a network that fails, all of it from one seed.
//!
//! The rules of this room:
//!
//! - A run is a seed. The same seed gives the same run, but for what rustls throws itself where TLS is real.
//! - The server's owner notes what was truly taken (`owner.rs`); the client's word is held against that (`model.rs`).
//! - What may be sent again is sent again in the next session, so what is told as *not sent* must not have been delivered.
//! - Nobody waits longer than the limits say, in virtual time; what never ends is a fault.

mod coverage;
mod far;
mod model;
mod near;
mod owner;
mod plan;
mod thrown;
mod way;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use proxy_proto::proxy_header::ProxyHeader;
use proxy_proto::{Hop, Instant, Secret, Tunnel};
use smtp_proto::client::{Remembered, Transcript};
use smtp_proto::{Config, Connection, tls};

pub use coverage::Coverage;
pub use plan::Plan;

use crate::dice::Dice;
use crate::stream::Stream;
use crate::tls::Pki;
use crate::transparent::Transparent;
use far::Far;
use near::Near;
use plan::{RESOLVED, SESSIONS};

/// What was wrong with a run.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The run.
    pub seed: u64,
    /// What was wrong.
    pub wrong: Vec<String>,
    /// The dialogue, with the virtual time.
    pub transcript: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.transcript)?;
        for wrong in &self.wrong {
            writeln!(f, "WRONG: {wrong}")?;
        }
        write!(f, "SEED={} cargo test -p tests --test sim one_seed -- --nocapture", self.seed)
    }
}

/// Turns of one session: more means that it never ends.
const TURNS: usize = 3_000_000;

type Lines = Arc<Mutex<Vec<String>>>;

/// Runs a seed.
///
/// # Errors
///
/// What was wrong.
pub fn run(seed: u64) -> Result<Coverage, Violation> {
    let plan = Plan::new(seed);
    let lines = Lines::default();
    let mut coverage = Coverage::default();
    let ran = std::panic::AssertUnwindSafe(|| sessions(&plan, &lines, &mut coverage));
    let mut wrong = std::panic::catch_unwind(ran).unwrap_or_else(|panic| vec![format!("panicked: {}", what(&*panic))]);
    let lines = lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(line) = lines.iter().find(|line| shows_secret(&plan, line)) {
        wrong.push(format!("a secret is shown: {line}"));
    }
    if wrong.is_empty() {
        return Ok(coverage);
    }
    let transcript = format!("{}\n{}", shown(&plan), lines.join("\n"));
    Err(Violation { seed, wrong, transcript })
}

/// The plan, without the messages' octets.
fn shown(plan: &Plan) -> String {
    let mut short = plan.clone();
    for message in &mut short.messages {
        message.content.truncate(60);
    }
    format!("{short:#?}")
}

fn what(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

/// The secret in any form that mechanisms give it, but for digests.
fn shows_secret(plan: &Plan, text: &str) -> bool {
    [&plan.secret, &plan.right_secret].into_iter().any(|secret| {
        let places = (0..3).map(|shift| base64_within(secret.as_bytes(), shift));
        text.contains(secret.as_str()) || places.into_iter().any(|place| text.contains(&place))
    })
}

/// What stands in base64 for certain where these octets stand at this place of a group of three (RFC 4648 section 4).
fn base64_within(octets: &[u8], shift: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<bool> = octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1 == 1)).collect();
    // The first sextet that holds no bit of what stands before.
    let first = (6 - shift * 8 % 6) % 6;
    let sextets = bits[first..].chunks_exact(6);
    sextets.map(|six| char::from(ALPHABET[six.iter().fold(0, |all, bit| all << 1 | usize::from(*bit))])).collect()
}

fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(Pki::new)
}

fn configure(plan: &Plan, lines: &Lines) -> Config {
    let lines = lines.clone();
    let transcript = Transcript::new(move |now: Instant, phase, line| {
        let mut lines = lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if lines.len() < 20_000 {
            lines.push(format!("{:>10.3?} {phase}: {line}", now.since_epoch()));
        }
    });
    let mut config = Config::new(plan.host, plan.port)
        .security(plan.security)
        .lmtp(plan.lmtp)
        .limits(plan.limits)
        .grouping(plan.grouping)
        .transcript(transcript)
        .entropy(|octets| octets.fill(7));
    config = if plan.real_tls { config.tls(pki().client.clone()) } else { config.tls(Transparent) };
    if let Some((credentials, _)) = &plan.credentials {
        config = config.credentials(credentials.clone());
    }
    if plan.clear_text {
        config = config.allowed(smtp_proto::sasl::Allowed::all().danger_allow_clear_text());
    }
    if plan.fresh_token {
        let fresh = Secret::from(plan.right_secret.as_str());
        config = config.token_source(move |_, _| Some(fresh.clone()));
    }
    config = plan.without.iter().fold(config, |config, keyword| config.without(*keyword));
    config = plan.with.iter().fold(config, |config, line| config.with(*line));
    plan.proxies.iter().fold(config, |config, proxy| config.proxy(proxy.url.clone()))
}

fn sessions(plan: &Plan, lines: &Lines, coverage: &mut Coverage) -> Vec<String> {
    let mut config = configure(plan, lines);
    let mut to_send: Vec<(usize, Vec<String>)> =
        plan.messages.iter().enumerate().map(|(at, message)| (at, message.to.clone())).collect();
    coverage.met("route", format!("{} proxies", plan.proxies.len()));
    coverage.met("TLS", if plan.real_tls { "rustls" } else { "transparent" });
    coverage.met("protocol", if plan.lmtp { "LMTP" } else { "SMTP" });
    let mut now = Instant::from_epoch(Duration::from_secs(1000));
    for session in 0..SESSIONS {
        let mut run = match Run::new(plan, session, &config, to_send.clone()) {
            Ok(run) => run,
            Err(why) => return vec![why],
        };
        run.go(&mut now, coverage);
        let wrong = run.check(lines, coverage);
        if !wrong.is_empty() {
            return wrong;
        }
        // What may be sent again.
        to_send = run.near.sending.iter().filter_map(again).collect();
        let error = run.near.over.as_ref().and_then(|how| how.as_ref().err());
        let other = error.and_then(|error| config.answering(error));
        if other.is_some() {
            coverage.met("session", "answers an error");
        }
        if plan.remembers {
            if let Some(remembered) = run.near.remembered {
                let text = remembered.to_string();
                match text.parse::<Remembered>() {
                    Ok(read) if read == remembered => config = config.remembered(remembered),
                    _ => return vec![format!("what is remembered does not come back: {text}")],
                }
            }
        }
        config = other.unwrap_or(config);
        if to_send.is_empty() {
            break;
        }
        coverage.met("session", "sends again");
        now = now.after(Duration::from_secs(3600));
    }
    Vec::new()
}

/// The recipients to whom a message may be sent again.
fn again(one: &near::Sending) -> Option<(usize, Vec<String>)> {
    let (report, _) = one.report.as_ref()?;
    let to: Vec<String> = report.safe_to_retry().map(|recipient| recipient.path.to_string()).collect();
    (!to.is_empty() && report.misuse.is_none() && !one.given_up).then_some((one.message, to))
}

/// One session.
struct Run<'a> {
    plan: &'a Plan,
    session: usize,
    near: Near<'a>,
    far: Far<'a>,
    stream: Stream,
    wrong: Vec<String>,
}

impl<'a> Run<'a> {
    fn new(
        plan: &'a Plan,
        session: usize,
        config: &Config,
        to_send: Vec<(usize, Vec<String>)>,
    ) -> Result<Self, String> {
        let names = config.names_to_resolve().map_err(|misuse| misuse.to_string())?;
        let resolved: Vec<_> = names.into_iter().map(|(name, _)| (name, RESOLVED)).collect();
        let mut route = config.route(&resolved).map_err(|misuse| misuse.to_string())?;
        if plan.header {
            let (from, to) = ("192.0.2.1:56324", "198.51.100.7:25");
            let header = ProxyHeader::v1(from.parse().expect("an address"), to.parse().expect("an address"));
            let hop = Hop::named(plan.proxies.len() + 1, "PROXY header");
            route = route.tunnel(hop, Tunnel::from(header.expect("one family")));
        }
        let client = Connection::new(config.clone(), route).map_err(|misuse| misuse.to_string())?;
        let mut dice = Dice::new(plan.seed).fork();
        for _ in 0..session {
            dice = dice.fork();
        }
        let network = &plan.networks[session];
        let mut stream = Stream::new(network.up.clone(), network.down.clone(), dice.fork());
        if let Some((way, octets, fault)) = network.fault {
            stream = stream.breaking(way, octets, fault);
        }
        let acceptor: Arc<dyn tls::Acceptor> =
            if plan.real_tls { Arc::new(pki().server.clone()) } else { Arc::new(Transparent) };
        Ok(Self {
            plan,
            session,
            near: Near::new(plan, client, to_send, dice.fork()),
            far: Far::new(plan, session, acceptor, dice.fork()),
            stream,
            wrong: Vec::new(),
        })
    }

    /// Runs until both ends are done.
    fn go(&mut self, now: &mut Instant, coverage: &mut Coverage) {
        for _ in 0..TURNS {
            let mut moved = self.near.turn(*now, &mut self.stream, coverage);
            moved |= self.far.turn(*now, &mut self.stream, coverage);
            if self.near.over.is_some() && self.far.gone {
                return;
            }
            if moved {
                continue;
            }
            let next = [self.near.next(*now), self.far.next(*now), self.stream.next(*now)];
            // What is due already and has not moved anything will not do so now.
            match next.into_iter().flatten().min() {
                Some(at) if at > *now => *now = at,
                Some(_) => return self.wrong.push(format!("time stands still: near, far, stream {next:?}")),
                // The server may wait for ever for a client that is silently gone; it is the client that must not.
                None if self.near.over.is_some() => return,
                None => return self.wrong.push(format!("it waits for ever: {}", self.near.stands(*now))),
            }
        }
        self.wrong.push("it never ends".into());
    }

    fn check(&mut self, lines: &Lines, coverage: &mut Coverage) -> Vec<String> {
        let mut wrong = std::mem::take(&mut self.wrong);
        wrong.append(&mut self.near.wrong);
        wrong.append(&mut self.far.wrong);
        if !wrong.is_empty() {
            return wrong;
        }
        wrong = model::check(self.plan, &self.near.sending, &self.far.owner, coverage);
        if let Some(fault) = self.stream.broken() {
            coverage.met("fault", format!("{fault:?}"));
        }
        self.meet(lines, coverage);
        let clear = String::from_utf8_lossy(&self.far.in_clear);
        if !self.plan.clear_text && shows_secret(self.plan, &clear) {
            wrong.push("a secret goes out in clear".into());
        }
        let told = format!("{:?}", self.near.over);
        if shows_secret(self.plan, &told) {
            wrong.push(format!("a secret is in an error: {told}"));
        }
        if let (Some((_, false)), true, false) = (&self.plan.credentials, self.near.ready, self.plan.fresh_token) {
            wrong.push("ready, with the wrong secret".into());
        }
        let how = self.near.over.as_ref();
        if self.plan.is_benign(self.session) && how.is_some_and(Result::is_err) {
            wrong.push(format!("nothing was wrong, and it failed: {how:?}"));
        }
        wrong
    }

    fn meet(&self, lines: &Lines, coverage: &mut Coverage) {
        let client = self.near.client();
        if self.near.ready {
            let (asked, reached) = (self.plan.grouping, client.grouping());
            coverage.met("grouping", format!("{asked:?} asked, {reached:?} reached"));
            let offered = client.extensions();
            let bears = offered.pipelining() && (offered.chunking() || asked != smtp_proto::Grouping::Flights);
            if bears && reached < asked {
                coverage.met("grouping", format!("stepped down from {asked:?} to {reached:?}"));
            }
            if client.spoke_early() {
                coverage.met("early", format!("in session {}", self.session + 1));
            }
        }
        if self.plan.is_benign(self.session) {
            coverage.met("session", "benign");
        }
        let lines = lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (words, name) in
            [(" C: DATA", "DATA"), (" C: BDAT", "BDAT"), (" C: RSET", "RSET"), (" C: STARTTLS", "STARTTLS")]
        {
            if lines.iter().any(|line| line.contains(words)) {
                coverage.met("said", name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_base64_wherever_it_stands() {
        // RFC 4616 section 4: the first example, as it is in base64.
        let plain = "AHRpbQB0YW5zdGFhZnRhbnN0YWFm";
        let secret = b"tanstaaftanstaaf";
        assert!((0..3).any(|shift| plain.contains(&base64_within(secret, shift))));
        assert!((0..3).any(|shift| "dGFuc3RhYWZ0YW5zdGFhZg==".contains(&base64_within(secret, shift))));
        assert!(!(0..3).any(|shift| "AHRpbQB0YW5zdGFhZnRhbnN0YWFt".contains(&base64_within(secret, shift))));
    }

    #[test]
    fn what_is_wrong_is_found() {
        let mut coverage = Coverage::default();
        // The first session in which anything is delivered.
        let (plan, delivering) = (0..)
            .map(Plan::new)
            .find_map(|plan| {
                let config = configure(&plan, &Lines::default());
                let all = plan.messages.iter().enumerate().map(|(at, message)| (at, message.to.clone())).collect();
                let mut run = Run::new(&plan, 0, &config, all).expect("a session");
                run.go(&mut Instant::EPOCH.after(Duration::from_secs(1)), &mut Coverage::default());
                let (sending, owner) = (run.near.sending, run.far.owner);
                (!owner.delivered.is_empty()).then(|| (plan.clone(), (sending, owner)))
            })
            .expect("a seed");
        let (sending, mut owner) = delivering;
        let none: [String; 0] = [];
        assert_eq!(model::check(&plan, &sending, &owner, &mut coverage), none);
        let twice = owner.delivered[0].clone();
        owner.delivered.push(twice);
        assert_ne!(model::check(&plan, &sending, &owner, &mut coverage), none, "delivered twice");
        owner.delivered.pop();
        owner.delivered[0].content.push(b'x');
        assert_ne!(model::check(&plan, &sending, &owner, &mut coverage), none, "an octet more");
        owner.delivered[0].content.pop();
        owner.delivered[0].to.pop();
        assert_ne!(model::check(&plan, &sending, &owner, &mut coverage), none, "a recipient less");
        owner.delivered.clear();
        let mut given_up = sending;
        given_up[0].report = None;
        assert_ne!(model::check(&plan, &given_up, &owner, &mut coverage), none, "not reported");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_seed_and_the_dialogue() {
        let told =
            Violation { seed: 7, wrong: vec!["twice".into()], transcript: "C: EHLO localhost".into() }.to_string();
        assert_eq!(
            told,
            "C: EHLO localhost\nWRONG: twice\nSEED=7 cargo test -p tests --test sim one_seed -- --nocapture"
        );
    }

    #[test]
    fn a_seed_is_a_run() {
        let real = (0..).find(|seed| !Plan::new(*seed).real_tls).expect("a seed");
        let twice = [real, real].map(|seed| run(seed).map_err(|violation| violation.to_string()));
        assert_eq!(twice[0], twice[1]);
    }
}
