//! The fuzz target `tunnel`: each proxy's handshake, the client's side and the proxy's.

use proxy_proto::{Instant, Options, ProxyUrl, http, socks4, socks5};

use super::control::{Control, turns};
use crate::laws::{self, Cut};

/// Each proxy's handshake, from both sides, keeps the laws at every cut.
pub fn tunnel(input: &[u8]) {
    let (mut control, data) = Control::split(input);
    let kind = control.next() % 9;
    let cut = control.cut();
    let grant = control.flag();
    let turns = turns(data);
    let urls =
        ["socks4://fred@p", "socks4a://p", "socks5h://p", "socks5h://alice:s3cret@p", "http://p", "http://a:b@p"];
    if let Some(url) = urls.get(usize::from(kind)) {
        let url: ProxyUrl = url.parse().expect("a proxy");
        let target = if url.proxy_resolves() { "mx.example:25" } else { "192.0.2.1:25" }.parse().expect("a target");
        let make = || url.tunnel(&target, &Options::default()).expect("well-formed");
        let whole = laws::run(&mut make(), &turns, Cut::Pieces(usize::MAX), |_, _, _, _| {});
        assert_eq!(laws::run(&mut make(), &turns, cut, |_, _, _, _| {}), whole);
        assert!(whole.events.len() <= 1);
        return;
    }
    let limits = proxy_proto::Limits::default();
    match kind {
        6 => {
            let act = |accept: &mut socks4::Accept, _: Instant, asked: Option<&socks4::Request>, _: &mut Vec<u8>| {
                if asked.is_some() {
                    let answered = if grant { accept.granted(None) } else { accept.refused(socks4::Refusal::Rejected) };
                    answered.expect("it was asked");
                }
            };
            let whole = laws::run(&mut socks4::Accept::new(limits), &turns, Cut::Pieces(usize::MAX), act);
            assert_eq!(laws::run(&mut socks4::Accept::new(limits), &turns, cut, act), whole);
        }
        7 => {
            let act = |accept: &mut socks5::Accept, _: Instant, asked: Option<&socks5::Asked>, _: &mut Vec<u8>| {
                let answered = match asked {
                    None => Ok(()),
                    Some(socks5::Asked::Credentials(_)) if grant => accept.admit(),
                    Some(socks5::Asked::Credentials(_)) => accept.turn_away(),
                    Some(socks5::Asked::Connect(_)) if grant => accept.granted(None),
                    Some(_) => accept.refused(socks5::Refusal::NotAllowed),
                };
                answered.expect("it was asked");
            };
            let make = || socks5::Accept::new(socks5::Admission::Either, limits);
            let whole = laws::run(&mut make(), &turns, Cut::Pieces(usize::MAX), act);
            assert_eq!(laws::run(&mut make(), &turns, cut, act), whole);
        }
        _ => {
            let act = |accept: &mut http::Accept, _: Instant, asked: Option<&http::Request>, _: &mut Vec<u8>| {
                if asked.is_some() {
                    let answered = if grant { accept.granted() } else { accept.challenge(&["Basic"], true) };
                    answered.expect("it was asked");
                }
            };
            let whole = laws::run(&mut http::Accept::new(limits), &turns, Cut::Pieces(usize::MAX), act);
            assert_eq!(laws::run(&mut http::Accept::new(limits), &turns, cut, act), whole);
        }
    }
}
