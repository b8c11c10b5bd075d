//! The proxy's side of CONNECT.
//!
//! The rules of this file: it reads requests and asks its owner; only CONNECT is answered, and anything else is told so. It
//! checks no password, resolves nothing and connects to nothing.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use super::FIELDS;
use super::authorization::read_basic;
use super::connect::part;
use super::head::Collector;
use crate::error::{Kind, Spoken};
use crate::handshake::{Guarded, Limits, Steps, machine};
use crate::{Credentials, Instant, Misuse, Phase, Secret, Target};

/// What a client asks of an HTTP proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Where the client wants to go.
    pub target: Target,
    /// The value of `Proxy-Authorization`, as it came.
    pub authorization: Option<Secret>,
}

impl Request {
    /// User and password, if the client shows them in the Basic scheme (RFC 7617).
    pub fn credentials(&self) -> Option<Credentials> {
        read_basic(self.authorization.as_ref()?.expose())
    }
}

/// Accepts one client of an HTTP proxy. Holds less than [`Limits::head`], whatever the client sends.
///
/// After a [`Request`] it waits for [`granted`](Self::granted), [`refused`](Self::refused) or
/// [`challenge`](Self::challenge). Once the tunnel is granted it takes nothing more: what follows belongs to the tunnel.
pub struct Accept(Guarded<Dialogue>);

impl Accept {
    /// A machine for a fresh connection.
    pub fn new(limits: Limits) -> Self {
        let head = Collector::new(b"", limits.head);
        Self(Guarded::new(Dialogue { state: State::Reading, fresh: true, head, reply: Vec::new() }, limits))
    }

    /// The tunnel stands.
    ///
    /// # Errors
    ///
    /// No request is waiting for an answer.
    pub fn granted(&mut self) -> Result<(), Misuse> {
        self.answer(State::Over, b"HTTP/1.1 200 Connection established\r\n\r\n")
    }

    /// No tunnel, for this reason; the connection is to be closed once it is said.
    ///
    /// # Errors
    ///
    /// No request is waiting for an answer; the status is not from 300 to 599 or is 407; the reason holds a control.
    pub fn refused(&mut self, status: u16, reason: &str) -> Result<(), Misuse> {
        if !(300..=599).contains(&status) || status == 407 {
            return Err(Misuse::Status(status));
        }
        check("reason", reason)?;
        self.answer(State::Over, &refusal(status, reason))
    }

    /// 407: credentials first, in one of these ways (each the value of one `Proxy-Authenticate` field, such as
    /// `Basic realm="proxy"`). With `keep` the client may try again on this connection, without it on a new one only.
    ///
    /// # Errors
    ///
    /// No request is waiting for an answer; there is no challenge, or one holds a control.
    pub fn challenge(&mut self, challenges: &[&str], keep: bool) -> Result<(), Misuse> {
        if challenges.is_empty() {
            return Err(Misuse::Empty { what: "challenge" });
        }
        let mut reply = String::from("HTTP/1.1 407 Proxy Authentication Required\r\n");
        for challenge in challenges {
            check("challenge", challenge)?;
            reply.push_str(&format!("Proxy-Authenticate: {challenge}\r\n"));
        }
        reply.push_str(if keep { "" } else { "Connection: close\r\n" });
        reply.push_str("Content-Length: 0\r\n\r\n");
        self.answer(if keep { State::Reading } else { State::Over }, reply.as_bytes())
    }

    fn answer(&mut self, next: State, reply: &[u8]) -> Result<(), Misuse> {
        let steps = &mut self.0.steps;
        if steps.state != State::Asked {
            return Err(Misuse::OutOfTurn);
        }
        steps.state = next;
        steps.reply.extend_from_slice(reply);
        self.0.restart();
        Ok(())
    }
}

fn check(what: &'static str, text: &str) -> Result<(), Misuse> {
    match text.bytes().find(u8::is_ascii_control) {
        Some(octet) => Err(Misuse::Octet { what, octet }),
        None => Ok(()),
    }
}

fn refusal(status: u16, reason: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

machine!(Accept, Request);

struct Dialogue {
    state: State,
    /// Nothing has come yet, so the first octet still has to show that it is HTTP.
    fresh: bool,
    head: Collector,
    reply: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Asked,
    Over,
}

impl Dialogue {
    fn reject(&mut self, status: u16, reason: &str, kind: Kind) -> Kind {
        self.reply.extend(refusal(status, reason));
        kind
    }

    fn read(&mut self, head: &[u8]) -> Result<Request, Kind> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(head) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(self.reject(400, "Bad Request", Kind::MalformedRequest("its end"))),
            Err(error) => return Err(self.reject(400, "Bad Request", Kind::MalformedRequest(part(error)))),
        }
        if request.method != Some("CONNECT") {
            return Err(self.reject(405, "Method Not Allowed", Kind::NotConnect));
        }
        let Ok(target) = request.path.unwrap_or_default().parse() else {
            return Err(self.reject(400, "Bad Request", Kind::MalformedRequest("the target")));
        };
        let field = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case("proxy-authorization"));
        Ok(Request { target, authorization: field.map(|field| Secret::new(field.value)) })
    }
}

impl Steps for Dialogue {
    type Event = Request;

    const LAST_WORDS: bool = true;

    fn take(&mut self, _now: Instant, input: &mut &[u8]) -> Result<Option<Request>, Kind> {
        if self.state != State::Reading {
            return Ok(None);
        }
        if let (true, Some((&first, rest))) = (self.fresh, input.split_first()) {
            // CR and LF may come before a request (RFC 9112, section 2.2).
            if !first.is_ascii_alphabetic() && !matches!(first, b'\r' | b'\n') {
                *input = rest;
                return Err(Kind::Speaks(Spoken::by(first)));
            }
            self.fresh = false;
        }
        let head = match self.head.take(input) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(None),
            Err(kind) => return Err(self.reject(431, "Request Header Fields Too Large", kind)),
        };
        let request = self.read(&head)?;
        self.state = State::Asked;
        Ok(Some(request))
    }

    fn speak(&mut self, _now: Instant, output: &mut Vec<u8>) -> bool {
        output.extend_from_slice(&self.reply);
        !mem::take(&mut self.reply).is_empty()
    }

    fn phase(&self) -> Option<Phase> {
        (self.state == State::Reading).then_some(Phase::named("CONNECT request"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Machine};

    fn asked(accept: &mut Accept, mut input: &[u8]) -> (Result<Option<Request>, Error>, usize) {
        let got = accept.receive(Instant::EPOCH, &mut input);
        (got, input.len())
    }

    fn said(accept: &mut Accept) -> String {
        let mut output = Vec::new();
        accept.transmit(Instant::EPOCH, &mut output);
        String::from_utf8(output).expect("text")
    }

    const REQUEST: &[u8] = b"CONNECT mx.example:25 HTTP/1.1\r\nHost: mx.example:25\r\n\r\n";

    #[test]
    fn a_request_is_read_challenged_and_granted() {
        let mut accept = Accept::new(Limits::default());
        let request = Request { target: "mx.example:25".parse().expect("a target"), authorization: None };
        assert_eq!(asked(&mut accept, REQUEST), (Ok(Some(request)), 0));
        assert_eq!(accept.challenge(&["Basic realm=\"x\""], true), Ok(()));
        let challenge = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n";
        assert_eq!(said(&mut accept), format!("{challenge}Content-Length: 0\r\n\r\n"));
        let second =
            b"CONNECT [::1]:465 HTTP/1.1\r\nproxy-authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\nEHLO";
        let (got, left) = asked(&mut accept, second);
        let request = got.expect("readable").expect("whole");
        assert_eq!(request.credentials(), Some(Credentials::new("Aladdin", "open sesame")));
        assert_eq!((request.target, left), ("[::1]:465".parse().expect("a target"), 4));
        assert_eq!(accept.granted(), Ok(()));
        assert_eq!(said(&mut accept), "HTTP/1.1 200 Connection established\r\n\r\n");
        assert_eq!(accept.granted(), Err(Misuse::OutOfTurn));
        assert_eq!(asked(&mut accept, b"EHLO"), (Ok(None), 4));
    }

    #[test]
    fn refusals_octet_by_octet() {
        let mut accept = Accept::new(Limits::default());
        assert!(asked(&mut accept, REQUEST).0.is_ok());
        assert_eq!(accept.refused(200, "OK"), Err(Misuse::Status(200)));
        assert_eq!(accept.refused(407, "x"), Err(Misuse::Status(407)));
        assert_eq!(accept.refused(403, "a\r\n"), Err(Misuse::Octet { what: "reason", octet: b'\r' }));
        assert_eq!(accept.challenge(&[], true), Err(Misuse::Empty { what: "challenge" }));
        assert_eq!(accept.refused(403, "No"), Ok(()));
        assert_eq!(said(&mut accept), "HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn bad_requests_are_told_so() {
        for (request, status, kind) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "405", Kind::NotConnect),
            (b"CONNECT mx HTTP/1.1\r\n\r\n", "400", Kind::MalformedRequest("the target")),
            (b"CONNECT mx:25 HTTP/3.1\r\n\r\n", "400", Kind::MalformedRequest("the version")),
            (b"CON\x01NECT mx:25 HTTP/1.1\r\n\r\n", "400", Kind::MalformedRequest("the first line")),
            (
                b"CONNECT mx:25 HTTP/1.1\r\nX: a\0b\r\n\r\n",
                "400",
                Kind::MalformedRequest("the value of a header field"),
            ),
            (b"CONNECT mx:25 HTTP/1.1\r\na b: c\r\n\r\n", "400", Kind::MalformedRequest("the name of a header field")),
            (b"\x05\x01\x00", "", Kind::Speaks(Spoken::Socks5)),
            (b"\x04\x01\x00", "", Kind::Speaks(Spoken::Socks4)),
            (b"\x16\x03\x01", "", Kind::Speaks(Spoken::Tls)),
        ] {
            let mut accept = Accept::new(Limits::default());
            let (got, _) = asked(&mut accept, request);
            assert_eq!(got.err().map(|error| error.kind().clone()), Some(kind));
            assert_eq!(said(&mut accept).get(9..12).unwrap_or_default(), status);
        }
        let mut accept = Accept::new(Limits { head: 64, ..Limits::default() });
        let (got, _) = asked(&mut accept, &[b'A'; 65]);
        assert_eq!(got.err().map(|error| error.kind().clone()), Some(Kind::HeadTooLong(64)));
        assert!(said(&mut accept).starts_with("HTTP/1.1 431 "));
    }
}
