//! Reports in print: a line for each recipient, for people and their logs.
//!
//! The rules of this file: whatever a server said, one line stays one line, and nothing in it moves a terminal's cursor.

use core::fmt::{self, Write};

use super::report::{Outcome, Recipient, Report};
use crate::reply::Reply;
use crate::text::SafeLine;

impl Outcome {
    /// The word for it: `accepted`, `deferred` (refused with 4yz, worth another try later), `refused`, `unknown` or
    /// `not sent`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Refused(reply) if reply.code().is_transient() => "deferred",
            Self::Refused(_) => "refused",
            Self::Unknown => "unknown",
            Self::NotSent => "not sent",
        }
    }

    /// The reply that decided, where there was one.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Accepted(reply) | Self::Refused(reply) => Some(reply),
            Self::Unknown | Self::NotSent => None,
        }
    }
}

/// The word, and the reply in parentheses: `refused (550 5.1.1 no such user)`.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Accepted(reply) | Self::Refused(reply) => write!(SafeLine(f), " ({reply})"),
            Self::Unknown => f.write_str(" (no reply was heard; sending again may deliver it twice)"),
            Self::NotSent => Ok(()),
        }
    }
}

/// In one line: `bob@example.net: accepted (250 2.0.0 queued)`.
impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(SafeLine(f), "{}: {}", self.path, self.outcome)
    }
}

/// A line for each recipient, in the order of the envelope; then, where the transaction was cut short or could not begin, a
/// line that says why. No line end behind the last.
///
/// ```text
/// bob@example.net: accepted (250 2.0.0 queued as 4A1C)
/// carol@example.net: refused (550 5.1.1 no such user)
/// dave@example.com: deferred (451 4.7.1 greylisted, try again later)
/// ```
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, recipient) in self.recipients.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "\n" })?;
            write!(f, "{recipient}")?;
        }
        if let Some(error) = &self.cut_short {
            f.write_str("\n")?;
            write!(SafeLine(&mut *f), "cut short: {error}")?;
        }
        if let Some(misuse) = &self.misuse {
            f.write_str("\n")?;
            write!(SafeLine(f), "nothing was said: {misuse}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::LineEndings;
    use crate::client::{Envelope, Event, Notify};
    use crate::reply::{Code, ReplyLimits, ReplyReader};
    use crate::{Config, Connection, Grouping, Instant, Route, Security};
    use alloc::string::ToString;
    use alloc::vec::Vec;

    /// As it is read from the wire, whatever is in it.
    fn reply(wire: &[u8]) -> Reply {
        ReplyReader::new(ReplyLimits::default()).receive(&mut &wire[..]).unwrap().unwrap()
    }

    fn recipient(address: &str, outcome: Outcome) -> Recipient {
        let mut report = Envelope::new("", [address]).unwrap().recipients;
        Recipient { outcome, ..report.remove(0) }
    }

    #[test]
    fn each_outcome_has_its_word_and_its_reply() {
        let shown = |outcome: Outcome| outcome.to_string();
        assert_eq!(shown(Outcome::Accepted(reply(b"250 2.0.0 ok\r\n"))), "accepted (250 2.0.0 ok)");
        assert_eq!(shown(Outcome::Refused(reply(b"451 4.7.1 later\r\n"))), "deferred (451 4.7.1 later)");
        assert_eq!(shown(Outcome::Refused(reply(b"550-5.1.1 no\r\n550 5.1.1 sir\r\n"))), "refused (550 5.1.1 no sir)");
        assert_eq!(shown(Outcome::Refused(Reply::bare(Code::new(550).unwrap()))), "refused (550)");
        assert_eq!(shown(Outcome::Unknown).split(' ').next(), Some("unknown"));
        assert_eq!(shown(Outcome::NotSent), "not sent");
    }

    #[test]
    fn nothing_a_server_says_makes_a_second_line_or_moves_the_cursor() {
        let hostile = "250 a\x1b[2J\r\u{85}\u{2028}\u{202e}b\r\n".as_bytes();
        let one = recipient("d\u{f6}rte@example.org", Outcome::Accepted(reply(hostile)));
        let shown = one.to_string();
        assert!(shown.starts_with("d\u{f6}rte@example.org: accepted (250 a"), "{shown:?}");
        assert!(shown.ends_with("b)"), "{shown:?}");
        assert!(!shown.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{202e}')), "{shown:?}");
    }

    /// What became of a message to a@b and c@d, when the server has said this and hung up.
    fn heard(envelope: Envelope, replies: &[&str]) -> Report {
        let now = Instant::EPOCH;
        let config = Config::new("mx.example.org", 25).security(Security::None).grouping(Grouping::OneByOne);
        let mut smtp = Connection::new(config, Route::direct()).unwrap();
        smtp.send(envelope, LineEndings::default()).unwrap();
        for octets in replies.iter().map(|reply| reply.as_bytes()).chain([&b""[..]]) {
            smtp.wants(now).read[..octets.len()].copy_from_slice(octets);
            smtp.received(octets.len());
            while let Ok(Some(event)) = smtp.poll(now) {
                if let Event::Sent(report) = event {
                    return report;
                }
            }
            if let Some(body) = smtp.body(now) {
                body.end();
            }
            loop {
                match smtp.wants(now).write.len() {
                    0 => break,
                    n => smtp.sent(n),
                }
            }
        }
        panic!("nothing became of it");
    }

    #[test]
    fn why_it_was_cut_short_has_a_line_of_its_own() {
        let to_both = || Envelope::new("", ["a@b", "c@d"]).unwrap();
        let begin = ["220 mx\r\n", "250 mx\r\n", "250 ok\r\n", "250 ok\r\n", "550 no\r\n", "354 \x07go\r\n"];
        let shown = heard(to_both(), &begin).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 3, "{shown}");
        assert!(lines[0].starts_with("a@b: unknown ("), "{shown}");
        assert_eq!(lines[1], "c@d: refused (550 no)");
        assert!(lines[2].starts_with("cut short: final dot: the connection was closed; "), "{shown}");
        assert!(!shown.contains('\u{7}'), "{shown:?}");

        let shown = heard(to_both().notify(0, Notify::default()), &begin[..2]).to_string();
        let expected =
            "a@b: not sent\nc@d: not sent\nnothing was said: this needs DSN, which the server does not offer";
        assert_eq!(shown, expected);
    }
}
