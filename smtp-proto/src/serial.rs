//! What serde writes of outcomes, and of what is kept for the next time.
//!
//! The rules of this file: the names are those of the `smtp` command's `--json`, so that one program reads both. Texts a server
//! or a system wrote are made safe to print, in one line. What is read again (codes, paths, verdicts) passes the same checks as
//! where a program makes it; what was written for people is not read again. There is no secret in any of it.

use alloc::string::{String, ToString};
use core::fmt::{self, Write};
use core::marker::PhantomData;
use core::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::client::{Outcome, Recipient, Report, TransactionId};
use crate::command::{ForwardPath, ReversePath};
use crate::dial::{Mode, Verdict};
use crate::reply::{Code, EnhancedStatus, Reply};
use crate::text::SafeLine;
use crate::{Error, Misuse};

/// A text in one line, without control characters.
fn line(text: impl fmt::Display) -> String {
    let mut safe = String::new();
    // A string takes whatever comes.
    let _ = write!(SafeLine(&mut safe), "{text}");
    safe
}

/// `{ "code": 550, "enhanced": "5.1.1", "text": "no such user" }`; `enhanced` is null where the reply begins with none. The text is
/// in one line, without the enhanced status codes.
impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        #[serde(rename = "Reply")]
        struct Written {
            code: Code,
            enhanced: Option<EnhancedStatus>,
            text: String,
        }
        Written { code: self.code(), enhanced: self.enhanced(), text: line(self.message()) }.serialize(serializer)
    }
}

/// The [word](Outcome::name) for it, with a hyphen in `not-sent`; then code, enhanced status and text of the reply that decided, null
/// where there was none.
impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Decided::of(None, self).serialize(serializer)
    }
}

/// `{ "address": "bob@example.net", "result": "accepted", "code": 250, "enhanced": "2.0.0", "text": "queued" }`: the address, and what
/// its outcome is written as.
impl Serialize for Recipient {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Decided::of(Some(&self.path), &self.outcome).serialize(serializer)
    }
}

#[derive(serde::Serialize)]
#[serde(rename = "Outcome")]
struct Decided<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a ForwardPath>,
    result: &'static str,
    code: Option<Code>,
    enhanced: Option<EnhancedStatus>,
    text: Option<String>,
}

impl<'a> Decided<'a> {
    fn of(address: Option<&'a ForwardPath>, outcome: &Outcome) -> Self {
        let result = if *outcome == Outcome::NotSent { "not-sent" } else { outcome.name() };
        let reply = outcome.reply();
        Self {
            address,
            result,
            code: reply.map(Reply::code),
            enhanced: reply.and_then(Reply::enhanced),
            text: reply.map(|reply| line(reply.message())),
        }
    }
}

/// An object of the report's fields; the reverse-path is called `from`, and is empty where it is null. `cut_short` and `misuse` are as
/// [`Error`] and [`Misuse`] are written, or null.
///
/// It is not read again. A reply's lines are one here, an error is a text, and what the envelope said of each recipient, which
/// [`Report::remaining`] needs, is left out: what came back would pass for a report and be less than one. A program that keeps outcomes
/// reads the fields it wants.
///
/// ```
/// # fn shown(report: &smtp_proto::client::Report) -> serde_json::Result<()> {
/// println!("{}", serde_json::to_string(report)?);
/// # Ok(())
/// # }
/// ```
///
/// ```json
/// { "transaction": 1, "from": "alice@example.org", "octets": 1234, "flights": 1, "commands": 3,
///   "reply": { "code": 250, "enhanced": "2.0.0", "text": "queued" }, "answered": "final dot",
///   "recipients": [ { "address": "bob@example.net", "result": "accepted", "code": 250, "enhanced": "2.0.0", "text": "queued" } ],
///   "cut_short": null, "misuse": null }
/// ```
impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        #[serde(rename = "Report")]
        struct Written<'a> {
            transaction: TransactionId,
            from: &'a ReversePath,
            octets: u64,
            flights: u64,
            commands: u64,
            reply: Option<&'a Reply>,
            answered: Option<&'static str>,
            recipients: &'a [Recipient],
            cut_short: Option<&'a Error>,
            misuse: Option<&'a Misuse>,
        }
        Written {
            transaction: self.transaction,
            from: &self.reverse_path,
            octets: self.octets,
            flights: self.flights,
            commands: self.commands,
            reply: self.reply.as_ref(),
            answered: self.answered.map(|phase| phase.name()),
            recipients: &self.recipients,
            cut_short: self.cut_short.as_ref(),
            misuse: self.misuse.as_ref(),
        }
        .serialize(serializer)
    }
}

/// `{ "phase": "greeting", "hop": null, "transient": true, "text": ".." }`; a hop is counted from 1.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        #[serde(rename = "Error")]
        struct Written {
            phase: &'static str,
            hop: Option<usize>,
            transient: bool,
            text: String,
        }
        let hop = self.hop.as_ref().map(proxy_proto::Hop::number);
        Written { phase: self.phase.name(), hop, transient: self.is_transient(), text: line(self) }
            .serialize(serializer)
    }
}

/// Its text.
impl Serialize for Misuse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&line(self))
    }
}

/// Its number.
impl Serialize for TransactionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

/// Its number, such as 250.
impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.number())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u16::deserialize(deserializer)?;
        let expected = &"a reply code from 200 to 599";
        Self::new(number).ok_or_else(|| de::Error::invalid_value(Unexpected::Unsigned(number.into()), expected))
    }
}

/// As it is read and written elsewhere: the text of `Display`, which [`FromStr`] reads.
struct Text<T>(&'static str, PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! text {
    ($($type:ident: $example:literal;)*) => {$(
        #[doc = concat!("A string, such as `", $example, "`.")]
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.to_string())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text(concat!("a string such as ", $example), PhantomData))
            }
        }
    )*};
}

text! {
    EnhancedStatus: "5.1.1";
    ReversePath: "alice@example.org";
    ForwardPath: "bob@example.net";
    Verdict: "192.0.2.1:465/implicit";
    Mode: "starttls";
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, from_value, json, to_value};

    fn reply(code: u16, text: &str) -> Reply {
        Reply::new(Code::new(code).unwrap(), text).unwrap()
    }

    #[test]
    fn a_reply_is_code_status_and_a_safe_text() {
        let written = to_value(reply(550, "5.1.1 no\n5.1.1 such\tuser\u{202e}")).unwrap();
        assert_eq!(written, json!({ "code": 550, "enhanced": "5.1.1", "text": "no such\u{fffd}user\u{fffd}" }));
        assert_eq!(to_value(reply(250, "")).unwrap(), json!({ "code": 250, "enhanced": null, "text": "" }));
    }

    #[test]
    fn every_outcome_has_the_same_fields() {
        let none = json!({ "result": "not-sent", "code": null, "enhanced": null, "text": null });
        assert_eq!(to_value(Outcome::NotSent).unwrap(), none);
        assert_eq!(to_value(Outcome::Unknown).unwrap()["result"], "unknown");
        let deferred = json!({ "result": "deferred", "code": 451, "enhanced": "4.7.1", "text": "later" });
        assert_eq!(to_value(Outcome::Refused(reply(451, "4.7.1 later"))).unwrap(), deferred);
        assert_eq!(to_value(Outcome::Refused(reply(550, "no"))).unwrap()["result"], "refused");
        assert_eq!(to_value(Outcome::Accepted(reply(250, "yes"))).unwrap()["result"], "accepted");
    }

    #[test]
    fn what_is_kept_for_the_next_time_is_read_again() {
        fn again<T: Serialize + for<'de> Deserialize<'de>>(value: Value) {
            assert_eq!(to_value(from_value::<T>(value.clone()).unwrap()).unwrap(), value);
        }
        again::<Verdict>(json!("[2001:db8::1]:587/starttls"));
        again::<Mode>(json!("implicit"));
        again::<Code>(json!(250));
        again::<EnhancedStatus>(json!("5.1.1"));
        again::<ReversePath>(json!(""));
        again::<ForwardPath>(json!("\"a b\"@example.org"));
    }

    #[test]
    fn what_is_read_passes_the_checks() {
        assert!(from_value::<ForwardPath>(json!("a@b>\r\nDATA")).is_err());
        assert!(from_value::<ForwardPath>(json!("")).is_err());
        assert!(from_value::<Verdict>(json!("192.0.2.1/none")).is_err());
        assert!(from_value::<Mode>(json!("tls")).is_err());
        let refused = from_value::<Code>(json!(999)).unwrap_err().to_string();
        assert!(refused.contains("200 to 599"), "{refused}");
        for text in ["5.1.1 no", "5.1.1 ", "5.1", "3.1.1", ""] {
            assert!(from_value::<EnhancedStatus>(json!(text)).is_err(), "{text:?}");
        }
    }
}
