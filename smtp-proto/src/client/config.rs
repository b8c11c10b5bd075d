//! How a client behaves.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::remembered::Remembered;
use super::transcript::Transcript;
use crate::command::check_helo;
use crate::dialogue::Grouping;
use crate::extension::{Extensions, check_line};
use crate::limits::Limits;
use crate::{Misuse, sasl};

/// What to do about STARTTLS (RFC 3207).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum StartTls {
    /// Without TLS the session is not opened.
    #[default]
    Required,
    /// TLS where the server offers it. Credentials still never travel in clear.
    IfOffered,
    /// Not said; the stream is secured already, or clear text is wanted.
    Never,
}

/// Fills a buffer with random octets, for mechanisms that need some. A machine has no source of its own.
pub type Entropy = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// How a client behaves.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// The server's name as the user knows it: some mechanisms bind to it.
    pub host: String,
    /// The name given in EHLO: a domain or an address literal.
    pub helo: String,
    /// Whether the server speaks LMTP (RFC 2033): LHLO, and a reply to the message for each accepted recipient.
    pub lmtp: bool,
    /// Whether STARTTLS is said.
    pub starttls: StartTls,
    /// Who is to be authenticated; nobody where `None`.
    pub credentials: Option<sasl::Credentials>,
    /// The mechanisms that may be used.
    pub allowed: sasl::Allowed,
    /// Whether the caller can bring a fresh token when the first is refused; see
    /// [`Event::NeedsToken`](super::Event::NeedsToken).
    pub refresh_token: bool,
    /// How long each phase may take.
    pub limits: Limits,
    /// How eagerly commands are grouped.
    pub grouping: Grouping,
    /// Extensions to be ignored though the server offers them, by EHLO keyword.
    pub without: Vec<String>,
    /// Extensions to be believed though the server does not offer them, or offers them otherwise: lines as they stand in an
    /// answer to EHLO, such as `"PIPELINING"` or `"SIZE 10240000"`.
    pub with: Vec<String>,
    /// What the server was like the last time: where it offers PIPECONNECT, commands leave before its greeting was read.
    pub remembered: Option<Remembered>,
    /// Randomness for SASL; without it only mechanisms that need none may be used.
    pub entropy: Option<Entropy>,
    /// Who listens to the dialogue.
    pub transcript: Option<Transcript>,
}

impl Config {
    /// The defaults, for a server of this name: STARTTLS required, no credentials, `localhost` in EHLO.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            helo: "localhost".into(),
            lmtp: false,
            starttls: StartTls::default(),
            credentials: None,
            allowed: sasl::Allowed::default(),
            refresh_token: false,
            limits: Limits::default(),
            grouping: Grouping::default(),
            without: Vec::new(),
            with: Vec::new(),
            remembered: None,
            entropy: None,
            transcript: None,
        }
    }

    /// Refuses what cannot be said or meant.
    ///
    /// # Errors
    ///
    /// [`Misuse`] for the EHLO name, a limit, or an extension that is to be believed.
    pub fn check(&self) -> Result<(), Misuse> {
        check_helo(&self.helo)?;
        self.with.iter().try_for_each(|line| check_line(line))?;
        self.limits.check()
    }

    /// What is to be believed of an offer.
    pub(super) fn correct(&self, offered: &mut Extensions) {
        for line in &self.with {
            // It was checked before.
            let _ = offered.set(line);
        }
        for keyword in &self.without {
            offered.remove(keyword);
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("host", &self.host)
            .field("helo", &self.helo)
            .field("starttls", &self.starttls)
            .field("credentials", &self.credentials)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
