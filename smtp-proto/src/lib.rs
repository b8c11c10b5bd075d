//! The SMTP dialogue as pure state machines.

#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod body;
pub mod command;
pub mod extension;
mod misuse;
pub mod reply;
pub mod sasl;
pub mod server;

pub use misuse::Misuse;
pub use proxy_proto::{Deadline, Instant, Machine, Phase, Secret};
