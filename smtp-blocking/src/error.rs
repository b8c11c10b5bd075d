//! What can go wrong, in the adapter's words.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use smtp_proto::Misuse;

/// Why an operation did not succeed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The host's name has no address, or was not found in time.
    Resolve {
        /// The name.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// No address could be connected to; each with its reason, in the order tried.
    Connect(Vec<(SocketAddr, io::Error)>),
    /// The session failed.
    Session {
        /// Where and why.
        error: smtp_proto::Error,
        /// What the system says about the transport, where it is the cause.
        source: Option<io::Error>,
    },
    /// The message could not be read from its source; it was not sent.
    Message(io::Error),
    /// An earlier operation was left unfinished: this connection cannot be used any more.
    Unfinished,
    /// The caller's slip; nothing was sent.
    Misuse(Misuse),
}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl fmt::Display for Error {
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

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve { source, .. } | Self::Message(source) => Some(source),
            Self::Connect(tried) => tried.last().map(|(_, error)| error as _),
            Self::Session { error, .. } => Some(error),
            Self::Misuse(misuse) => Some(misuse),
            Self::Unfinished => None,
        }
    }
}
