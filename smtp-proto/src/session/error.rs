//! What can go wrong, in an adapter's words.
//!
//! The rules of this file: it is the same for all adapters, so it does not know what a transport's own error is.

use core::error;
use core::fmt;

use crate::Misuse;
use crate::dial::{Failure, Why};

/// Why an operation did not succeed; `E` is the transport's own error.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error<E> {
    /// Nobody could be reached, or no session became ready: everything that was tried.
    Dial(Failure<E>),
    /// The session failed.
    Session {
        /// Where and why.
        error: crate::Error,
        /// What the system says about the transport, where it is the cause.
        source: Option<E>,
    },
    /// The message could not be read from its source; it was not sent.
    Message(E),
    /// An earlier operation was left in the middle of a message: this connection cannot be used any more.
    Unfinished,
    /// The caller's slip; nothing was sent.
    Misuse(Misuse),
}

impl<E> Error<E> {
    /// What a session failed with; where several were tried, the one that has most to tell.
    pub fn session(&self) -> Option<&crate::Error> {
        match self {
            Self::Session { error, .. } => Some(error),
            Self::Dial(failure) => match &failure.telling()?.why {
                Why::Session { error, .. } => Some(error),
                _ => None,
            },
            _ => None,
        }
    }

    /// What the system says about the transport, or about the lookup of a name, where it is the cause; where several were tried,
    /// of the one that has most to tell.
    pub fn transport(&self) -> Option<&E> {
        match self {
            Self::Session { source, .. } => source.as_ref(),
            Self::Dial(failure) => match &failure.telling()?.why {
                Why::Unresolved(error) | Why::Connect(error) => Some(error),
                Why::Session { source, .. } => source.as_ref(),
                Why::NoAddress | Why::TimedOut(_) | Why::Misuse(_) | Why::GivenUp => None,
            },
            Self::Message(_) | Self::Unfinished | Self::Misuse(_) => None,
        }
    }
}

impl<E> From<Misuse> for Error<E> {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(failure) => write!(f, "{failure}"),
            Self::Session { error, source: None } => write!(f, "{error}"),
            Self::Session { error, source: Some(source) } => write!(f, "{error} ({source})"),
            Self::Message(source) => write!(f, "the message cannot be read: {source}"),
            Self::Unfinished => {
                f.write_str("an earlier operation on this connection was left in the middle of a message")
            }
            Self::Misuse(misuse) => write!(f, "{misuse}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> error::Error for Error<E> {}
