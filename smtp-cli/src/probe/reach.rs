//! From a name to a socket that is open.
//!
//! The rules of this file: nothing takes longer than it is given. Every address is tried, each a little after the one before it and
//! none instead of it, so that what is said of a port is said of all of them. A connection can be ended from another thread, whichever runtime reads from it.

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

/// How long one address is waited for before the next one is tried beside it (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// A connection to the first address that takes one, and how long that address took.
pub(super) fn connect(
    addresses: &[IpAddr],
    port: u16,
    limit: Duration,
    until: Instant,
) -> Result<(TcpStream, SocketAddr, Duration), Unreached> {
    let (tell, hear) = mpsc::channel();
    let mut waiting = addresses.iter().enumerate();
    let mut refused: Vec<Option<(String, &'static str)>> = vec![None; addresses.len()];
    let mut under_way = 0_usize;
    loop {
        let begun = waiting.next();
        if let Some((at, address)) = begun {
            let (to, tell) = (SocketAddr::new(*address, port), tell.clone());
            let limit = limit.min(until.saturating_duration_since(Instant::now()));
            let try_it = move || {
                // Who comes second is not heard any more, and what it has is closed.
                let _ = tell.send((at, to, attempt(to, limit)));
            };
            match thread::Builder::new().spawn(try_it) {
                Ok(_) => under_way += 1,
                Err(error) => refused[at] = Some((format!("{to}: {error}"), "no")),
            }
        }
        if begun.is_none() && under_way == 0 {
            break;
        }
        let patience = if waiting.len() > 0 { STAGGER } else { limit.max(STAGGER) };
        match hear.recv_timeout(patience) {
            Ok((_, to, Ok((stream, took)))) => return Ok((stream, to, took)),
            Ok((at, to, Err((why, word)))) => {
                under_way -= 1;
                refused[at] = Some((format!("{to}: {why}"), word));
            }
            Err(_) => {}
        }
    }
    let word = refused.iter().flatten().next_back().map_or("timed out", |(_, word)| word);
    let all: Vec<_> = refused.into_iter().flatten().map(|(why, _)| why).collect();
    Err(Unreached { failure: Failure::unreachable(all.join("; ")), word })
}

/// One address; or why not, and that in a word or two.
fn attempt(to: SocketAddr, limit: Duration) -> Result<(TcpStream, Duration), (String, &'static str)> {
    if limit.is_zero() {
        return Err(("no time left".into(), "timed out"));
    }
    let began = Instant::now();
    match TcpStream::connect_timeout(&to, limit) {
        Ok(stream) => Ok((stream, began.elapsed())),
        Err(error) => {
            let word = match error.kind() {
                ErrorKind::ConnectionRefused => "refused",
                ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => "reset",
                ErrorKind::TimedOut | ErrorKind::WouldBlock => "timed out",
                ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "no route",
                _ => "no",
            };
            Err((error.to_string(), word))
        }
    }
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
    fn who_does_not_answer_holds_nobody_up() {
        // Its queue is full, and it takes nobody out of it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let silent = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 0, 4], 0).into()).unwrap();
            socket.listen(1).unwrap()
        });
        let full = silent.local_addr().unwrap();
        let alive = TcpListener::bind(("127.0.0.5", full.port())).unwrap();
        let to = alive.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&full, Duration::from_millis(500)) {
            queue.push(stream);
            assert!(queue.len() < 100, "the queue has no end");
        }
        // One after the other the first would have taken an hour.
        let hour = Duration::from_secs(3_600);
        let found = connect(&[full.ip(), to.ip()], full.port(), hour, Instant::now() + hour).unwrap();
        assert_eq!(found.1, to);
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
