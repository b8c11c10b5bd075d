//! From a name to an open TCP connection.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;

use smtp_proto::Config;

use crate::Error;
use crate::transport::Pollable;

/// Resolves the host, and connects to its first address that answers: the first half of [`connect`](crate::connect), for
/// who wants to know the stream before the session begins.
///
/// # Errors
///
/// [`Error::Resolve`], [`Error::Connect`].
pub fn dial(config: &Config) -> Result<Pollable<TcpStream>, Error> {
    let host = config.host();
    let resolve = |source| Error::Resolve { host: host.to_owned(), source };
    let mut tried = Vec::new();
    for address in lookup(config).map_err(resolve)? {
        match TcpStream::connect_timeout(&address, config.get_limits().connect).and_then(Pollable::tcp) {
            Ok(stream) => return Ok(stream),
            Err(error) => tried.push((address, error)),
        }
    }
    if tried.is_empty() {
        return Err(resolve(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    Err(Error::Connect(tried))
}

/// The system's resolver knows no limit, so it is left behind in a thread of its own when the limit has passed.
fn lookup(config: &Config) -> io::Result<Vec<SocketAddr>> {
    let name = (config.host().trim_matches(['[', ']']).to_owned(), config.port());
    let (tell, hear) = mpsc::channel();
    thread::spawn(move || {
        let _ = tell.send(name.to_socket_addrs().map(Vec::from_iter));
    });
    hear.recv_timeout(config.get_limits().resolve).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
