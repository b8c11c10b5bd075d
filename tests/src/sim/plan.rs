//! What a seed says: the route, the security, the server, the messages, and what goes wrong.
//!
//! The rules of this file: nothing happens here; all is decided before the run begins (`thrown.rs`), so that a plan can be printed.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proxy_proto::ProxyUrl;
use smtp_proto::body::LineEndings;
use smtp_proto::client::{BodyKind, Require};
use smtp_proto::sasl::Credentials;
use smtp_proto::{Grouping, Limits, Security, server};

use crate::stream::{Fault, Way, Weather};

/// The most sessions of one run: what may be sent again is sent again, by the next.
pub(super) const SESSIONS: usize = 3;

/// A message, and what is asked for it.
#[derive(Clone, Debug)]
pub struct Message {
    /// MAIL's path.
    pub from: String,
    /// The recipients.
    pub to: Vec<String>,
    /// As its author wrote it.
    pub content: Vec<u8>,
    /// What becomes of its line endings.
    pub endings: LineEndings,
    /// How it is declared.
    pub kind: BodyKind,
    /// Whether its size is told.
    pub sized: bool,
    /// How many recipients it needs.
    pub require: Require,
    /// What else is asked for, which each needs its extension.
    pub asks: Asks,
    /// The author gives it up in its middle.
    pub abandoned: bool,
}

/// What is asked of servers that offer it. What they do not offer ends the message before it is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asks {
    /// ENVID and RET; NOTIFY and ORCPT of the first recipient (DSN, RFC 3461).
    pub dsn: bool,
    /// BY (DELIVERBY, RFC 2852).
    pub by: bool,
    /// MT-PRIORITY (RFC 6710).
    pub priority: bool,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// PRDR (draft-hall-prdr-00).
    pub prdr: bool,
}

/// What a proxy on the way does.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// As the client knows it.
    pub url: ProxyUrl,
    /// What it wants before it lets anybody through.
    pub wants: Wants,
    /// The client has the right password.
    pub knows: bool,
    /// It lets nobody through.
    pub refuses: bool,
}

/// How a proxy asks who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wants {
    /// Not at all.
    Nothing,
    /// A password; an HTTP proxy asks for it on this connection.
    Password,
    /// A password on a new connection, by HTTP.
    PasswordAnew,
    /// Digest, by HTTP.
    Digest,
}

/// When each question to the server is answered with no, and what else it does unasked: once in so many, never for 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    /// The greeting.
    pub greeting: usize,
    /// MAIL.
    pub mail: usize,
    /// RCPT.
    pub rcpt: usize,
    /// DATA, where the server asks.
    pub data: usize,
    /// The message, once octets of it have come and it is not complete, in clear; the server goes then.
    pub amid: usize,
    /// The message.
    pub message: usize,
    /// AUTH, whatever the password.
    pub auth: usize,
    /// A refusal is a 421.
    pub closing: usize,
    /// A refusal says that the command was out of order, as servers say that lose track of a group.
    pub lost_track: usize,
    /// At a question, it decides to shut down at the next opportunity.
    pub shuts_down: usize,
    /// At a question, it goes without a word.
    pub vanishes: usize,
    /// An answer is late.
    pub late: usize,
    /// By so much at most.
    pub lateness: Duration,
}

/// When messages are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// Before anything was said.
    AtOnce,
    /// Once the session is ready.
    WhenReady,
    /// Each when the one before is settled.
    OneByOne,
}

/// The server, as it is in one session.
#[derive(Clone, Debug)]
pub struct Server {
    /// What it offers and bears.
    pub config: server::Config,
    /// TLS comes first.
    pub implicit: bool,
    /// It can speak TLS.
    pub tls: bool,
    /// It speaks LMTP.
    pub lmtp: bool,
    /// It bears less than servers do.
    pub is_strict: bool,
    /// What it answers.
    pub policy: Policy,
}

/// One session's network.
#[derive(Clone, Debug)]
pub struct Network {
    /// Towards the server.
    pub up: Weather,
    /// Towards the client.
    pub down: Weather,
    /// Where it breaks.
    pub fault: Option<(Way, u64, Fault)>,
}

/// What a seed says.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed itself.
    pub seed: u64,
    /// The server's name.
    pub host: &'static str,
    /// The server's port.
    pub port: u16,
    /// The proxies, the nearest first.
    pub proxies: Vec<Proxy>,
    /// A PROXY header stands before the session.
    pub header: bool,
    /// What the client wants.
    pub security: Security,
    /// TLS is rustls's, at both ends.
    pub real_tls: bool,
    /// LMTP, as the client believes.
    pub lmtp: bool,
    /// Who the client is, and whether it has the right secret.
    pub credentials: Option<(Credentials, bool)>,
    /// The secret that it shows, if any: never to be seen.
    pub secret: String,
    /// The secret that the server knows.
    pub right_secret: String,
    /// A token that was refused is followed by the right one.
    pub fresh_token: bool,
    /// Credentials may go in clear.
    pub clear_text: bool,
    /// The client's limits.
    pub limits: Limits,
    /// How eagerly it groups.
    pub grouping: Grouping,
    /// Extensions that it ignores.
    pub without: Vec<&'static str>,
    /// Extensions that it believes in.
    pub with: Vec<&'static str>,
    /// It uses what it remembers of the session before.
    pub remembers: bool,
    /// When messages are asked for.
    pub pace: Pace,
    /// NOOP is asked for between messages, once in so many.
    pub noops: usize,
    /// The messages.
    pub messages: Vec<Message>,
    /// The server, in each session: it may change between them.
    pub servers: Vec<Server>,
    /// The network, in each session.
    pub networks: Vec<Network>,
}

impl Plan {
    /// Nothing is in the way of this session: whatever becomes of each message, the session itself ends well.
    pub fn is_benign(&self, session: usize) -> bool {
        let (server, network) = (&self.servers[session], &self.networks[session]);
        let fits = match self.security {
            Security::None | Security::StartTlsIfOffered => !server.implicit,
            Security::StartTls => server.tls && !server.implicit && !self.without.contains(&"STARTTLS"),
            Security::Implicit => server.implicit,
            _ => false,
        };
        let satisfied =
            |proxy: &Proxy| proxy.knows && proxy.wants != Wants::PasswordAnew && proxy.url.credentials().is_some();
        let proxies = self.proxies.iter().all(|one| !one.refuses && (one.wants == Wants::Nothing || satisfied(one)));
        let still = network.fault.is_none() && network.up.stall.is_none() && network.down.stall.is_none();
        let long = self.limits.mail >= Limits::interactive().mail && self.limits.operation.is_none();
        let whole = self.messages.iter().all(|one| !one.abandoned && one.endings != LineEndings::Strict);
        let patient = !server.is_strict && server.policy.is_kind() && self.credentials.is_none();
        fits && proxies && still && long && whole && patient && self.with.is_empty() && server.lmtp == self.lmtp
    }
}

impl Policy {
    /// Whoever asks is answered with yes, or with a no that ends nothing but the message.
    fn is_kind(&self) -> bool {
        let ends = [
            self.greeting,
            self.data,
            self.amid,
            self.closing,
            self.lost_track,
            self.shuts_down,
            self.vanishes,
            self.late,
        ];
        ends.iter().all(|odds| *odds == 0)
    }
}

/// Where a proxy resolves nothing, this is what was found for a name.
pub(super) const RESOLVED: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
