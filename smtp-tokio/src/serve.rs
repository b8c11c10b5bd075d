//! The other end: connections that a server has accepted, and the loop that accepts them.
//!
//! ```no_run
//! use smtp_tokio::proto::{Accepted, server};
//! use smtp_tokio::serve::{Served, serve};
//!
//! # async fn example() -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:2525").await?;
//! let stop = std::future::pending();
//! serve(listener, 100, stop, |stream, peer, stopping| async move {
//!     let config = server::Config::new("mx.example.org").expect("a lawful name");
//!     let accepted = Accepted::new(config, None).expect("a configuration that can be said");
//!     let mut served = Served::new(accepted, stream).until(stopping);
//!     while let Ok(Some(event)) = served.next().await {
//!         println!("{peer}: {event:?}");
//!         // Whatever was asked: yes.
//!         while let Some(decision) = served.connection().decision() {
//!             decision.accept();
//!         }
//!     }
//! })
//! .await;
//! # Ok(())
//! # }
//! ```
//!
//! The rules of this file: as for the client's loop, every octet and every deadline lives in the machine, so a future may be
//! dropped at any await; who is stopped is told so, and may finish what it has begun.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use smtp_proto::server::Event;
use smtp_proto::session::{Link, Polled};
use smtp_proto::{Accepted, AcceptedError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

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

/// Whether the server is being stopped; each session has one of its own.
#[derive(Clone, Debug)]
pub struct Stopping(Option<watch::Receiver<bool>>);

impl Stopping {
    /// It never is.
    pub fn never() -> Self {
        Self(None)
    }

    /// Waits until it is.
    pub async fn wait(&mut self) {
        match &mut self.0 {
            // The sender is gone with the server: that is a stop, too.
            Some(stopped) => drop(stopped.wait_for(|stopped| *stopped).await),
            None => std::future::pending().await,
        }
    }
}

/// One session with a client, over any stream.
///
/// Where an event is a question, it is answered through [`connection`](Self::connection) before the next call; the session
/// stands still until then.
#[derive(Debug)]
pub struct Served<S = TcpStream> {
    link: Link<Accepted, io::Error>,
    stream: S,
    clock: Clock,
    stopping: Stopping,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Served<S> {
    /// A session over a stream that was accepted.
    pub fn new(connection: Accepted, stream: S) -> Self {
        Self { link: Link::new(connection), stream, clock: Clock::start(), stopping: Stopping::never() }
    }

    /// Ends with 421 at the next boundary between replies, once the server is being stopped.
    #[must_use]
    pub fn until(mut self, stopping: Stopping) -> Self {
        self.stopping = stopping;
        self
    }

    /// The session itself: its questions, and what is known of the client.
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
            let first = {
                let mut turn = self.link.turn(now);
                let (stream, deadline, mut stopped) = (&mut self.stream, turn.deadline, pin!(self.stopping.wait()));
                let first = poll_fn(|cx| match stopped.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(None),
                    Poll::Pending => exchange(cx, stream, &mut turn).map(Some),
                });
                self.clock.until(deadline, first).await
            };
            match first {
                Some(Some(did)) => self.link.did(did),
                Some(None) => {
                    self.stopping = Stopping::never();
                    self.link.end_mut().shut_down();
                }
                None => {}
            }
        }
    }
}

/// Accepts connections and runs a session for each, at most `most` at a time; whoever comes then waits to be accepted.
///
/// How many may wait besides is the listener's own affair: [`TcpListener::bind`] lets 128 of them wait, on most systems, and of a
/// crowd that finds no room some wait for a greeting in vain. Who expects one uses [`TcpSocket::listen`](tokio::net::TcpSocket::listen).
///
/// When `stop` is done no more are accepted, and every session is told by its [`Stopping`]; this returns when the last has
/// ended. Dropped before, it ends them all on the spot.
pub async fn serve<F, W>(listener: TcpListener, most: usize, stop: impl Future<Output = ()>, mut session: F)
where
    F: FnMut(TcpStream, SocketAddr, Stopping) -> W,
    W: Future<Output = ()> + Send + 'static,
{
    let (tell, hear) = watch::channel(false);
    let room = Arc::new(Semaphore::new(most));
    let mut sessions = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = {
            let mut accepted = pin!(accept(&listener, &room));
            poll_fn(|cx| match stop.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => accepted.as_mut().poll(cx).map(Some),
            })
            .await
        };
        let Some((stream, peer, place)) = accepted else { break };
        let running = session(stream, peer, Stopping(Some(hear.clone())));
        sessions.spawn(async move {
            running.await;
            drop(place);
        });
        while sessions.try_join_next().is_some() {}
    }
    drop(listener);
    let _ = tell.send(true); // no receiver means no session
    while sessions.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<tokio::sync::OwnedSemaphorePermit>) {
    // Nobody closes this semaphore; if somebody did, there would be no limit.
    let place = room.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Replies are gathered already; waiting for more would only cost a round trip.
                let _ = stream.set_nodelay(true);
                return (stream, peer, place);
            }
            // One client went away before it was met, or the system is out of descriptors: neither is for ever.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
