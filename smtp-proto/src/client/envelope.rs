//! The envelope: who sends, and to whom (RFC 5321 section 2.3.1).

use alloc::vec::Vec;

use super::require::Require;
use crate::Misuse;
use crate::command::{ForwardPath, Parameter, ReversePath};

/// A message's envelope, with the parameters of MAIL and RCPT in raw form.
///
/// ```
/// use smtp_proto::client::Envelope;
///
/// # fn main() -> Result<(), smtp_proto::Misuse> {
/// let envelope = Envelope::new("alice@example.org", ["bob@example.net", "carol@example.net"])?;
/// assert_eq!(envelope.recipients().len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    pub(crate) reverse_path: ReversePath,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) recipients: Vec<(ForwardPath, Vec<Parameter>)>,
    pub(crate) size: Option<u64>,
    pub(crate) require: Require,
}

impl Envelope {
    /// An envelope from addresses without angle brackets; an empty `from` is the null path.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where an address cannot stand in an envelope, or there is no recipient.
    pub fn new<T: AsRef<str>>(from: &str, to: impl IntoIterator<Item = T>) -> Result<Self, Misuse> {
        let recipients = to.into_iter().map(|to| ForwardPath::new(to.as_ref())).collect::<Result<Vec<_>, _>>()?;
        Self::from_paths(ReversePath::new(from)?, recipients)
    }

    /// An envelope from paths.
    ///
    /// # Errors
    ///
    /// [`Misuse::NoRecipients`] where there is no recipient.
    pub fn from_paths(
        reverse_path: ReversePath,
        recipients: impl IntoIterator<Item = ForwardPath>,
    ) -> Result<Self, Misuse> {
        let recipients: Vec<_> = recipients.into_iter().map(|path| (path, Vec::new())).collect();
        if recipients.is_empty() {
            return Err(Misuse::NoRecipients);
        }
        Ok(Self { reverse_path, parameters: Vec::new(), recipients, size: None, require: Require::Any })
    }

    /// Adds a parameter to MAIL, in raw form. Whether the server offers its extension is the caller's business.
    #[must_use]
    pub fn parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Adds a parameter to the RCPT of one recipient, counted from 0; beyond the last it does nothing.
    #[must_use]
    pub fn recipient_parameter(mut self, recipient: usize, parameter: Parameter) -> Self {
        if let Some((_, parameters)) = self.recipients.get_mut(recipient) {
            parameters.push(parameter);
        }
        self
    }

    /// The message's size in octets, told to servers that offer SIZE (RFC 1870), so that they can refuse it before it goes.
    #[must_use]
    pub fn size(mut self, octets: u64) -> Self {
        self.size = Some(octets);
        self
    }

    /// How many recipients must be accepted for the message to go out.
    #[must_use]
    pub fn require(mut self, require: Require) -> Self {
        self.require = require;
        self
    }

    /// Where bounces go.
    pub fn reverse_path(&self) -> &ReversePath {
        &self.reverse_path
    }

    /// The recipients, in order; at least one.
    pub fn recipients(&self) -> impl ExactSizeIterator<Item = &ForwardPath> {
        self.recipients.iter().map(|(path, _)| path)
    }

    /// `true` where an address needs SMTPUTF8.
    pub(crate) fn is_international(&self) -> bool {
        self.reverse_path.is_international() || self.recipients().any(ForwardPath::is_international)
    }
}
