//! The client's side of CONNECT.
//!
//! The rules of this file: one request, one reply, and after a 407 once more, on this connection if the proxy keeps it and
//! its content can be passed, else on a new one ([`Kind::Redial`]); requests are made when they are asked for, so no
//! password lies about.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::FIELDS;
use super::authorization::{Answer, Authorization, Challenge, names, offers};
use super::body::Skip;
use super::challenge::{Offer, is_token};
use super::head::Collector;
use crate::error::Kind;
use crate::handshake::{Guarded, Limits, Steps, machine};
use crate::{Instant, Misuse, Opened, Phase, Secret, Target};

/// Interim replies (1xx) that are passed over; more are not waited for.
const INTERIM: u8 = 8;
/// Challenges that are answered: the first, and one more with the nonce that replaces a stale one.
const ROUNDS: u8 = 2;

/// What to tell an HTTP proxy besides the target.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// How to present oneself.
    pub authorization: Authorization,
    /// The caller's own header fields, sent with every request, in this order.
    pub headers: Vec<Header>,
    /// Random octets for the client's nonce of Digest (RFC 7616, section 3.4), new for each tunnel. Without them Digest is
    /// not spoken.
    pub cnonce: Option<[u8; 16]>,
    /// A challenge from an earlier connection, answered with the first request.
    pub challenge: Option<Challenge>,
    /// How long the handshake may take and how long a head may be.
    pub limits: Limits,
}

/// A header field of the caller's own. Its value is kept like a password: it may be one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    name: String,
    value: Secret,
}

impl Header {
    /// A field with this name and value.
    ///
    /// # Errors
    ///
    /// The name is no token (RFC 9110, section 5.6.2); the value holds a control other than the tab; the field is one that
    /// is made here (`Host`) or that would announce content (`Content-Length`, `Transfer-Encoding`).
    pub fn new(name: &str, value: impl Into<Secret>) -> Result<Self, Misuse> {
        let value = value.into();
        if name.is_empty() {
            return Err(Misuse::Empty { what: "header field's name" });
        }
        if let Some(octet) = name.bytes().find(|&octet| !is_token(octet)) {
            return Err(Misuse::Octet { what: "header field's name", octet });
        }
        if let Some(&octet) = value.expose().iter().find(|octet| octet.is_ascii_control() && **octet != b'\t') {
            return Err(Misuse::Octet { what: "header field's value", octet });
        }
        if ["host", "content-length", "transfer-encoding"].iter().any(|made| name.eq_ignore_ascii_case(made)) {
            return Err(Misuse::ReservedHeader(name.into()));
        }
        Ok(Self { name: name.into(), value })
    }

    fn authorizes(&self) -> bool {
        self.name.eq_ignore_ascii_case("proxy-authorization")
    }
}

/// Opens a connection through an HTTP proxy. Holds less than [`Limits::head`] and what it was given.
pub struct Connect(Guarded<Dialogue>);

impl Connect {
    /// To this target; a name is resolved by the proxy.
    ///
    /// # Errors
    ///
    /// The credentials cannot be sent; Digest was asked for and no nonce given; there is a challenge to answer and no
    /// credentials; `Proxy-Authorization` is among the headers and [`Config::authorization`] is set as well.
    pub fn new(target: &Target, config: Config) -> Result<Self, Misuse> {
        let digest = cfg!(feature = "digest") && config.cnonce.is_some();
        config.authorization.check(digest)?;
        if let Some(challenge) = &config.challenge {
            if config.authorization.credentials().is_none() {
                return Err(Misuse::Empty { what: "user" });
            }
            if matches!(challenge.answer, Answer::Digest(_)) && !digest {
                return Err(Misuse::NoDigest);
            }
        }
        let own = config.headers.iter().find(|header| header.authorizes());
        if let (Some(header), false) = (own, matches!(config.authorization, Authorization::None)) {
            return Err(Misuse::ReservedHeader(header.name.clone()));
        }
        let limits = config.limits;
        let reply = Collector::new(b"HTTP/", limits.head);
        let steps =
            Dialogue { target: target.clone(), config, state: State::Request, reply, interim: 0, retried: false };
        Ok(Self(Guarded::new(steps, limits)))
    }

    /// After [`Kind::Redial`]: the machine for the new connection, which answers the challenge at once.
    pub fn redial(&self) -> Option<Self> {
        self.0.failed()?.challenge()?;
        let steps = &self.0.steps;
        Self::new(&steps.target, steps.config.clone()).ok()
    }
}

machine!(Connect, Opened);

struct Dialogue {
    target: Target,
    /// Its challenge is the one to answer with the next request.
    config: Config,
    state: State,
    reply: Collector,
    interim: u8,
    /// A challenge was answered on this very connection.
    retried: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Ours to send.
    Request,
    Reply,
    /// The content of a 407 that will be answered here.
    Content(Skip),
    Open,
}

/// What a reply makes us do.
enum Next {
    Open,
    /// An interim reply: the final one follows.
    Wait,
    /// Answer this challenge behind this content, or on a new connection.
    Answer(Challenge, Option<Skip>),
}

impl Dialogue {
    fn read(&self, head: &[u8]) -> Result<Next, Kind> {
        let head = &*with_plain_reason(head);
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut reply = httparse::Response::new(&mut fields);
        // A tunnel does not depend on the fields, so a proxy's slips in them are passed over.
        let parsed = httparse::ParserConfig::default()
            .allow_spaces_after_header_name_in_responses(true)
            .allow_multiple_spaces_in_response_status_delimiters(true)
            .ignore_invalid_headers_in_responses(true)
            .parse_response(&mut reply, head);
        match parsed {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            // The second lock: the collector ends a head where httparse does.
            Ok(_) => return Err(Kind::MalformedHead("its end")),
            Err(error) => return Err(Kind::MalformedHead(part(error))),
        }
        let status = reply.code.unwrap_or_default();
        match status {
            200..=299 => Ok(Next::Open),
            100 | 102..=199 if self.interim < INTERIM => Ok(Next::Wait),
            407 => {
                let challenge = self.challenged(&offers(values(reply.headers, "proxy-authenticate")))?;
                Ok(Next::Answer(challenge, content(&reply)))
            }
            status => Err(Kind::Http { status, reason: self.presentable(reply.reason.unwrap_or_default()) }),
        }
    }

    /// A reason phrase as it can be shown to people: not where it repeats what it was told in confidence.
    fn presentable(&self, reason: &str) -> String {
        let shown: String = reason.chars().filter(|character| !character.is_control()).take(128).collect();
        if self.config.authorization.is_repeated_in(reason) { String::new() } else { shown.trim().to_string() }
    }

    /// Which challenge of a 407 to answer, if any.
    fn challenged(&self, offers: &[Offer]) -> Result<Challenge, Kind> {
        if offers.is_empty() {
            return Err(Kind::NoChallenge);
        }
        let Config { authorization, cnonce, challenge, headers, .. } = &self.config;
        if authorization.credentials().is_none() {
            let shown = matches!(authorization, Authorization::Bearer(_)) || headers.iter().any(Header::authorizes);
            return Err(if shown {
                Kind::CredentialsRefused
            } else {
                Kind::CredentialsRequired { offered: names(offers, authorization) }
            });
        }
        // Whatever was refused once is not shown again.
        let basic_shown = match challenge {
            Some(challenge) => matches!(challenge.answer, Answer::Basic),
            None => matches!(authorization, Authorization::Basic(_)),
        };
        let digest = cfg!(feature = "digest") && cnonce.is_some();
        let answer = authorization.choose(offers, !basic_shown, digest);
        match (answer, challenge) {
            (Some(answer), None) => Ok(Challenge { answer, round: 1 }),
            (Some(Answer::Digest(new)), Some(old)) if new.stale && old.round < ROUNDS => {
                Ok(Challenge { answer: Answer::Digest(new), round: old.round + 1 })
            }
            (None, None) if !basic_shown || !offers.iter().any(|offer| offer.scheme.eq_ignore_ascii_case("basic")) => {
                Err(Kind::NoCommonScheme { offered: names(offers, authorization) })
            }
            _ => Err(Kind::CredentialsRefused),
        }
    }

    fn redial(&self) -> Kind {
        self.config.challenge.clone().map_or(Kind::EndOfStream, Kind::Redial)
    }
}

/// The same head, with `?` for what is no text in the status line: the reason phrase means nothing (RFC 9112, section 4), so
/// nothing in it can be wrong.
fn with_plain_reason(head: &[u8]) -> Vec<u8> {
    let mut head = head.to_vec();
    let end = head.iter().position(|&octet| octet == b'\n').unwrap_or(head.len());
    let line = &mut head[..end];
    let end = line.strip_suffix(b"\r").map_or(line.len(), <[u8]>::len);
    line[..end].iter_mut().filter(|octet| octet.is_ascii_control()).for_each(|octet| *octet = b'?');
    head
}

/// How to get past the content of a reply (RFC 9112, section 6.3); `None` if the connection cannot be used again.
fn content(reply: &httparse::Response<'_, '_>) -> Option<Skip> {
    let mut kept = reply.version == Some(1);
    for name in ["connection", "proxy-connection"] {
        for value in values(reply.headers, name) {
            for option in value.split(|&octet| octet == b',').map(<[u8]>::trim_ascii) {
                if option.eq_ignore_ascii_case(b"close") {
                    return None;
                }
                kept |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
    }
    if !kept {
        return None;
    }
    let mut codings = values(reply.headers, "transfer-encoding");
    let mut lengths = values(reply.headers, "content-length");
    match (codings.next(), codings.next(), lengths.next()) {
        (Some(coding), None, None) => coding.trim_ascii().eq_ignore_ascii_case(b"chunked").then_some(Skip::CHUNKED),
        (None, None, Some(length)) if lengths.all(|other| other == length) => {
            let digits = length.trim_ascii();
            let numeric = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            numeric.then_some(core::str::from_utf8(digits).ok()?.parse().ok()).flatten().and_then(Skip::octets)
        }
        // Neither, and the content ends with the connection; or both, which is not to be trusted.
        _ => None,
    }
}

/// The values of all fields with this name.
fn values<'a>(headers: &'a [httparse::Header<'_>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// Where a head cannot be read.
pub(super) fn part(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "the name of a header field",
        httparse::Error::HeaderValue => "the value of a header field",
        httparse::Error::NewLine => "the end of a line",
        httparse::Error::Status => "the status",
        httparse::Error::Token => "the first line",
        httparse::Error::TooManyHeaders => "more header fields than anybody needs",
        httparse::Error::Version => "the version",
    }
}

impl Steps for Dialogue {
    type Event = Opened;

    fn take(&mut self, _now: Instant, input: &mut &[u8]) -> Result<Option<Opened>, Kind> {
        loop {
            match &mut self.state {
                State::Request | State::Open => return Ok(None),
                State::Content(skip) => match skip.pass(input) {
                    Ok(true) => self.state = State::Request,
                    Ok(false) => return Ok(None),
                    Err(_) => return Err(self.redial()),
                },
                State::Reply => {
                    let Some(head) = self.reply.take(input)? else { return Ok(None) };
                    match self.read(&head)? {
                        Next::Open => {
                            self.state = State::Open;
                            return Ok(Some(Opened { bound: None }));
                        }
                        Next::Wait => self.interim += 1,
                        Next::Answer(challenge, skip) => {
                            self.config.challenge = Some(challenge);
                            self.interim = 0;
                            self.retried = true;
                            match skip {
                                Some(skip) => self.state = State::Content(skip),
                                None => return Err(self.redial()),
                            }
                        }
                    }
                }
            }
        }
    }

    fn speak(&mut self, _now: Instant, output: &mut Vec<u8>) -> bool {
        if self.state != State::Request {
            return false;
        }
        let authority = self.target.authority();
        let Config { authorization, headers, cnonce, challenge, .. } = &self.config;
        for part in ["CONNECT ", &authority, " HTTP/1.1\r\nHost: ", &authority, "\r\n"] {
            output.extend_from_slice(part.as_bytes());
        }
        let value = match (challenge, authorization.credentials()) {
            (Some(challenge), Some(credentials)) => {
                Some(challenge.value(credentials, &authority, cnonce.as_ref().map_or(&[], |cnonce| cnonce)))
            }
            _ => authorization.at_once(),
        };
        if let Some(value) = value {
            output.extend_from_slice(b"Proxy-Authorization: ");
            output.extend_from_slice(&value);
            output.extend_from_slice(b"\r\n");
        }
        for Header { name, value } in headers {
            output.extend_from_slice(name.as_bytes());
            output.extend_from_slice(b": ");
            output.extend_from_slice(value.expose());
            output.extend_from_slice(b"\r\n");
        }
        output.extend_from_slice(b"\r\n");
        self.state = State::Reply;
        true
    }

    fn phase(&self) -> Option<Phase> {
        (self.state != State::Open).then_some(Phase::named("CONNECT reply"))
    }

    fn ended(&mut self) -> Kind {
        // The proxy announced that it would keep the connection and did not: the answer goes to a new one. A reply cut off
        // in the middle is another matter.
        if self.retried && self.reply.is_empty() { self.redial() } else { Kind::EndOfStream }
    }
}

#[cfg(test)]
mod tests {
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
    fn a_reason_that_repeats_the_password_is_not_shown() {
        for reason in ["no open sesame", "no QWxhZGRpbjpvcGVuIHNlc2FtZQ=="] {
            let mut connect = connect(Authorization::Basic(aladdin()));
            said(&mut connect);
            let error = heard(&mut connect, &format!("HTTP/1.1 403 {reason}\r\n\r\n")).0.expect_err("a refusal");
            assert_eq!(error.kind(), &Kind::Http { status: 403, reason: String::new() });
        }
    }

    #[test]
    fn a_scheme_that_repeats_the_password_is_not_named() {
        let credentials = || Credentials::new("Aladdin", "open-sesame");
        for (line, named) in [
            ("open-sesame realm=\"x\", NTLM", "NTLM"),
            ("NTLM, an-open-sesame-and-more", "NTLM"),
            // What Basic sends of it, which is a token by itself (RFC 7617, section 2).
            ("QWxhZGRpbjpvcGVuLXNlc2FtZQ==, Negotiate", "Negotiate"),
            ("Digest realm=\"x\", nonce=\"n\", algorithm=\"open-sesame\"", ""),
        ] {
            let mut connect = connect(Authorization::Basic(credentials()));
            said(&mut connect);
            let reply = format!("HTTP/1.1 407 x\r\nProxy-Authenticate: {line}\r\n\r\n");
            let error = heard(&mut connect, &reply).0.expect_err("nothing in common");
            assert_eq!(error.kind(), &Kind::NoCommonScheme { offered: named.into() }, "{line}");
        }
    }

    #[test]
    fn any_2xx_opens_whatever_the_reason_phrase() {
        for line in ["200", "200 ", "299 Whatever", "200 \u{1b}[31mred\0", "204 caf\u{e9}", "200 OK\r"] {
            let mut connect = connect(Authorization::None);
            said(&mut connect);
            let reply = format!("HTTP/1.1 {line}\r\n\r\n220 mx");
            assert_eq!(heard(&mut connect, &reply), (Ok(Some(Opened { bound: None })), 6), "{line:?}");
        }
    }

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
        // A CR that ends no line ends no head either (RFC 9112, section 2.2).
        assert_eq!(got("HTTP/1.1 200 OK\r\nX: y\r\n\r\r\n"), Some(Kind::MalformedHead("the end of a line")));
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
            let text = error.to_string();
            assert!(text.contains("Basic") && text.contains("dial again"), "{text}");
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
        // Content that cannot be passed is as good as a connection that is not kept.
        let mut machine = connect(Authorization::Challenged(aladdin()));
        said(&mut machine);
        let chunked = "HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=x\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(heard(&mut machine, chunked), WAIT);
        assert!(heard(&mut machine, "no size\r\n").0.is_err_and(|error| error.challenge().is_some()));
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
            assert_eq!(
                kind(heard(&mut machine, &reply(", stale=true"))),
                Some(Kind::CredentialsRefused),
                "once is enough"
            );
        }
        let mut machine = connect(Authorization::Digest(aladdin()));
        said(&mut machine);
        assert_eq!(heard(&mut machine, &reply("")), WAIT);
        said(&mut machine);
        assert_eq!(kind(heard(&mut machine, &reply(""))), Some(Kind::CredentialsRefused));
    }

    #[cfg(feature = "digest")]
    #[test]
    fn digest_without_qop_is_answered_as_rfc_2617_permits() {
        let mut machine = connect(Authorization::Digest(aladdin()));
        said(&mut machine);
        let challenge =
            "HTTP/1.1 407 x\r\nContent-Length: 0\r\nProxy-Authenticate: Digest realm=\"old\", nonce=\"n1\"\r\n\r\n";
        assert_eq!(heard(&mut machine, challenge), WAIT);
        // MD5 of A1 "Aladdin:old:open sesame" and of A2 "CONNECT:mx.example:25", put together by md5sum(1).
        let expected = "Proxy-Authorization: Digest username=\"Aladdin\", realm=\"old\", uri=\"mx.example:25\", nonce=\"n1\", \
                        response=\"08edd3491365df95cd8a781958ff0fcf\"\r\n";
        let request = said(&mut machine);
        assert!(request.contains(expected), "{request}");
    }

    #[cfg(feature = "digest")]
    #[test]
    fn a_challenge_needs_what_it_is_answered_with() {
        let mut machine = connect(Authorization::Digest(aladdin()));
        said(&mut machine);
        let reply = "HTTP/1.0 407 x\r\nProxy-Authenticate: Digest realm=r, nonce=n, qop=auth\r\n\r\n";
        let error = heard(&mut machine, reply).0.expect_err("no tunnel yet");
        assert_eq!(error.challenge().map(Challenge::scheme), Some("Digest"));
        let make = |authorization, cnonce| {
            let config = Config { authorization, cnonce, challenge: error.challenge().cloned(), ..Config::default() };
            Connect::new(&target("mx.example:25"), config).err()
        };
        let nonce = Some([0xab; 16]);
        assert_eq!(make(Authorization::None, nonce), Some(Misuse::Empty { what: "user" }));
        assert_eq!(make(Authorization::Bearer(Secret::from("t")), nonce), Some(Misuse::Empty { what: "user" }));
        assert_eq!(make(Authorization::Challenged(aladdin()), None), Some(Misuse::NoDigest));
        assert_eq!(make(Authorization::Challenged(aladdin()), nonce), None);
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
}
