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
mod envelope;
mod event;
mod extended;
mod framing;
mod hear;
mod machine;
mod report;
mod require;
mod say;
mod transaction;
mod transcript;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use proxy_proto::{Deadline, Instant, Phase, Secret};

pub use body::Body;
pub use config::{Config, Entropy, StartTls};
pub use envelope::Envelope;
pub use event::{CommandId, Event, TransactionId};
pub use extended::{BodyKind, DeliverBy, Notify, Ret};
pub use report::{Outcome, Recipient, Report};
pub use require::Require;
pub use transcript::{Line, Transcript};

use crate::body::LineEndings;
use crate::command::Command;
use crate::dialogue::{Dialogue, Grouping};
use crate::error::{Cause, Error};
use crate::extension::Extensions;
use crate::limits::Limits;
use crate::reply::{Reply, ReplyLimits, ReplyReader};
use crate::sasl::{Channel, MechanismName};
use crate::{Misuse, phase};

use auth::Exchange;
use transaction::{Next, Transaction};

/// Where the session stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Nobody has told the time yet.
    Begin,
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    /// 220 was said to STARTTLS: what comes now is TLS, and not for this machine.
    Securing,
    Auth,
    Ready,
    Closed,
}

/// What a reply answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owed {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Auth,
    Rset,
    Mail(TransactionId),
    Rcpt(TransactionId, usize),
    Data(TransactionId),
    /// A chunk that is not the last.
    Chunk(TransactionId),
    /// BDAT LAST.
    Last(TransactionId),
    /// The final dot.
    Message(TransactionId),
    LoneDot(TransactionId),
    Command(CommandId),
    Quit,
}

impl Owed {
    /// The transaction that the reply belongs to.
    fn transaction(self) -> Option<TransactionId> {
        match self {
            Self::Mail(id) | Self::Rcpt(id, _) | Self::Data(id) | Self::Chunk(id) => Some(id),
            Self::Last(id) | Self::Message(id) | Self::LoneDot(id) => Some(id),
            _ => None,
        }
    }
}

/// What the caller asked for, in order.
enum Work {
    Message(Transaction),
    Command(CommandId, Command),
    Quit,
}

/// The client of one session. See the [module](self).
///
/// Holds a reply that is not complete yet (bounded by [`ReplyLimits`]), the server's offer, and the caller's own
/// envelopes and commands until they are answered.
pub struct Client {
    config: Config,
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
    exchange: Option<Exchange>,
    /// What was sent in AUTH: no reply shows it.
    secrets: Vec<Secret>,
    authenticated: Option<MechanismName>,
    work: VecDeque<Work>,
    /// Work whose last word is out, at the front of `work`.
    said: usize,
    count: u64,
    /// Messages that were queued before it was known what the server offers.
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
    /// Messages put out as a whole, and the latest of them.
    ended: (u64, Option<TransactionId>),
    last: Option<Reply>,
    failure: Option<Error>,
}

impl Client {
    /// A client at the very beginning: the server's greeting comes next. Its limits run from the first call that tells the
    /// time.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the configuration cannot be said or meant.
    pub fn new(config: Config) -> Result<Self, Misuse> {
        config.check()?;
        Ok(Self {
            grouping: config.grouping,
            config,
            stage: Stage::Begin,
            reader: ReplyReader::new(ReplyLimits::default()),
            dialogue: Dialogue::new(),
            operation_since: None,
            unasked_since: None,
            channel: Channel::clear(),
            greeting: None,
            extensions: Extensions::default(),
            exchange: None,
            secrets: Vec::new(),
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
            ended: (0, None),
            last: None,
            failure: None,
        })
    }

    /// TLS stands below, with this channel: after [`Event::StartTls`], or before the greeting (implicit TLS).
    ///
    /// At any other moment it does nothing.
    pub fn secured(&mut self, channel: Channel) {
        match self.stage {
            Stage::Securing => self.stage = Stage::Ehlo,
            Stage::Begin | Stage::Greeting => self.config.starttls = StartTls::Never,
            _ => return,
        }
        self.channel = channel;
        self.extensions = Extensions::default();
    }

    /// Queues a message; its [`Body`] is asked for with [`body`](Self::body) when its turn has come.
    ///
    /// # Errors
    ///
    /// [`Misuse::NotOpen`] after QUIT or a failure; [`Misuse::NotOffered`] where the message needs an extension that the server
    /// does not offer, [`Misuse::TooLarge`] and [`Misuse::TooManyRecipients`] where it exceeds a limit that the server states.
    /// Before the session is ready that cannot be known: [`Report::misuse`] tells it then.
    pub fn send(&mut self, envelope: Envelope, endings: LineEndings) -> Result<TransactionId, Misuse> {
        self.check_open()?;
        if self.is_ready() {
            envelope.check(&self.extensions, endings)?;
        } else {
            self.unchecked += 1;
        }
        let id = TransactionId(self.next_number());
        self.work.push_back(Work::Message(Transaction::new(id, envelope, endings, self.config.lmtp)));
        Ok(id)
    }

    /// Queues a command of the caller's own.
    ///
    /// # Errors
    ///
    /// [`Misuse::NotOpen`] after QUIT or a failure.
    pub fn command(&mut self, command: Command) -> Result<CommandId, Misuse> {
        self.check_open()?;
        let id = CommandId(self.next_number());
        self.work.push_back(Work::Command(id, command));
        Ok(id)
    }

    /// Queues QUIT, behind all that was asked for before; [`Event::Closed`] follows.
    ///
    /// # Errors
    ///
    /// [`Misuse::NotOpen`] after QUIT or a failure.
    pub fn quit(&mut self) -> Result<(), Misuse> {
        self.check_open()?;
        self.quitting = true;
        self.work.push_back(Work::Quit);
        Ok(())
    }

    /// Takes back what was asked for and not begun. `false` where a message is left that was begun and not given as a whole:
    /// nothing can be said behind it.
    pub(crate) fn withdraw(&mut self) -> bool {
        let begun = |work: &Work| matches!(work, Work::Message(transaction) if transaction.began.is_some());
        let keep = self.said + usize::from(self.work.get(self.said).is_some_and(begun));
        self.work.truncate(keep);
        self.quitting = self.work.iter().any(|work| matches!(work, Work::Quit));
        self.work.iter().all(|work| match work {
            Work::Message(transaction) => transaction.complete || transaction.is_settled(),
            Work::Command(..) | Work::Quit => true,
        })
    }

    /// The message whose octets may go out now, if one may; they are appended to `output`, up to `room` octets in all.
    ///
    /// [Transmit](crate::Machine::transmit) first: the commands before a message may go out with it.
    ///
    /// None goes out while a reply that nothing asked for is coming in: it may refuse the message, and must not be taken for
    /// the answer to a dot said meanwhile.
    pub fn body<'a>(&'a mut self, now: Instant, output: &'a mut Vec<u8>, room: usize) -> Option<Body<'a>> {
        if self.hears_unasked() {
            return None;
        }
        self.sending_body()?;
        Some(Body { client: self, now, output, room })
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

    /// The server's greeting, once it was read.
    pub fn greeting(&self) -> Option<&Reply> {
        self.greeting.as_ref()
    }

    /// What the server offers, by its latest answer to EHLO.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
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

    /// After a failure, what became of each message that was under way or waiting, one a call.
    ///
    /// `handed_over` says whether the transport has taken a message up to its final dot: the outcome is unknown then, and
    /// not before.
    pub fn abandoned(&mut self, handed_over: impl Fn(TransactionId) -> bool) -> Option<Report> {
        let why = self.failure.clone()?;
        let flights = self.dialogue.flights();
        while let Some(work) = self.work.pop_front() {
            if let Work::Message(mut transaction) = work {
                if !transaction.is_settled() {
                    let all_said = transaction.next == Next::Nothing && !transaction.again;
                    let dot_is_out = all_said && handed_over(transaction.id);
                    return Some(transaction.cut_short(why, dot_is_out, flights));
                }
            }
        }
        None
    }

    /// Ends the session for a reason that its owner found: the stream, or a layer below.
    pub fn fail(&mut self, error: Error) -> Error {
        self.failure.get_or_insert(error).clone()
    }

    /// Being ready, refuses the messages queued before that need what is not offered; one a call.
    fn check_queued(&mut self) -> Option<Report> {
        if self.unchecked == 0 || self.stage != Stage::Ready {
            return None;
        }
        let mut messages = self.work.iter_mut().filter_map(|work| match work {
            Work::Message(transaction) if !transaction.is_settled() => Some(transaction),
            _ => None,
        });
        let report = messages.find_map(|transaction| transaction.check(&self.extensions));
        if report.is_none() {
            self.unchecked = 0;
        }
        report
    }

    fn check_open(&self) -> Result<(), Misuse> {
        if self.quitting || self.failure.is_some() || self.stage == Stage::Closed {
            return Err(Misuse::NotOpen);
        }
        Ok(())
    }

    fn next_number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// What is under way, as errors name it.
    pub fn phase(&self) -> Phase {
        if let Some(due) = self.dialogue.front() {
            return due.phase;
        }
        match (self.stage, self.work.get(self.said)) {
            (Stage::Ready, Some(Work::Message(Transaction { next: Next::Body | Next::Last, .. }))) => phase::BLOCK,
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

    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.clone()
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

    fn begin(&mut self, now: Instant) {
        if self.stage == Stage::Begin {
            self.stage = Stage::Greeting;
            self.begin_operation(now);
            self.dialogue.owe(now, Owed::Greeting, phase::GREETING, self.config.limits.greeting, true);
        }
    }

    fn fail_with(&mut self, phase: Phase, cause: Cause) -> Error {
        self.fail(Error::new(phase, cause))
    }
}
