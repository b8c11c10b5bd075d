//! Times: until when a message is to be delivered, kept back, or has been its recipient's.
//!
//! The rules of this file: those of the room; whether a moment has passed is for who has a clock.

use core::fmt;
use core::str::FromStr;

use super::{Moment, digits, malformed};
use crate::Misuse;

/// What becomes of a message that was not delivered in time (RFC 2852 section 4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeliverBy {
    /// It comes back.
    Return,
    /// It goes on, and the sender is told.
    Notify,
}

/// Within which time a message is to be delivered (BY, RFC 2852 section 4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct By {
    seconds: i64,
    or: DeliverBy,
    trace: bool,
}

impl By {
    /// Within so many seconds, or so many seconds ago; `trace` asks each server on the way to report.
    ///
    /// # Errors
    ///
    /// [`Misuse::Malformed`] where the number has more than nine digits, or what is late already should come back.
    pub fn new(seconds: i64, or: DeliverBy, trace: bool) -> Result<Self, Misuse> {
        if seconds.unsigned_abs() > 999_999_999 || (or == DeliverBy::Return && seconds <= 0) {
            return malformed("BY");
        }
        Ok(Self { seconds, or, trace })
    }

    /// The seconds that are left; none, or less, where it is late.
    pub fn seconds(&self) -> i64 {
        self.seconds
    }

    /// What becomes of it then.
    pub fn or(&self) -> DeliverBy {
        self.or
    }

    /// Whether each server on the way is to report.
    pub fn trace(&self) -> bool {
        self.trace
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.or == DeliverBy::Return { "R" } else { "N" };
        write!(f, "{};{mode}{}", self.seconds, if self.trace { "T" } else { "" })
    }
}

impl FromStr for By {
    type Err = Misuse;

    fn from_str(text: &str) -> Result<Self, Misuse> {
        let Some((time, mode)) = text.split_once(';') else { return malformed("BY") };
        let (late, number) = match time.strip_prefix('-') {
            Some(number) => (true, number),
            None => (false, time.strip_prefix('+').unwrap_or(time)),
        };
        let Some(seconds) = digits(number, 9).and_then(|seconds| i64::try_from(seconds).ok()) else {
            return malformed("BY");
        };
        let (or, trace) = match mode {
            "R" | "r" => (DeliverBy::Return, false),
            "N" | "n" => (DeliverBy::Notify, false),
            _ if mode.eq_ignore_ascii_case("RT") => (DeliverBy::Return, true),
            _ if mode.eq_ignore_ascii_case("NT") => (DeliverBy::Notify, true),
            _ => return malformed("BY"),
        };
        Self::new(if late { -seconds } else { seconds }, or, trace)
    }
}

/// How long the server is to keep a message before it goes on (HOLDFOR, HOLDUNTIL; RFC 4865).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Hold {
    /// For so many seconds, from 1 to 999,999,999.
    For(u32),
    /// Until then.
    Until(Moment),
}

impl Hold {
    /// For so many seconds.
    ///
    /// # Errors
    ///
    /// [`Misuse::Malformed`] for zero, or more than nine digits.
    pub fn seconds(seconds: u32) -> Result<Self, Misuse> {
        if (1..=999_999_999).contains(&seconds) { Ok(Self::For(seconds)) } else { malformed("HOLDFOR") }
    }

    pub(crate) fn keyword(&self) -> &'static str {
        if matches!(self, Self::For(_)) { "HOLDFOR" } else { "HOLDUNTIL" }
    }

    /// Reads the value of HOLDFOR.
    pub(super) fn read_seconds(text: &str) -> Result<Self, Misuse> {
        let number = digits(text, 9).filter(|_| !text.starts_with('0'));
        number.and_then(|seconds| u32::try_from(seconds).ok()).map_or(malformed("HOLDFOR"), Self::seconds)
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(seconds) => write!(f, "{seconds}"),
            Self::Until(moment) => write!(f, "{moment}"),
        }
    }
}

/// Since when a recipient must have been the same person (RRVS, RFC 7293).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Rrvs {
    /// Since then.
    pub since: Moment,
    /// What is to be done where the next server does not know RRVS (section 5.2): `true`, the message goes on without it;
    /// `false`, it is refused; `None` where nothing was said.
    pub or_continue: Option<bool>,
}

impl fmt::Display for Rrvs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.or_continue {
            None => "",
            Some(true) => ";C",
            Some(false) => ";R",
        };
        write!(f, "{}{action}", self.since)
    }
}

impl FromStr for Rrvs {
    type Err = Misuse;

    fn from_str(text: &str) -> Result<Self, Misuse> {
        let (since, or_continue) = match text.split_once(';') {
            None => (text, None),
            Some((since, "C" | "c")) => (since, Some(true)),
            Some((since, "R" | "r")) => (since, Some(false)),
            Some(_) => return malformed("RRVS"),
        };
        Ok(Self { since: Moment::new(since)?, or_continue })
    }
}

#[cfg(test)]
mod tests {
    use super::super::is_read_and_written;
    use super::*;

    #[test]
    fn values_are_those_of_their_rfcs() {
        is_read_and_written::<By>(
            &["120;R", "1;RT", "-5;N", "0;N", "-999999999;NT"],
            &["", "120", "120;", "0;R", "-1;R", "1234567890;N", "5;X", "5;T", "5;RTT", ";R", "--5;N", "-+5;N"],
        );
        assert_eq!("+120;nt".parse(), By::new(120, DeliverBy::Notify, true));
        for text in ["", "0", "01", "-1", "1234567890", "1x"] {
            assert!(Hold::read_seconds(text).is_err(), "{text}");
        }
        assert_eq!(Hold::read_seconds("999999999"), Ok(Hold::For(999_999_999)));
        is_read_and_written::<Rrvs>(
            &["2014-04-03T23:01:00Z", "2014-04-03T23:01:00Z;C", "2014-04-03T23:01:00Z;R"],
            &["", "2014-04-03", "2014-04-03T23:01:00Z;", "2014-04-03T23:01:00Z;X"],
        );
    }

    #[test]
    fn a_time_is_taken_apart_as_rfc_2852_writes_it() {
        // Section 4: seconds, then R or N, then T.
        for (text, seconds, or, trace) in [
            ("120;R", 120, DeliverBy::Return, false),
            ("1;RT", 1, DeliverBy::Return, true),
            ("-5;N", -5, DeliverBy::Notify, false),
            ("+0;NT", 0, DeliverBy::Notify, true),
        ] {
            let by: By = text.parse().unwrap();
            assert_eq!((by.seconds(), by.or(), by.trace()), (seconds, or, trace), "{text}");
        }
    }
}
