//! The channel binding `tls-server-end-point` (RFC 5929 section 4): a digest of the server's certificate.
//!
//! The rules of this file: the digest is the one of the certificate's own signature, but never weaker than SHA-256; a
//! certificate that names none (Ed25519, say) has no such binding.

use alloc::vec::Vec;

use sha2::{Digest, Sha256, Sha384, Sha512};

use super::der::{SEQUENCE, value};

/// The binding's data for a certificate in DER; `None` where there is none.
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    Some(match signature_digest(certificate)? {
        Bits::Sha256 => Sha256::digest(certificate).to_vec(),
        Bits::Sha384 => Sha384::digest(certificate).to_vec(),
        Bits::Sha512 => Sha512::digest(certificate).to_vec(),
    })
}

enum Bits {
    Sha256,
    Sha384,
    Sha512,
}

/// `Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { algorithm OID, .. }, .. }`
fn signature_digest(certificate: &[u8]) -> Option<Bits> {
    const OID: u8 = 0x06;
    let (certificate, _) = value(certificate, SEQUENCE)?;
    let (_, rest) = value(certificate, SEQUENCE)?;
    let (algorithm, _) = value(rest, SEQUENCE)?;
    let (oid, _) = value(algorithm, OID)?;
    // 1.2.840.113549.1.1.x for RSA, 1.2.840.10045.4.x for ECDSA.
    let rsa = oid.strip_prefix(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01]);
    let ecdsa = oid.strip_prefix(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04]);
    match (rsa, ecdsa) {
        // MD5 and SHA-1 are too weak to bind to; the RFC puts SHA-256 in their place.
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => Some(Bits::Sha256),
        (Some([12]), _) | (_, Some([3, 3])) => Some(Bits::Sha384),
        (Some([13]), _) | (_, Some([3, 4])) => Some(Bits::Sha512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate's outline around an algorithm's OID, written by hand.
    fn certificate(oid: &[u8]) -> Vec<u8> {
        let mut algorithm = alloc::vec![0x30, oid.len() as u8 + 2, 0x06, oid.len() as u8];
        algorithm.extend_from_slice(oid);
        let mut inner = alloc::vec![0x30, 0x02, 0x05, 0x00];
        inner.extend_from_slice(&algorithm);
        inner.extend_from_slice(&[0x03, 0x01, 0x00]);
        let mut outer = alloc::vec![0x30, 0x81, inner.len() as u8];
        outer.extend_from_slice(&inner);
        outer
    }

    #[test]
    fn the_digest_is_the_signatures_own_but_never_weaker_than_sha_256() {
        const RSA: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
        for (last, octets) in [(4, 32), (5, 32), (11, 32), (12, 48), (13, 64)] {
            let made = certificate(&[&RSA[..], &[last]].concat());
            assert_eq!(end_point(&made).unwrap().len(), octets, "RSA with {last}");
        }
        let ecdsa = certificate(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]);
        assert_eq!(end_point(&ecdsa).unwrap(), Sha256::digest(&ecdsa).to_vec());
        let ed25519 = certificate(&[0x2b, 0x65, 0x70]);
        assert_eq!(end_point(&ed25519), None);
    }

    #[test]
    fn what_is_no_certificate_has_no_binding() {
        let made = certificate(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]);
        for end in 0..made.len() {
            assert_eq!(end_point(&made[..end]), None);
        }
        assert_eq!(end_point(&[0x30, 0xff, 1, 1, 1]), None);
        assert_eq!(end_point(&[0x30, 0x80, 1, 1, 1]), None);
    }
}
