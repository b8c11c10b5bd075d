//! The connection: a route of tunnels and TLS, and the client at its end. The only type an adapter sees.
//!
//! The rules of this room:
//!
//! - It owns the buffers and the layers; the layers own the protocols.
//! - Any order of `poll`, `wants`, commands, `received` and `sent` is correct. Nothing is queued for the caller: an event
//!   not asked for waits in the octets that have not been read.
//! - When it fails, what became of each message comes first, as [`Event::Sent`]; then the error, for ever.

mod accepted;
mod buffer;
mod config;
mod route;
mod stack;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use proxy_proto::{Deadline, Hop, Instant, Machine, Phase, Secret, Tunnel};

pub use accepted::{Accepted, AcceptedError};
pub use config::{Config, Security};
pub use route::Route;

pub(crate) use stack::{Broken, Stack};

use crate::body::LineEndings;
use crate::client::{Body, Client, CommandId, Envelope, Event, Line, TransactionId};
use crate::command::Command;
use crate::error::{Cause, Error};
use crate::extension::Extensions;
use crate::reply::Reply;
use crate::sasl::MechanismName;
use crate::{Grouping, Misuse, phase, tls};
use config::Opening;
use route::Step;

/// Octets that may wait to be sent before a message has to wait: enough to fill a fast link's window between two turns.
const HIGH_WATER: usize = 64 * 1024;

/// What a connection wants from its transport; three disjoint borrows, so that all can be waited for at once.
#[derive(Debug)]
#[non_exhaustive]
pub struct Wants<'a> {
    /// Room to read into, then [`Connection::received`]; empty where nothing is to be read.
    pub read: &'a mut [u8],
    /// Octets to write, then [`Connection::sent`]; empty where there are none.
    pub write: &'a [u8],
    /// When to call [`Connection::poll`] even if nothing happens.
    pub deadline: Option<Deadline>,
}

/// What stands at the top of the stack.
enum Top {
    /// Nobody has told the time yet.
    Begin,
    Tunnel(Hop, Tunnel),
    /// A TLS handshake, since when; the proxy it is with, or the server.
    Handshake {
        since: Instant,
        hop: Option<Hop>,
        kind: Handshake,
    },
    /// Waiting who speaks first.
    Listen {
        since: Instant,
    },
    Smtp,
}

/// What made a TLS session begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handshake {
    Configured,
    /// Silence, where a greeting could have come.
    Silence,
    StartTls,
}

/// One connection to a server, from the first octet to the last.
///
/// An adapter is a loop: [`poll`](Self::poll) until `None`, then do what [`wants`](Self::wants) says, all at once, and tell
/// it with [`received`](Self::received) and [`sent`](Self::sent).
///
/// Holds at most 16 KiB received and not read, as much again a TLS session, 64 KiB to be sent beside what one command adds, and
/// with CHUNKING two chunks of 64 KiB; all of it is given back while the session is idle.
pub struct Connection {
    config: Config,
    route: VecDeque<(Hop, Step)>,
    stack: Stack,
    /// Which proxy each floor of the stack belongs to.
    floor_hops: Vec<Option<Hop>>,
    top: Top,
    client: Client,
    facts: Option<tls::Facts>,
    starttls: bool,
    /// Where each message ends, by its final dot or BDAT LAST, among the octets written.
    ends: VecDeque<(TransactionId, u64)>,
    /// How many messages' ends were put there.
    noted: u64,
    /// Since when the transport has taken nothing.
    stalled_since: Option<Instant>,
    unwritable: bool,
    failure: Option<Error>,
    /// The caller has been told of the failure, or has been handed what became of a message by it.
    told: bool,
    closed: bool,
}

impl Connection {
    /// A connection over a transport that is open already, to the server itself or to the first proxy of `route`.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the configuration cannot be said or meant.
    pub fn new(config: Config, route: Route) -> Result<Self, Misuse> {
        let client = Client::new(config.client())?;
        Ok(Self {
            config,
            route: route.steps.into(),
            stack: Stack::default(),
            floor_hops: Vec::new(),
            top: Top::Begin,
            client,
            facts: None,
            starttls: false,
            ends: VecDeque::new(),
            noted: 0,
            stalled_since: None,
            unwritable: false,
            failure: None,
            told: false,
            closed: false,
        })
    }

    /// Does all that can be done with what was received, and with the time, stopping at the first event.
    ///
    /// # Errors
    ///
    /// The session is over; the same error for ever. What became of each message was told before, by [`Event::Sent`].
    #[must_use = "an event not looked at is lost"]
    pub fn poll(&mut self, now: Instant) -> Result<Option<Event>, Error> {
        self.begin(now);
        loop {
            // The client may have failed by what its owner did: a token that was not to be had.
            if let Some(error) = self.failure.clone().or_else(|| self.client.failure()) {
                self.failure = Some(error.clone());
                self.told = true;
                return match self.abandoned() {
                    Some(event) => Ok(Some(event)),
                    None => Err(error),
                };
            }
            if self.closed {
                return Ok(None);
            }
            match self.advance(now) {
                Ok(Advance::Event(event)) => return Ok(Some(event)),
                Ok(Advance::On) => {}
                Ok(Advance::Wait) => {
                    self.give_back();
                    return Ok(None);
                }
                Err(error) => self.failure = Some(self.client.fail(error)),
            }
        }
    }

    /// Says what there is to say, then what is waited for.
    pub fn wants(&mut self, now: Instant) -> Wants<'_> {
        self.begin(now);
        self.note_end();
        match &mut self.top {
            Top::Tunnel(_, tunnel) if self.failure.is_none() => {
                tunnel.transmit(now, self.stack.said());
            }
            // What was received before a command was said cannot be its answer: it is looked at first.
            Top::Smtp if self.stack.is_drained() => {
                self.client.transmit(now, self.stack.said());
            }
            _ => {}
        }
        self.lower();
        let pending = !self.stack.wire().1.is_empty();
        self.stalled_since = if pending { Some(self.stalled_since.unwrap_or(now)) } else { None };
        let deadline = self.deadline();
        let (read, write) = self.stack.wire();
        Wants { read, write, deadline }
    }

    /// The transport has put `n` octets into [`Wants::read`]; 0 is the end of the stream, and so is a read that failed.
    pub fn received(&mut self, n: usize) {
        self.stack.received(n);
    }

    /// The transport has taken `n` octets of [`Wants::write`].
    pub fn sent(&mut self, n: usize) {
        self.stack.sent(n);
        self.stalled_since = None;
    }

    /// A write failed. What the peer said before is still read, because it may say why; then the session is over.
    pub fn write_failed(&mut self) {
        self.unwritable = true;
        self.stack.set_unwritable();
    }

    /// Queues a message; see [`Client::send`].
    ///
    /// # Errors
    ///
    /// [`Misuse`]; nothing has changed.
    pub fn send(&mut self, envelope: Envelope, endings: LineEndings) -> Result<TransactionId, Misuse> {
        self.client.send(envelope, endings)
    }

    /// Queues a command of the caller's own; [`Event::Replied`] brings its answer.
    ///
    /// # Errors
    ///
    /// [`Misuse`]; nothing has changed.
    pub fn command(&mut self, command: Command) -> Result<CommandId, Misuse> {
        self.client.command(command)
    }

    /// Queues QUIT, behind all that was asked for before; [`Event::Closed`] follows.
    ///
    /// # Errors
    ///
    /// [`Misuse`]; nothing has changed.
    pub fn quit(&mut self) -> Result<(), Misuse> {
        self.client.quit()
    }

    /// Answers [`Event::NeedsToken`]; see [`Client::fresh_token`].
    ///
    /// # Errors
    ///
    /// [`Misuse::NotOpen`] where no token is awaited.
    pub fn fresh_token(&mut self, token: Option<Secret>) -> Result<(), Misuse> {
        self.client.fresh_token(token)
    }

    /// The message being sent; exists only while octets of it may go out.
    pub fn body(&mut self, now: Instant) -> Option<Body<'_>> {
        if self.failure.is_some() || self.unwritable || !matches!(self.top, Top::Smtp) {
            return None;
        }
        // As for commands: what was received before the dot was said is looked at first.
        if !self.stack.is_drained() {
            return None;
        }
        let room = if self.stack.wire().1.len() < HIGH_WATER { HIGH_WATER } else { 0 };
        // The commands before a message may go out with it, in one write.
        self.note_end();
        self.client.transmit(now, self.stack.said());
        self.client.body(now, self.stack.said(), room)
    }

    /// The server's greeting, once it was read.
    pub fn greeting(&self) -> Option<&Reply> {
        self.client.greeting()
    }

    /// What the server offers, by its latest answer to EHLO.
    pub fn extensions(&self) -> &Extensions {
        self.client.extensions()
    }

    /// The mechanism that authenticated the session.
    pub fn authenticated(&self) -> Option<&MechanismName> {
        self.client.authenticated()
    }

    /// What TLS with the server agreed on, once it stands.
    pub fn tls(&self) -> Option<&tls::Facts> {
        self.facts.as_ref()
    }

    /// The security that was reached: `Implicit`, `StartTls`, or `None` so far.
    pub fn security(&self) -> Security {
        match (&self.facts, self.starttls) {
            (Some(_), true) => Security::StartTls,
            (Some(_), false) => Security::Implicit,
            (None, _) => Security::None,
        }
    }

    /// Flights so far: times the client spoke after it had to listen, from EHLO on.
    pub fn flights(&self) -> u64 {
        self.client.flights()
    }

    /// Commands so far, from EHLO on.
    pub fn commands(&self) -> u64 {
        self.client.commands()
    }

    /// Octets that the transport has taken so far; those of tunnels and TLS are among them.
    pub fn octets(&self) -> u64 {
        self.stack.outgoing.handed_over()
    }

    /// How eagerly commands are grouped with this server; see [`Client::grouping`].
    pub fn grouping(&self) -> Grouping {
        self.client.grouping()
    }

    /// Groups commands more or less eagerly from the next message on.
    pub fn set_grouping(&mut self, grouping: Grouping) {
        self.client.set_grouping(grouping);
    }

    /// How the session failed, once [`poll`](Self::poll) has said so.
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// What is under way, as errors name it.
    pub fn phase(&self) -> Phase {
        match &self.top {
            Top::Begin | Top::Listen { .. } => phase::GREETING,
            Top::Tunnel(_, tunnel) => tunnel.deadline().map_or(phase::CONNECT, |deadline| deadline.watching),
            Top::Handshake { kind: Handshake::Silence, .. } if !self.stack.has_heard() => phase::GREETING,
            Top::Handshake { .. } => phase::TLS,
            Top::Smtp => self.client.phase(),
        }
    }

    /// `true` where the session is ready and nothing is under way, asked for or unread: it can be used for another message.
    pub fn is_clean(&self) -> bool {
        self.failure.is_none()
            && !self.unwritable
            && matches!(self.top, Top::Smtp)
            && self.client.is_clean()
            && self.stack.unread().is_empty()
            && !self.stack.is_ended()
    }
}

/// What a turn of the machine came to.
enum Advance {
    Event(Event),
    /// Something has moved: there may be more.
    On,
    /// More octets or more time are needed.
    Wait,
}

impl Connection {
    fn begin(&mut self, now: Instant) {
        if matches!(self.top, Top::Begin) {
            self.client.begin_operation(now);
            if let Err(error) = self.next_step(now) {
                self.failure = Some(self.client.fail(error));
            }
        }
    }

    /// The next step of the route, or the server itself.
    fn next_step(&mut self, now: Instant) -> Result<(), Error> {
        match self.route.pop_front() {
            Some((hop, Step::Tunnel(tunnel))) => self.top = Top::Tunnel(hop, tunnel),
            Some((hop, Step::Tls(name))) => self.begin_tls(now, Some(hop), &name, Handshake::Configured)?,
            None => match self.config.opening() {
                Opening::Clear => self.top = Top::Smtp,
                Opening::Listen => self.top = Top::Listen { since: now },
                Opening::Tls => self.begin_server_tls(now, Handshake::Configured)?,
            },
        }
        Ok(())
    }

    fn begin_server_tls(&mut self, now: Instant, kind: Handshake) -> Result<(), Error> {
        let name = String::from(self.config.server_name());
        self.begin_tls(now, None, &name, kind)
    }

    fn begin_tls(&mut self, now: Instant, hop: Option<Hop>, name: &str, kind: Handshake) -> Result<(), Error> {
        let session = match &self.config.connector {
            Some(connector) => connector.connect(name),
            None => Err(Misuse::Tls { why: "no TLS connector was given".into() }),
        };
        match session {
            Ok(session) => {
                self.stack.push(session);
                self.floor_hops.push(hop.clone());
                self.top = Top::Handshake { since: now, hop, kind };
                Ok(())
            }
            Err(misuse) => Err(Error { phase: phase::TLS, hop, cause: Cause::Tls(tls::Error::Settings(misuse)) }),
        }
    }

    fn advance(&mut self, now: Instant) -> Result<Advance, Error> {
        self.stack.lift().map_err(|broken| self.broken(broken))?;
        match &mut self.top {
            Top::Begin => return Ok(Advance::Wait),
            Top::Tunnel(hop, tunnel) => {
                let mut rest = self.stack.unread();
                let before = rest.len();
                let opened = tunnel.receive(now, &mut rest);
                let read = before - rest.len();
                self.stack.consume(read);
                if opened.map_err(from_tunnel)?.is_some() {
                    self.client.show(now, phase::CONNECT, Line::Note(&format!("{hop}: the tunnel is open")));
                    self.next_step(now)?;
                    return Ok(Advance::On);
                }
                if read > 0 {
                    return Ok(Advance::On);
                }
            }
            Top::Handshake { .. } => {
                if self.stack.session().is_some_and(|session| !session.is_handshaking()) {
                    return self.handshake_done(now);
                }
            }
            Top::Listen { .. } => {
                if !self.stack.unread().is_empty() {
                    self.top = Top::Smtp;
                    return Ok(Advance::On);
                }
            }
            Top::Smtp => {
                let mut rest = self.stack.unread();
                let before = rest.len();
                let heard = self.client.receive(now, &mut rest);
                let read = before - rest.len();
                self.stack.consume(read);
                if let Some(event) = heard? {
                    return self.pass_on(now, event);
                }
                if read > 0 {
                    return Ok(Advance::On);
                }
            }
        }
        self.end_or_expire(now)
    }

    /// Nothing more can be made of what was received: perhaps that was all, or the time is up.
    fn end_or_expire(&mut self, now: Instant) -> Result<Advance, Error> {
        if self.stack.is_ended() {
            match &mut self.top {
                Top::Smtp => self.client.finish()?,
                Top::Tunnel(_, tunnel) => {
                    tunnel.finish().map_err(from_tunnel)?;
                    return Err(self.error(Cause::Closed { last: None }));
                }
                _ => return Err(self.error(Cause::Closed { last: self.client.last_reply() })),
            }
        }
        let limits = self.client.limits();
        match &mut self.top {
            Top::Smtp => self.client.expire(now)?,
            Top::Tunnel(_, tunnel) => tunnel.expire(now).map_err(from_tunnel)?,
            Top::Listen { since } if since.after(limits.greeting) <= now => {
                self.begin_server_tls(now, Handshake::Silence)?;
                return Ok(Advance::On);
            }
            _ => {}
        }
        if self.client.is_closed() {
            self.close();
            return Ok(Advance::Event(Event::Closed(None)));
        }
        if let Some(deadline) = self.deadline().filter(|deadline| deadline.at <= now) {
            let waited = self.waiting_since().map_or(Default::default(), |since| now.since(since));
            return Err(Error {
                phase: deadline.watching,
                hop: self.hop(),
                cause: Cause::TimedOut { waited, last: self.client.last_reply() },
            });
        }
        Ok(Advance::Wait)
    }

    /// What the client says to its owner, and its owner to the caller.
    fn pass_on(&mut self, now: Instant, event: Event) -> Result<Advance, Error> {
        match &event {
            Event::StartTls(_) => {
                // Whatever stands behind the reply was not said by who will speak TLS.
                if !self.stack.unread().is_empty() {
                    return Err(Error::new(phase::STARTTLS, Cause::Injected));
                }
                self.starttls = true;
                self.begin_server_tls(now, Handshake::StartTls)?;
                return Ok(Advance::On);
            }
            Event::Sent(report) => {
                let done = report.transaction;
                self.ends.retain(|(transaction, _)| *transaction != done);
            }
            Event::NeedsToken { reply, detail } => {
                if let Some(source) = &self.config.token_source {
                    // It was asked for just now, so the answer cannot come at the wrong moment.
                    let _ = self.client.fresh_token(source(reply, detail.as_deref()));
                    return Ok(Advance::On);
                }
            }
            Event::Closed(_) => self.close(),
            _ => {}
        }
        Ok(Advance::Event(event))
    }

    fn handshake_done(&mut self, now: Instant) -> Result<Advance, Error> {
        let Top::Handshake { hop, .. } = &self.top else { return Ok(Advance::Wait) };
        if hop.is_some() {
            self.next_step(now)?;
            return Ok(Advance::On);
        }
        let facts = self.stack.session().map(|session| session.facts()).unwrap_or_default();
        self.client.show(now, phase::TLS, Line::Note(&format!("TLS {}, {}", facts.version, facts.cipher)));
        self.client.secured(facts.channel());
        self.facts = Some(facts);
        self.top = Top::Smtp;
        Ok(Advance::Event(Event::Secured))
    }

    /// Says goodbye below, too: a stream cut off and a session closed must not look alike.
    fn close(&mut self) {
        self.closed = true;
        if let Some(session) = self.stack.session() {
            session.close();
        }
    }

    /// What is said behind a message is no part of it: where it ends is noted before.
    fn note_end(&mut self) {
        if self.client.last_ended().0 != self.noted {
            self.lower();
        }
    }

    fn lower(&mut self) {
        let lowered = self.stack.lower();
        if let (count, Some(ended)) = self.client.last_ended() {
            if count != self.noted {
                self.noted = count;
                self.ends.retain(|(transaction, _)| *transaction != ended);
                self.ends.push_back((ended, self.stack.outgoing.written()));
            }
        }
        if let Err(broken) = lowered {
            if self.failure.is_none() {
                let error = self.broken(broken);
                self.failure = Some(self.client.fail(error));
            }
        }
    }

    /// What became of a message that was under way when the session failed.
    fn abandoned(&mut self) -> Option<Event> {
        let handed_over = self.stack.outgoing.handed_over();
        let ends = &self.ends;
        let is_out = |id| ends.iter().any(|(transaction, end)| *transaction == id && *end <= handed_over);
        self.client.abandoned(is_out).map(Event::Sent)
    }

    fn give_back(&mut self) {
        if matches!(self.top, Top::Smtp) && self.client.is_clean() {
            self.stack.give_back();
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        if self.failure.is_some() || self.client.failure().is_some() {
            // There is something to be told, and no octet will come to say so.
            return (!self.told).then(|| Deadline { at: Instant::EPOCH, watching: self.phase() });
        }
        if self.closed {
            return None;
        }
        let limits = self.client.limits();
        let here = match &self.top {
            Top::Begin => None,
            Top::Tunnel(_, tunnel) => tunnel.deadline(),
            Top::Smtp => self.client.deadline(),
            Top::Listen { since } => Some(Deadline { at: since.after(limits.greeting), watching: phase::GREETING }),
            // Who has been silent once is not given more time to be silent again.
            Top::Handshake { since, kind: Handshake::Silence, .. } if !self.stack.has_heard() => {
                Some(Deadline { at: since.after(limits.greeting.min(limits.tls)), watching: phase::GREETING })
            }
            Top::Handshake { since, .. } => Some(Deadline { at: since.after(limits.tls), watching: phase::TLS }),
        };
        let stall = self.stalled_since.map(|since| Deadline { at: since.after(limits.block), watching: self.phase() });
        let whole = self.client.operation_deadline().map(|whole| Deadline { watching: self.phase(), ..whole });
        Deadline::earlier(here, Deadline::earlier(stall, whole))
    }

    fn waiting_since(&self) -> Option<Instant> {
        match &self.top {
            Top::Handshake { since, .. } | Top::Listen { since } => Some(*since),
            _ => self.stalled_since.or(self.client.operation_since()),
        }
    }

    fn hop(&self) -> Option<Hop> {
        match &self.top {
            Top::Handshake { hop, .. } => hop.clone(),
            Top::Tunnel(hop, _) => Some(hop.clone()),
            _ => None,
        }
    }

    fn error(&self, cause: Cause) -> Error {
        Error { phase: self.phase(), hop: self.hop(), cause }
    }

    fn broken(&self, broken: Broken) -> Error {
        let hop = self.floor_hops.get(broken.floor).cloned().flatten();
        let cause = match (&self.top, broken.error) {
            (Top::Handshake { kind: Handshake::StartTls, .. }, tls::Error::NotTls(_)) => {
                return Error::new(phase::STARTTLS, Cause::Injected);
            }
            (_, error) => Cause::Tls(error),
        };
        let phase = match self.top {
            Top::Handshake { .. } => phase::TLS,
            _ => self.phase(),
        };
        Error { phase, hop, cause }
    }
}

fn from_tunnel(error: proxy_proto::Error) -> Error {
    Error { phase: error.phase(), hop: error.hop().cloned(), cause: Cause::Tunnel(error) }
}
