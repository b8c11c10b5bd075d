//! TLS as a server: whose certificate is shown, and whether clients have to show theirs.

use std::boxed::Box;
use std::fmt;
use std::sync::Arc;
use std::vec::Vec;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, ServerConnection};

use super::filter::{Filter, Side, end_point};
use super::{certificates, misuse, provider, roots, versions};
use crate::Misuse;
use crate::sasl::ChannelBinding;
use crate::tls::{Acceptor, Session, Version};

/// TLS as a server, by rustls.
#[derive(Clone, Debug)]
pub struct RustlsServer {
    config: Arc<ServerConfig>,
    /// Known where the certificate is: rustls does not show a server its own.
    end_point: Option<ChannelBinding>,
}

impl RustlsServer {
    /// Uses a configuration of the caller's own, as it is. Its sessions cannot be named by `tls-server-end-point`, since
    /// which certificate will be shown is its own affair.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self { config, end_point: None }
    }

    /// A server with this certificate chain and its key, both PEM; any client, TLS 1.2 and 1.3.
    /// [`ServerSettings`] has more to choose.
    ///
    /// # Errors
    ///
    /// [`Misuse::Tls`] where the certificate or the key cannot be used.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Misuse> {
        ServerSettings::from_pem(chain, key)?.acceptor()
    }
}

impl From<Arc<ServerConfig>> for RustlsServer {
    /// As [`RustlsServer::new`].
    fn from(config: Arc<ServerConfig>) -> Self {
        Self::new(config)
    }
}

impl Acceptor for RustlsServer {
    fn accept(&self) -> Result<Box<dyn Session>, Misuse> {
        let connection = ServerConnection::new(self.config.clone()).map_err(misuse)?;
        Ok(Box::new(Filter::new(connection, Side::Server(self.end_point.clone()))))
    }
}

/// The settings of TLS as a server: TLS 1.2 and 1.3, any client, no ALPN, unless something else is said.
#[derive(Clone)]
pub struct ServerSettings {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
    min: Version,
    max: Version,
    clients: Option<Clients>,
    alpn: Vec<Vec<u8>>,
}

/// Whose certificates clients may show.
#[derive(Clone)]
struct Clients {
    authorities: Vec<CertificateDer<'static>>,
    required: bool,
}

impl fmt::Debug for ServerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSettings").field("min", &self.min).field("max", &self.max).finish_non_exhaustive()
    }
}

impl ServerSettings {
    /// A server with this certificate chain and its key, both PEM.
    ///
    /// # Errors
    ///
    /// [`Misuse::Tls`] where the certificate or the key cannot be read.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Misuse> {
        Ok(Self {
            chain: certificates(chain)?,
            key: Arc::new(PrivateKeyDer::from_pem_slice(key).map_err(misuse)?),
            min: Version::Tls12,
            max: Version::Tls13,
            clients: None,
            alpn: Vec::new(),
        })
    }

    /// The oldest version permitted, by default 1.2.
    #[must_use]
    pub fn min(mut self, version: Version) -> Self {
        self.min = version;
        self
    }

    /// The newest version permitted, by default 1.3.
    #[must_use]
    pub fn max(mut self, version: Version) -> Self {
        self.max = version;
        self
    }

    /// Asks clients for a certificate of one of these authorities (PEM): who shows another one is refused, who shows none
    /// is not. What was shown is in [`Facts::peer_certificates`](crate::tls::Facts::peer_certificates); the mechanism
    /// EXTERNAL (RFC 4422 appendix A) is for it.
    ///
    /// # Errors
    ///
    /// [`Misuse::Tls`] where there is no certificate in it, or a broken one.
    pub fn ask_clients(self, authorities: &[u8]) -> Result<Self, Misuse> {
        self.clients(authorities, false)
    }

    /// The same, and who shows none is refused, too.
    ///
    /// # Errors
    ///
    /// As [`ask_clients`](Self::ask_clients).
    pub fn require_clients(self, authorities: &[u8]) -> Result<Self, Misuse> {
        self.clients(authorities, true)
    }

    fn clients(mut self, authorities: &[u8], required: bool) -> Result<Self, Misuse> {
        let authorities = certificates(authorities)?;
        roots(&authorities)?;
        self.clients = Some(Clients { authorities, required });
        Ok(self)
    }

    /// Takes these protocols by ALPN (RFC 7301), the best first; a client that offers only others is refused.
    #[must_use]
    pub fn alpn(mut self, protocols: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.alpn = protocols.into_iter().collect();
        self
    }

    /// The acceptor of these settings, with the provider chosen by feature. Its clones share the sessions that can be
    /// resumed.
    ///
    /// # Errors
    ///
    /// [`Misuse::Tls`] where the settings cannot be used: no version left, a key of another certificate, no provider.
    pub fn acceptor(&self) -> Result<RustlsServer, Misuse> {
        let provider = provider()?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions(self.min, self.max)?)
            .map_err(misuse)?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let roots = Arc::new(roots(&clients.authorities)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = if clients.required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().map_err(misuse)?)
            }
        };
        let mut config = builder.with_single_cert(self.chain.clone(), self.key.clone_key()).map_err(misuse)?;
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(RustlsServer { config: Arc::new(config), end_point: self.chain.first().and_then(end_point) })
    }
}
