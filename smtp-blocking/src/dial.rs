//! From a name to an open TCP connection, and the route from there.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;

use smtp_proto::{Config, Route};

use crate::Error;
use crate::transport::Pollable;

/// Resolves what is to be resolved here, and connects to the nearest hop: its first address that answers. With the route
/// from there, it is the first half of [`connect`](crate::connect), for who wants to know the stream before the session
/// begins.
///
/// # Errors
///
/// [`Error::Resolve`], [`Error::Connect`], [`Error::Misuse`].
pub fn dial(config: &Config) -> Result<(Pollable<TcpStream>, Route), Error> {
    let mut resolved: Vec<(String, IpAddr)> = Vec::new();
    for (name, port) in config.names_to_resolve()? {
        resolved.extend(lookup(config, &name, port)?.into_iter().map(|address| (name.clone(), address.ip())));
    }
    let route = config.route(&resolved)?;
    let (host, port) = config.dial();
    let mut tried = Vec::new();
    for address in lookup(config, &host, port)? {
        match TcpStream::connect_timeout(&address, config.get_limits().connect).and_then(Pollable::tcp) {
            Ok(stream) => return Ok((stream, route)),
            Err(error) => tried.push((address, error)),
        }
    }
    Err(Error::Connect(tried))
}

/// The addresses of a name; at least one. The system's resolver knows no limit, so it is left behind in a thread of its own
/// when the limit has passed.
fn lookup(config: &Config, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let name = (host.to_owned(), port);
    let (tell, hear) = mpsc::channel();
    thread::spawn(move || {
        // Nobody may be listening any more.
        let _ = tell.send(name.to_socket_addrs().map(Vec::from_iter));
    });
    match hear.recv_timeout(config.get_limits().resolve).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(found) if found.is_empty() => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        found => found,
    }
    .map_err(|source| Error::Resolve { host: host.to_owned(), source })
}
