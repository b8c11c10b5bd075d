//! What a dialer orders, and what it is told.

use alloc::string::String;
use core::net::SocketAddr;
use core::time::Duration;

use proxy_proto::Instant;

use super::place::Candidate;
use super::policy::Policy;
use super::verdict::Mode;
use crate::{Config, Connection, Misuse, Route};

/// The number of an attempt; never used twice by one dialer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Id(pub(super) u32);

/// How far a connection has come, as [`Connection::reached`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reached {
    /// The transport is open; there may be proxies yet to be asked.
    Connected,
    /// What is heard next is the server's.
    Server,
    /// It has greeted, in clear; and so many commands were said to it since, each of them a sign that it gets on.
    Greeted(u64),
    /// TLS with it stands; and so many commands were said to it so far.
    Secured(u64),
    /// It is ready.
    Ready(Mode),
}

/// What is to be done. Nothing is waited for: the answer may come at any time.
#[derive(Debug)]
#[non_exhaustive]
pub enum Order {
    /// Look up the addresses of a name.
    Resolve {
        /// The name.
        name: String,
        /// The port that will be asked for, for resolvers that want one; 0 where it is not known.
        port: u16,
    },
    /// Open a connection.
    Open(Open),
    /// Close a connection, or stop opening it; nothing needs to be told of it any more.
    Close(Id),
}

/// A connection to be opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct Open {
    /// Its number.
    pub id: Id,
    /// Where to connect to: the server, or the nearest proxy.
    pub to: SocketAddr,
    /// How to go on from there. An adapter may still set what it learns by connecting, such as the name for EHLO.
    pub config: Config,
    /// The proxies on the way.
    pub route: Route,
    /// When the operation of becoming ready began; what [`Connection::began`] is to be told.
    pub began: Instant,
}

impl Open {
    /// The connection, to be driven over the transport.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the configuration cannot be said or meant.
    pub fn connection(self) -> Result<Connection, Misuse> {
        let mut connection = Connection::new(self.config, self.route)?;
        connection.began(self.began);
        Ok(connection)
    }
}

/// An attempt under way.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: Id,
    pub(super) what: Candidate,
    pub(super) opened: Instant,
    pub(super) connected: Option<Instant>,
    /// When the server itself was reached, through whatever proxies.
    pub(super) arrived: Option<Instant>,
    /// When it was last heard of.
    pub(super) sign: Instant,
    pub(super) reached: Option<Reached>,
    /// Commands left before the greeting was read.
    pub(super) spoke_early: bool,
}

impl Live {
    /// How long the way to the server is, as far as it is known; a second at most.
    pub(super) fn way(&self) -> Duration {
        let far = self.arrived.or(self.connected).unwrap_or(self.opened);
        far.since(self.opened).min(Policy::LONGEST / 2)
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.reached, Some(Reached::Ready(_)))
    }
}
