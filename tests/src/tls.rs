//! A throw-away authority and a server's certificate, for both ends of a wire in memory.

use smtp_proto::tls::{Roots, Rustls, RustlsServer, Settings};

/// Both ends' settings: who trusts, and who is trusted as `localhost`.
pub struct Pki {
    /// Trusts the throw-away authority, and nobody else.
    pub client: Rustls,
    /// Bears the certificate.
    pub server: RustlsServer,
    /// The authority's certificate.
    pub authority: String,
}

impl Pki {
    /// Makes an authority and a certificate for `localhost`.
    ///
    /// # Panics
    ///
    /// Where key generation fails.
    pub fn new() -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).expect("an authority");
        let issuer = rcgen::Issuer::new(params, key);
        let own = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let certificate = params.signed_by(&own, &issuer).expect("a certificate");
        Self {
            client: connector(&authority.pem()),
            server: RustlsServer::from_pem(certificate.pem().as_bytes(), own.serialize_pem().as_bytes())
                .expect("a certificate and its key"),
            authority: authority.pem(),
        }
    }
}

impl Pki {
    /// Settings like those of `client`, that remember no session: each handshake is a full one.
    pub fn forgetful_client(&self) -> Rustls {
        connector(&self.authority)
    }
}

fn connector(authority: &str) -> Rustls {
    let settings = Settings::default().roots(Roots::OnlyGiven).trust_pem(authority.as_bytes());
    settings.expect("an authority").connector()
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}
