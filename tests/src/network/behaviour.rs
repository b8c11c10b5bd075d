//! How an address and port behave, in a test's words.

use std::sync::Arc;
use std::time::Duration;

use smtp_proto::tls;

/// How an address and port behave.
#[derive(Clone)]
pub enum Behaviour {
    /// Nothing ever comes back.
    Dead,
    /// A reset answers.
    Refuses,
    /// A server; it greets after so long.
    Server {
        /// TLS first.
        implicit: bool,
        /// With TLS by its certificate: STARTTLS, or from the first octet.
        acceptor: Option<Arc<dyn tls::Acceptor>>,
        /// How long it takes to greet.
        greets_after: Duration,
        /// How long the handshake of TCP takes beyond a round trip.
        slow: Duration,
    },
    /// Accepts, and never says a word.
    Silent,
    /// Accepts, and closes.
    Closes,
    /// Accepts, listens, and closes at the first octet.
    Resets,
    /// Accepts, and answers the first octet with this, then closes.
    Answers(&'static str),
    /// Accepts, and has an answer for each thing that is said; `None` closes.
    Script(&'static [Option<&'static str>]),
}

impl Behaviour {
    /// In clear, without STARTTLS.
    pub fn clear() -> Self {
        Self::Server { implicit: false, acceptor: None, greets_after: Duration::ZERO, slow: Duration::ZERO }
    }

    /// In clear, with STARTTLS.
    pub fn starttls(acceptor: &Arc<dyn tls::Acceptor>) -> Self {
        Self::Server {
            implicit: false,
            acceptor: Some(acceptor.clone()),
            greets_after: Duration::ZERO,
            slow: Duration::ZERO,
        }
    }

    /// TLS from the first octet.
    pub fn implicit(acceptor: &Arc<dyn tls::Acceptor>) -> Self {
        Self::Server {
            implicit: true,
            acceptor: Some(acceptor.clone()),
            greets_after: Duration::ZERO,
            slow: Duration::ZERO,
        }
    }

    /// The same, greeting late.
    #[must_use]
    pub fn greeting_after(self, wait: Duration) -> Self {
        match self {
            Self::Server { implicit, acceptor, slow, .. } => {
                Self::Server { implicit, acceptor, greets_after: wait, slow }
            }
            other => other,
        }
    }

    /// The same, late to answer at all.
    #[must_use]
    pub fn slow(self, wait: Duration) -> Self {
        match self {
            Self::Server { implicit, acceptor, greets_after, .. } => {
                Self::Server { implicit, acceptor, greets_after, slow: wait }
            }
            other => other,
        }
    }
}
