//! A session as an adapter drives it: what it is asked to do, and one turn after the other on its stream.
//!
//! An adapter is a loop: [`step`](Session::step) with a [`Task`]; on [`Step::Turn`] it does what [`turn`](Session::turn) says,
//! all at once, and tells it with [`did`](Session::did). It knows its runtime's streams and timers, and nothing else.
//! Who wants to see every event uses [`Connection`] itself.
//!
//! The rules of this room:
//!
//! - It knows no stream, no clock and no error of theirs: `E` is the transport's own, and is only passed on.
//! - One task at a time: whoever asks for the next gives up the one before. What that had not begun is withdrawn. What it had
//!   said is answered while the next one runs, which hears its own events only. But a message left in its middle holds up all
//!   that could be said behind it: the next task is refused.

mod error;
mod link;
mod outbox;
mod race;
mod reuse;
mod source;
mod task;

use alloc::boxed::Box;
use core::fmt;

use proxy_proto::Instant;

pub use error::Error;
pub use link::{Did, Endpoint, FAREWELL, Link, Manners, Polled, Turn};
pub use outbox::{Once, Open as OpenMessage, Outbox, Sending};
pub use race::{Next, Race};
pub use reuse::{Fitness, Reuse, is_lost_in_vain};
pub use source::{Progress, Source};
pub use task::{Commanded, Quit, Ready, Task};

use crate::body::LineEndings;
use crate::client::{Envelope, Event};
use crate::command::Command;
use crate::dial::Open;
use crate::{Config, Connection, Misuse, Route};
use source::Fed;

/// What is to be done next for a task that ends with an outcome `O` and reads its messages from `R`.
// The task itself is not named: what holds a step in a future would not be `Send` where the task borrows something.
#[derive(Debug)]
pub enum Step<'t, O, R, E> {
    /// The task has come to its outcome.
    Done(O),
    /// The session is over, or the task was refused.
    Failed(Error<E>),
    /// A [`Turn`]; and this message, if any, is to be read from meanwhile.
    Turn(Option<&'t mut Source<R, E>>),
}

/// One session with a server, without its stream.
pub struct Session<E> {
    link: Link<Connection, E>,
    ready: bool,
    endings: LineEndings,
    /// Transactions that came to an end.
    messages: u64,
    /// When a task last came to its outcome.
    heard: Instant,
    watcher: Option<Box<dyn FnMut(Progress) + Send + Sync>>,
}

impl<E> Session<E> {
    /// A session over a stream that is open, to the server or to the first proxy of `route`.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the configuration cannot be said or meant.
    pub fn new(config: &Config, route: Route) -> Result<Self, Misuse> {
        Ok(Self::of(Connection::new(config.clone(), route)?, config.get_line_endings()))
    }

    /// A session over a stream that a dialer wanted opened.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn open(open: Open) -> Result<Self, Misuse> {
        let endings = open.config.get_line_endings();
        Ok(Self::of(open.connection()?, endings))
    }

    fn of(connection: Connection, endings: LineEndings) -> Self {
        let link = Link::new(connection);
        Self { link, ready: false, endings, messages: 0, heard: Instant::EPOCH, watcher: None }
    }

    /// Tells `watcher` how far a message is, whenever the connection has taken some of it.
    pub fn watch(&mut self, watcher: impl FnMut(Progress) + Send + Sync + 'static) {
        self.watcher = Some(Box::new(watcher));
    }

    /// What the session has agreed on.
    pub fn connection(&self) -> &Connection {
        self.link.end()
    }

    /// Being ready; see [`Event::Ready`].
    pub fn ready(&self) -> Ready {
        Ready { already: self.ready }
    }

    /// Sends one message, opened as often as there are transactions to be made for it.
    ///
    /// # Errors
    ///
    /// [`Error::Unfinished`]: nothing was sent. [`Error::Session`] where the session was over before.
    pub fn send<O: OpenMessage<E>>(
        &mut self,
        now: Instant,
        envelope: Envelope,
        message: O,
    ) -> Result<Sending<O, E>, Error<E>> {
        Ok(Sending(self.send_all(now, core::iter::once((envelope, message)))?))
    }

    /// Sends messages; each is taken from the iterator, and opened, shortly before its turn.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn send_all<I, O>(&mut self, now: Instant, messages: I) -> Result<Outbox<I::IntoIter, O, E>, Error<E>>
    where
        I: IntoIterator<Item = (Envelope, O)>,
        O: OpenMessage<E>,
    {
        self.check(now)?;
        Ok(Outbox::new(messages.into_iter(), self.endings))
    }

    /// Says a command of the caller's own.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send); [`Error::Misuse`] where the command has a method of its own.
    pub fn command(&mut self, now: Instant, command: Command) -> Result<Commanded, Error<E>> {
        self.check(now)?;
        Ok(Commanded(self.link.end_mut().command(command)?))
    }

    /// Says QUIT, and closes.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn quit(&mut self, now: Instant) -> Result<Quit, Error<E>> {
        self.check(now)?;
        self.link.end_mut().quit()?;
        Ok(Quit(()))
    }

    /// Closes without waiting for anybody, and says QUIT where the server listens for that: the rest of the turns follows
    /// with [`Quit`] as the task.
    pub fn leave(&mut self, now: Instant) -> Quit {
        // Where nothing can be said any more there is nothing to say.
        let _ = self.link.end_mut().quit();
        self.link.leave(now);
        Quit(())
    }

    /// Goes on until the task has an outcome, or needs the stream.
    pub fn step<'t, O, R>(
        &mut self,
        now: Instant,
        task: &'t mut impl Task<E, Outcome = O, From = R>,
    ) -> Step<'t, O, R, E> {
        let outcome = loop {
            if let Some(outcome) = task.ask(self.link.end_mut()) {
                break outcome;
            }
            match self.link.poll(now) {
                Polled::Event(event) => {
                    self.note(&event);
                    if let Some(outcome) = task.hear(event) {
                        break outcome;
                    }
                    continue;
                }
                Polled::Over(Ok(())) => match task.parted() {
                    Some(outcome) => break outcome,
                    None => return Step::Failed(Misuse::NotOpen.into()),
                },
                Polled::Over(Err(error)) => {
                    return Step::Failed(Error::Session { error, source: self.link.take_failure() });
                }
                Polled::Wait => {}
            }
            let connection = self.link.end_mut();
            let fed =
                task.sources().iter_mut().enumerate().find_map(|(at, one)| Some((at, one.feed(now, connection)?)));
            if let (Some((_, (_, Some(progress)))), Some(watcher)) = (&fed, &mut self.watcher) {
                watcher(*progress);
            }
            match fed.map(|(at, (fed, _))| (at, fed)) {
                Some((_, Fed::Whole)) => {}
                Some((at, Fed::Hungry)) => return Step::Turn(task.sources().get_mut(at)),
                Some((_, Fed::Enough)) | None => return Step::Turn(None),
            }
        };
        self.heard = now;
        Step::Done(outcome)
    }

    /// Whether the session, which lay idle, can be used once more. What has arrived meanwhile is to be told before, by
    /// turns with what can be read at once.
    pub fn fitness(&mut self, now: Instant, reuse: &Reuse) -> Fitness {
        if self.check(now).is_err() || !self.link.end().is_clean() {
            return Fitness::Over;
        }
        reuse.judge(now, self.heard, self.messages)
    }

    /// What is to be done with the stream.
    pub fn turn(&mut self, now: Instant) -> Turn<'_> {
        self.link.turn(now)
    }

    /// Takes what came of a turn, or of a part of it.
    pub fn did(&mut self, did: Did<E>) {
        self.link.did(did);
    }

    fn note(&mut self, event: &Event) {
        self.ready |= matches!(event, Event::Ready);
        self.messages += u64::from(matches!(event, Event::Sent(_)));
    }

    /// How the session has failed, as soon as that is known: there may be a last word to say yet.
    fn failure(&mut self) -> Option<(crate::Error, Option<E>)> {
        let error = self.link.failure().cloned()?;
        Some((error, self.link.take_failure()))
    }

    /// Refuses a task that would be held up by what an earlier one left behind.
    fn check(&mut self, now: Instant) -> Result<(), Error<E>> {
        // An event of now belongs to a task that was left: nobody asks for it any more.
        while let Polled::Event(event) = self.link.poll(now) {
            self.note(&event);
        }
        if let Some((error, source)) = self.failure() {
            return Err(Error::Session { error, source });
        }
        // Replies to what was said before may still be due; what is said next goes behind them.
        if self.link.end_mut().withdraw() { Ok(()) } else { Err(Error::Unfinished) }
    }
}

impl<E> fmt::Debug for Session<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.link.end().phase();
        f.debug_struct("Session").field("phase", &phase).finish_non_exhaustive()
    }
}
