//! The way to the server: through no proxy, one, or a chain.
//!
//! The rules of this file: the nearest proxy comes first and is hop 1; each proxy is asked for the next one, the last for
//! the server; who resolves a name is said by each proxy's scheme, and where it is the caller, the caller is told which.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use proxy_proto::{Hop, Host, Options, ProxyUrl, Target, Tunnel};

use super::config::Config;
use crate::{Error, Misuse};

/// One step of a route, before the server itself.
#[derive(Debug)]
pub(super) enum Step {
    /// TLS with the proxy of this name.
    Tls(String),
    /// The handshake that opens the tunnel.
    Tunnel(Tunnel),
}

/// The steps to the server through proxies, the nearest first; empty for the direct way.
///
/// [`Config::route`] makes one from URLs. By hand, other steps can be had too, such as a PROXY protocol header:
///
/// ```
/// use proxy_proto::{Hop, Tunnel, proxy_header::ProxyHeader};
/// use smtp_proto::Route;
///
/// let header = ProxyHeader::v1("192.0.2.1:5000".parse().unwrap(), "192.0.2.2:25".parse().unwrap()).unwrap();
/// let route = Route::direct().tunnel(Hop::named(1, "PROXY header"), Tunnel::from(header));
/// ```
#[derive(Debug, Default)]
pub struct Route {
    pub(super) steps: Vec<(Hop, Step)>,
}

impl Route {
    /// The direct way.
    pub fn direct() -> Self {
        Self::default()
    }

    /// Adds TLS with the proxy `hop`, whose certificate must prove `name`.
    #[must_use]
    pub fn tls(mut self, hop: Hop, name: impl Into<String>) -> Self {
        self.steps.push((hop, Step::Tls(name.into())));
        self
    }

    /// Adds the handshake with the proxy `hop`; its errors name the hop.
    #[must_use]
    pub fn tunnel(mut self, hop: Hop, tunnel: Tunnel) -> Self {
        self.steps.push((hop.clone(), Step::Tunnel(tunnel.at(hop))));
        self
    }
}

/// A proxy on the way, and what its handshake needs beside its URL.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    url: ProxyUrl,
    options: Options,
}

impl Config {
    /// Adds a proxy behind those added before: the first is the nearest.
    #[must_use]
    pub fn proxy(self, url: ProxyUrl) -> Self {
        self.proxy_with(url, Options::default())
    }

    /// Adds a proxy, with options of its own. The time for its handshake is [`Limits::hop`](crate::Limits::hop).
    #[must_use]
    pub fn proxy_with(mut self, url: ProxyUrl, options: Options) -> Self {
        self.proxies.push(Proxy { url, options });
        self
    }

    /// The proxy that `ALL_PROXY` and `NO_PROXY` name for this server, where no proxy was set before.
    ///
    /// # Errors
    ///
    /// [`Misuse::Proxy`] where `ALL_PROXY` cannot be read.
    pub fn proxy_from(self, all_proxy: Option<&str>, no_proxy: Option<&str>) -> Result<Self, Misuse> {
        if !self.proxies.is_empty() {
            return Ok(self);
        }
        let server = self.target()?;
        match proxy_proto::choose(all_proxy, no_proxy, &server).map_err(|why| misuse(1, why))? {
            Some(url) => Ok(self.proxy(url)),
            None => Ok(self),
        }
    }

    /// The proxies on the way, the nearest first; their URLs show no credentials.
    pub fn proxies(&self) -> impl Iterator<Item = &ProxyUrl> {
        self.proxies.iter().map(|proxy| &proxy.url)
    }

    /// Where the transport must lead: host and port of the nearest proxy, or of the server.
    pub fn dial(&self) -> (String, u16) {
        match self.proxies.first() {
            Some(proxy) => (proxy.url.proxy().host.to_string(), proxy.url.proxy().port),
            None => (self.destination().to_string(), self.port()),
        }
    }

    /// The names that some proxy leaves to the caller to resolve (`socks4://`, `socks5://`), with their ports.
    ///
    /// # Errors
    ///
    /// [`Misuse::Proxy`] where the server cannot be asked for.
    pub fn names_to_resolve(&self) -> Result<Vec<(String, u16)>, Misuse> {
        let mut names = Vec::new();
        for at in 0..self.proxies.len() {
            let target = self.target_of(at)?;
            if let (Host::Name(name), false) = (&target.host, self.proxies[at].url.proxy_resolves()) {
                names.push((name.to_string(), target.port));
            }
        }
        Ok(names)
    }

    /// The route through all proxies; `resolved` gives addresses for the [names](Self::names_to_resolve).
    ///
    /// # Errors
    ///
    /// [`Misuse::Proxy`], naming the hop, where a proxy cannot be asked for what comes behind it.
    pub fn route(&self, resolved: &[(String, IpAddr)]) -> Result<Route, Misuse> {
        let mut route = Route::direct();
        for (at, proxy) in self.proxies.iter().enumerate() {
            let hop = Hop::new(at + 1, &proxy.url);
            let mut target = self.target_of(at)?;
            if let (Host::Name(name), false) = (&target.host, proxy.url.proxy_resolves()) {
                let carried = |address: &IpAddr| address.is_ipv4() || proxy.url.scheme().carries_ipv6();
                let found = resolved.iter().find(|(known, address)| known == name.as_str() && carried(address));
                let (_, address) = found.ok_or_else(|| {
                    misuse(at + 1, ["no address of ", name.as_str(), " that this proxy can be asked for"].concat())
                })?;
                target.host = (*address).into();
            }
            if proxy.url.needs_tls() {
                route = route.tls(hop.clone(), proxy.url.proxy().host.to_string());
            }
            let mut options = proxy.options.clone();
            options.limits.handshake = self.client().limits.hop;
            if let (None, Some(fill)) = (options.cnonce, &self.client().entropy) {
                let mut cnonce = [0; 16];
                fill(&mut cnonce);
                options.cnonce = Some(cnonce);
            }
            let tunnel = proxy.url.tunnel(&target, &options).map_err(|why| misuse(at + 1, why))?;
            route = route.tunnel(hop, tunnel);
        }
        Ok(route)
    }

    /// After an error that says what to do otherwise: the configuration that does it, on a new connection.
    ///
    /// A proxy wanted credentials and closed the connection: its challenge is answered. Or the server spoke in clear where
    /// [`Auto`](super::Security::Auto) had begun with TLS: it is listened to first. `None` where the error is another, or
    /// that was done before, so a loop around it comes to an end.
    pub fn answering(&self, error: &Error) -> Option<Self> {
        if let crate::Cause::Tls(crate::tls::Error::NotTls(b'2'..=b'5')) = &error.cause {
            return (error.hop.is_none() && self.guesses_tls()).then(|| self.clone().clear_first());
        }
        let crate::Cause::Tunnel(tunnel) = &error.cause else { return None };
        let (challenge, hop) = (tunnel.challenge()?, tunnel.hop()?);
        let mut next = self.clone();
        let options = &mut next.proxies.get_mut(hop.number().checked_sub(1)?)?.options;
        if options.challenge.is_some() {
            return None;
        }
        options.challenge = Some(challenge.clone());
        Some(next)
    }

    /// The server, as the last proxy is asked for it.
    pub(crate) fn asked_for(&self) -> Result<Host, Misuse> {
        self.target().map(|target| target.host)
    }

    /// What the proxy at this place is asked for.
    fn target_of(&self, at: usize) -> Result<Target, Misuse> {
        match self.proxies.get(at + 1) {
            Some(next) => Ok(next.url.proxy().clone()),
            None => self.target(),
        }
    }

    fn target(&self) -> Result<Target, Misuse> {
        Target::new(self.destination(), self.port()).map_err(|why| misuse(self.proxies.len(), why))
    }
}

fn misuse(hop: usize, why: impl ToString) -> Misuse {
    Misuse::Proxy { hop, why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> ProxyUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_chain_is_dialled_at_its_nearest_end() {
        let config = Config::new("mx.example.org", 25).proxy(url("socks5h://a:1")).proxy(url("https://b:2"));
        assert_eq!(config.dial(), ("a".into(), 1));
        assert_eq!(config.names_to_resolve(), Ok(alloc::vec![]));
        let route = config.route(&[]).unwrap();
        let steps: Vec<_> =
            route.steps.iter().map(|(hop, step)| (hop.number(), matches!(step, Step::Tls(_)))).collect();
        assert_eq!(steps, [(1, false), (2, true), (2, false)]);
        assert_eq!(Config::new("[2001:db8::1]", 25).dial(), ("2001:db8::1".into(), 25));
    }

    #[test]
    fn names_that_a_proxy_does_not_resolve_are_the_callers() {
        let config = Config::new("mx.example.org", 25).proxy(url("socks4://a:1")).proxy(url("socks5://b:2"));
        let names = [("b".to_string(), 2), ("mx.example.org".to_string(), 25)];
        assert_eq!(config.names_to_resolve().unwrap(), names);
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        let mx = ("mx.example.org".to_string(), v6);
        assert!(matches!(config.route(&[("b".into(), v6), mx.clone()]), Err(Misuse::Proxy { hop: 1, .. })));
        assert!(config.route(&[("b".into(), v6), ("b".into(), v4), mx]).is_ok());
    }

    #[test]
    fn the_environment_names_a_proxy_unless_one_is_set() {
        let direct = Config::new("mx.example.org", 25);
        let through = direct.clone().proxy_from(Some("socks5h://a:1"), None).unwrap();
        assert_eq!(through.dial().0, "a");
        assert_eq!(through.proxy_from(Some("socks5h://z:1"), None).unwrap().dial().0, "a");
        assert_eq!(
            direct.clone().proxy_from(Some("socks5h://a:1"), Some("example.org")).unwrap().dial().0,
            "mx.example.org"
        );
        assert!(matches!(direct.proxy_from(Some("nonsense://a"), None), Err(Misuse::Proxy { .. })));
    }

    #[test]
    fn an_answer_in_clear_where_tls_was_a_guess_is_answered_once() {
        use crate::{Cause, Security, phase, tls};
        let not_tls = |octet, hop| Error { phase: phase::TLS, hop, cause: Cause::Tls(tls::Error::NotTls(octet)) };
        let auto = Config::new("mx.example.org", 465);
        let next = auto.answering(&not_tls(b'2', None)).expect("another way");
        assert_eq!((next.port(), next.get_security()), (465, Security::StartTlsIfOffered));
        assert!(next.answering(&not_tls(b'2', None)).is_none(), "once");
        assert!(auto.answering(&not_tls(b'H', None)).is_none(), "a web server");
        assert!(auto.answering(&not_tls(b'2', Some(Hop::named(1, "p")))).is_none(), "a proxy's answer");
        assert!(auto.clone().security(Security::Implicit).answering(&not_tls(b'2', None)).is_none(), "no guess");
        // What was secured before stays so.
        let hinted = Config::any_port("mx.example.org").hint(&"192.0.2.1:2465/implicit".parse().unwrap());
        let next = hinted.answering(&not_tls(b'5', None)).expect("another way");
        assert_eq!((next.port(), next.get_security()), (2465, Security::StartTls));
    }

    #[test]
    fn a_proxys_challenge_is_answered_once_on_a_new_connection() {
        use proxy_proto::http::{Authorization, Config as HttpConfig, Connect};
        use proxy_proto::{Credentials, Instant, Machine};
        let authorization = Authorization::Challenged(Credentials::new("alice", "hunter2"));
        let http = HttpConfig { authorization, ..HttpConfig::default() };
        let mut tunnel = Tunnel::from(Connect::new(&"mx.example.org:25".parse().unwrap(), http).unwrap())
            .at(Hop::named(2, "http://b:3128"));
        tunnel.transmit(Instant::EPOCH, &mut Vec::new());
        let reply = b"HTTP/1.0 407 x\r\nProxy-Authenticate: Basic realm=r\r\n\r\n";
        let failed = tunnel.receive(Instant::EPOCH, &mut &reply[..]).unwrap_err();
        let error = |failed: proxy_proto::Error| Error {
            phase: failed.phase(),
            hop: failed.hop().cloned(),
            cause: crate::Cause::Tunnel(failed),
        };
        let config =
            Config::new("mx.example.org", 25).proxy(url("socks5h://a:1")).proxy(url("http://alice:hunter2@b:3128"));
        let next = config.answering(&error(failed.clone())).expect("another way");
        assert!(next.proxies[1].options.challenge.is_some() && next.proxies[0].options.challenge.is_none());
        assert!(next.answering(&error(failed.clone())).is_none(), "once");
        // A hop that is not on this way.
        let direct = Config::new("mx.example.org", 25);
        assert!(direct.answering(&error(failed.clone())).is_none());
        assert!(config.answering(&error(failed.at(Hop::named(0, "?")))).is_none());
    }
}
