//! What is remembered of a server from one connection to the next.
//!
//! The rules of this file: it is text, so that it can be stored; it is a hint and never a promise: what is assumed because of it
//! is held against the server's own word as soon as that is heard.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::extension::{Extensions, check_line};
use crate::{Grouping, Misuse};

/// What a server offered, and how eagerly commands could be grouped with it.
///
/// Taken from a [`Connection`](crate::Connection::remembered) that is ready, it can be printed, stored, read again, and handed to the
/// next connection to the same server by the same security. Where the server offers PIPECONNECT (Exim) the next session's
/// first commands then leave before the greeting was read: EHLO in any case; MAIL, RCPT.. and, without CHUNKING, DATA behind it where
/// nobody is to be authenticated and the channel is as it is to be; AUTH where TLS stands and the mechanism is done in one
/// message. Where [`Security::Auto`](crate::Security::Auto) waits who speaks first, nothing does. Octets of a message wait for the answer to EHLO: to a server that does not know the command before them they
/// would be commands.
///
/// ```
/// use smtp_proto::client::Remembered;
///
/// let stored = "grouping flights\nPIPELINING\nPIPECONNECT\n";
/// let remembered: Remembered = stored.parse().unwrap();
/// assert!(remembered.extensions().pipe_connect());
/// assert_eq!(remembered.to_string(), stored);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remembered {
    extensions: Extensions,
    grouping: Grouping,
}

/// Each level and its name.
const LEVELS: [(Grouping, &str); 3] =
    [(Grouping::OneByOne, "one-by-one"), (Grouping::Groups, "groups"), (Grouping::Flights, "flights")];

impl Remembered {
    pub(super) fn new(extensions: Extensions, grouping: Grouping) -> Self {
        Self { extensions, grouping }
    }

    /// What the server offered.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// How eagerly commands could be grouped: lower than was asked for where the server did not bear it.
    pub fn grouping(&self) -> Grouping {
        self.grouping
    }
}

impl fmt::Display for Remembered {
    /// A line for the grouping, then one for each extension.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = LEVELS.iter().find(|(level, _)| *level == self.grouping).map_or("", |(_, name)| name);
        writeln!(f, "grouping {name}")?;
        self.extensions.iter().try_for_each(|one| writeln!(f, "{one}"))
    }
}

impl FromStr for Remembered {
    type Err = Misuse;

    /// Reads what was printed.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where it was not printed by this type.
    fn from_str(text: &str) -> Result<Self, Misuse> {
        let malformed = Misuse::Malformed { what: "remembered offer" };
        let mut lines = text.lines();
        let named = lines.next().and_then(|line| line.strip_prefix("grouping ")).ok_or(malformed.clone())?;
        let (grouping, _) = LEVELS.into_iter().find(|(_, name)| *name == named).ok_or(malformed)?;
        let mut extensions = Extensions::default();
        for line in lines.map(String::from).filter(|line| !line.is_empty()) {
            check_line(&line)?;
            extensions.set(&line)?;
        }
        Ok(Self { extensions, grouping })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::{Code, Reply};
    use alloc::string::ToString;

    #[test]
    fn what_is_stored_is_read_again() {
        let offer = Reply::new(Code::OK, "mx\nsize 10\nAUTH PLAIN LOGIN\nPIPE\u{85}\nX-A b\tc").unwrap();
        let offered = Extensions::from_reply(&offer);
        for (level, name) in LEVELS {
            let text = Remembered::new(offered.clone(), level).to_string();
            assert_eq!(text, ["grouping ", name, "\nSIZE 10\nAUTH PLAIN LOGIN\n\nX-A b c\n"].concat());
            let read: Remembered = text.parse().unwrap();
            assert_eq!((read.grouping(), read.extensions().size_limit()), (level, Some(10)));
            assert_eq!(read.extensions().mechanisms(), ["PLAIN", "LOGIN"]);
        }
        for bad in ["", "SIZE 10", "grouping", "grouping much", "grouping groups\nA\x1b"] {
            assert!(bad.parse::<Remembered>().is_err(), "{bad:?}");
        }
    }
}
