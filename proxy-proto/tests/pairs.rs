//! Every client's machine against the accepting machine, in memory, both streams cut at every size.

mod common;

use std::fmt::Debug;

use common::{NOW, accept_http, accept4, accept5, alice, target, tunnel};
use proxy_proto::{
    Credentials, Error, Kind, Machine, Opened, Options, Secret, Target, Tunnel, http,
    socks4::{self, Refusal},
    socks5::{self, Admission, Asked},
};

const SIZES: [usize; 6] = [1, 2, 3, 7, 64, 4096];
const GREETING: &[u8] = b"220 mx.example ESMTP\r\n";

/// What came of a handshake.
struct Met<A> {
    opened: Result<Option<Opened>, Error>,
    accept: A,
}

/// Lets both talk through a wire that carries `size` octets at a time. The proxy's last word and the server's first go into
/// one segment, and where the tunnel opens not an octet of the latter may be lost.
fn meet<A>(client: &mut Tunnel, mut accept: A, size: usize, mut answer: impl FnMut(&mut A, A::Event)) -> Met<A>
where
    A: Machine<Error = Error>,
    A::Event: Debug,
{
    let (mut to_proxy, mut to_client) = (Vec::new(), Vec::new());
    let (mut at_proxy, mut at_client) = (Vec::new(), Vec::new());
    let (mut opened, mut greeted) = (Ok(None), false);
    loop {
        let mut moved = client.transmit(NOW, &mut to_proxy);
        moved |= carry(&mut to_proxy, &mut at_proxy, size);
        let mut input = &at_proxy[..];
        if let Ok(Some(event)) = accept.receive(NOW, &mut input) {
            answer(&mut accept, event);
            moved = true;
        }
        at_proxy = input.to_vec();
        if accept.transmit(NOW, &mut to_client) {
            moved = true;
            if accept.deadline().is_none() && !std::mem::replace(&mut greeted, true) {
                to_client.extend_from_slice(GREETING);
            }
        }
        moved |= carry(&mut to_client, &mut at_client, size);
        if opened == Ok(None) {
            let mut input = &at_client[..];
            opened = client.receive(NOW, &mut input);
            moved |= opened != Ok(None);
            at_client = input.to_vec();
        }
        if !moved {
            if matches!(opened, Ok(Some(_))) {
                assert_eq!(at_client, GREETING, "in pieces of {size}");
            }
            return Met { opened, accept };
        }
    }
}

fn carry(from: &mut Vec<u8>, to: &mut Vec<u8>, size: usize) -> bool {
    let count = size.min(from.len());
    to.extend(from.drain(..count));
    count > 0
}

fn kind(opened: &Result<Option<Opened>, Error>) -> Option<Kind> {
    opened.as_ref().err().map(|error| error.kind().clone())
}

#[test]
fn socks4_and_socks4a() {
    let bound = target("198.51.100.7:4660");
    for size in SIZES {
        for (url, to, user) in [("socks4://fred@p", "192.0.2.1:25", "fred"), ("socks4a://p", "mx.example:25", "")] {
            let mut client = tunnel(url, &Options::default());
            let met = meet(&mut client, accept4(), size, |accept, request| {
                assert_eq!(request, socks4::Request { target: target(to), user: user.into() });
                accept.granted(Some(&bound)).expect("asked");
            });
            assert_eq!(met.opened, Ok(Some(Opened { bound: Some(bound.clone()) })));
            for refusal in [Refusal::Rejected, Refusal::NoIdentd, Refusal::UserMismatch, Refusal::Other(7)] {
                let mut client = tunnel(url, &Options::default());
                let met = meet(&mut client, accept4(), size, |accept, _| accept.refused(refusal).expect("asked"));
                assert_eq!(kind(&met.opened), Some(Kind::Socks4(refusal)));
            }
        }
    }
}

/// All hosts a SOCKS5 request or reply can carry.
fn hosts() -> [Target; 5] {
    let longest = format!("{}:65535", "n".repeat(255));
    ["mx.example:25", "192.0.2.1:587", "[2001:db8::1]:465", "0.0.0.0:0", &longest].map(target)
}

#[test]
fn socks5_with_every_admission_host_and_flight() {
    let config = |credentials: bool, one_flight: bool| socks5::Config {
        anonymous: !(credentials && one_flight),
        credentials: credentials.then(alice),
        one_flight,
        ..socks5::Config::default()
    };
    for size in SIZES {
        for to in hosts() {
            for (admission, credentials) in [
                (Admission::Anyone, false),
                (Admission::Password, true),
                (Admission::Either, true),
                (Admission::Either, false),
            ] {
                for one_flight in [false, true] {
                    let connect = socks5::Connect::new(&to, config(credentials, one_flight)).expect("well-formed");
                    let mut client = Tunnel::from(connect);
                    let mut shown = None;
                    let met = meet(&mut client, accept5(admission), size, |accept, asked| match asked {
                        Asked::Credentials(credentials) => {
                            shown = Some(credentials);
                            accept.admit().expect("asked");
                        }
                        Asked::Connect(target) => {
                            assert_eq!(target, to);
                            accept.granted(Some(&to)).expect("asked");
                        }
                    });
                    assert_eq!(met.opened, Ok(Some(Opened { bound: Some(to.clone()) })));
                    assert_eq!(shown, credentials.then(alice));
                }
            }
        }
    }
}

#[test]
fn socks5_refusals_of_all_kinds() {
    for size in SIZES {
        for code in 1..=255u8 {
            let refusal = socks5::Refusal::from_code(code).expect("not zero");
            let mut client = tunnel("socks5h://p", &Options::default());
            let met = meet(&mut client, accept5(Admission::Anyone), size, |accept, _| {
                accept.refused(refusal).expect("asked");
            });
            assert_eq!(kind(&met.opened), Some(Kind::Socks5(refusal)));
        }
        let mut client = tunnel("socks5h://alice:wrong@p", &Options::default());
        let met = meet(&mut client, accept5(Admission::Password), size, |accept, asked| {
            assert_eq!(asked, Asked::Credentials(Credentials::new("alice", "wrong")));
            accept.turn_away().expect("asked");
        });
        assert_eq!(kind(&met.opened), Some(Kind::CredentialsRefused));
        let mut client = tunnel("socks5h://p", &Options::default());
        let mut met = meet(&mut client, accept5(Admission::Password), size, |_, _| {});
        assert_eq!(kind(&met.opened), Some(Kind::NoCommonMethod));
        assert!(met.accept.finish().is_err_and(|error| *error.kind() == Kind::NoCommonMethod));
    }
}

fn http(authorization: http::Authorization) -> Tunnel {
    let config = http::Config { authorization, cnonce: Some([0x5a; 16]), ..http::Config::default() };
    http::Connect::new(&target("[2001:db8::1]:465"), config).expect("well-formed").into()
}

#[test]
fn connect_with_every_authorization() {
    use http::Authorization;
    for size in SIZES {
        let met = meet(&mut http(Authorization::None), accept_http(), size, |accept, request| {
            assert_eq!(request, http::Request { target: target("[2001:db8::1]:465"), authorization: None });
            accept.granted().expect("asked");
        });
        assert_eq!(met.opened, Ok(Some(Opened { bound: None })));
        let bearer = Authorization::Bearer(Secret::from("token"));
        let met = meet(&mut http(bearer), accept_http(), size, |accept, request| {
            assert_eq!(request.authorization, Some(Secret::from("Bearer token")));
            accept.granted().expect("asked");
        });
        assert!(met.opened.is_ok());
        for (authorization, questions) in [(Authorization::Basic(alice()), 1), (Authorization::Challenged(alice()), 2)]
        {
            let mut asked = 0;
            let met = meet(&mut http(authorization), accept_http(), size, |accept, request| {
                asked += 1;
                match request.credentials() {
                    Some(credentials) if credentials == alice() => accept.granted(),
                    _ => accept.challenge(&["Basic realm=\"proxy\""], true),
                }
                .expect("asked");
            });
            assert_eq!((met.opened, asked), (Ok(Some(Opened { bound: None })), questions));
        }
        let met = meet(&mut http(Authorization::Basic(alice())), accept_http(), size, |accept, _| {
            accept.refused(403, "Not you").expect("asked");
        });
        assert_eq!(kind(&met.opened), Some(Kind::Http { status: 403, reason: "Not you".into() }));
    }
}

#[test]
fn a_challenge_that_closes_is_answered_by_the_next_tunnel() {
    for size in SIZES {
        let mut first = http(http::Authorization::Challenged(alice()));
        let met = meet(&mut first, accept_http(), size, |accept, _| {
            accept.challenge(&["Basic realm=\"proxy\""], false).expect("asked");
        });
        assert!(met.opened.is_err_and(|error| error.challenge().is_some()));
        let mut second = first.redial().expect("a challenge to answer");
        let met = meet(&mut second, accept_http(), size, |accept, request| {
            assert_eq!(request.credentials(), Some(alice()));
            accept.granted().expect("asked");
        });
        assert_eq!(met.opened, Ok(Some(Opened { bound: None })));
    }
}

#[cfg(feature = "digest")]
#[test]
fn digest_with_both_hashes_and_a_stale_nonce() {
    for size in SIZES {
        for algorithm in ["MD5", "SHA-256"] {
            let mut nonces = Vec::new();
            let mut client = http(http::Authorization::Digest(alice()));
            let met = meet(&mut client, accept_http(), size, |accept, request| {
                let shown =
                    request.authorization.map(|value| String::from_utf8(value.expose().to_vec()).expect("text"));
                let round = nonces.len();
                nonces.push(shown);
                let stale = if round == 1 { ", stale=true" } else { "" };
                let challenge =
                    format!("Digest realm=\"r\", nonce=\"nonce{round}\", qop=\"auth\", algorithm={algorithm}{stale}");
                if round < 2 { accept.challenge(&[&challenge], true) } else { accept.granted() }.expect("asked");
            });
            assert_eq!(met.opened, Ok(Some(Opened { bound: None })));
            let [None, Some(one), Some(two)] = &nonces[..] else { panic!("{nonces:?}") };
            assert!(one.contains("nonce=\"nonce0\"") && two.contains("nonce=\"nonce1\""));
            assert!(one.contains("uri=\"[2001:db8::1]:465\"") && one.contains(&format!("algorithm={algorithm}")));
        }
    }
}
