//! The settings of TLS as a client, and what rustls makes of them.
//!
//! The rules of this file: the certificate is verified unless somebody said loudly that it shall not be; what cannot be used
//! shows itself when a session begins.

use std::fmt;
use std::sync::Arc;
use std::vec::Vec;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};

use super::{Rustls, certificates, is_an_authoritys, misuse, provider};
use crate::Misuse;

/// A version of TLS. Older ones than 1.2 are broken (RFC 8996), and cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Version {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl Version {
    fn supported(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Tls12 => &rustls::version::TLS12,
            Self::Tls13 => &rustls::version::TLS13,
        }
    }
}

/// Whom to trust, beside the certificates given by [`Settings::trust_pem`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Roots {
    /// Whom the platform trusts (needs the feature `platform-roots`).
    #[default]
    Platform,
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
    pub fn trust_pem(mut self, pem: &[u8]) -> Result<Self, Misuse> {
        self.given.extend(certificates(pem)?);
        Ok(self)
    }

    /// Shows this certificate chain to servers that ask for one; chain and key PEM.
    ///
    /// # Errors
    ///
    /// [`Misuse::Tls`] where the certificate or the key cannot be read.
    pub fn client_certificate(mut self, chain: &[u8], key: &[u8]) -> Result<Self, Misuse> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(misuse)?;
        self.client = Some(Arc::new(ClientIdentity { chain: certificates(chain)?, key }));
        Ok(self)
    }

    /// Offers these protocols by ALPN, the best first.
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
        if self.min > self.max {
            return Err(misuse("the oldest TLS version permitted is newer than the newest"));
        }
        let versions: Vec<_> = [Version::Tls12, Version::Tls13]
            .into_iter()
            .filter(|version| (self.min..=self.max).contains(version))
            .map(Version::supported)
            .collect();
        let builder =
            ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions).map_err(misuse)?;
        let builder = if !self.verify {
            let algorithms = provider.signature_verification_algorithms;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAnything { algorithms }))
        } else if self.roots == Roots::Platform {
            let inner = self.platform(provider)?;
            builder.dangerous().with_custom_certificate_verifier(self.with_given(inner))
        } else {
            let mut roots = RootCertStore::empty();
            for root in &self.given {
                roots.add(root.clone()).map_err(misuse)?;
            }
            let inner = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().map_err(misuse)?;
            builder.dangerous().with_custom_certificate_verifier(self.with_given(inner))
        };
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()).map_err(misuse)?
            }
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(Arc::new(config))
    }

    fn with_given(&self, inner: Arc<dyn ServerCertVerifier>) -> Arc<dyn ServerCertVerifier> {
        Arc::new(OrGiven { given: self.given.clone(), inner })
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

/// Trusts a server that shows a given certificate itself: who signs for himself often says that he is an authority, too, and
/// such a certificate may not stand at the end of a chain. Name and dates count all the same.
#[derive(Debug)]
struct OrGiven {
    given: Vec<CertificateDer<'static>>,
    inner: Arc<dyn ServerCertVerifier>,
}

impl ServerCertVerifier for OrGiven {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.inner.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // Dates are judged before places, so an expired one is another error.
            Err(rustls::Error::InvalidCertificate(why))
                if is_an_authoritys(&why) && self.given.iter().any(|given| given == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The loud opt-out: every certificate will do. Signatures are still checked, so that the key belongs to the certificate.
#[derive(Debug)]
struct AcceptAnything {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AcceptAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
