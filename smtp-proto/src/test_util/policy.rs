//! How the server behaves.
//!
//! The rules of this file: every question of the machine has an answer here. It is for tests: passwords are kept and compared as
//! they are.

use std::string::{String, ToString};
use std::sync::Arc;
use std::time::Duration;
use std::vec::Vec;

use crate::connection::Faults;
use crate::reply::{Code, Reply};
use crate::sasl::server::{Answer, Event as Asked, ScramKeys};
use crate::sasl::{MIN_ITERATIONS, MechanismName, ScramHash};
use crate::server::{Config, Limits};
use crate::{Misuse, Secret, Security};

/// What AUTH offers where there is a user, the strongest first.
const MECHANISMS: [MechanismName; 9] = [
    MechanismName::ScramSha256Plus,
    MechanismName::ScramSha1Plus,
    MechanismName::ScramSha256,
    MechanismName::ScramSha1,
    MechanismName::CramMd5,
    MechanismName::Plain,
    MechanismName::Login,
    MechanismName::OAuthBearer,
    MechanismName::XOAuth2,
];

/// Every extension that the machine has beyond its default, so that nothing is missing that is not taken away.
const EXTENSIONS: [&str; 8] = [
    "BINARYMIME",
    "DSN",
    "REQUIRETLS",
    "DELIVERBY",
    "MT-PRIORITY",
    "FUTURERELEASE 999999999 9999-12-31T23:59:59Z",
    "RRVS",
    "PRDR",
];

/// How the server behaves. By default it offers every extension, in clear and without AUTH, and accepts everything.
#[derive(Clone)]
pub struct Policy {
    pub(super) security: Security,
    users: Vec<(String, Secret)>,
    pub(super) requires_auth: bool,
    pub(super) refused: Vec<(String, Reply)>,
    pub(super) message: Option<Reply>,
    without: Vec<String>,
    max_size: u64,
    pub(super) lmtp: bool,
    pub(super) faults: Faults,
    configure: Arc<dyn Fn(Config) -> Config + Send + Sync>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            security: Security::None,
            users: Vec::new(),
            requires_auth: false,
            refused: Vec::new(),
            message: None,
            without: Vec::new(),
            max_size: 0,
            lmtp: false,
            faults: Faults::default(),
            configure: Arc::new(|config| config),
        }
    }
}

impl Policy {
    /// Accepts everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Offers STARTTLS, with a throw-away certificate for `localhost`, `127.0.0.1` and `::1`.
    #[must_use]
    pub fn starttls(mut self) -> Self {
        self.security = Security::StartTls;
        self
    }

    /// Speaks TLS from the first octet, with such a certificate.
    #[must_use]
    pub fn implicit_tls(mut self) -> Self {
        self.security = Security::Implicit;
        self
    }

    /// Offers AUTH, in clear too, and knows this user; the password is taken for a token, too.
    #[must_use]
    pub fn user(mut self, name: &str, password: impl Into<Secret>) -> Self {
        self.users.push((name.to_string(), password.into()));
        self
    }

    /// Answers MAIL with 530 before AUTH has succeeded (RFC 4954 section 6).
    #[must_use]
    pub fn require_auth(mut self) -> Self {
        self.requires_auth = true;
        self
    }

    /// Refuses a recipient, in any case, with 550 and `5.1.1`.
    #[must_use]
    pub fn refuse_recipient(self, address: &str) -> Self {
        self.answer_recipient(address, reply(550, "5.1.1 No such mailbox"))
    }

    /// Answers the RCPT of a recipient, in any case, with this reply, of 4yz or 5yz.
    #[must_use]
    pub fn answer_recipient(mut self, address: &str, reply: Reply) -> Self {
        self.refused.push((address.to_string(), reply));
        self
    }

    /// Refuses every message, once it is complete, with 550 and `5.7.1`.
    #[must_use]
    pub fn refuse_messages(self) -> Self {
        self.answer_messages(reply(550, "5.7.1 Message refused"))
    }

    /// Answers every message, once it is complete, with this reply, of 4yz or 5yz.
    #[must_use]
    pub fn answer_messages(mut self, reply: Reply) -> Self {
        self.message = Some(reply);
        self
    }

    /// Does not offer an extension: `PIPELINING`, `CHUNKING`, `SIZE`, `AUTH`...
    #[must_use]
    pub fn without(mut self, keyword: &str) -> Self {
        self.without.push(keyword.to_string());
        self
    }

    /// Takes messages up to so many octets.
    #[must_use]
    pub fn max_size(mut self, octets: u64) -> Self {
        self.max_size = octets;
        self
    }

    /// Speaks LMTP.
    #[must_use]
    pub fn lmtp(mut self) -> Self {
        self.lmtp = true;
        self
    }

    /// Waits so long before each time it speaks, the greeting too.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.faults.delay = delay;
        self
    }

    /// Cuts each connection, without a word, once so many octets have come over it.
    #[must_use]
    pub fn cut_after(mut self, octets: u64) -> Self {
        self.faults.cut_after = Some(octets);
        self
    }

    /// Anything else that the machine can be set to; called last, for each connection.
    #[must_use]
    pub fn configure(mut self, configure: impl Fn(Config) -> Config + Send + Sync + 'static) -> Self {
        self.configure = Arc::new(configure);
        self
    }

    pub(super) fn config(&self) -> Result<Config, Misuse> {
        let mut config = EXTENSIONS.into_iter().try_fold(Config::new("localhost")?, Config::with)?;
        config = config.lmtp(self.lmtp).limits(Limits { message: self.max_size, ..Limits::default() });
        if !self.users.is_empty() {
            config = config.mechanisms(MECHANISMS).danger_allow_clear_text_auth(true);
        }
        let config = self.without.iter().fold(config, |config, keyword| config.without(keyword));
        Ok((self.configure)(config))
    }

    pub(super) fn answer(&self, asked: &Asked) -> Answer {
        let password = |user: &str| self.users.iter().find(|(name, _)| name == user).map(|(_, password)| password);
        let verdict = |holds: bool| if holds { Answer::Accept } else { Answer::Refuse };
        match asked {
            // Nobody acts for anybody else (RFC 4616 section 2).
            Asked::Verify { authzid: Some(other), user, .. } | Asked::Lookup { authzid: Some(other), user, .. }
                if other != user =>
            {
                Answer::Refuse
            }
            Asked::Verify { user, password: given, .. } => verdict(password(user) == Some(given)),
            // A token may say by itself whose it is.
            Asked::VerifyToken { user, token } => {
                verdict(self.users.iter().any(|(name, known)| known == token && (user.is_empty() || user == name)))
            }
            Asked::Lookup { user, mechanism, .. } => match (password(user), ScramHash::of(mechanism)) {
                (Some(password), None) => Answer::Password(password.clone()),
                (Some(password), Some(hash)) => {
                    let keys = ScramKeys::derive(hash, password, *b"salt of a test", MIN_ITERATIONS);
                    keys.map_or(Answer::Refuse, Answer::Scram)
                }
                (None, _) => Answer::Refuse,
            },
            _ => Answer::Refuse,
        }
    }
}

impl core::fmt::Debug for Policy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Policy").field("security", &self.security).field("faults", &self.faults).finish_non_exhaustive()
    }
}

pub(super) fn reply(code: u16, text: &str) -> Reply {
    let code = Code::new(code).unwrap_or(Code::BAD_SEQUENCE);
    Reply::new(code, text).unwrap_or_else(|_| Reply::bare(code))
}
