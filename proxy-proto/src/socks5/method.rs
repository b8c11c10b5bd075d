//! SOCKS5 methods that this crate does not speak: GSSAPI (RFC 1961), CHAP, a house's own.
//!
//! The rules of this file: the method is a machine like any other; what it says and hears between the method's choice and
//! the request is its own. Wrapping everything after the handshake (RFC 1961, section 4) is not offered.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use crate::Machine;

/// A method of the caller's own (RFC 1928, section 3): its code and the machine that negotiates it.
///
/// The machine's event means that the client is authenticated; its error is told in its words. It begins when the proxy
/// has picked the code and must take no octet behind its last.
pub struct Method {
    pub(super) code: u8,
    pub(super) negotiation: Box<Negotiation>,
}

pub(super) type Negotiation = dyn Machine<Event = (), Error = String> + Send;

impl Method {
    /// The method with this code.
    pub fn new(code: u8, negotiation: impl Machine<Event = (), Error = String> + Send + 'static) -> Self {
        Self { code, negotiation: Box::new(negotiation) }
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Method(0x{:02x})", self.code)
    }
}
