//! Whom to connect to, and how: what a caller sets once and may use for many connections.

mod opening;
#[cfg(feature = "platform")]
mod platform;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use proxy_proto::Secret;

pub(super) use opening::Opening;

use super::route::Proxy;
use crate::body::LineEndings;
use crate::client::{self, Entropy, Transcript};
use crate::dial::{Mode, Verdict};
use crate::reply::Reply;
use crate::{Grouping, Limits, Misuse, sasl, tls};

/// How the session is secured. Credentials never travel in clear in any of them, unless
/// [`sasl::Allowed::danger_allow_clear_text`] says so.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Security {
    /// TLS whenever it can be had, always verified; which kind is found out. On port 465, or by a [hint](Config::hint), TLS comes
    /// first; if the answer is in clear, [`Config::answering`] says how to connect again. Elsewhere the greeting is awaited:
    /// if it comes, STARTTLS is used where offered; if there is silence for [`Limits::greeting`], TLS begins on the same
    /// connection. A [dialer](crate::dial) does all that at once, and waits for no limit.
    #[default]
    Auto,
    /// TLS from the first octet (RFC 8314).
    Implicit,
    /// STARTTLS, or no session (RFC 3207).
    StartTls,
    /// STARTTLS where it is offered, else clear text.
    StartTlsIfOffered,
    /// Clear text.
    None,
}

/// Where a connection comes from, and how its socket is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Local {
    /// The address to connect from, where there are several; the system's choice without.
    pub bind: Option<IpAddr>,
    /// After so long without an octet the system asks whether the peer is still there (TCP keep-alive); never without.
    pub keep_alive: Option<Duration>,
}

/// Whom to connect to, and how.
///
/// ```
/// use smtp_proto::{Config, Security, sasl::Credentials};
///
/// let config = Config::new("mail.example.org", 587)
///     .security(Security::StartTls)
///     .credentials(Credentials::password("alice", "correct horse"))
///     .helo("client.example.org");
/// assert_eq!(config.port(), 587);
/// ```
#[derive(Clone)]
pub struct Config {
    /// Shared by all connections made from this.
    client: Arc<client::Config>,
    port: u16,
    security: Security,
    /// What was found before; looked at only where the security is `Auto`.
    hinted: Option<Mode>,
    pub(super) connector: Option<Arc<dyn tls::Connector>>,
    /// The platform's connector, once it was needed: clones share it, and with it the sessions that can be resumed.
    #[cfg(feature = "platform")]
    of_platform: Arc<std::sync::OnceLock<tls::Rustls>>,
    tls_name: Option<String>,
    /// The caller has given a name for EHLO.
    named: bool,
    local: Local,
    line_endings: LineEndings,
    address: Option<String>,
    pub(super) proxies: Vec<Proxy>,
    pub(super) token_source: Option<TokenSource>,
}

/// Gives a fresh token, where there is one.
pub(super) type TokenSource = Arc<dyn Fn(&Reply, Option<&[u8]>) -> Option<Secret> + Send + Sync>;

impl Config {
    /// A server by its name or address and its port; security [`Auto`](Security::Auto), no credentials.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            client: Arc::new(client::Config::new(host)),
            port,
            security: Security::default(),
            hinted: None,
            connector: None,
            #[cfg(feature = "platform")]
            of_platform: Arc::default(),
            tls_name: None,
            named: false,
            local: Local::default(),
            line_endings: LineEndings::default(),
            address: None,
            proxies: Vec::new(),
            token_source: None,
        }
    }

    /// A server whose port is not known, as [`Config::port`] 0: the [dialer](crate::dial) finds it out. Without a dialer a
    /// port is needed.
    pub fn any_port(host: impl Into<String>) -> Self {
        Self::new(host, 0)
    }

    /// The same for another server: what its name and port have to do with is changed, nothing else.
    #[must_use]
    pub fn to(mut self, host: impl Into<String>, port: u16) -> Self {
        self.client_mut().host = host.into();
        self.port = port;
        (self.address, self.tls_name, self.hinted) = (None, None, None);
        self
    }

    /// What an earlier session has found: nothing is probed then. It answers what is open and overrules nothing: a
    /// security other than [`Auto`](Security::Auto) stays. And a session that was secured before is not followed by one in
    /// clear: where TLS is not to be had any more, that is an error, and the caller decides whether to forget the hint.
    #[must_use]
    pub fn hint(mut self, verdict: &Verdict) -> Self {
        self.address = Some(verdict.host.to_string());
        self.port = verdict.port;
        self.hinted = Some(verdict.mode);
        self
    }

    /// Goes to this address, or name, instead of the host; whose name it is that TLS proves and mechanisms bind to stays.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// Connects from this address of one's own. Peers of the other family cannot be reached then.
    #[must_use]
    pub fn bind(mut self, address: IpAddr) -> Self {
        self.local.bind = Some(address);
        self
    }

    /// Has the system ask, after so long without an octet, whether the peer is still there.
    #[must_use]
    pub fn keep_alive(mut self, idle: Duration) -> Self {
        self.local.keep_alive = Some(idle);
        self
    }

    /// Where connections come from.
    pub fn local(&self) -> Local {
        self.local
    }

    /// The same, where the connection is seen to come from this address: without a name of the caller's, that is what EHLO
    /// says (RFC 5321 section 4.1.3).
    #[must_use]
    pub fn seen_from(self, address: IpAddr) -> Self {
        if self.named {
            return self;
        }
        let literal = match address.to_canonical() {
            IpAddr::V4(address) => format!("[{address}]"),
            IpAddr::V6(address) => format!("[IPv6:{address}]"),
        };
        Self { named: false, ..self.helo(literal) }
    }

    /// How the session is secured; [`Auto`](Security::Auto) without.
    #[must_use]
    pub fn security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// Who begins TLS sessions. Without one, a session that needs TLS fails.
    #[must_use]
    pub fn tls(mut self, connector: impl tls::Connector + 'static) -> Self {
        self.connector = Some(Arc::new(connector));
        self
    }

    /// The name the server's certificate must prove, where it is not the host's.
    #[must_use]
    pub fn tls_name(mut self, name: impl Into<String>) -> Self {
        self.tls_name = Some(name.into());
        self
    }

    /// Who is to be authenticated. A server that does not offer AUTH is an error then: mail is never sent unauthenticated
    /// by accident.
    #[must_use]
    pub fn credentials(mut self, credentials: sasl::Credentials) -> Self {
        self.client_mut().credentials = Some(credentials);
        self
    }

    /// The mechanisms that may be used (RFC 4422); without, all that are built in, those that reveal the secret on a secured
    /// connection only.
    #[must_use]
    pub fn allowed(mut self, allowed: sasl::Allowed) -> Self {
        self.client_mut().allowed = allowed;
        self
    }

    /// The caller can bring a fresh token when the first is refused, once; see
    /// [`Event::NeedsToken`](crate::client::Event::NeedsToken).
    #[must_use]
    pub fn refresh_token(mut self, can: bool) -> Self {
        self.client_mut().refresh_token = can;
        self
    }

    /// Asks `source` for a fresh token when the first is refused, once: it sees the refusal and what the server said in its
    /// last challenge. It runs within `poll` and should not take long; who has to wait for a token uses
    /// [`refresh_token`](Self::refresh_token) and answers the event.
    #[must_use]
    pub fn token_source(
        self,
        source: impl Fn(&Reply, Option<&[u8]>) -> Option<Secret> + Send + Sync + 'static,
    ) -> Self {
        Self { token_source: Some(Arc::new(source)), ..self.refresh_token(true) }
    }

    /// The name given in EHLO; without one, the address that the connection comes from.
    #[must_use]
    pub fn helo(mut self, name: impl Into<String>) -> Self {
        self.client_mut().helo = name.into();
        self.named = true;
        self
    }

    /// Whether the server speaks LMTP (RFC 2033): LHLO, and a reply to the message for each accepted recipient.
    #[must_use]
    pub fn lmtp(mut self, lmtp: bool) -> Self {
        self.client_mut().lmtp = lmtp;
        self
    }

    /// How long each phase may take, in the units of [`Duration`]; [`Limits::interactive`] without.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.client_mut().limits = limits;
        self
    }

    /// How eagerly commands are grouped (RFC 2920, RFC 3030); as eagerly as the server bears it without.
    #[must_use]
    pub fn grouping(mut self, grouping: Grouping) -> Self {
        self.client_mut().grouping = grouping;
        self
    }

    /// Ignores an extension though the server offers it, by EHLO keyword.
    #[must_use]
    pub fn without(mut self, keyword: impl Into<String>) -> Self {
        self.client_mut().without.push(keyword.into());
        self
    }

    /// Believes in an extension though the server does not offer it, or offers it otherwise: a line as it stands in an answer
    /// to EHLO, such as `"PIPELINING"` or `"SIZE 10240000"`.
    #[must_use]
    pub fn with(mut self, line: impl Into<String>) -> Self {
        self.client_mut().with.push(line.into());
        self
    }

    /// The same, without anything remembered.
    pub(crate) fn forget(mut self) -> Self {
        self.client_mut().remembered = None;
        self
    }

    /// What the server was like the last time ([`Connection::remembered`](super::Connection::remembered)): where it offers
    /// PIPECONNECT, commands leave before its greeting was read.
    #[must_use]
    pub fn remembered(mut self, remembered: client::Remembered) -> Self {
        self.client_mut().remembered = Some(remembered);
        self
    }

    /// Randomness, for the mechanisms that need some; without it only those that need none are used.
    #[must_use]
    pub fn entropy(mut self, fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        let fill: Entropy = Arc::new(fill);
        self.client_mut().entropy = Some(fill);
        self
    }

    /// Who listens to the dialogue: every line of it, without its secrets, as it is said or heard. It is called within
    /// [`poll`](super::Connection::poll) and [`wants`](super::Connection::wants), and should not take long.
    #[must_use]
    pub fn transcript(mut self, transcript: Transcript) -> Self {
        self.client_mut().transcript = Some(transcript);
        self
    }

    /// What becomes of line endings that are not CRLF, in every message.
    #[must_use]
    pub fn line_endings(mut self, endings: LineEndings) -> Self {
        self.line_endings = endings;
        self
    }

    /// What becomes of line endings that are not CRLF.
    pub fn get_line_endings(&self) -> LineEndings {
        self.line_endings
    }

    /// The server's name or address.
    pub fn host(&self) -> &str {
        &self.client.host
    }

    /// How the session is to be secured.
    pub fn get_security(&self) -> Security {
        self.security
    }

    /// The server's port; 0 where it is [not known](Self::any_port).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The limits, also those that an adapter must keep itself: `resolve` and `connect`.
    pub fn get_limits(&self) -> &Limits {
        &self.client.limits
    }

    /// Refuses what cannot be said or meant, before anything is opened.
    ///
    /// # Errors
    ///
    /// [`Misuse`] for the EHLO name or a limit.
    pub fn check(&self) -> Result<(), Misuse> {
        self.client.check()
    }

    fn client_mut(&mut self) -> &mut client::Config {
        Arc::make_mut(&mut self.client)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("client", &self.client)
            .field("port", &self.port)
            .field("security", &self.security)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_connections_come_from_is_what_was_said() {
        let plain = Config::new("mx.example.org", 25);
        assert_eq!(plain.local(), Local::default());
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        let local = plain.bind(address).keep_alive(Duration::from_secs(30)).local();
        assert_eq!((local.bind, local.keep_alive), (Some(address), Some(Duration::from_secs(30))));
    }

    #[test]
    fn who_has_no_name_says_its_address_as_rfc_5321_writes_it() {
        // Section 4.1.3; what is IPv4 in IPv6's clothes is IPv4.
        for (address, literal) in
            [("192.0.2.7", "[192.0.2.7]"), ("::ffff:192.0.2.7", "[192.0.2.7]"), ("2001:db8::7", "[IPv6:2001:db8::7]")]
        {
            let config = Config::new("mx.example.org", 25);
            assert_eq!(config.clone().seen_from(address.parse().unwrap()).client().helo, literal);
            let named = config.helo("client.example.org").seen_from(address.parse().unwrap());
            assert_eq!(named.client().helo, "client.example.org");
        }
    }
}
