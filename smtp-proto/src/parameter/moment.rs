//! A date and a time of day, as RFC 3339 writes them.
//!
//! The rules of this file: a moment that exists is on the calendar; it is kept as it was written.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use super::{digits, malformed};
use crate::Misuse;

/// A date and a time of day, such as `2030-01-01T00:00:00Z` or `2014-04-03T23:01:00.5+02:00` (RFC 3339 section 5.6).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Moment {
    text: String,
    /// Since 1970, in UTC.
    seconds: i64,
}

impl Moment {
    /// A moment, as RFC 3339 writes it.
    ///
    /// # Errors
    ///
    /// [`Misuse::Malformed`] where that is none, has no offset from UTC, is longer than 64 octets, or is not on the calendar.
    pub fn new(text: &str) -> Result<Self, Misuse> {
        match seconds(text) {
            Some(seconds) if text.len() <= 64 => Ok(Self { text: text.to_string(), seconds }),
            _ => malformed("date and time"),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whole seconds since the beginning of 1970 in UTC, leap seconds not counted; a fraction is dropped.
    pub fn unix_seconds(&self) -> i64 {
        self.seconds
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Moment {
    type Err = Misuse;

    fn from_str(text: &str) -> Result<Self, Misuse> {
        Self::new(text)
    }
}

fn seconds(text: &str) -> Option<i64> {
    let (head, rest) = text.split_at_checked(19)?;
    let shape = head.bytes().map(|octet| if octet.is_ascii_digit() { b'0' } else { octet.to_ascii_uppercase() });
    if !shape.eq(*b"0000-00-00T00:00:00") {
        return None;
    }
    let field = |at: usize, length: usize| digits(&head[at..at + length], length).and_then(|n| i64::try_from(n).ok());
    let (year, month, day) = (field(0, 4)?, field(5, 2)?, field(8, 2)?);
    let (hour, minute, second) = (field(11, 2)?, field(14, 2)?, field(17, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    // The sixtieth second is a leap second.
    if !(1..=12).contains(&month) || !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            (zone.len() < fraction.len()).then_some(zone)?
        }
        None => rest,
    };
    let offset = match zone.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let hours = digits(zone.get(1..3)?, 2).filter(|hours| *hours < 24)?;
            let minutes = digits(zone.get(4..6)?, 2).filter(|minutes| *minutes < 60)?;
            let ahead = (hours * 3600 + minutes * 60) as i64;
            if *sign == b'+' { ahead } else { -ahead }
        }
        _ => return None,
    };
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

/// In the Gregorian calendar. A year is counted from March, so that the leap day is its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::super::is_read_and_written;
    use super::*;

    #[test]
    fn moments_are_those_of_rfc_3339() {
        // The examples of its section 5.8, and what is not on the calendar.
        is_read_and_written::<Moment>(
            &[
                "1985-04-12T23:20:50.52Z",
                "1996-12-19T16:39:57-08:00",
                "1990-12-31T23:59:60Z",
                "1937-01-01T12:00:27.87+00:20",
                "2024-02-29t00:00:00z",
            ],
            &[
                "",
                "2030-01-01",
                "2030-01-01T00:00:00",
                "2030-01-01 00:00:00Z",
                "2030-01-01T00:00:00.Z",
                "2030-13-01T00:00:00Z",
                "2030-00-01T00:00:00Z",
                "2030-01-32T00:00:00Z",
                "2023-02-29T00:00:00Z",
                "1900-02-29T00:00:00Z",
                "2030-04-31T00:00:00Z",
                "2030-01-01T24:00:00Z",
                "2030-01-01T00:60:00Z",
                "2030-01-01T00:00:61Z",
                "2030-01-01T00:00:00+24:00",
                "2030-01-01T00:00:00+00:60",
                "2030-01-01T00:00:00+0000",
                "2030-01-01T00:00:00+\u{e9}0:00",
                "\u{e9}",
            ],
        );
        let long = ["2030-01-01T00:00:00.", &"0".repeat(44), "Z"].concat();
        assert!(Moment::new(&long).is_err());
    }

    #[test]
    fn seconds_are_counted_from_1970() {
        // What date(1) says.
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1996-12-19T16:39:57-08:00", 851_042_397),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2030-01-01T00:00:00+01:00", 1_893_452_400),
            ("1937-01-01T12:00:27.87+00:20", -1_041_337_173),
        ] {
            assert_eq!(Moment::new(text).unwrap().unix_seconds(), seconds, "{text}");
        }
    }

    #[test]
    fn a_moment_is_kept_as_it_was_written() {
        for text in ["2030-01-01T00:00:00z", "2014-04-03T23:01:00.50+02:00"] {
            let moment = Moment::new(text).unwrap();
            assert_eq!((moment.as_str(), &*alloc::format!("{moment}")), (text, text));
        }
    }
}
