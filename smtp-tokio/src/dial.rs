//! From a name to a session that is ready: what a [`Race`] asks for, by tokio's sockets.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use smtp_proto::Config;
use smtp_proto::connection::Local;
use smtp_proto::dial::{Dialer, Id, Policy};
use smtp_proto::session::{Did, Next, Race};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use crate::stream::{Clock, exchange};
use crate::{Error, Smtp};

/// Resolves, connects (through proxies, where there are some), secures and authenticates as `config` says: the
/// [dialer](smtp_proto::dial) finds out how.
///
/// Trusts whom the platform trusts, unless `config` brings a TLS connector of its own.
///
/// # Errors
///
/// [`Error::Dial`] names everything that was tried, [`Error::Misuse`] what cannot be.
pub async fn connect(config: &Config) -> Result<Smtp, Error> {
    race(Race::new(Dialer::new(config.clone().on_platform(), Policy::default())?)).await
}

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
pub async fn race(mut race: Race<TcpStream, io::Error>) -> Result<Smtp, Error> {
    let clock = Clock::start();
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
                Smtp { session, stream, clock, verdict: None }.catch_up();
                continue;
            }
            Next::Won(session, stream, verdict) => return Ok(Smtp { session, stream, clock, verdict: Some(verdict) }),
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
    Ok(lookup_host((name, port)).await?.map(|address| address.ip()).collect())
}

async fn open(to: SocketAddr, local: Local) -> Opened {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(from) = local.bind {
        socket.bind((from, 0).into())?;
    }
    if let Some(idle) = local.keep_alive {
        SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
    }
    // What is said is gathered already; waiting for more would only cost a round trip.
    socket.set_nodelay(true)?;
    let stream = socket.connect(to).await?;
    let from = stream.local_addr().ok().map(|address| address.ip());
    Ok((stream, from))
}
