//! The envelope: who sends, and to whom (RFC 5321 section 2.3.1).

use alloc::vec::Vec;

use super::extended::BodyKind;
use super::parts::count_domains;
use super::report::Recipient;
use super::require::Require;
use crate::Misuse;
use crate::body::LineEndings;
use crate::command::{ForwardPath, Parameter, ReversePath};
use crate::extension::Extensions;

/// A parameter, with the extension that the server must offer for it, where that is known.
pub(crate) type Given = (Option<&'static str>, Parameter);

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
    /// With room for what the server says to each: they become the report's.
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) declared: Declared,
}

/// What an envelope says beside its paths.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Declared {
    pub(crate) parameters: Vec<Given>,
    pub(crate) size: Option<u64>,
    pub(crate) body: BodyKind,
    pub(crate) smtputf8: bool,
    pub(crate) prdr: bool,
    pub(crate) urls: bool,
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
        let recipients = recipients.into_iter().enumerate().map(|(place, path)| Recipient::new(place, path));
        let recipients: Vec<_> = recipients.collect();
        if recipients.is_empty() {
            return Err(Misuse::NoRecipients);
        }
        Ok(Self { reverse_path, recipients, declared: Declared::default() })
    }

    /// Adds a parameter to MAIL, in raw form. Whether the server offers its extension is the caller's business.
    #[must_use]
    pub fn parameter(mut self, parameter: Parameter) -> Self {
        self.declared.parameters.push((None, parameter));
        self
    }

    /// Adds a parameter to the RCPT of one recipient, counted from 0; beyond the last it does nothing.
    #[must_use]
    pub fn recipient_parameter(mut self, recipient: usize, parameter: Parameter) -> Self {
        if let Some(recipient) = self.recipients.get_mut(recipient) {
            recipient.parameters.push((None, parameter));
        }
        self
    }

    /// The message's size in octets, told to servers that offer SIZE (RFC 1870), so that they can refuse it before it goes. Where
    /// the server has stated a limit that it exceeds, it is refused here.
    #[must_use]
    pub fn size(mut self, octets: u64) -> Self {
        self.declared.size = Some(octets);
        self
    }

    /// How many recipients must be accepted for the message to go out.
    #[must_use]
    pub fn require(mut self, require: Require) -> Self {
        self.declared.require = require;
        self
    }

    /// The message's size, where it was given.
    pub fn octets(&self) -> Option<u64> {
        self.declared.size
    }

    /// Where bounces go.
    pub fn reverse_path(&self) -> &ReversePath {
        &self.reverse_path
    }

    /// The recipients, in order; at least one.
    pub fn recipients(&self) -> impl ExactSizeIterator<Item = &ForwardPath> {
        self.recipients.iter().map(|one| &one.path)
    }

    /// Refuses what cannot be asked of a server that offers only this.
    pub(crate) fn check(&self, offered: &Extensions, endings: LineEndings) -> Result<(), Misuse> {
        let binary = self.is_binary(endings);
        let own = [
            (self.is_international(), "SMTPUTF8"),
            (self.declared.body == BodyKind::EightBitMime && !binary, "8BITMIME"),
            (binary, "BINARYMIME"),
            (self.declared.urls, "BURL"),
            (binary, "CHUNKING"),
        ];
        let own = own.into_iter().filter_map(|(needed, extension)| needed.then_some(extension));
        let each = self.declared.parameters.iter().chain(self.recipients.iter().flat_map(|one| &one.parameters));
        let mut needed = own.chain(each.filter_map(|(extension, _)| *extension));
        if let Some(extension) = needed.find(|extension| !offered.offers(extension)) {
            return Err(Misuse::NotOffered { extension });
        }
        if let (Some(octets), Some(limit)) = (self.declared.size, offered.size_limit()) {
            if octets > limit {
                return Err(Misuse::TooLarge { octets, limit });
            }
        }
        match (offered.limit("RCPTMAX"), offered.limit("RCPTDOMAINMAX")) {
            (Some(limit), _) if self.recipients.len() as u64 > limit => Err(Misuse::TooManyRecipients { limit }),
            (_, Some(limit)) if count_domains(&self.recipients) > limit => Err(Misuse::TooManyDomains { limit }),
            _ => Ok(()),
        }
    }

    /// Whether the message must go by BDAT, and BURL beside it.
    pub(crate) fn is_chunked(&self, endings: LineEndings) -> bool {
        self.declared.urls || self.is_binary(endings)
    }

    /// Whether it is declared as BINARYMIME.
    pub(crate) fn is_binary(&self, endings: LineEndings) -> bool {
        self.declared.body == BodyKind::BinaryMime || endings == LineEndings::Exact
    }

    /// `true` where the transaction needs SMTPUTF8.
    pub(crate) fn is_international(&self) -> bool {
        self.declared.smtputf8
            || self.reverse_path.is_international()
            || self.recipients().any(ForwardPath::is_international)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_needs_somebody_and_a_parameter_stays_with_its_recipient() {
        let from = || ReversePath::new("a@example.org").unwrap();
        assert_eq!(Envelope::from_paths(from(), []).err(), Some(Misuse::NoRecipients));
        assert_eq!(Envelope::new("a@example.org", [""; 0]).err(), Some(Misuse::NoRecipients));
        let to = ["b@example.net", "c@example.net"].map(|path| ForwardPath::new(path).unwrap());
        let parameter = || Parameter::new("X-ODD", Some("1")).unwrap();
        let envelope = Envelope::from_paths(from(), to).unwrap().recipient_parameter(1, parameter());
        let held = |envelope: &Envelope| envelope.recipients.iter().map(|one| one.parameters.len()).collect::<Vec<_>>();
        assert_eq!(held(&envelope), [0, 1]);
        assert_eq!(envelope.recipients[1].parameters[0].1, parameter());
        // Beyond the last there is nobody to give it to.
        assert_eq!(held(&envelope.recipient_parameter(2, parameter())), [0, 1]);
    }
}
