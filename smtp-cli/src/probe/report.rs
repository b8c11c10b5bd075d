//! What the looks come to: what each port is, which way is best, and whether that will do.
//!
//! The rules of this file: a port is told by the look that got furthest. The best way is one that is secured and verified, on the
//! port that RFC 8314 section 3 prefers; where somebody is to log in, one that lets him. Nothing else is recommended.

use std::net::IpAddr;
use std::time::Duration;

use smtp_proto::dial::{Mode, Verdict};

use super::certificate::{self, Certificate};
use super::look::{Look, Speaks};
use crate::failure::{Failure, status};

/// The best first.
const PREFERRED: [u16; 4] = [465, 587, 2525, 25];

/// All that was found.
#[derive(Default)]
pub(super) struct Report {
    pub(super) host: String,
    /// The server's addresses, where they were looked up here.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) looked_up: Option<Duration>,
    /// The proxies on the way, as URLs without credentials.
    pub(super) route: Vec<String>,
    pub(super) ports: Vec<Port>,
    pub(super) authentication: Option<Authentication>,
    pub(super) failure: Option<Failure>,
    pub(super) seconds: f64,
    /// What else the recommended line needs: the options of TLS.
    pub(super) options: Vec<String>,
    /// User, and the variable that holds the password.
    pub(super) login: Option<(String, String)>,
}

/// What came of logging in.
pub(super) struct Authentication {
    pub(super) port: u16,
    pub(super) mechanism: Option<String>,
    pub(super) failure: Option<Failure>,
}

/// One port, looked at.
pub(super) struct Port {
    pub(super) number: u16,
    pub(super) look: Look,
    /// The chain that the server showed, its own first.
    pub(super) chain: Vec<Certificate>,
}

/// The settings to use.
pub(super) struct Recommended {
    pub(super) port: u16,
    pub(super) mode: Mode,
    pub(super) server: String,
    /// The options of `smtp send`.
    pub(super) arguments: Vec<String>,
    pub(super) hint: Option<Verdict>,
}

impl Port {
    /// The port as the look tells it that got furthest; `None` where there was none.
    pub(super) fn of(number: u16, looks: impl IntoIterator<Item = Look>) -> Option<Self> {
        let mut best: Option<Look> = None;
        for look in looks {
            if best.as_ref().is_none_or(|best| best.rank() < look.rank()) {
                best = Some(look);
            }
        }
        let look = best?;
        let facts = look.talk.facts.as_ref();
        let chain = facts.map_or(&[][..], |facts| &facts.peer_certificates).iter();
        let chain = chain.filter_map(|der| certificate::read(der)).collect();
        Some(Self { number, look, chain })
    }

    /// What is spoken, where there is somebody.
    pub(super) fn speaks(&self) -> Option<Speaks> {
        self.look.talk.has_reached().then(|| self.look.talk.speaks())
    }

    /// How TLS begins here, where it can be had at all.
    pub(super) fn mode(&self) -> Option<Mode> {
        let greeted = self.look.talk.heard.greeting.is_some();
        match (self.look.mode, self.speaks()?) {
            (Mode::Implicit, Speaks::Smtp | Speaks::Tls) => Some(Mode::Implicit),
            (Mode::StartTls, _) if self.look.talk.heard.starttls() == Some(true) => Some(Mode::StartTls),
            (Mode::StartTls, _) if greeted => Some(Mode::None),
            _ => None,
        }
    }

    fn lets_log_in(&self) -> bool {
        self.look.talk.heard.under.as_ref().is_some_and(|offer| !offer.mechanisms.is_empty())
    }
}

impl Report {
    /// The port to use.
    pub(super) fn choice(&self) -> Option<&Port> {
        let place = |port: &Port| PREFERRED.iter().position(|one| *one == port.number).unwrap_or(PREFERRED.len());
        let rank = |port: &&Port| (self.login.is_some() && !port.lets_log_in(), place(port));
        self.ports.iter().filter(|port| port.look.is_secure()).min_by_key(rank)
    }

    /// The settings to use, where there are some.
    pub(super) fn recommended(&self) -> Option<Recommended> {
        let port = self.choice()?;
        let (number, mode) = (port.number, port.look.mode);
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let (server, more) = match (mode, number) {
            (Mode::Implicit, 465) => (format!("submissions://{host}"), None),
            (Mode::Implicit, _) => (format!("smtps://{host}:{number}"), None),
            (_, 587) => (format!("submission://{host}"), None),
            _ => (format!("smtp://{host}:{number}"), Some(["--security", "starttls"])),
        };
        let mut arguments = vec!["--server".to_owned(), server.clone()];
        arguments.extend(more.into_iter().flatten().map(str::to_owned));
        arguments.extend(self.options.iter().cloned());
        let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
        self.route.iter().for_each(|url| add("--proxy", url.clone()));
        if let Some((user, variable)) = &self.login {
            add("--user", user.clone());
            add("--password-env", variable.clone());
        }
        let direct = self.route.is_empty().then_some(port.look.talk.address).flatten();
        let hint = direct.map(|address| Verdict { host: address.ip().into(), port: number, mode });
        Some(Recommended { port: number, mode, server, arguments, hint })
    }

    /// Decides what is to be told as the failure, where there is one.
    pub(super) fn judge(&mut self) {
        let refused = self.authentication.as_ref().and_then(|login| login.failure.clone().map(|why| (login.port, why)));
        let words = || self.ports.iter().map(|port| Some((port.number, port.look.talk.unreached?)));
        let nobody: Option<Vec<_>> = words().collect();
        if let (Some(all @ [_, _, ..]), Some(port)) = (nobody.as_deref(), self.ports.first()) {
            let all: Vec<_> = all.iter().map(|(number, word)| format!("{number} {word}")).collect();
            let text = format!("no port takes a connection: {}", all.join(", "));
            self.failure = port.look.talk.failure.clone().map(|failure| Failure { text, ..failure });
            return;
        }
        let told = match (self.choice(), refused) {
            (Some(_), refused) => refused,
            (None, _) => {
                let mut telling: Option<&Port> = None;
                for port in &self.ports {
                    if telling.is_none_or(|one| one.look.rank() < port.look.rank()) {
                        telling = Some(port);
                    }
                }
                telling.and_then(|port| Some((port.number, port.look.talk.failure.clone()?)))
            }
        };
        if let Some((port, failure)) = told {
            let text = format!("port {port}: {}", failure.text);
            self.failure = Some(Failure { text, ..failure });
        }
    }

    pub(super) fn exit(&self) -> u8 {
        self.failure.as_ref().map_or(status::OK, |failure| failure.status)
    }
}

impl Recommended {
    /// The command, as it is pasted into a shell.
    pub(super) fn line(&self) -> String {
        let words = self.arguments.iter().map(|word| quoted(word));
        ["smtp".to_owned(), "send".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
    }
}

/// A word that a shell takes for one, and for what it is.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::probe::heard::{Extension, Greeting, Offer};
    use crate::probe::look::Talk;
    use smtp_proto::phase;

    pub(crate) fn offer(keywords: &[&str], mechanisms: &[&str]) -> Offer {
        let extension = |keyword: &&str| Extension { keyword: keyword.to_string(), parameters: Vec::new() };
        let extensions = keywords.iter().map(extension).collect();
        Offer { extensions, mechanisms: mechanisms.iter().map(ToString::to_string).collect() }
    }

    /// A port that is as it should be.
    pub(crate) fn secure(number: u16, mode: Mode, mechanisms: &[&str]) -> Port {
        let mut talk = Talk { address: Some(([192, 0, 2, 1], number).into()), ..Talk::default() };
        talk.heard.greeting = Some(Greeting { code: 220, lines: vec!["mail.example.org ESMTP".into()] });
        talk.heard.before = (mode == Mode::StartTls).then(|| offer(&["STARTTLS"], &[]));
        talk.heard.under = Some(offer(&["SIZE"], mechanisms));
        Port { number, look: Look { mode, talk, distrust: None, settled: false }, chain: Vec::new() }
    }

    pub(crate) fn dead(number: u16) -> Port {
        let failure = Failure::unreachable(format_args!("192.0.2.1:{number}: refused"));
        let talk = Talk { failure: Some(failure), unreached: Some("refused"), ..Talk::default() };
        Port { number, look: Look { mode: Mode::Implicit, talk, distrust: None, settled: false }, chain: Vec::new() }
    }

    pub(crate) fn report(ports: Vec<Port>) -> Report {
        Report { host: "mail.example.org".into(), ports, ..Report::default() }
    }

    fn line(report: &Report) -> String {
        report.recommended().unwrap().line()
    }

    #[test]
    fn the_best_way_is_the_one_rfc_8314_prefers() {
        let both = || vec![secure(587, Mode::StartTls, &[]), secure(465, Mode::Implicit, &[])];
        assert_eq!(line(&report(both())), "smtp send --server submissions://mail.example.org");
        assert_eq!(
            line(&report(both().into_iter().take(1).collect())),
            "smtp send --server submission://mail.example.org"
        );
        let odd = report(vec![secure(25, Mode::StartTls, &[]), secure(2525, Mode::Implicit, &[])]);
        assert_eq!(line(&odd), "smtp send --server smtps://mail.example.org:2525");
        let hint = odd.recommended().unwrap().hint.unwrap();
        assert_eq!(hint.to_string(), "192.0.2.1:2525/implicit");
        let only = report(vec![secure(25, Mode::StartTls, &[])]);
        assert_eq!(line(&only), "smtp send --server smtp://mail.example.org:25 --security starttls");
    }

    #[test]
    fn who_is_to_log_in_is_sent_where_that_can_be_done() {
        let mut report = report(vec![secure(465, Mode::Implicit, &[]), secure(587, Mode::StartTls, &["PLAIN"])]);
        report.login = Some(("a user's".into(), "PASSWORD".into()));
        let expected = r"smtp send --server submission://mail.example.org --user 'a user'\''s' --password-env PASSWORD";
        assert_eq!(line(&report), expected);
    }

    #[test]
    fn the_line_goes_the_way_that_was_gone() {
        let mut report = report(vec![secure(465, Mode::Implicit, &[])]);
        (report.host, report.route) = ("2001:db8::1".into(), vec!["socks5h://p:1080".into()]);
        report.options = vec!["--ca".into(), "a b.pem".into()];
        assert_eq!(
            line(&report),
            "smtp send --server 'submissions://[2001:db8::1]' --ca 'a b.pem' --proxy socks5h://p:1080"
        );
        assert_eq!(report.recommended().unwrap().hint, None);
    }

    #[test]
    fn nothing_is_recommended_that_is_not_secure() {
        let mut clear = secure(25, Mode::StartTls, &["PLAIN"]);
        (clear.look.talk.heard.before, clear.look.talk.heard.under) = (Some(offer(&[], &["PLAIN"])), None);
        let failure = Failure { status: status::PROTOCOL, ..Failure::unreachable("only clear text") };
        clear.look.talk.failure = Some(failure);
        assert_eq!(clear.mode(), Some(Mode::None));
        let mut report = report(vec![dead(465), clear, dead(587)]);
        report.judge();
        assert!(report.recommended().is_none());
        assert_eq!(
            (report.exit(), report.failure.unwrap().text.as_str()),
            (status::PROTOCOL, "port 25: only clear text")
        );
    }

    #[test]
    fn where_nobody_is_that_is_what_is_told() {
        let mut report = report(vec![dead(465), dead(587)]);
        report.judge();
        assert_eq!((report.exit(), report.ports[0].speaks(), report.ports[0].mode()), (status::CONNECT, None, None));
        assert_eq!(report.failure.unwrap().text, "no port takes a connection: 465 refused, 587 refused");
    }

    #[test]
    fn refused_credentials_are_a_failure_of_their_own() {
        let mut report = report(vec![secure(465, Mode::Implicit, &["PLAIN"])]);
        let failure = Some(Failure { status: status::AUTH, ..Failure::late(phase::AUTH) });
        report.authentication = Some(Authentication { port: 465, mechanism: None, failure });
        report.judge();
        assert_eq!(report.exit(), status::AUTH);
        assert!(report.recommended().is_some());
    }
}
