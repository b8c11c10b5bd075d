//! From a name to an open TCP connection, and the route from there.

use std::io;
use std::net::{IpAddr, SocketAddr};

use smtp_proto::{Config, Route};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::Error;

/// Resolves what is to be resolved here, and connects to the nearest hop: its first address that answers. With the route
/// from there, it is the first half of [`connect`](crate::connect), for who wants to know the stream before the session
/// begins.
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
        match timeout(config.get_limits().connect, TcpStream::connect(address)).await.unwrap_or_else(|_| Err(late())) {
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
    let found = timeout(config.get_limits().resolve, lookup_host((host, port))).await.unwrap_or_else(|_| Err(late()));
    match found.map(Vec::from_iter) {
        Ok(found) if found.is_empty() => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        found => found,
    }
    .map_err(|source| Error::Resolve { host: host.to_owned(), source })
}

fn late() -> io::Error {
    io::ErrorKind::TimedOut.into()
}
