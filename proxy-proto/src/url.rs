//! A proxy as users write it: `socks5h://alice:secret@proxy.example:1080`, in curl's meaning.
//!
//! The rules of this file: the URL says which protocol, who resolves names and whether TLS comes first; it is never shown
//! with its credentials, and no error repeats it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::http::{Authorization, Challenge, Header};
use crate::target::split_port;
use crate::{Credentials, Host, Limits, Misuse, Secret, Target, Tunnel, http, socks4, socks5};

/// The protocol spoken to a proxy, and who resolves names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scheme {
    /// SOCKS4; the caller resolves names, to IPv4.
    Socks4,
    /// SOCKS4a; the proxy resolves names.
    Socks4a,
    /// SOCKS5; the caller resolves names.
    Socks5,
    /// SOCKS5; the proxy resolves names.
    Socks5h,
    /// HTTP CONNECT; the proxy resolves names.
    Http,
    /// HTTP CONNECT inside TLS to the proxy; the proxy resolves names.
    Https,
}

impl Scheme {
    /// The scheme as it is written in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Socks4 => "socks4",
            Self::Socks4a => "socks4a",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where a URL names none: 1080, and 443 for `https`. As curl has it, 1080 for `http` too.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            _ => 1080,
        }
    }

    /// Whether the proxy resolves names. If not, the caller does, before the target is given.
    pub const fn proxy_resolves(self) -> bool {
        !matches!(self, Self::Socks4 | Self::Socks5)
    }

    /// Whether TLS to the proxy comes before the handshake, with the proxy's own name checked.
    pub const fn needs_tls(self) -> bool {
        matches!(self, Self::Https)
    }

    /// Whether the protocol can carry IPv6 addresses.
    pub const fn carries_ipv6(self) -> bool {
        !matches!(self, Self::Socks4 | Self::Socks4a)
    }
}

impl FromStr for Scheme {
    type Err = Misuse;

    fn from_str(text: &str) -> Result<Self, Misuse> {
        let all = [Self::Socks4, Self::Socks4a, Self::Socks5, Self::Socks5h, Self::Http, Self::Https];
        let known = all.into_iter().find(|scheme| text.eq_ignore_ascii_case(scheme.as_str()));
        // No scheme is longer than this, and what is may be a password in the wrong place.
        known.ok_or_else(|| Misuse::Scheme(text.chars().take(16).collect()))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A proxy: its scheme, where it is, and who one is to it.
///
/// `Display` shows scheme, host and port and never the credentials: of some proxies the user name is the secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyUrl {
    scheme: Scheme,
    proxy: Target,
    credentials: Option<Credentials>,
}

/// What a tunnel needs to know besides the proxy's URL. The default is what most callers want.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// How long the handshake may take and how much it may hold.
    pub limits: Limits,
    /// SOCKS5: everything in one flight; see [`socks5::Config::one_flight`]. With credentials in the URL only they are
    /// offered then, else only "no authentication".
    pub one_flight: bool,
    /// HTTP: how to present oneself, instead of the rule in [`ProxyUrl::tunnel`].
    pub authorization: Option<Authorization>,
    /// HTTP: the caller's own header fields.
    pub headers: Vec<Header>,
    /// HTTP: random octets for the client's nonce of Digest, new for each tunnel. Without them Digest is not spoken.
    pub cnonce: Option<[u8; 16]>,
    /// HTTP: the challenge of [`Kind::Redial`](crate::Kind::Redial), on the new connection.
    pub challenge: Option<Challenge>,
}

impl ProxyUrl {
    /// A proxy put together from its parts.
    pub fn new(scheme: Scheme, proxy: Target, credentials: Option<Credentials>) -> Self {
        Self { scheme, proxy, credentials }
    }

    /// The protocol, and who resolves names.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Where the proxy is: what to dial, or the target of the hop before it. With [`needs_tls`](Self::needs_tls) its host
    /// is the name to check.
    pub fn proxy(&self) -> &Target {
        &self.proxy
    }

    /// The credentials in the URL, percent-decoded.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Whether the proxy resolves names ([`Scheme::proxy_resolves`]).
    pub fn proxy_resolves(&self) -> bool {
        self.scheme.proxy_resolves()
    }

    /// Whether TLS to the proxy comes first ([`Scheme::needs_tls`]).
    pub fn needs_tls(&self) -> bool {
        self.scheme.needs_tls()
    }

    /// The handshake that opens a tunnel to `target`, to be run on a connection to [`proxy`](Self::proxy) (inside TLS, if
    /// [`needs_tls`](Self::needs_tls)).
    ///
    /// Credentials of the URL are shown to an HTTP proxy once it has asked, in the strongest way it knows
    /// ([`Authorization::Challenged`]), and to an HTTPS proxy at once ([`Authorization::Basic`]): nobody else sees them there.
    /// To a SOCKS4 proxy the user is shown and a password is an error.
    ///
    /// # Errors
    ///
    /// The target is a name and the scheme has the caller resolve names; it is IPv6 and the protocol has no field for
    /// that; credentials or options cannot be sent.
    pub fn tunnel(&self, target: &Target, options: &Options) -> Result<Tunnel, Misuse> {
        if matches!(target.host, Host::Name(_)) && !self.proxy_resolves() {
            return Err(Misuse::NotResolved);
        }
        match self.scheme {
            Scheme::Socks4 | Scheme::Socks4a => self.socks4(target, options).map(Tunnel::from),
            Scheme::Socks5 | Scheme::Socks5h => {
                let config = socks5::Config {
                    anonymous: !(options.one_flight && self.credentials.is_some()),
                    credentials: self.credentials.clone(),
                    one_flight: options.one_flight,
                    limits: options.limits,
                };
                socks5::Connect::new(target, config).map(Tunnel::from)
            }
            Scheme::Http | Scheme::Https => {
                let config = http::Config {
                    authorization: options.authorization.clone().unwrap_or_else(|| self.authorization()),
                    headers: options.headers.clone(),
                    cnonce: options.cnonce,
                    challenge: options.challenge.clone(),
                    limits: options.limits,
                };
                http::Connect::new(target, config).map(Tunnel::from)
            }
        }
    }

    fn socks4(&self, target: &Target, options: &Options) -> Result<socks4::Connect, Misuse> {
        let user = match &self.credentials {
            None => "",
            Some(credentials) if credentials.password.expose().is_empty() => &credentials.user,
            Some(_) => return Err(Misuse::NoPassword),
        };
        if self.scheme == Scheme::Socks4 {
            socks4::Connect::socks4(target, user, options.limits)
        } else {
            socks4::Connect::socks4a(target, user, options.limits)
        }
    }

    fn authorization(&self) -> Authorization {
        match self.credentials.clone() {
            None => Authorization::None,
            Some(credentials) if self.needs_tls() => Authorization::Basic(credentials),
            Some(credentials) => Authorization::Challenged(credentials),
        }
    }
}

impl FromStr for ProxyUrl {
    type Err = Misuse;

    /// Reads `[scheme://][user[:password]@]host[:port][/]`; without a scheme it is `http`, as in curl.
    fn from_str(text: &str) -> Result<Self, Misuse> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme.parse()?, rest),
            None => (Scheme::Http, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(Misuse::Path);
        }
        let (userinfo, authority) = match rest.rsplit_once('@') {
            Some((userinfo, authority)) => (Some(userinfo), authority),
            None => (None, rest),
        };
        let credentials = userinfo.filter(|userinfo| !userinfo.is_empty()).map(read_userinfo).transpose()?;
        let (host, port) = split_port(authority)?;
        if host.contains(':') && !host.starts_with('[') {
            return Err(Misuse::Octet { what: "host", octet: b':' });
        }
        let proxy = Target::new(host, port.unwrap_or(scheme.default_port()))?;
        Ok(Self { scheme, proxy, credentials })
    }
}

fn read_userinfo(userinfo: &str) -> Result<Credentials, Misuse> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let user: Vec<u8> = percent_decode_str(user).collect();
    let user = String::from_utf8(user).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Misuse::Octet { what: "user", octet: error.as_bytes().get(at).copied().unwrap_or_default() }
    })?;
    let credentials = Credentials { user, password: Secret::new(percent_decode_str(password).collect::<Vec<u8>>()) };
    credentials.check()?;
    Ok(credentials)
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.proxy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Instant, Machine};
    use alloc::format;
    use alloc::string::ToString;

    fn url(text: &str) -> ProxyUrl {
        text.parse().expect("a proxy")
    }

    #[test]
    fn schemes_mean_what_they_mean_to_curl() {
        for (text, shown, resolves, tls) in [
            ("socks4://p", "socks4://p:1080", false, false),
            ("socks4a://p", "socks4a://p:1080", true, false),
            ("socks5://p", "socks5://p:1080", false, false),
            ("SOCKS5H://p:9050", "socks5h://p:9050", true, false),
            ("http://p", "http://p:1080", true, false),
            ("https://p/", "https://p:443", true, true),
            ("p:3128", "http://p:3128", true, false),
            ("socks5://[::1]", "socks5://[::1]:1080", false, false),
            ("socks5://[2001:db8::1]:9", "socks5://[2001:db8::1]:9", false, false),
        ] {
            let url = url(text);
            assert_eq!((url.to_string().as_str(), url.proxy_resolves(), url.needs_tls()), (shown, resolves, tls));
        }
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let proxy = url("socks5h://al%69ce:p%40ss%3Aw%2Frd%25@p");
        assert_eq!(proxy.credentials(), Some(&Credentials::new("alice", "p@ss:w/rd%")));
        assert_eq!(proxy.to_string(), "socks5h://p:1080");
        assert!(!format!("{proxy:?}").contains("p@ss"));
        assert_eq!(url("http://u@p").credentials(), Some(&Credentials::new("u", "")));
        assert_eq!(url("http://u:p@ss@p").credentials(), Some(&Credentials::new("u", "p@ss")));
        assert_eq!(url("http://@p").credentials(), None);
        assert_eq!(url("http://%C3%A9@p").credentials().map(|c| c.user.as_str()), Some("\u{e9}"));
    }

    #[test]
    fn what_is_no_proxy_is_misuse() {
        let bad = |text: &str| text.parse::<ProxyUrl>().err();
        assert_eq!(bad("ftp://p"), Some(Misuse::Scheme("ftp".into())));
        assert_eq!(bad("http://p:0x50"), Some(Misuse::Port));
        assert_eq!(bad("http://p:99999"), Some(Misuse::Port));
        assert_eq!(bad("http://p/path"), Some(Misuse::Path));
        assert_eq!(bad("http://u:p/w@p"), Some(Misuse::Path));
        assert_eq!(bad("http://"), Some(Misuse::Empty { what: "host" }));
        assert_eq!(bad("http://2001:db8::1"), Some(Misuse::Octet { what: "host", octet: b':' }));
        assert_eq!(bad("http://a b"), Some(Misuse::Octet { what: "host", octet: b' ' }));
        assert_eq!(bad("socks5://u%00:x@p"), Some(Misuse::Octet { what: "user", octet: 0 }));
        assert_eq!(bad("socks5://u:x%0d%0a@p"), Some(Misuse::Octet { what: "password", octet: b'\r' }));
        assert_eq!(bad("socks5://a%ff@p"), Some(Misuse::Octet { what: "user", octet: 0xff }));
    }

    fn said(url: &str, target: &str, options: &Options) -> Result<Vec<u8>, Misuse> {
        let target = target.parse().expect("a target");
        let mut output = Vec::new();
        self::url(url).tunnel(&target, options)?.transmit(Instant::EPOCH, &mut output);
        Ok(output)
    }

    #[test]
    fn the_tunnel_speaks_what_the_scheme_says() {
        let plain = Options::default();
        let starts = |url, target, options: &Options, start: &[u8]| {
            let said = said(url, target, options).expect("well-formed");
            assert!(said.starts_with(start), "{url}: {said:02x?}");
        };
        starts("socks4://fred@p", "192.0.2.1:25", &plain, b"\x04\x01\x00\x19\xc0\x00\x02\x01fred\x00");
        starts("socks4a://p", "mx:25", &plain, b"\x04\x01\x00\x19\x00\x00\x00\x01\x00mx\x00");
        starts("socks5://p", "[::1]:25", &plain, b"\x05\x01\x00");
        starts("socks5h://u:p@p", "mx:25", &plain, b"\x05\x02\x00\x02");
        let fast = Options { one_flight: true, ..Options::default() };
        starts("socks5h://u:p@p", "mx:25", &fast, b"\x05\x01\x02\x01\x01u\x01p\x05\x01\x00\x03\x02mx\x00\x19");
        starts("socks5h://p", "mx:25", &fast, b"\x05\x01\x00\x05\x01\x00\x03\x02mx\x00\x19");
        starts("http://u:p@p", "mx:25", &plain, b"CONNECT mx:25 HTTP/1.1\r\nHost: mx:25\r\n\r\n");
        // "u:p" in base64.
        let basic = b"CONNECT mx:25 HTTP/1.1\r\nHost: mx:25\r\nProxy-Authorization: Basic dTpw\r\n\r\n";
        starts("https://u:p@p", "mx:25", &plain, basic);
        let at_once = Authorization::Basic(Credentials::new("u", "p"));
        starts("http://p", "mx:25", &Options { authorization: Some(at_once), ..Options::default() }, basic);
    }

    #[test]
    fn targets_the_scheme_cannot_carry_are_misuse() {
        let misuse = |url, target| said(url, target, &Options::default()).err();
        assert_eq!(misuse("socks4://p", "mx:25"), Some(Misuse::NotResolved));
        assert_eq!(misuse("socks5://p", "mx:25"), Some(Misuse::NotResolved));
        assert_eq!(misuse("socks4://p", "[::1]:25"), Some(Misuse::NoIpv6));
        assert_eq!(misuse("socks4a://p", "[::1]:25"), Some(Misuse::NoIpv6));
        assert_eq!(misuse("socks4://u:p@p", "192.0.2.1:25"), Some(Misuse::NoPassword));
        assert_eq!(misuse("socks5://:p@p", "192.0.2.1:25"), Some(Misuse::Empty { what: "user" }));
    }
}
