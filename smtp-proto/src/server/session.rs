//! What a server knows of its client.
//!
//! The rules of this file: facts only, read at leisure; STARTTLS forgets what the client said (RFC 3207 section 4.2).

use alloc::string::String;

use super::Xclient;
use crate::extension::Extensions;
use crate::sasl::MechanismName;

/// What is known of the session at this moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Session {
    pub(super) helo: Option<String>,
    pub(super) extended: bool,
    pub(super) secured: bool,
    pub(super) offered: Extensions,
    pub(super) identity: Option<Identity>,
    pub(super) recipients: usize,
    pub(super) early: bool,
    pub(super) xclient: Option<Xclient>,
}

/// Who the client has proved to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The user name, as the mechanism gives it.
    pub user: String,
    /// As whom the user acts, where the client said so.
    pub authzid: Option<String>,
    /// How it was proved.
    pub mechanism: MechanismName,
}

impl Session {
    /// What the client called itself in EHLO, HELO or LHLO; at most 255 octets.
    pub fn helo(&self) -> Option<&str> {
        self.helo.as_deref()
    }

    /// Whether the client said EHLO or LHLO, and so may use extensions.
    pub fn extended(&self) -> bool {
        self.extended
    }

    /// Whether TLS is up.
    pub fn secured(&self) -> bool {
        self.secured
    }

    /// What the last answer to EHLO or LHLO offered.
    pub fn extensions(&self) -> &Extensions {
        &self.offered
    }

    /// Who the client is, once AUTH has succeeded.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The user name, once AUTH has succeeded.
    pub fn user(&self) -> Option<&str> {
        self.identity.as_ref().map(|identity| identity.user.as_str())
    }

    /// Whether the client spoke before it was greeted, which RFC 5321 section 4.3.1 forbids; a worm that does not listen, most
    /// often. Only known where the greeting is [held](super::Config::hold_greeting): it can then be rejected.
    pub fn spoke_early(&self) -> bool {
        self.early
    }

    /// For whom the client speaks, where it was believed (XCLIENT). STARTTLS does not forget this: the proxy is the same.
    pub fn xclient(&self) -> Option<&Xclient> {
        self.xclient.as_ref()
    }

    /// The recipients accepted in the open transaction; 0 where none is open.
    pub fn recipients(&self) -> usize {
        self.recipients
    }
}
