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

#[cfg(test)]
mod tests {
    use super::*;
    use smtp_proto::server::Config;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::sync::oneshot;

    fn run(future: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
    }

    fn accepted() -> Accepted {
        Accepted::new(Config::new("mx.example.org").unwrap(), None).unwrap()
    }

    /// Yes to everything, until the end.
    async fn hold<S: AsyncRead + AsyncWrite + Unpin>(mut served: Served<S>) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        while let Some(event) = served.next().await? {
            if let Event::Content { octets, .. } = event {
                content.extend(octets);
            }
            while let Some(decision) = served.connection().decision() {
                decision.accept();
            }
        }
        Ok(content)
    }

    #[test]
    fn a_session_over_any_stream_and_any_pipe() {
        // The narrow one makes every write a partial one.
        for width in [7, 4096] {
            run(async move {
                let (mut client, stream) = tokio::io::duplex(width);
                let session = tokio::spawn(hold(Served::new(accepted(), stream)));
                let (mut read, mut write) = tokio::io::split(&mut client);
                let said = b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n..x\r\n.\r\nQUIT\r\n";
                let mut heard = String::new();
                let (wrote, got) = tokio::join!(write.write_all(said), read.read_to_string(&mut heard));
                assert!(wrote.is_ok() && got.is_ok());
                assert!(
                    heard.contains("\r\n354 ") && heard.ends_with("221 2.0.0 Closing the connection\r\n"),
                    "{heard}"
                );
                assert_eq!(session.await.unwrap().unwrap(), b".x\r\n");
            });
        }
    }

    #[test]
    fn a_client_that_goes_without_a_word_is_an_error() {
        run(async {
            let (client, stream) = tokio::io::duplex(64);
            drop(client);
            assert!(matches!(
                hold(Served::new(accepted(), stream)).await,
                Err(Error { error: AcceptedError::Smtp(_), .. })
            ));
        });
    }

    #[test]
    fn no_more_than_permitted_are_met_and_all_are_told_of_the_stop() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (stop, stopped) = oneshot::channel::<()>();
            let serving =
                tokio::spawn(serve(listener, 1, async { drop(stopped.await) }, |stream, _, stopping| async {
                    let _ = hold(Served::new(accepted(), stream).until(stopping)).await;
                }));
            let mut first = BufReader::new(TcpStream::connect(address).await.unwrap());
            let mut second = BufReader::new(TcpStream::connect(address).await.unwrap());
            let mut line = String::new();
            first.read_line(&mut line).await.unwrap();
            assert!(line.starts_with("220"));
            let early = tokio::time::timeout(Duration::from_millis(100), second.read_line(&mut line)).await;
            assert!(early.is_err(), "met beside the first");
            first.write_all(b"QUIT\r\n").await.unwrap();
            first.read_line(&mut line).await.unwrap();
            drop(first);
            second.read_line(&mut line).await.unwrap();
            stop.send(()).unwrap();
            line.clear();
            second.read_line(&mut line).await.unwrap();
            assert!(line.starts_with("421"), "{line}");
            drop(second);
            serving.await.unwrap();
        });
    }
}
