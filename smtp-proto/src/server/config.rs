//! What a server is, offers and bears.
//!
//! The rules of this file: what is checked is checked here, once; whether an extension is offered is asked here and nowhere
//! else, so that what is offered and what is taken cannot differ.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use super::{Limits, xclient};
use crate::Misuse;
use crate::command::{self, Parameter};
use crate::parameter::Moment;
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
    pub(crate) limits: Limits,
    asks: Vec<Ask>,
    xclient: bool,
    with: Vec<Offer>,
    without: Vec<String>,
    /// What belongs to extensions of the owner's.
    own_parameters: Vec<String>,
}

/// One extension beyond the default.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Offer {
    /// In upper case.
    keyword: String,
    words: String,
}

/// Questions that are asked only where somebody wants to answer them; the machine has an answer of its own else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Ask {
    /// May the message come? Asked at DATA, before 354. By default it may.
    Data,
    /// VRFY. By default 252: cannot verify.
    Verify,
    /// EXPN. By default 502: not implemented.
    Expand,
    /// HELP. By default 214 and no help.
    Help,
    /// Verbs that the machine does not know. By default 500: unknown.
    Unknown,
}

/// What can be offered beyond the default.
const OPTIONAL: [&str; 14] = [
    "BINARYMIME",
    "DSN",
    "PIPECONNECT",
    "REQUIRETLS",
    "DELIVERBY",
    "MT-PRIORITY",
    "FUTURERELEASE",
    "RRVS",
    "PRDR",
    "LIMITS",
    "ETRN",
    "VRFY",
    "EXPN",
    "HELP",
];

/// What has a setting of its own, or is always there.
const BASIC: [&str; 9] =
    ["PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "STARTTLS", "AUTH", "XCLIENT"];

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
            asks: Vec::new(),
            xclient: false,
            with: Vec::new(),
            without: Vec::new(),
            own_parameters: Vec::new(),
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
    /// `-PLUS` mechanisms are offered under TLS only, and only where there is a name to bind to
    /// ([`Server::without_channel_binding`](super::Server::without_channel_binding)): with rustls that is `tls-exporter` under TLS
    /// 1.3, and `tls-server-end-point` where the server's certificate has one, which is all there is under TLS 1.2. A client that
    /// binds to `tls-unique` (RFC 5929 section 3), as RFC 5802 has it by default there, is answered with 535.
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

    /// Which questions are asked beside those that always are.
    #[must_use]
    pub fn ask(mut self, what: impl IntoIterator<Item = Ask>) -> Self {
        self.asks = what.into_iter().collect();
        self
    }

    /// Whether clients may say for whom they speak (XCLIENT, an extension of Postfix's), each time with the owner's consent.
    /// For proxies that are known by their address, and for nobody else: who may say XCLIENT can be anybody.
    #[must_use]
    pub fn permit_xclient(mut self, permit: bool) -> Self {
        self.xclient = permit;
        self
    }

    /// Offers one more extension, as EHLO shows it: the keyword, and the words behind it, where there are some. Its parameters
    /// are then taken and checked; what it promises is the owner's to keep, and what its words limit the owner's to check.
    ///
    /// | line | |
    /// |---|---|
    /// | `BINARYMIME` | RFC 3030; offered with CHUNKING only |
    /// | `DSN` | RFC 3461 |
    /// | `PIPECONNECT` | Exim: commands may come before the greeting; they wait for it here |
    /// | `REQUIRETLS` | RFC 8689; offered under TLS only |
    /// | `DELIVERBY`, `DELIVERBY 60` | RFC 2852: the least time in seconds |
    /// | `MT-PRIORITY`, `MT-PRIORITY MIXER` | RFC 6710: the profile of priorities |
    /// | `FUTURERELEASE 86400 2030-01-01T00:00:00Z` | RFC 4865: for how long at most, and until when |
    /// | `RRVS` | RFC 7293 |
    /// | `PRDR` | draft-hall-prdr-00, Exim: each recipient's word on the message; not in LMTP, which has it anyway |
    /// | `LIMITS` | RFC 9422: [`Limits::recipients`] as RCPTMAX |
    /// | `ETRN` | RFC 1985; each ETRN is a question |
    /// | `VRFY`, `EXPN`, `HELP` | RFC 5321: that they do something, see [`Self::ask`] |
    ///
    /// # Errors
    ///
    /// [`Misuse::NotOffered`] for any other keyword; [`Misuse::Malformed`] where the words do not fit.
    pub fn with(mut self, line: &str) -> Result<Self, Misuse> {
        let (keyword, words) = line.split_once(' ').unwrap_or((line, ""));
        let keyword = keyword.to_ascii_uppercase();
        if !OPTIONAL.contains(&keyword.as_str()) {
            return Err(Misuse::NotOffered { extension: "an optional extension that this server knows" });
        }
        let lawful = match (keyword.as_str(), words) {
            ("FUTURERELEASE", words) => words.split_once(' ').is_some_and(|(interval, moment)| {
                interval.parse::<u32>().is_ok_and(|seconds| seconds <= 999_999_999) && Moment::new(moment).is_ok()
            }),
            (_, "") => true,
            ("DELIVERBY", words) => words.len() <= 9 && words.parse::<u32>().is_ok(),
            ("MT-PRIORITY", words) => words.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-'),
            _ => false,
        };
        if !lawful {
            return Err(Misuse::Malformed { what: "words behind an EHLO keyword" });
        }
        self.offer_also(keyword, words);
        Ok(self)
    }

    /// Offers an extension of the owner's, as EHLO shows it; these parameters of MAIL and RCPT are then taken as they come, and
    /// verbs of its own are asked about where [`Ask::Unknown`] is set.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the line or a keyword cannot be said, or is one that the machine looks after itself.
    pub fn with_own(mut self, line: &str, parameters: &[&str]) -> Result<Self, Misuse> {
        let (keyword, words) = line.split_once(' ').unwrap_or((line, ""));
        let keyword = Parameter::new(keyword, None)?.keyword().to_string();
        Reply::new(Code::OK, words)?;
        let known = |keyword: &str| BASIC.contains(&keyword) || OPTIONAL.contains(&keyword);
        if known(&keyword) || words.contains('\n') {
            return Err(Misuse::Malformed { what: "EHLO keyword of one's own" });
        }
        for one in parameters {
            self.own_parameters.push(Parameter::new(one, None)?.keyword().to_string());
        }
        self.offer_also(keyword, words);
        Ok(self)
    }

    fn offer_also(&mut self, keyword: String, words: &str) {
        self.with.retain(|one| one.keyword != keyword);
        self.with.push(Offer { keyword, words: words.to_string() });
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

    pub(super) fn asks(&self, what: Ask) -> bool {
        self.asks.contains(&what)
    }

    /// Whether a parameter belongs to an extension of the owner's; `keyword` in upper case.
    pub(super) fn takes_own(&self, keyword: &str) -> bool {
        self.own_parameters.iter().any(|one| one == keyword)
    }

    /// Whether the extension is there at this moment; `keyword` in upper case.
    pub(super) fn offers(&self, keyword: &str, secured: bool) -> bool {
        if self.withholds(keyword) {
            return false;
        }
        let with = |keyword: &str| self.with.iter().any(|one| one.keyword == keyword);
        match keyword {
            "PIPELINING" | "8BITMIME" | "SIZE" | "ENHANCEDSTATUSCODES" | "CHUNKING" => true,
            // Who offers it must offer 8BITMIME, too (RFC 6531 section 3.1).
            "SMTPUTF8" => self.offers("8BITMIME", secured),
            "STARTTLS" => self.starttls && !secured,
            "AUTH" => self.mechanisms.iter().any(|one| self.permits(one, secured)),
            "XCLIENT" => self.xclient,
            "REQUIRETLS" => secured && with(keyword),
            "PRDR" => with(keyword) && !self.lmtp,
            // It can be sent by BDAT only (RFC 3030 section 3).
            "BINARYMIME" => with(keyword) && self.offers("CHUNKING", secured),
            _ => with(keyword),
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
        let (before, behind) = BASIC.split_at(6);
        let known = before.iter().chain(&OPTIONAL).chain(behind).copied();
        let own = self.with.iter().map(|one| one.keyword.as_str()).filter(|keyword| !OPTIONAL.contains(keyword));
        let mut text = [&self.host, " greets ", client].concat();
        for keyword in known.chain(own).filter(|keyword| self.offers(keyword, secured)) {
            text.push('\n');
            text.push_str(keyword);
            // A String takes everything.
            let _ = match keyword {
                "SIZE" => write!(text, " {}", self.limits.message),
                "LIMITS" => write!(text, " RCPTMAX={}", self.limits.recipients),
                "XCLIENT" => write!(text, " {}", xclient::ATTRIBUTES),
                "AUTH" => {
                    let permitted = |one: &&MechanismName| self.permits(one, secured);
                    self.mechanisms.iter().filter(permitted).try_for_each(|mechanism| write!(text, " {mechanism}"))
                }
                _ => {
                    let words = self.with.iter().filter(|one| one.keyword == keyword && !one.words.is_empty());
                    words.into_iter().try_for_each(|one| write!(text, " {}", one.words))
                }
            };
        }
        text
    }
}
