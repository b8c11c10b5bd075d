//! A stream that misbehaves as told: slow to speak, or gone after so many octets.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A stream, and its faults.
pub(crate) struct Faulty<S> {
    stream: S,
    slow: Option<Duration>,
    /// The wait before what is to be written now.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Octets that may still be read.
    left: Option<u64>,
}

impl<S> Faulty<S> {
    /// `slow`: waits before each write. `drop_after`: ends after so many octets were read.
    pub(crate) fn new(stream: S, slow: Option<Duration>, drop_after: Option<u64>) -> Self {
        Self { stream, slow, waiting: None, left: drop_after }
    }

    /// Until when something is held back that was to be written.
    pub(crate) fn holds_until(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|waiting| waiting.deadline())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Faulty<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(left) = self.left else { return Pin::new(&mut self.stream).poll_read(cx, buffer) };
        let room = buffer.remaining().min(usize::try_from(left).unwrap_or(usize::MAX));
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut part);
        let n = part.filled().len();
        buffer.advance(n);
        self.left = Some(left - n as u64);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Faulty<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(slow) = self.slow {
            let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(slow)));
            if waiting.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        let wrote = Pin::new(&mut self.stream).poll_write(cx, octets);
        if wrote.is_ready() {
            self.waiting = None;
        }
        wrote
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn run(future: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
    }

    #[test]
    fn it_ends_after_so_many_octets() {
        run(async {
            let mut faulty = Faulty::new(io::Cursor::new(b"abcdef".to_vec()), None, Some(4));
            let mut read = Vec::new();
            faulty.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, b"abcd");
        });
    }

    #[test]
    fn it_waits_before_it_speaks() {
        run(async {
            let began = std::time::Instant::now();
            let mut faulty = Faulty::new(io::Cursor::new(Vec::new()), Some(Duration::from_millis(30)), None);
            faulty.write_all(b"250 ok\r\n").await.unwrap();
            assert!(began.elapsed() >= Duration::from_millis(30));
        });
    }
}
