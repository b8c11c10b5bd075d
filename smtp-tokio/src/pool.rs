//! Many sessions with one server, kept open and lent out, by [`deadpool`].
//!
//! ```no_run
//! use smtp_tokio::pool::Pool;
//! use smtp_tokio::proto::{Config, client::Envelope};
//!
//! # async fn example() -> Result<(), smtp_tokio::pool::Error> {
//! let pool = Pool::new(Config::new("mail.example.org", 587), 8);
//! let envelope = Envelope::new("alice@example.org", ["bob@example.net"])?;
//! let report = pool.send(&envelope, &b"Subject: hello\r\n\r\nHello, Bob.\r\n"[..]).await?;
//! println!("{}", report.is_accepted());
//! pool.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! The rules of this file: the limit counts open connections, lent or idle. A session is judged before it is lent, without a word
//! where that is possible ([`Reuse`]). A message that cannot have been delivered because the server had gone meanwhile is sent
//! once more, over a new connection; one that may have been is not.

use std::fmt;

use deadpool::managed::{self, Metrics, Object, PoolError, RecycleError, RecycleResult};
use smtp_proto::client::{Envelope, Report};
use smtp_proto::session::{Fitness, Reuse, is_lost_in_vain};
use smtp_proto::{Config, Misuse};
use tokio::io::AsyncRead;

use crate::{Smtp, connect};

/// Opens sessions and judges them.
#[derive(Debug)]
pub struct Manager {
    config: Config,
    reuse: Reuse,
}

impl managed::Manager for Manager {
    type Type = Smtp;
    type Error = crate::Error;

    async fn create(&self) -> Result<Smtp, crate::Error> {
        connect(&self.config).await
    }

    async fn recycle(&self, smtp: &mut Smtp, _: &Metrics) -> RecycleResult<crate::Error> {
        match smtp.fitness(&self.reuse) {
            Fitness::Fit => Ok(()),
            Fitness::Doubtful => smtp.noop().await.map_err(RecycleError::Backend),
            Fitness::Worn => {
                // Nobody waits for the answer.
                smtp.leave();
                Err(RecycleError::message("it has served its time"))
            }
            Fitness::Over => Err(RecycleError::message("it is over")),
        }
    }
}

/// Sessions with one server, at most so many at a time. A clone is the same pool.
#[derive(Clone, Debug)]
pub struct Pool(managed::Pool<Manager>);

impl Pool {
    /// A pool of at most `most` connections, at least one; none is opened before it is needed.
    pub fn new(config: Config, most: usize) -> Self {
        Self::with(config, most, Reuse::default())
    }

    /// The same, with rules of the caller's own for using a session once more.
    pub fn with(config: Config, most: usize, reuse: Reuse) -> Self {
        let pool = managed::Pool::builder(Manager { config, reuse }).max_size(most.max(1)).build();
        Self(pool.unwrap_or_else(|_| unreachable!("without time-outs of its own a pool needs no runtime")))
    }

    /// A session of one's own, until it is dropped; waits where all are lent.
    ///
    /// # Errors
    ///
    /// [`Error::Session`] where a connection is needed and cannot be had; [`Error::Closed`].
    pub async fn get(&self) -> Result<Object<Manager>, Error> {
        Ok(self.0.get().await?)
    }

    /// Sends one message over a session that is free. Where the session broke down before the message could have been
    /// delivered, it is sent once more over a new one, which is why `message` must be readable again, as slices and cursors
    /// are.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get), and those of [`Smtp::send`].
    pub async fn send(&self, envelope: &Envelope, message: impl AsyncRead + Unpin + Clone) -> Result<Report, Error> {
        let mut smtp = self.get().await?;
        let first = smtp.send_from(envelope, || Ok(message.clone())).await;
        match &first {
            Ok(report) if is_lost_in_vain(report) => {}
            Err(crate::Error::Session { .. }) => {}
            _ => return Ok(first?),
        }
        // What lies idle may have been closed by the same stroke, so this one is new.
        drop(Object::take(smtp));
        let mut smtp = self.fresh().await?;
        Ok(smtp.send_from(envelope, || Ok(message.clone())).await?)
    }

    /// How many connections there are, and how many of them are idle.
    pub fn status(&self) -> deadpool::Status {
        self.0.status()
    }

    /// The pool itself, for its further settings.
    pub fn inner(&self) -> &managed::Pool<Manager> {
        &self.0
    }

    /// Lends nothing any more, and says QUIT in every session that is idle; those that are lent end when they come back.
    pub async fn close(&self) {
        let idle = self.0.retain(|_, _| false).removed;
        self.0.close();
        for smtp in idle {
            // It may have ended by itself.
            let _ = smtp.quit().await;
        }
    }

    async fn fresh(&self) -> Result<Object<Manager>, Error> {
        loop {
            let smtp = self.get().await?;
            if Object::metrics(&smtp).recycle_count == 0 {
                return Ok(smtp);
            }
            drop(Object::take(smtp));
        }
    }
}

/// Why a pool did not do what it was asked to.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// What [`Smtp`] and [`connect`] say.
    Session(crate::Error),
    /// The pool was closed.
    Closed,
    /// A time-out that was set on the [inner](Pool::inner) pool has passed.
    TimedOut,
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

impl From<PoolError<crate::Error>> for Error {
    fn from(error: PoolError<crate::Error>) -> Self {
        match error {
            PoolError::Backend(error) => Self::Session(error),
            PoolError::Closed => Self::Closed,
            PoolError::Timeout(_) | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => Self::TimedOut,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(error) => write!(f, "{error}"),
            Self::Closed => f.write_str("the pool was closed"),
            Self::TimedOut => f.write_str("no connection was free in time"),
        }
    }
}

impl std::error::Error for Error {}
