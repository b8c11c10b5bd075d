//! From a name to a session that is ready: what a [`Race`] asks for, by async-std's sockets.
//! No other file knows async-std's name.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::Async;
use async_std::net::{TcpStream, ToSocketAddrs};

use smtp_proto::Config;
use smtp_proto::connection::Local;
use smtp_proto::dial::{Dialer, Id, Policy};
use smtp_proto::session::{Did, Next, Race};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::stream::{Clock, exchange};
use crate::{Error, Smtp, Timer};

/// async-std's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncStd;

impl Timer for AsyncStd {
    fn sleep(&self, limit: Duration) -> impl Future<Output = ()> {
        async_std::task::sleep(limit)
    }
}

/// Resolves, connects (through proxies, where there are some), secures and authenticates as `config` says: the
/// [dialer](smtp_proto::dial) finds out how.
///
/// Trusts whom the platform trusts, unless `config` brings a TLS connector of its own.
///
/// # Errors
///
/// [`Error::Dial`] names everything that was tried, [`Error::Misuse`] what cannot be.
pub async fn connect(config: &Config) -> Result<Smtp<TcpStream, AsyncStd>, Error> {
    race(Race::new(Dialer::new(config.clone().on_platform(), Policy::default())?)).await
}

/// A connection that is being opened, in the system's words (EINPROGRESS).
const UNDER_WAY: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

type Doing<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Opened = io::Result<(TcpStream, Option<IpAddr>)>;

/// What happened first.
enum Happened {
    Found(String, io::Result<Vec<IpAddr>>),
    Opened(Id, Opened),
    Did(Id, Did<io::Error>),
}

/// Runs a race with rules of the caller's own: a policy, several servers (MX, SRV), somebody who looks at what failed.
///
/// # Errors
///
/// As for [`connect`].
pub async fn race(mut race: Race<TcpStream, io::Error>) -> Result<Smtp<TcpStream, AsyncStd>, Error> {
    let clock = Clock::start(AsyncStd);
    let mut lookups: Vec<(String, Doing<io::Result<Vec<IpAddr>>>)> = Vec::new();
    let mut opening: Vec<(Id, Doing<Opened>)> = Vec::new();
    loop {
        let now = clock.now();
        let limit = match race.next(now) {
            Next::Resolve { name, port, .. } => {
                lookups.push((name.clone(), Box::pin(look_up(name, port))));
                continue;
            }
            Next::Connect { id, to, local } => {
                opening.push((id, Box::pin(open(to, local))));
                continue;
            }
            Next::Forget(id) => {
                opening.retain(|(other, _)| *other != id);
                continue;
            }
            Next::Leave(session, stream) => {
                Smtp { session, stream, clock: clock.clone(), verdict: None }.catch_up();
                continue;
            }
            Next::Won(session, stream, verdict) => {
                return Ok(Smtp { session, stream, clock: clock.clone(), verdict: Some(verdict) });
            }
            Next::Lost(failure) => return Err(Error::Dial(failure)),
            Next::Wait(limit) => limit,
        };
        let first = poll_fn(|cx| {
            if let Some((name, found)) = first_of(&mut lookups, cx) {
                return Poll::Ready(Happened::Found(name, found));
            }
            if let Some((id, opened)) = first_of(&mut opening, cx) {
                return Poll::Ready(Happened::Opened(id, opened));
            }
            let did = |(id, stream, mut turn)| match exchange(cx, stream, &mut turn) {
                Poll::Ready(did) => Some(Happened::Did(id, did)),
                Poll::Pending => None,
            };
            race.runners(now).find_map(did).map_or(Poll::Pending, Poll::Ready)
        });
        match clock.until(limit, first).await {
            Some(Happened::Found(name, found)) => race.found(clock.now(), &name, found),
            Some(Happened::Opened(id, opened)) => race.connected(clock.now(), id, opened),
            Some(Happened::Did(id, did)) => race.did(id, did),
            None => {}
        }
    }
}

/// Takes the first that is done out of those under way.
fn first_of<K, T>(doing: &mut Vec<(K, Doing<T>)>, cx: &mut Context<'_>) -> Option<(K, T)> {
    for at in 0..doing.len() {
        if let Poll::Ready(done) = doing[at].1.as_mut().poll(cx) {
            return Some((doing.swap_remove(at).0, done));
        }
    }
    None
}

async fn look_up(name: String, port: u16) -> io::Result<Vec<IpAddr>> {
    Ok((name.as_str(), port).to_socket_addrs().await?.map(|address| address.ip()).collect())
}

/// A socket of async-std's is bound to no address and kept alive by nobody, so it is made by hand, and waited for by the reactor
/// that async-std has, too.
async fn open(to: SocketAddr, local: Local) -> Opened {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(from) = local.bind {
        socket.bind(&SocketAddr::from((from, 0)).into())?;
    }
    if let Some(idle) = local.keep_alive {
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
    }
    // What is said is gathered already; waiting for more would only cost a round trip.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Err(error) if error.kind() != ErrorKind::WouldBlock && error.raw_os_error() != Some(UNDER_WAY) => {
            return Err(error);
        }
        _ => {}
    }
    let stream = Async::new(std::net::TcpStream::from(socket))?;
    stream.writable().await?;
    if let Some(error) = stream.get_ref().take_error()? {
        return Err(error);
    }
    let from = stream.get_ref().local_addr().ok().map(|address| address.ip());
    Ok((TcpStream::from(stream.into_inner()?), from))
}
