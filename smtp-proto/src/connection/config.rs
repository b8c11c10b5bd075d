//! Whom to connect to, and how: what a caller sets once and may use for many connections.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use proxy_proto::Secret;

use super::route::Proxy;
use crate::body::LineEndings;
use crate::client::{self, Entropy, StartTls, Transcript};
use crate::reply::Reply;
use crate::{Grouping, Limits, Misuse, sasl, tls};

/// How the session is secured. Credentials never travel in clear in any of them, unless
/// [`sasl::Allowed::danger_allow_clear_text`] says so.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Security {
    /// TLS whenever it can be had, always verified; which kind is found out on the connection itself. On port 465 TLS comes
    /// first. Elsewhere the greeting is awaited: if it comes, STARTTLS is used where offered; if there is silence for
    /// [`Limits::greeting`], TLS begins on the same connection.
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
    pub(super) connector: Option<Arc<dyn tls::Connector>>,
    tls_name: Option<String>,
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
            connector: None,
            tls_name: None,
            line_endings: LineEndings::default(),
            address: None,
            proxies: Vec::new(),
            token_source: None,
        }
    }

    /// Goes to this address, or name, instead of the host; whose name it is that TLS proves and mechanisms bind to stays.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// How the session is secured.
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

    /// The mechanisms that may be used.
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

    /// The name given in EHLO.
    #[must_use]
    pub fn helo(mut self, name: impl Into<String>) -> Self {
        self.client_mut().helo = name.into();
        self
    }

    /// Whether the server speaks LMTP (RFC 2033): LHLO, and a reply to the message for each accepted recipient.
    #[must_use]
    pub fn lmtp(mut self, lmtp: bool) -> Self {
        self.client_mut().lmtp = lmtp;
        self
    }

    /// How long each phase may take.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.client_mut().limits = limits;
        self
    }

    /// How eagerly commands are grouped.
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

    /// Who listens to the dialogue.
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

    /// The same, with what the platform gives where nothing was given: its trusted roots, its randomness.
    #[cfg(feature = "platform")]
    #[must_use]
    pub fn on_platform(self) -> Self {
        let config = if self.connector.is_some() { self } else { self.tls(tls::Settings::default().connector()) };
        if config.client.entropy.is_some() {
            return config;
        }
        config.entropy(|octets| {
            // Without randomness there is no secret worth keeping: better to stop than to go on with a nonce of zeroes.
            getrandom::fill(octets).expect("the platform has no source of randomness");
        })
    }

    /// The server's name or address.
    pub fn host(&self) -> &str {
        &self.client.host
    }

    /// The server's port.
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

    pub(super) fn client(&self) -> &Arc<client::Config> {
        &self.client
    }

    /// What the client is told about STARTTLS; `Auto` has settled the rest below it.
    pub(super) fn starttls(&self) -> StartTls {
        match self.security {
            Security::StartTls => StartTls::Required,
            Security::Auto | Security::StartTlsIfOffered => StartTls::IfOffered,
            Security::Implicit | Security::None => StartTls::Never,
        }
    }

    /// What is dialled, or asked of the last proxy.
    pub(super) fn destination(&self) -> &str {
        let host = self.address.as_deref().unwrap_or(self.host());
        host.trim_start_matches('[').trim_end_matches(']')
    }

    pub(super) fn opening(&self) -> Opening {
        match self.security {
            Security::Implicit => Opening::Tls,
            Security::Auto if self.port == 465 => Opening::Tls,
            Security::Auto if self.connector.is_some() => Opening::Listen,
            _ => Opening::Clear,
        }
    }

    pub(super) fn server_name(&self) -> &str {
        let host = self.client.host.trim_start_matches('[').trim_end_matches(']');
        self.tls_name.as_deref().unwrap_or(host)
    }
}

/// How the conversation with the server itself begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Opening {
    Clear,
    Tls,
    /// Whoever speaks first decides.
    Listen,
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
