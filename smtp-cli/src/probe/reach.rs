//! From a name to a socket that is open.
//!
//! The rules of this file: nothing takes longer than it is given. Every address is tried, one after the other, so that what is
//! said of a port is said of all of them. A connection can be ended from another thread, whichever runtime reads from it.

use std::io::ErrorKind;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// The addresses of a name, in the resolver's order.
pub(super) fn look_up(name: &str, until: Instant) -> Result<Vec<IpAddr>, Failure> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(vec![address]);
    }
    // The system's resolver knows no limit: it is left behind in a thread of its own.
    let (tell, hear) = mpsc::channel();
    let wanted = (name.to_owned(), 0);
    thread::spawn(move || {
        let found = wanted.to_socket_addrs().map(|found| found.map(|address| address.ip()).collect::<Vec<_>>());
        let _ = tell.send(found);
    });
    match hear.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(Ok(mut found)) if !found.is_empty() => {
            let mut seen = Vec::new();
            found.retain(|address| {
                !seen.contains(address) && {
                    seen.push(*address);
                    true
                }
            });
            Ok(found)
        }
        Ok(Ok(_)) => Err(Failure::unresolved(name, "the name has no address")),
        Ok(Err(error)) => Err(Failure::unresolved(name, format_args!("not found: {error}"))),
        Err(_) => Err(Failure::unresolved(name, "the look-up timed out")),
    }
}

/// No address takes a connection.
#[derive(Debug)]
pub(super) struct Unreached {
    pub(super) failure: Failure,
    /// In a word or two, by the last address.
    pub(super) word: &'static str,
}

/// A connection to the first address that takes one, and how long that address took.
pub(super) fn connect(
    addresses: &[IpAddr],
    port: u16,
    limit: Duration,
    until: Instant,
) -> Result<(TcpStream, SocketAddr, Duration), Unreached> {
    let (mut refused, mut word) = (Vec::new(), "timed out");
    for address in addresses {
        let to = SocketAddr::new(*address, port);
        let began = Instant::now();
        let limit = limit.min(until.saturating_duration_since(began));
        if limit.is_zero() {
            refused.push(format!("{to}: no time left"));
            continue;
        }
        match TcpStream::connect_timeout(&to, limit) {
            Ok(stream) => return Ok((stream, to, began.elapsed())),
            Err(error) => {
                word = match error.kind() {
                    ErrorKind::ConnectionRefused => "refused",
                    ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => "reset",
                    ErrorKind::TimedOut | ErrorKind::WouldBlock => "timed out",
                    ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "no route",
                    _ => "no",
                };
                refused.push(format!("{to}: {error}"));
            }
        }
    }
    Err(Unreached { failure: Failure::unreachable(refused.join("; ")), word })
}

/// Why a look was ended from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// What it was to find out is known.
    Settled,
    /// The time is over.
    Late,
}

/// What a look can be ended with from another thread.
#[derive(Debug, Default)]
pub(super) struct Handle(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    stream: Option<TcpStream>,
    stop: Option<Stop>,
}

impl Handle {
    /// Holds the connection that is used from now on; `false` where the look was ended before.
    pub(super) fn hold(&self, stream: &TcpStream) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.stream = stream.try_clone().ok();
        held.stop.is_none()
    }

    /// Ends the look: whoever waits for the connection finds it closed. The first reason counts.
    pub(super) fn stop(&self, why: Stop) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.stop.get_or_insert(why);
        if let Some(stream) = held.stream.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn stopped(&self) -> Option<Stop> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).stop
    }

    /// It is over: nothing is held any more.
    pub(super) fn let_go(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).stream = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Kind, status};
    use std::io::Read;
    use std::net::TcpListener;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn an_address_is_its_own() {
        assert_eq!(look_up("2001:db8::1", soon()).unwrap(), ["2001:db8::1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn what_is_found_nowhere_says_so() {
        let failure = look_up("nowhere.invalid", soon()).unwrap_err();
        assert_eq!((failure.kind, failure.status), (Kind::Resolve, status::RESOLVE));
    }

    #[test]
    fn the_next_address_has_its_turn() {
        let listener = TcpListener::bind("127.0.0.2:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (dead, alive) = ([127, 0, 0, 3].into(), [127, 0, 0, 2].into());
        let (_, to, _) = connect(&[dead, alive], port, Duration::from_secs(5), soon()).unwrap();
        assert_eq!(to, SocketAddr::new(alive, port));
        let Unreached { failure, word } = connect(&[dead], port, Duration::from_secs(5), soon()).unwrap_err();
        assert_eq!(word, "refused");
        assert_eq!((failure.kind, failure.status), (Kind::Connect, status::CONNECT));
        assert!(failure.text.contains(&format!("127.0.0.3:{port}")), "{failure}");
    }

    #[test]
    fn whoever_reads_is_ended_from_elsewhere() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let handle = Handle::default();
        assert!(handle.hold(&stream));
        thread::scope(|scope| {
            let reader = scope.spawn(|| stream.read(&mut [0; 1]).unwrap());
            handle.stop(Stop::Settled);
            handle.stop(Stop::Late);
            assert_eq!(reader.join().unwrap(), 0);
        });
        assert_eq!(handle.stopped(), Some(Stop::Settled));
        assert!(!handle.hold(&TcpStream::connect(listener.local_addr().unwrap()).unwrap()));
    }
}
