//! The way to the server: what --proxy says, else what the environment says.
//!
//! The rules of this file: no error repeats a URL, because there may be a password in it; a server of the command's own is
//! reached directly unless the options say otherwise.

use std::env;

use proxy_proto::ProxyUrl;
use smtp_proto::Config;

use crate::embedded_proxy;
use crate::failure::Failure;

/// The same configuration, through the proxies that the options or the environment name.
pub(crate) fn through(mut config: Config, named: &[String], own: bool) -> Result<Config, Failure> {
    let misuse = |misuse| Failure::misuse(&misuse);
    match named {
        [none] if none == "none" => Ok(config),
        [] if own => Ok(config),
        [] => {
            let (all_proxy, no_proxy) = (variable("ALL_PROXY"), variable("NO_PROXY"));
            config
                .proxy_from(all_proxy.as_deref(), no_proxy.as_deref())
                .map_err(|misuse| Failure::usage(format_args!("the environment's ALL_PROXY or NO_PROXY: {misuse}")))
        }
        several if several.iter().any(|one| one == "none") => {
            Err(Failure::usage("--proxy none stands alone: it goes without any"))
        }
        urls => {
            for (at, url) in urls.iter().enumerate() {
                let url: ProxyUrl =
                    url.parse().map_err(|why| Failure::usage(format_args!("--proxy, hop {}: {why}", at + 1)))?;
                config = config.proxy(if own { embedded_proxy::start(url)? } else { url });
            }
            // What a proxy cannot be asked for at all is better known before anything is connected to.
            config.names_to_resolve().map_err(misuse)?;
            Ok(config)
        }
    }
}

/// A variable by either spelling; the small one counts first, as it does for others who read them.
fn variable(name: &str) -> Option<String> {
    let found = env::var(name.to_ascii_lowercase()).or_else(|_| env::var(name));
    found.ok().filter(|value| !value.is_empty())
}
