//! The SMTP dialogue (RFC 5321) as pure state machines: clients, servers, SASL and TLS, without a socket, a clock or a thread.
//!
//! Whoever only wants to send mail takes an adapter, `smtp-tokio`, `smtp-blocking` or `smtp-async-std`; all of them show this crate as
//! `proto`. Whoever writes a runtime, a transport, a tool or a test starts here: octets in, octets out, and the time is told.
//!
//! ```
//! use smtp_proto::client::{Envelope, Event};
//! use smtp_proto::{Config, Connection, Instant, Route, Security};
//!
//! // What a server says; a program reads it from its socket.
//! let mut server = ["220 mx ready", "250 mx", "250 ok", "250 ok", "354 go on", "250 queued", "221 bye"].into_iter();
//! let config = Config::new("mx.example.org", 25).security(Security::None).helo("client.example.org");
//! let mut smtp = Connection::new(config, Route::direct())?;
//! smtp.send(Envelope::new("alice@example.org", ["bob@example.net"])?, Default::default())?;
//! smtp.quit()?;
//!
//! let mut message = &b"Subject: hello\r\n\r\nHello, Bob.\r\n"[..];
//! let (mut said, mut told) = (Vec::new(), String::new());
//! let now = Instant::EPOCH; // and from there on, by a clock
//! 'session: loop {
//!     while let Some(event) = smtp.poll(now)? {
//!         match event {
//!             Event::Sent(report) => told = report.to_string(),
//!             Event::Closed(_) => break 'session,
//!             _ => {}
//!         }
//!     }
//!     if let Some(mut body) = smtp.body(now) {
//!         body.write(&mut message)?;
//!         if message.is_empty() {
//!             body.end();
//!         }
//!     }
//!     // A program waits for all three at once: to write, to read, and for `deadline`.
//!     let wants = smtp.wants(now);
//!     if !wants.write.is_empty() {
//!         said.extend_from_slice(wants.write);
//!         let written = wants.write.len();
//!         smtp.sent(written);
//!     } else if let Some(reply) = server.next() {
//!         let reply = format!("{reply}\r\n");
//!         wants.read[..reply.len()].copy_from_slice(reply.as_bytes());
//!         smtp.received(reply.len());
//!     }
//! }
//! assert_eq!(told, "bob@example.net: accepted (250 queued)");
//! assert!(said.starts_with(b"EHLO client.example.org\r\nMAIL FROM:<alice@example.org>\r\n"));
//! assert!(said.ends_with(b"\r\n\r\nHello, Bob.\r\n.\r\nQUIT\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | one connection, with its proxies and TLS | [`Connection`], [`Config`], [`Route`] |
//! | verbs for an adapter of one's own | [`session`] |
//! | the server's end | [`Accepted`], [`server`] |
//! | what became of a message | [`client::Report`] |
//! | where and how to connect, when that is not known | [`dial`] |
//! | how long things may take | [`limits`] |
//! | mechanisms of authentication | [`sasl`] |
//! | certificates and versions of TLS | [`tls`] |
//! | who hears the dialogue | [`client::Transcript`], or the feature `tracing` |
//!
//! In the repository: `ARCHITECTURE.md` (how it is built, and why), `docs/ADAPTER.md` (binding it to a runtime, with examples of at
//! most 60 lines), `docs/DIALLING.md`, and `docs/COMING_FROM.md` (the settings of other libraries, and which they are here).
//!
//! # Features
//!
//! | feature | what it adds | default |
//! |---|---|---|
//! | `ring`, `aws-lc-rs` | TLS by rustls, with this provider | `ring` |
//! | `rustls` | the same without a provider: the caller passes one in | by `ring` |
//! | `platform-roots`, `webpki-roots` | trust whom the platform trusts, or Mozilla | no |
//! | `platform` | what adapters take from the system: roots and randomness | no |
//! | `sasl-all` | `cram-md5`, `digest-md5`, `ntlm` and `scram`; the other mechanisms are always there | yes |
//! | `proxy-digest` | Digest authentication to HTTP proxies | yes |
//! | `serde` | reports, replies, errors and verdicts are written by serde; verdicts, codes and paths are read again | no |
//! | `tracing` | a span for each connection, events for phases, outcomes and lines; never a secret | no |
//! | `test-util` | a server for tests, without its socket | no |
//! | `std` | implied by `rustls`; without it the crate is `no_std` with `alloc` | by `ring` |
//!
//! # What tracing is told
//!
//! The span is `smtp`, at level INFO, with `host` and `port`. In it are, at INFO, what became of each recipient (`from`, `to`, `result`,
//! `reply`, `octets`) and what ended a session before its time (`error`); at DEBUG how far it has come (both of target
//! `smtp_proto`); and at TRACE the lines of the dialogue with their `phase` (target `smtp_proto::wire`), as a transcript shows them.
//! Whether lines are wanted is asked once, when a connection is made.
//!
//! # Limits
//!
//! Memory is bounded whatever a peer sends: [`Connection`], [`Accepted`], [`reply::ReplyLimits`] and [`server::Limits`] say by
//! what. A message is never held as a whole. TLS is 1.2 or 1.3. `tls-unique` is not among the channel bindings, because rustls
//! does not give it.

#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

extern crate alloc;
// The unit tests may use it whatever the features are.
#[cfg(all(test, not(feature = "std")))]
extern crate std;

pub mod body;
pub mod client;
pub mod command;
pub mod connection;
pub mod dial;
mod dialogue;
mod error;
pub mod extension;
pub mod limits;
mod misuse;
pub mod parameter;
pub mod phase;
pub mod reply;
pub mod sasl;
#[cfg(feature = "serde")]
mod serial;
pub mod server;
pub mod session;
#[cfg(feature = "test-util")]
pub mod test_util;
mod text;
pub mod tls;
mod trace;

pub use connection::{Accepted, AcceptedError, Config, Connection, Route, Security, Wants};
pub use dialogue::Grouping;
pub use error::{AuthenticationError, Cause, Error};
pub use limits::Limits;
pub use misuse::Misuse;
/// The rustls that [`tls::Rustls`] and [`tls::RustlsServer`] are made from, in the version that is used here.
#[cfg(feature = "rustls")]
pub use rustls;

/// The crate of the proxies: their URLs, handshakes and errors.
pub use proxy_proto;
pub use proxy_proto::{Deadline, Hop, Instant, Machine, Phase, Secret};
