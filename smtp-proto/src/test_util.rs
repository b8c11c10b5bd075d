//! A server for the tests of programs that send mail: what it answers, and what it has received.
//!
//! The adapters start it in one line (`smtp_tokio::test_util`, `smtp_blocking::test_util`); what both share is here, without a
//! socket, and can be driven over a wire in memory, too.
//!
//! The rules of this file: every question of the machine has an answer in the [`Policy`]; a message is told of once, when its
//! last octet has come and it was accepted. It is for tests: passwords are kept and compared as they are, nonces are counted.

use std::string::{String, ToString};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::vec::Vec;

use crate::command::{ForwardPath, ReversePath};
use crate::connection::Faults;
use crate::parameter::{MailParameters, RcptParameters};
use crate::reply::{Code, Reply};
use crate::sasl::server::{Answer, Event as Asked, ScramKeys};
use crate::sasl::{MIN_ITERATIONS, MechanismName, ScramHash};
use crate::server::{Config, Event, Identity, Limits};
use crate::tls::{Acceptor, Facts, Roots, RustlsServer, Settings};
use crate::{Accepted, Misuse, Secret, Security};

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
const EXTENSIONS: [&str; 7] = [
    "BINARYMIME",
    "DSN",
    "REQUIRETLS",
    "DELIVERBY",
    "MT-PRIORITY",
    "FUTURERELEASE 999999999 9999-12-31T23:59:59Z",
    "RRVS",
];

/// How the server behaves. By default it offers every extension, in clear and without AUTH, and accepts everything.
#[derive(Clone)]
pub struct Policy {
    security: Security,
    users: Vec<(String, Secret)>,
    requires_auth: bool,
    refused: Vec<(String, Reply)>,
    message: Option<Reply>,
    without: Vec<String>,
    max_size: u64,
    lmtp: bool,
    faults: Faults,
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

    fn config(&self) -> Result<Config, Misuse> {
        let mut config = EXTENSIONS.into_iter().try_fold(Config::new("localhost")?, Config::with)?;
        config = config.lmtp(self.lmtp).limits(Limits { message: self.max_size, ..Limits::default() });
        if !self.users.is_empty() {
            config = config.mechanisms(MECHANISMS).danger_allow_clear_text_auth(true);
        }
        let config = self.without.iter().fold(config, |config, keyword| config.without(keyword));
        Ok((self.configure)(config))
    }

    fn answer(&self, asked: &Asked) -> Answer {
        let password = |user: &str| self.users.iter().find(|(name, _)| name == user).map(|(_, password)| password);
        let verdict = |holds: bool| if holds { Answer::Accept } else { Answer::Refuse };
        match asked {
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

fn reply(code: u16, text: &str) -> Reply {
    let code = Code::new(code).unwrap_or(Code::BAD_SEQUENCE);
    Reply::new(code, text).unwrap_or_else(|_| Reply::bare(code))
}

/// A message that was accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Received {
    /// MAIL's path.
    pub from: ReversePath,
    /// MAIL's parameters.
    pub parameters: MailParameters,
    /// The accepted recipients, with RCPT's parameters.
    pub recipients: Vec<(ForwardPath, RcptParameters)>,
    /// What the client called itself.
    pub helo: String,
    /// What TLS agreed on, where there was TLS.
    pub tls: Option<Facts>,
    /// Who has authenticated.
    pub identity: Option<Identity>,
    /// The message's octets, unstuffed.
    pub octets: Vec<u8>,
}

impl Received {
    /// The message as text, for comparisons; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.octets).into_owned()
    }

    /// The addresses of the accepted recipients.
    pub fn to(&self) -> Vec<&str> {
        self.recipients.iter().map(|(path, _)| path.as_str()).collect()
    }

    /// The name of the user who has authenticated.
    pub fn user(&self) -> Option<&str> {
        self.identity.as_ref().map(|identity| identity.user.as_str())
    }
}

/// One connection's part in it: answers what the machine asks.
pub struct Attendant {
    policy: Policy,
    message: Option<Received>,
}

impl Attendant {
    /// Answers one event, every question that it brings; gives a message where that was its end and it was accepted.
    ///
    /// Where this is wanted, each event of [`Accepted::poll`] goes through here.
    pub fn attend(&mut self, connection: &mut Accepted, event: Event) -> Option<Received> {
        match event {
            Event::Mail { from, parameters } => self.mail(connection, from, parameters),
            Event::Recipient { to, parameters } => {
                let refused = self.policy.refused.iter().find(|(one, _)| one.eq_ignore_ascii_case(to.as_str()));
                match refused {
                    Some((_, reply)) => refuse(connection, reply),
                    None => self.message.as_mut().map_or((), |message| message.recipients.push((to, parameters))),
                }
            }
            Event::Content { octets, last } => {
                if let Some(message) = &mut self.message {
                    message.octets.extend_from_slice(&octets);
                }
                if last {
                    return self.complete(connection);
                }
            }
            Event::Abandoned(_) => self.message = None,
            Event::Authenticate { .. } => begin(connection),
            Event::Credentials(asked) => {
                let answer = self.policy.answer(&asked);
                let answered = connection.credentials().map(|question| question.answer(answer));
                if !matches!(answered, Some(Ok(()))) {
                    // The mechanism cannot take such an answer; a refusal it always can.
                    let _ = connection.credentials().map(|question| question.answer(Answer::Refuse));
                }
            }
            _ => {}
        }
        while let Some(decision) = connection.decision() {
            decision.accept();
        }
        None
    }

    fn mail(&mut self, connection: &mut Accepted, from: ReversePath, parameters: MailParameters) {
        let session = connection.session();
        let identity = session.identity().cloned();
        if self.policy.requires_auth && identity.is_none() {
            return refuse(connection, &reply(530, "5.7.0 Authentication required"));
        }
        let helo = session.helo().unwrap_or_default().to_string();
        let tls = connection.tls().cloned();
        self.message =
            Some(Received { from, parameters, recipients: Vec::new(), helo, tls, identity, octets: Vec::new() });
    }

    /// Settles a message that is complete; in LMTP for each recipient.
    fn complete(&mut self, connection: &mut Accepted) -> Option<Received> {
        let message = self.message.take();
        while let Some(decision) = connection.decision() {
            match &self.policy.message {
                Some(reply) => {
                    if decision.refuse(reply).is_err() {
                        let _ = connection.decision().map(|decision| decision.reject());
                    }
                }
                None => decision.accept(),
            }
        }
        message.filter(|_| self.policy.message.is_none())
    }
}

fn refuse(connection: &mut Accepted, reply: &Reply) {
    let refused = connection.decision().map(|decision| decision.refuse(reply));
    if matches!(refused, Some(Err(_))) {
        // A reply that is no refusal was given for one: it is meant as one all the same.
        let _ = connection.decision().map(|decision| decision.reject());
    }
}

fn begin(connection: &mut Accepted) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut nonce = [0x5a; 24];
    nonce[..8].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let channel = connection.tls().map_or_else(crate::sasl::Channel::clear, Facts::channel);
    let begun = connection.authentication().map(|question| question.begin(&channel, nonce));
    if !matches!(begun, Some(Ok(()))) {
        let _ = connection.authentication().map(|question| question.refuse(&reply(454, "4.7.0 Not now")));
    }
}

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
    pub fn set_policy(&self, policy: Policy) {
        let mut now = self.shared.policy.lock().unwrap_or_else(PoisonError::into_inner);
        let security = now.security;
        *now = Policy { security, ..policy };
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
        Ok((accepted, Attendant { policy, message: None }))
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
