//! The seven laws, for every client's and every accepting machine, at every cut of what the peer says.

mod common;

use common::{NOW, accept_http, accept4, accept5, alice, proxy_header, run, same_at_every_cut, tunnel, tunnels};
use proptest::prelude::*;
use proxy_proto::{Instant, Kind, Limits, Machine, Options, Spoken, Tunnel, http, socks4, socks5};

const GREETING: &[u8] = b"220 mx.example ESMTP\r\n";

fn opens(make: impl Fn() -> Tunnel, reply: &[u8]) -> Vec<u8> {
    let stream = [reply, GREETING].concat();
    let trace = same_at_every_cut(make, &stream, |_, _| {});
    assert_eq!(trace.events.len(), 1, "{trace:?}");
    assert_eq!((trace.left.as_slice(), trace.end), (GREETING, Ok(())), "not an octet of the greeting is lost");
    trace.output
}

fn fails(make: impl Fn() -> Tunnel, reply: &[u8]) -> Kind {
    let trace = same_at_every_cut(make, reply, |_, _| {});
    assert_eq!(trace.events.len(), 0);
    trace.end.expect_err("no tunnel").kind().clone()
}

#[test]
fn a_greeting_glued_to_the_reply_is_left_whole_at_every_cut() {
    let plain = Options::default();
    opens(|| tunnel("socks4://fred@p", &plain), b"\x00\x5a\x00\x00\x00\x00\x00\x00");
    opens(|| tunnel("socks4a://p", &plain), b"\x00\x5a\x12\x34\x01\x02\x03\x04");
    let v4 = b"\x05\x00\x00\x01\xc0\x00\x02\x01\x12\x34";
    let v6 = b"\x05\x00\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x12\x34";
    let name = b"\x05\x00\x00\x03\x05proxy\x12\x34";
    let nameless = b"\x05\x00\x00\x03\x00\x00\x00";
    for reply in [&v4[..], v6, name, nameless] {
        opens(|| tunnel("socks5h://p", &plain), &[b"\x05\x00", reply].concat());
        opens(|| tunnel("socks5://alice:s3cret@p", &plain), &[b"\x05\x00", reply].concat());
        let output = opens(|| tunnel("socks5h://alice:s3cret@p", &plain), &[b"\x05\x02\x01\x00", reply].concat());
        assert_eq!(output, b"\x05\x02\x00\x02\x01\x05alice\x06s3cret\x05\x01\x00\x03\x0amx.example\x00\x19");
        let fast = Options { one_flight: true, ..Options::default() };
        opens(|| tunnel("socks5h://alice:s3cret@p", &fast), &[b"\x05\x02\x01\x00", reply].concat());
        opens(|| tunnel("socks5h://p", &fast), &[b"\x05\x00", reply].concat());
    }
    opens(|| tunnel("http://p", &plain), b"HTTP/1.1 200 Connection established\r\n\r\n");
    opens(|| tunnel("https://alice:s3cret@p", &plain), b"HTTP/1.0 200\r\nA: b\r\nC: d\r\nE: f\r\nG: h\r\n\r\n");
    opens(|| tunnel("http://p", &plain), b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    opens(proxy_header, b"");
    for content in ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"] {
        let head = "HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm=\"x\"\r\n";
        let reply = [head, content, "HTTP/1.1 200 OK\r\n\r\n"].concat();
        let output = opens(|| tunnel("http://alice:s3cret@p", &plain), reply.as_bytes());
        let output = String::from_utf8(output).expect("text");
        assert_eq!(output.matches("CONNECT mx.example:25 HTTP/1.1\r\nHost: mx.example:25\r\n").count(), 2);
        // "alice:s3cret" in base64.
        assert_eq!(output.matches("Proxy-Authorization: Basic YWxpY2U6czNjcmV0\r\n").count(), 1);
    }
}

#[test]
fn failures_are_the_same_at_every_cut() {
    let plain = Options::default();
    let socks5 = || tunnel("socks5h://alice:s3cret@p", &plain);
    assert_eq!(fails(socks5, b"\x05\xff"), Kind::NoCommonMethod);
    assert_eq!(fails(socks5, b"\x05\x02\x01\x01"), Kind::CredentialsRefused);
    assert_eq!(fails(socks5, b"\x05\x02\x01\x00\x05\x04\x00"), Kind::Socks5(socks5::Refusal::HostUnreachable));
    assert_eq!(fails(socks5, b"HTTP/1.1 400 Bad Request\r\n\r\n"), Kind::Speaks(Spoken::Http));
    assert_eq!(
        fails(|| tunnel("socks4://p", &plain), b"\x00\x5b\0\0\0\0\0\0"),
        Kind::Socks4(socks4::Refusal::Rejected)
    );
    let http = || tunnel("http://p", &plain);
    assert_eq!(fails(http, GREETING), Kind::Speaks(Spoken::Smtp));
    assert_eq!(fails(http, b"\x05\x00"), Kind::Speaks(Spoken::Socks5));
    assert_eq!(fails(http, b"HTTP/1.1 407 x\r\n\r\n"), Kind::NoChallenge);
    let forbidden = Kind::Http { status: 403, reason: "Forbidden".into() };
    assert_eq!(fails(http, b"HTTP/1.1 403 Forbidden\r\nX: y\r\n\r\nrest"), forbidden);
    let long = [b"HTTP/1.1 200 OK\r\nX: ", &[b'y'; 64 * 1024][..], b"\r\n\r\n"].concat();
    let trace = run(http(), long.chunks(1000), true, |_, _| {});
    assert_eq!(trace.error.map(|error| error.kind().clone()), Some(Kind::HeadTooLong(16 * 1024)));
    let closing = b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=x\r\nConnection: close\r\n\r\n";
    assert!(matches!(fails(|| tunnel("http://alice:s3cret@p", &plain), closing), Kind::Redial(_)));
}

#[test]
fn the_stream_may_end_only_when_the_tunnel_stands() {
    for (name, make) in tunnels() {
        let reply: &[u8] = match name {
            "SOCKS4" | "SOCKS4a" => b"\x00\x5a\0\0\0\0\0\0",
            "SOCKS5" => b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0",
            "SOCKS5 with a password" | "SOCKS5 in one flight" => b"\x05\x02\x01\x00\x05\x00\x00\x01\0\0\0\0\0\0",
            _ => b"HTTP/1.1 200 OK\r\n\r\n",
        };
        for end in 0..reply.len() {
            let trace = run(make(), [&reply[..end]], true, |_, _| {});
            assert_eq!(trace.end.expect_err("early").kind(), &Kind::EndOfStream, "{name} at {end}");
        }
        assert_eq!(run(make(), [reply], true, |_, _| {}).end, Ok(()), "{name}");
    }
}

#[test]
fn a_proxy_that_says_nothing_is_given_up_within_the_limit() {
    for (name, make) in tunnels() {
        let mut tunnel = make();
        assert_eq!(tunnel.deadline(), None, "{name}: no call has told the time yet");
        tunnel.transmit(NOW, &mut Vec::new());
        let deadline = tunnel.deadline().expect("a limit");
        assert_eq!(deadline.at, NOW.after(Limits::default().handshake));
        let error = tunnel.expire(deadline.at).expect_err("too late");
        assert_eq!((error.kind(), error.phase()), (&Kind::TimedOut, deadline.watching), "{name}");
        assert_eq!(tunnel.expire(Instant::EPOCH), Err(error.clone()));
        assert_eq!(tunnel.receive(NOW, &mut &b"\x05"[..]), Err(error));
        let mut unspoken = make();
        unspoken.expire(NOW).expect("the clock starts here");
        unspoken.expire(deadline.at).expect_err("too late");
        assert!(!unspoken.transmit(deadline.at, &mut Vec::new()), "{name}: who has given up says nothing more");
        let before = make();
        assert!(format!("{before:?}").len() < 200, "Debug tells the phase and no contents");
    }
    let phase = |make: fn() -> Tunnel, reply: &[u8]| {
        let (mut tunnel, mut input) = (make(), reply);
        for _ in 0..3 {
            tunnel.transmit(NOW, &mut Vec::new());
            tunnel.receive(NOW, &mut input).expect("in order");
        }
        tunnel.deadline().expect("a limit").watching.name()
    };
    let socks5 = || tunnel("socks5h://alice:s3cret@p", &Options::default());
    assert_eq!(phase(socks5, b""), "SOCKS5 method");
    assert_eq!(phase(socks5, b"\x05\x02"), "SOCKS5 authentication");
    assert_eq!(phase(socks5, b"\x05\x02\x01\x00"), "SOCKS5 request");
    assert_eq!(phase(|| tunnel("socks4a://p", &Options::default()), b"\x00"), "SOCKS4 request");
    assert_eq!(phase(|| tunnel("http://p", &Options::default()), b"HTTP"), "CONNECT reply");
}

/// What the clients say, for the accepting side to be cut at.
fn requests() -> Vec<Vec<u8>> {
    let tunnels = tunnels().into_iter();
    tunnels.map(|(_, make)| run(make(), [], true, |_, _| {}).output).collect()
}

#[test]
fn the_accepting_side_is_the_same_at_every_cut() {
    let rest = b"EHLO client.example\r\n";
    for request in [&b"\x04\x01\x00\x19\xc0\x00\x02\x01fred\x00"[..], b"\x04\x01\x00\x19\0\0\0\x01\x00mx.example\x00"] {
        let stream = [request, rest].concat();
        let trace = same_at_every_cut(accept4, &stream, |accept, _| accept.granted(None).expect("asked"));
        assert_eq!((trace.events.len(), trace.left.as_slice()), (1, &rest[..]));
        assert_eq!(trace.output, b"\x00\x5a\0\0\0\0\0\0");
    }
    let stream = [b"\x05\x02\x00\x02\x01\x05alice\x06s3cret\x05\x01\x00\x03\x0amx.example\x00\x19", &rest[..]].concat();
    let answer = |accept: &mut socks5::Accept, asked: &socks5::Asked| match asked {
        socks5::Asked::Credentials(credentials) if *credentials == alice() => accept.admit().expect("asked"),
        socks5::Asked::Credentials(_) => accept.turn_away().expect("asked"),
        socks5::Asked::Connect(_) => accept.granted(None).expect("asked"),
    };
    let trace = same_at_every_cut(|| accept5(socks5::Admission::Either), &stream, answer);
    assert_eq!((trace.events.len(), trace.left.as_slice()), (2, &rest[..]));
    assert_eq!(trace.output, b"\x05\x02\x01\x00\x05\x00\x00\x01\0\0\0\0\0\0");
    let stream = [b"CONNECT mx.example:25 HTTP/1.1\r\nHost: mx.example:25\r\n\r\n", &rest[..]].concat();
    let answer = |accept: &mut http::Accept, _: &http::Request| accept.granted().expect("asked");
    let trace = same_at_every_cut(accept_http, &stream, answer);
    assert_eq!((trace.events.len(), trace.left.as_slice()), (1, &rest[..]));
    for request in requests() {
        same_at_every_cut(accept4, &request, |accept, _| accept.granted(None).expect("asked"));
        same_at_every_cut(|| accept5(socks5::Admission::Either), &request, |_, _| {});
        same_at_every_cut(accept_http, &request, |_, _| {});
    }
}

#[test]
fn an_answer_out_of_turn_changes_nothing() {
    let nonsense4 = |accept: &mut socks4::Accept| {
        accept.granted(None).expect_err("not asked");
        accept.refused(socks4::Refusal::Rejected).expect_err("not asked");
    };
    let nonsense5 = |accept: &mut socks5::Accept| {
        accept.granted(None).expect_err("not asked");
        accept.refused(socks5::Refusal::NotAllowed).expect_err("not asked");
    };
    let nonsense_http = |accept: &mut http::Accept| {
        accept.granted().expect_err("not asked");
        accept.refused(403, "No").expect_err("not asked");
        accept.challenge(&["Basic"], true).expect_err("not asked");
    };
    let mut accept = accept4();
    nonsense4(&mut accept);
    let trace = run(accept, [&b"\x04\x01\x00\x19\x01\x02\x03\x04\x00"[..]], true, |accept, _| {
        accept.granted(Some(&common::target("mx.example:25"))).expect_err("no field for a name");
        accept.granted(Some(&common::target("[::1]:25"))).expect_err("nor for IPv6");
        accept.granted(None).expect("asked");
        nonsense4(accept);
    });
    assert_eq!(trace.output, b"\x00\x5a\0\0\0\0\0\0");
    let mut accept = accept5(socks5::Admission::Either);
    nonsense5(&mut accept);
    accept.admit().expect_err("not asked");
    let stream = b"\x05\x01\x02\x01\x01a\x01b\x05\x01\x00\x01\x01\x02\x03\x04\x00\x19";
    let trace = run(accept, [&stream[..]], true, |accept, asked| match asked {
        socks5::Asked::Credentials(_) => {
            nonsense5(accept);
            accept.admit().expect("asked");
            accept.turn_away().expect_err("answered");
        }
        socks5::Asked::Connect(_) => {
            accept.admit().expect_err("answered");
            accept.refused(socks5::Refusal::Other(0)).expect_err("no refusal");
            accept.granted(None).expect("asked");
            nonsense5(accept);
        }
    });
    assert_eq!(trace.output, b"\x05\x02\x01\x00\x05\x00\x00\x01\0\0\0\0\0\0");
    let mut accept = accept_http();
    nonsense_http(&mut accept);
    let trace = run(accept, [&b"CONNECT mx:25 HTTP/1.1\r\n\r\n"[..]], true, |accept, _| {
        accept.refused(403, "a\nb").expect_err("a line end");
        accept.challenge(&["Basic realm=\"\n\""], true).expect_err("a line end");
        accept.granted().expect("asked");
        nonsense_http(accept);
    });
    assert_eq!(trace.output, b"HTTP/1.1 200 Connection established\r\n\r\n");
}

#[test]
fn the_owners_time_to_answer_is_not_the_clients() {
    let limit = Limits::default().handshake;
    let later = NOW.after(limit * 10);
    let mut accept = accept5(socks5::Admission::Password);
    let mut input = &b"\x05\x01\x02\x01\x01a\x01b\x05"[..];
    assert!(matches!(accept.receive(NOW, &mut input), Ok(Some(_))));
    assert_eq!((accept.deadline(), accept.expire(later)), (None, Ok(())));
    accept.admit().expect("asked");
    assert_eq!(accept.receive(later, &mut input), Ok(None));
    assert_eq!(accept.deadline().map(|deadline| deadline.at), Some(later.after(limit)));
    let mut accept = accept_http();
    assert!(matches!(accept.receive(NOW, &mut &b"CONNECT mx:25 HTTP/1.1\r\n\r\n"[..]), Ok(Some(_))));
    accept.challenge(&["Basic"], true).expect("asked");
    accept.transmit(later, &mut Vec::new());
    assert_eq!(accept.deadline().map(|deadline| deadline.at), Some(later.after(limit)));
}

#[test]
fn nothing_is_held_without_end() {
    // Every machine gives up, or is done, before it has taken this much of anything.
    const MOST: usize = 256 * 1024;
    let beginnings: [&[u8]; 9] = [
        b"",
        b"\x05",
        b"\x05\x00",
        b"\x00",
        b"HTTP/1.1 200 OK\r\n",
        b"\x04\x01\x00\x19\0\0\0\x01",
        b"\x05\x01\x00",
        b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"CONNECT ",
    ];
    for beginning in beginnings {
        for filler in [&b"a"[..], b"\x01", b"\xff", b"\r\n", b"1\r\nx\r\n", b"x: y\r\n", b"HTTP/1.1 100 x\r\n\r\n"] {
            let stream: Vec<u8> = [beginning, &filler.repeat(2 * MOST / filler.len())].concat();
            let taken = |left: &[u8]| stream.len() - left.len();
            for (name, make) in tunnels() {
                let trace = run(make(), [&stream[..]], true, |_, _| {});
                assert!(taken(&trace.left) < MOST, "{name} after {beginning:?}");
                assert!(trace.output.len() < 4096);
            }
            assert!(taken(&run(accept4(), [&stream[..]], true, |_, _| {}).left) < 1024);
            assert!(taken(&run(accept5(socks5::Admission::Either), [&stream[..]], true, |_, _| {}).left) < 1024);
            assert!(taken(&run(accept_http(), [&stream[..]], true, |_, _| {}).left) <= 16 * 1024);
        }
    }
}

fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let octet = prop_oneof![any::<u8>(), 0..6u8, Just(0x5a), Just(b'\r'), Just(b'\n')];
    let noise = prop::collection::vec(octet, 0..24);
    let words = prop::sample::select(vec![
        "\u{5}\u{0}",
        "\u{5}\u{2}",
        "\u{1}\u{0}",
        "\u{5}\u{0}\u{0}\u{1}",
        "\u{5}\u{0}\u{0}\u{3}\u{2}ab",
        "\u{0}Z",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 407 x\r\n",
        "HTTP/1.0 407 x\r\n",
        "Content-Length: 2\r\n",
        "\r\n",
        "Proxy-Authenticate: Digest realm=x, nonce=n, qop=\"auth\", stale=true\r\n",
        "Connection: keep-alive\r\n",
        "Proxy-Authenticate: Basic realm=\"",
        "Transfer-Encoding: chunked\r\n",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "CONNECT mx:25 HTTP/1.1\r\n",
        "Proxy-Authorization: Basic YTpi\r\n",
        "\u{4}\u{1}\u{0}\u{19}",
        "\u{5}\u{1}\u{0}",
    ]);
    prop::collection::vec(prop_oneof![noise, words.prop_map(|word| word.as_bytes().to_vec())], 0..16)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn whatever_the_peer_sends_the_laws_hold(pieces in pieces()) {
        let whole: Vec<u8> = pieces.concat();
        let cut = || pieces.iter().map(Vec::as_slice);
        for (_, make) in tunnels() {
            let trace = run(make(), [&whole[..]], true, |_, _| {});
            prop_assert_eq!(&run(make(), cut(), false, |_, _| {}), &trace);
            prop_assert_eq!(&run(make(), whole.chunks(1), true, |_, _| {}), &trace);
        }
        let grant4 = |accept: &mut socks4::Accept, _: &socks4::Request| accept.granted(None).expect("asked");
        prop_assert_eq!(run(accept4(), [&whole[..]], true, grant4), run(accept4(), cut(), false, grant4));
        let grant5 = |accept: &mut socks5::Accept, asked: &socks5::Asked| match asked {
            socks5::Asked::Credentials(_) => accept.admit().expect("asked"),
            socks5::Asked::Connect(_) => accept.refused(socks5::Refusal::NotAllowed).expect("asked"),
        };
        let make = || accept5(socks5::Admission::Either);
        prop_assert_eq!(run(make(), [&whole[..]], true, grant5), run(make(), cut(), false, grant5));
        let deny = |accept: &mut http::Accept, _: &http::Request| accept.challenge(&["Basic"], true).expect("asked");
        prop_assert_eq!(run(accept_http(), [&whole[..]], true, deny), run(accept_http(), cut(), false, deny));
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC*", list in "[a-z0-9.:/*\\[\\], ]*", port in any::<u16>()) {
        let _ = text.parse::<proxy_proto::ProxyUrl>();
        let _ = list.parse::<proxy_proto::ProxyUrl>();
        if let Ok(target) = proxy_proto::Target::new(&list, port) {
            prop_assert_eq!(target.to_string().parse(), Ok(target.clone()));
            let _ = proxy_proto::NoProxy::parse(&list).matches(&target);
        }
        let _ = proxy_proto::NoProxy::parse(&text);
    }
}
