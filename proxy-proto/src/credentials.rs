//! Who the caller is to a proxy.
//!
//! The rules of this file: it holds, it does not check lengths; each protocol has fields of its own size and checks them
//! before its first octet goes out.

use alloc::string::String;

use crate::Secret;
use crate::misuse::{Misuse, check_text};

/// A user name and a password.
///
/// Checked where a machine is made of them: NUL, CR and LF are refused everywhere, and each protocol has its own lengths
/// (RFC 1929: user 1 to 255 octets, password up to 255; RFC 7617: no colon in the user).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// The user name, as UTF-8.
    pub user: String,
    /// The password, in whatever octets the proxy knows it.
    pub password: Secret,
}

impl Credentials {
    /// These two, unchecked until a machine is made of them.
    pub fn new(user: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    /// What holds in every protocol.
    pub(crate) fn check(&self) -> Result<(), Misuse> {
        check_text("user", self.user.as_bytes())?;
        check_text("password", self.password.expose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn debug_shows_the_user_only() {
        let shown = format!("{:?}", Credentials::new("alice", "hunter2"));
        assert!(shown.contains("alice") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn line_ends_and_nul_are_refused_in_both() {
        assert_eq!(Credentials::new("a\r", "b").check(), Err(Misuse::Octet { what: "user", octet: b'\r' }));
        assert_eq!(Credentials::new("a", "b\0").check(), Err(Misuse::Octet { what: "password", octet: 0 }));
        assert_eq!(Credentials::new("", "").check(), Ok(()));
    }
}
