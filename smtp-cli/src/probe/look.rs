//! One look at one port: one guess, until it is proven or not.
//!
//! The rules of this file: credentials go only where the certificate was verified; what is looked at without that is the
//! certificate itself, and only where it was refused before. A look that has settled what its port speaks ends the other one there.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use smtp_proto::client::Transcript;
use smtp_proto::dial::Mode;
use smtp_proto::tls::{self, CertificateError, Connector, Facts, Rustls};
use smtp_proto::{Cause, Config, Limits, Misuse, Security, phase};

use super::heard::{Heard, Spent};
use super::reach::{self, Handle, Stop};
use crate::args::RuntimeArg;
use crate::failure::{Failure, Kind};
use crate::runtime::{Error, Session};

/// Whom to look at, and by which way.
#[derive(Clone)]
pub(super) struct Aim {
    /// The host, the proxies, and TLS that is verified.
    pub(super) config: Config,
    /// The name that the server's certificate must prove, where it is not the host's.
    pub(super) tls_name: Option<String>,
    /// What sees a certificate that is not to be trusted; `None` where it cannot be told from a proxy's.
    pub(super) unverified: Option<Unverified>,
    pub(super) runtime: RuntimeArg,
    /// Where connections lead: the server, or the nearest proxy.
    pub(super) addresses: Vec<IpAddr>,
    /// What a proxy leaves to be resolved here.
    pub(super) resolved: Vec<(String, IpAddr)>,
    /// How long one address may take to connect to.
    pub(super) connect: Duration,
}

/// Verifies all certificates but the server's: proxies may be told credentials.
#[derive(Clone)]
pub(super) struct Unverified {
    /// The name that the server's certificate must prove.
    pub(super) server: String,
    pub(super) others: Rustls,
    pub(super) any: Rustls,
}

impl Connector for Unverified {
    fn connect(&self, name: &str) -> Result<Box<dyn tls::Session>, Misuse> {
        if name == self.server { self.any.connect(name) } else { self.others.connect(name) }
    }
}

/// What one session came to.
#[derive(Clone, Default, Debug)]
pub(super) struct Talk {
    pub(super) address: Option<SocketAddr>,
    pub(super) heard: Heard,
    pub(super) facts: Option<Facts>,
    /// Why no connection could be opened, in a word.
    pub(super) unreached: Option<&'static str>,
    /// The mechanism that authenticated.
    pub(super) mechanism: Option<String>,
    pub(super) failure: Option<Failure>,
    pub(super) error: Option<smtp_proto::Error>,
}

/// What was heard first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Speaks {
    /// A greeting, in clear or under TLS.
    Smtp,
    /// TLS, and no greeting in it.
    Tls,
    /// Neither.
    Other,
    /// Not a word.
    Nothing,
}

/// What a look has found.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) mode: Mode,
    pub(super) talk: Talk,
    /// Why the certificate is not accepted, where that is what stands in the way.
    pub(super) distrust: Option<String>,
    /// The other look at this port has made it needless.
    pub(super) settled: bool,
}

/// Takes a look. `other` is the one that guesses otherwise at the same port.
pub(super) fn look(aim: &Aim, port: u16, mode: Mode, own: &Arc<Handle>, other: &Arc<Handle>, until: Instant) -> Look {
    let config = aim.at(port, mode);
    let mut talk = aim.converse(config.clone(), own, Some(other), until);
    let mut distrust = None;
    if let Some(Cause::Tls(error)) = talk.server_cause() {
        let proven = match error {
            // What begins a reply may be one: the other look will hear a whole greeting.
            tls::Error::NotTls(first) => !matches!(first, b'2'..=b'5'),
            _ => true,
        };
        if mode == Mode::Implicit && proven {
            other.stop(Stop::Settled);
        }
        if let tls::Error::Certificate(why) = error {
            distrust = Some(crate::failure::clean(why));
            if let Some(unverified) = &aim.unverified {
                let seen = aim.converse(config.tls(unverified.clone()), own, None, until);
                if seen.facts.is_some() {
                    let (failure, error) = (talk.failure, talk.error);
                    talk = Talk { failure, error, ..seen };
                }
            }
        }
    }
    let found = talk.server_cause().is_some_and(|cause| !is_end(cause));
    let settled = talk.failure.is_some() && !found && own.stopped() == Some(Stop::Settled);
    own.let_go();
    Look { mode, talk, distrust, settled }
}

impl Look {
    /// A look that did not come back in time.
    pub(super) fn late(mode: Mode) -> Self {
        let talk = Talk { failure: Some(Failure::late(phase::CONNECT)), ..Talk::default() };
        Self { mode, talk, distrust: None, settled: false }
    }

    /// Does it lead to a session that is secured and verified?
    pub(super) fn is_secure(&self) -> bool {
        self.talk.failure.is_none()
    }

    /// How much it has to tell of its port.
    pub(super) fn rank(&self) -> u8 {
        if self.is_secure() {
            return 9;
        }
        if self.distrust.is_some() {
            return 8;
        }
        if self.talk.heard.greeting.is_some() {
            return 7;
        }
        match self.talk.server_cause() {
            _ if self.settled => 0,
            Some(Cause::Malformed(_)) => 6,
            // Text, such as a greeting begins with: the look that waits for one has more to tell of it.
            Some(Cause::Tls(tls::Error::NotTls(b'2'..=b'5'))) => 2,
            Some(Cause::Tls(_)) => 5,
            Some(Cause::Closed { .. }) => 4,
            Some(_) => 3,
            None => 1,
        }
    }
}

impl Aim {
    pub(super) fn at(&self, port: u16, mode: Mode) -> Config {
        let security = if mode == Mode::Implicit { Security::Implicit } else { Security::StartTls };
        let config = self.config.clone().to(self.config.host(), port).security(security);
        match &self.tls_name {
            Some(name) => config.tls_name(name),
            None => config,
        }
    }

    /// Holds one session, from connecting to being ready.
    pub(super) fn converse(
        &self,
        mut config: Config,
        own: &Arc<Handle>,
        other: Option<&Arc<Handle>>,
        until: Instant,
    ) -> Talk {
        loop {
            let mut talk = Talk::default();
            if let Err(failure) = self.once(&config, own, other, until, &mut talk) {
                talk.failure = Some(failure);
            }
            // A proxy wants its challenge answered on another connection.
            match talk.error.as_ref().and_then(|error| config.answering(error)) {
                Some(next) if own.stopped().is_none() => config = next,
                _ => return talk,
            }
        }
    }

    fn once(
        &self,
        config: &Config,
        own: &Arc<Handle>,
        other: Option<&Arc<Handle>>,
        until: Instant,
        talk: &mut Talk,
    ) -> Result<(), Failure> {
        let misuse = |misuse| Failure::misuse(&misuse);
        let (_, port) = config.dial();
        let route = config.route(&self.resolved).map_err(misuse)?;
        let connected = reach::connect(&self.addresses, port, self.connect, until);
        let (stream, address, took) = connected.map_err(|unreached| {
            talk.unreached = Some(unreached.word);
            unreached.failure.towards(config.proxies().next())
        })?;
        talk.address = Some(address);
        if !own.hold(&stream) {
            return Err(Failure::late(phase::CONNECT));
        }
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (hears, other) = (heard.clone(), other.cloned());
        let transcript = Transcript::new(move |now, phase, line| {
            let mut heard = hears.lock().unwrap_or_else(PoisonError::into_inner);
            heard.line(now, phase, line);
            if let (true, Some(other)) = (heard.is_settled(), &other) {
                other.stop(Stop::Settled);
            }
        });
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let limits = Limits { greeting: left, tls: left, quit: left.min(PARTING), ..Limits::interactive() };
        let mut config = config.clone().limits(limits.operation(left)).transcript(transcript);
        if let Ok(local) = stream.local_addr() {
            config = config.seen_from(local.ip());
        }
        let began = Instant::now();
        let mut session = Session::begin(self.runtime, stream, &config, route)?;
        let ready = session.ready();
        let (connection, ended) = (session.connection(), began.elapsed());
        talk.facts = connection.tls().cloned();
        talk.mechanism = connection.authenticated().map(ToString::to_string);
        talk.heard = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        talk.heard.times.insert(0, Spent { phase: phase::CONNECT.name(), seconds: took.as_secs_f64() });
        let Err(error) = ready else {
            session.quit();
            return Ok(());
        };
        if let Error::Session { error, .. } = &error {
            talk.heard.spent(error.phase.name(), ended);
            talk.error = Some(error.clone());
            // What it has found by itself before it was ended counts.
            if is_end(&error.cause) && own.stopped() == Some(Stop::Late) {
                return Err(Failure::late(error.phase));
            }
        }
        Err(fitted(error.into(), talk.error.as_ref()))
    }
}

/// The failure as it is told here, where every guess is made already.
fn fitted(failure: Failure, error: Option<&smtp_proto::Error>) -> Failure {
    match error.map(|error| &error.cause) {
        Some(Cause::StartTlsUnavailable(None)) => {
            Failure { text: "only clear text: STARTTLS is not offered".into(), ..failure }
        }
        Some(Cause::Tls(tls::Error::Certificate(CertificateError::WrongName { .. }))) => Failure {
            advice: Some("call the host by a name that the certificate is for, or name that with --tls-name"),
            ..failure
        },
        Some(Cause::Tls(tls::Error::NotTls(_)) | Cause::Malformed(_)) => {
            Failure { kind: Kind::Protocol, advice: Some("is this a port of a mail server?"), ..failure }
        }
        Some(Cause::TimedOut { .. }) => Failure { advice: Some("try again with a longer --budget"), ..failure },
        _ => failure,
    }
}

/// Does it look like this where a session was ended from outside?
fn is_end(cause: &Cause) -> bool {
    matches!(cause, Cause::Closed { .. } | Cause::TimedOut { .. })
}

/// How long a goodbye may take.
const PARTING: Duration = Duration::from_secs(1);

impl Talk {
    /// What is spoken where the server was reached, as far as it has shown itself.
    pub(super) fn speaks(&self) -> Speaks {
        match self.server_cause() {
            _ if self.heard.greeting.is_some() => Speaks::Smtp,
            _ if self.facts.is_some() => Speaks::Tls,
            Some(Cause::Tls(tls::Error::Certificate(_) | tls::Error::Failed(_))) => Speaks::Tls,
            Some(Cause::Tls(_) | Cause::Malformed(_)) => Speaks::Other,
            _ => Speaks::Nothing,
        }
    }

    /// What the server itself did to end it.
    fn server_cause(&self) -> Option<&Cause> {
        self.error.as_ref().filter(|error| error.hop.is_none()).map(|error| &error.cause)
    }

    /// Was the server itself reached, through whatever proxies?
    pub(super) fn has_reached(&self) -> bool {
        self.address.is_some() && self.error.as_ref().is_none_or(|error| error.hop.is_none())
    }
}
