//! The loop: one connection, one stream, one clock.
//!
//! The rules of this file: everything is waited for at once; reading the message from its source is the one thing that may
//! block, and while it does nothing is owed to the peer. The head of a message is read before its commands are written, so that
//! a small one leaves in one piece.

use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant as Clock};

use bytes::Buf;
use smtp_proto::client::{Event, TransactionId};
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
    pub(crate) id: TransactionId,
    from: R,
    chunk: bytes::BytesMut,
    begun: bool,
    ended: bool,
    pub(crate) failed: Option<Error>,
}

impl<R: Read> Source<R> {
    pub(crate) fn new(id: TransactionId, from: R) -> Self {
        Self { id, from, chunk: bytes::BytesMut::new(), begun: false, ended: false, failed: None }
    }

    /// Nothing more is to be read of it.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.ended && self.chunk.is_empty()
    }

    /// Reads what there is, at the head of a message as much as fits.
    fn fetch(&mut self) {
        let whole = !std::mem::replace(&mut self.begun, true);
        let mut got = 0;
        self.chunk.resize(CHUNK, 0);
        while got < CHUNK {
            match self.from.read(&mut self.chunk[got..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(n) => got += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.failed = Some(Error::Message(error));
                    break;
                }
            }
            if !whole {
                break;
            }
        }
        self.chunk.truncate(got);
    }
}

/// What a message that may be sent wants.
#[derive(PartialEq)]
enum Fed {
    /// Nothing of the loop's.
    Enough,
    /// Its head.
    Head,
    /// More.
    More,
    /// It was handed over as a whole.
    Whole,
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

    /// Runs until something happens, or, with `None`, until one of these messages was handed over as a whole.
    pub(crate) fn next<R: Read>(&mut self, sources: &mut [Source<R>]) -> Result<Option<Event>, Error> {
        loop {
            let now = self.now();
            match self.connection.poll(now) {
                Ok(Some(event)) => return Ok(Some(event)),
                Ok(None) => {}
                Err(error) => {
                    self.part(true);
                    return Err(Error::Session { error, source: self.failed.take() });
                }
            }
            let (fed, at) = self.feed(now, sources);
            match fed {
                Fed::Head => sources[at].fetch(),
                Fed::Whole => return Ok(None),
                Fed::Enough => self.turn(now, false),
                Fed::More => {
                    self.turn(now, true);
                    sources[at].fetch();
                }
            }
        }
    }

    /// Hands over what was read of the message whose turn it is, and says which that is.
    fn feed<R>(&mut self, now: Instant, sources: &mut [Source<R>]) -> (Fed, usize) {
        let nobody = (Fed::Enough, 0);
        let Some(mut body) = self.connection.body(now) else { return nobody };
        let id = body.transaction();
        let Some(at) = sources.iter().position(|source| Some(source.id) == id) else { return nobody };
        let source = &mut sources[at];
        if source.failed.is_none() {
            source.failed = body.write(&mut source.chunk).err().map(Error::from);
        }
        if source.failed.is_some() {
            body.abandon();
            return nobody;
        }
        match (source.chunk.has_remaining(), source.ended, source.begun) {
            (true, ..) => nobody,
            (false, true, _) => {
                body.end();
                (Fed::Whole, at)
            }
            (false, false, begun) => (if begun { Fed::More } else { Fed::Head }, at),
        }
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
