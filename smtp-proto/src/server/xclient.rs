//! XCLIENT: for whom a proxy speaks (Postfix's extension, XCLIENT_README).
//!
//! The rules of this file: whether it is believed is the setting's and then the owner's to say; attributes are read here,
//! every value is xtext; what is not said stays as it was.

use alloc::string::{String, ToString};
use core::net::IpAddr;

use super::replies::{self, Fixed};
use crate::command::xtext;

/// What a proxy says of its client. Each attribute may be missing, or be said to be unknown.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Xclient {
    /// NAME: the client's host name.
    pub name: Option<Attribute<String>>,
    /// ADDR: its address.
    pub address: Option<Attribute<IpAddr>>,
    /// PORT: its port.
    pub port: Option<Attribute<u16>>,
    /// PROTO: whether it speaks ESMTP (`true`) or SMTP.
    pub extended: Option<Attribute<bool>>,
    /// HELO: what it called itself.
    pub helo: Option<Attribute<String>>,
    /// LOGIN: as whom it has authenticated.
    pub login: Option<Attribute<String>>,
    /// DESTADDR: the address that it has connected to.
    pub destination: Option<Attribute<IpAddr>>,
    /// DESTPORT: the port that it has connected to.
    pub destination_port: Option<Attribute<u16>>,
}

/// The value of an attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Attribute<T> {
    /// This.
    Is(T),
    /// There is none: `[UNAVAILABLE]`.
    Unavailable,
    /// It could not be found out at the moment: `[TEMPUNAVAIL]`.
    Unknown,
}

/// What is offered behind the keyword.
pub(super) const ATTRIBUTES: &str = "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT";

/// Adds what the words say to what was said before.
pub(super) fn read(words: &str, mut said: Xclient) -> Result<Xclient, Fixed> {
    for word in words.split_ascii_whitespace() {
        let (name, value) = word.split_once('=').ok_or(replies::ATTRIBUTE)?;
        let text = |value: &str| Some(value.to_string());
        let port = |value: &str| value.parse().ok();
        match name.to_ascii_uppercase().as_str() {
            "NAME" => said.name = Some(attribute(value, text)?),
            "ADDR" => said.address = Some(attribute(value, address)?),
            "PORT" => said.port = Some(attribute(value, port)?),
            "PROTO" => said.extended = Some(attribute(value, protocol)?),
            "HELO" => said.helo = Some(attribute(value, text)?),
            "LOGIN" => said.login = Some(attribute(value, text)?),
            "DESTADDR" => said.destination = Some(attribute(value, address)?),
            "DESTPORT" => said.destination_port = Some(attribute(value, port)?),
            _ => return Err(replies::ATTRIBUTE),
        }
    }
    Ok(said)
}

fn attribute<T>(value: &str, read: impl Fn(&str) -> Option<T>) -> Result<Attribute<T>, Fixed> {
    match value {
        _ if value.eq_ignore_ascii_case("[UNAVAILABLE]") => return Ok(Attribute::Unavailable),
        _ if value.eq_ignore_ascii_case("[TEMPUNAVAIL]") => return Ok(Attribute::Unknown),
        _ => {}
    }
    let text = xtext::decode(value).and_then(|octets| String::from_utf8(octets).ok());
    let text = text.filter(|text| !text.is_empty() && !text.contains(char::is_control));
    text.and_then(|text| read(&text)).map(Attribute::Is).ok_or(replies::ATTRIBUTE)
}

fn address(text: &str) -> Option<IpAddr> {
    match text.get(..5) {
        Some(prefix) if prefix.eq_ignore_ascii_case("IPV6:") => text[5..].parse().ok().filter(IpAddr::is_ipv6),
        _ => text.parse().ok(),
    }
}

fn protocol(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("ESMTP") => Some(true),
        _ if text.eq_ignore_ascii_case("SMTP") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_those_of_the_readme() {
        let line = "NAME=spike.porcupine.org ADDR=168.100.189.2 PROTO=ESMTP helo=a+20b PORT=[UNAVAILABLE]";
        let said = read(line, Xclient { login: Some(Attribute::Unknown), ..Xclient::default() }).unwrap();
        assert_eq!(said.name, Some(Attribute::Is("spike.porcupine.org".into())));
        assert_eq!(said.address, Some(Attribute::Is("168.100.189.2".parse().unwrap())));
        assert_eq!((said.extended, said.port), (Some(Attribute::Is(true)), Some(Attribute::Unavailable)));
        assert_eq!((said.helo, said.login), (Some(Attribute::Is("a b".into())), Some(Attribute::Unknown)));
        assert_eq!(said.destination, None);
        let said = read("DESTADDR=IPV6:2001:db8::1 DESTPORT=25 LOGIN=[tempunavail]", Xclient::default()).unwrap();
        assert_eq!(said.destination, Some(Attribute::Is("2001:db8::1".parse().unwrap())));
        assert_eq!((said.destination_port, said.login), (Some(Attribute::Is(25)), Some(Attribute::Unknown)));
        for bad in
            ["NAME", "NAME=", "X=1", "ADDR=x", "ADDR=IPV6:1.2.3.4", "PORT=65536", "PROTO=LMTP", "HELO=+0D", "HELO=+"]
        {
            assert_eq!(read(bad, Xclient::default()), Err(replies::ATTRIBUTE), "{bad}");
        }
    }
}
