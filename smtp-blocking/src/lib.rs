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
mod error;
pub mod serve;
#[cfg(feature = "test-util")]
pub mod test_util;
mod transport;

use std::collections::VecDeque;
use std::io::{Empty, Read};
use std::net::TcpStream;

use smtp_proto::client::{Envelope, Event, Report};
use smtp_proto::command::Command;
use smtp_proto::reply::Reply;
use smtp_proto::{Config, Connection, Route};

pub use dial::dial;
use drive::{Drive, Source};
pub use error::Error;
/// The pure part: configuration, envelopes, reports.
pub use smtp_proto as proto;
pub use transport::{Blocking, Pollable, Ready, Transport};

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

/// Messages taken from an iterator before the one whose turn it is was handed over: their commands may follow it at once.
const AHEAD: usize = 2;

/// One session with a server.
pub struct Smtp<S = Pollable<TcpStream>> {
    drive: Drive<S>,
    ready: bool,
    /// An operation has begun, and not come to its end.
    busy: bool,
    endings: smtp_proto::body::LineEndings,
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
        let connection = Connection::new(config.clone().on_platform(), route)?;
        let endings = config.get_line_endings();
        Ok(Self { drive: Drive::new(connection, stream), ready: false, busy: false, endings })
    }

    /// Runs until the session is greeted, secured and authenticated as configured.
    ///
    /// # Errors
    ///
    /// [`Error::Session`].
    pub fn ready(&mut self) -> Result<(), Error> {
        if !self.ready {
            self.until(&mut nothing(), |event| matches!(event, Event::Ready).then_some(()))?;
            self.ready = true;
        }
        Ok(())
    }

    /// Sends one message, read from `message` as it goes: memory does not depend on its size.
    ///
    /// What became of each recipient is in the report, also where the session broke down on the way; a report is no
    /// promise that all were accepted.
    ///
    /// # Errors
    ///
    /// [`Error::Message`] where `message` cannot be read; the session is over then. [`Error::Misuse`],
    /// [`Error::Unfinished`]: nothing was sent. [`Error::Session`] where the session was over before.
    pub fn send(&mut self, envelope: &Envelope, message: impl Read) -> Result<Report, Error> {
        self.check_clean()?;
        let id = self.drive.connection.send(envelope.clone(), self.endings)?;
        let mut sources = [Source::new(id, message)];
        let report = self.until(&mut sources, |event| match event {
            Event::Sent(report) if report.transaction == id => Some(report),
            _ => None,
        })?;
        let [source] = sources;
        source.failed.map_or(Ok(report), Err)
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
    pub fn send_all<R: Read>(
        &mut self,
        messages: impl IntoIterator<Item = (Envelope, R)>,
        mut told: impl FnMut(Result<Report, Error>),
    ) -> Result<(), Error> {
        self.check_clean()?;
        self.busy = true;
        let mut messages = messages.into_iter().fuse();
        let (mut sources, mut due) = (Vec::new(), VecDeque::new());
        loop {
            while sources.len() < AHEAD {
                let Some((envelope, message)) = messages.next() else { break };
                let queued = self.drive.connection.send(envelope, self.endings);
                sources.extend(queued.as_ref().ok().map(|id| Source::new(*id, message)));
                due.push_back(queued);
                while let Some(Err(misuse)) = due.front() {
                    told(Err(misuse.clone().into()));
                    due.pop_front();
                }
            }
            if due.is_empty() {
                break;
            }
            match self.drive.next(&mut sources)? {
                Some(Event::Sent(report)) => {
                    let at = sources.iter().position(|source| source.id == report.transaction);
                    let failed = at.and_then(|at| sources.remove(at).failed);
                    due.pop_front();
                    told(failed.map_or(Ok(report), Err));
                    while let Some(Err(misuse)) = due.front() {
                        told(Err(misuse.clone().into()));
                        due.pop_front();
                    }
                }
                Some(_) => {}
                None => sources.retain(|source| !source.is_handed_over()),
            }
        }
        self.busy = false;
        Ok(())
    }

    /// Says a command of the caller's own.
    ///
    /// # Errors
    ///
    /// [`Error::Session`], [`Error::Misuse`], [`Error::Unfinished`]. A reply of 4yz or 5yz is no error.
    pub fn command(&mut self, command: Command) -> Result<Reply, Error> {
        self.check_clean()?;
        let id = self.drive.connection.command(command)?;
        self.until(&mut nothing(), |event| match event {
            Event::Replied { command, reply } if command == id => Some(reply),
            _ => None,
        })
    }

    /// Says QUIT, and closes.
    ///
    /// # Errors
    ///
    /// [`Error::Session`] where the session was over before.
    pub fn quit(mut self) -> Result<(), Error> {
        self.check_clean()?;
        self.drive.connection.quit()?;
        self.until(&mut nothing(), |event| matches!(event, Event::Closed(_)).then_some(()))?;
        self.drive.part(false);
        Ok(())
    }

    /// What the session has agreed on: extensions, TLS, mechanism.
    pub fn connection(&self) -> &Connection {
        &self.drive.connection
    }

    /// The stream that the session runs on.
    pub fn stream(&self) -> &S {
        self.drive.stream()
    }

    /// Runs until an event is the one waited for.
    fn until<R: Read, T>(
        &mut self,
        sources: &mut [Source<R>],
        wanted: impl Fn(Event) -> Option<T>,
    ) -> Result<T, Error> {
        self.busy = true;
        loop {
            if let Some(found) = self.drive.next(sources)?.and_then(&wanted) {
                self.busy = false;
                return Ok(found);
            }
        }
    }

    fn check_clean(&mut self) -> Result<(), Error> {
        let now = self.drive.now();
        match self.drive.connection.poll(now) {
            Err(error) => Err(Error::Session { error, source: None }),
            Ok(_) if self.busy => Err(Error::Unfinished),
            // Replies to what the last message said in vain may still be due; what is said next goes behind them.
            Ok(_) => Ok(()),
        }
    }
}

/// No message: what is waited for is something else.
fn nothing() -> [Source<Empty>; 0] {
    []
}
