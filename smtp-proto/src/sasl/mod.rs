//! SASL (RFC 4422): one machine a mechanism, the choice among them, and both sides of each.
//!
//! The rules of this room: it knows nothing of SMTP. Base64, the AUTH command and its replies are framed by its owner; here
//! a message is octets.
//!
//! # How a mechanism uses the contract
//!
//! A [`Mechanism`] is a [`Machine`] whose unit is one message, a challenge after base64:
//!
//! - [`transmit`](Machine::transmit) appends the next response and says whether there is one, were it empty: that is how an
//!   empty initial response differs from none. Called before any challenge it gives the initial response, where the client
//!   speaks first.
//! - [`receive`](Machine::receive) is called once a challenge, with all of it, which may be empty, and takes all of it. Where
//!   the AUTH command went without the initial response, the empty challenge that asks for it is received as any other.
//! - [`finish`](Machine::finish) is called when the server reports success (235 in SMTP). It fails where the mechanism is not
//!   content: a server that has not proved itself is a forged one, and its success means nothing.
//!
//! No mechanism has a deadline of its own. Each holds its credentials, and less than [`MAX_MESSAGE`] octets of the peer's.
//!
//! ```
//! use smtp_proto::sasl::{self, Allowed, Channel, Credentials, MechanismName};
//! use smtp_proto::{Instant, Machine};
//!
//! let offered = [MechanismName::Login, MechanismName::Plain]; // of the server's EHLO reply
//! let (credentials, channel) = (Credentials::password("tim", "tanstaaftanstaaf"), Channel::secured());
//! let names = sasl::select(&offered, &Allowed::all(), &credentials, &channel).unwrap();
//! let nonce = [0; 24]; // of your source of randomness
//! let mut mechanism = sasl::start(&names[0], &credentials, &channel, "mail.example", nonce).unwrap();
//!
//! assert_eq!(mechanism.name(), "PLAIN");
//! let mut response = Vec::new();
//! assert!(mechanism.transmit(Instant::EPOCH, &mut response));
//! assert_eq!(response, b"\0tim\0tanstaaftanstaaf");
//! assert_eq!(mechanism.finish(), Ok(()));
//! ```
//!
//! # A mechanism of your own
//!
//! The trait is open, so that GSSAPI, say, can be brought from outside:
//!
//! ```
//! use smtp_proto::sasl::{Error, Event, Mechanism};
//! use smtp_proto::{Instant, Machine};
//!
//! /// Answers one challenge with its octets turned round.
//! struct Mirror {
//!     answer: Option<Vec<u8>>,
//!     done: bool,
//!     failed: Option<Error>,
//! }
//!
//! impl Machine for Mirror {
//!     type Event = Event;
//!     type Error = Error;
//!
//!     fn receive(&mut self, _now: Instant, input: &mut &[u8]) -> Result<Option<Event>, Error> {
//!         if self.done || self.failed.is_some() {
//!             return Err(self.failed.get_or_insert(Error::OutOfOrder).clone());
//!         }
//!         self.answer = Some(std::mem::take(input).iter().rev().copied().collect());
//!         self.done = true;
//!         Ok(None)
//!     }
//!
//!     fn transmit(&mut self, _now: Instant, output: &mut Vec<u8>) -> bool {
//!         self.answer.take().map(|answer| output.extend(answer)).is_some()
//!     }
//!
//!     fn finish(&mut self) -> Result<(), Error> {
//!         if self.done && self.failed.is_none() {
//!             return Ok(());
//!         }
//!         Err(self.failed.get_or_insert(Error::OutOfOrder).clone())
//!     }
//!
//!     fn expire(&mut self, _now: Instant) -> Result<(), Error> {
//!         self.failed.clone().map_or(Ok(()), Err)
//!     }
//! }
//!
//! impl Mechanism for Mirror {
//!     fn name(&self) -> &str {
//!         "X-MIRROR"
//!     }
//! }
//!
//! let mut mechanism: Box<dyn Mechanism> = Box::new(Mirror { answer: None, done: false, failed: None });
//! let mut response = Vec::new();
//! assert!(!mechanism.transmit(Instant::EPOCH, &mut response)); // the server speaks first
//! assert_eq!(mechanism.receive(Instant::EPOCH, &mut &b"abc"[..]), Ok(None));
//! assert!(mechanism.transmit(Instant::EPOCH, &mut response));
//! assert_eq!(response, b"cba");
//! assert_eq!(mechanism.finish(), Ok(()));
//! ```

use alloc::boxed::Box;
#[cfg(any(feature = "digest-md5", feature = "scram"))]
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use proxy_proto::Machine;

mod channel;
#[cfg(feature = "cram-md5")]
mod cram_md5;
mod credentials;
#[cfg(feature = "digest-md5")]
mod digest_md5;
mod error;
mod exchange;
mod external;
#[cfg(test)]
mod hostile;
mod login;
mod name;
#[cfg(feature = "ntlm")]
mod ntlm;
mod oauth;
mod plain;
#[cfg(feature = "scram")]
mod prepare;
mod saslname;
#[cfg(feature = "scram")]
mod scram;
mod select;
pub mod server;

pub use channel::{BindingKind, Channel, ChannelBinding};
pub use credentials::Credentials;
pub use error::{Error, Misuse};
pub use name::{InvalidName, MAX_NAME, MechanismName};
#[cfg(feature = "scram")]
pub use prepare::prepare;
#[cfg(feature = "scram")]
pub use scram::ScramHash;
pub use select::{Allowed, SelectionError, select};

/// The most octets in one message, decoded: what fits into the 12288 octets of base64 that RFC 4954 section 4 asks for.
pub const MAX_MESSAGE: usize = 9216;

/// The fewest iterations that SCRAM may ask for (RFC 7677 section 4): fewer help who steals or forges.
pub const MIN_ITERATIONS: u32 = 4096;

/// The most iterations that SCRAM may ask for: about a second of work, which is all that a hostile server gets.
pub const MAX_ITERATIONS: u32 = 1_000_000;

/// The service in names of DIGEST-MD5 (`smtp/mail.example`), as registered for GSSAPI and SASL.
#[cfg(feature = "digest-md5")]
const SERVICE: &str = "smtp";

/// Random octets, fresh for each exchange, from the caller's source of randomness; there is none in here.
pub type Nonce = [u8; 24];

/// What the server told the client, beside the exchange itself.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Why the server is going to refuse, at most [`MAX_MESSAGE`] octets as it sent them: JSON in OAUTHBEARER and XOAUTH2
    /// (RFC 7628 section 3.2.2), a word of RFC 5802 section 7 in SCRAM. The answer it expects is given by `transmit`; its
    /// refusal follows.
    ServerError(Vec<u8>),
}

/// The client side of a mechanism, ours or brought by the user of this library. See the [module](self) for its contract.
pub trait Mechanism: Machine<Event = Event, Error = Error> + Send {
    /// The name for the AUTH command, in upper case.
    fn name(&self) -> &str;
}

impl fmt::Debug for dyn Mechanism + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mechanism({})", self.name())
    }
}

/// Starts the client side of a mechanism.
///
/// `host` is the server as the user named it, for the mechanisms that bind their proof to it (DIGEST-MD5, OAUTHBEARER,
/// NTLM). Whether a mechanism is permitted on this channel is decided by [`select`], not here.
///
/// # Errors
///
/// The mechanism is not in this build, or cannot carry these credentials (SCRAM wants a password that SASLprep accepts, for
/// one); see [`Misuse`]. The next name of [`select`]'s list may still do.
pub fn start(
    name: &MechanismName,
    credentials: &Credentials,
    channel: &Channel,
    host: &str,
    nonce: Nonce,
) -> Result<Box<dyn Mechanism>, Misuse> {
    use credentials::Proof;
    if !name.is_available() {
        return Err(Misuse::Unavailable(name.clone()));
    }
    if !credentials.drives(name) {
        return Err(Misuse::WrongCredentials(name.clone()));
    }
    let authzid = credentials.authzid.as_deref();
    let _ = (channel, host, nonce); // not every set of features uses them
    Ok(match (name, &credentials.proof) {
        (MechanismName::Plain, Proof::Password { user, password }) => Box::new(plain::start(authzid, user, password)?),
        (MechanismName::Login, Proof::Password { user, password }) => {
            Box::new(login::start(user, password, credentials.login_inline)?)
        }
        (MechanismName::External, _) => Box::new(external::external(authzid.unwrap_or_default())?),
        (MechanismName::Anonymous, Proof::Anonymous { trace }) => Box::new(external::anonymous(trace)?),
        (MechanismName::OAuthBearer, Proof::Token { user, token }) => {
            Box::new(oauth::bearer(authzid.unwrap_or(user), token, host, credentials.port)?)
        }
        (MechanismName::XOAuth2, Proof::Token { user, token }) => {
            Box::new(oauth::xoauth2(authzid.unwrap_or(user), token)?)
        }
        #[cfg(feature = "cram-md5")]
        (MechanismName::CramMd5, Proof::Password { user, password }) => Box::new(cram_md5::start(user, password)?),
        #[cfg(feature = "digest-md5")]
        (MechanismName::DigestMd5, Proof::Password { user, password }) => {
            let realm = credentials.domain.as_deref();
            Box::new(digest_md5::start(user, password, authzid, realm, SERVICE, host, text(nonce))?)
        }
        #[cfg(feature = "ntlm")]
        (MechanismName::Ntlm, _) => {
            let [a, b, c, d, e, f, g, h, ..] = nonce;
            Box::new(ntlm::start(credentials, channel, host, [a, b, c, d, e, f, g, h])?)
        }
        #[cfg(feature = "scram")]
        (_, Proof::Password { user, password }) => {
            Box::new(scram::client::start(name, authzid, user, password, channel, text(nonce))?)
        }
        _ => return Err(Misuse::Unavailable(name.clone())),
    })
}

/// A nonce as text, for the mechanisms that send theirs so: 32 characters of base64, which has neither comma nor quote.
#[cfg(any(feature = "digest-md5", feature = "scram"))]
fn text(nonce: Nonce) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;

    #[test]
    fn start_refuses_what_does_not_fit() {
        let go = |name: &MechanismName, credentials: &Credentials| {
            start(name, credentials, &Channel::secured(), "mail.example", [7; 24]).err()
        };
        let other = MechanismName::Other("GSSAPI".into());
        assert_eq!(go(&other, &Credentials::password("a", "b")), Some(Misuse::Unavailable(other.clone())));
        let plain = MechanismName::Plain;
        assert_eq!(go(&plain, &Credentials::token("a", "b")), Some(Misuse::WrongCredentials(plain.clone())));
        assert_eq!(go(&plain, &Credentials::password("a", "b")), None);
    }

    #[test]
    fn a_started_mechanism_bears_its_name_and_speaks_first_as_said() {
        let channel = Channel::secured().binding(BindingKind::TlsExporter, vec![1; 32]);
        let all = [
            Credentials::password("tim", "secret"),
            Credentials::token("tim", "token"),
            Credentials::external(""),
            Credentials::anonymous("trace"),
        ];
        for name in MechanismName::BY_STRENGTH.iter().filter(|name| name.is_available()) {
            let mut driven = 0;
            for credentials in all.iter().filter(|credentials| credentials.drives(name)) {
                let mut mechanism = start(name, credentials, &channel, "mail.example", [7; 24]).unwrap();
                assert_eq!(mechanism.name(), name.as_str());
                assert!(format!("{mechanism:?}").contains(name.as_str()));
                let mut out = Vec::new();
                assert_eq!(mechanism.transmit(proxy_proto::Instant::EPOCH, &mut out), name.client_first(), "{name}");
                driven += 1;
            }
            assert_eq!(driven, 1, "{name}");
        }
    }

    #[test]
    fn an_overlong_challenge_is_refused_by_every_mechanism() {
        let channel = Channel::secured().binding(BindingKind::TlsExporter, vec![1; 32]);
        let credentials = Credentials::password("tim", "secret");
        for name in MechanismName::BY_STRENGTH.iter().filter(|name| name.is_available() && credentials.drives(name)) {
            let mut mechanism = start(name, &credentials, &channel, "mail.example", [7; 24]).unwrap();
            let long = vec![b'a'; MAX_MESSAGE + 1];
            let error = Err(Error::TooLong { octets: long.len() });
            assert_eq!(mechanism.receive(proxy_proto::Instant::EPOCH, &mut &long[..]), error);
            assert_eq!(mechanism.receive(proxy_proto::Instant::EPOCH, &mut &b""[..]), error);
            assert!(!mechanism.transmit(proxy_proto::Instant::EPOCH, &mut Vec::new()), "{name}");
        }
    }
}
