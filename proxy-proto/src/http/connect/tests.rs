use super::*;
use crate::error::Spoken;
use crate::{Credentials, Error, Machine};
use alloc::format;

fn target(text: &str) -> Target {
    text.parse().expect("a target")
}

fn connect(authorization: Authorization) -> Connect {
    let config = Config { authorization, cnonce: Some([0xab; 16]), ..Config::default() };
    Connect::new(&target("mx.example:25"), config).expect("well-formed")
}

fn aladdin() -> Credentials {
    Credentials::new("Aladdin", "open sesame")
}

fn said(connect: &mut Connect) -> String {
    let mut output = Vec::new();
    connect.transmit(Instant::EPOCH, &mut output);
    String::from_utf8(output).expect("text")
}

fn heard(connect: &mut Connect, input: &str) -> (Result<Option<Opened>, Error>, usize) {
    let mut input = input.as_bytes();
    let got = connect.receive(Instant::EPOCH, &mut input);
    (got, input.len())
}

fn kind(got: (Result<Option<Opened>, Error>, usize)) -> Option<Kind> {
    got.0.err().map(|error| error.kind().clone())
}

const OPEN: (Result<Option<Opened>, Error>, usize) = (Ok(Some(Opened { bound: None })), 0);
const WAIT: (Result<Option<Opened>, Error>, usize) = (Ok(None), 0);
const BASIC: &str = "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";

#[test]
fn the_request_octet_by_octet() {
    let mut plain = connect(Authorization::None);
    assert_eq!(said(&mut plain), "CONNECT mx.example:25 HTTP/1.1\r\nHost: mx.example:25\r\n\r\n");
    assert_eq!(said(&mut plain), "", "once");
    let headers = ["chrome/1", "\u{fc}"].map(|value| Header::new("User-Agent", value).expect("well-formed"));
    let config =
        Config { authorization: Authorization::Basic(aladdin()), headers: headers.into(), ..Config::default() };
    let mut full = Connect::new(&target("[2001:db8::1]:465"), config).expect("well-formed");
    let start = "CONNECT [2001:db8::1]:465 HTTP/1.1\r\nHost: [2001:db8::1]:465\r\n";
    assert_eq!(said(&mut full), format!("{start}{BASIC}User-Agent: chrome/1\r\nUser-Agent: \u{fc}\r\n\r\n"));
    let mut bearer = connect(Authorization::Bearer(Secret::from("t.k")));
    assert!(said(&mut bearer).ends_with("Proxy-Authorization: Bearer t.k\r\n\r\n"));
}

#[test]
fn any_2xx_opens_and_what_follows_is_left() {
    for reply in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\nVia: a\r\nProxy-Agent: b\r\nContent-Length: 7\r\nX: y\r\n\r\n",
        "HTTP/1.1 204\r\n\r\n",
        "HTTP/1.1 299 \r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1  200  \u{e9}t\u{e9}\r\nbad header\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        let mut machine = connect(Authorization::None);
        said(&mut machine);
        let (opened, left) = heard(&mut machine, &format!("{reply}220 mx ESMTP\r\n"));
        assert_eq!((opened, left), (Ok(Some(Opened { bound: None })), 14), "{reply}");
        assert_eq!(machine.finish(), Ok(()));
    }
}

#[test]
fn every_other_reply_has_its_error() {
    let got = |reply: &str| {
        let mut machine = connect(Authorization::None);
        said(&mut machine);
        kind(heard(&mut machine, reply))
    };
    for status in (101..=101).chain(300..=406).chain(408..=599) {
        let expected = Kind::Http { status, reason: "Not today".into() };
        assert_eq!(got(&format!("HTTP/1.1 {status} Not today\r\n\r\n")), Some(expected));
    }
    assert_eq!(got("HTTP/1.1 407 x\r\n\r\n"), Some(Kind::NoChallenge));
    let required = Kind::CredentialsRequired { offered: "Basic".into() };
    assert_eq!(got("HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=\"r\"\r\n\r\n"), Some(required));
    assert_eq!(got("220 mx ESMTP\r\n"), Some(Kind::Speaks(Spoken::Smtp)));
    assert_eq!(got("\u{5}\u{0}"), Some(Kind::Speaks(Spoken::Socks5)));
    assert_eq!(got("HTTP/2 200\r\n\r\n"), Some(Kind::MalformedHead("the version")));
    assert_eq!(got("HTTP/1.1 2x0 OK\r\n\r\n"), Some(Kind::MalformedHead("the status")));
    assert_eq!(got(&"HTTP/1.1 100 x\r\n\r\n".repeat(9)), Some(Kind::Http { status: 100, reason: "x".into() }));
    let fields = "a:b\r\n".repeat(129);
    assert!(matches!(got(&format!("HTTP/1.1 200 x\r\n{fields}\r\n")), Some(Kind::MalformedHead(_))));
    let long = format!("HTTP/1.1 200 x\r\nX: {}\r\n\r\n", "y".repeat(64 * 1024));
    assert_eq!(got(&long), Some(Kind::HeadTooLong(16 * 1024)));
}

#[test]
fn a_407_is_answered_on_the_same_connection() {
    for content in [
        "Content-Length: 5\r\n\r\nHello",
        "Content-Length: 0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n0\r\n\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nHello",
    ] {
        let mut machine = connect(Authorization::Challenged(aladdin()));
        assert!(!said(&mut machine).contains("Authorization"), "nothing is shown before it is asked for");
        let reply = format!("HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm=\"r\"\r\n{content}");
        assert_eq!(heard(&mut machine, &reply), WAIT);
        assert!(said(&mut machine).ends_with(&format!("{BASIC}\r\n")));
        assert_eq!(heard(&mut machine, "HTTP/1.1 200 OK\r\n\r\n"), OPEN);
    }
}

#[test]
fn a_407_that_closes_is_answered_on_a_new_connection() {
    for head in [
        "HTTP/1.1 407 x\r\nConnection: close\r\nContent-Length: 0\r\n",
        "HTTP/1.1 407 x\r\nProxy-Connection: Close\r\nContent-Length: 0\r\n",
        "HTTP/1.0 407 x\r\nContent-Length: 0\r\n",
        "HTTP/1.1 407 x\r\n",
        "HTTP/1.1 407 x\r\nContent-Length: 70000\r\n",
        "HTTP/1.1 407 x\r\nContent-Length: +5\r\n",
        "HTTP/1.1 407 x\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        "HTTP/1.1 407 x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "HTTP/1.1 407 x\r\nTransfer-Encoding: gzip, chunked\r\n",
    ] {
        let mut machine = connect(Authorization::Challenged(aladdin()));
        said(&mut machine);
        let (got, _) = heard(&mut machine, &format!("{head}Proxy-Authenticate: Basic realm=x\r\n\r\n"));
        let error = got.expect_err("no tunnel yet");
        assert_eq!(error.challenge().map(Challenge::scheme), Some("Basic"), "{head}");
        let mut again = machine.redial().expect("a challenge to answer");
        assert!(said(&mut again).contains(BASIC));
        assert_eq!(heard(&mut again, "HTTP/1.1 200 OK\r\n\r\n"), OPEN);
        assert!(again.redial().is_none());
        let config = Config {
            authorization: Authorization::Challenged(aladdin()),
            challenge: error.challenge().cloned(),
            ..Config::default()
        };
        let mut elsewhere = Connect::new(&target("mx.example:25"), config).expect("well-formed");
        assert!(said(&mut elsewhere).contains(BASIC));
    }
}

#[test]
fn a_connection_that_should_have_been_kept_is_dialled_again() {
    let reply = "HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 3\r\n\r\n";
    let mut machine = connect(Authorization::Challenged(aladdin()));
    said(&mut machine);
    assert_eq!(heard(&mut machine, reply), WAIT);
    assert!(machine.finish().is_err_and(|error| error.challenge().is_some()), "within the content");
    let mut machine = connect(Authorization::Challenged(aladdin()));
    said(&mut machine);
    assert_eq!(heard(&mut machine, &format!("{reply}abc")), WAIT);
    said(&mut machine);
    assert!(machine.finish().is_err_and(|error| error.challenge().is_some()), "before the second reply");
    let mut again = machine.redial().expect("a challenge to answer");
    said(&mut again);
    assert!(again.finish().is_err_and(|error| *error.kind() == Kind::EndOfStream), "but not for ever");
}

#[test]
fn credentials_that_were_refused_are_not_shown_again() {
    let reply =
        |challenge: &str| format!("HTTP/1.1 407 x\r\nContent-Length: 0\r\nProxy-Authenticate: {challenge}\r\n\r\n");
    let mut machine = connect(Authorization::Basic(aladdin()));
    assert!(said(&mut machine).contains(BASIC));
    assert_eq!(kind(heard(&mut machine, &reply("Basic realm=x"))), Some(Kind::CredentialsRefused));
    let mut machine = connect(Authorization::Challenged(aladdin()));
    said(&mut machine);
    assert_eq!(heard(&mut machine, &reply("Basic realm=x")), WAIT);
    said(&mut machine);
    assert_eq!(kind(heard(&mut machine, &reply("Basic realm=x"))), Some(Kind::CredentialsRefused));
    let mut machine = connect(Authorization::Bearer(Secret::from("t")));
    said(&mut machine);
    assert_eq!(kind(heard(&mut machine, &reply("Bearer"))), Some(Kind::CredentialsRefused));
    let mut machine = connect(Authorization::Basic(aladdin()));
    said(&mut machine);
    let offered = Kind::NoCommonScheme { offered: "Negotiate, NTLM".into() };
    assert_eq!(kind(heard(&mut machine, &reply("Negotiate\r\nProxy-Authenticate: NTLM"))), Some(offered));
}

#[cfg(feature = "digest")]
#[test]
fn digest_is_answered_and_a_stale_nonce_once_more() {
    let reply = |extra: &str| {
        format!(
            "HTTP/1.1 407 x\r\nContent-Length: 0\r\nProxy-Authenticate: Digest realm=\"a \\\"b\\\"\", nonce=\"n1\", \
             opaque=\"o\", qop=\"auth,auth-int\", algorithm=SHA-256{extra}\r\n\r\n"
        )
    };
    for authorization in [Authorization::Digest(aladdin()), Authorization::Basic(aladdin())] {
        let mut machine = connect(authorization);
        said(&mut machine);
        assert_eq!(heard(&mut machine, &reply("")), WAIT);
        let request = said(&mut machine);
        let cnonce = "ab".repeat(16);
        let start = format!(
            "Proxy-Authorization: Digest username=\"Aladdin\", realm=\"a \\\"b\\\"\", uri=\"mx.example:25\", \
             algorithm=SHA-256, nonce=\"n1\", nc=00000001, cnonce=\"{cnonce}\", qop=auth, response=\""
        );
        let (_, rest) = request.split_once(&start).expect("the fields in order");
        // SHA-256 of A1 "Aladdin:a "b":open sesame" and of A2 "CONNECT:mx.example:25", put together by sha256sum(1).
        let (response, end) = rest.split_once('"').expect("a response");
        assert_eq!((response, end), (RESPONSE, ", opaque=\"o\"\r\n\r\n"));
        assert_eq!(heard(&mut machine, &reply(", stale=TRUE")), WAIT);
        assert!(said(&mut machine).contains(&start));
        assert_eq!(kind(heard(&mut machine, &reply(", stale=true"))), Some(Kind::CredentialsRefused), "once is enough");
    }
    let mut machine = connect(Authorization::Digest(aladdin()));
    said(&mut machine);
    assert_eq!(heard(&mut machine, &reply("")), WAIT);
    said(&mut machine);
    assert_eq!(kind(heard(&mut machine, &reply(""))), Some(Kind::CredentialsRefused));
}

#[cfg(feature = "digest")]
const RESPONSE: &str = "8fd871b2da8fabe6b1bc95171b0d289b44a62bac1ee662cd383843feb9b633d3";

#[test]
fn what_cannot_be_sent_is_misuse() {
    let octet = |what, octet| Some(Misuse::Octet { what, octet });
    let header = |name: &str, value: &str| Header::new(name, value).err();
    assert_eq!(header("X", "a\r\nb"), octet("header field's value", b'\r'));
    assert_eq!(header("X", "a\0"), octet("header field's value", 0));
    assert_eq!(header("X:", "a"), octet("header field's name", b':'));
    assert_eq!(header("", "a"), Some(Misuse::Empty { what: "header field's name" }));
    assert_eq!(header("hOST", "a"), Some(Misuse::ReservedHeader("hOST".into())));
    assert_eq!(header("X", "a\tb"), None);
    let make = |authorization, cnonce, headers| {
        let config = Config { authorization, cnonce, headers, ..Config::default() };
        Connect::new(&target("mx.example:25"), config).err()
    };
    let own = || alloc::vec![Header::new("Proxy-Authorization", "Custom x").expect("well-formed")];
    assert_eq!(make(Authorization::Digest(aladdin()), None, Vec::new()), Some(Misuse::NoDigest));
    let reserved = Some(Misuse::ReservedHeader("Proxy-Authorization".into()));
    assert_eq!(make(Authorization::Basic(aladdin()), None, own()), reserved);
    assert_eq!(make(Authorization::None, None, own()), None);
    assert_eq!(make(Authorization::Basic(Credentials::new("a\n", "")), None, Vec::new()), octet("user", b'\n'));
}
