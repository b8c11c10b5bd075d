//! The client's part of the dialogue (RFC 5321), as a machine.
//!
//! The rules of this room:
//!
//! - The session opens by itself: greeting, EHLO (HELO where that is refused), STARTTLS and EHLO again, AUTH; then it is
//!   [`Ready`](Event::Ready). The caller's messages and commands wait until then.
//! - What a server said before TLS is forgotten when TLS stands (RFC 3207 section 4.2).
//! - 4yz and 5yz are answers, and come as events. What ends the session is an [`Error`].
//! - It knows no stream, no TLS and no proxy: that is the business of [`Connection`](crate::Connection), which is what most
//!   callers want.

mod auth;
mod body;
mod config;
mod early;
mod envelope;
mod event;
mod extended;
mod framing;
mod hear;
mod machine;
mod parts;
mod recording;
mod remembered;
mod replay;
mod report;
mod report_display;
mod require;
mod say;
mod stage;
mod transaction;
mod transcript;
mod urls;
mod verdict;
mod work;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use proxy_proto::{Deadline, Instant, Phase, Secret};

pub use body::Body;
pub use config::{Config, Entropy, StartTls};
pub use envelope::Envelope;
pub use event::{CommandId, Event, TransactionId};
pub use extended::{BodyKind, DeliverBy, Notify, Ret};
pub use recording::{Entry, NotARecording, Recording, Said};
pub use remembered::Remembered;
pub use replay::{Deviation, Replayed, replay};
pub use report::{Outcome, Recipient, Report};
pub use require::Require;
pub use transcript::{Line, Transcript};
pub use urls::ContentUrl;

use crate::connection::Seal;
use crate::dialogue::{Dialogue, Grouping};
use crate::error::{Cause, Error};
use crate::extension::Extensions;
use crate::limits::Limits;
use crate::reply::{Reply, ReplyLimits, ReplyReader};
use crate::sasl::{Channel, MechanismName};
use crate::{Misuse, phase};

use auth::Exchange;
use early::Early;
use stage::{Owed, Stage};
use transaction::{Next, Transaction};
use work::Work;

/// The client of one session. See the [module](self).
///
/// Holds a reply that is not complete yet (bounded by [`ReplyLimits`]), the server's offer, and the caller's own
/// envelopes and commands until they are answered.
pub struct Client {
    config: Arc<Config>,
    /// Whether STARTTLS is still to be said.
    starttls: StartTls,
    stage: Stage,
    reader: ReplyReader,
    dialogue: Dialogue<Owed>,
    /// When the operation under way began: becoming ready, or a message.
    operation_since: Option<Instant>,
    /// Since when a reply has been coming in that nothing asked for.
    unasked_since: Option<Instant>,
    channel: Channel,
    greeting: Option<Reply>,
    extensions: Extensions,
    /// What was said before its time, or may be.
    early: Option<Box<Early>>,
    exchange: Option<Box<Exchange>>,
    /// What was sent in AUTH: no reply shows it.
    secrets: Vec<Secret>,
    /// What opens a mailbox, in a URL that was said and not answered yet.
    tokens: Vec<Secret>,
    authenticated: Option<MechanismName>,
    work: VecDeque<Work>,
    /// Work whose last word is out, at the front of `work`.
    said: usize,
    count: u64,
    /// Work that was queued before it was known what the server offers.
    unchecked: usize,
    quitting: bool,
    /// How eagerly commands are grouped, as far as the server bears it.
    grouping: Grouping,
    /// The server has answered a group with BDAT as it should.
    proven: bool,
    /// The latest transaction with BDAT, while nobody knows whether RSET must follow it.
    doubtful: Option<TransactionId>,
    /// A transaction is open at the server that nobody will complete: RSET before the next.
    must_reset: bool,
    /// A farewell is due, though the session failed: the server deserves a QUIT where it still listens.
    farewell: bool,
    /// Where chunks are gathered, while no message does so.
    room: Vec<u8>,
    /// MAIL commands so far: the server may count them.
    mails: u64,
    /// Messages put out as a whole, and the latest of them.
    ended: (u64, Option<TransactionId>),
    last: Option<Reply>,
    /// What was said, line by line, where it is compared with a recording.
    tap: Option<Vec<String>>,
    failure: Option<Box<Error>>,
}

impl Client {
    /// A client at the very beginning: the server's greeting comes next. Its limits run from the first call that tells the
    /// time.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the configuration cannot be said or meant.
    pub fn new(config: Config) -> Result<Self, Misuse> {
        let starttls = config.starttls;
        Self::shared(config.into(), starttls)
    }

    /// The same, with settings that other clients use too, but for STARTTLS.
    pub(crate) fn shared(config: Arc<Config>, starttls: StartTls) -> Result<Self, Misuse> {
        config.check()?;
        Ok(Self {
            starttls,
            grouping: config.remembered.as_ref().map_or(config.grouping, |one| one.grouping().min(config.grouping)),
            config,
            stage: Stage::Begin,
            reader: ReplyReader::new(ReplyLimits::default()),
            dialogue: Dialogue::new(),
            operation_since: None,
            unasked_since: None,
            channel: Channel::clear(),
            greeting: None,
            extensions: Extensions::default(),
            early: None,
            exchange: None,
            secrets: Vec::new(),
            tokens: Vec::new(),
            authenticated: None,
            work: VecDeque::new(),
            said: 0,
            count: 0,
            unchecked: 0,
            quitting: false,
            proven: false,
            doubtful: None,
            must_reset: false,
            farewell: false,
            room: Vec::new(),
            mails: 0,
            ended: (0, None),
            last: None,
            tap: None,
            failure: None,
        })
    }

    /// TLS stands below, with this channel: after [`Event::StartTls`], or before the greeting (implicit TLS).
    ///
    /// At any other moment it does nothing.
    pub fn secured(&mut self, channel: Channel) {
        match self.stage {
            Stage::Securing => self.stage = Stage::Ehlo,
            Stage::Greeting if self.spoke_early() => return,
            Stage::Begin | Stage::Greeting => self.starttls = StartTls::Never,
            _ => return,
        }
        self.channel = channel;
        self.extensions = Extensions::default();
    }

    /// The message whose octets may go out now, if one may; they are appended to `output`, up to `room` octets in all.
    ///
    /// [Transmit](crate::Machine::transmit) first: the commands before a message may go out with it.
    ///
    /// None goes out while a reply that nothing asked for is coming in: it may refuse the message, and must not be taken for
    /// the answer to a dot said meanwhile.
    pub fn body<'a>(&'a mut self, now: Instant, output: &'a mut Vec<u8>, room: usize) -> Option<Body<'a>> {
        self.body_to(now, output, None, room)
    }

    /// The same, where what is whole may go past `output`, behind what that holds.
    pub(crate) fn body_to<'a>(
        &'a mut self,
        now: Instant,
        output: &'a mut Vec<u8>,
        seal: Option<Seal<'a>>,
        room: usize,
    ) -> Option<Body<'a>> {
        if self.hears_unasked() {
            return None;
        }
        self.sending_body()?;
        Some(Body { client: self, now, output, seal, room })
    }

    /// `true` when greeted, secured and authenticated as configured.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// `true` where the session is ready and nothing is under way or asked for: it can be used for another message.
    pub fn is_clean(&self) -> bool {
        self.is_ready()
            && self.failure.is_none()
            && self.dialogue.is_idle()
            && self.work.is_empty()
            && self.reader.is_idle()
    }

    /// The replies that are due, in order, by the phase of what they answer: what makes a session not
    /// [clean](Self::is_clean), beside what waits to be said.
    pub fn outstanding(&self) -> impl ExactSizeIterator<Item = Phase> {
        self.dialogue.phases()
    }

    /// The server's greeting, once it was read.
    pub fn greeting(&self) -> Option<&Reply> {
        self.greeting.as_ref()
    }

    /// What the server offers, by its latest answer to EHLO; before that what is assumed because it is
    /// [remembered](Remembered), if anything.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The same, to be put right for a server that bears more than it offers, or less. It holds until the next EHLO; what is to
    /// hold for each session belongs into the configuration.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        // What waits already may need something else now.
        self.unchecked += self.work.len();
        &mut self.extensions
    }

    /// The mechanism that authenticated the session.
    pub fn authenticated(&self) -> Option<&MechanismName> {
        self.authenticated.as_ref()
    }

    /// Flights so far: times the client spoke after it had to listen.
    pub fn flights(&self) -> u64 {
        self.dialogue.flights()
    }

    /// Commands so far.
    pub fn commands(&self) -> u64 {
        self.dialogue.commands()
    }

    /// How many more messages the server takes on this connection, those that wait not counted; `None` where it states no limit
    /// (MAILMAX of LIMITS, RFC 9422).
    pub fn mails_left(&self) -> Option<u64> {
        let waiting = self.work.range(self.said..).filter(|work| work.is_unsaid_mail()).count() as u64;
        self.extensions.limit("MAILMAX").map(|limit| limit.saturating_sub(self.mails + waiting))
    }

    /// How eagerly commands are grouped with this server: what was asked for, as far as it offers what that takes and has
    /// borne it so far.
    pub fn grouping(&self) -> Grouping {
        match self.grouping {
            _ if !self.extensions.pipelining() => Grouping::OneByOne,
            Grouping::Flights if !self.extensions.chunking() => Grouping::Groups,
            level => level,
        }
    }

    /// Groups commands more or less eagerly from the next message on.
    pub fn set_grouping(&mut self, grouping: Grouping) {
        self.grouping = grouping;
    }

    /// Ends the session for a reason that its owner found: the stream, or a layer below.
    pub fn fail(&mut self, error: Error) -> Error {
        Error::clone(self.failure.get_or_insert_with(|| error.into()))
    }

    /// What is under way, as errors name it.
    pub fn phase(&self) -> Phase {
        if let Some(due) = self.dialogue.front() {
            return due.phase;
        }
        match (self.stage, self.work.get(self.said)) {
            (Stage::Ready, Some(Work::Message(Transaction { next: Next::Body | Next::Last, .. }))) => phase::BLOCK,
            (Stage::Ready, Some(Work::Message(Transaction { next: Next::Rcpt(_) | Next::Verdict, .. }))) => phase::RCPT,
            (Stage::Ready, Some(Work::Message(Transaction { next: Next::Data | Next::Go, .. }))) => phase::DATA,
            (Stage::Ready, _) => phase::IDLE,
            (Stage::Begin | Stage::Greeting, _) => phase::GREETING,
            (Stage::Ehlo | Stage::Helo, _) => phase::EHLO,
            (Stage::StartTls | Stage::Securing, _) => phase::STARTTLS,
            (Stage::Auth, _) => phase::AUTH,
            (Stage::Closed, _) => phase::QUIT,
        }
    }

    /// A reply has begun though nothing is due.
    fn hears_unasked(&self) -> bool {
        self.dialogue.is_idle() && !self.reader.is_idle()
    }

    /// When a reply that nothing asked for must be complete: until it is, the client cannot speak, so it must not wait long.
    fn unasked_deadline(&self) -> Option<Deadline> {
        let at = self.unasked_since?.after(self.config.limits.command);
        Some(Deadline { at, watching: self.phase() })
    }

    /// The clock of the operation as a whole starts earlier than the dialogue where a tunnel or TLS comes first.
    pub(crate) fn begin_operation(&mut self, now: Instant) {
        self.operation_since.get_or_insert(now);
    }

    pub(crate) fn failure(&self) -> Option<&Error> {
        self.failure.as_deref()
    }

    pub(crate) fn operation_since(&self) -> Option<Instant> {
        self.operation_since
    }

    pub(crate) fn last_reply(&self) -> Option<Reply> {
        self.last.clone()
    }

    /// How many messages were put out as a whole, and the latest of them.
    pub(crate) fn last_ended(&self) -> (u64, Option<TransactionId>) {
        self.ended
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// When the operation under way must be over, where it is limited as a whole.
    pub(crate) fn operation_deadline(&self) -> Option<Deadline> {
        let at = self.operation_since?.after(self.config.limits.operation?);
        Some(Deadline { at, watching: self.phase() })
    }

    /// Frees what is empty, while the session [is clean](Self::is_clean).
    pub(crate) fn give_back(&mut self) {
        if self.is_clean() {
            if self.reader.give_back() {
                self.last = self.last.as_ref().map(Reply::detached);
            }
            self.room = Vec::new();
            self.work = VecDeque::new();
            self.dialogue.give_back();
        }
    }

    fn begin(&mut self, now: Instant) {
        if self.stage == Stage::Begin {
            self.stage = Stage::Greeting;
            self.begin_operation(now);
            self.plan_early();
            let ends_group = self.early.is_none();
            self.dialogue.owe(now, Owed::Greeting, phase::GREETING, self.config.limits.greeting, ends_group);
        }
    }

    fn fail_with(&mut self, phase: Phase, cause: Cause) -> Error {
        self.fail(Error::new(phase, cause))
    }
}
