//! Certificates that live as long as the process: an authority, and a server's certificate signed by it.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// A certificate, its key, and the authority that signed it; all PEM.
pub(crate) struct ThrowAway {
    pub(crate) ca: String,
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl ThrowAway {
    /// A certificate for these names and addresses.
    pub(crate) fn new(names: Vec<String>) -> Result<Self, rcgen::Error> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.distinguished_name.push(DnType::CommonName, "throw-away authority of the smtp command");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let ca = authority.self_signed(&key)?.pem();
        let issuer = Issuer::new(authority, key);
        let mut server = CertificateParams::new(names)?;
        server.distinguished_name.push(DnType::CommonName, "throw-away certificate of the smtp command");
        server.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok(Self { ca, chain: server.signed_by(&key, &issuer)?.pem(), key: key.serialize_pem() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smtp_proto::tls::{RustlsServer, Settings};

    #[test]
    fn both_ends_take_it() {
        let made = ThrowAway::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        assert!(RustlsServer::from_pem(made.chain.as_bytes(), made.key.as_bytes()).is_ok());
        assert!(Settings::default().trust_pem(made.ca.as_bytes()).is_ok());
    }
}
