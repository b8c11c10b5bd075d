//! Unix sockets: how a mail server's own neighbours reach it, mostly by LMTP.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use smtp_proto::dial::{Attempt, Failure, Why};
use smtp_proto::{Config, Route, phase};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::{Error, Pollable, Smtp};

/// Connects to a Unix socket, then secures and authenticates as `config` says. Its host is whose certificate is expected where
/// TLS is spoken; its port, its proxies and a hint are of no consequence, and nothing is looked up.
///
/// ```no_run
/// use smtp_blocking::proto::{Config, Security, client::Envelope};
///
/// # fn main() -> Result<(), smtp_blocking::Error> {
/// let config = Config::new("localhost", 24).lmtp(true).security(Security::None);
/// let mut lmtp = smtp_blocking::connect_unix("/run/dovecot/lmtp", &config)?;
/// let envelope = Envelope::new("alice@example.org", ["bob@example.org", "carol@example.org"])?;
/// let report = lmtp.send(&envelope, &b"Subject: hello\r\n\r\nHello.\r\n"[..])?;
/// println!("{report}"); // by LMTP (RFC 2033) each recipient has a reply of its own
/// lmtp.quit()?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::Dial`] where the socket cannot be connected to within [`Limits::connect`](smtp_proto::Limits); then those of
/// [`Smtp::over`].
pub fn connect_unix(path: impl AsRef<Path>, config: &Config) -> Result<Smtp<Pollable<UnixStream>>, Error> {
    config.check()?;
    let (path, begin) = (path.as_ref(), Instant::now());
    let why = match open(path, config.get_limits().connect) {
        Ok(stream) => return Smtp::over(stream, config, Route::direct()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Why::TimedOut(phase::CONNECT),
        Err(error) => Why::Connect(error),
    };
    let (host, took) = (path.display().to_string(), begin.elapsed());
    let attempt = Attempt { id: None, host, port: 0, to: None, tls_first: false, took, why };
    Err(Error::Dial(Failure { attempts: vec![attempt] }))
}

fn open(path: &Path, limit: Duration) -> io::Result<Pollable<UnixStream>> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Where a listener has no room for one more, this is how long the system waits for some.
    socket.set_write_timeout(Some(limit))?;
    socket.connect(&SockAddr::unix(path)?)?;
    socket.set_nonblocking(true)?;
    Ok(Pollable::new(UnixStream::from(socket)))
}
