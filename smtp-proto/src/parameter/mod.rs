//! What extensions add to MAIL and RCPT, in typed form, for both sides of the dialogue.
//!
//! The rules of this room: a type for each parameter, with one reader (`FromStr`) and one writer (`Display`) of its value,
//! which client and server share; a value that exists is lawful; keywords and words of values are compared without case.
//!
//! | parameter | of | extension | type |
//! |---|---|---|---|
//! | `SIZE` | MAIL | SIZE (RFC 1870) | octets |
//! | `BODY` | MAIL | 8BITMIME (RFC 6152), BINARYMIME (RFC 3030) | [`BodyKind`] |
//! | `SMTPUTF8` | MAIL | SMTPUTF8 (RFC 6531) | there or not |
//! | `REQUIRETLS` | MAIL | REQUIRETLS (RFC 8689) | there or not |
//! | `PRDR` | MAIL | PRDR (draft-hall-prdr-00) | there or not |
//! | `RET` | MAIL | DSN (RFC 3461) | [`Ret`] |
//! | `ENVID` | MAIL | DSN | [`EnvelopeId`] |
//! | `BY` | MAIL | DELIVERBY (RFC 2852) | [`By`] |
//! | `MT-PRIORITY` | MAIL | MT-PRIORITY (RFC 6710) | [`Priority`] |
//! | `HOLDFOR`, `HOLDUNTIL` | MAIL | FUTURERELEASE (RFC 4865) | [`Hold`] |
//! | `AUTH` | MAIL | AUTH (RFC 4954) | [`Submitter`] |
//! | `NOTIFY` | RCPT | DSN | [`Notify`] |
//! | `ORCPT` | RCPT | DSN, RFC 6533 | [`OriginalRecipient`] |
//! | `RRVS` | RCPT | RRVS (RFC 7293) | [`Rrvs`] |

mod dsn;
mod given;
mod mail;
mod moment;
mod when;

pub use dsn::{EnvelopeId, Notify, OriginalRecipient, Ret};
pub use given::{MailParameters, RcptParameters};
pub(crate) use given::{extension_of_mail, extension_of_rcpt};
pub use mail::{BodyKind, Priority, Submitter};
pub use moment::Moment;
pub use when::{By, DeliverBy, Hold, Rrvs};

use crate::Misuse;

/// The value is not of its RFC's form.
fn malformed<T>(what: &'static str) -> Result<T, Misuse> {
    Err(Misuse::Malformed { what })
}

/// So many digits at most, and no sign.
fn digits(text: &str, most: usize) -> Option<u64> {
    let lawful = !text.is_empty() && text.len() <= most && text.bytes().all(|octet| octet.is_ascii_digit());
    // Twenty digits may be more than can be counted, and are then more than anything else, too.
    lawful.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Reading and writing agree, and what is lawful is read in any case.
#[cfg(test)]
fn is_read_and_written<T>(lawful: &[&str], unlawful: &[&str])
where
    T: core::str::FromStr + core::fmt::Display + PartialEq + core::fmt::Debug,
{
    use alloc::string::ToString;
    for text in lawful {
        let Ok(value) = text.parse::<T>() else { panic!("{text:?} is lawful") };
        assert_eq!(value.to_string(), *text);
    }
    for text in unlawful {
        assert!(text.parse::<T>().is_err(), "{text:?} is not lawful");
    }
}
