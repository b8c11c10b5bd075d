//! The loop: one session, one stream, one timer.
//!
//! The rules of this file: everything is waited for at once; a future dropped at any await loses nothing, because every
//! octet and every deadline lives in the session. What a message has to give at once is taken before anything is written, so
//! that a small one leaves in one piece with its commands.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};
use smtp_proto::session::{Step, Task};

use crate::stream::exchange;
use crate::{Error, Smtp, Timer};

impl<S: AsyncRead + AsyncWrite + Unpin, T: Timer> Smtp<S, T> {
    /// Runs until the task has an outcome.
    pub(crate) async fn run<O, R: AsyncRead + Unpin>(
        &mut self,
        task: &mut impl Task<io::Error, Outcome = O, From = R>,
    ) -> Result<O, Error> {
        loop {
            let now = self.clock.now();
            let mut hungry = match self.session.step(now, task) {
                Step::Done(outcome) => return Ok(outcome),
                Step::Failed(error) => return Err(error),
                Step::Turn(hungry) => hungry,
            };
            let mut turn = self.session.turn(now);
            let (stream, deadline) = (&mut self.stream, turn.deadline);
            let first = poll_fn(|cx| {
                if let Some(source) = &mut hungry {
                    let (from, into) = source.fetch();
                    if let Poll::Ready(fetched) = Pin::new(from).poll_read(cx, into) {
                        source.fetched(fetched);
                        return Poll::Ready(None);
                    }
                }
                exchange(cx, stream, &mut turn).map(Some)
            });
            if let Some(Some(did)) = self.clock.until(deadline, first).await {
                self.session.did(did);
            }
        }
    }

    /// Does what can be done at once.
    pub(crate) fn catch_up(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(did) = exchange(&mut cx, &mut self.stream, &mut self.session.turn(self.clock.now())) {
            self.session.did(did);
        }
    }
}
