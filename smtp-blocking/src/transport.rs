//! What a blocking session runs on: a stream that can say when it is ready.
//!
//! The rules of this file: reading and writing never block by themselves; only `wait` does, and it waits for all at once.
//! So a refusal is heard while a message is still being written, and every deadline is kept.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smtp_proto::session::Turn;

/// What a stream is ready for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ready {
    /// A read will not block: there are octets, the end, or an error.
    pub read: bool,
    /// A write will not block: there is room, or an error.
    pub write: bool,
}

/// A stream whose `read` and `write` return `WouldBlock` instead of blocking, and that can be waited for.
pub trait Transport: Read + Write {
    /// Waits until the stream is ready for what is asked, or the time is up; `None` waits without limit.
    ///
    /// # Errors
    ///
    /// The stream cannot be waited for.
    fn wait(&mut self, wanted: Ready, limit: Option<Duration>) -> io::Result<Ready>;

    /// Closes this direction: nothing more will be written. Where a stream knows no such thing, dropping it has to do.
    ///
    /// # Errors
    ///
    /// The stream cannot be closed; that is of no consequence.
    fn close(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream of the system's, set to non-blocking: TCP, a Unix socket, a pipe.
#[derive(Debug)]
pub struct Pollable<S>(S);

impl Pollable<TcpStream> {
    /// Takes a TCP stream; sets it to non-blocking, and to send what is written at once.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        // What is said is gathered already; waiting for more would only cost a round trip.
        let _ = stream.set_nodelay(true);
        Ok(Self(stream))
    }
}

/// Ends a session from another thread, whatever it is waiting for. See [`Smtp::shutdown_handle`](crate::Smtp::shutdown_handle).
#[derive(Debug)]
pub struct Shutdown(TcpStream);

impl Shutdown {
    pub(crate) fn of(stream: &Pollable<TcpStream>) -> io::Result<Self> {
        Ok(Self(stream.0.try_clone()?))
    }

    /// Closes the connection, in both directions and at once: a call that waits for it returns with an error.
    ///
    /// # Errors
    ///
    /// The connection is closed already.
    pub fn shut_down(&self) -> io::Result<()> {
        self.0.shutdown(std::net::Shutdown::Both)
    }
}

impl<S> Pollable<S> {
    /// Takes a stream that was set to non-blocking by the caller.
    pub fn new(stream: S) -> Self {
        Self(stream)
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &S {
        &self.0
    }
}

impl<S: Read> Read for Pollable<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<S: Write> Write for Pollable<S> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(unix)]
use std::os::fd::AsFd as AsPollable;
#[cfg(windows)]
use std::os::windows::io::AsSocket as AsPollable;

impl Ready {
    /// What a turn needs.
    pub(crate) fn of(turn: &Turn<'_>) -> Self {
        Self { read: !turn.read.is_empty(), write: turn.flush || turn.close || !turn.write.is_empty() }
    }

    fn flags(self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.read);
        flags.set(PollFlags::OUT, self.write);
        flags
    }
}

/// Waits until one of several streams is ready for what is asked of it, or the time is up; says which are.
pub(crate) fn wait_for<'a, A: AsPollable + 'a, B: AsPollable + 'a>(
    some: impl Iterator<Item = (&'a A, Ready)>,
    others: impl Iterator<Item = (&'a B, Ready)>,
    limit: Option<Duration>,
) -> io::Result<Vec<bool>> {
    let some = some.map(|(stream, wanted)| PollFd::new(stream, wanted.flags()));
    let mut all: Vec<_> = some.chain(others.map(|(stream, wanted)| PollFd::new(stream, wanted.flags()))).collect();
    wait(&mut all, limit)?;
    Ok(all.iter().map(|one| !one.revents().is_empty()).collect())
}

fn wait(all: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<()> {
    let limit = limit.map(|limit| Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
    match poll(all, limit.as_ref()) {
        // A signal is no answer; the caller looks at its clock and asks again.
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl<S: Read + Write + AsPollable> Transport for Pollable<S> {
    fn wait(&mut self, wanted: Ready, limit: Option<Duration>) -> io::Result<Ready> {
        let mut one = [PollFd::new(&self.0, wanted.flags())];
        wait(&mut one, limit)?;
        let got = one[0].revents();
        let broken = got.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        Ok(Ready {
            read: wanted.read && (broken || got.contains(PollFlags::IN)),
            write: wanted.write && (broken || got.contains(PollFlags::OUT)),
        })
    }

    fn close(&mut self) -> io::Result<()> {
        // A pipe is no socket; it ends when it is dropped.
        Ok(rustix::net::shutdown(&self.0, rustix::net::Shutdown::Write)?)
    }
}

/// Any other stream, whose `read` and `write` may block: what there is to write is written first, then reading waits.
///
/// Such a stream cannot be waited for, so deadlines are only looked at between reads and writes, and a refusal is heard only
/// when a write returns. Where that is not enough, implement [`Transport`].
#[derive(Debug)]
pub struct Blocking<S>(pub S);

impl<S: Read> Read for Blocking<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<S: Write> Write for Blocking<S> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<S: Read + Write> Transport for Blocking<S> {
    fn wait(&mut self, wanted: Ready, limit: Option<Duration>) -> io::Result<Ready> {
        // With no time to wait there is something else to do first; a read could block it for ever.
        let read = wanted.read && !wanted.write && limit != Some(Duration::ZERO);
        Ok(Ready { read, write: wanted.write })
    }
}
