//! A server for the tests of programs that send mail: what it answers, and what it has received.
//!
//! The adapters start it in one line (`smtp_tokio::test_util`, `smtp_blocking::test_util`); what both share is here, without a
//! socket, and can be driven over a wire in memory, too.

mod attendant;
mod policy;

use std::string::{String, ToString};
use std::sync::{Arc, Mutex, PoisonError};
use std::vec::Vec;

pub use attendant::{Attendant, Received};
pub use policy::Policy;

use crate::tls::{Acceptor, Roots, RustlsServer, Settings};
use crate::{Accepted, Misuse, Security};

/// What a test server is, beside its socket: how it behaves, and what has arrived. Shared by its connections.
#[derive(Clone)]
pub struct Desk {
    shared: Arc<Shared>,
    authority: Arc<Authority>,
}

struct Shared {
    policy: Mutex<Policy>,
    received: Mutex<Vec<Received>>,
}

impl Desk {
    /// One that behaves as said.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the policy cannot be kept, or no certificate could be made.
    pub fn new(policy: Policy) -> Result<Self, Misuse> {
        let authority = Arc::new(Authority::new()?);
        policy.config()?;
        let shared = Shared { policy: Mutex::new(policy), received: Mutex::default() };
        Ok(Self { shared: Arc::new(shared), authority })
    }

    /// Behaves otherwise from the next connection on; what kind of TLS there is does not change.
    pub fn set_policy(&self, mut policy: Policy) {
        let mut now = self.shared.policy.lock().unwrap_or_else(PoisonError::into_inner);
        policy.security = now.security;
        *now = policy;
    }

    /// A connection that was accepted, and who answers for it.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the policy cannot be kept.
    pub fn accept(&self) -> Result<(Accepted, Attendant), Misuse> {
        let policy = self.shared.policy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let config = policy.config()?;
        let mut accepted = match policy.security {
            Security::Implicit => Accepted::implicit(config, self.authority.acceptor.clone())?,
            Security::StartTls => Accepted::new(config, Some(self.authority.acceptor.clone()))?,
            _ => Accepted::new(config, None)?,
        };
        accepted.misbehave(policy.faults);
        Ok((accepted, Attendant::new(policy)))
    }

    /// A message has arrived.
    pub fn put(&self, received: Received) {
        self.shared.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
    }

    /// What has arrived so far, in its order.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What has arrived so far, and is forgotten by this.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut *self.shared.received.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The certificate of the authority that has signed the server's, as PEM: whom a client must trust.
    pub fn authority(&self) -> &str {
        &self.authority.pem
    }

    /// What a client of ours needs to reach it at this address: security as the policy says, and trust in its certificate alone.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where TLS cannot be set up.
    pub fn client(&self, address: core::net::SocketAddr) -> Result<crate::Config, Misuse> {
        let policy = self.shared.policy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let trust = Settings::default().roots(Roots::OnlyGiven).trust_pem(self.authority.pem.as_bytes())?;
        let config = crate::Config::new(address.ip().to_string(), address.port());
        Ok(config.security(policy.security).tls(trust.connector()).lmtp(policy.lmtp))
    }
}

impl core::fmt::Debug for Desk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Desk").field("received", &self.received().len()).finish_non_exhaustive()
    }
}

/// A throw-away authority, and a server's certificate signed by it.
struct Authority {
    pem: String,
    acceptor: Arc<dyn Acceptor>,
}

impl Authority {
    fn new() -> Result<Self, Misuse> {
        let failed = |error: rcgen::Error| Misuse::Tls { why: error.to_string() };
        let key = rcgen::KeyPair::generate().map_err(failed)?;
        let mut params = rcgen::CertificateParams::new(Vec::new()).map_err(failed)?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "throw-away authority of a test");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).map_err(failed)?.pem();
        let issuer = rcgen::Issuer::new(params, key);
        let own = rcgen::KeyPair::generate().map_err(failed)?;
        let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
        let params = rcgen::CertificateParams::new(names).map_err(failed)?;
        let chain = params.signed_by(&own, &issuer).map_err(failed)?.pem();
        let acceptor = RustlsServer::from_pem(chain.as_bytes(), own.serialize_pem().as_bytes())?;
        Ok(Self { pem, acceptor: Arc::new(acceptor) })
    }
}
