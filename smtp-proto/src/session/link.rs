//! One end of a dialogue on a stream: what every adapter would otherwise write for itself.
//!
//! The rules of this file: the adapter does what a [`Turn`] says and tells what came of it; what that means is decided here.
//! A stream's own failure is kept, because it says more than the silence that follows it; and what the peer said before it
//! went is still read. Parting is bounded: nobody is waited for longer than [`FAREWELL`].

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use proxy_proto::Instant;

use crate::client::Event;
use crate::{Accepted, AcceptedError, Connection, Wants, server};

/// How long the last words may take.
pub const FAREWELL: Duration = Duration::from_secs(1);

/// Octets that are read at once of what is of no consequence.
const SCRATCH: usize = 512;

/// Either end of a dialogue: [`Connection`] or [`Accepted`].
pub trait Endpoint {
    /// What happens in it.
    type Event;
    /// What ends it.
    type Error: Clone;
    /// How this end closes.
    const MANNERS: Manners;

    /// Does all that can be done with what was received, stopping at the first event.
    ///
    /// # Errors
    ///
    /// The dialogue is over; the same error for ever.
    fn poll(&mut self, now: Instant) -> Result<Option<Self::Event>, Self::Error>;
    /// What there is to say, and what is waited for.
    fn wants(&mut self, now: Instant) -> Wants<'_>;
    /// `n` octets were put into [`Wants::read`]; 0 is the end of the stream.
    fn received(&mut self, n: usize);
    /// `n` octets were taken of [`Wants::write`].
    fn sent(&mut self, n: usize);
    /// A write failed.
    fn write_failed(&mut self);
    /// The dialogue has ended as it should, and this end closes.
    fn is_over(&self) -> bool;
}

/// How an end closes a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manners {
    /// Closes; where it had something to say about a failure, not before that was answered (RFC 5321 section 4.1.1.10).
    Client,
    /// Closes its own direction, then reads what the peer has still under way: closed with octets unread, a socket resets,
    /// and the last reply may be lost.
    Server,
}

/// What is to be done with the stream, all at once, and then told to [`Link::did`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Turn<'a> {
    /// Room to read into; empty where nothing is to be read.
    pub read: &'a mut [u8],
    /// Octets to write; empty where there are none.
    pub write: &'a [u8],
    /// What was written is to be flushed.
    pub flush: bool,
    /// Nothing more will be written: this direction is to be closed.
    pub close: bool,
    /// When to come back though nothing has happened.
    pub deadline: Option<Instant>,
}

/// What came of it. Where several things have happened, each is told.
#[derive(Debug)]
pub enum Did<E> {
    /// A read; 0 is the end.
    Read(Result<usize, E>),
    /// A write; 0 is a failure.
    Wrote(Result<usize, E>),
    /// A flush.
    Flushed(Result<(), E>),
    /// The closing of this direction, whatever came of it.
    Closed,
}

/// Where a dialogue on a stream stands.
#[derive(Debug)]
pub enum Polled<T, F> {
    /// Something happened.
    Event(T),
    /// It takes a [`Turn`].
    Wait,
    /// It is over, and the last words were said: how it ended.
    Over(Result<(), F>),
}

/// An end of a dialogue, and what is known of its stream.
pub struct Link<C: Endpoint, E> {
    end: C,
    /// Written and not flushed: streams that buffer keep it back otherwise.
    unflushed: bool,
    failed: Option<E>,
    parting: Option<Parting<C::Error>>,
}

struct Parting<F> {
    result: Result<(), F>,
    until: Instant,
    stage: Stage,
    /// What the peer says now is of no consequence.
    scratch: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Say { said: bool },
    Hear,
    Close,
    Linger,
    Gone,
}

impl<C: Endpoint, E> Link<C, E> {
    /// A link over a stream that is open.
    pub fn new(end: C) -> Self {
        Self { end, unflushed: false, failed: None, parting: None }
    }

    /// The dialogue itself.
    pub fn end(&self) -> &C {
        &self.end
    }

    /// The dialogue itself.
    pub fn end_mut(&mut self) -> &mut C {
        &mut self.end
    }

    /// What ended the dialogue, if it did not end as it should.
    pub fn failure(&self) -> Option<&C::Error> {
        self.parting.as_ref()?.result.as_ref().err()
    }

    /// What the stream failed with, once, where it is the cause of the end.
    pub fn take_failure(&mut self) -> Option<E> {
        self.failed.take()
    }

    /// Goes on until something happens or is to be waited for. It can be asked at any time.
    pub fn poll(&mut self, now: Instant) -> Polled<C::Event, C::Error> {
        if self.parting.is_none() {
            match self.end.poll(now) {
                Ok(Some(event)) => return Polled::Event(event),
                Ok(None) if self.end.is_over() => self.part(now, Ok(())),
                Ok(None) => {}
                Err(error) => self.part(now, Err(error)),
            }
        }
        match &mut self.parting {
            None => Polled::Wait,
            Some(parting) if parting.stage == Stage::Gone || parting.until <= now => {
                parting.stage = Stage::Gone;
                Polled::Over(parting.result.clone())
            }
            Some(_) => Polled::Wait,
        }
    }

    /// Leaves at once, with nothing but what there is to say now.
    pub fn leave(&mut self, now: Instant) {
        if self.parting.is_none() {
            self.part(now, Ok(()));
        }
    }

    fn part(&mut self, now: Instant, result: Result<(), C::Error>) {
        let stage = Stage::Say { said: false };
        self.parting = Some(Parting { result, until: now.after(FAREWELL), stage, scratch: Vec::new() });
    }

    /// What is to be done with the stream now.
    pub fn turn(&mut self, now: Instant) -> Turn<'_> {
        let Some(parting) = &mut self.parting else {
            let Wants { read, write, deadline } = self.end.wants(now);
            let flush = self.unflushed && write.is_empty();
            return Turn { read, write, flush, close: false, deadline: deadline.map(|deadline| deadline.at) };
        };
        let Wants { write, deadline, .. } = self.end.wants(now);
        // A server that holds its words back, which only a test asks for, says until when. What a client would still wait for
        // is not waited for any more.
        let holds = C::MANNERS == Manners::Server && write.is_empty();
        let held = deadline.map(|deadline| deadline.at).filter(|_| holds);
        parting.until = held.map_or(parting.until, |held| held.after(FAREWELL));
        if let Stage::Say { said } = parting.stage {
            if write.is_empty() && held.is_none() && !self.unflushed {
                let hears = said && parting.result.is_err() && C::MANNERS == Manners::Client;
                parting.stage = if hears { Stage::Hear } else { Stage::Close };
            }
        }
        let says = matches!(parting.stage, Stage::Say { .. });
        let reads = matches!(parting.stage, Stage::Hear | Stage::Linger);
        parting.scratch.resize(if reads { SCRATCH } else { 0 }, 0);
        Turn {
            read: &mut parting.scratch,
            flush: says && self.unflushed && write.is_empty(),
            write: if says { write } else { &[] },
            close: parting.stage == Stage::Close,
            deadline: held.or(Some(parting.until)),
        }
    }

    /// Takes what came of a turn, or of a part of it.
    pub fn did(&mut self, did: Did<E>) {
        match (did, &mut self.parting) {
            (Did::Read(Ok(n)), None) => self.end.received(n),
            (Did::Read(Err(error)), None) => {
                self.failed.get_or_insert(error);
                self.end.received(0);
            }
            (Did::Read(Ok(1..)), Some(Parting { stage: Stage::Linger, .. })) => {}
            (Did::Read(_), Some(parting)) => {
                parting.stage = if parting.stage == Stage::Hear { Stage::Close } else { Stage::Gone };
            }
            (Did::Wrote(Ok(n @ 1..)), parting) => {
                self.end.sent(n);
                self.unflushed = true;
                if let Some(Parting { stage: Stage::Say { said }, .. }) = parting {
                    *said = true;
                }
            }
            (Did::Wrote(Ok(_)), None) => self.end.write_failed(),
            (Did::Wrote(Err(error)) | Did::Flushed(Err(error)), None) => {
                self.failed.get_or_insert(error);
                self.unflushed = false;
                self.end.write_failed();
            }
            (Did::Wrote(_) | Did::Flushed(Err(_)), Some(parting)) => parting.stage = Stage::Gone,
            (Did::Flushed(Ok(())), _) => self.unflushed = false,
            (Did::Closed, Some(parting)) => {
                parting.stage = if C::MANNERS == Manners::Server { Stage::Linger } else { Stage::Gone };
            }
            (Did::Closed, None) => {}
        }
    }
}

macro_rules! forward {
    () => {
        fn wants(&mut self, now: Instant) -> Wants<'_> {
            self.wants(now)
        }

        fn received(&mut self, n: usize) {
            self.received(n);
        }

        fn sent(&mut self, n: usize) {
            self.sent(n);
        }

        fn write_failed(&mut self) {
            self.write_failed();
        }
    };
}

impl Endpoint for Connection {
    type Event = Event;
    type Error = crate::Error;
    const MANNERS: Manners = Manners::Client;

    fn poll(&mut self, now: Instant) -> Result<Option<Event>, crate::Error> {
        self.poll(now)
    }

    fn is_over(&self) -> bool {
        self.is_closed()
    }

    forward!();
}

impl Endpoint for Accepted {
    type Event = server::Event;
    type Error = AcceptedError;
    const MANNERS: Manners = Manners::Server;

    fn poll(&mut self, now: Instant) -> Result<Option<server::Event>, AcceptedError> {
        self.poll(now)
    }

    fn is_over(&self) -> bool {
        self.is_over()
    }

    forward!();
}

impl<C: Endpoint, E> fmt::Debug for Link<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("parting", &self.parting.is_some()).finish_non_exhaustive()
    }
}
