//! What a server offers in its answer to EHLO (RFC 5321 section 4.1.1.1).
//!
//! The rules of this file: keywords are compared without case; odd spacing is folded; a keyword given twice keeps the
//! parameters of both; `AUTH=LOGIN`, an older draft's form, counts as `AUTH LOGIN`. Nothing unknown is dropped.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::reply::Reply;

/// The extensions a server offers, in its order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Extensions {
    offered: Vec<Extension>,
}

/// One offered extension, in raw form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extension {
    /// The EHLO keyword, in upper case.
    pub keyword: String,
    /// Its parameters, as the server wrote them.
    pub parameters: Vec<String>,
}

impl Extensions {
    /// Reads the lines behind the first of an answer to EHLO.
    pub fn from_reply(reply: &Reply) -> Self {
        let mut extensions = Self::default();
        for line in reply.lines().skip(1) {
            let line = String::from_utf8_lossy(line);
            let mut words = line.split_ascii_whitespace();
            let Some(keyword) = words.next() else { continue };
            let keyword = keyword.to_ascii_uppercase();
            match keyword.strip_prefix("AUTH=") {
                Some(first) => {
                    extensions.add("AUTH", Some(first).filter(|first| !first.is_empty()).into_iter().chain(words))
                }
                None => extensions.add(&keyword, words),
            }
        }
        // It is kept as long as the session.
        extensions.offered.shrink_to_fit();
        extensions.offered.iter_mut().for_each(|one| one.parameters.shrink_to_fit());
        extensions
    }

    fn add<'a>(&mut self, keyword: &str, parameters: impl Iterator<Item = &'a str>) {
        let at = self.offered.iter().position(|one| one.keyword == keyword).unwrap_or_else(|| {
            self.offered.push(Extension { keyword: keyword.to_string(), parameters: Vec::new() });
            self.offered.len() - 1
        });
        let known = &mut self.offered[at].parameters;
        for parameter in parameters {
            if !known.iter().any(|one| one.eq_ignore_ascii_case(parameter)) {
                known.push(parameter.to_string());
            }
        }
    }

    /// All that was offered.
    pub fn iter(&self) -> impl Iterator<Item = &Extension> {
        self.offered.iter()
    }

    /// The parameters of an extension, if it is offered; `keyword` in any case.
    pub fn get(&self, keyword: &str) -> Option<&[String]> {
        self.offered.iter().find(|one| one.keyword.eq_ignore_ascii_case(keyword)).map(|one| one.parameters.as_slice())
    }

    /// Whether an extension is offered.
    pub fn offers(&self, keyword: &str) -> bool {
        self.get(keyword).is_some()
    }

    /// Forgets an extension, for servers whose offer is not to be believed.
    pub fn remove(&mut self, keyword: &str) {
        self.offered.retain(|one| !one.keyword.eq_ignore_ascii_case(keyword));
    }

    /// The SASL mechanisms that the server supports (RFC 4954); empty where AUTH is not offered.
    pub fn mechanisms(&self) -> &[String] {
        self.get("AUTH").unwrap_or_default()
    }

    /// The largest message in octets, where the server states one (RFC 1870; 0 there means no limit).
    pub fn size_limit(&self) -> Option<u64> {
        self.get("SIZE")?.first()?.parse().ok().filter(|limit| *limit > 0)
    }

    /// A limit that the server states by name, such as `"RCPTMAX"` or `"MAILMAX"` (LIMITS, RFC 9422).
    pub fn limit(&self, name: &str) -> Option<u64> {
        let mut limits = self.get("LIMITS")?.iter().filter_map(|limit| limit.split_once('='));
        limits.find(|(one, _)| one.eq_ignore_ascii_case(name))?.1.parse().ok().filter(|limit| *limit > 0)
    }

    /// PIPELINING (RFC 2920): commands may go out in groups.
    pub fn pipelining(&self) -> bool {
        self.offers("PIPELINING")
    }

    /// CHUNKING (RFC 3030): BDAT.
    pub fn chunking(&self) -> bool {
        self.offers("CHUNKING")
    }

    /// STARTTLS (RFC 3207).
    pub fn starttls(&self) -> bool {
        self.offers("STARTTLS")
    }

    /// 8BITMIME (RFC 6152).
    pub fn eight_bit_mime(&self) -> bool {
        self.offers("8BITMIME")
    }

    /// SMTPUTF8 (RFC 6531).
    pub fn smtputf8(&self) -> bool {
        self.offers("SMTPUTF8")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Code;

    fn extensions(text: &str) -> Extensions {
        Extensions::from_reply(&Reply::new(Code::OK, text).unwrap())
    }

    #[test]
    fn keywords_come_in_any_case_and_spacing() {
        let offer = extensions("mx.example.org greets you\npipelining\n  Size   1000 \n8BitMime\n\nX-Odd a  b");
        assert!(offer.pipelining() && offer.eight_bit_mime() && !offer.starttls());
        assert_eq!(offer.size_limit(), Some(1000));
        assert_eq!(offer.get("x-odd").unwrap(), ["a", "b"]);
        assert_eq!(offer.iter().count(), 4);
    }

    #[test]
    fn the_first_line_is_no_extension() {
        assert!(!extensions("PIPELINING").pipelining());
    }

    #[test]
    fn auth_is_read_in_both_forms_and_merged() {
        let offer = extensions("hi\nAUTH PLAIN LOGIN\nAUTH=LOGIN CRAM-MD5\nauth=NTLM");
        assert_eq!(offer.mechanisms(), ["PLAIN", "LOGIN", "CRAM-MD5", "NTLM"]);
        assert_eq!(extensions("hi\nAUTH=").mechanisms(), [""; 0]);
        assert!(extensions("hi").mechanisms().is_empty());
    }

    #[test]
    fn a_size_of_zero_or_of_nonsense_is_no_limit() {
        assert_eq!(extensions("hi\nSIZE 0").size_limit(), None);
        assert_eq!(extensions("hi\nSIZE").size_limit(), None);
        assert_eq!(extensions("hi\nSIZE 99999999999999999999999").size_limit(), None);
    }

    #[test]
    fn an_extension_can_be_switched_off() {
        let mut offer = extensions("hi\nPIPELINING\nSIZE");
        offer.remove("pipelining");
        assert!(!offer.pipelining() && offer.offers("SIZE"));
    }
}
