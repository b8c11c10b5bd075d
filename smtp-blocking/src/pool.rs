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
//! # Ok(())
//! # }
//! ```
//!
//! The rules of this file: the limit counts open connections, lent or idle. A session is judged before it is lent, without a word
//! where that is possible ([`Reuse`]). A message that cannot have been delivered because the server had gone meanwhile is sent
//! once more, over a new connection; one that may have been is not. A connection that cannot be had is an error at once: r2d2
//! would open it again and again, behind everybody's back and for ever, and each refusal of a password counts.

use std::fmt;
use std::io::Read;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use r2d2::{ManageConnection, PooledConnection};
use smtp_proto::client::{Envelope, Report};
use smtp_proto::session::{Fitness, Reuse, is_lost_in_vain};
use smtp_proto::{Config, Misuse};

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

/// Opens sessions and judges them.
#[derive(Debug)]
pub struct Manager {
    config: Config,
    reuse: Reuse,
}

impl ManageConnection for Manager {
    type Connection = Line;
    type Error = crate::Error;

    /// Says yes, always: what failed is for whoever gets it.
    fn connect(&self) -> Result<Line, crate::Error> {
        Ok(Line(match connect(&self.config) {
            Ok(smtp) => Kept::Open { smtp: Box::new(smtp), used: false },
            Err(error) => Kept::Failed(Some(error), Instant::now()),
        }))
    }

    fn is_valid(&self, line: &mut Line) -> Result<(), crate::Error> {
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

    /// Says no, always: a connection that is dropped when it comes back wakes nobody who waits for one, while one that is
    /// dropped when it is lent is replaced at once.
    fn has_broken(&self, _: &mut Line) -> bool {
        false
    }
}

/// A session that is lent; it goes back when this is dropped.
#[derive(Debug)]
pub struct Lent(PooledConnection<Manager>);

impl Deref for Lent {
    type Target = Smtp;

    fn deref(&self) -> &Smtp {
        match &self.0.0 {
            Kept::Open { smtp, .. } => smtp,
            Kept::Failed(..) => unreachable!("only what is open is lent"),
        }
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Smtp {
        match &mut self.0.0 {
            Kept::Open { smtp, .. } => smtp,
            Kept::Failed(..) => unreachable!("only what is open is lent"),
        }
    }
}

/// Sessions with one server, at most so many at a time. A clone is the same pool.
#[derive(Clone, Debug)]
pub struct Pool(r2d2::Pool<Manager>);

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
        let builder = r2d2::Pool::builder().max_size(most.max(1)).min_idle(Some(0)).error_handler(Box::new(Ignore));
        Ok(Self(builder.build_unchecked(Manager { config, reuse })))
    }

    /// A session of one's own, until it is dropped; waits where all are lent, half a minute at most.
    ///
    /// # Errors
    ///
    /// [`Error::Session`] where a connection is needed and cannot be had; [`Error::Unavailable`] where none was free in that time.
    pub fn get(&self) -> Result<Lent, Error> {
        self.lend().map(|(lent, _)| lent)
    }

    /// A session, and whether it was lent before.
    fn lend(&self) -> Result<(Lent, bool), Error> {
        loop {
            let mut line = self.0.get().map_err(Error::Unavailable)?;
            let failed = match &mut line.0 {
                Kept::Open { used, .. } => {
                    let before = std::mem::replace(used, true);
                    return Ok((Lent(line), before));
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

    /// The pool itself.
    pub fn inner(&self) -> &r2d2::Pool<Manager> {
        &self.0
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
            Self::Unavailable(error) => write!(f, "no session is to be had: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Session(error) => Some(error),
            Self::Unavailable(error) => Some(error),
        }
    }
}
