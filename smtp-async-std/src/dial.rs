//! async-std: from a name to an open TCP connection, the route from there, and the timer. No other file knows its name.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_std::net::{TcpStream, ToSocketAddrs};
use smtp_proto::{Config, Route};

use crate::{Error, Smtp, Timer};

/// async-std's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncStd;

impl Timer for AsyncStd {
    fn sleep(&self, limit: Duration) -> impl Future<Output = ()> {
        async_std::task::sleep(limit)
    }
}

/// Resolves, connects (through proxies, where there are some), secures and authenticates as `config` says.
///
/// Trusts whom the platform trusts, unless `config` brings a TLS connector of its own.
///
/// # Errors
///
/// [`Error`]; each names its phase, and the hop where there are several.
pub async fn connect(config: &Config) -> Result<Smtp<TcpStream, AsyncStd>, Error> {
    let mut config = config.clone().on_platform();
    config.check()?;
    loop {
        let (stream, route) = dial(&config).await?;
        match Smtp::over(stream, AsyncStd, &config, route).await {
            // A proxy that asks for credentials and closes is answered on a new connection, once.
            Err(Error::Session { error, source }) => match config.answering(&error) {
                Some(next) => config = next,
                None => return Err(Error::Session { error, source }),
            },
            other => return other,
        }
    }
}

/// Resolves what is to be resolved here, and connects to the nearest hop: its first address that answers. With the route
/// from there, it is the first half of [`connect`], for who wants to know the stream before the session begins.
///
/// # Errors
///
/// [`Error::Resolve`], [`Error::Connect`], [`Error::Misuse`].
pub async fn dial(config: &Config) -> Result<(TcpStream, Route), Error> {
    let mut resolved: Vec<(String, IpAddr)> = Vec::new();
    for (name, port) in config.names_to_resolve()? {
        resolved.extend(lookup(config, &name, port).await?.into_iter().map(|address| (name.clone(), address.ip())));
    }
    let route = config.route(&resolved)?;
    let (host, port) = config.dial();
    let mut tried = Vec::new();
    for address in lookup(config, &host, port).await? {
        match async_std::io::timeout(config.get_limits().connect, TcpStream::connect(address)).await {
            Ok(stream) => {
                // What is said is gathered already; waiting for more would only cost a round trip.
                let _ = stream.set_nodelay(true);
                return Ok((stream, route));
            }
            Err(error) => tried.push((address, error)),
        }
    }
    Err(Error::Connect(tried))
}

/// The addresses of a name; at least one.
async fn lookup(config: &Config, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let found = async_std::io::timeout(config.get_limits().resolve, (host, port).to_socket_addrs()).await;
    match found.map(Vec::from_iter) {
        Ok(found) if found.is_empty() => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        found => found,
    }
    .map_err(|source| Error::Resolve { host: host.to_owned(), source })
}
