//! TLS as a filter: octets in, octets out, no stream.
//!
//! The rules of this room: what a TLS library must do is said here, as [`Session`]; one library is named, in one private
//! room. So another can be put in its place, and a fuzzer can put a transparent filter there.

mod certificate;
#[cfg(feature = "rustls")]
mod der;
#[cfg(all(feature = "rustls", feature = "scram"))]
mod end_point;
#[cfg(feature = "rustls")]
mod rustls;
mod version;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use self::certificate::CertificateError;
#[cfg(feature = "rustls")]
pub use self::rustls::{Roots, Rustls, RustlsServer, ServerSettings, Settings};
pub use self::version::{Version, VersionError};

use crate::Misuse;
use crate::sasl::{Channel, ChannelBinding};

/// Begins sessions as a client; shared by all connections that use the same settings.
pub trait Connector: Send + Sync {
    /// A session with the server of this name, a domain or an IP address, which its certificate must prove.
    ///
    /// # Errors
    ///
    /// [`Misuse::Tls`] where the name or the settings cannot be used.
    fn connect(&self, name: &str) -> Result<Box<dyn Session>, Misuse>;
}

/// Begins sessions as a server.
pub trait Acceptor: Send + Sync {
    /// A session with whoever has connected.
    ///
    /// # Errors
    ///
    /// [`Misuse::Tls`] where the settings cannot be used.
    fn accept(&self) -> Result<Box<dyn Session>, Misuse>;
}

/// One TLS session, without a stream.
pub trait Session: Send {
    /// Takes ciphertext from the front of `input`, and appends what it says to `plaintext`; stops taking once that holds
    /// `room` octets or more. Behind the peer's close alert it takes and discards.
    ///
    /// # Errors
    ///
    /// The peer's fault; the same error for ever.
    fn open(&mut self, input: &mut &[u8], plaintext: &mut Vec<u8>, room: usize) -> Result<(), Error>;

    /// Takes all of `plaintext`, and appends it as ciphertext, with whatever the session itself has to say; during the
    /// handshake only the latter, and `plaintext` must be empty then.
    ///
    /// # Errors
    ///
    /// The session is broken.
    fn seal(&mut self, plaintext: &[u8], output: &mut Vec<u8>) -> Result<(), Error>;

    /// The same of several pieces, one right behind the other; where a record has room for more than one it should hold them.
    ///
    /// # Errors
    ///
    /// The session is broken.
    fn seal_all(&mut self, pieces: &[&[u8]], output: &mut Vec<u8>) -> Result<(), Error> {
        pieces.iter().try_for_each(|piece| self.seal(piece, output))
    }

    /// Says goodbye: the close alert, by the next [`seal`](Self::seal).
    fn close(&mut self);

    /// `true` until the handshake is done.
    fn is_handshaking(&self) -> bool;

    /// `true` once the peer has said goodbye: nothing can follow.
    fn is_closed_by_peer(&self) -> bool;

    /// What was agreed; meaningful once the handshake is done.
    fn facts(&self) -> Facts;
}

/// What a TLS handshake agreed on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Facts {
    /// `"1.2"` or `"1.3"`.
    pub version: String,
    /// The cipher suite's name as IANA registers it.
    pub cipher: String,
    /// The protocol agreed by ALPN.
    pub alpn: Option<Vec<u8>>,
    /// The peer's certificates in DER, its own first.
    pub peer_certificates: Vec<Vec<u8>>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// What SASL can bind itself to (RFC 5056).
    pub bindings: Vec<ChannelBinding>,
}

impl Facts {
    /// The channel as SASL sees it.
    pub fn channel(&self) -> Channel {
        Channel { bindings: self.bindings.clone(), ..Channel::secured() }
    }
}

/// Why there is no TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The peer's certificate is not accepted.
    Certificate(CertificateError),
    /// The handshake or a record failed; the reason.
    Failed(String),
    /// The peer answered in something else than TLS; the first octet of it.
    NotTls(u8),
    /// The caller's own settings stand in the way.
    Settings(Misuse),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(why) => write!(f, "the certificate is not accepted: {why}"),
            Self::Failed(why) => write!(f, "TLS failed: {why}"),
            Self::NotTls(b'2' | b'4' | b'5') => {
                f.write_str("the server answers in clear text, not in TLS: use STARTTLS on this port")
            }
            Self::NotTls(octet) => write!(f, "the answer is not TLS; it begins with \"{}\"", octet.escape_ascii()),
            Self::Settings(misuse) => write!(f, "{misuse}"),
        }
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_failure_says_what_the_peer_did_and_what_to_do() {
        // What a server that speaks SMTP in clear begins with (RFC 5321 section 4.2).
        for first in [b'2', b'4', b'5'] {
            let text = Error::NotTls(first).to_string();
            assert!(text.contains("clear text") && text.contains("STARTTLS"), "{text}");
        }
        assert!(Error::NotTls(b'H').to_string().contains("\"H\""));
        assert!(Error::NotTls(0).to_string().contains("\"\\x00\""));
        assert!(Error::Failed("no cipher in common".into()).to_string().contains("no cipher in common"));
        let misuse = Misuse::Tls { why: "no roots".into() };
        assert!(Error::Settings(misuse).to_string().contains("no roots"));
    }
}
