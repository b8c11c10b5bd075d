//! One session over any adapter.
//!
//! The rules of this file: it carries, and decides nothing; all adapters look the same from above.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_std::task::block_on;
use smtp_proto::client::{Envelope, Report};
use smtp_proto::dial::{Dialer, Id, Verdict};
use smtp_proto::session::Race;
use smtp_proto::{Config, Connection, Route};
use tokio::io::{AsyncRead, ReadBuf};

use crate::args::RuntimeArg;
use crate::failure::Failure;
use crate::message::Message;
use crate::output::progress::Progress;
use crate::signals::End;

/// What every adapter fails with.
pub(crate) type Error = smtp_proto::session::Error<io::Error>;

/// A tokio runtime that does not wait for what it cannot stop: a look-up, a read of standard input.
pub(crate) struct Tokio(Option<tokio::runtime::Runtime>);

impl Tokio {
    fn new() -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // Without a reactor there is nothing to read the message with, or to send it.
        runtime.map(|runtime| Self(Some(runtime))).map_err(Error::Message)
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

/// Who is shown a session that has failed.
type Watch = Box<dyn FnMut(Id, &Connection) + Send>;

/// One session.
pub(crate) enum Session {
    Tokio(Tokio, smtp_tokio::Smtp),
    Blocking(smtp_blocking::Smtp),
    AsyncStd(smtp_async_std::Smtp<async_std::net::TcpStream, smtp_async_std::AsyncStd>),
}

impl Session {
    /// Dials until a session is greeted, secured and authenticated.
    pub(crate) fn connect(runtime: RuntimeArg, dialer: Dialer<io::Error>, watch: Watch) -> Result<Self, Error> {
        Ok(match runtime {
            RuntimeArg::Tokio => {
                let tokio = Tokio::new()?;
                let smtp = tokio.run(smtp_tokio::race(Race::new(dialer).watch(watch)))?;
                Self::Tokio(tokio, smtp)
            }
            RuntimeArg::Blocking => Self::Blocking(smtp_blocking::race(Race::new(dialer).watch(watch))?),
            RuntimeArg::AsyncStd => Self::AsyncStd(block_on(smtp_async_std::race(Race::new(dialer).watch(watch)))?),
        })
    }

    /// A session over a stream that is open already, before a word was said: [`ready`](Self::ready) follows.
    pub(crate) fn begin(runtime: RuntimeArg, stream: TcpStream, config: &Config, route: Route) -> Result<Self, Error> {
        stream.set_nonblocking(true).map_err(Error::Message)?;
        // What is said is gathered already; waiting for more would only cost a round trip.
        let _ = stream.set_nodelay(true);
        Ok(match runtime {
            RuntimeArg::Tokio => {
                let tokio = Tokio::new()?;
                let stream = tokio.run(async { tokio::net::TcpStream::from_std(stream) }).map_err(Error::Message)?;
                Self::Tokio(tokio, smtp_tokio::Smtp::begin(stream, config, route)?)
            }
            RuntimeArg::Blocking => {
                let stream = smtp_blocking::Pollable::new(stream);
                Self::Blocking(smtp_blocking::Smtp::begin(stream, config, route)?)
            }
            RuntimeArg::AsyncStd => {
                let (stream, timer) = (async_std::net::TcpStream::from(stream), smtp_async_std::AsyncStd);
                Self::AsyncStd(smtp_async_std::Smtp::begin(stream, timer, config, route)?)
            }
        })
    }

    /// Runs until the session is greeted, secured and authenticated.
    pub(crate) fn ready(&mut self) -> Result<(), Error> {
        match self {
            Self::Tokio(tokio, smtp) => tokio.run(smtp.ready()),
            Self::Blocking(smtp) => smtp.ready(),
            Self::AsyncStd(smtp) => block_on(smtp.ready()),
        }
    }

    /// The peer's address: the server's, or the nearest proxy's.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tokio(_, smtp) => smtp.stream().peer_addr(),
            Self::Blocking(smtp) => smtp.stream().get_ref().peer_addr(),
            Self::AsyncStd(smtp) => smtp.stream().peer_addr(),
        }
        .ok()
    }

    /// Sends these, and tells what became of each message in its order; `wanted`: somebody looks at a bar.
    pub(crate) fn send_all<'a>(
        &mut self,
        messages: impl Iterator<Item = (Envelope, &'a Message)>,
        wanted: bool,
        mut told: impl FnMut(Result<Report, Failure>),
    ) -> Result<(), Failure> {
        let progress = move |message: &Message| Progress::new(Some(message.octets()), wanted);
        let told = |sent: Result<Report, Error>| told(sent.map_err(Failure::from));
        match self {
            Self::Tokio(tokio, smtp) => {
                let messages = messages.map(|(envelope, message)| {
                    let open = move || Ok(Watched { from: message.read_tokio()?, progress: progress(message) });
                    (envelope, open)
                });
                tokio.run(smtp.send_all_from(messages, told))?;
            }
            Self::Blocking(smtp) => {
                let messages = messages.map(|(envelope, message)| {
                    let open = move || Ok(Watched { from: message.read()?, progress: progress(message) });
                    (envelope, open)
                });
                smtp.send_all_from(messages, told)?;
            }
            Self::AsyncStd(smtp) => {
                let messages = messages.map(|(envelope, message)| {
                    let open = move || Ok(Watched { from: message.read_async_std()?, progress: progress(message) });
                    (envelope, open)
                });
                block_on(smtp.send_all_from(messages, told))?;
            }
        }
        Ok(())
    }

    /// Says goodbye. What was sent is settled, so nothing depends on the answer.
    pub(crate) fn quit(self) {
        match self {
            Self::Tokio(tokio, smtp) => drop(tokio.run(smtp.quit())),
            Self::Blocking(smtp) => drop(smtp.quit()),
            Self::AsyncStd(smtp) => drop(block_on(smtp.quit())),
        }
    }

    /// Closes the stream from another thread. What has arrived by then is still read.
    pub(crate) fn end(&self) -> io::Result<End> {
        // What is gone already needs no end.
        Ok(match self {
            Self::Tokio(_, smtp) => {
                let stream = own(smtp.stream())?;
                Box::new(move || drop(stream.shutdown(Shutdown::Both)))
            }
            Self::Blocking(smtp) => {
                let stream = smtp.stream().get_ref().try_clone()?;
                Box::new(move || drop(stream.shutdown(Shutdown::Both)))
            }
            Self::AsyncStd(smtp) => {
                let stream = smtp.stream().clone();
                Box::new(move || drop(stream.shutdown(Shutdown::Both)))
            }
        })
    }

    /// What the session has agreed on.
    pub(crate) fn connection(&self) -> &Connection {
        match self {
            Self::Tokio(_, smtp) => smtp.connection(),
            Self::Blocking(smtp) => smtp.connection(),
            Self::AsyncStd(smtp) => smtp.connection(),
        }
    }

    /// What the dialer has found.
    pub(crate) fn verdict(&self) -> Option<&Verdict> {
        match self {
            Self::Tokio(_, smtp) => smtp.verdict(),
            Self::Blocking(smtp) => smtp.verdict(),
            Self::AsyncStd(smtp) => smtp.verdict(),
        }
    }
}

/// A handle of one's own to a stream of tokio's.
fn own(stream: &tokio::net::TcpStream) -> io::Result<TcpStream> {
    #[cfg(unix)]
    let own = std::os::fd::AsFd::as_fd(stream).try_clone_to_owned()?;
    #[cfg(windows)]
    let own = std::os::windows::io::AsSocket::as_socket(stream).try_clone_to_owned()?;
    Ok(own.into())
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

impl<R: futures_io::AsyncRead + Unpin> futures_io::AsyncRead for Watched<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.from).poll_read(cx, buffer);
        if let Poll::Ready(Ok(read)) = read {
            self.progress.advance(read);
        }
        read
    }
}
