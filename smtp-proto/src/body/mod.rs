//! The body of a message on its way out: line endings, and the dot (RFC 5321 sections 2.3.8, 4.1.1.4 and 4.5.2) or the
//! chunks of BDAT (RFC 3030).
//!
//! The rules of this room: a message is one thing however it is cut; nothing in it can end it early; it ends with CRLF,
//! which is added only where it is missing; memory does not depend on its size.

mod chunks;
mod stuffing;
mod survey;

pub use chunks::Chunks;
pub use stuffing::{DotStuffing, Unstuffing, UnstuffingError};
pub use survey::Survey;

/// What becomes of line endings that are not CRLF, and of NUL.
///
/// SMTP knows one line ending; a bare CR or LF on the wire is how messages are smuggled past checks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum LineEndings {
    /// Each bare CR and each bare LF becomes CRLF. All other octets go as they are, NUL too, although without BINARYMIME it is not
    /// lawful (RFC 6152 section 3): many servers carry it, and [`Survey`] says whether there is one.
    #[default]
    Canonical,
    /// A bare CR or LF is refused as [`Misuse::BareLineEnding`](crate::Misuse::BareLineEnding), a NUL as
    /// [`Misuse::Nul`](crate::Misuse::Nul), whatever the message is declared as. What a message lacks of a CRLF at its end, be it the
    /// LF alone, is added.
    Strict,
    /// All octets stay as they are, and nothing is added at the end. This takes BDAT and BINARYMIME (RFC 3030 section 3); a
    /// server that does not offer them is a [`Misuse::NotOffered`](crate::Misuse::NotOffered) before MAIL.
    Exact,
}
