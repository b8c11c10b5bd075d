//! HTTP CONNECT (RFC 9110, section 9.3.6; RFC 9112, section 3.2.3).
//!
//! The rules of this room: a head is collected whole and bounded before it is read, by `httparse`; what is behind it
//! belongs to the tunnel; a password is shown only in the way the caller or the proxy's challenge says.

mod accept;
mod authorization;
mod body;
mod challenge;
mod connect;
#[cfg(feature = "digest")]
mod digest;
mod head;

pub use accept::{Accept, Request};
pub use authorization::{Authorization, Challenge};
pub use connect::{Config, Connect, Header};

/// The most header fields of one head.
const FIELDS: usize = 128;
