//! Many sessions with one server, kept open and lent out, by [`r2d2`].
//!
//! ```no_run
//! use smtp_blocking::pool::Pool;
//! use smtp_blocking::proto::{Config, client::Envelope};
//!
//! # fn main() -> Result<(), smtp_blocking::pool::Error> {
//! let pool = Pool::new(Config::new("mail.example.org", 587), 8)?;
//! let envelope = Envelope::new("alice@example.org", ["bob@example.net"])?;
//! let report = pool.send(&envelope, &b"Subject: hello\r\n\r\nHello, Bob.\r\n"[..])?;
//! println!("{}", report.is_accepted());
//! pool.close();
//! # Ok(())
//! # }
//! ```
//!
//! The rules of this file: the limit counts open connections, lent or idle. A session is judged before it is lent, without a word
//! where that is possible ([`Reuse`]). A message that cannot have been delivered because the server had gone meanwhile is sent
//! once more, over a new connection; one that may have been is not. A connection that cannot be had is an error at once: r2d2
//! would open it again and again, behind everybody's back and for ever, and each refusal of a password counts. Nor does r2d2 know how
//! a pool is closed: `gate.rs` does.

mod gate;

use std::fmt;
use std::io::Read;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use r2d2::{ManageConnection, PooledConnection};
use smtp_proto::client::{Envelope, Report};
use smtp_proto::session::{Fitness, Reuse, is_lost_in_vain};
use smtp_proto::{Config, Misuse};

use self::gate::{Gate, Pass};
use crate::{Smtp, connect};

/// How long a connection that failed waits for whoever asked for it; who asks later has another one opened.
const NEWS: Duration = Duration::from_secs(1);

/// What r2d2 keeps: a session, or why there is none, until that was told.
#[derive(Debug)]
pub struct Line(Kept);

#[derive(Debug)]
enum Kept {
    Open {
        smtp: Box<Smtp>,
        /// It was lent before.
        used: bool,
    },
    Failed(Option<crate::Error>, Instant),
}

impl Line {
    /// No session, and nothing to tell of it.
    fn empty() -> Self {
        Self(Kept::Failed(None, Instant::now()))
    }

    /// The session, if there is one, and nothing in its place.
    fn take(&mut self) -> Option<Box<Smtp>> {
        match std::mem::replace(self, Self::empty()).0 {
            Kept::Open { smtp, .. } => Some(smtp),
            Kept::Failed(..) => None,
        }
    }

    /// Says QUIT, and waits for nobody.
    fn leave(&mut self) {
        if let Some(mut smtp) = self.take() {
            smtp.leave();
        }
    }
}

/// Opens sessions and judges them.
#[derive(Debug)]
pub struct Manager {
    config: Config,
    reuse: Reuse,
    gate: Gate,
}

impl ManageConnection for Manager {
    type Connection = Line;
    type Error = crate::Error;

    /// Says yes, always: what failed is for whoever gets it.
    fn connect(&self) -> Result<Line, crate::Error> {
        if self.gate.is_closed() {
            return Ok(Line::empty());
        }
        let mut line = Line(match connect(&self.config) {
            Ok(smtp) => Kept::Open { smtp: Box::new(smtp), used: false },
            Err(error) => Kept::Failed(Some(error), Instant::now()),
        });
        if self.gate.is_closed() {
            line.leave();
        }
        Ok(line)
    }

    fn is_valid(&self, line: &mut Line) -> Result<(), crate::Error> {
        // Whoever gets it is told, and it ends where it comes back.
        if self.gate.is_closed() {
            return Ok(());
        }
        let smtp = match &mut line.0 {
            Kept::Open { smtp, .. } => smtp,
            Kept::Failed(Some(_), since) if since.elapsed() < NEWS => return Ok(()),
            Kept::Failed(..) => return Err(crate::Error::Unfinished),
        };
        match smtp.fitness(&self.reuse) {
            Fitness::Fit => Ok(()),
            Fitness::Doubtful => smtp.noop(),
            Fitness::Worn => {
                // Nobody waits for the answer.
                smtp.leave();
                Err(crate::Error::Unfinished)
            }
            Fitness::Over => Err(crate::Error::Unfinished),
        }
    }

    /// Says no, as long as the pool is open: a connection that is dropped when it comes back wakes nobody who waits for one, while one
    /// that is dropped when it is lent is replaced at once.
    fn has_broken(&self, line: &mut Line) -> bool {
        let closed = self.gate.is_closed();
        if closed {
            line.leave();
        }
        closed
    }
}

/// A session that is lent; it goes back when this is dropped.
#[derive(Debug)]
pub struct Lent {
    line: PooledConnection<Manager>,
    // Given back behind the session, so that who enters then finds it.
    _pass: Pass,
}

impl Deref for Lent {
    type Target = Smtp;

    fn deref(&self) -> &Smtp {
        match &self.line.0 {
            Kept::Open { smtp, .. } => smtp,
            Kept::Failed(..) => unreachable!("only what is open is lent"),
        }
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Smtp {
        match &mut self.line.0 {
            Kept::Open { smtp, .. } => smtp,
            Kept::Failed(..) => unreachable!("only what is open is lent"),
        }
    }
}

/// Sessions with one server, at most so many at a time. A clone is the same pool.
#[derive(Clone, Debug)]
pub struct Pool {
    inner: r2d2::Pool<Manager>,
    gate: Gate,
}

impl Pool {
    /// A pool of at most `most` connections, at least one; none is opened before it is needed.
    ///
    /// # Errors
    ///
    /// [`Error::Session`] where the configuration cannot be said or meant.
    pub fn new(config: Config, most: u32) -> Result<Self, Error> {
        Self::with(config, most, Reuse::default())
    }

    /// The same, with rules of the caller's own for using a session once more.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn with(config: Config, most: u32, reuse: Reuse) -> Result<Self, Error> {
        config.check()?;
        let most = most.max(1);
        let gate = Gate::new(most);
        let builder = r2d2::Pool::builder().max_size(most).min_idle(Some(0)).error_handler(Box::new(Ignore));
        Ok(Self { inner: builder.build_unchecked(Manager { config, reuse, gate: gate.clone() }), gate })
    }

    /// A session of one's own, until it is dropped; waits where all are lent, half a minute at most.
    ///
    /// # Errors
    ///
    /// [`Error::Session`] where a connection is needed and cannot be had; [`Error::Unavailable`] where none was free in that time;
    /// [`Error::Closed`].
    pub fn get(&self) -> Result<Lent, Error> {
        self.lend().map(|(lent, _)| lent)
    }

    /// A session, and whether it was lent before.
    fn lend(&self) -> Result<(Lent, bool), Error> {
        let (pass, left) = self.gate.enter(self.inner.connection_timeout()).ok_or(Error::Closed)?;
        loop {
            let line = self.inner.get_timeout(left);
            if self.gate.is_closed() {
                return Err(Error::Closed);
            }
            let mut line = line.map_err(Error::Unavailable)?;
            let failed = match &mut line.0 {
                Kept::Open { used, .. } => {
                    let before = std::mem::replace(used, true);
                    return Ok((Lent { line, _pass: pass }, before));
                }
                Kept::Failed(error, _) => error.take(),
            };
            if let Some(error) = failed {
                return Err(error.into());
            }
        }
    }

    /// A session that nobody had before.
    fn fresh(&self) -> Result<Lent, Error> {
        loop {
            match self.lend()? {
                (lent, false) => return Ok(lent),
                // It ends, and so it is dropped when it would be lent next.
                (mut lent, true) => lent.leave(),
            }
        }
    }

    /// Sends one message over a session that is free. Where the session broke down before the message could have been
    /// delivered, it is sent once more over a new one, which is why `message` must be readable again, as slices and cursors
    /// are.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get), and those of [`Smtp::send`].
    pub fn send(&self, envelope: &Envelope, message: impl Read + Clone) -> Result<Report, Error> {
        let first = self.get()?.send_from(envelope, || Ok(message.clone()));
        match &first {
            Ok(report) if is_lost_in_vain(report) => {}
            Err(crate::Error::Session { .. }) => {}
            _ => return Ok(first?),
        }
        // What lies idle may have been closed by the same stroke, so this one is new.
        Ok(self.fresh()?.send_from(envelope, || Ok(message.clone()))?)
    }

    /// How many connections there are, and how many of them are idle.
    pub fn status(&self) -> r2d2::State {
        self.inner.state()
    }

    /// The pool itself.
    pub fn inner(&self) -> &r2d2::Pool<Manager> {
        &self.inner
    }

    /// Lends nothing any more, and says QUIT in every session that is idle; those that are lent end when they come back. Who waits for
    /// one that is lent is told at once ([`Error::Closed`]), who waits for a connection to be opened when that has come to its end.
    pub fn close(&self) {
        self.gate.close();
        while let Some(mut line) = self.inner.try_get() {
            if let Some(smtp) = line.take() {
                // It may have ended by itself.
                let _ = smtp.quit();
            }
        }
    }
}

/// What is not fit any more is no news.
#[derive(Debug)]
struct Ignore;

impl r2d2::HandleError<crate::Error> for Ignore {
    fn handle_error(&self, _: crate::Error) {}
}

/// Why a pool did not do what it was asked to.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// What [`Smtp`] and [`connect`] say.
    Session(crate::Error),
    /// The pool was closed.
    Closed,
    /// No session was free in time; r2d2's word for it.
    Unavailable(r2d2::Error),
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Self::Session(error)
    }
}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Self {
        Self::Session(misuse.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(error) => write!(f, "{error}"),
            Self::Closed => f.write_str("the pool was closed"),
            Self::Unavailable(error) => write!(f, "no session is to be had: {error}"),
        }
    }
}

impl std::error::Error for Error {}
