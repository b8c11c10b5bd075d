//! How long each phase may take.
//!
//! | limit | `rfc5321` (section 4.5.3.2) | `interactive` | counts |
//! |---|---|---|---|
//! | `resolve` | 60 s | 10 s | the lookup of one name |
//! | `connect` | 60 s | 10 s | one address, until TCP is open |
//! | `hop` | 60 s | 15 s | the handshake with one proxy |
//! | `tls` | 60 s | 15 s | one TLS handshake |
//! | `greeting` | 5 min | 10 s | connected, until the whole greeting is read |
//! | `ehlo` | 5 min | 15 s | EHLO, HELO or STARTTLS, until its reply |
//! | `auth` | 5 min | 30 s | each step of AUTH, until its reply |
//! | `mail` | 5 min | 30 s | MAIL or RSET, until its reply |
//! | `rcpt` | 5 min | 30 s | each RCPT, until its reply |
//! | `data` | 2 min | 30 s | DATA, until its 354 |
//! | `block` | 3 min | 60 s | the transport takes nothing while there is something to write; or a BDAT chunk, until its reply |
//! | `message` | 10 min | 5 min | the final dot, until its reply |
//! | `command` | 5 min | 60 s | another command, until its reply |
//! | `quit` | 5 min | 5 s | QUIT, until its reply |
//! | `operation` | none | none | becoming ready, from the first lookup or dial on, all attempts together; or one message; as a whole |
//!
//! A reply's limit counts from the moment its command was put out, or from the reply before it where commands went out
//! in a group; octets that do not complete a reply do not prolong it.

use core::time::Duration;

use crate::Misuse;

/// The limits of a session. See the [module](self) for what each counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the table at the head of the module says what each field means")]
pub struct Limits {
    pub resolve: Duration,
    pub connect: Duration,
    pub hop: Duration,
    pub tls: Duration,
    pub greeting: Duration,
    pub ehlo: Duration,
    pub auth: Duration,
    pub mail: Duration,
    pub rcpt: Duration,
    pub data: Duration,
    pub block: Duration,
    pub message: Duration,
    pub command: Duration,
    pub quit: Duration,
    pub operation: Option<Duration>,
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A method for each field, of its name, as in `Limits::interactive().greeting(Duration::from_secs(4))`.
macro_rules! setters {
    ($($name:ident)*) => {$(
        #[doc = concat!("The same, with another `", stringify!($name), "` limit. See the [module](self) for what it counts.")]
        #[must_use]
        pub const fn $name(mut self, limit: Duration) -> Self {
            self.$name = limit;
            self
        }
    )*};
}

impl Default for Limits {
    fn default() -> Self {
        Self::interactive()
    }
}

impl Limits {
    /// No limit may be longer: a day is as good as none, and sums stay countable.
    pub const LONGEST: Duration = seconds(24 * 60 * 60);

    /// What RFC 5321 section 4.5.3.2 asks of a client that relays mail in the background.
    pub const fn rfc5321() -> Self {
        Self {
            resolve: seconds(60),
            connect: seconds(60),
            hop: seconds(60),
            tls: seconds(60),
            greeting: seconds(300),
            ehlo: seconds(300),
            auth: seconds(300),
            mail: seconds(300),
            rcpt: seconds(300),
            data: seconds(120),
            block: seconds(180),
            message: seconds(600),
            command: seconds(300),
            quit: seconds(300),
            operation: None,
        }
    }

    /// For a person who waits. Only the wait after the final dot stays long: giving up there leaves a message in doubt.
    pub const fn interactive() -> Self {
        Self {
            resolve: seconds(10),
            connect: seconds(10),
            hop: seconds(15),
            tls: seconds(15),
            greeting: seconds(10),
            ehlo: seconds(15),
            auth: seconds(30),
            mail: seconds(30),
            rcpt: seconds(30),
            data: seconds(30),
            block: seconds(60),
            message: seconds(300),
            command: seconds(60),
            quit: seconds(5),
            operation: None,
        }
    }

    setters!(resolve connect hop tls greeting ehlo auth mail rcpt data block message command quit);

    /// One bound for each operation as a whole.
    #[must_use]
    pub const fn operation(mut self, whole: Duration) -> Self {
        self.operation = Some(whole);
        self
    }

    /// Refuses durations that cannot be meant.
    ///
    /// # Errors
    ///
    /// [`Misuse::Duration`] for a limit of zero, or one of more than [`Limits::LONGEST`].
    pub fn check(&self) -> Result<(), Misuse> {
        let named = [
            ("resolve", self.resolve),
            ("connect", self.connect),
            ("hop", self.hop),
            ("TLS handshake", self.tls),
            ("greeting", self.greeting),
            ("EHLO", self.ehlo),
            ("AUTH", self.auth),
            ("MAIL", self.mail),
            ("RCPT", self.rcpt),
            ("DATA", self.data),
            ("data block", self.block),
            ("final dot", self.message),
            ("command", self.command),
            ("QUIT", self.quit),
            ("operation", self.operation.unwrap_or(Self::LONGEST)),
        ];
        match named.into_iter().find(|(_, limit)| limit.is_zero() || *limit > Self::LONGEST) {
            Some((what, _)) => Err(Misuse::Duration { what }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_set_by_its_name() {
        let set = Limits::rfc5321().greeting(seconds(4)).quit(seconds(1)).operation(seconds(60));
        assert_eq!((set.greeting, set.quit, set.operation), (seconds(4), seconds(1), Some(seconds(60))));
        let rest = Limits { greeting: seconds(300), quit: seconds(300), operation: None, ..set };
        assert_eq!(rest, Limits::rfc5321());
    }

    #[test]
    fn absurd_limits_are_refused() {
        assert_eq!(Limits::rfc5321().check(), Ok(()));
        assert_eq!(Limits::interactive().check(), Ok(()));
        let none = Limits { rcpt: Duration::ZERO, ..Limits::default() };
        assert_eq!(none.check(), Err(Misuse::Duration { what: "RCPT" }));
        let absurd = Limits::default().operation(Duration::MAX);
        assert_eq!(absurd.check(), Err(Misuse::Duration { what: "operation" }));
    }
}
