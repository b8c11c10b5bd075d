//! From a name to an open TCP connection.

use std::io;
use std::net::SocketAddr;

use smtp_proto::Config;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::Error;

/// Resolves the host, and connects to its first address that answers: the first half of [`connect`](crate::connect), for
/// who wants to know the stream before the session begins.
///
/// # Errors
///
/// [`Error::Resolve`], [`Error::Connect`].
pub async fn dial(config: &Config) -> Result<TcpStream, Error> {
    let limits = config.get_limits();
    let host = config.host();
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let resolve = |source| Error::Resolve { host: host.to_owned(), source };
    let found = timeout(limits.resolve, lookup_host((host.trim_matches(['[', ']']), config.port()))).await;
    let addresses: Vec<SocketAddr> = found.unwrap_or_else(|_| Err(late())).map_err(resolve)?.collect();
    let mut tried = Vec::new();
    for address in addresses {
        match timeout(limits.connect, TcpStream::connect(address)).await.unwrap_or_else(|_| Err(late())) {
            Ok(stream) => {
                // What is said is gathered already; waiting for more would only cost a round trip.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => tried.push((address, error)),
        }
    }
    if tried.is_empty() {
        return Err(resolve(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    Err(Error::Connect(tried))
}
