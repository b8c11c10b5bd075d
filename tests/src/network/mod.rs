//! A network in memory, in virtual time: addresses that behave as told, and an adapter that drives a dialer over it.
//!
//! The rules of this room: here is what there is, and how dialling over it ended; `run.rs` dials. An octet takes half a round trip
//! (`pipe.rs`), whatever stands at the other end (`server.rs`).

mod behaviour;
mod end;
mod pipe;
mod run;
mod server;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use smtp_proto::dial::{Dialer, Failure, Id, Policy, Verdict};
use smtp_proto::{Config, Connection, Instant};

pub use self::behaviour::Behaviour;
use self::run::Run;

/// What a name resolver says: after so long, these addresses.
pub type Answers = Vec<(Duration, Vec<IpAddr>)>;

/// The network.
pub struct Network {
    /// From here to anywhere and back.
    pub rtt: Duration,
    /// How each address and port behaves; all others refuse.
    pub hosts: HashMap<SocketAddr, Behaviour>,
    /// What names stand for; the lookup ends with the last answer.
    pub names: HashMap<String, Answers>,
    /// The time from which the dialer counts.
    pub begin: Instant,
}

/// How dialling ended.
pub struct Ended {
    /// Who has won, and what was found.
    pub verdict: Option<Verdict>,
    /// What has won.
    pub connection: Option<Connection>,
    /// The account of what was in vain.
    pub failure: Failure<&'static str>,
    /// How long it took.
    pub took: Duration,
    /// Every connection that was ordered, and when.
    pub opened: Vec<(Duration, SocketAddr, Id)>,
    /// Every connection that was ordered closed, and when.
    pub closed: Vec<(Duration, Id)>,
    /// What the servers heard, each.
    pub heard: Vec<(SocketAddr, Vec<u8>)>,
}

impl Network {
    /// An empty one.
    pub fn new(rtt: Duration) -> Self {
        let begin = Instant::from_epoch(Duration::from_secs(1000));
        Self { rtt, hosts: HashMap::new(), names: HashMap::new(), begin }
    }

    /// Somebody at this address.
    ///
    /// # Panics
    ///
    /// Where that is no address.
    #[must_use]
    pub fn with(mut self, at: &str, behaviour: Behaviour) -> Self {
        self.hosts.insert(at.parse().expect("an address and a port"), behaviour);
        self
    }

    /// A name, known at once.
    ///
    /// # Panics
    ///
    /// Where one of these is no address.
    #[must_use]
    pub fn named(self, name: &str, addresses: &[&str]) -> Self {
        self.answering(name, &[(0, addresses)])
    }

    /// A name, by several answers, each after so many milliseconds.
    ///
    /// # Panics
    ///
    /// Where one of these is no address.
    #[must_use]
    pub fn answering(mut self, name: &str, answers: &[(u64, &[&str])]) -> Self {
        let ips = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("an address")).collect();
        let answers = answers.iter().map(|(after, texts)| (Duration::from_millis(*after), ips(texts))).collect();
        self.names.insert(name.into(), answers);
        self
    }

    /// Dials until somebody is ready, or everything was tried.
    ///
    /// # Panics
    ///
    /// Where the dialer breaks one of its laws, or the configuration cannot be used.
    pub fn dial(&self, configs: impl IntoIterator<Item = Config>, policy: Policy) -> Ended {
        Run::new(self, Dialer::among(configs, policy).expect("a configuration")).run()
    }
}
