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
use std::task::{Context, Poll};
use std::time::Duration;

use smtp_proto::server::Event;
use smtp_proto::{Accepted, AcceptedError, Instant, Wants};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// How long a peer may take to hear the last words.
const FAREWELL: Duration = Duration::from_secs(1);

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
            match self.connection.poll(now) {
                Ok(Some(event)) => return Ok(Some(event)),
                Ok(None) if self.connection.is_over() => {
                    self.part().await;
                    return Ok(None);
                }
                Ok(None) => {}
                Err(error) => {
                    self.part().await;
                    return Err(Error { error, source: self.failed.take() });
                }
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
        let Wants { read, write, deadline, .. } = self.connection.wants(now);
        let stream = &mut self.stream;
        let flush = self.unflushed && write.is_empty();
        let epoch = self.epoch;
        let mut stopped = pin!(self.stopping.wait());
        let at = deadline.map(|deadline| epoch + deadline.at.since_epoch());
        let first = poll_fn(|cx| {
            if let Poll::Ready(()) = stopped.as_mut().poll(cx) {
                return Poll::Ready(Did::Stopped);
            }
            exchange(cx, stream, read, write, flush)
        });
        match at {
            None => first.await,
            Some(at) => tokio::time::timeout_at(at, first).await.unwrap_or(Did::Nothing),
        }
    }

    /// Says what is left to say, and closes, without waiting long for anybody.
    async fn part(&mut self) {
        let now = self.now();
        let write = self.connection.wants(now).write;
        let stream = &mut self.stream;
        let goodbye = async move {
            stream.write_all(write).await?;
            stream.shutdown().await?;
            // Closed with octets unread, a socket resets, and the last reply may be lost to who is still writing.
            let mut rest = [0; 4096];
            while stream.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        // Whether it arrives makes no difference to anybody here.
        let _ = tokio::time::timeout(FAREWELL, goodbye).await;
    }
}

fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    stream: &mut S,
    read: &mut [u8],
    write: &[u8],
    flush: bool,
) -> Poll<Did> {
    if !write.is_empty() {
        if let Poll::Ready(wrote) = Pin::new(&mut *stream).poll_write(cx, write) {
            let wrote = wrote.and_then(|n| if n == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(n) });
            return Poll::Ready(Did::Wrote(wrote));
        }
    }
    if flush {
        if let Poll::Ready(flushed) = Pin::new(&mut *stream).poll_flush(cx) {
            return Poll::Ready(Did::Flushed(flushed));
        }
    }
    if !read.is_empty() {
        let mut buffer = ReadBuf::new(read);
        if let Poll::Ready(result) = Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
            return Poll::Ready(Did::Read(result.map(|()| buffer.filled().len())));
        }
    }
    Poll::Pending
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
    use tokio::io::{AsyncBufReadExt, BufReader};
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
