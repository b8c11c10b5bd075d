//! What a [`Config`] means for one connection: who is dialled, who speaks first, and what is asked of TLS.

use alloc::sync::Arc;

use super::{Config, Security};
use crate::client::{self, StartTls};
use crate::dial::Mode;

/// How the conversation with the server itself begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::connection) enum Opening {
    Clear,
    Tls,
    /// Whoever speaks first decides.
    Listen,
}

impl Config {
    pub(in crate::connection) fn client(&self) -> &Arc<client::Config> {
        &self.client
    }

    /// What the client is told about STARTTLS; `Auto` has settled the rest below it.
    pub(in crate::connection) fn starttls(&self) -> StartTls {
        match self.security {
            Security::StartTls => StartTls::Required,
            Security::Auto if self.hinted == Some(Mode::StartTls) => StartTls::Required,
            Security::Auto | Security::StartTlsIfOffered => StartTls::IfOffered,
            Security::Implicit | Security::None => StartTls::Never,
        }
    }

    /// What is dialled, or asked of the last proxy.
    pub(in crate::connection) fn destination(&self) -> &str {
        let host = self.address.as_deref().unwrap_or(self.host());
        host.trim_start_matches('[').trim_end_matches(']')
    }

    pub(in crate::connection) fn opening(&self) -> Opening {
        match self.security {
            Security::Implicit => Opening::Tls,
            Security::Auto if self.hinted == Some(Mode::Implicit) => Opening::Tls,
            Security::Auto if self.hinted.is_some() => Opening::Clear,
            Security::Auto if self.port == 465 => Opening::Tls,
            Security::Auto if self.connector.is_some() => Opening::Listen,
            _ => Opening::Clear,
        }
    }

    /// Does TLS come first because that is the likelier guess, not because it must?
    pub(crate) fn guesses_tls(&self) -> bool {
        self.security == Security::Auto && self.opening() == Opening::Tls
    }

    /// Is TLS the first thing that is said to the server?
    pub(crate) fn tls_first(&self) -> bool {
        self.opening() == Opening::Tls
    }

    /// Is there somebody who begins TLS sessions?
    pub(crate) fn has_tls(&self) -> bool {
        self.connector.is_some()
    }

    /// Whether the server speaks LMTP.
    pub(crate) fn is_lmtp(&self) -> bool {
        self.client.lmtp
    }

    /// What an earlier session has found.
    pub(crate) fn hinted(&self) -> Option<Mode> {
        self.hinted.filter(|_| self.security == Security::Auto)
    }

    /// The same, where it has turned out that the server speaks first, and in clear.
    pub(crate) fn clear_first(self) -> Self {
        let required = self.hinted.is_some_and(|mode| mode != Mode::None);
        self.security(if required { Security::StartTls } else { Security::StartTlsIfOffered })
    }

    /// The same at a port that was not known.
    pub(crate) fn at_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    pub(in crate::connection) fn server_name(&self) -> &str {
        let host = self.client.host.trim_start_matches('[').trim_end_matches(']');
        self.tls_name.as_deref().unwrap_or(host)
    }
}
