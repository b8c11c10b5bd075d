//! What extensions add to MAIL and RCPT, in typed form.
//!
//! The rules of this file: each parameter knows the EHLO keyword that the server must offer for it, so that none is said to a
//! server that would not understand it; one given twice counts as it was given last; values are checked when they are given.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::envelope::{Envelope, Given};
use crate::Misuse;
use crate::command::{ForwardPath, Parameter};
pub use crate::parameter::{BodyKind, DeliverBy, Notify, Ret};
use crate::parameter::{By, EnvelopeId, Hold, Moment, OriginalRecipient, Priority, Rrvs, Submitter};

impl Envelope {
    /// What the message is made of. Where it is more than lines of ASCII the server must offer what that takes.
    #[must_use]
    pub fn body(mut self, kind: BodyKind) -> Self {
        self.declared.body = kind;
        self
    }

    /// The message's header section is internationalized (SMTPUTF8, RFC 6531). Addresses that are so ask for it by themselves.
    #[must_use]
    pub fn smtputf8(mut self) -> Self {
        self.declared.smtputf8 = true;
        self
    }

    /// How much of the message comes back with a report (DSN).
    #[must_use]
    pub fn ret(self, ret: Ret) -> Self {
        self.with("DSN", "RET", Some(&ret.to_string()))
    }

    /// A name for this message in reports (DSN, RFC 3461 section 4.4).
    ///
    /// # Errors
    ///
    /// [`Misuse`] where it is empty, longer than 100 octets as xtext, or not printable ASCII.
    pub fn envid(self, id: &str) -> Result<Self, Misuse> {
        let id = EnvelopeId::new(id)?;
        Ok(self.with("DSN", "ENVID", Some(&id.to_string())))
    }

    /// When the fate of one recipient, counted from 0, is to be reported (DSN); beyond the last it does nothing.
    #[must_use]
    pub fn notify(self, recipient: usize, notify: Notify) -> Self {
        self.with_recipient(recipient, "DSN", "NOTIFY", &notify.to_string())
    }

    /// The address that one recipient, counted from 0, had at first, such as `"rfc822"` and `"bob@example.net"` (DSN, RFC 3461
    /// section 4.2).
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the kind of address is not a word, or all is longer than 500 octets.
    pub fn orcpt(self, recipient: usize, kind: &str, address: &str) -> Result<Self, Misuse> {
        let original = OriginalRecipient::new(kind, address)?;
        Ok(self.with_recipient(recipient, "DSN", "ORCPT", &original.to_string()))
    }

    /// The server is to answer for each recipient once it has the message, where there are several (PRDR, draft-hall-prdr-00; Exim).
    /// Who is refused then has an [outcome](super::Outcome) of his own.
    #[must_use]
    pub fn prdr(mut self) -> Self {
        self.declared.prdr = true;
        self.with("PRDR", "PRDR", None)
    }

    /// Parts of the message, or all of it, are fetched by the server from URLs that are named with
    /// [`Body::url`](super::Body::url) (BURL, RFC 4468). It goes by BDAT then. A server that
    /// offers BURL without CHUNKING takes one URL, with [`Body::end_with_url`](super::Body::end_with_url), and nothing else.
    #[must_use]
    pub fn burl(mut self) -> Self {
        self.declared.urls = true;
        self
    }

    /// The message may only be passed on under TLS (REQUIRETLS, RFC 8689).
    #[must_use]
    pub fn require_tls(self) -> Self {
        self.with("REQUIRETLS", "REQUIRETLS", None)
    }

    /// The message is to be delivered within so many seconds, or was to be so many seconds ago (DELIVERBY, RFC 2852); `trace`
    /// asks each server on the way to report.
    ///
    /// # Errors
    ///
    /// [`Misuse::Malformed`] where the number has more than nine digits, or what is late already should come back.
    pub fn deliver_by(self, seconds: i64, or: DeliverBy, trace: bool) -> Result<Self, Misuse> {
        let by = By::new(seconds, or, trace)?;
        Ok(self.with("DELIVERBY", "BY", Some(&by.to_string())))
    }

    /// How urgent the message is, from -9 to 9 (MT-PRIORITY, RFC 6710).
    ///
    /// # Errors
    ///
    /// [`Misuse::Malformed`] for any other number.
    pub fn mt_priority(self, priority: i8) -> Result<Self, Misuse> {
        let priority = Priority::new(priority)?;
        Ok(self.with("MT-PRIORITY", "MT-PRIORITY", Some(&priority.to_string())))
    }

    /// The server is to keep the message for so many seconds before it goes on (FUTURERELEASE, RFC 4865).
    ///
    /// # Errors
    ///
    /// [`Misuse::Malformed`] for zero, or more than nine digits.
    pub fn hold_for(self, seconds: u32) -> Result<Self, Misuse> {
        let hold = Hold::seconds(seconds)?;
        let other = self.without_parameter("HOLDUNTIL");
        Ok(other.with("FUTURERELEASE", hold.keyword(), Some(&hold.to_string())))
    }

    /// The server is to keep the message until then, such as `"2030-01-01T00:00:00Z"` (FUTURERELEASE, RFC 4865).
    ///
    /// # Errors
    ///
    /// [`Misuse`] where that is no date and time as RFC 3339 writes it.
    pub fn hold_until(self, moment: &str) -> Result<Self, Misuse> {
        let hold = Hold::Until(Moment::new(moment)?);
        let other = self.without_parameter("HOLDFOR");
        Ok(other.with("FUTURERELEASE", hold.keyword(), Some(&hold.to_string())))
    }

    /// One recipient, counted from 0, must have been the same person since then (RRVS, RFC 7293).
    ///
    /// # Errors
    ///
    /// [`Misuse`] where that is no date and time as RFC 3339 writes it.
    pub fn rrvs(self, recipient: usize, since: &str) -> Result<Self, Misuse> {
        let rrvs = Rrvs { since: Moment::new(since)?, or_continue: None };
        Ok(self.with_recipient(recipient, "RRVS", "RRVS", &rrvs.to_string()))
    }

    /// Who submitted the message at first, as far as the client vouches for it; `None` where it does not know (AUTH, RFC 4954
    /// section 5).
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the address cannot stand in an envelope.
    pub fn auth(self, submitter: Option<&str>) -> Result<Self, Misuse> {
        let submitter = match submitter {
            None => Submitter::Unknown,
            Some(mailbox) => Submitter::Mailbox(ForwardPath::new(mailbox)?),
        };
        Ok(self.with("AUTH", "AUTH", Some(&submitter.to_string())))
    }

    fn with(mut self, extension: &'static str, keyword: &str, value: Option<&str>) -> Self {
        put(&mut self.declared.parameters, extension, Parameter::known(keyword, value));
        self
    }

    /// Takes back what cannot stand beside another (RFC 4865 allows one of the two).
    fn without_parameter(mut self, keyword: &str) -> Self {
        self.declared.parameters.retain(|(by, one)| by.is_none() || one.keyword() != keyword);
        self
    }

    fn with_recipient(mut self, recipient: usize, extension: &'static str, keyword: &str, value: &str) -> Self {
        if let Some(recipient) = self.recipients.get_mut(recipient) {
            put(&mut recipient.parameters, extension, Parameter::known(keyword, Some(value)));
        }
        self
    }
}

fn put(parameters: &mut Vec<Given>, extension: &'static str, parameter: Parameter) {
    parameters.retain(|(by, one)| by.is_none() || one.keyword() != parameter.keyword());
    parameters.push((Some(extension), parameter));
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::extension::Extensions;
    use crate::reply::{Code, Reply};

    fn envelope() -> Envelope {
        Envelope::new("a@example.org", ["b@example.net", "c@example.net"]).unwrap()
    }

    fn said(envelope: &Envelope) -> String {
        let mut wire = Vec::new();
        let recipients = envelope.recipients.iter().flat_map(|one| &one.parameters);
        for (_, parameter) in envelope.declared.parameters.iter().chain(recipients) {
            parameter.encode(&mut wire);
        }
        String::from_utf8(wire).unwrap()
    }

    #[test]
    fn parameters_are_written_as_their_rfcs_say() {
        let both = Notify { success: true, delay: true, ..Notify::default() };
        let cases: [(Result<Envelope, Misuse>, &str); 18] = [
            (Ok(envelope().ret(Ret::Full).ret(Ret::Headers)), " RET=HDRS"),
            (envelope().envid("one+two=3"), " ENVID=one+2Btwo+3D3"),
            (Ok(envelope().notify(1, both)), " NOTIFY=SUCCESS,DELAY"),
            (Ok(envelope().notify(0, Notify::default())), " NOTIFY=NEVER"),
            (envelope().orcpt(0, "rfc822", "b+x@example.net"), " ORCPT=rfc822;b+2Bx@example.net"),
            (Ok(envelope().require_tls()), " REQUIRETLS"),
            (Ok(envelope().prdr()), " PRDR"),
            (envelope().deliver_by(120, DeliverBy::Return, true), " BY=120;RT"),
            (envelope().deliver_by(-5, DeliverBy::Notify, false), " BY=-5;N"),
            (envelope().mt_priority(-9), " MT-PRIORITY=-9"),
            (envelope().hold_for(86400), " HOLDFOR=86400"),
            (envelope().hold_until("2030-01-01T00:00:00Z"), " HOLDUNTIL=2030-01-01T00:00:00Z"),
            (
                envelope().hold_for(86400).and_then(|one| one.hold_until("2030-01-01T00:00:00Z")),
                " HOLDUNTIL=2030-01-01T00:00:00Z",
            ),
            (envelope().hold_until("2030-01-01T00:00:00Z").and_then(|one| one.hold_for(7)), " HOLDFOR=7"),
            (envelope().rrvs(0, "2014-04-03T23:01:00.5+02:00"), " RRVS=2014-04-03T23:01:00.5+02:00"),
            (envelope().auth(Some("e+mc2@example.com")), " AUTH=e+2Bmc2@example.com"),
            (envelope().auth(None), " AUTH=<>"),
            (Ok(envelope().notify(7, both)), ""),
        ];
        for (envelope, expected) in cases {
            let envelope = envelope.unwrap();
            assert_eq!(said(&envelope), expected);
            let silent = Extensions::default();
            let refused = matches!(envelope.check(&silent, Default::default()), Err(Misuse::NotOffered { .. }));
            assert_eq!(refused, !expected.is_empty());
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(envelope().envid("a\r\nb").is_err() && envelope().envid("").is_err());
        assert!(envelope().envid(&"x".repeat(101)).is_err());
        assert!(envelope().orcpt(0, "rfc 822", "a@b").is_err() && envelope().orcpt(0, "rfc822", "").is_err());
        assert!(envelope().deliver_by(0, DeliverBy::Return, false).is_err());
        assert!(envelope().deliver_by(1 << 40, DeliverBy::Notify, false).is_err());
        assert!(envelope().mt_priority(10).is_err() && envelope().hold_for(0).is_err());
        for moment in
            ["", "2030-01-01", "2030-01-01T00:00:00", "2030-01-01 00:00:00Z", "2030-01-01T00:00:00.Z", "\u{e9}"]
        {
            assert!(envelope().hold_until(moment).is_err() && envelope().rrvs(0, moment).is_err(), "{moment}");
        }
        assert!(envelope().auth(Some("a@b\n")).is_err());
    }

    #[test]
    fn what_the_server_must_offer() {
        use crate::body::LineEndings;
        let offers = |text: &str| Extensions::from_reply(&Reply::new(Code::OK, ["mx\n", text].concat()).unwrap());
        let check = |envelope: Envelope, text: &str, endings| envelope.check(&offers(text), endings);
        let not = |extension| Err(Misuse::NotOffered { extension });
        let (lines, exact) = (LineEndings::Canonical, LineEndings::Exact);
        assert_eq!(check(envelope().body(BodyKind::EightBitMime), "SIZE", lines), not("8BITMIME"));
        assert_eq!(check(envelope().body(BodyKind::EightBitMime), "8BITMIME", lines), Ok(()));
        assert_eq!(check(envelope().body(BodyKind::BinaryMime), "CHUNKING", lines), not("BINARYMIME"));
        assert_eq!(check(envelope(), "BINARYMIME", exact), not("CHUNKING"));
        assert_eq!(check(envelope(), "BINARYMIME\nCHUNKING", exact), Ok(()));
        assert_eq!(check(envelope().smtputf8(), "8BITMIME", lines), not("SMTPUTF8"));
        assert_eq!(check(envelope().burl(), "CHUNKING", lines), not("BURL"));
        assert_eq!(check(envelope().burl(), "BURL imap", lines), Ok(()));
        assert_eq!(check(envelope().size(11), "SIZE 10", lines), Err(Misuse::TooLarge { octets: 11, limit: 10 }));
        assert_eq!(check(envelope().size(10), "SIZE 10", lines), Ok(()));
        assert_eq!(check(envelope().size(11), "SIZE 0", lines), Ok(()));
        let many = Err(Misuse::TooManyRecipients { limit: 1 });
        assert_eq!(check(envelope(), "LIMITS RCPTMAX=1 MAILMAX=9", lines), many);
        // What is not known here is the caller's business.
        let raw = Parameter::new("X-ODD", None).unwrap();
        assert_eq!(check(envelope().parameter(raw), "SIZE", lines), Ok(()));
    }
}
