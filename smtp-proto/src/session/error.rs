//! What can go wrong, in an adapter's words.
//!
//! The rules of this file: it is the same for all adapters, so it does not know what a transport's own error is.

use alloc::string::String;
use alloc::vec::Vec;
use core::error;
use core::fmt;
use core::net::SocketAddr;

use crate::Misuse;

/// Why an operation did not succeed; `E` is the transport's own error.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error<E> {
    /// The host's name has no address, or was not found in time.
    Resolve {
        /// The name.
        host: String,
        /// What the system says.
        source: E,
    },
    /// No address could be connected to; each with its reason, in the order tried.
    Connect(Vec<(SocketAddr, E)>),
    /// The session failed.
    Session {
        /// Where and why.
        error: crate::Error,
        /// What the system says about the transport, where it is the cause.
        source: Option<E>,
    },
    /// The message could not be read from its source; it was not sent.
    Message(E),
    /// An earlier operation was left unfinished: this connection cannot be used any more.
    Unfinished,
    /// The caller's slip; nothing was sent.
    Misuse(Misuse),
}

impl<E> From<Misuse> for Error<E> {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { host, source } => write!(f, "resolve: {host}: {source}"),
            Self::Connect(tried) => {
                f.write_str("connect: ")?;
                for (at, (address, error)) in tried.iter().enumerate() {
                    write!(f, "{}{address}: {error}", if at == 0 { "" } else { "; " })?;
                }
                Ok(())
            }
            Self::Session { error, source: None } => write!(f, "{error}"),
            Self::Session { error, source: Some(source) } => write!(f, "{error} ({source})"),
            Self::Message(source) => write!(f, "the message cannot be read: {source}"),
            Self::Unfinished => f.write_str("an earlier operation on this connection was left unfinished"),
            Self::Misuse(misuse) => write!(f, "{misuse}"),
        }
    }
}

impl<E: error::Error + 'static> error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Resolve { source, .. } | Self::Message(source) => Some(source),
            Self::Connect(tried) => tried.last().map(|(_, error)| error as _),
            Self::Session { error, .. } => Some(error),
            Self::Misuse(misuse) => Some(misuse),
            Self::Unfinished => None,
        }
    }
}
