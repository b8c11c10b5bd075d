//! Messages on their way: which is read when, and what became of each.
//!
//! The rules of this file:
//!
//! - Results are told in the order of the messages, whatever the order of their transactions.
//! - A message that can be opened again goes in as many transactions as the server's limits (RFC 9422) and its 452 (RFC 5321
//!   section 4.5.3.1.10) ask for; what is told is one report. One that can be read but once goes once.
//! - Once the session has broken down, no further message is taken from the caller's iterator.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::iter::Fuse;

use super::Error;
use super::source::Source;
use super::task::Task;
use crate::body::LineEndings;
use crate::client::{Envelope, Event, Report, TransactionId};
use crate::{Connection, Misuse};

/// Messages queued before the one whose turn it is was handed over: their commands may follow it at once.
const AHEAD: usize = 2;

/// What gives a message to be read from its beginning: any closure that does, as often as it is asked.
pub trait Open<E> {
    /// What it is read from.
    type From;

    /// Opens the message; `None` where it cannot be read once more.
    fn open(&mut self) -> Option<Result<Self::From, E>>;

    /// Whether it can be opened several times.
    fn reopens(&self) -> bool;
}

impl<R, E, F: FnMut() -> Result<R, E>> Open<E> for F {
    type From = R;

    fn open(&mut self) -> Option<Result<R, E>> {
        Some(self())
    }

    fn reopens(&self) -> bool {
        true
    }
}

/// A message that can be read but once.
#[derive(Debug)]
pub struct Once<R>(Option<R>);

impl<R> Once<R> {
    /// This one.
    pub fn new(from: R) -> Self {
        Self(Some(from))
    }
}

impl<R, E> Open<E> for Once<R> {
    type From = R;

    fn open(&mut self) -> Option<Result<R, E>> {
        self.0.take().map(Ok)
    }

    fn reopens(&self) -> bool {
        false
    }
}

/// Messages, one behind the other as close as the server allows. The outcome is what became of the first that has not been
/// told, or `None` where all were: its [report](Report), or why it was not sent ([`Error::Misuse`], [`Error::Message`]).
pub struct Outbox<I: Iterator, O: Open<E>, E> {
    messages: Fuse<I>,
    endings: LineEndings,
    /// Being read.
    sources: Vec<Source<O::From, E>>,
    /// Not told yet, in order.
    due: VecDeque<Due<O, E>>,
}

/// A message that has not been told of.
struct Due<O, E> {
    message: O,
    /// Transactions to come; the last is the next.
    parts: Vec<Envelope>,
    /// The one that is under way.
    current: Option<TransactionId>,
    /// What became of those before.
    report: Option<Report>,
    /// Why it was given up.
    failed: Option<Error<E>>,
}

impl<O: Open<E>, E> Due<O, E> {
    fn is_done(&self) -> bool {
        self.current.is_none() && self.parts.is_empty()
    }

    /// Begins the next transaction, and gives what it is read from.
    fn begin(&mut self, connection: &mut Connection, endings: LineEndings) -> Option<Source<O::From, E>> {
        let envelope = self.parts.pop()?;
        let total = envelope.octets();
        // Where others were told of already, those of a part that cannot be begun must be told of, too.
        let unbegun = self.report.is_some().then(|| envelope.clone());
        let Some(opened) = self.message.open() else {
            self.parts.extend(unbegun);
            self.give_up();
            // Whom the message cannot be read for once more is told of in the report. But there must be something to tell.
            if self.report.is_none() {
                self.failed = Some(Misuse::Empty { what: "source of the message" }.into());
            }
            return None;
        };
        let queued = opened.map_err(Error::Message).and_then(|from| Ok((connection.send(envelope, endings)?, from)));
        match queued {
            Ok((id, from)) => {
                self.current = Some(id);
                Some(Source::new(id, total, from))
            }
            Err(error) => {
                self.parts.extend(unbegun);
                self.give_up();
                self.failed = Some(error);
                None
            }
        }
    }

    fn hear(&mut self, report: Report) {
        self.current = None;
        let over = report.cut_short.is_some() || self.failed.is_some();
        let rest = report.remaining().filter(|_| self.message.reopens());
        match &mut self.report {
            Some(known) => known.merge(report),
            None => self.report = Some(report),
        }
        self.parts.extend(rest);
        if over {
            self.give_up();
        }
    }

    /// No further transaction is begun: nobody of these has the message.
    fn give_up(&mut self) {
        for part in self.parts.drain(..) {
            if let Some(report) = &mut self.report {
                report.merge_unsent(part);
            }
        }
    }

    fn outcome(self) -> Option<Result<Report, Error<E>>> {
        match (self.report, self.failed) {
            (Some(report), None) => Some(Ok(report)),
            // Some have it, or may: that is worth more than why the others do not.
            (Some(report), Some(_)) if report.recipients.iter().any(|one| !one.outcome.is_not_sent()) => {
                Some(Ok(report))
            }
            (_, Some(error)) => Some(Err(error)),
            (None, None) => None,
        }
    }
}

impl<I: Iterator, O: Open<E>, E> Outbox<I, O, E> {
    pub(super) fn new(messages: I, endings: LineEndings) -> Self {
        Self { messages: messages.fuse(), endings, sources: Vec::new(), due: VecDeque::new() }
    }

    /// What is read as a whole makes room for the next.
    fn drop_whole(&mut self) {
        for at in (0..self.sources.len()).rev() {
            if self.sources[at].is_over() {
                let mut source = self.sources.remove(at);
                if let Some(due) = self.due.iter_mut().find(|due| due.current == Some(source.id)) {
                    due.failed = source.failed.take();
                }
            }
        }
    }
}

impl<I: Iterator<Item = (Envelope, O)>, O: Open<E>, E> Task<E> for Outbox<I, O, E> {
    type Outcome = Option<Result<Report, Error<E>>>;
    type From = O::From;

    fn ask(&mut self, connection: &mut Connection) -> Option<Self::Outcome> {
        self.drop_whole();
        while self.sources.len() < AHEAD {
            let waiting = |due: &&mut Due<O, E>| due.current.is_none() && !due.parts.is_empty();
            if let Some(due) = self.due.iter_mut().find(waiting) {
                self.sources.extend(due.begin(connection, self.endings));
                continue;
            }
            // What could not be begun stays with the caller.
            if connection.is_broken() {
                break;
            }
            let Some((envelope, message)) = self.messages.next() else { break };
            let mut parts =
                if message.reopens() { envelope.parts(connection.extensions()) } else { Vec::from([envelope]) };
            parts.reverse();
            self.due.push_back(Due { message, parts, current: None, report: None, failed: None });
        }
        match self.due.front() {
            // How the session broke down says why the rest is not told of.
            None if connection.is_broken() && self.messages.size_hint().1 != Some(0) => None,
            None => Some(None),
            Some(first) if first.is_done() => self.due.pop_front()?.outcome().map(Some),
            Some(_) => None,
        }
    }

    fn hear(&mut self, event: Event) -> Option<Self::Outcome> {
        let Event::Sent(report) = event else { return None };
        self.drop_whole();
        // What is nobody's belongs to a task that was left.
        let due = self.due.iter_mut().find(|due| due.current == Some(report.transaction))?;
        self.sources.retain(|source| source.id != report.transaction);
        due.hear(report);
        None
    }

    fn sources(&mut self) -> &mut [Source<O::From, E>] {
        &mut self.sources
    }
}

impl<I: Iterator, O: Open<E>, E> fmt::Debug for Outbox<I, O, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("due", &self.due.len()).finish_non_exhaustive()
    }
}

/// One message, until it is known what became of it.
#[derive(Debug)]
pub struct Sending<O: Open<E>, E>(pub(super) Outbox<core::iter::Once<(Envelope, O)>, O, E>);

impl<O: Open<E>, E> Task<E> for Sending<O, E> {
    type Outcome = Result<Report, Error<E>>;
    type From = O::From;

    fn ask(&mut self, connection: &mut Connection) -> Option<Self::Outcome> {
        self.0.ask(connection)?
    }

    fn hear(&mut self, event: Event) -> Option<Self::Outcome> {
        self.0.hear(event)?
    }

    fn sources(&mut self) -> &mut [Source<O::From, E>] {
        self.0.sources()
    }
}
