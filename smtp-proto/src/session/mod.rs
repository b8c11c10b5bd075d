//! A session as an adapter drives it: what it is asked to do, and one turn after the other on its stream.
//!
//! An adapter is a loop: [`step`](Session::step) with a [`Task`]; on [`Step::Turn`] it does what [`turn`](Session::turn) says,
//! all at once, and tells it with [`did`](Session::did). It knows its runtime's streams and timers, and nothing else.
//! Who wants to see every event uses [`Connection`] itself.
//!
//! The rules of this room:
//!
//! - It knows no stream, no clock and no error of theirs: `E` is the transport's own, and is only passed on.
//! - A task that was left before its outcome leaves the session busy: the next one is refused, and never hears an old reply.

mod error;
mod link;
mod message;
mod reuse;
mod task;

use core::fmt;

use proxy_proto::Instant;

pub use error::Error;
pub use link::{Did, Endpoint, FAREWELL, Link, Manners, Polled, Turn};
pub use message::{Message, Progress, Source};
pub use reuse::{Fitness, Reuse, is_lost_in_vain};
pub use task::{Commanded, Outbox, Quit, Ready, Sending, Task};

use crate::body::LineEndings;
use crate::client::{Envelope, Event};
use crate::command::Command;
use crate::{Config, Connection, Misuse, Route};
use message::Fed;

/// What is to be done next.
#[derive(Debug)]
pub enum Step<'t, T: Task<E>, E> {
    /// The task has come to its outcome.
    Done(T::Outcome),
    /// The session is over, or the task was refused.
    Failed(Error<E>),
    /// A [`Turn`]; and this message, if any, is to be read from meanwhile.
    Turn(Option<&'t mut Source<T::From, E>>),
}

/// One session with a server, without its stream.
pub struct Session<E> {
    link: Link<Connection, E>,
    ready: bool,
    /// A task has begun, and not come to its outcome.
    busy: bool,
    endings: LineEndings,
    /// Transactions that came to an end.
    messages: u64,
    /// When a task last came to its outcome.
    heard: Instant,
}

impl<E> Session<E> {
    /// A session over a stream that is open, to the server or to the first proxy of `route`.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the configuration cannot be said or meant.
    pub fn new(config: &Config, route: Route) -> Result<Self, Misuse> {
        let link = Link::new(Connection::new(config.clone(), route)?);
        let endings = config.get_line_endings();
        Ok(Self { link, ready: false, busy: false, endings, messages: 0, heard: Instant::EPOCH })
    }

    /// What the session has agreed on.
    pub fn connection(&self) -> &Connection {
        self.link.end()
    }

    /// Being ready; see [`Event::Ready`].
    pub fn ready(&self) -> Ready {
        Ready { already: self.ready }
    }

    /// Sends one message.
    ///
    /// # Errors
    ///
    /// [`Error::Unfinished`]: nothing was sent. [`Error::Session`] where the session was over before.
    pub fn send<R>(
        &mut self,
        now: Instant,
        envelope: Envelope,
        message: impl Into<Message<R>>,
    ) -> Result<Sending<R, E>, Error<E>> {
        Ok(Sending(self.send_all(now, core::iter::once((envelope, message.into())))?))
    }

    /// Sends messages; each is taken from the iterator shortly before its turn.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn send_all<I, M, R>(&mut self, now: Instant, messages: I) -> Result<Outbox<I::IntoIter, R, E>, Error<E>>
    where
        I: IntoIterator<Item = (Envelope, M)>,
        M: Into<Message<R>>,
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
    pub fn step<'t, T: Task<E>>(&mut self, now: Instant, task: &'t mut T) -> Step<'t, T, E> {
        self.busy = true;
        let outcome = loop {
            if let Some(outcome) = task.ask(self.link.end_mut()) {
                break outcome;
            }
            match self.link.poll(now) {
                Polled::Event(event) => {
                    self.ready |= matches!(event, Event::Ready);
                    self.messages += u64::from(matches!(event, Event::Sent(_)));
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
            match fed {
                Some((_, Fed::Whole)) => {}
                Some((at, Fed::Hungry)) => return Step::Turn(task.sources().get_mut(at)),
                Some((_, Fed::Enough)) | None => return Step::Turn(None),
            }
        };
        self.busy = false;
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

    /// Refuses a task that could hear what an earlier one left behind.
    fn check(&mut self, now: Instant) -> Result<(), Error<E>> {
        // An event of now belongs to a task that was left: nobody asks for it any more.
        drop(self.link.poll(now));
        match self.link.failure() {
            Some(error) => {
                let error = error.clone();
                Err(Error::Session { error, source: self.link.take_failure() })
            }
            None if self.busy => Err(Error::Unfinished),
            // Replies to what the last message said in vain may still be due; what is said next goes behind them.
            None => Ok(()),
        }
    }
}

impl<E> fmt::Debug for Session<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.link.end().phase();
        f.debug_struct("Session").field("phase", &phase).field("busy", &self.busy).finish_non_exhaustive()
    }
}
