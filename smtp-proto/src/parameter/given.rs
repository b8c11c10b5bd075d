//! All that one MAIL or one RCPT was given.
//!
//! The rules of this file: which keyword belongs to which field is said here and nowhere else; a keyword of nobody's is not
//! taken, and what to make of that is the caller's business.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{
    BodyKind, By, EnvelopeId, Hold, Moment, Notify, OriginalRecipient, Priority, Ret, Rrvs, Submitter, digits,
    malformed,
};
use crate::Misuse;
use crate::command::Parameter;

/// The parameters of a MAIL.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct MailParameters {
    /// SIZE: the message's octets, as the client counts them (RFC 1870).
    pub size: Option<u64>,
    /// BODY: what the message is made of.
    pub body: Option<BodyKind>,
    /// SMTPUTF8: addresses and header section may be internationalized (RFC 6531).
    pub smtputf8: bool,
    /// REQUIRETLS: the message may only be passed on under TLS (RFC 8689).
    pub require_tls: bool,
    /// PRDR: the client wants to hear of each recipient once the message is there (draft-hall-prdr-00).
    pub prdr: bool,
    /// RET: how much of it comes back with a report.
    pub ret: Option<Ret>,
    /// ENVID: its name in reports.
    pub envid: Option<EnvelopeId>,
    /// BY: within which time it is to be delivered.
    pub by: Option<By>,
    /// MT-PRIORITY: how urgent it is.
    pub priority: Option<Priority>,
    /// HOLDFOR or HOLDUNTIL: how long it is to be kept back.
    pub hold: Option<Hold>,
    /// AUTH: who submitted it.
    pub auth: Option<Submitter>,
    /// What belongs to extensions of the server's owner.
    pub other: Vec<Parameter>,
}

/// The parameters of a RCPT.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RcptParameters {
    /// NOTIFY: when the recipient's fate is to be reported. Where it is not said, when delivery has failed.
    pub notify: Option<Notify>,
    /// ORCPT: the address that the recipient had at first.
    pub orcpt: Option<OriginalRecipient>,
    /// RRVS: since when the recipient must have been the same person.
    pub rrvs: Option<Rrvs>,
    /// What belongs to extensions of the server's owner.
    pub other: Vec<Parameter>,
}

/// The extension that a parameter of MAIL belongs to; BODY may belong to two.
pub(crate) fn extension_of_mail(keyword: &str) -> Option<&'static str> {
    Some(match keyword {
        "SIZE" => "SIZE",
        "BODY" => "8BITMIME",
        "SMTPUTF8" => "SMTPUTF8",
        "REQUIRETLS" => "REQUIRETLS",
        "PRDR" => "PRDR",
        "RET" | "ENVID" => "DSN",
        "BY" => "DELIVERBY",
        "MT-PRIORITY" => "MT-PRIORITY",
        "HOLDFOR" | "HOLDUNTIL" => "FUTURERELEASE",
        "AUTH" => "AUTH",
        _ => return None,
    })
}

/// The extension that a parameter of RCPT belongs to.
pub(crate) fn extension_of_rcpt(keyword: &str) -> Option<&'static str> {
    Some(match keyword {
        "NOTIFY" | "ORCPT" => "DSN",
        "RRVS" => "RRVS",
        _ => return None,
    })
}

fn read<T: core::str::FromStr<Err = Misuse>>(value: Option<&str>) -> Result<Option<T>, Misuse> {
    value.map_or(malformed("parameter"), str::parse).map(Some)
}

fn flag(value: Option<&str>) -> Result<bool, Misuse> {
    if value.is_none() { Ok(true) } else { malformed("parameter") }
}

impl MailParameters {
    /// Takes one, that was not given before.
    pub(crate) fn take(&mut self, one: &Parameter) -> Result<(), Misuse> {
        let value = one.value();
        match one.keyword() {
            "SIZE" => {
                self.size = value.and_then(|value| digits(value, 20));
                self.size.map_or(malformed("SIZE"), |_| Ok(()))?;
            }
            "BODY" => self.body = read(value)?,
            "SMTPUTF8" => self.smtputf8 = flag(value)?,
            "REQUIRETLS" => self.require_tls = flag(value)?,
            "PRDR" => self.prdr = flag(value)?,
            "RET" => self.ret = read(value)?,
            "ENVID" => self.envid = read(value)?,
            "BY" => self.by = read(value)?,
            "MT-PRIORITY" => self.priority = read(value)?,
            // RFC 4865 section 4: one of the two.
            "HOLDFOR" | "HOLDUNTIL" if self.hold.is_some() => return malformed("HOLDFOR"),
            "HOLDFOR" => self.hold = Some(Hold::read_seconds(value.unwrap_or_default())?),
            "HOLDUNTIL" => self.hold = Some(Hold::Until(Moment::new(value.unwrap_or_default())?)),
            "AUTH" => self.auth = read(value)?,
            _ => self.other.push(one.clone()),
        }
        Ok(())
    }

    /// The same in raw form, to be passed on or shown.
    pub fn raw(&self) -> Vec<Parameter> {
        let flag = |keyword, is: bool| is.then(|| Parameter::known(keyword, None));
        let mut raw = Vec::new();
        raw.extend(text("SIZE", &self.size));
        raw.extend(text("BODY", &self.body));
        raw.extend(flag("SMTPUTF8", self.smtputf8));
        raw.extend(flag("REQUIRETLS", self.require_tls));
        raw.extend(flag("PRDR", self.prdr));
        raw.extend(text("RET", &self.ret));
        raw.extend(text("ENVID", &self.envid));
        raw.extend(text("BY", &self.by));
        raw.extend(text("MT-PRIORITY", &self.priority));
        raw.extend(self.hold.as_ref().and_then(|hold| text(hold.keyword(), &self.hold)));
        raw.extend(text("AUTH", &self.auth));
        raw.extend(self.other.iter().cloned());
        raw
    }
}

impl RcptParameters {
    /// Takes one, that was not given before.
    pub(crate) fn take(&mut self, one: &Parameter) -> Result<(), Misuse> {
        match one.keyword() {
            "NOTIFY" => self.notify = read(one.value())?,
            "ORCPT" => self.orcpt = read(one.value())?,
            "RRVS" => self.rrvs = read(one.value())?,
            _ => self.other.push(one.clone()),
        }
        Ok(())
    }

    /// The same in raw form, to be passed on or shown.
    pub fn raw(&self) -> Vec<Parameter> {
        let mut raw = Vec::new();
        raw.extend(text("NOTIFY", &self.notify));
        raw.extend(text("ORCPT", &self.orcpt));
        raw.extend(text("RRVS", &self.rrvs));
        raw.extend(self.other.iter().cloned());
        raw
    }
}

fn text(keyword: &str, value: &Option<impl ToString>) -> Option<Parameter> {
    value.as_ref().map(|value| -> String { value.to_string() }).map(|value| Parameter::known(keyword, Some(&value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_told_again() {
        let given = [
            "SIZE=5",
            "BODY=8BITMIME",
            "SMTPUTF8",
            "REQUIRETLS",
            "PRDR",
            "RET=HDRS",
            "ENVID=x+2B",
            "BY=120;RT",
            "MT-PRIORITY=-3",
            "HOLDFOR=60",
            "AUTH=<>",
            "XODD=1",
        ];
        let split = |text: &str| match text.split_once('=') {
            Some((keyword, value)) => Parameter::new(keyword, Some(value)).unwrap(),
            None => Parameter::new(text, None).unwrap(),
        };
        let raw: Vec<_> = given.iter().map(|one| split(one)).collect();
        let mut mail = MailParameters::default();
        raw.iter().try_for_each(|one| mail.take(one)).unwrap();
        assert_eq!(mail.raw(), raw);
        assert!(mail.take(&split("HOLDUNTIL=2030-01-01T00:00:00Z")).is_err(), "one of the two");

        let raw: Vec<_> = ["NOTIFY=DELAY", "ORCPT=rfc822;a@b", "RRVS=2014-04-03T23:01:00Z;R", "XODD"].map(split).into();
        let mut rcpt = RcptParameters::default();
        raw.iter().try_for_each(|one| rcpt.take(one)).unwrap();
        assert_eq!(rcpt.raw(), raw);
    }

    #[test]
    fn a_value_is_there_where_it_must_be_and_nowhere_else() {
        for keyword in ["SIZE", "BODY", "RET", "ENVID", "BY", "MT-PRIORITY", "HOLDFOR", "HOLDUNTIL", "AUTH"] {
            assert!(extension_of_mail(keyword).is_some() && extension_of_rcpt(keyword).is_none());
            assert!(MailParameters::default().take(&Parameter::new(keyword, None).unwrap()).is_err(), "{keyword}");
        }
        for keyword in ["SMTPUTF8", "REQUIRETLS", "PRDR"] {
            assert!(MailParameters::default().take(&Parameter::new(keyword, Some("1")).unwrap()).is_err(), "{keyword}");
        }
        for keyword in ["NOTIFY", "ORCPT", "RRVS"] {
            assert!(extension_of_rcpt(keyword).is_some() && extension_of_mail(keyword).is_none());
            assert!(RcptParameters::default().take(&Parameter::new(keyword, None).unwrap()).is_err(), "{keyword}");
        }
    }
}
