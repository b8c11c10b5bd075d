//! The loop: one connection, one stream, one clock.
//!
//! The rules of this file: everything is waited for at once; reading the message from its source is the one thing that may
//! block, and while it does nothing is owed to the peer.

use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant as Clock};

use bytes::Buf;
use smtp_proto::client::Event;
use smtp_proto::{Connection, Instant, Wants};

use crate::Error;
use crate::transport::{Ready, Transport};

/// Octets of a message that are read from its source at once.
const CHUNK: usize = 64 * 1024;

/// A connection and what it runs on.
pub(crate) struct Drive<S> {
    pub(crate) connection: Connection,
    stream: S,
    epoch: Clock,
    failed: Option<io::Error>,
}

/// A message on its way: where it comes from, and what was read of it and not taken.
pub(crate) struct Source<R> {
    from: R,
    chunk: bytes::BytesMut,
    ended: bool,
    pub(crate) failed: Option<Error>,
}

impl<R: Read> Source<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, chunk: bytes::BytesMut::new(), ended: false, failed: None }
    }

    fn fetch(&mut self) {
        self.chunk.resize(CHUNK, 0);
        let fetched = loop {
            match self.from.read(&mut self.chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.chunk.truncate(*fetched.as_ref().unwrap_or(&0));
        match fetched {
            Ok(n) => self.ended = n == 0,
            Err(error) => self.failed = Some(Error::Message(error)),
        }
    }
}

impl<S: Transport> Drive<S> {
    pub(crate) fn new(connection: Connection, stream: S) -> Self {
        Self { connection, stream, epoch: Clock::now(), failed: None }
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_epoch(self.epoch.elapsed())
    }

    /// Runs until something happens; `source` is the message whose turn it may be.
    pub(crate) fn next<R: Read>(&mut self, source: &mut Source<R>) -> Result<Event, Error> {
        loop {
            let now = self.now();
            match self.connection.poll(now) {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => {}
                Err(error) => {
                    self.part(true);
                    return Err(Error::Session { error, source: self.failed.take() });
                }
            }
            let hungry = self.feed(now, source);
            self.turn(now, hungry);
            if hungry {
                source.fetch();
            }
        }
    }

    /// Hands over what was read of the message; `true` if more should be read.
    fn feed<R>(&mut self, now: Instant, source: &mut Source<R>) -> bool {
        let Some(mut body) = self.connection.body(now) else { return false };
        if source.failed.is_none() {
            source.failed = body.write(&mut source.chunk).err().map(Error::from);
        }
        let empty = !source.chunk.has_remaining();
        match (&source.failed, empty && source.ended) {
            (Some(_), _) => body.abandon(),
            (None, true) => body.end(),
            (None, false) => return empty,
        }
        false
    }

    /// Waits for the stream and the deadline, but not where the message has more to give; then reads and writes.
    fn turn(&mut self, now: Instant, hungry: bool) {
        let Wants { read, write, deadline, .. } = self.connection.wants(now);
        let wanted = Ready { read: !read.is_empty(), write: !write.is_empty() };
        let limit = match deadline {
            _ if hungry => Some(Duration::ZERO),
            Some(deadline) => Some(deadline.at.since(now)),
            None => None,
        };
        let ready = self.stream.wait(wanted, limit).unwrap_or(wanted);
        let (mut wrote, mut got) = (Ok(0), None);
        if ready.write {
            wrote = match self.stream.write(write) {
                Ok(0) => Err(ErrorKind::WriteZero.into()),
                Ok(n) => self.stream.flush().or_else(later).map(|()| n),
                Err(error) => later(error).map(|()| 0),
            };
        }
        if ready.read {
            got = match self.stream.read(read) {
                Ok(n) => Some(n),
                Err(error) => later(error).map_or_else(
                    |error| {
                        self.failed.get_or_insert(error);
                        Some(0)
                    },
                    |()| None,
                ),
            };
        }
        match wrote {
            Ok(0) => {}
            Ok(n) => self.connection.sent(n),
            // The peer may have said why before it went: that is read, and worth more than "broken pipe".
            Err(error) => {
                self.failed.get_or_insert(error);
                self.connection.write_failed();
            }
        }
        if let Some(n) = got {
            self.connection.received(n);
        }
    }

    /// Says what is left to say (QUIT, an alert, the close of TLS), without waiting long for anybody; `hear`: nor closes before
    /// the peer has answered that, or closed (RFC 5321 section 4.1.1.10).
    pub(crate) fn part(&mut self, hear: bool) {
        // Whether it arrives makes no difference to anybody here.
        let _ = self.farewell(hear, Clock::now() + Duration::from_secs(1));
    }

    fn farewell(&mut self, hear: bool, until: Clock) -> io::Result<()> {
        let mut spoke = false;
        loop {
            let now = self.now();
            let write = self.connection.wants(now).write;
            let left = until.saturating_duration_since(Clock::now());
            if left.is_zero() || (write.is_empty() && !(spoke && hear)) {
                return Ok(());
            }
            if write.is_empty() {
                let ready = self.stream.wait(Ready { read: true, write: false }, Some(left))?;
                if ready.read {
                    let answer = self.stream.read(&mut [0; 512]);
                    match answer {
                        Ok(_) => return Ok(()),
                        Err(error) => later(error)?,
                    }
                }
                continue;
            }
            self.stream.wait(Ready { read: false, write: true }, Some(left))?;
            match self.stream.write(write) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    spoke = true;
                    self.connection.sent(n);
                }
                Err(error) => later(error)?,
            }
        }
    }
}

/// Not now is no failure.
fn later(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::TimedOut => Ok(()),
        _ => Err(error),
    }
}
