//! The contract of the house, and the machines that open a way through proxies.
//!
//! Everything here is *sans-IO*: a machine consumes and emits byte buffers and is told the time. It opens no socket and
//! reads no clock. [`Machine`] is the contract that every machine of this workspace obeys.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod machine;
mod secret;

pub use machine::{Deadline, Instant, Machine, Phase};
pub use secret::Secret;
