//! The bodies of the fuzz targets: each takes any octets, and panics where a law is broken.
//!
//! The rules of this room: an input is *control* (its length in the first octet, then so many octets) and *data* behind it:
//! the control says which machine, how it is cut and what its owner does; the data is what the peer says, 0xFE between
//! turns. So a mutation of one leaves the other alone, and a corpus can be written by hand. They run on stable, too.
//!
//! One file a target, or two that share what they know; control octets are added at the end, so that old inputs mean what they
//! meant.

mod body;
mod client;
mod command;
mod connection;
mod control;
mod dial;
mod http_head;
mod pair;
mod replay;
mod reply;
mod sasl;
mod server;
mod tunnel;

pub use body::body;
pub use client::client;
pub use command::command;
pub use connection::connection;
pub use dial::dial;
pub use http_head::http_head;
pub use pair::pair;
pub use replay::replay;
pub use reply::{ehlo, reply};
pub use sasl::sasl;
pub use server::server;
pub use tunnel::tunnel;

/// The body of a target.
pub type Target = fn(&[u8]);

/// Every target: its name, and its body.
pub const TARGETS: [(&str, Target); 13] = [
    ("reply", reply),
    ("ehlo", ehlo),
    ("client", client),
    ("server", server),
    ("connection", connection),
    ("pair", pair),
    ("tunnel", tunnel),
    ("http_head", http_head),
    ("sasl", sasl),
    ("body", body),
    ("command", command),
    ("dial", dial),
    ("replay", replay),
];
