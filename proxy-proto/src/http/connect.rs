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
    /// The credentials cannot be sent; Digest was asked for and no nonce given; `Proxy-Authorization` is among the headers
    /// and [`Config::authorization`] is set as well.
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
            status => Err(Kind::Http { status, reason: presentable(reply.reason.unwrap_or_default()) }),
        }
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
                Kind::CredentialsRequired { offered: names(offers) }
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
                Err(Kind::NoCommonScheme { offered: names(offers) })
            }
            _ => Err(Kind::CredentialsRefused),
        }
    }

    fn redial(&self) -> Kind {
        self.config.challenge.clone().map_or(Kind::EndOfStream, Kind::Redial)
    }
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

/// A reason phrase as it can be shown to people.
fn presentable(reason: &str) -> String {
    reason.chars().filter(|character| !character.is_control()).take(128).collect::<String>().trim().to_string()
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
mod tests;
