//! Commands: what the client says (RFC 5321 section 4.1).
//!
//! The rules of this room: what a caller gives is checked when its type is made, so whatever reaches the wire is one line.

mod etrn;
mod origin;
mod parameter;
mod path;
pub mod xtext;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

pub use etrn::Etrn;
pub use origin::Origin;
pub use parameter::Parameter;
pub use path::{ForwardPath, ReversePath};

use crate::Misuse;
use crate::extension::Extensions;

/// A command outside the session's own course: NOOP, VRFY, EXPN, HELP, RSET, or any other line.
///
/// What opens, secures or carries a session (EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, BDAT, QUIT) has methods of its own,
/// because the machine must follow it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// Without line end.
    line: String,
    /// The EHLO keyword that the server must offer for it, and the words that must stand behind it there.
    needs: Vec<&'static str>,
}

/// RFC 5321 section 4.5.3.1.4 gives 512 octets, line end included; extensions raise it, and one limit serves all.
pub(crate) const LINE_LIMIT: usize = 2048;

/// The verbs that the machine says by itself.
const OWN: [&str; 10] = ["EHLO", "HELO", "LHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "QUIT"];

impl Command {
    /// `NOOP`, which does nothing (RFC 5321 section 4.1.1.9).
    pub fn noop() -> Self {
        Self { line: "NOOP".to_string(), needs: Vec::new() }
    }

    /// `RSET`, which ends a transaction (RFC 5321 section 4.1.1.5). The machine says it by itself where it is needed.
    pub fn rset() -> Self {
        Self { line: "RSET".to_string(), needs: Vec::new() }
    }

    /// `VRFY`, asking whether a user or mailbox exists (RFC 5321 section 4.1.1.6).
    ///
    /// # Errors
    ///
    /// [`Misuse`] where `who` is empty, too long, or holds a control character.
    pub fn vrfy(who: &str) -> Result<Self, Misuse> {
        argument("VRFY argument", who)?;
        Self::other(&["VRFY ", who].concat())
    }

    /// `EXPN`, asking for the members of a list (RFC 5321 section 4.1.1.7).
    ///
    /// # Errors
    ///
    /// [`Misuse`] where `list` is empty, too long, or holds a control character.
    pub fn expn(list: &str) -> Result<Self, Misuse> {
        argument("EXPN argument", list)?;
        Self::other(&["EXPN ", list].concat())
    }

    /// `HELP`, on `topic` where one is given (RFC 5321 section 4.1.1.8).
    ///
    /// # Errors
    ///
    /// [`Misuse`] where `topic` is too long or holds a control character.
    pub fn help(topic: Option<&str>) -> Result<Self, Misuse> {
        match topic {
            None => Self::other("HELP"),
            Some(topic) => Self::other(&["HELP ", topic].concat()),
        }
    }

    /// Any other command, as one line without its line end.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the line is empty, longer than 2046 octets, holds a control character, or is a command that has a
    /// method of its own.
    pub fn other(line: &str) -> Result<Self, Misuse> {
        argument("command", line)?;
        let verb = line.trim_start().split(' ').next().unwrap_or_default().to_ascii_uppercase();
        if OWN.contains(&verb.as_str()) {
            return Err(Misuse::HasItsOwnMethod { verb });
        }
        Ok(Self { line: line.to_string(), needs: Vec::new() })
    }

    /// The line, without its line end.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The verb, in upper case.
    pub fn verb(&self) -> String {
        self.line.split(' ').next().unwrap_or_default().to_ascii_uppercase()
    }

    fn needing(self, needs: &[&'static str]) -> Self {
        Self { needs: needs.to_vec(), ..self }
    }

    /// Refuses what cannot be asked of a server that offers only this. A line in raw form is its giver's business.
    pub(crate) fn check(&self, offered: &Extensions) -> Result<(), Misuse> {
        let Some((keyword, words)) = self.needs.split_first() else { return Ok(()) };
        let Some(named) = offered.get(keyword) else { return Err(Misuse::NotOffered { extension: keyword }) };
        match words.iter().find(|word| !named.iter().any(|one| one.eq_ignore_ascii_case(word))) {
            Some(word) => Err(Misuse::NotOffered { extension: word }),
            None => Ok(()),
        }
    }

    pub(crate) fn encode(&self, output: &mut Vec<u8>) {
        output.extend_from_slice(self.line.as_bytes());
        output.extend_from_slice(b"\r\n");
    }
}

/// One line's worth of text: nothing that ends a line, nothing a terminal would act on.
fn argument(what: &'static str, text: &str) -> Result<(), Misuse> {
    if text.trim().is_empty() {
        return Err(Misuse::Empty { what });
    }
    no_controls(what, text)?;
    if text.len() > LINE_LIMIT - 2 {
        return Err(Misuse::TooLong { what, limit: LINE_LIMIT - 2 });
    }
    Ok(())
}

fn no_controls(what: &'static str, text: &str) -> Result<(), Misuse> {
    match text.bytes().find(u8::is_ascii_control) {
        Some(octet) => Err(Misuse::Forbidden { what, octet }),
        None => Ok(()),
    }
}

/// The name a client gives itself in EHLO: a domain or an address literal (RFC 5321 section 4.1.1.1).
///
/// # Errors
///
/// [`Misuse`] where the name is empty, longer than 255 octets, or holds a space or a control character.
pub(crate) fn check_helo(name: &str) -> Result<(), Misuse> {
    let what = "EHLO name";
    argument(what, name)?;
    if name.len() > 255 {
        return Err(Misuse::TooLong { what, limit: 255 });
    }
    match name.bytes().find(|octet| !octet.is_ascii_graphic()) {
        Some(octet) => Err(Misuse::Forbidden { what, octet }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_is_one_line() {
        let mut wire = Vec::new();
        Command::vrfy("Jones").unwrap().encode(&mut wire);
        Command::help(None).unwrap().encode(&mut wire);
        Command::other("XCLIENT NAME=a").unwrap().encode(&mut wire);
        assert_eq!(wire, b"VRFY Jones\r\nHELP\r\nXCLIENT NAME=a\r\n");
        for bad in ["NOOP\r\nQUIT", "NOOP\nQUIT", "NOOP\0", "NOOP\x1b"] {
            assert!(matches!(Command::other(bad), Err(Misuse::Forbidden { .. })), "{bad:?}");
        }
        assert_eq!(Command::vrfy(""), Err(Misuse::Empty { what: "VRFY argument" }));
        assert!(matches!(Command::other(&"x".repeat(2047)), Err(Misuse::TooLong { .. })));
    }

    #[test]
    fn what_the_machine_must_follow_is_no_arbitrary_command() {
        for verb in ["QUIT", "quit", "Auth PLAIN", " DATA", "BDAT 3 LAST"] {
            assert!(matches!(Command::other(verb), Err(Misuse::HasItsOwnMethod { .. })), "{verb:?}");
        }
    }

    #[test]
    fn what_a_command_needs_must_be_offered_word_by_word() {
        use crate::reply::{Code, Reply};
        let offers = |text: &str| Extensions::from_reply(&Reply::new(Code::OK, ["mx\n", text].concat()).unwrap());
        let command = Command::xforward(&Origin::new().name("a").ident("b")).unwrap();
        let not = |extension| Err(Misuse::NotOffered { extension });
        assert_eq!(command.check(&offers("XCLIENT NAME IDENT")), not("XFORWARD"));
        assert_eq!(command.check(&offers("XFORWARD NAME ADDR")), not("IDENT"));
        assert_eq!(command.check(&offers("xforward name ident")), Ok(()));
        assert_eq!(Command::etrn("a").unwrap().check(&offers("SIZE")), not("ETRN"));
        assert_eq!(Command::other("ETRN a").unwrap().check(&offers("SIZE")), Ok(()));
    }

    #[test]
    fn a_helo_name_is_one_word() {
        assert_eq!(check_helo("[IPv6:::1]"), Ok(()));
        assert_eq!(check_helo("a b"), Err(Misuse::Forbidden { what: "EHLO name", octet: b' ' }));
        assert!(check_helo("a\r\nMAIL").is_err());
        assert!(check_helo("").is_err());
    }

    #[test]
    fn each_verb_has_its_line_and_its_limit() {
        // RFC 5321 section 4.1.1.
        assert_eq!(Command::rset().line(), "RSET");
        assert_eq!(Command::noop().line(), "NOOP");
        assert_eq!(Command::expn("staff").map(|command| command.line().to_string()), Ok("EXPN staff".into()));
        assert_eq!(Command::expn(""), Err(Misuse::Empty { what: "EXPN argument" }));
        assert!(matches!(Command::expn("a\nb"), Err(Misuse::Forbidden { octet: b'\n', .. })));
        // Section 4.5.3.1.2: a domain has at most 255 octets.
        assert_eq!(check_helo(&"a".repeat(255)), Ok(()));
        assert_eq!(check_helo(&"a".repeat(256)), Err(Misuse::TooLong { what: "EHLO name", limit: 255 }));
        assert!(matches!(check_helo("a b"), Err(Misuse::Forbidden { octet: b' ', .. })));
    }
}
