//! The SMTP dialogue as pure state machines.

#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod sasl;

pub use proxy_proto::{Deadline, Instant, Machine, Phase, Secret};
