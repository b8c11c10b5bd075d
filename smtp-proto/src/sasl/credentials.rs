//! Who the user is and how it is proved.
//!
//! The rules of this file: secrets are [`Secret`]; nothing is checked here, since each mechanism has its own grammar and
//! says [`Misuse`](super::Misuse) where a value does not fit it.

use alloc::string::String;
use core::fmt;

use proxy_proto::Secret;

use super::MechanismName;

/// Who the user is and how it is proved. `Debug` shows the kind and the names, never a secret.
///
/// ```
/// use smtp_proto::sasl::Credentials;
///
/// let own = Credentials::password("tim", "tanstaaftanstaaf");
/// let on_behalf = Credentials::password("admin", "hunter2").authzid("tim");
/// assert!(!format!("{on_behalf:?}").contains("hunter2"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(super) proof: Proof,
    pub(super) authzid: Option<String>,
    pub(super) domain: Option<String>,
    pub(super) workstation: Option<String>,
    pub(super) file_time: u64,
    pub(super) port: Option<u16>,
    pub(super) login_inline: bool,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Proof {
    Password { user: String, password: Secret },
    Token { user: String, token: Secret },
    External,
    Anonymous { trace: String },
}

impl Credentials {
    const fn of(proof: Proof) -> Self {
        Self { proof, authzid: None, domain: None, workstation: None, file_time: 0, port: None, login_inline: false }
    }

    /// The same user with another token; credentials of another kind stay as they are.
    pub(crate) fn with_token(mut self, fresh: Secret) -> Self {
        if let Proof::Token { token, .. } = &mut self.proof {
            *token = fresh;
        }
        self
    }

    /// What must never be shown, where there is any.
    pub(crate) fn secret(&self) -> Option<&Secret> {
        match &self.proof {
            Proof::Password { password: secret, .. } | Proof::Token { token: secret, .. } => Some(secret),
            Proof::External | Proof::Anonymous { .. } => None,
        }
    }

    /// A user name (the authentication identity) and its password.
    pub fn password(user: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self::of(Proof::Password { user: user.into(), password: password.into() })
    }

    /// A user name and an OAuth 2.0 access token, without the word `Bearer`.
    pub fn token(user: impl Into<String>, token: impl Into<Secret>) -> Self {
        Self::of(Proof::Token { user: user.into(), token: token.into() })
    }

    /// An identity proved below SASL, by a client certificate say; empty for the one that the server derives from it.
    pub fn external(authzid: impl Into<String>) -> Self {
        Self::of(Proof::External).authzid(authzid)
    }

    /// Nobody, leaving a trace: an address or any token of up to 255 characters (RFC 4505 section 2); may be empty.
    pub fn anonymous(trace: impl Into<String>) -> Self {
        Self::of(Proof::Anonymous { trace: trace.into() })
    }

    /// Acts as this identity, where it is not the one that the secret proves; empty is none.
    ///
    /// Mechanisms that cannot carry it (CRAM-MD5, LOGIN, NTLM) are then not selected.
    #[must_use]
    pub fn authzid(mut self, authzid: impl Into<String>) -> Self {
        self.authzid = Some(authzid.into()).filter(|id| !id.is_empty());
        self
    }

    /// The NTLM domain; for DIGEST-MD5 the realm to pick where the server offers several.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// The NTLM workstation name; empty by default.
    #[must_use]
    pub fn workstation(mut self, workstation: impl Into<String>) -> Self {
        self.workstation = Some(workstation.into());
        self
    }

    /// The time of day for NTLM, in units of 100 ns since 1601, for old servers that do not tell theirs; 0 by default.
    #[must_use]
    pub const fn file_time(mut self, file_time: u64) -> Self {
        self.file_time = file_time;
        self
    }

    /// The server's port, which OAUTHBEARER can tell it (RFC 7628 section 3.1); left out by default.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Makes LOGIN put the user name into its initial response, for servers that want `AUTH LOGIN <name>`.
    ///
    /// Off by default, since servers that ignore it are as common; one that asks for the name after all gets it again.
    #[must_use]
    pub const fn login_inline(mut self, inline: bool) -> Self {
        self.login_inline = inline;
        self
    }

    /// Whether a mechanism can carry these credentials, the authorization identity included.
    pub fn drives(&self, name: &MechanismName) -> bool {
        use MechanismName as M;
        match &self.proof {
            Proof::Password { .. } => match name {
                M::External | M::Anonymous | M::OAuthBearer | M::XOAuth2 | M::Other(_) => false,
                M::CramMd5 | M::Login | M::Ntlm => self.authzid.is_none(),
                _ => true,
            },
            Proof::Token { .. } => matches!(name, M::OAuthBearer | M::XOAuth2),
            Proof::External => matches!(name, M::External),
            Proof::Anonymous { .. } => matches!(name, M::Anonymous),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, user) = match &self.proof {
            Proof::Password { user, .. } => ("password", Some(user)),
            Proof::Token { user, .. } => ("token", Some(user)),
            Proof::External => ("external", None),
            Proof::Anonymous { trace } => ("anonymous", Some(trace)),
        };
        f.debug_struct("Credentials").field("kind", &kind).field("user", &user).field("authzid", &self.authzid).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn debug_shows_names_but_no_secret() {
        let shown = format!("{:?}", Credentials::password("tim", "hunter2").authzid("bob"));
        assert!(shown.contains("tim") && shown.contains("bob") && !shown.contains("hunter2"), "{shown}");
        assert!(!format!("{:?}", Credentials::token("tim", "hunter2")).contains("hunter2"));
    }

    #[test]
    fn an_authzid_rules_out_what_cannot_carry_it() {
        let plain = Credentials::password("tim", "x");
        let acting = plain.clone().authzid("bob");
        for name in [MechanismName::CramMd5, MechanismName::Login, MechanismName::Ntlm] {
            assert!(plain.drives(&name) && !acting.drives(&name), "{name}");
        }
        assert!(acting.drives(&MechanismName::Plain) && acting.drives(&MechanismName::ScramSha256));
    }

    #[test]
    fn debug_tells_the_kinds_apart() {
        let shown = |credentials: Credentials| format!("{credentials:?}");
        let external = shown(Credentials::external("bob"));
        assert!(external.contains("external") && external.contains("bob"), "{external}");
        let anonymous = shown(Credentials::anonymous("sirhc"));
        assert!(anonymous.contains("anonymous") && anonymous.contains("sirhc"), "{anonymous}");
    }
}
