//! Who is trusted: what stands between rustls' own verifiers and the settings.
//!
//! The rules of this file: a certificate is accepted where the verifier below accepts it, or where it was given itself; what is
//! refused is told more exactly, never less.

use std::fmt;
use std::format;
use std::sync::Arc;
use std::vec::Vec;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use crate::tls::der::is_self_issued;

/// Trusts a server that shows a given certificate itself: who signs for himself often says that he is an authority, too, and
/// such a certificate may not stand at the end of a chain. Name and dates count all the same.
#[derive(Debug)]
pub(super) struct OrGiven {
    pub(super) given: Vec<CertificateDer<'static>>,
    pub(super) inner: Arc<dyn ServerCertVerifier>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl OrGiven {
    /// Whether the certificate is signed by its own key. Another authority may bear the same name, so names alone do not tell.
    fn is_self_signed(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
        let mut roots = RootCertStore::empty();
        is_self_issued(certificate)
            && roots.add(certificate.clone().into_owned()).is_ok()
            && ParsedCertificate::try_from(certificate).is_ok_and(|parsed| {
                verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, self.algorithms.all).is_ok()
            })
    }
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
            Err(rustls::Error::InvalidCertificate(why)) if is_an_authoritys(&why) => {
                if self.given.iter().any(|given| given == end_entity) {
                    verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                    return Ok(ServerCertVerified::assertion());
                }
                // An authority that names itself as issuer is a root: nobody else would have signed it.
                Err(if is_self_issued(end_entity) { self_signed() } else { why.into() })
            }
            Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
                if self.is_self_signed(end_entity, now) =>
            {
                Err(self_signed())
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

/// rustls has no variant for this one.
#[derive(Debug)]
struct SelfSigned;

impl fmt::Display for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("self-signed")
    }
}

impl core::error::Error for SelfSigned {}

fn self_signed() -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(SelfSigned))).into()
}

/// Whether a certificate was refused by [`OrGiven`] because it vouches for itself.
pub(super) fn is_self_signed(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if other.0.is::<SelfSigned>())
}

/// Whether a certificate was refused only because it is an authority's, and stands where a server's should. rustls has no
/// variant for this, and hides the one of webpki behind its text.
pub(super) fn is_an_authoritys(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity"))
}

/// The loud opt-out: every certificate will do. Signatures are still checked, so that the key belongs to the certificate.
#[derive(Debug)]
pub(super) struct AcceptAnything {
    pub(super) algorithms: WebPkiSupportedAlgorithms,
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn what_rustls_has_no_variant_for_is_known_again() {
        let rustls::Error::InvalidCertificate(why) = self_signed() else { panic!("no certificate's error") };
        assert!(is_self_signed(&why) && !is_an_authoritys(&why));
        // So it reads where somebody takes rustls's error apart.
        assert!(matches!(&why, CertificateError::Other(other) if other.0.to_string() == "self-signed"));
        assert!(!is_self_signed(&CertificateError::UnknownIssuer));
    }
}
