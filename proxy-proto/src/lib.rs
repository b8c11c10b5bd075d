//! The contract of the house, and the machines that open a way through proxies.
//!
//! Everything here is *sans-IO*: a machine consumes and emits byte buffers and is told the time. It opens no socket and
//! reads no clock. [`Machine`] is the contract that every machine of this workspace obeys.
//!
//! A proxy is read from a URL, [`ProxyUrl::tunnel`] makes the handshake for a [`Target`], and when the machine says
//! [`Opened`], the connection belongs to whatever is spoken through it. A chain of proxies is one [`Tunnel`] after the
//! other on the same connection, each with the next proxy as its target, the last with the server.
//!
//! ```
//! use proxy_proto::{Instant, Machine, Options, ProxyUrl, Target};
//!
//! let proxy: ProxyUrl = "socks5h://proxy.example".parse()?;
//! let target: Target = "mx.example:25".parse()?;
//! let mut tunnel = proxy.tunnel(&target, &Options::default())?;
//!
//! let (now, mut output) = (Instant::EPOCH, Vec::new());
//! tunnel.transmit(now, &mut output);
//! assert_eq!(output, [5, 1, 0]); // to be sent to proxy.example:1080
//! tunnel.receive(now, &mut &[5, 0][..])?;
//! tunnel.transmit(now, &mut output);
//! let mut input = &b"\x05\0\0\x01\0\0\0\0\0\0220 mx.example ESMTP\r\n"[..];
//! assert!(tunnel.receive(now, &mut input)?.is_some());
//! assert_eq!(input, b"220 mx.example ESMTP\r\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What each proxy can do
//!
//! | URL | protocol | IPv4 | IPv6 | name | authentication | who resolves a name |
//! |---|---|---|---|---|---|---|
//! | `socks4://` | SOCKS4 | yes | no | no | user id | the caller, to IPv4 |
//! | `socks4a://` | SOCKS4a | yes | no | yes | user id | the proxy |
//! | `socks5://` | SOCKS5, RFC 1928 | yes | yes | no | none; user and password, RFC 1929; [`socks5::Method`] | the caller |
//! | `socks5h://` | SOCKS5, RFC 1928 | yes | yes | yes | as `socks5://` | the proxy |
//! | `http://` | CONNECT, RFC 9110 | yes | yes | yes | none; Basic, RFC 7617; Bearer, RFC 6750; Digest, RFC 7616; own header | the proxy |
//! | `https://` | TLS, then CONNECT | yes | yes | yes | as `http://` | the proxy |
//!
//! [`ProxyHeader`](proxy_header::ProxyHeader), the PROXY protocol, is a step of the same kind: it tells a server who the
//! client is. The other sides are here as well: [`socks4::Accept`], [`socks5::Accept`] and [`http::Accept`].
//!
//! # Features
//!
//! | feature | what it adds | default |
//! |---|---|---|
//! | `digest` | Digest authentication to HTTP proxies (RFC 7616; RFC 2617 where the proxy names no `qop`), which needs hash functions | yes |
//!
//! The crate is `no_std` with `alloc` in any case.
//!
//! # Limits
//!
//! A handshake has one limit of time and an HTTP head one of size ([`Limits`]). SOCKS machines hold less than 1 KiB,
//! HTTP machines less than their head's limit, whatever the peer sends.

#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

extern crate alloc;

mod credentials;
mod error;
mod handshake;
pub mod http;
mod machine;
mod misuse;
mod no_proxy;
pub mod proxy_header;
mod secret;
pub mod socks4;
pub mod socks5;
mod target;
mod tunnel;
mod url;

pub use credentials::Credentials;
pub use error::{Error, Hop, Kind, Spoken};
pub use handshake::Limits;
pub use machine::{Deadline, Instant, Machine, Phase};
pub use misuse::Misuse;
pub use no_proxy::{NoProxy, choose};
pub use secret::Secret;
pub use target::{Host, Name, Target};
pub use tunnel::{Opened, Tunnel};
pub use url::{Options, ProxyUrl, Scheme};
