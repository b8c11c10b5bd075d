//! ETRN: asking a server to send what it holds for somebody (RFC 1985).

use super::{Command, no_controls};
use crate::Misuse;
use crate::reply::Reply;

/// What a server answers to ETRN (RFC 1985 section 5.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Etrn {
    /// 250: the queue was started. Whether anything waits in it is not said.
    Started,
    /// 251: nothing waits for the node.
    NothingWaiting,
    /// 252: messages wait, and the queue was started.
    PendingStarted,
    /// 253: so many messages wait, and the queue was started; `None` where the number cannot be read.
    Pending(Option<u64>),
    /// 458: the queue cannot be started now.
    Unable,
    /// 459: not for this node, or not for this client.
    NotAllowed,
}

impl Etrn {
    /// Reads the answer to [`Command::etrn`]; `None` for a code that section 5.1 gives no meaning of its own, such as 500.
    pub fn from_reply(reply: &Reply) -> Option<Self> {
        match reply.code().number() {
            250 => Some(Self::Started),
            251 => Some(Self::NothingWaiting),
            252 => Some(Self::PendingStarted),
            253 => {
                let message = reply.message();
                let mut words = message.split([' ', ',']);
                Some(Self::Pending(words.find_map(|word| word.parse().ok())))
            }
            458 => Some(Self::Unable),
            459 => Some(Self::NotAllowed),
            _ => None,
        }
    }
}

impl Command {
    /// `ETRN`: the server is to send what it holds for this node, a domain; `@` before it takes all domains below it in, and
    /// `#` makes it the name of a queue. [`Etrn`] reads the answer. Needs the extension of the same name.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the node is empty, longer than 255 octets, or holds a space or a control character.
    pub fn etrn(node: &str) -> Result<Self, Misuse> {
        let what = "ETRN node";
        if node.trim_start_matches(['@', '#']).is_empty() {
            return Err(Misuse::Empty { what });
        }
        no_controls(what, node)?;
        if let Some(octet) = node.bytes().find(|octet| *octet == b' ') {
            return Err(Misuse::Forbidden { what, octet });
        }
        if node.len() > 255 {
            return Err(Misuse::TooLong { what, limit: 255 });
        }
        Ok(Self::other(&["ETRN ", node].concat())?.needing(&["ETRN"]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Code;

    #[test]
    fn the_answers_of_the_rfc_are_told_apart() {
        for (code, text, expected) in [
            (250, "OK, queuing for node innosoft.com started", Some(Etrn::Started)),
            (251, "OK, no messages waiting for node sigurd.innosoft.com", Some(Etrn::NothingWaiting)),
            (252, "OK, pending messages for node innosoft.com started", Some(Etrn::PendingStarted)),
            (253, "OK, 14 pending messages for node mysoft.com started", Some(Etrn::Pending(Some(14)))),
            (253, "2.0.0 14 pending", Some(Etrn::Pending(Some(14)))),
            (253, "OK", Some(Etrn::Pending(None))),
            (458, "Unable to queue messages for node uu.net", Some(Etrn::Unable)),
            (459, "Node foo.bar not allowed: Unable to resolve name.", Some(Etrn::NotAllowed)),
            (500, "Syntax Error", None),
            (501, "Syntax Error in Parameters", None),
        ] {
            let reply = Reply::new(Code::new(code).unwrap(), text).unwrap();
            assert_eq!(Etrn::from_reply(&reply), expected, "{code}");
        }
    }

    #[test]
    fn a_node_is_one_word() {
        assert_eq!(Command::etrn("sigurd.innosoft.com").unwrap().line(), "ETRN sigurd.innosoft.com");
        assert_eq!(Command::etrn("@foo.com").unwrap().line(), "ETRN @foo.com");
        assert_eq!(Command::etrn("#uucp").unwrap().line(), "ETRN #uucp");
        for bad in ["", "@", "#", "a b", "a\r\nQUIT", "a\0"] {
            assert!(Command::etrn(bad).is_err(), "{bad:?}");
        }
        assert!(Command::etrn(&"x".repeat(256)).is_err());
    }
}
