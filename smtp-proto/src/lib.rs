//! The SMTP dialogue as pure state machines.

#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod body;
pub mod client;
pub mod command;
pub mod connection;
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
#[cfg(feature = "test-util")]
pub mod test_util;
pub mod tls;

pub use connection::{Accepted, AcceptedError, Config, Connection, Route, Security, Wants};
pub use dialogue::Grouping;
pub use error::{AuthenticationError, Cause, Error};
pub use limits::Limits;
pub use misuse::Misuse;
pub use proxy_proto::{Deadline, Hop, Instant, Machine, Phase, Secret};
