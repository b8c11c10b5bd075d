//! What a session is asked to do, from its first word to its outcome.
//!
//! The rules of this file: a task knows what it waits for, and nothing of streams; what several messages in a row have to do
//! with each other is decided here.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::iter::Fuse;

use super::Error;
use super::source::Source;
use crate::body::LineEndings;
use crate::client::{CommandId, Envelope, Event, Report, TransactionId};
use crate::reply::Reply;
use crate::{Connection, Misuse};

/// Messages queued before the one whose turn it is was handed over: their commands may follow it at once.
const AHEAD: usize = 2;

/// What a task without a message would read.
type Nothing = &'static [u8];

/// Something that a session does until it comes to an outcome.
pub trait Task<E> {
    /// What comes of it.
    type Outcome;
    /// What its messages are read from.
    type From;

    /// Asks for what can be asked for now; an outcome where there is nothing to wait for.
    fn ask(&mut self, connection: &mut Connection) -> Option<Self::Outcome>;

    /// Hears what happened; an outcome where that was it.
    fn hear(&mut self, event: Event) -> Option<Self::Outcome>;

    /// The session has ended as it should, and the stream is closed.
    fn parted(&mut self) -> Option<Self::Outcome> {
        None
    }

    /// The messages that are on their way.
    fn sources(&mut self) -> &mut [Source<Self::From, E>] {
        &mut []
    }
}

/// Being greeted, secured and authenticated as configured.
#[derive(Debug)]
pub struct Ready {
    pub(super) already: bool,
}

impl<E> Task<E> for Ready {
    type Outcome = ();
    type From = Nothing;

    fn ask(&mut self, _: &mut Connection) -> Option<()> {
        self.already.then_some(())
    }

    fn hear(&mut self, event: Event) -> Option<()> {
        matches!(event, Event::Ready).then_some(())
    }
}

/// A command of the caller's own, until its reply, or until it is known that the server does not offer what it needs.
#[derive(Debug)]
pub struct Commanded(pub(super) CommandId);

impl<E> Task<E> for Commanded {
    type Outcome = Result<Reply, Misuse>;
    type From = Nothing;

    fn ask(&mut self, _: &mut Connection) -> Option<Self::Outcome> {
        None
    }

    fn hear(&mut self, event: Event) -> Option<Self::Outcome> {
        match event {
            Event::Replied { command, reply } if command == self.0 => Some(Ok(reply)),
            Event::NotSaid { command, misuse } if command == self.0 => Some(Err(misuse)),
            _ => None,
        }
    }
}

/// QUIT, until the stream is closed.
#[derive(Debug)]
pub struct Quit(pub(super) ());

impl<E> Task<E> for Quit {
    type Outcome = ();
    type From = Nothing;

    fn ask(&mut self, _: &mut Connection) -> Option<()> {
        None
    }

    fn hear(&mut self, _: Event) -> Option<()> {
        None
    }

    fn parted(&mut self) -> Option<()> {
        Some(())
    }
}

/// Messages, one behind the other as close as the server allows. The outcome is what became of the first that has not been
/// told, or `None` where all were: its [report](Report), or why it was not sent ([`Error::Misuse`], [`Error::Message`]).
#[derive(Debug)]
pub struct Outbox<I: Iterator, R, E> {
    messages: Fuse<I>,
    endings: LineEndings,
    /// Being read.
    sources: Vec<Source<R, E>>,
    /// Not told yet, in order.
    due: VecDeque<Due<E>>,
}

#[derive(Debug)]
struct Due<E> {
    /// Which it is, or why it was not begun.
    queued: Result<TransactionId, Misuse>,
    failed: Option<Error<E>>,
}

impl<I: Iterator, R, E> Outbox<I, R, E> {
    pub(super) fn new(messages: I, endings: LineEndings) -> Self {
        Self { messages: messages.fuse(), endings, sources: Vec::new(), due: VecDeque::new() }
    }

    /// What is read as a whole makes room for the next.
    fn drop_whole(&mut self) {
        for at in (0..self.sources.len()).rev() {
            if self.sources[at].is_over() {
                let mut source = self.sources.remove(at);
                if let Some(due) = self.due.iter_mut().find(|due| due.queued == Ok(source.id)) {
                    due.failed = source.failed.take();
                }
            }
        }
    }
}

impl<I: Iterator<Item = (Envelope, R)>, R, E> Task<E> for Outbox<I, R, E> {
    type Outcome = Option<Result<Report, Error<E>>>;
    type From = R;

    fn ask(&mut self, connection: &mut Connection) -> Option<Self::Outcome> {
        self.drop_whole();
        while self.sources.len() < AHEAD {
            let Some((envelope, message)) = self.messages.next() else { break };
            let total = envelope.octets();
            let queued = connection.send(envelope, self.endings);
            self.sources.extend(queued.as_ref().ok().map(|id| Source::new(*id, total, message)));
            self.due.push_back(Due { queued, failed: None });
        }
        match self.due.front() {
            None => Some(None),
            Some(Due { queued: Ok(_), .. }) => None,
            Some(_) => {
                let misuse = self.due.pop_front()?.queued.err()?;
                Some(Some(Err(misuse.into())))
            }
        }
    }

    fn hear(&mut self, event: Event) -> Option<Self::Outcome> {
        let Event::Sent(report) = event else { return None };
        if self.due.front()?.queued != Ok(report.transaction) {
            return None; // of a task that was left
        }
        self.drop_whole();
        self.sources.retain(|source| source.id != report.transaction);
        let due = self.due.pop_front();
        Some(Some(due.and_then(|due| due.failed).map_or(Ok(report), Err)))
    }

    fn sources(&mut self) -> &mut [Source<R, E>] {
        &mut self.sources
    }
}

/// One message, until it is known what became of it.
#[derive(Debug)]
pub struct Sending<R, E>(pub(super) Outbox<core::iter::Once<(Envelope, R)>, R, E>);

impl<R, E> Task<E> for Sending<R, E> {
    type Outcome = Result<Report, Error<E>>;
    type From = R;

    fn ask(&mut self, connection: &mut Connection) -> Option<Self::Outcome> {
        self.0.ask(connection)?
    }

    fn hear(&mut self, event: Event) -> Option<Self::Outcome> {
        self.0.hear(event)?
    }

    fn sources(&mut self) -> &mut [Source<R, E>] {
        self.0.sources()
    }
}
