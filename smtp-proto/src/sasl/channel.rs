//! What a mechanism is told of the connection below it.
//!
//! The rules of this file: no TLS in it, only the facts that a mechanism may depend on.

use alloc::vec::Vec;

/// Facts about the connection that the exchange runs over.
///
/// The client uses the first of its bindings; the server accepts any of its own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Channel {
    /// Whether nobody between can read it: TLS with a verified certificate, a Unix socket, a loopback.
    pub secure: bool,
    /// Names of this very channel, the preferred first; empty where there is none.
    pub bindings: Vec<ChannelBinding>,
    /// Whether the server's list of mechanisms, as seen at this end, had a `-PLUS` one in it.
    ///
    /// A client that could bind and sees no `-PLUS` says so (gs2 flag `y`, RFC 5802 section 6); a server that did offer it
    /// then knows that the list was tampered with. A client that saw it and was told not to use it must say `n` instead.
    pub plus_offered: bool,
}

impl Channel {
    /// A channel that anybody between can read.
    pub const fn clear() -> Self {
        Self { secure: false, bindings: Vec::new(), plus_offered: false }
    }

    /// A channel that nobody between can read, without binding data.
    pub const fn secured() -> Self {
        Self { secure: true, bindings: Vec::new(), plus_offered: false }
    }

    /// Adds a name of the channel, behind those that are there.
    #[must_use]
    pub fn binding(mut self, kind: BindingKind, data: impl Into<Vec<u8>>) -> Self {
        self.bindings.push(ChannelBinding { kind, data: data.into() });
        self
    }

    /// Notes that the server offered a `-PLUS` mechanism, or not.
    #[must_use]
    pub const fn plus_offered(mut self, offered: bool) -> Self {
        self.plus_offered = offered;
        self
    }
}

/// A name of one channel that both its ends can compute and nobody between can forge (RFC 5056).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelBinding {
    /// Which way of naming.
    pub kind: BindingKind,
    /// The name itself, as octets.
    pub data: Vec<u8>,
}

/// The ways to name a TLS channel that are registered with IANA.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum BindingKind {
    /// `tls-exporter` (RFC 9266): keying material exported from TLS 1.3, 32 octets.
    TlsExporter,
    /// `tls-server-end-point` (RFC 5929 section 4): a digest of the server's certificate.
    TlsServerEndPoint,
    /// `tls-unique` (RFC 5929 section 3): the first Finished message; TLS 1.2 and older only.
    TlsUnique,
}

impl BindingKind {
    /// The registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TlsExporter => "tls-exporter",
            Self::TlsServerEndPoint => "tls-server-end-point",
            Self::TlsUnique => "tls-unique",
        }
    }
}
