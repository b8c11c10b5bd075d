//! [`smtp_proto`] bound to tokio: connect, send, quit.
//!
//! ```no_run
//! use smtp_tokio::proto::{Config, client::Envelope, sasl::Credentials};
//!
//! # async fn example() -> Result<(), smtp_tokio::Error> {
//! let config = Config::new("mail.example.org", 587).credentials(Credentials::password("alice", "correct horse"));
//! let mut smtp = smtp_tokio::connect(&config).await?;
//! let envelope = Envelope::new("alice@example.org", ["bob@example.net"])?;
//! let report = smtp.send(&envelope, &b"Subject: hello\r\n\r\nHello, Bob.\r\n"[..]).await?;
//! println!("{report}");
//! smtp.quit().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//!
//! [`connect`] and [`connect_unix`] make a session, [`Smtp::over`] makes one of any stream that the caller brings; [`serve`] is the
//! other end. [`Config`] is where everything is set: proxies, security, credentials, [limits](smtp_proto::limits) of each phase. A
//! message is any [`AsyncRead`]: a slice, a file, the octets that lettre or mail-builder make
//! (`tests/examples` in the repository).
//!
//! # Limits
//!
//! Names are looked up by the system, and only addresses (A, AAAA): MX and SRV records are the caller's to bring
//! ([`race`], [`smtp_proto::dial::mail_exchangers`]). TLS is 1.2 or 1.3. An idle session holds at most 2 KiB, 16 KiB with TLS.
//!
//! # Features
//!
//! | feature | what it adds | default |
//! |---|---|---|
//! | `ring`, `aws-lc-rs` | the provider of TLS | `ring` |
//! | `pool` | `pool`: sessions kept open and lent out, by `deadpool` | no |
//! | `serde` | [reports](proto::client::Report) and verdicts are written by serde | no |
//! | `tracing` | a span for each connection, events for phases, outcomes and lines of the dialogue; never a secret | no |
//! | `test-util` | `test_util`: a server for the tests of programs that send mail | no |

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod dial;
mod drive;
#[cfg(feature = "pool")]
pub mod pool;
pub mod serve;
mod stream;
#[cfg(feature = "test-util")]
pub mod test_util;
#[cfg(unix)]
mod unix;

use std::io;

use smtp_proto::client::{Envelope, Report};
use smtp_proto::command::Command;
use smtp_proto::dial::Verdict;
use smtp_proto::reply::Reply;
use smtp_proto::session::{Fitness, Once, Progress, Reuse, Session};
use smtp_proto::{Config, Connection, Route};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub use dial::{connect, race};
/// The pure part: configuration, envelopes, reports.
pub use smtp_proto as proto;
use stream::Clock;
#[cfg(unix)]
pub use unix::connect_unix;

/// Why an operation did not succeed.
pub type Error = smtp_proto::session::Error<io::Error>;

/// One session with a server.
///
/// A future of it may be dropped at any time. What it had begun goes on while the next operation runs, which never hears
/// what was meant for the one before; a message left in its middle makes the next operation say [`Error::Unfinished`].
#[derive(Debug)]
pub struct Smtp<S = TcpStream> {
    session: Session<io::Error>,
    stream: S,
    clock: Clock,
    verdict: Option<Verdict>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Smtp<S> {
    /// A session over a stream that the caller brings, open to the server or to the first proxy of `route`.
    ///
    /// # Errors
    ///
    /// [`Error::Session`], [`Error::Misuse`].
    pub async fn over(stream: S, config: &Config, route: Route) -> Result<Self, Error> {
        let mut smtp = Self::begin(stream, config, route)?;
        smtp.ready().await?;
        Ok(smtp)
    }

    /// The same, before a word was said: [`ready`](Self::ready) follows. Where that fails, what the session has come to
    /// can still be [looked at](Self::connection).
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`].
    pub fn begin(stream: S, config: &Config, route: Route) -> Result<Self, Error> {
        let session = Session::new(&config.clone().on_platform(), route)?;
        Ok(Self { session, stream, clock: Clock::start(), verdict: None })
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

    /// Says QUIT, and closes (RFC 5321 section 4.1.1.10). A message that the server has accepted stays accepted, whatever becomes of
    /// this.
    ///
    /// # Errors
    ///
    /// [`Error::Session`] where the session was over before.
    pub async fn quit(mut self) -> Result<(), Error> {
        let mut task = self.session.quit(self.clock.now())?;
        self.run(&mut task).await
    }

    /// Asks whether the server still listens (NOOP, RFC 5321 section 4.1.1.9).
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
