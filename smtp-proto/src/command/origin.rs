//! For whom a proxy speaks: the attributes of XCLIENT and XFORWARD (Postfix, XCLIENT_README and XFORWARD_README).
//!
//! The rules of this file: a value travels as xtext, so it is one word whatever it holds; one given twice counts as it was
//! given last; an attribute that the server did not name in its offer is refused before it is said.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{Command, xtext};
use crate::Misuse;

/// Both commands stay within the line of RFC 821, line end included; what does not fit goes into a second one.
const LINE: usize = 512;

/// What is known of the client that a proxy or filter speaks for.
///
/// ```
/// use smtp_proto::command::{Command, Origin};
///
/// let origin = Origin::new().name("spike.porcupine.org").addr("168.100.189.2".parse().unwrap()).proto(true);
/// let command = Command::xforward(&origin).unwrap();
/// assert_eq!(command.line(), "XFORWARD NAME=spike.porcupine.org ADDR=168.100.189.2 PROTO=ESMTP");
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    attributes: Vec<(&'static str, String)>,
}

impl Origin {
    /// Nothing known yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.retain(|(one, _)| *one != name);
        self.attributes.push((name, value.into()));
        self
    }

    fn with_text(self, name: &'static str, value: &str) -> Self {
        self.with(name, xtext::encode(value.as_bytes()))
    }

    fn with_address(self, name: &'static str, address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => self.with(name, address.to_string()),
            IpAddr::V6(address) => self.with(name, ["IPV6:", &address.to_string()].concat()),
        }
    }

    /// The client's host name (`NAME`).
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.with_text("NAME", name)
    }

    /// The client's host name is not known: for now, or for good (`NAME=[TEMPUNAVAIL]`, `NAME=[UNAVAILABLE]`).
    #[must_use]
    pub fn name_unknown(self, for_now: bool) -> Self {
        self.with("NAME", if for_now { "[TEMPUNAVAIL]" } else { "[UNAVAILABLE]" })
    }

    /// The client's address (`ADDR`); IPv4 within IPv6 is written as IPv4.
    #[must_use]
    pub fn addr(self, address: IpAddr) -> Self {
        self.with_address("ADDR", address)
    }

    /// The client's port (`PORT`).
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.with("PORT", port.to_string())
    }

    /// Whether the client said EHLO, and not HELO (`PROTO`).
    #[must_use]
    pub fn proto(self, extended: bool) -> Self {
        self.with("PROTO", if extended { "ESMTP" } else { "SMTP" })
    }

    /// What the client said in HELO or EHLO (`HELO`).
    #[must_use]
    pub fn helo(self, name: &str) -> Self {
        self.with_text("HELO", name)
    }

    /// As whom the client was authenticated (`LOGIN`; XCLIENT only).
    #[must_use]
    pub fn login(self, name: &str) -> Self {
        self.with_text("LOGIN", name)
    }

    /// The address that the client connected to (`DESTADDR`; XCLIENT only).
    #[must_use]
    pub fn dest_addr(self, address: IpAddr) -> Self {
        self.with_address("DESTADDR", address)
    }

    /// The port that the client connected to (`DESTPORT`; XCLIENT only).
    #[must_use]
    pub fn dest_port(self, port: u16) -> Self {
        self.with("DESTPORT", port.to_string())
    }

    /// The name of the message at whoever forwards it, such as a queue id (`IDENT`; XFORWARD only).
    #[must_use]
    pub fn ident(self, id: &str) -> Self {
        self.with_text("IDENT", id)
    }

    /// Whether the message came from within, and not from the network (`SOURCE`; XFORWARD only).
    #[must_use]
    pub fn source(self, local: bool) -> Self {
        self.with("SOURCE", if local { "LOCAL" } else { "REMOTE" })
    }

    fn command(&self, verb: &'static str, foreign: &[&'static str]) -> Result<Command, Misuse> {
        if self.attributes.is_empty() {
            return Err(Misuse::Empty { what: verb });
        }
        if let Some((what, _)) = self.attributes.iter().find(|(name, _)| foreign.contains(name)) {
            return Err(Misuse::Malformed { what });
        }
        let mut line = String::from(verb);
        for (name, value) in &self.attributes {
            if value.is_empty() {
                return Err(Misuse::Empty { what: name });
            }
            line.extend([" ", name, "=", value]);
        }
        if line.len() + 2 > LINE {
            return Err(Misuse::TooLong { what: verb, limit: LINE - 2 });
        }
        let needed: Vec<_> = [verb].into_iter().chain(self.attributes.iter().map(|(name, _)| *name)).collect();
        Ok(Command { line, needs: needed })
    }
}

impl Command {
    /// `XCLIENT`: the server is to treat this session as that of another client. Where it agrees, the session begins again
    /// with EHLO, and is ready a second time; what it offered before is forgotten. Needs the extension of the same name, and
    /// the attributes that the server names there.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where nothing is said, an attribute is empty or not one of XCLIENT's, or the line is longer than 510 octets.
    pub fn xclient(origin: &Origin) -> Result<Self, Misuse> {
        origin.command("XCLIENT", &["IDENT", "SOURCE"])
    }

    /// `XFORWARD`: where the next message came from, for the server's log. Needs the extension of the same name, and the
    /// attributes that the server names there.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where nothing is said, an attribute is empty or not one of XFORWARD's, or the line is longer than 510 octets;
    /// what is known can be spread over several.
    pub fn xforward(origin: &Origin) -> Result<Self, Misuse> {
        origin.command("XFORWARD", &["LOGIN", "DESTADDR", "DESTPORT"])
    }

    /// Whether the session begins again where the server agrees.
    pub(crate) fn reopens(&self) -> bool {
        self.verb() == "XCLIENT"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_written_as_postfix_reads_them() {
        let origin = Origin::new()
            .name("spike.example.org")
            .name_unknown(true)
            .addr("2001:db8::1".parse().unwrap())
            .port(54321)
            .helo("a b=c+\r\nQUIT")
            .login("tim@example.org")
            .dest_addr("::ffff:192.0.2.7".parse().unwrap())
            .dest_port(25);
        let expected = "XCLIENT NAME=[TEMPUNAVAIL] ADDR=IPV6:2001:db8::1 PORT=54321 HELO=a+20b+3Dc+2B+0D+0AQUIT \
             LOGIN=tim@example.org DESTADDR=192.0.2.7 DESTPORT=25";
        assert_eq!(Command::xclient(&origin).unwrap().line(), expected);
        let origin = Origin::new().name_unknown(false).proto(false).ident("4Fx").source(false);
        let expected = "XFORWARD NAME=[UNAVAILABLE] PROTO=SMTP IDENT=4Fx SOURCE=REMOTE";
        assert_eq!(Command::xforward(&origin).unwrap().line(), expected);
    }

    #[test]
    fn what_the_other_command_knows_is_refused() {
        assert_eq!(Command::xforward(&Origin::new().login("a")), Err(Misuse::Malformed { what: "LOGIN" }));
        assert_eq!(Command::xclient(&Origin::new().ident("a")), Err(Misuse::Malformed { what: "IDENT" }));
        assert_eq!(Command::xclient(&Origin::new()), Err(Misuse::Empty { what: "XCLIENT" }));
        assert_eq!(Command::xclient(&Origin::new().name("")), Err(Misuse::Empty { what: "NAME" }));
        let long = Origin::new().name(&"x".repeat(500));
        assert!(matches!(Command::xclient(&long), Err(Misuse::TooLong { .. })));
    }
}
