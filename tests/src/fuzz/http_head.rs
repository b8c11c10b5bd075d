//! The fuzz target `http_head`: what an HTTP proxy answers, its head above all.
//!
//! The rules of this file: where a head ends is found out here by the simplest means, a line at a time; whoever speaks for
//! himself must agree with that. Challenges (407) are for the target `tunnel`.

use proxy_proto::http::{Authorization, Config, Connect};
use proxy_proto::{Credentials, Kind, Limits, Target};

use super::control::Control;
use crate::laws::{self, Cut};

const PASSWORD: &str = "s3cret-of-the-proxy";
/// The same behind `alice:`, in base64 (RFC 7617 section 2): what a proxy may repeat to us.
const SHOWN: &str = "YWxpY2U6czNjcmV0LW9mLXRoZS1wcm94eQ==";
/// Interim replies that are passed over at most.
const INTERIM: usize = 8;

/// A head is taken up to its empty line and no further, at every cut; 2xx opens, and nothing else does; no head is longer than
/// its limit; no password is shown.
pub fn http_head(input: &[u8]) {
    let (mut control, data) = Control::split(input);
    let cut = control.cut();
    let limit = usize::from(control.next()) * 8 + 40;
    let knows = control.flag();
    let credentials = knows.then(|| Credentials::new("alice", PASSWORD));
    let authorization = credentials.map_or(Authorization::None, Authorization::Basic);
    let target: Target = "mx.example:25".parse().expect("a target");
    let limits = Limits { head: limit, ..Limits::default() };
    let config = Config { authorization, limits, ..Config::default() };
    let make = || Connect::new(&target, config.clone()).expect("well-formed");
    let whole = laws::run(&mut make(), &[data], Cut::Pieces(usize::MAX), |_, _, _, _| {});
    assert_eq!(laws::run(&mut make(), &[data], cut, |_, _, _, _| {}), whole);
    assert_eq!(whole.end.is_ok(), !whole.events.is_empty(), "it may end once it is open");
    if let Some(error) = &whole.failure {
        let told = format!("{error} {error:?}");
        // Where we know of no password, those are the proxy's own words.
        let shows = told.contains(PASSWORD) || told.contains(SHOWN);
        assert!(!(knows && shows), "a password is shown: {told}");
        assert!(!error.to_string().contains(char::is_control), "{error:?}");
    }
    match (walk(data, limit), whole.failure.as_ref().map(|error| error.kind())) {
        (Walk::Challenged, _) => {}
        (_, Some(Kind::MalformedHead(_) | Kind::Speaks(_))) => {
            assert!(!is_plain(data), "nothing is wrong with this head")
        }
        (Walk::Open(behind), None) => assert_eq!((whole.events.len(), &whole.left[..]), (1, behind)),
        (Walk::Refused(status), Some(Kind::Http { status: told, .. })) => assert_eq!(*told, status),
        (Walk::TooLong, Some(Kind::HeadTooLong(told))) => assert_eq!(*told, limit),
        (Walk::Unfinished, None) => assert!(whole.events.is_empty() && whole.left.is_empty(), "it does not wait"),
        (expected, got) => panic!("{expected:?}, and {got:?}"),
    }
}

#[derive(Debug)]
enum Walk<'a> {
    /// And these octets are not the proxy's.
    Open(&'a [u8]),
    Refused(u16),
    Challenged,
    TooLong,
    Unfinished,
}

/// From head to head.
fn walk(data: &[u8], limit: usize) -> Walk<'_> {
    let mut rest = data;
    for passed in 0.. {
        let Some(end) = end_of_head(rest).filter(|end| *end <= limit) else {
            return if rest.len() > limit { Walk::TooLong } else { Walk::Unfinished };
        };
        let (head, behind) = rest.split_at(end);
        match status(head) {
            200..=299 => return Walk::Open(behind),
            407 => return Walk::Challenged,
            100 | 102..=199 if passed < INTERIM => rest = behind,
            other => return Walk::Refused(other),
        }
    }
    Walk::Unfinished
}

/// Behind the first line of which nothing is left without its CRs, but for the very first.
fn end_of_head(data: &[u8]) -> Option<usize> {
    let mut end = 0;
    for (number, line) in data.split_inclusive(|octet| *octet == b'\n').enumerate() {
        end += line.len();
        let empty = line.iter().all(|octet| matches!(octet, b'\r' | b'\n'));
        if number > 0 && empty && line.ends_with(b"\n") {
            return Some(end);
        }
    }
    None
}

/// The first digits behind the version (RFC 9112 section 4).
fn status(head: &[u8]) -> u16 {
    let line = head.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let behind = line.iter().skip_while(|octet| **octet != b' ').skip_while(|octet| **octet == b' ');
    behind.take_while(|octet| octet.is_ascii_digit()).fold(0, |all, digit| all * 10 % 1000 + u16::from(digit - b'0'))
}

/// One head that the grammar of RFC 9112 makes beyond doubt, and whatever comes behind it.
fn is_plain(data: &[u8]) -> bool {
    let Some(end) = end_of_head(data) else { return false };
    let Ok(head) = std::str::from_utf8(&data[..end]) else { return false };
    let Some((line, fields)) = head.strip_suffix("\r\n\r\n").and_then(|head| {
        let (line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
        Some((line.strip_prefix("HTTP/1.1 ")?, fields))
    }) else {
        return false;
    };
    let visible = |text: &str| text.bytes().all(|octet| octet == b' ' || octet.is_ascii_graphic());
    let (code, reason) = line.split_at_checked(3).unwrap_or_default();
    let is_status = code.starts_with(|c| matches!(c, '2'..='5')) && code.bytes().all(|octet| octet.is_ascii_digit());
    let is_field = |field: &str| {
        let named = field.split_once(": ").is_some_and(|(name, value)| {
            !name.is_empty()
                && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
                && visible(value)
        });
        named || fields.is_empty()
    };
    is_status
        && (reason.is_empty() || reason.starts_with(' '))
        && visible(reason)
        && fields.split("\r\n").count() < 100
        && fields.split("\r\n").all(is_field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_found_and_judged() {
        let open = &b"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n220 mx"[..];
        assert!(matches!(walk(open, 1000), Walk::Open(b"220 mx")));
        assert!(matches!(walk(open, 20), Walk::TooLong));
        assert!(matches!(walk(&open[..30], 1000), Walk::Unfinished));
        assert!(matches!(walk(b"HTTP/1.0  403 no\n\n", 1000), Walk::Refused(403)));
        assert!(matches!(walk(b"HTTP/1.1 101 no\r\n\r\n", 1000), Walk::Refused(101)));
        let plain =
            [&b"HTTP/1.1 200 OK\r\nVia: x y\r\n\r\nmore"[..], b"HTTP/1.1 502\r\n\r\n", b"HTTP/1.1 204 \r\n\r\n"];
        assert!(plain.into_iter().all(is_plain));
        let odd = [&b"HTTP/1.1 200 OK\n\n"[..], b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n A: b\r\n\r\n"];
        assert!(!odd.into_iter().any(is_plain));
    }
}
