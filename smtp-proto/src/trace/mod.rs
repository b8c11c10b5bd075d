//! What tracing is told of a connection; nothing without the feature.
//!
//! The rules of this room: it only looks on, and what it does is the same for every adapter. It sees what a transcript sees,
//! and events: there is no secret in either. Where nobody listens, nothing is formatted.

#[cfg(not(feature = "tracing"))]
mod silent;
#[cfg(feature = "tracing")]
mod told;

#[cfg(not(feature = "tracing"))]
pub(crate) use silent::{Trace, connecting, resolving, won};
#[cfg(feature = "tracing")]
pub(crate) use told::{Trace, connecting, resolving, won};
