//! The one room that knows rustls: who begins sessions.
//!
//! The rules of this room: the certificate's validity is judged by the clock that the configuration names (rustls'
//! `TimeProvider`); nothing else here knows the time.

mod filter;
mod settings;

use std::boxed::Box;
use std::fmt;
use std::format;
use std::string::ToString;
use std::sync::Arc;
use std::vec::Vec;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, ServerConfig, ServerConnection};

pub use settings::{Roots, Settings, Version};

use super::{Acceptor, Connector, Session};
use crate::Misuse;
use crate::sasl::ChannelBinding;
use filter::{Filter, end_point};

/// TLS as a client, by rustls.
#[derive(Clone)]
pub struct Rustls(Result<Arc<ClientConfig>, Misuse>);

impl Rustls {
    /// Uses a configuration of the caller's own, as it is.
    pub fn new(config: Arc<ClientConfig>) -> Self {
        Self(Ok(config))
    }
}

impl fmt::Debug for Rustls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rustls(..)")
    }
}

impl Connector for Rustls {
    fn connect(&self, name: &str) -> Result<Box<dyn Session>, Misuse> {
        let config = self.0.clone()?;
        let name = name.trim_end_matches('.').to_string();
        let server = ServerName::try_from(name.clone()).map_err(|_| misuse(format!("{name:?} is no server name")))?;
        let connection = ClientConnection::new(config, server).map_err(misuse)?;
        Ok(Box::new(Filter::new(connection, None)))
    }
}

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
    ///
    /// # Errors
    ///
    /// [`Misuse::Tls`] where the certificate or the key cannot be used.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Misuse> {
        let chain = certificates(chain)?;
        let end_point = chain.first().and_then(end_point);
        let config = ServerConfig::builder_with_provider(provider()?)
            .with_safe_default_protocol_versions()
            .map_err(misuse)?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key).map_err(misuse)?)
            .map_err(misuse)?;
        Ok(Self { config: Arc::new(config), end_point })
    }
}

impl Acceptor for RustlsServer {
    fn accept(&self) -> Result<Box<dyn Session>, Misuse> {
        let connection = ServerConnection::new(self.config.clone()).map_err(misuse)?;
        Ok(Box::new(Filter::new(connection, self.end_point.clone())))
    }
}

fn provider() -> Result<Arc<CryptoProvider>, Misuse> {
    if let Some(provider) = CryptoProvider::get_default() {
        return Ok(provider.clone());
    }
    #[cfg(feature = "ring")]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
    return Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    Err(misuse("no TLS provider: choose the feature ring or aws-lc-rs, or pass one in"))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Misuse> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(misuse)?;
    if found.is_empty() { Err(misuse("there is no certificate in the PEM text")) } else { Ok(found) }
}

/// Whether a certificate was refused only because it is an authority's, and stands where a server's should. rustls has no
/// variant for this, and hides the one of webpki behind its text.
fn is_an_authoritys(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity"))
}

fn misuse(why: impl ToString) -> Misuse {
    Misuse::Tls { why: why.to_string() }
}
