//! Runs machines in memory and holds them to the laws of the contract at every step.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fmt::Debug;
use std::time::Duration;

use proxy_proto::{
    Credentials, Error, Instant, Limits, Machine, Options, ProxyUrl, Secret, Target, Tunnel, http, proxy_header,
    socks4, socks5,
};

pub(crate) const NOW: Instant = Instant::from_epoch(Duration::from_secs(1000));

/// Everything that can be seen of a machine from outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Trace {
    pub(crate) events: Vec<String>,
    pub(crate) output: Vec<u8>,
    pub(crate) error: Option<Error>,
    /// What was left of the input when the machine wanted no more of it.
    pub(crate) left: Vec<u8>,
    /// What the end of the stream meant, after all that.
    pub(crate) end: Result<(), Error>,
}

/// Feeds the pieces one after the other; `answer` is the owner's reaction to an event.
pub(crate) fn run<'a, M>(
    mut machine: M,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    speak_first: bool,
    mut answer: impl FnMut(&mut M, &M::Event),
) -> Trace
where
    M: Machine<Error = Error>,
    M::Event: Debug,
{
    let (mut events, mut output, mut error) = (Vec::new(), Vec::new(), None);
    let mut pending: Vec<u8> = Vec::new();
    let pieces = std::iter::once(&[][..]).chain(pieces);
    for piece in pieces {
        pending.extend_from_slice(piece);
        let mut speak = speak_first;
        loop {
            let mut moved = speak && transmit(&mut machine, &mut output);
            speak = true;
            let mut input = &pending[..];
            match machine.receive(NOW, &mut input) {
                Ok(event) => {
                    moved |= input.len() < pending.len() || event.is_some();
                    if let Some(event) = event {
                        events.push(format!("{event:?}"));
                        answer(&mut machine, &event);
                    }
                }
                Err(first) => {
                    let before = input.len();
                    assert_eq!(machine.receive(NOW, &mut input).err(), Some(first.clone()), "an error stays");
                    assert_eq!(input.len(), before, "and takes nothing more");
                    assert_eq!(machine.finish(), Err(first.clone()));
                    assert_eq!(machine.deadline(), None, "and waits for nothing");
                    moved |= error.is_none();
                    error = Some(first);
                }
            }
            pending = input.to_vec();
            clock(&mut machine);
            if !moved && !transmit(&mut machine, &mut output) {
                break;
            }
        }
    }
    Trace { events, output, error, left: pending, end: machine.finish() }
}

fn transmit<M: Machine>(machine: &mut M, output: &mut Vec<u8>) -> bool {
    let before = output.len();
    let spoke = machine.transmit(NOW, output);
    assert!(spoke || output.len() == before, "who did not speak has said nothing");
    let after = output.len();
    assert!(!machine.transmit(NOW, output) && output.len() == after, "nothing is said twice");
    spoke
}

fn clock<M: Machine<Error = Error>>(machine: &mut M) {
    let deadline = machine.deadline();
    if let Some(deadline) = deadline {
        let just_before = Instant::from_epoch(deadline.at.since_epoch() - Duration::from_nanos(1));
        assert_eq!(machine.expire(just_before), Ok(()), "a deadline that has not passed changes nothing");
        assert_eq!(machine.deadline(), Some(deadline), "and stays where it is");
    }
}

/// Every way of cutting that the laws are checked with: at each octet once, and into pieces of one size.
pub(crate) fn cuts(stream: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut all: Vec<Vec<&[u8]>> = [1, 2, 3, 7, 64].iter().map(|&size| stream.chunks(size).collect()).collect();
    // Long streams are cut at each octet of their beginning and end, where the framing is.
    let places = (0..=stream.len()).filter(|&at| at < 512 || at + 512 > stream.len());
    all.extend(places.map(|at| <[&[u8]; 2]>::from(stream.split_at(at)).to_vec()));
    all
}

/// The trace, after checking that it is the same for every cut and for either order of the first calls.
pub(crate) fn same_at_every_cut<M>(
    make: impl Fn() -> M,
    stream: &[u8],
    answer: impl Fn(&mut M, &M::Event) + Copy,
) -> Trace
where
    M: Machine<Error = Error>,
    M::Event: Debug,
{
    let whole = run(make(), [stream], true, answer);
    for pieces in cuts(stream) {
        for speak_first in [true, false] {
            let cut = run(make(), pieces.iter().copied(), speak_first, answer);
            assert_eq!(
                cut,
                whole,
                "{:?} cut as {:?}",
                stream,
                pieces.iter().map(|piece| piece.len()).collect::<Vec<_>>()
            );
        }
    }
    whole
}

pub(crate) fn target(text: &str) -> Target {
    text.parse().expect("a target")
}

pub(crate) fn alice() -> Credentials {
    Credentials::new("alice", "s3cret")
}

/// The tunnel of a URL to `mx.example:25`, or to an address where the scheme wants one.
pub(crate) fn tunnel(url: &str, options: &Options) -> Tunnel {
    let url: ProxyUrl = url.parse().expect("a proxy");
    let to = if url.proxy_resolves() { "mx.example:25" } else { "192.0.2.1:25" };
    url.tunnel(&target(to), options).expect("well-formed")
}

/// Makes a tunnel; called anew for each way of cutting.
pub(crate) type Make = fn() -> Tunnel;

/// One of each handshake a client can have.
pub(crate) fn tunnels() -> Vec<(&'static str, Make)> {
    fn http(authorization: http::Authorization) -> Tunnel {
        let config = http::Config { authorization, cnonce: Some([7; 16]), ..http::Config::default() };
        http::Connect::new(&target("mx.example:25"), config).expect("well-formed").into()
    }
    vec![
        ("SOCKS4", || tunnel("socks4://fred@p", &Options::default())),
        ("SOCKS4a", || tunnel("socks4a://p", &Options::default())),
        ("SOCKS5", || tunnel("socks5h://p", &Options::default())),
        ("SOCKS5 with a password", || tunnel("socks5h://alice:s3cret@p", &Options::default())),
        ("SOCKS5 in one flight", || {
            tunnel("socks5h://alice:s3cret@p", &Options { one_flight: true, ..Options::default() })
        }),
        ("CONNECT", || http(http::Authorization::None)),
        ("CONNECT, Basic", || http(http::Authorization::Basic(alice()))),
        ("CONNECT, Bearer", || http(http::Authorization::Bearer(Secret::from("t")))),
        ("CONNECT, challenged", || http(http::Authorization::Challenged(alice()))),
    ]
}

pub(crate) fn proxy_header() -> Tunnel {
    proxy_header::ProxyHeader::v1_unknown().into()
}

pub(crate) fn limits() -> Limits {
    Limits::default()
}

pub(crate) fn accept4() -> socks4::Accept {
    socks4::Accept::new(limits())
}

pub(crate) fn accept5(admission: socks5::Admission) -> socks5::Accept {
    socks5::Accept::new(admission, limits())
}

pub(crate) fn accept_http() -> http::Accept {
    http::Accept::new(limits())
}
