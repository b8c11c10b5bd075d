//! The SMTP dialogue as pure state machines.

#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

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
pub mod server;
pub mod session;
#[cfg(feature = "test-util")]
pub mod test_util;
mod text;
pub mod tls;

pub use connection::{Accepted, AcceptedError, Config, Connection, Route, Security, Wants};
pub use dialogue::Grouping;
pub use error::{AuthenticationError, Cause, Error};
pub use limits::Limits;
pub use misuse::Misuse;
/// The rustls that [`tls::Rustls`] and [`tls::RustlsServer`] are made from, in the version that is used here.
#[cfg(feature = "rustls")]
pub use rustls;

pub use proxy_proto::{Deadline, Hop, Instant, Machine, Phase, Secret};
