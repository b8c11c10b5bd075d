//! [`smtp_proto`] bound to std's sockets: connect, send, quit.
//!
//! ```no_run
//! use smtp_blocking::proto::{Config, client::Envelope, sasl::Credentials};
//!
//! # fn main() -> Result<(), smtp_blocking::Error> {
//! let config = Config::new("mail.example.org", 587).credentials(Credentials::password("alice", "correct horse"));
//! let mut smtp = smtp_blocking::connect(&config)?;
//! let envelope = Envelope::new("alice@example.org", ["bob@example.net"])?;
//! let report = smtp.send(&envelope, &b"Subject: hello\r\n\r\nHello, Bob.\r\n"[..])?;
//! println!("{}", report.is_accepted());
//! smtp.quit()?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod dial;
mod drive;
#[cfg(feature = "pool")]
pub mod pool;
pub mod serve;
mod stream;
#[cfg(feature = "test-util")]
pub mod test_util;
mod transport;

use std::io::{self, Read};
use std::net::TcpStream;

use smtp_proto::client::{Envelope, Report};
use smtp_proto::command::Command;
use smtp_proto::reply::Reply;
use smtp_proto::session::{Fitness, Message, Reuse, Session};
use smtp_proto::{Config, Connection, Route};

pub use dial::dial;
/// The pure part: configuration, envelopes, reports.
pub use smtp_proto as proto;
use stream::Clock;
pub use transport::{Blocking, Pollable, Ready, Transport};

/// Why an operation did not succeed.
pub type Error = smtp_proto::session::Error<io::Error>;

/// Resolves, connects (through proxies, where there are some), secures and authenticates as `config` says.
///
/// Trusts whom the platform trusts, unless `config` brings a TLS connector of its own.
///
/// # Errors
///
/// [`Error`]; each names its phase, and the hop where there are several.
pub fn connect(config: &Config) -> Result<Smtp<Pollable<TcpStream>>, Error> {
    let mut config = config.clone().on_platform();
    config.check()?;
    loop {
        let (stream, route) = dial(&config)?;
        match Smtp::over(stream, &config, route) {
            // A proxy that asks for credentials and closes is answered on a new connection, once.
            Err(Error::Session { error, source }) => match config.answering(&error) {
                Some(next) => config = next,
                None => return Err(Error::Session { error, source }),
            },
            other => return other,
        }
    }
}

/// One session with a server.
#[derive(Debug)]
pub struct Smtp<S = Pollable<TcpStream>> {
    session: Session<io::Error>,
    stream: S,
    clock: Clock,
}

impl<S: Transport> Smtp<S> {
    /// A session over a stream that the caller brings, open to the server or to the first proxy of `route`.
    ///
    /// # Errors
    ///
    /// [`Error::Session`], [`Error::Misuse`].
    pub fn over(stream: S, config: &Config, route: Route) -> Result<Self, Error> {
        let mut smtp = Self::begin(stream, config, route)?;
        smtp.ready()?;
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
        Ok(Self { session, stream, clock: Clock::start() })
    }

    /// Runs until the session is greeted, secured and authenticated as configured.
    ///
    /// # Errors
    ///
    /// [`Error::Session`].
    pub fn ready(&mut self) -> Result<(), Error> {
        let mut task = self.session.ready();
        self.run(&mut task)
    }

    /// Sends one message, read from `message` as it goes: memory does not depend on its size. Who wants to know how far it
    /// is gives a [`Message`].
    ///
    /// What became of each recipient is in the report, also where the session broke down on the way; a report is no
    /// promise that all were accepted.
    ///
    /// # Errors
    ///
    /// [`Error::Message`] where `message` cannot be read; the session is over then. [`Error::Misuse`],
    /// [`Error::Unfinished`]: nothing was sent. [`Error::Session`] where the session was over before.
    pub fn send<R: Read>(&mut self, envelope: &Envelope, message: impl Into<Message<R>>) -> Result<Report, Error> {
        let mut task = self.session.send(self.clock.now(), envelope.clone(), message)?;
        self.run(&mut task)?
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
    pub fn send_all<M: Into<Message<R>>, R: Read>(
        &mut self,
        messages: impl IntoIterator<Item = (Envelope, M)>,
        mut told: impl FnMut(Result<Report, Error>),
    ) -> Result<(), Error> {
        let mut task = self.session.send_all(self.clock.now(), messages)?;
        while let Some(sent) = self.run(&mut task)? {
            told(sent);
        }
        Ok(())
    }

    /// Says a command of the caller's own.
    ///
    /// # Errors
    ///
    /// [`Error::Session`], [`Error::Misuse`], [`Error::Unfinished`]. A reply of 4yz or 5yz is no error.
    pub fn command(&mut self, command: Command) -> Result<Reply, Error> {
        let mut task = self.session.command(self.clock.now(), command)?;
        self.run(&mut task)
    }

    /// Says QUIT, and closes.
    ///
    /// # Errors
    ///
    /// [`Error::Session`] where the session was over before.
    pub fn quit(mut self) -> Result<(), Error> {
        let mut task = self.session.quit(self.clock.now())?;
        self.run(&mut task)
    }

    /// Asks whether the server still listens (NOOP).
    ///
    /// # Errors
    ///
    /// As for [`command`](Self::command).
    pub fn noop(&mut self) -> Result<(), Error> {
        self.command(Command::noop()).map(drop)
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

    /// What the session has agreed on: extensions, TLS, mechanism.
    pub fn connection(&self) -> &Connection {
        self.session.connection()
    }

    /// The stream that the session runs on.
    pub fn stream(&self) -> &S {
        &self.stream
    }
}
