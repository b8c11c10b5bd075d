//! How many recipients a message needs.

/// How many recipients must be accepted for the message to go out.
///
/// [`All`](Self::All) and [`AtLeast`](Self::AtLeast) wait for the replies to RCPT before anything of the message leaves, which
/// costs a flight where commands could be grouped. Where too few are accepted the transaction is given up with RSET, and those
/// who were accepted are [not sent](super::Outcome::NotSent).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Require {
    /// One is enough: RFC 5321 section 3.3.
    #[default]
    Any,
    /// Every one.
    All,
    /// So many; every one where there are not so many.
    AtLeast(usize),
}

impl Require {
    /// How many of `recipients`.
    pub(super) fn of(self, recipients: usize) -> usize {
        match self {
            Self::Any => 1,
            Self::All => recipients,
            Self::AtLeast(number) => number.clamp(1, recipients.max(1)),
        }
    }
}
