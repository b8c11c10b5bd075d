//! Unix sockets: how a mail server's own neighbours reach it, mostly by LMTP.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use smtp_proto::dial::{Attempt, Failure, Why};
use smtp_proto::{Config, Route, phase};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use crate::{Error, Smtp};

/// A listener that has no room for one more has room soon.
const BUSY: Duration = Duration::from_millis(10);

/// Connects to a Unix socket, then secures and authenticates as `config` says. Its host is whose certificate is expected where
/// TLS is spoken; its port, its proxies and a hint are of no consequence, and nothing is looked up.
///
/// ```no_run
/// use smtp_tokio::proto::{Config, Security, client::Envelope};
///
/// # async fn example() -> Result<(), smtp_tokio::Error> {
/// let config = Config::new("localhost", 24).lmtp(true).security(Security::None);
/// let mut lmtp = smtp_tokio::connect_unix("/run/dovecot/lmtp", &config).await?;
/// let envelope = Envelope::new("alice@example.org", ["bob@example.org", "carol@example.org"])?;
/// let report = lmtp.send(&envelope, &b"Subject: hello\r\n\r\nHello.\r\n"[..]).await?;
/// println!("{report}"); // by LMTP (RFC 2033) each recipient has a reply of its own
/// lmtp.quit().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::Dial`] where the socket cannot be connected to within [`Limits::connect`](smtp_proto::Limits); then those of
/// [`Smtp::over`].
pub async fn connect_unix(path: impl AsRef<Path>, config: &Config) -> Result<Smtp<UnixStream>, Error> {
    config.check()?;
    let (path, begin) = (path.as_ref(), Instant::now());
    let why = match timeout(config.get_limits().connect, open(path)).await {
        Ok(Ok(stream)) => return Smtp::over(stream, config, Route::direct()).await,
        Ok(Err(error)) => Why::Connect(error),
        Err(_) => Why::TimedOut(phase::CONNECT),
    };
    let (host, took) = (path.display().to_string(), begin.elapsed());
    let attempt = Attempt { id: None, host, port: 0, to: None, tls_first: false, took, why };
    Err(Error::Dial(Failure { attempts: vec![attempt] }))
}

async fn open(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(BUSY).await,
            opened => return opened,
        }
    }
}
