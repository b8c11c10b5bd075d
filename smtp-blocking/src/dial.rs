//! From a name to a session that is ready: what a [`Race`] asks for, by the system's sockets, all of them waited for at once.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use smtp_proto::Config;
use smtp_proto::connection::Local;
use smtp_proto::dial::{Dialer, Id, Policy};
use smtp_proto::session::{Next, Race};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::stream::{Clock, exchange};
use crate::transport::{Pollable, Ready, wait_for};
use crate::{Error, Smtp};

/// Resolves, connects (through proxies, where there are some), secures and authenticates as `config` says: the
/// [dialer](smtp_proto::dial) finds out how.
///
/// Trusts whom the platform trusts, unless `config` brings a TLS connector of its own.
///
/// # Errors
///
/// [`Error::Dial`] names everything that was tried, [`Error::Misuse`] what cannot be.
pub fn connect(config: &Config) -> Result<Smtp, Error> {
    race(Race::new(Dialer::new(config.clone().on_platform(), Policy::default())?))
}

type Opened = io::Result<(Pollable<TcpStream>, Option<IpAddr>)>;

/// Runs a race with rules of the caller's own: a policy, several servers (MX, SRV), somebody who looks at what failed.
///
/// # Errors
///
/// As for [`connect`].
pub fn race(mut race: Race<Pollable<TcpStream>, io::Error>) -> Result<Smtp, Error> {
    let clock = Clock::start();
    let mut opening: Vec<(Id, Socket)> = Vec::new();
    loop {
        let now = clock.now();
        let limit = match race.next(now) {
            Next::Resolve { name, port, until } => {
                // Too late is no answer: the race looks at the time itself.
                if let Some(found) = look_up(&name, port, until.map(|until| until.since(now))) {
                    race.found(clock.now(), &name, found);
                }
                continue;
            }
            Next::Connect { id, to, local } => {
                match begin(to, local) {
                    Ok(socket) => opening.push((id, socket)),
                    Err(error) => race.connected(now, id, Err(error)),
                }
                continue;
            }
            Next::Forget(id) => {
                opening.retain(|(other, _)| *other != id);
                continue;
            }
            Next::Leave(session, stream) => {
                Smtp { session, stream, clock, verdict: None }.catch_up();
                continue;
            }
            Next::Won(session, stream, verdict) => return Ok(Smtp { session, stream, clock, verdict: Some(verdict) }),
            Next::Lost(failure) => return Err(Error::Dial(failure)),
            Next::Wait(limit) => limit.map(|limit| limit.since(now)),
        };
        let ready = {
            let runners: Vec<_> = race.runners(now).collect();
            let connecting = opening.iter().map(|(_, socket)| (socket, Ready { read: false, write: true }));
            let talking = runners.iter().map(|(_, stream, turn)| (stream.get_ref(), Ready::of(turn)));
            wait_for(connecting, talking, limit)
        };
        let now = clock.now();
        for at in (0..opening.len()).rev() {
            let connected = match &ready {
                Ok(ready) if !ready[at] => continue,
                Ok(_) => opened(opening.remove(at)),
                Err(error) => (opening.remove(at).0, Err(error.kind().into())),
            };
            race.connected(now, connected.0, connected.1);
        }
        let did: Vec<_> = race
            .runners(now)
            .flat_map(|(id, stream, turn)| {
                exchange(stream, turn, now, true).into_iter().flatten().map(move |did| (id, did))
            })
            .collect();
        did.into_iter().for_each(|(id, did)| race.did(id, did));
    }
}

/// The addresses of a name. The system's resolver knows no limit, so it is left behind in a thread of its own when the limit has
/// passed.
fn look_up(name: &str, port: u16, limit: Option<Duration>) -> Option<io::Result<Vec<IpAddr>>> {
    let name = (name.to_owned(), port);
    let (tell, hear) = mpsc::channel();
    thread::spawn(move || {
        // Nobody may be listening any more.
        let _ = tell.send(name.to_socket_addrs().map(|found| found.map(|address| address.ip()).collect()));
    });
    match limit {
        Some(limit) => hear.recv_timeout(limit).ok(),
        None => hear.recv().ok(),
    }
}

/// A socket that is being connected.
fn begin(to: SocketAddr, local: Local) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(from) = local.bind {
        socket.bind(&SocketAddr::from((from, 0)).into())?;
    }
    if let Some(idle) = local.keep_alive {
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
    }
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Err(error) if !is_under_way(&error) => Err(error),
        _ => Ok(socket),
    }
}

fn is_under_way(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

/// The socket is connected, or cannot be.
fn opened((id, socket): (Id, Socket)) -> (Id, Opened) {
    (id, usable(socket))
}

fn usable(socket: Socket) -> Opened {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    let stream = TcpStream::from(socket);
    let from = stream.local_addr().ok().map(|address| address.ip());
    Ok((Pollable::tcp(stream)?, from))
}
