//! The settings of TLS as a client, and what rustls makes of them.
//!
//! The rules of this file: the certificate is verified unless somebody said loudly that it shall not be; what cannot be used
//! shows itself when a session begins.

use std::fmt;
use std::sync::Arc;
use std::vec::Vec;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::verifier::{AcceptAnything, OrGiven};
use super::{Rustls, certificates, misuse, provider, roots, versions};
use crate::Misuse;
use crate::tls::Version;

/// Whom to trust, beside the certificates given by [`Settings::trust_pem`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Roots {
    /// Whom the platform trusts (needs the feature `platform-roots`).
    #[default]
    Platform,
    /// Whom Mozilla trusts, by the list compiled in (needs the feature `webpki-roots`): the same on every machine, and as old
    /// as the build.
    WebPki,
    /// Nobody else.
    OnlyGiven,
}

/// The settings of TLS as a client.
#[derive(Clone, Debug)]
pub struct Settings {
    min: Version,
    max: Version,
    roots: Roots,
    given: Vec<CertificateDer<'static>>,
    client: Option<Arc<ClientIdentity>>,
    alpn: Vec<Vec<u8>>,
    verify: bool,
}

struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity(..)")
    }
}

impl Default for Settings {
    /// TLS 1.2 or 1.3, verified against the platform's roots.
    fn default() -> Self {
        Self {
            min: Version::Tls12,
            max: Version::Tls13,
            roots: Roots::default(),
            given: Vec::new(),
            client: None,
            alpn: Vec::new(),
            verify: true,
        }
    }
}

impl Settings {
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

    /// Whom to trust beside the given certificates.
    #[must_use]
    pub fn roots(mut self, roots: Roots) -> Self {
        self.roots = roots;
        self
    }

    /// Trusts these authorities too: PEM, one certificate or several.
    ///
    /// # Errors
    ///
    /// [`Misuse::Tls`] where there is no certificate in it, or a broken one.
    pub fn trust_pem(self, pem: &[u8]) -> Result<Self, Misuse> {
        self.trust(certificates(pem)?)
    }

    /// Trusts this authority too: DER, one certificate.
    ///
    /// # Errors
    ///
    /// [`Misuse::Tls`] where it is broken.
    pub fn trust_der(self, der: &[u8]) -> Result<Self, Misuse> {
        self.trust(std::vec![CertificateDer::from(der.to_vec())])
    }

    fn trust(mut self, authorities: Vec<CertificateDer<'static>>) -> Result<Self, Misuse> {
        roots(&authorities)?;
        self.given.extend(authorities);
        Ok(self)
    }

    /// Shows this certificate chain to servers that ask for one; chain and key PEM.
    ///
    /// # Errors
    ///
    /// [`Misuse::Tls`] where the certificate or the key cannot be read.
    pub fn client_certificate(mut self, chain: &[u8], key: &[u8]) -> Result<Self, Misuse> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => misuse("there is no private key in the PEM text"),
            error => misuse(error),
        })?;
        self.client = Some(Arc::new(ClientIdentity { chain: certificates(chain)?, key }));
        Ok(self)
    }

    /// Offers these protocols by ALPN (RFC 7301), the best first; SMTP has none registered, and none is offered by default.
    #[must_use]
    pub fn alpn(mut self, protocols: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.alpn = protocols.into_iter().collect();
        self
    }

    /// Accepts any certificate: whoever sits between can read and change everything.
    #[must_use]
    pub fn danger_accept_invalid_certs(mut self) -> Self {
        self.verify = false;
        self
    }

    /// The connector of these settings, with the provider chosen by feature.
    ///
    /// Settings that cannot be used (no roots on this platform, no version left) show themselves when a session begins, so
    /// that who never needs TLS is not stopped by them.
    pub fn connector(&self) -> Rustls {
        Rustls(provider().and_then(|provider| self.config(provider)))
    }

    /// The connector of these settings, with a provider of the caller's own.
    pub fn connector_with(&self, provider: Arc<CryptoProvider>) -> Rustls {
        Rustls(self.config(provider))
    }

    fn config(&self, provider: Arc<CryptoProvider>) -> Result<Arc<ClientConfig>, Misuse> {
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions(self.min, self.max)?)
            .map_err(misuse)?;
        let builder = builder.dangerous().with_custom_certificate_verifier(self.verifier(provider)?);
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()).map_err(misuse)?
            }
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(Arc::new(config))
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Misuse> {
        let algorithms = provider.signature_verification_algorithms;
        if !self.verify {
            return Ok(Arc::new(AcceptAnything { algorithms }));
        }
        let inner = match self.roots {
            Roots::Platform => self.platform(provider)?,
            Roots::WebPki => among(&self.given, web_pki()?, provider)?,
            Roots::OnlyGiven => among(&self.given, RootCertStore::empty(), provider)?,
        };
        Ok(Arc::new(OrGiven { given: self.given.clone(), inner, algorithms }))
    }

    #[cfg(feature = "platform-roots")]
    fn platform(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Misuse> {
        let given = self.given.iter().cloned();
        let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(given, provider).map_err(misuse)?;
        Ok(Arc::new(verifier))
    }

    #[cfg(not(feature = "platform-roots"))]
    fn platform(&self, _: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Misuse> {
        Err(misuse("the platform's roots need the feature platform-roots"))
    }
}

/// A verifier by the given authorities and these.
fn among(
    given: &[CertificateDer<'static>],
    others: RootCertStore,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Misuse> {
    let mut all = roots(given)?;
    all.roots.extend(others.roots);
    if all.is_empty() {
        return Err(misuse("there is nobody to trust: give an authority, or choose other roots"));
    }
    Ok(WebPkiServerVerifier::builder_with_provider(all.into(), provider).build().map_err(misuse)?)
}

#[cfg(feature = "webpki-roots")]
fn web_pki() -> Result<RootCertStore, Misuse> {
    Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect())
}

#[cfg(not(feature = "webpki-roots"))]
fn web_pki() -> Result<RootCertStore, Misuse> {
    Err(misuse("Mozilla's roots need the feature webpki-roots"))
}
