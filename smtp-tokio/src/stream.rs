//! What a turn is to tokio's streams, and a deadline to its timer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use smtp_proto::Instant;
use smtp_proto::session::{Did, Turn};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Does what a turn says, and tells what came of it first.
pub(crate) fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    stream: &mut S,
    turn: &mut Turn<'_>,
) -> Poll<Did<io::Error>> {
    let mut stream = Pin::new(stream);
    // Reading comes first: a refusal must be heard though there is always room to write.
    if !turn.read.is_empty() {
        if let Poll::Ready(read) = poll_read(cx, stream.as_mut(), turn.read) {
            return Poll::Ready(Did::Read(read));
        }
    }
    if !turn.write.is_empty() {
        return stream.poll_write(cx, turn.write).map(Did::Wrote);
    }
    if turn.flush {
        return stream.poll_flush(cx).map(Did::Flushed);
    }
    if turn.close {
        return stream.poll_shutdown(cx).map(|_| Did::Closed);
    }
    Poll::Pending
}

/// Reads into a slice.
pub(crate) fn poll_read<R: AsyncRead>(
    cx: &mut Context<'_>,
    from: Pin<&mut R>,
    into: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(into);
    ready!(from.poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

/// The machine's clock, which began with the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(tokio::time::Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    pub(crate) fn now(self) -> Instant {
        Instant::from_epoch(self.0.elapsed())
    }

    /// Waits no longer than the deadline.
    pub(crate) async fn until<T>(self, deadline: Option<Instant>, first: impl Future<Output = T>) -> Option<T> {
        match deadline {
            Some(at) => tokio::time::timeout_at(self.0 + at.since_epoch(), first).await.ok(),
            None => Some(first.await),
        }
    }
}
