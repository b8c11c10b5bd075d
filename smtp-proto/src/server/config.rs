//! What a server is, offers and bears.
//!
//! The rules of this file: what is checked is checked here, once; whether an extension is offered is asked here and nowhere
//! else, so that what is offered and what is taken cannot differ.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use super::Limits;
use crate::Misuse;
use crate::command;
use crate::reply::{Code, Reply};
use crate::sasl::MechanismName;

/// The settings of a [`Server`](super::Server).
///
/// By default: ESMTP in clear, greeting at once, offering PIPELINING, 8BITMIME, SMTPUTF8, SIZE, ENHANCEDSTATUSCODES and
/// CHUNKING; no STARTTLS, no AUTH; strict line endings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    pub(super) host: String,
    pub(super) greeting: Option<String>,
    pub(super) holds_greeting: bool,
    pub(super) lmtp: bool,
    pub(super) starttls: bool,
    pub(super) implicit_tls: bool,
    pub(super) mechanisms: Vec<MechanismName>,
    pub(super) clear_text_auth: bool,
    pub(super) bare_line_feeds: bool,
    pub(super) bare_line_endings: bool,
    pub(super) limits: Limits,
    with: Vec<&'static str>,
    without: Vec<String>,
}

/// What can be offered beyond the default.
const OPTIONAL: [&str; 4] = ["BINARYMIME", "DSN", "PIPECONNECT", "REQUIRETLS"];

impl Config {
    /// The defaults, for a server of this name: a domain or an address literal.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the name is empty, longer than 255 octets, or holds a space or a control character.
    pub fn new(host: &str) -> Result<Self, Misuse> {
        command::check_helo(host)?;
        Ok(Self {
            host: host.to_string(),
            greeting: None,
            holds_greeting: false,
            lmtp: false,
            starttls: false,
            implicit_tls: false,
            mechanisms: Vec::new(),
            clear_text_auth: false,
            bare_line_feeds: false,
            bare_line_endings: false,
            limits: Limits::default(),
            with: Vec::new(),
            without: Vec::new(),
        })
    }

    /// The text of the greeting behind the host name, instead of `ESMTP` or `LMTP`.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the text holds a control character; LF begins a further line.
    pub fn greeting(mut self, text: &str) -> Result<Self, Misuse> {
        Reply::new(Code::READY, text)?;
        self.greeting = Some(text.to_string());
        Ok(self)
    }

    /// Whether the greeting waits for [`Server::decision`](super::Server::decision): the session begins with that question.
    #[must_use]
    pub fn hold_greeting(mut self, hold: bool) -> Self {
        self.holds_greeting = hold;
        self
    }

    /// Whether to speak LMTP (RFC 2033): LHLO, and one reply for each recipient after the message.
    #[must_use]
    pub fn lmtp(mut self, lmtp: bool) -> Self {
        self.lmtp = lmtp;
        self
    }

    /// Whether the owner can bring TLS up, so that STARTTLS is offered (RFC 3207).
    #[must_use]
    pub fn starttls(mut self, available: bool) -> Self {
        self.starttls = available;
        self
    }

    /// Whether TLS is up before the greeting (RFC 8314): STARTTLS is then not offered.
    #[must_use]
    pub fn implicit_tls(mut self, active: bool) -> Self {
        self.implicit_tls = active;
        self
    }

    /// The mechanisms that AUTH offers, in this order (RFC 4954); none by default, and AUTH is not offered then.
    ///
    /// One that this build does not have can be brought by [`Authentication::begin_with`](super::Authentication::begin_with).
    #[must_use]
    pub fn mechanisms(mut self, mechanisms: impl IntoIterator<Item = MechanismName>) -> Self {
        self.mechanisms = mechanisms.into_iter().collect();
        self
    }

    /// Whether mechanisms that give the secret away are offered without TLS too. By default they are refused with 538.
    #[must_use]
    pub fn danger_allow_clear_text_auth(mut self, allow: bool) -> Self {
        self.clear_text_auth = allow;
        self
    }

    /// Whether a bare LF ends a command too. By default it is refused with 500.
    ///
    /// RFC 5321 section 2.3.8 knows CRLF only, and two programs that disagree on where a line ends can be played against
    /// each other; the setting is for people at terminals.
    #[must_use]
    pub fn bare_line_feeds_in_commands(mut self, allow: bool) -> Self {
        self.bare_line_feeds = allow;
        self
    }

    /// Whether bare CR and LF in a message are handed out as they are. By default the message is refused with 550 at its
    /// end. Either way only CRLF.CRLF ends it.
    #[must_use]
    pub fn bare_line_endings_in_content(mut self, allow: bool) -> Self {
        self.bare_line_endings = allow;
        self
    }

    /// What one client may cost.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Offers one more extension, and takes its parameters: `BINARYMIME` (RFC 3030), `DSN` (RFC 3461), `REQUIRETLS`
    /// (RFC 8689; offered under TLS only), `PIPECONNECT` (Exim: commands may come before the greeting; they wait for it here). What
    /// they promise is the owner's to keep.
    ///
    /// # Errors
    ///
    /// [`Misuse::NotOffered`] for any other keyword.
    pub fn with(mut self, keyword: &str) -> Result<Self, Misuse> {
        let known = OPTIONAL.into_iter().find(|known| known.eq_ignore_ascii_case(keyword));
        self.with.push(known.ok_or(Misuse::NotOffered { extension: "BINARYMIME, DSN, PIPECONNECT or REQUIRETLS" })?);
        Ok(self)
    }

    /// Does not offer this extension, and does not take what belongs to it; a keyword that means nothing here is ignored.
    #[must_use]
    pub fn without(mut self, keyword: &str) -> Self {
        self.without.push(keyword.to_ascii_uppercase());
        self
    }

    /// The name given to [`Self::new`].
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the extension is there at this moment; `keyword` in upper case.
    pub(super) fn offers(&self, keyword: &str, secured: bool) -> bool {
        if self.withholds(keyword) {
            return false;
        }
        match keyword {
            "PIPELINING" | "8BITMIME" | "SMTPUTF8" | "SIZE" | "ENHANCEDSTATUSCODES" | "CHUNKING" => true,
            "STARTTLS" => self.starttls && !secured,
            "AUTH" => self.mechanisms.iter().any(|one| self.permits(one, secured)),
            "REQUIRETLS" => secured && self.with.contains(&keyword),
            // It can be sent by BDAT only (RFC 3030 section 3).
            "BINARYMIME" => self.with.contains(&keyword) && self.offers("CHUNKING", secured),
            _ => self.with.contains(&keyword),
        }
    }

    /// Whether the extension was switched off.
    pub(super) fn withholds(&self, keyword: &str) -> bool {
        self.without.iter().any(|one| one == keyword)
    }

    /// Whether the mechanism may be used on a channel that is secured, or not: without TLS there is nothing to bind to.
    pub(super) fn permits(&self, mechanism: &MechanismName, secured: bool) -> bool {
        secured || !mechanism.binds_channel() && (self.clear_text_auth || !mechanism.reveals_secret())
    }

    /// The text of the answer to EHLO or LHLO; `client` is what it called itself, checked.
    pub(super) fn offer(&self, client: &str, secured: bool) -> String {
        const ORDER: [&str; 12] = [
            "PIPELINING",
            "PIPECONNECT",
            "SIZE",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "CHUNKING",
            "BINARYMIME",
            "DSN",
            "REQUIRETLS",
            "STARTTLS",
            "AUTH",
        ];
        let mut text = [&self.host, " greets ", client].concat();
        for keyword in ORDER.into_iter().filter(|keyword| self.offers(keyword, secured)) {
            text.push('\n');
            text.push_str(keyword);
            match keyword {
                "SIZE" => {
                    let _ = write!(text, " {}", self.limits.message); // a String takes everything
                }
                "AUTH" => {
                    for mechanism in self.mechanisms.iter().filter(|one| self.permits(one, secured)) {
                        text.push(' ');
                        text.push_str(mechanism.as_str());
                    }
                }
                _ => {}
            }
        }
        text
    }
}
