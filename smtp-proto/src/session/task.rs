//! What a session is asked to do, from its first word to its outcome.
//!
//! The rules of this file: a task knows what it waits for, and nothing of streams.

use super::source::Source;
use crate::client::{CommandId, Event};
use crate::reply::Reply;
use crate::{Connection, Misuse};

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
