//! The proxies on the way, as the far end plays them.
//!
//! The rules of this file: each asks who it is and lets through whom its plan says; each must be asked for the next.

use proxy_proto::{Credentials, Host, Instant, Machine, Misuse, Target, http, socks4, socks5};

use super::coverage::Coverage;
use super::far::{Far, Top};
use super::plan::{Proxy, RESOLVED, Wants};

impl Far<'_> {
    /// A proxy's handshake.
    pub(super) fn open_way(&mut self, now: Instant, coverage: &mut Coverage) -> bool {
        let level = self.levels.last_mut().expect("the stream's own");
        let mut rest = &level[..];
        let before = rest.len();
        // What was asked for, with what was shown for it; or that the handshake is over.
        let (plan, mut said) = (self.plan, Vec::new());
        let (at, asked, failed) = match &mut self.top {
            Top::Socks4(at, machine) => {
                let heard = machine.receive(now, &mut rest);
                let failed = heard.is_err() || machine.expire(now).is_err();
                let asked = heard.ok().flatten();
                if asked.is_some() {
                    let refuses = plan.proxies[*at].refuses;
                    answered(if refuses { machine.refused(socks4::Refusal::Rejected) } else { machine.granted(None) });
                }
                machine.transmit(now, &mut said);
                (*at, asked.map(|asked| (asked.target, !plan.proxies[*at].refuses)), failed)
            }
            Top::Socks5(at, machine) => {
                let heard = machine.receive(now, &mut rest);
                let failed = heard.is_err() || machine.expire(now).is_err();
                let proxy = &plan.proxies[*at];
                let mut turned_away = false;
                let asked = match heard.ok().flatten() {
                    Some(socks5::Asked::Credentials(shown)) => {
                        turned_away = !(proxy.knows && is_fred(&shown));
                        answered(if turned_away { machine.turn_away() } else { machine.admit() });
                        None
                    }
                    Some(socks5::Asked::Connect(target)) => {
                        let refusal = socks5::Refusal::NotAllowed;
                        answered(if proxy.refuses { machine.refused(refusal) } else { machine.granted(None) });
                        Some((target, !proxy.refuses))
                    }
                    None => None,
                };
                machine.transmit(now, &mut said);
                (*at, asked, failed || turned_away)
            }
            Top::Http(at, machine) => {
                let heard = machine.receive(now, &mut rest);
                let mut failed = heard.is_err() || machine.expire(now).is_err();
                let proxy = &plan.proxies[*at];
                // It knows Digest as RFC 2069 had it.
                let is_old = plan.seed % 2 == 1;
                let mut asked = None;
                if let Some(request) = heard.ok().flatten() {
                    if proxy.refuses {
                        answered(machine.refused(403, "No"));
                        asked = Some((request.target, false));
                    } else if lets_through(proxy, &request, is_old) {
                        answered(machine.granted());
                        asked = Some((request.target, true));
                    } else {
                        let digest = match is_old {
                            true => "Digest realm=\"x\", nonce=\"abc\"",
                            false => "Digest realm=\"x\", nonce=\"abc\", qop=\"auth\", algorithm=SHA-256",
                        };
                        let challenge = if proxy.wants == Wants::Digest { digest } else { "Basic realm=\"x\"" };
                        failed = proxy.wants == Wants::PasswordAnew;
                        answered(machine.challenge(&[challenge], !failed));
                        coverage.met("proxy", "challenges");
                    }
                }
                machine.transmit(now, &mut said);
                (*at, asked, failed)
            }
            Top::Header(_) | Top::Server(_) | Top::Over => return false,
        };
        let taken = before - rest.len();
        level.drain(..taken);
        self.say(&said);
        let scheme = plan.proxies[at].url.scheme();
        match asked {
            Some((target, granted)) => {
                self.check_target(at, &target);
                coverage.met("proxy", format!("{scheme} {}", if granted { "grants" } else { "refuses" }));
                if granted {
                    self.next_step();
                } else {
                    self.top = Top::Over;
                }
                return true;
            }
            None if failed => {
                coverage.met("proxy", format!("{scheme} gives up"));
                self.top = Top::Over;
                return true;
            }
            None => {}
        }
        if self.ended && taken == 0 {
            self.top = Top::Over;
            return true;
        }
        taken > 0 || !said.is_empty()
    }

    /// Each proxy is asked for the next one, the last for the server.
    fn check_target(&mut self, at: usize, target: &Target) {
        let proxies = &self.plan.proxies;
        let (host, port) = match proxies.get(at + 1) {
            Some(next) => (next.url.proxy().host.clone(), next.url.proxy().port),
            None => {
                let host = self.plan.host.trim_matches(['[', ']']);
                (host.parse().expect("a host"), self.plan.port)
            }
        };
        let resolves = matches!(host, Host::Name(_)) && !proxies[at].url.proxy_resolves();
        let expected = Target { host: if resolves { RESOLVED.into() } else { host }, port };
        if *target != expected {
            self.wrong.push(format!("proxy {at} is asked for {target}, and not for {expected}"));
        }
    }
}

fn answered(answer: Result<(), Misuse>) {
    answer.expect("it was asked");
}

fn is_fred(shown: &Credentials) -> bool {
    *shown == Credentials::new("fred", "open sesame")
}

fn lets_through(proxy: &Proxy, request: &http::Request, is_old: bool) -> bool {
    let digest = || {
        let shown = request.authorization.as_ref().map_or(&b""[..], |shown| shown.expose());
        let qop = shown.windows(4).any(|part| part == b"qop=");
        shown.starts_with(b"Digest ") && qop != is_old
    };
    match proxy.wants {
        Wants::Nothing => true,
        Wants::Digest => proxy.knows && digest(),
        Wants::Password | Wants::PasswordAnew => {
            proxy.knows && request.credentials().is_some_and(|shown| is_fred(&shown))
        }
    }
}
