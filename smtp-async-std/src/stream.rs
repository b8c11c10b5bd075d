//! What a turn is to the streams of `futures-io`, and a deadline to a timer that the caller brings.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant as Begin};

use futures_io::{AsyncRead, AsyncWrite};
use smtp_proto::Instant;
use smtp_proto::session::{Did, Turn};

/// What waits, on the runtime at hand. A closure that makes a future of a [`Duration`] is one, and the futures of a session
/// are [`Send`] where that future is.
pub trait Timer {
    /// A future that is done once `limit` has passed.
    fn sleep(&self, limit: Duration) -> impl Future<Output = ()>;
}

impl<T: Fn(Duration) -> F, F: Future<Output = ()>> Timer for T {
    fn sleep(&self, limit: Duration) -> impl Future<Output = ()> {
        self(limit)
    }
}

/// Does what a turn says, and tells what came of it first.
pub(crate) fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    stream: &mut S,
    turn: &mut Turn<'_>,
) -> Poll<Did<io::Error>> {
    let mut stream = Pin::new(stream);
    // Reading comes first: a refusal must be heard though there is always room to write.
    if !turn.read.is_empty() {
        if let Poll::Ready(read) = stream.as_mut().poll_read(cx, turn.read) {
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
        return stream.poll_close(cx).map(|_| Did::Closed);
    }
    Poll::Pending
}

/// The machine's clock, which began with the stream, and what waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Clock<T> {
    begin: Begin,
    timer: T,
}

impl<T: Timer> Clock<T> {
    pub(crate) fn start(timer: T) -> Self {
        Self { begin: Begin::now(), timer }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_epoch(self.begin.elapsed())
    }

    /// Waits no longer than the deadline.
    pub(crate) async fn until<V>(&self, deadline: Option<Instant>, first: impl Future<Output = V>) -> Option<V> {
        let Some(at) = deadline else { return Some(first.await) };
        let (mut first, mut late) = (pin!(first), pin!(self.timer.sleep(at.since(self.now()))));
        poll_fn(|cx| match first.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => late.as_mut().poll(cx).map(|()| None),
        })
        .await
    }
}
