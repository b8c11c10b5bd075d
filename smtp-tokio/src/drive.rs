//! The loop: one connection, one stream, one timer.
//!
//! The rules of this file: everything is waited for at once; a future dropped at any await loses nothing, because every
//! octet and every deadline lives in the connection. What a message has to give at once is taken before anything is written, so
//! that a small one leaves in one piece with its commands.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use smtp_proto::client::{Event, TransactionId};
use smtp_proto::{Connection, Instant, Wants};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Error;

/// Octets of a message that are read from its source at once.
const CHUNK: usize = 64 * 1024;

/// A connection and what it runs on.
pub(crate) struct Drive<S> {
    pub(crate) connection: Connection,
    stream: S,
    epoch: tokio::time::Instant,
    /// Written and not flushed: streams that buffer keep it back otherwise.
    unflushed: bool,
    failed: Option<io::Error>,
}

/// A message on its way: where it comes from, and what was read of it and not taken.
pub(crate) struct Source<R> {
    pub(crate) id: TransactionId,
    from: R,
    chunk: bytes::BytesMut,
    ended: bool,
    pub(crate) failed: Option<Error>,
}

impl<R> Source<R> {
    pub(crate) fn new(id: TransactionId, from: R) -> Self {
        Self { id, from, chunk: bytes::BytesMut::new(), ended: false, failed: None }
    }

    /// Nothing more is to be read of it.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.ended && self.chunk.is_empty()
    }
}

/// What a message that may be sent wants.
enum Fed<'a, R> {
    /// Nothing of the loop's.
    Enough,
    /// More octets.
    Hungry(&'a mut Source<R>),
    /// It was handed over as a whole.
    Whole,
}

/// What happened first.
enum Did {
    Read(io::Result<usize>),
    Wrote(io::Result<usize>),
    Flushed(io::Result<()>),
    Fetched(io::Result<usize>),
    Nothing,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drive<S> {
    pub(crate) fn new(connection: Connection, stream: S) -> Self {
        Self { connection, stream, epoch: tokio::time::Instant::now(), unflushed: false, failed: None }
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_epoch(self.epoch.elapsed())
    }

    /// Runs until something happens, or, with `None`, until one of these messages was handed over as a whole.
    pub(crate) async fn next<R: AsyncRead + Unpin>(
        &mut self,
        sources: &mut [Source<R>],
    ) -> Result<Option<Event>, Error> {
        loop {
            let now = self.now();
            match self.connection.poll(now) {
                Ok(Some(event)) => return Ok(Some(event)),
                Ok(None) => {}
                Err(error) => {
                    self.part(true).await;
                    return Err(Error::Session { error, source: self.failed.take() });
                }
            }
            let mut hungry = match self.feed(now, sources) {
                Fed::Whole => return Ok(None),
                Fed::Hungry(source) => Some(source),
                Fed::Enough => None,
            };
            match self.turn(now, &mut hungry).await {
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
                // The peer may have said why before it went: that is read, and worth more than "broken pipe".
                Did::Wrote(Err(error)) | Did::Flushed(Err(error)) => {
                    self.failed.get_or_insert(error);
                    self.unflushed = false;
                    self.connection.write_failed();
                }
                Did::Fetched(fetched) => {
                    if let Some(source) = hungry {
                        match fetched {
                            Ok(n) => source.ended = n == 0,
                            Err(error) => source.failed = Some(Error::Message(error)),
                        }
                    }
                }
                Did::Nothing => {}
            }
        }
    }

    /// Hands over what was read of the message whose turn it is.
    fn feed<'a, R>(&mut self, now: Instant, sources: &'a mut [Source<R>]) -> Fed<'a, R> {
        let Some(mut body) = self.connection.body(now) else { return Fed::Enough };
        let id = body.transaction();
        let Some(source) = sources.iter_mut().find(|source| Some(source.id) == id) else { return Fed::Enough };
        if source.failed.is_none() {
            source.failed = body.write(&mut source.chunk).err().map(Error::from);
        }
        if source.failed.is_some() {
            body.abandon();
            Fed::Enough
        } else if !source.chunk.is_empty() {
            Fed::Enough
        } else if source.ended {
            body.end();
            Fed::Whole
        } else {
            Fed::Hungry(source)
        }
    }

    /// Waits for the stream, the message and the deadline at once, and takes the first.
    async fn turn<R: AsyncRead + Unpin>(&mut self, now: Instant, hungry: &mut Option<&mut Source<R>>) -> Did {
        let Wants { read, write, deadline, .. } = self.connection.wants(now);
        let stream = &mut self.stream;
        let flush = self.unflushed && write.is_empty();
        let first = poll_fn(|cx| {
            // Reading comes first: a refusal must be heard though there is always room to write.
            if !read.is_empty() {
                let mut buffer = ReadBuf::new(&mut *read);
                if let Poll::Ready(result) = Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                    return Poll::Ready(Did::Read(result.map(|()| buffer.filled().len())));
                }
            }
            if let Some(source) = hungry {
                source.chunk.resize(CHUNK, 0);
                let mut buffer = ReadBuf::new(&mut source.chunk);
                let fetched = Pin::new(&mut source.from).poll_read(cx, &mut buffer);
                let n = buffer.filled().len();
                source.chunk.truncate(n);
                if let Poll::Ready(result) = fetched {
                    return Poll::Ready(Did::Fetched(result.map(|()| n)));
                }
            }
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
            Poll::Pending
        });
        match deadline {
            Some(deadline) => {
                let at = self.epoch + deadline.at.since_epoch();
                tokio::time::timeout_at(at, first).await.unwrap_or(Did::Nothing)
            }
            None => first.await,
        }
    }

    /// Says what is left to say (QUIT, an alert, the close of TLS), without waiting long for anybody; `hear`: nor closes before
    /// the peer has answered that, or closed (RFC 5321 section 4.1.1.10).
    pub(crate) async fn part(&mut self, hear: bool) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let now = self.now();
        let write = self.connection.wants(now).write;
        let stream = &mut self.stream;
        let goodbye = async move {
            if !write.is_empty() {
                stream.write_all(write).await?;
                stream.flush().await?;
                if hear {
                    let _answer = stream.read(&mut [0; 512]).await?;
                }
            }
            stream.shutdown().await
        };
        // Whether it arrives makes no difference to anybody here.
        let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
    }
}
