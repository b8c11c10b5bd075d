//! The other end: a connection that a server has accepted. Accepting connections, and running sessions beside each other, is
//! the business of the runtime at hand.
//!
//! ```no_run
//! use smtp_async_std::proto::{Accepted, server};
//! use smtp_async_std::{AsyncStd, serve::Served};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = async_std::net::TcpListener::bind("127.0.0.1:2525").await?;
//! let (stream, peer) = listener.accept().await?;
//! let accepted = Accepted::new(server::Config::new("mx.example.org")?, None)?;
//! let mut served = Served::new(accepted, stream, AsyncStd);
//! while let Some(event) = served.next().await? {
//!     println!("{peer}: {event:?}");
//!     // Whatever was asked: yes.
//!     while let Some(decision) = served.connection().decision() {
//!         decision.accept();
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The rules of this file: as for the client's loop, every octet and every deadline lives in the machine, so a future may be
//! dropped at any await.

use std::fmt;
use std::future::poll_fn;
use std::io;

use futures_io::{AsyncRead, AsyncWrite};
use smtp_proto::server::Event;
use smtp_proto::session::{Link, Polled};
use smtp_proto::{Accepted, AcceptedError};

use crate::Timer;
use crate::stream::{Clock, exchange};

/// Why a session ended badly.
#[derive(Debug)]
pub struct Error {
    /// What the session says.
    pub error: AcceptedError,
    /// What the system says about the transport, where it is the cause.
    pub source: Option<io::Error>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            None => write!(f, "{}", self.error),
            Some(source) => write!(f, "{} ({source})", self.error),
        }
    }
}

impl std::error::Error for Error {}

/// One session with a client, over any stream.
///
/// Where an event is a question, it is answered through [`connection`](Self::connection) before the next call; the session
/// stands still until then.
#[derive(Debug)]
pub struct Served<S, T> {
    link: Link<Accepted, io::Error>,
    stream: S,
    clock: Clock<T>,
}

impl<S: AsyncRead + AsyncWrite + Unpin, T: Timer> Served<S, T> {
    /// A session over a stream that was accepted.
    pub fn new(connection: Accepted, stream: S, timer: T) -> Self {
        Self { link: Link::new(connection), stream, clock: Clock::start(timer) }
    }

    /// The session itself: its questions, and what is known of the client. Who stops the server drops the future of
    /// [`next`](Self::next), says [`shut_down`](Accepted::shut_down) here, and asks again until the end.
    pub fn connection(&mut self) -> &mut Accepted {
        self.link.end_mut()
    }

    /// The stream that the session runs on.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Runs until something happens; `None` where the session has ended as it should and the stream is closed.
    ///
    /// The future may be dropped at any time, and asked for again.
    ///
    /// # Errors
    ///
    /// [`Error`]; the stream is closed then, too.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            let now = self.clock.now();
            match self.link.poll(now) {
                Polled::Event(event) => return Ok(Some(event)),
                Polled::Over(Ok(())) => return Ok(None),
                Polled::Over(Err(error)) => return Err(Error { error, source: self.link.take_failure() }),
                Polled::Wait => {}
            }
            let mut turn = self.link.turn(now);
            let (stream, deadline) = (&mut self.stream, turn.deadline);
            let first = poll_fn(|cx| exchange(cx, stream, &mut turn));
            if let Some(did) = self.clock.until(deadline, first).await {
                self.link.did(did);
            }
        }
    }
}
