//! The proxy that `smtp send` brings along: `--proxy socks5h://embedded` puts the server of its own behind one.
//!
//! The rules of this file: the accepting machines of proxy-proto speak, this carries; a thread a connection is enough for
//! the one that comes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Instant as Clock;

use proxy_proto::{Credentials, Host, Instant, Limits, Machine, ProxyUrl, Scheme, Target, http, socks4, socks5};

use crate::failure::Failure;

/// The host that means a proxy of the command's own.
const EMBEDDED: &str = "embedded";

/// Starts a proxy where the URL asks for one of the command's own; the URL to use.
pub(crate) fn start(url: ProxyUrl) -> Result<ProxyUrl, Failure> {
    match &url.proxy().host {
        Host::Name(name) if name.as_str() == EMBEDDED => {}
        _ => return Ok(url),
    }
    if url.needs_tls() {
        return Err(Failure::usage("the embedded proxy speaks socks4, socks4a, socks5, socks5h and http"));
    }
    let loopback = "127.0.0.1:0";
    let unusable = |error| Failure::listen(loopback, &error);
    let listener = TcpListener::bind(loopback).map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    let (scheme, credentials) = (url.scheme(), url.credentials().cloned());
    let known = credentials.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let known = known.clone();
            // Who is cut off notices by itself; there is nobody else to tell.
            thread::spawn(move || drop(hold(client, scheme, known)));
        }
    });
    Ok(ProxyUrl::new(scheme, Target::from(address), credentials))
}

/// Holds one connection from the handshake to its end.
fn hold(mut client: TcpStream, scheme: Scheme, known: Option<Credentials>) -> io::Result<()> {
    let mut held = Vec::new();
    let server = match scheme {
        Scheme::Socks4 | Scheme::Socks4a => {
            let machine = socks4::Accept::new(Limits::default());
            agree(&mut client, &mut held, machine, |machine, asked| match connect(&asked.target) {
                Ok(server) => machine.granted(None).ok().map(|()| server),
                Err(_) => machine.refused(socks4::Refusal::Rejected).map_or(None, |()| None),
            })?
        }
        Scheme::Socks5 | Scheme::Socks5h => {
            let admission = if known.is_some() { socks5::Admission::Password } else { socks5::Admission::Anyone };
            let machine = socks5::Accept::new(admission, Limits::default());
            agree(&mut client, &mut held, machine, |machine, asked| match asked {
                socks5::Asked::Credentials(shown) => {
                    let answered = if known.as_ref() == Some(&shown) { machine.admit() } else { machine.turn_away() };
                    answered.map_or(None, |()| None)
                }
                socks5::Asked::Connect(target) => match connect(&target) {
                    Ok(server) => machine.granted(None).ok().map(|()| server),
                    Err(_) => machine.refused(socks5::Refusal::HostUnreachable).map_or(None, |()| None),
                },
            })?
        }
        Scheme::Http | Scheme::Https => {
            let machine = http::Accept::new(Limits::default());
            agree(&mut client, &mut held, machine, |machine, asked| {
                if known.is_some() && asked.credentials() != known {
                    return machine.challenge(&["Basic realm=\"embedded\""], true).map_or(None, |()| None);
                }
                match connect(&asked.target) {
                    Ok(server) => machine.granted().ok().map(|()| server),
                    Err(_) => machine.refused(502, "Bad Gateway").map_or(None, |()| None),
                }
            })?
        }
    };
    let Some(mut server) = server else { return Ok(()) };
    server.write_all(&held)?;
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || {
        let carried = io::copy(&mut from, &mut to);
        to.shutdown(Shutdown::Write).and(carried)
    });
    io::copy(&mut client, &mut server)?;
    server.shutdown(Shutdown::Write)?;
    // A thread that panicked has said so already.
    drop(back.join());
    Ok(())
}

/// Runs an accepting machine to its end: the connection that was asked for, and in `held` what came behind the request.
fn agree<M: Machine>(
    client: &mut TcpStream,
    held: &mut Vec<u8>,
    mut machine: M,
    mut answer: impl FnMut(&mut M, M::Event) -> Option<TcpStream>,
) -> io::Result<Option<TcpStream>> {
    let epoch = Clock::now();
    loop {
        let now = Instant::from_epoch(epoch.elapsed());
        let mut rest = &held[..];
        let asked = machine.receive(now, &mut rest);
        let taken = held.len() - rest.len();
        held.drain(..taken);
        let failed = asked.is_err();
        let mut moved = taken > 0;
        let mut server = None;
        if let Ok(Some(asked)) = asked {
            moved = true;
            server = answer(&mut machine, asked);
        }
        let mut said = Vec::new();
        moved |= machine.transmit(now, &mut said);
        client.write_all(&said)?;
        if server.is_some() || failed {
            return Ok(server);
        }
        if !moved {
            let mut piece = [0; 4096];
            match client.read(&mut piece)? {
                0 => return Ok(None),
                n => held.extend_from_slice(&piece[..n]),
            }
        }
    }
}

fn connect(target: &Target) -> io::Result<TcpStream> {
    match &target.host {
        Host::Name(name) => TcpStream::connect((name.as_str(), target.port)),
        Host::V4(address) => TcpStream::connect((*address, target.port)),
        Host::V6(address) => TcpStream::connect((*address, target.port)),
    }
}
