//! What the crates of this workspace are held to, in parts that tests, benchmarks and fuzz targets share.

#![forbid(unsafe_code)]

pub mod dialogue;
pub mod dice;
pub mod fuzz;
pub mod laws;
pub mod many;
pub mod network;
pub mod oracle;
pub mod script;
pub mod sim;
pub mod stream;
pub mod tls;
pub mod transparent;
pub mod wire;

/// What the documents show compiles, with every adapter.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../README.md")]
    struct Readme;

    #[doc = include_str!("../../docs/COMING_FROM.md")]
    struct ComingFrom;
}
