//! What the platform gives where the caller gave nothing: its trusted roots, its randomness.
//!
//! The rules of this file: what was given is never overruled; what takes its time to make is made once, and only for a way that needs it.

use super::{Config, Security};
use crate::tls;

impl Config {
    /// The same, with what the platform gives where nothing was given: its trusted roots, its randomness. Adapters ask for
    /// this when they connect. There are no roots for a way without TLS, so security and proxies come first.
    ///
    /// # Panics
    ///
    /// Not here, but when a mechanism needs randomness and the platform has none.
    #[must_use]
    pub fn on_platform(self) -> Self {
        let config = match (&self.connector, self.of_platform.get()) {
            (Some(_), _) => self,
            // Reading the roots takes its time and memory; who speaks no TLS has no use for them.
            _ if self.security == Security::None && !self.proxies().any(proxy_proto::ProxyUrl::needs_tls) => self,
            (None, Some(kept)) => {
                let kept = kept.clone();
                self.tls(kept)
            }
            (None, None) => {
                let made = tls::Settings::default().connector();
                // One that cannot be used is not kept: the platform may be mended before the next connection.
                let kept = if made.check().is_ok() { self.of_platform.get_or_init(|| made).clone() } else { made };
                self.tls(kept)
            }
        };
        if config.client.entropy.is_some() {
            return config;
        }
        config.entropy(|octets| {
            // Without randomness there is no secret worth keeping: better to stop than to go on with a nonce of zeroes.
            getrandom::fill(octets).expect("the platform has no source of randomness");
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;

    #[test]
    fn clones_share_the_platforms_connector() {
        let (one, other) = (Config::new("mx.example.org", 25), Config::new("mx.example.org", 25));
        let _ = one.clone().on_platform();
        // A machine without authorities has nothing to share.
        let usable = tls::Settings::default().connector().check().is_ok();
        assert_eq!((one.of_platform.get().is_some(), other.of_platform.get().is_some()), (usable, false));
        let (first, second) = (one.clone().on_platform(), one.clone().on_platform());
        assert!(
            Arc::ptr_eq(&first.of_platform, &second.of_platform)
                && !Arc::ptr_eq(&first.of_platform, &other.of_platform)
        );
    }

    #[test]
    fn nobody_reads_the_roots_for_a_way_without_tls() {
        let clear = Config::new("mx.example.org", 25).security(Security::None);
        assert!(clear.clone().on_platform().connector.is_none());
        let through = |url: &str| clear.clone().proxy(url.parse().unwrap()).on_platform().connector.is_some();
        assert_eq!((through("http://proxy.example"), through("https://proxy.example")), (false, true));
    }
}
