//! [`smtp_proto`] bound to the streams of `futures-io`: connect, send, quit, on async-std, on smol, and on any other runtime
//! that speaks these traits.
//!
//! ```no_run
//! use smtp_async_std::proto::{Config, client::Envelope, sasl::Credentials};
//!
//! # async fn example() -> Result<(), smtp_async_std::Error> {
//! let config = Config::new("mail.example.org", 587).credentials(Credentials::password("alice", "correct horse"));
//! let mut smtp = smtp_async_std::connect(&config).await?;
//! let envelope = Envelope::new("alice@example.org", ["bob@example.net"])?;
//! let report = smtp.send(&envelope, &b"Subject: hello\r\n\r\nHello, Bob.\r\n"[..]).await?;
//! println!("{}", report.is_accepted());
//! smtp.quit().await?;
//! # Ok(())
//! # }
//! ```
//!
//! async-std is discontinued; its authors point to smol. So the crate's loop knows neither: the stream is whatever implements
//! [`AsyncRead`] and [`AsyncWrite`], the [`Timer`] is passed in. async-std is named in one file (`connect`, `race`, `AsyncStd`),
//! behind a feature of its name that is on by default. With smol (`examples/smol.rs` is a whole program) switch that feature
//! off, and bring stream and timer:
//!
//! ```no_run
//! use smtp_async_std::{Smtp, proto::{Config, Route}};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new("localhost", 25);
//! let stream = smol::net::TcpStream::connect(config.dial()).await?;
//! let timer = |limit| async move { _ = smol::Timer::after(limit).await };
//! let smtp = Smtp::over(stream, timer, &config, Route::direct()).await?;
//! # smtp.quit().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | what it adds | default |
//! |---|---|---|
//! | `ring`, `aws-lc-rs` | the provider of TLS | `ring` |
//! | `async-std` | `connect`, `race` and `AsyncStd`; without it the crate names no runtime | yes |
//! | `serde` | [reports](proto::client::Report) and verdicts are written by serde | no |
//! | `tracing` | a span for each connection, events for phases, outcomes and lines of the dialogue; never a secret | no |

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "async-std")]
mod dial;
mod drive;
pub mod serve;
mod stream;

use std::io;

use futures_io::{AsyncRead, AsyncWrite};
use smtp_proto::client::{Envelope, Report};
use smtp_proto::command::Command;
use smtp_proto::dial::Verdict;
use smtp_proto::reply::Reply;
use smtp_proto::session::{Fitness, Once, Progress, Reuse, Session};
use smtp_proto::{Config, Connection, Route};

#[cfg(feature = "async-std")]
pub use dial::{AsyncStd, connect, race};
/// The pure part: configuration, envelopes, reports.
pub use smtp_proto as proto;
use stream::Clock;
pub use stream::Timer;

/// Why an operation did not succeed.
pub type Error = smtp_proto::session::Error<io::Error>;

/// One session with a server, over a stream `S` and with a timer `T`.
///
/// A future of it may be dropped at any time. What it had begun goes on while the next operation runs, which never hears
/// what was meant for the one before; a message left in its middle makes the next operation say [`Error::Unfinished`].
#[derive(Debug)]
pub struct Smtp<S, T> {
    session: Session<io::Error>,
    stream: S,
    clock: Clock<T>,
    verdict: Option<Verdict>,
}

impl<S: AsyncRead + AsyncWrite + Unpin, T: Timer> Smtp<S, T> {
    /// A session over a stream that the caller brings, open to the server or to the first proxy of `route`.
    ///
    /// # Errors
    ///
    /// [`Error::Session`], [`Error::Misuse`].
    pub async fn over(stream: S, timer: T, config: &Config, route: Route) -> Result<Self, Error> {
        let mut smtp = Self::begin(stream, timer, config, route)?;
        smtp.ready().await?;
        Ok(smtp)
    }

    /// The same, before a word was said: [`ready`](Self::ready) follows. Where that fails, what the session has come to
    /// can still be [looked at](Self::connection).
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`].
    pub fn begin(stream: S, timer: T, config: &Config, route: Route) -> Result<Self, Error> {
        let session = Session::new(&config.clone().on_platform(), route)?;
        Ok(Self { session, stream, clock: Clock::start(timer), verdict: None })
    }

    /// Runs until the session is greeted, secured and authenticated as configured.
    ///
    /// # Errors
    ///
    /// [`Error::Session`].
    pub async fn ready(&mut self) -> Result<(), Error> {
        let mut task = self.session.ready();
        self.run(&mut task).await
    }

    /// Sends one message, read from `message` as it goes: memory does not depend on its size. How far it is is told by
    /// [`watch`](Self::watch).
    ///
    /// What became of each recipient is in the report, also where the session broke down on the way; a report is no
    /// promise that all were accepted.
    ///
    /// # Errors
    ///
    /// [`Error::Message`] where `message` cannot be read; the session is over then. [`Error::Misuse`],
    /// [`Error::Unfinished`]: nothing was sent. [`Error::Session`] where the session was over before.
    pub async fn send(&mut self, envelope: &Envelope, message: impl AsyncRead + Unpin) -> Result<Report, Error> {
        let mut task = self.session.send(self.clock.now(), envelope.clone(), Once::new(message))?;
        self.run(&mut task).await?
    }

    /// The same, with a message that can be opened again: it goes in as many transactions as the server asks for, by its
    /// limits (RFC 9422) or by 452 "too many recipients", and what is told is one report.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn send_from<R: AsyncRead + Unpin>(
        &mut self,
        envelope: &Envelope,
        open: impl FnMut() -> io::Result<R>,
    ) -> Result<Report, Error> {
        let mut task = self.session.send(self.clock.now(), envelope.clone(), open)?;
        self.run(&mut task).await?
    }

    /// Sends messages one behind the other, as close as the server allows: the next one's commands do not wait for the reply to
    /// the one before. Each is taken from the iterator shortly before its turn, and read as it goes.
    ///
    /// `told` hears what became of each, in their order: its report, or why it was not sent ([`Error::Misuse`],
    /// [`Error::Message`]).
    ///
    /// # Errors
    ///
    /// [`Error::Session`] where the session broke down; what was under way was told before, and the rest was not begun.
    /// [`Error::Unfinished`]: nothing was sent.
    pub async fn send_all<R: AsyncRead + Unpin>(
        &mut self,
        messages: impl IntoIterator<Item = (Envelope, R)>,
        mut told: impl FnMut(Result<Report, Error>),
    ) -> Result<(), Error> {
        let once = messages.into_iter().map(|(envelope, message)| (envelope, Once::new(message)));
        let mut task = self.session.send_all(self.clock.now(), once)?;
        while let Some(sent) = self.run(&mut task).await? {
            told(sent);
        }
        Ok(())
    }

    /// The same, with messages that can be opened again, as in [`send_from`](Self::send_from).
    ///
    /// # Errors
    ///
    /// As for [`send_all`](Self::send_all).
    pub async fn send_all_from<R: AsyncRead + Unpin, F: FnMut() -> io::Result<R>>(
        &mut self,
        messages: impl IntoIterator<Item = (Envelope, F)>,
        mut told: impl FnMut(Result<Report, Error>),
    ) -> Result<(), Error> {
        let mut task = self.session.send_all(self.clock.now(), messages)?;
        while let Some(sent) = self.run(&mut task).await? {
            told(sent);
        }
        Ok(())
    }

    /// Says a command of the caller's own.
    ///
    /// # Errors
    ///
    /// [`Error::Session`], [`Error::Misuse`], [`Error::Unfinished`]. A reply of 4yz or 5yz is no error.
    pub async fn command(&mut self, command: Command) -> Result<Reply, Error> {
        let mut task = self.session.command(self.clock.now(), command)?;
        Ok(self.run(&mut task).await??)
    }

    /// Says QUIT, and closes.
    ///
    /// # Errors
    ///
    /// [`Error::Session`] where the session was over before.
    pub async fn quit(mut self) -> Result<(), Error> {
        let mut task = self.session.quit(self.clock.now())?;
        self.run(&mut task).await
    }

    /// Asks whether the server still listens (NOOP).
    ///
    /// # Errors
    ///
    /// As for [`command`](Self::command).
    pub async fn noop(&mut self) -> Result<(), Error> {
        self.command(Command::noop()).await.map(drop)
    }

    /// Whether a session that lay idle can be used once more; without a word, and without waiting.
    pub fn fitness(&mut self, reuse: &Reuse) -> Fitness {
        self.catch_up();
        self.session.fitness(self.clock.now(), reuse)
    }

    /// Says QUIT, where the server may be listening for that, and closes, without waiting for anybody.
    pub fn leave(&mut self) {
        self.session.leave(self.clock.now());
        self.catch_up();
    }

    /// Tells `watcher` how far a message is, whenever some of it was taken.
    pub fn watch(&mut self, watcher: impl FnMut(Progress) + Send + Sync + 'static) {
        self.session.watch(watcher);
    }

    /// What the dialer has found: kept as a [hint](Config::hint), it saves finding out the next time.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// What the session has agreed on: extensions, TLS, mechanism.
    pub fn connection(&self) -> &Connection {
        self.session.connection()
    }

    /// The stream that the session runs on.
    pub fn stream(&self) -> &S {
        &self.stream
    }
}
