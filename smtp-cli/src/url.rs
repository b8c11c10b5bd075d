//! The server as people write it: `submission://alice:secret@mail.example.org`, or just `mail.example.org:25`.
//!
//! The rules of this file: the scheme decides port and security; no error repeats the URL, because there may be a password
//! in it.

use std::net::Ipv6Addr;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use smtp_proto::{Secret, Security};

/// A server's URL, taken apart.
#[derive(Debug)]
pub(crate) struct ServerUrl {
    /// A name or an address, without brackets.
    pub(crate) host: String,
    /// `None` where nothing says it: it is found out.
    pub(crate) port: Option<u16>,
    pub(crate) security: Security,
    pub(crate) lmtp: bool,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let scheme = scheme.to_ascii_lowercase();
        let (security, default_port) = match scheme.as_str() {
            "" if !text.contains("://") => (Security::Auto, None),
            "lmtp" => (Security::Auto, Some(24)),
            "smtp" => (Security::Auto, Some(25)),
            "submission" => (Security::StartTls, Some(587)),
            "smtps" | "submissions" => (Security::Implicit, Some(465)),
            _ => return Err("the schemes are smtp, submission, smtps, submissions and lmtp".into()),
        };
        let (userinfo, place) = match rest.rsplit_once('@') {
            Some((userinfo, place)) => (Some(userinfo), place),
            None => (None, rest),
        };
        let (host, port) = host_and_port(place.strip_suffix('/').unwrap_or(place))?;
        let (user, password) = match userinfo.map(|info| info.split_once(':').unwrap_or((info, ""))) {
            None => (None, None),
            Some((user, password)) => (Some(decode(user)?), Some(password).filter(|password| !password.is_empty())),
        };
        Ok(Self {
            host: ascii(host)?,
            port: port.or(default_port),
            security,
            lmtp: scheme == "lmtp",
            user: user.filter(|user| !user.is_empty()),
            password: password.map(|password| Secret::new(percent_decode_str(password).collect::<Vec<u8>>())),
        })
    }
}

fn decode(text: &str) -> Result<String, String> {
    Ok(percent_decode_str(text).decode_utf8().map_err(|_| "the user name is not UTF-8")?.into_owned())
}

/// A name or an address, without brackets, and the port behind it.
pub(crate) fn host_and_port(place: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
        host.parse::<Ipv6Addr>().map_err(|_| "what stands in brackets must be an IPv6 address")?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or("a port follows a colon")?) })
    } else if place.parse::<Ipv6Addr>().is_ok() {
        (place, None)
    } else {
        match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        }
    };
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '?' | '#' | '@' | '[' | ']' | '%');
    if host.is_empty() || host.contains(odd) {
        return Err("there is no host name or address in it".into());
    }
    match port.map(str::parse) {
        None => Ok((host, None)),
        Some(Ok(port)) if port > 0 => Ok((host, Some(port))),
        Some(_) => Err("the port is a number from 1 to 65535".into()),
    }
}

/// The name as the DNS and certificates have it (RFC 5891: A-labels).
pub(crate) fn ascii(host: &str) -> Result<String, String> {
    if host.is_ascii() {
        return Ok(host.into());
    }
    idna::domain_to_ascii(host).map_err(|_| "the host is no name that can be had".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ServerUrl {
        text.parse().unwrap()
    }

    fn place(text: &str) -> (String, Option<u16>, Security) {
        let url = read(text);
        (url.host, url.port, url.security)
    }

    #[test]
    fn schemes_decide_port_and_security() {
        assert_eq!(place("smtp://a.example"), ("a.example".into(), Some(25), Security::Auto));
        assert_eq!(place("a.example"), ("a.example".into(), None, Security::Auto));
        assert_eq!(place("a.example:2525"), ("a.example".into(), Some(2525), Security::Auto));
        assert_eq!(place("submission://a.example/"), ("a.example".into(), Some(587), Security::StartTls));
        assert_eq!(place("SMTPS://a.example"), ("a.example".into(), Some(465), Security::Implicit));
        assert_eq!(place("lmtp://a.example"), ("a.example".into(), Some(24), Security::Auto));
        assert!(read("lmtp://a.example").lmtp && !read("a.example").lmtp);
        assert_eq!(place("submissions://a.example:4650"), ("a.example".into(), Some(4650), Security::Implicit));
    }

    #[test]
    fn addresses_of_version_six() {
        assert_eq!(place("smtp://[::1]:2525"), ("::1".into(), Some(2525), Security::Auto));
        assert_eq!(place("[2001:db8::1]").0, "2001:db8::1");
        assert_eq!(place("::1"), ("::1".into(), None, Security::Auto));
    }

    #[test]
    fn names_in_any_script() {
        // RFC 3492 section 7.1 (B), and the name that RFC 5890 and others write.
        assert_eq!(place("他们为什么不说中文.example").0, "xn--ihqwcrb4cv8a8dqg056pqjye.example");
        assert_eq!(place("smtps://mail.Bücher.example:4650").0, "mail.xn--bcher-kva.example");
        assert!("a\u{200b}\u{fffd}.example".parse::<ServerUrl>().is_err());
    }

    #[test]
    fn user_and_password_are_percent_decoded() {
        let url = read("smtp://alice%40example.org:open%20sesame%2F7%2B%25%40!@127.0.0.1:25");
        assert_eq!(url.user.as_deref(), Some("alice@example.org"));
        assert_eq!(url.password, Some("open sesame/7+%@!".into()));
        // As mail users write it, too.
        let url = read("smtps://alice@example.org:secret@mail.example.org");
        assert_eq!((url.user.as_deref(), url.host.as_str()), (Some("alice@example.org"), "mail.example.org"));
        assert_eq!(read("smtp://alice@a.example").password, None);
    }

    #[test]
    fn what_is_no_server_is_refused_without_repeating_it() {
        for text in
            ["", "smtp://", "http://a:hunter2@b", "a:b:c", "a:0", "a:70000", "[::1", "[x]:25", "smtp://a/path", "a b"]
        {
            let error = text.parse::<ServerUrl>().unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
