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
#[cfg(feature = "test-util")]
mod faults;
mod route;
mod stack;
mod state;
mod turn;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use proxy_proto::{Deadline, Hop, Instant, Machine, Secret, Tunnel};

pub use accepted::{Accepted, AcceptedError};
pub use config::{Config, Local, Security};
use config::{Opening, TokenSource};
#[cfg(feature = "test-util")]
pub use faults::Faults;
#[cfg(feature = "test-util")]
use faults::Faulty;
pub use route::Route;

pub(crate) use stack::{Broken, Seal, Stack};

use crate::body::LineEndings;
use crate::client::{Body, Client, CommandId, Envelope, Event, TransactionId};
use crate::command::Command;
use crate::error::Error;
use crate::trace::Trace;
use crate::{Misuse, tls};
use route::Step;
use turn::Advance;

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
    Tunnel {
        since: Instant,
        hop: Hop,
        tunnel: Box<Tunnel>,
    },
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
/// Holds at most 16 KiB received and not read, as much again a TLS session, 64 KiB to be sent and as much of a
/// message that is gathered into a chunk, beside what one command adds, and
/// with CHUNKING two chunks of 64 KiB; all of it is given back while the session is idle. An idle session holds
/// at most 2 KiB in all where it is in clear and the offer is of usual length, and 16 KiB under TLS, nearly all of them
/// in rustls; settings are shared by all connections made from clones of one [`Config`], and are not among them.
///
/// Messages sent one right behind the other, or one after the other without a [`poll`](Self::poll) that finds the session idle
/// between them, allocate nothing beside their envelopes.
///
/// A connection goes to another thread (`Send`), but is not looked at from two at once (no `Sync`): nearly every call changes it, and a
/// TLS session, a SASL mechanism or a method of SOCKS5 that a caller brings need not bear it. Who shares one puts it in a mutex. It is
/// not `UnwindSafe` either: where a listener or a source of tokens panics, the connection stands in the middle of something, and is
/// to be dropped.
pub struct Connection {
    connector: Option<Arc<dyn tls::Connector>>,
    token_source: Option<TokenSource>,
    opening: Opening,
    /// Whom TLS with the server must prove to be there.
    name: Box<str>,
    route: VecDeque<(Hop, Step)>,
    stack: Stack,
    /// Which proxy each floor of the stack belongs to.
    floor_hops: Vec<Option<Hop>>,
    top: Top,
    client: Client,
    facts: Option<Box<tls::Facts>>,
    starttls: bool,
    /// Where each message ends, by its final dot or BDAT LAST, among the octets written.
    ends: VecDeque<(TransactionId, u64)>,
    /// How many messages' ends were put there.
    noted: u64,
    /// Since when the transport has taken nothing.
    stalled_since: Option<Instant>,
    unwritable: bool,
    /// The client knows how.
    failed: bool,
    /// The caller has been told of the failure, or has been handed what became of a message by it.
    told: bool,
    closed: bool,
    pub(crate) trace: Trace,
}

impl Connection {
    /// A connection over a transport that is open already, to the server itself or to the first proxy of `route`.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the configuration cannot be said or meant.
    pub fn new(config: Config, route: Route) -> Result<Self, Misuse> {
        let trace = Trace::begin(config.host(), config.port());
        let client = Client::shared(trace.listen(config.client().clone()), config.starttls())?;
        Ok(Self {
            opening: config.opening(),
            name: config.server_name().into(),
            connector: config.connector,
            token_source: config.token_source,
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
            failed: false,
            told: false,
            closed: false,
            trace,
        })
    }

    /// The operation of becoming ready began earlier, with the first dial: [`Limits::operation`](crate::Limits) counts from
    /// there. To be said before anything else.
    pub fn began(&mut self, at: Instant) {
        self.client.begin_operation(at);
    }

    /// Does all that can be done with what was received, and with the time, stopping at the first event.
    ///
    /// # Errors
    ///
    /// The session is over; the same error for ever. What became of each message was told before, by [`Event::Sent`].
    #[must_use = "an event not looked at is lost"]
    pub fn poll(&mut self, now: Instant) -> Result<Option<Event>, Error> {
        let polled = self.go_on(now);
        self.trace.polled(&polled);
        polled
    }

    fn go_on(&mut self, now: Instant) -> Result<Option<Event>, Error> {
        self.begin(now);
        loop {
            // The client may have failed by what its owner did: a token that was not to be had.
            if let Some(error) = self.client.failure().cloned() {
                self.failed = true;
                self.told = true;
                self.hold_back();
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
                Err(error) => self.fail(error),
            }
        }
    }

    /// Says what there is to say, then what is waited for.
    pub fn wants(&mut self, now: Instant) -> Wants<'_> {
        self.begin(now);
        self.note_end();
        match &mut self.top {
            Top::Tunnel { tunnel, .. } if !self.failed => {
                tunnel.transmit(now, self.stack.said());
            }
            // What was received before a command was said cannot be its answer: it is looked at first.
            Top::Smtp if self.stack.is_drained() => {
                self.client.transmit(now, self.stack.said());
            }
            _ => {}
        }
        self.lower();
        // A transport that takes nothing any more is no better than one that takes nothing yet.
        let pending = self.unwritable || !self.stack.outgoing.unsent().is_empty();
        self.stalled_since = if pending { Some(self.stalled_since.unwrap_or(now)) } else { None };
        let deadline = self.deadline();
        let (read, write) = self.stack.wire(self.is_idle());
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

    /// A write failed. What the peer said before is still read, because it may say why, for at most
    /// [`Limits::block`](crate::Limits); then the session is over.
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

    /// Takes back what was asked for and not begun; see [`Client::withdraw`].
    pub(crate) fn withdraw(&mut self) -> bool {
        self.client.withdraw()
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
        if self.failed || self.unwritable || !matches!(self.top, Top::Smtp) {
            return None;
        }
        // As for commands: what was received before the dot was said is looked at first.
        if !self.stack.is_drained() {
            return None;
        }
        let room = if self.stack.waiting() < HIGH_WATER { HIGH_WATER } else { 0 };
        // The commands before a message may go out with it, in one write.
        self.note_end();
        self.client.transmit(now, self.stack.said());
        let (said, seal) = self.stack.said_and_seal();
        self.client.body_to(now, said, seal, room)
    }
}
