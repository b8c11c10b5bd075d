//! One session over either adapter.
//!
//! The rules of this file: it carries, and decides nothing; both adapters look the same from above.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};

use smtp_blocking::Pollable;
use smtp_proto::client::Report;
use smtp_proto::{Config, Connection, Route};
use tokio::io::{AsyncRead, ReadBuf};

use crate::args::RuntimeArg;
use crate::failure::Failure;
use crate::message::Message;
use crate::output::progress::Progress;
use crate::settings::Mail;

/// A tokio runtime that does not wait for what it cannot stop: a look-up, a read of standard input.
pub(crate) struct Tokio(Option<tokio::runtime::Runtime>);

impl Tokio {
    fn new() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map(|runtime| Self(Some(runtime))).map_err(|error| Failure::usage(format_args!("tokio: {error}")))
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        match &self.0 {
            Some(runtime) => runtime.block_on(future),
            None => unreachable!("taken by Drop alone"),
        }
    }
}

impl Drop for Tokio {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// An open stream, over which nothing was said yet.
pub(crate) enum Dialed {
    Tokio(Tokio, tokio::net::TcpStream),
    Blocking(Pollable<TcpStream>),
}

impl Dialed {
    /// Resolves and connects; the route leads on from there.
    pub(crate) fn dial(runtime: RuntimeArg, config: &Config) -> Result<(Self, Route), Failure> {
        match runtime {
            RuntimeArg::Tokio => {
                let tokio = Tokio::new()?;
                let (stream, route) = tokio.run(smtp_tokio::dial(config))?;
                Ok((Self::Tokio(tokio, stream), route))
            }
            RuntimeArg::Blocking => {
                let (stream, route) = smtp_blocking::dial(config)?;
                Ok((Self::Blocking(stream), route))
            }
        }
    }

    /// The addresses of both ends, the peer's first.
    pub(crate) fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        match self {
            Self::Tokio(_, stream) => Ok((stream.peer_addr()?, stream.local_addr()?)),
            Self::Blocking(stream) => Ok((stream.get_ref().peer_addr()?, stream.get_ref().local_addr()?)),
        }
    }

    /// The session, before its first word.
    pub(crate) fn begin(self, config: &Config, route: Route) -> Result<Session, Failure> {
        Ok(match self {
            Self::Tokio(tokio, stream) => {
                // The session's timers are the runtime's.
                let smtp = tokio.run(async { smtp_tokio::Smtp::begin(stream, config, route) })?;
                Session::Tokio(tokio, smtp)
            }
            Self::Blocking(stream) => Session::Blocking(smtp_blocking::Smtp::begin(stream, config, route)?),
        })
    }
}

/// One session.
pub(crate) enum Session {
    Tokio(Tokio, smtp_tokio::Smtp),
    Blocking(smtp_blocking::Smtp),
}

impl Session {
    /// Greets, secures and authenticates.
    pub(crate) fn ready(&mut self) -> Result<(), Failure> {
        match self {
            Self::Tokio(tokio, smtp) => tokio.run(smtp.ready())?,
            Self::Blocking(smtp) => smtp.ready()?,
        }
        Ok(())
    }

    /// Sends all there is, and tells what became of each message in its order; `wanted`: somebody looks at a bar.
    pub(crate) fn send_all(
        &mut self,
        mail: &Mail,
        wanted: bool,
        mut told: impl FnMut(Result<Report, Failure>),
    ) -> Result<(), Failure> {
        let progress = |message: &Message| Progress::new(message.octets(), wanted);
        match self {
            Self::Tokio(tokio, smtp) => {
                let messages = mail.each().map(|(envelope, message)| {
                    let from = message.read_async().unwrap_or_else(|error| Box::new(Unreadable(Some(error))));
                    (envelope, Watched { from, progress: progress(message) })
                });
                tokio.run(smtp.send_all(messages, |sent| told(sent.map_err(Failure::from))))?;
            }
            Self::Blocking(smtp) => {
                let messages = mail.each().map(|(envelope, message)| {
                    let from = message.read().unwrap_or_else(|error| Box::new(Unreadable(Some(error))));
                    (envelope, Watched { from, progress: progress(message) })
                });
                smtp.send_all(messages, |sent| told(sent.map_err(Failure::from)))?;
            }
        }
        Ok(())
    }

    /// Says goodbye. What was sent is settled, so nothing depends on the answer.
    pub(crate) fn quit(self) {
        match self {
            Self::Tokio(tokio, smtp) => drop(tokio.run(smtp.quit())),
            Self::Blocking(smtp) => drop(smtp.quit()),
        }
    }

    /// What the session has agreed on.
    pub(crate) fn connection(&self) -> &Connection {
        match self {
            Self::Tokio(_, smtp) => smtp.connection(),
            Self::Blocking(smtp) => smtp.connection(),
        }
    }
}

/// A message on its way, and who is shown how far it is.
struct Watched<R> {
    from: R,
    progress: Progress,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.progress.advance(read);
        Ok(read)
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.from).poll_read(cx, buffer);
        self.progress.advance(buffer.filled().len() - before);
        read
    }
}

/// A message that could not be opened: its reader is told why.
struct Unreadable(Option<io::Error>);

impl Read for Unreadable {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(self.0.take().unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }
}

impl AsyncRead for Unreadable {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(self.0.take().unwrap_or_else(|| io::ErrorKind::NotFound.into())))
    }
}
