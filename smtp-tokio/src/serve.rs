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
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use smtp_proto::server::Event;
use smtp_proto::{Accepted, AcceptedError, Instant, Wants};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// How long to wait before the next try where accepting has failed.
const PAUSE: Duration = Duration::from_millis(50);

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

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

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
pub struct Served<S = TcpStream> {
    connection: Accepted,
    stream: S,
    epoch: tokio::time::Instant,
    stopping: Stopping,
    /// Written and not flushed: streams that buffer keep it back otherwise.
    unflushed: bool,
    failed: Option<io::Error>,
}

/// What happened first.
enum Did {
    Read(io::Result<usize>),
    Wrote(io::Result<usize>),
    Flushed(io::Result<()>),
    Shut,
    Stopped,
    Nothing,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Served<S> {
    /// A session over a stream that was accepted.
    pub fn new(connection: Accepted, stream: S) -> Self {
        let epoch = tokio::time::Instant::now();
        Self { connection, stream, epoch, stopping: Stopping::never(), unflushed: false, failed: None }
    }

    /// Ends with 421 at the next boundary between replies, once the server is being stopped.
    #[must_use]
    pub fn until(mut self, stopping: Stopping) -> Self {
        self.stopping = stopping;
        self
    }

    /// The session itself: its questions, and what is known of the client.
    pub fn connection(&mut self) -> &mut Accepted {
        &mut self.connection
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
            let now = self.now();
            let polled = self.connection.poll(now);
            if let Ok(Some(event)) = polled {
                return Ok(Some(event));
            }
            if self.connection.is_done(now) {
                return polled.map_err(|error| Error { error, source: self.failed.take() });
            }
            match self.turn(now).await {
                Did::Read(Ok(n)) => self.connection.received(n),
                Did::Read(Err(error)) => {
                    self.failed.get_or_insert(error);
                    self.connection.received(0);
                }
                Did::Wrote(Ok(n)) => {
                    self.connection.sent(n);
                    self.unflushed = true;
                }
                Did::Flushed(Ok(())) => self.unflushed = false,
                Did::Shut => self.connection.shut(),
                Did::Wrote(Err(error)) | Did::Flushed(Err(error)) => {
                    self.failed.get_or_insert(error);
                    self.unflushed = false;
                    self.connection.write_failed();
                }
                Did::Stopped => {
                    self.stopping = Stopping::never();
                    self.connection.shut_down();
                }
                Did::Nothing => {}
            }
        }
    }

    fn now(&self) -> Instant {
        Instant::from_epoch(self.epoch.elapsed())
    }

    /// Waits for the stream, the deadline and the stop at once, and takes the first.
    async fn turn(&mut self, now: Instant) -> Did {
        let said_all = self.connection.has_said_all(now);
        let Wants { read, write, deadline, .. } = self.connection.wants(now);
        let (stream, unflushed) = (&mut self.stream, self.unflushed);
        let at = deadline.map(|deadline| self.epoch + deadline.at.since_epoch());
        let mut stopped = pin!(self.stopping.wait());
        let first = poll_fn(|cx| {
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Did::Stopped);
            }
            let mut stream = Pin::new(&mut *stream);
            let spoke = match write {
                [] if unflushed => stream.as_mut().poll_flush(cx).map(Did::Flushed),
                // Whether that works makes no difference to anybody here.
                [] if said_all => stream.as_mut().poll_shutdown(cx).map(|_| Did::Shut),
                [] => Poll::Pending,
                write => stream.as_mut().poll_write(cx, write).map(|wrote| Did::Wrote(some(wrote))),
            };
            if spoke.is_ready() || read.is_empty() {
                return spoke;
            }
            let mut buffer = ReadBuf::new(read);
            stream.poll_read(cx, &mut buffer).map(|heard| Did::Read(heard.map(|()| buffer.filled().len())))
        });
        match at {
            None => first.await,
            Some(at) => tokio::time::timeout_at(at, first).await.unwrap_or(Did::Nothing),
        }
    }
}

/// A transport that takes nothing, and does not say why, is broken.
fn some(wrote: io::Result<usize>) -> io::Result<usize> {
    wrote.and_then(|n| if n == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(n) })
}

/// Accepts connections and runs a session for each, at most `most` at a time; whoever comes then waits to be accepted.
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
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
