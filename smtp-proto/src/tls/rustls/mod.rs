//! The one room that knows rustls: who begins sessions.
//!
//! The rules of this room: the certificate's validity is judged by the clock that the configuration names (rustls'
//! `TimeProvider`); nothing else here knows the time.

mod filter;
mod server;
mod settings;
mod verifier;

use std::boxed::Box;
use std::fmt;
use std::format;
use std::string::ToString;
use std::sync::Arc;
use std::vec::Vec;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

pub use server::{RustlsServer, ServerSettings};
pub use settings::{Roots, Settings};

use super::{Connector, Session, Version};
use crate::Misuse;
use filter::{Filter, Side};

/// TLS as a client, by rustls.
///
/// Its clones share the sessions that can be resumed, up to 256 servers: who connects again uses a clone, not another
/// connector of the same settings.
#[derive(Clone)]
pub struct Rustls(Result<Arc<ClientConfig>, Misuse>);

impl Rustls {
    /// Uses a configuration of the caller's own, as it is.
    pub fn new(config: Arc<ClientConfig>) -> Self {
        Self(Ok(config))
    }

    /// Whether sessions can begin at all, which else shows itself when the first one begins.
    ///
    /// # Errors
    ///
    /// [`Misuse::Tls`] where the [`Settings`] cannot be used: no version left, no roots, a key of another certificate.
    pub fn check(&self) -> Result<(), Misuse> {
        self.0.as_ref().map(drop).map_err(Clone::clone)
    }
}

impl From<Arc<ClientConfig>> for Rustls {
    /// As [`Rustls::new`]. The version of rustls that this takes is [`crate::rustls`].
    fn from(config: Arc<ClientConfig>) -> Self {
        Self::new(config)
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
        Ok(Box::new(Filter::new(connection, Side::Client)))
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

/// The authorities among which a chain may end.
fn roots(authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, Misuse> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(misuse)?;
    }
    Ok(roots)
}

/// The versions from `min` to `max`.
fn versions(min: Version, max: Version) -> Result<Vec<&'static SupportedProtocolVersion>, Misuse> {
    if min > max {
        return Err(misuse(format!("the oldest TLS version permitted, {min}, is newer than the newest, {max}")));
    }
    let supported = [(Version::Tls12, &rustls::version::TLS12), (Version::Tls13, &rustls::version::TLS13)];
    Ok(supported.into_iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, one)| one).collect())
}

fn misuse(why: impl ToString) -> Misuse {
    Misuse::Tls { why: why.to_string() }
}
