//! What a server offers in its answer to EHLO (RFC 5321 section 4.1.1.1).
//!
//! The rules of this file: keywords are compared without case; odd spacing is folded; a keyword given twice keeps the
//! parameters of both, each once; `AUTH=LOGIN`, an older draft's form, counts as `AUTH LOGIN`. Nothing unknown is dropped.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::Misuse;
use crate::reply::Reply;

/// How many parameters of a keyword are compared with a further one, to drop what is repeated. Mechanisms, which are what servers
/// repeat, are fewer; and to compare all with all would take a hostile server's offer seconds.
const TIDY: usize = 64;

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
            extensions.read(&String::from_utf8_lossy(line));
        }
        // It is kept as long as the session.
        extensions.offered.shrink_to_fit();
        extensions.offered.iter_mut().for_each(|one| one.parameters.shrink_to_fit());
        extensions
    }

    /// Reads one line of an offer.
    fn read(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let Some(keyword) = words.next() else { return };
        let keyword = keyword.to_ascii_uppercase();
        match keyword.strip_prefix("AUTH=") {
            Some(first) => self.add("AUTH", Some(first).filter(|first| !first.is_empty()).into_iter().chain(words)),
            None => self.add(&keyword, words),
        }
    }

    fn add<'a>(&mut self, keyword: &str, parameters: impl Iterator<Item = &'a str>) {
        let at = self.offered.iter().position(|one| one.keyword == keyword).unwrap_or_else(|| {
            self.offered.push(Extension { keyword: keyword.to_string(), parameters: Vec::new() });
            self.offered.len() - 1
        });
        let known = &mut self.offered[at].parameters;
        for parameter in parameters {
            if !known.iter().take(TIDY).any(|one| one.eq_ignore_ascii_case(parameter)) {
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

    /// Adds an extension, for servers that bear more than they offer: a line as it stands in an answer to EHLO, such as
    /// `"PIPELINING"` or `"SIZE 10240000"`. It takes the place of what was offered under the same keyword.
    ///
    /// # Errors
    ///
    /// [`Misuse`] where the line is empty or holds a control character.
    pub fn set(&mut self, line: &str) -> Result<(), Misuse> {
        check_line(line)?;
        let keyword = line.split_ascii_whitespace().next().unwrap_or_default();
        self.remove(keyword.split('=').next().unwrap_or_default());
        self.read(line);
        Ok(())
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

    /// PIPECONNECT (Exim; earlier `X_PIPE_CONNECT`): commands may come before the greeting was read, from who has been here
    /// before. See [`Remembered`](crate::client::Remembered).
    pub fn pipe_connect(&self) -> bool {
        self.offers("PIPECONNECT") || self.offers("X_PIPE_CONNECT")
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

/// A line of an offer, as somebody gives it.
pub(crate) fn check_line(line: &str) -> Result<(), Misuse> {
    let what = "extension";
    if line.trim_ascii().is_empty() {
        return Err(Misuse::Empty { what });
    }
    match line.bytes().find(u8::is_ascii_control) {
        Some(octet) => Err(Misuse::Forbidden { what, octet }),
        None => Ok(()),
    }
}

impl fmt::Display for Extension {
    /// As the server wrote it, but for its spacing and case. What holds a control character is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = [&self.keyword].into_iter().chain(&self.parameters);
        let clean = |word: &&String| !word.contains(char::is_control);
        if let Some(keyword) = words.next().filter(clean) {
            f.write_str(keyword)?;
            for word in words.filter(clean) {
                write!(f, " {word}")?;
            }
        }
        Ok(())
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
        assert!(offer.pipelining() && offer.eight_bit_mime() && !offer.starttls() && !offer.smtputf8());
        assert!(extensions("hi\nsmtpUtf8").smtputf8());
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
    fn a_flood_of_parameters_is_kept_and_not_tidied() {
        let flood: Vec<_> = (0..5000).map(|number| alloc::format!("p{number}")).collect();
        let offer = extensions(&alloc::format!("hi\nX {0}\nx P0 p{1} {0}", flood.join(" "), TIDY - 1));
        // The first ones are known when they come again; the others are what they are, in their order.
        assert_eq!(offer.get("X").unwrap(), [&flood[..], &flood[TIDY..]].concat());
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
    #[test]
    fn an_extension_can_be_added_or_put_right() {
        let mut offer = extensions("hi\nSIZE 10\nAUTH LOGIN");
        offer.set("size 20").unwrap();
        offer.set("Pipelining").unwrap();
        offer.set("AUTH=PLAIN").unwrap();
        assert_eq!((offer.size_limit(), offer.pipelining()), (Some(20), true));
        assert_eq!(offer.mechanisms(), ["PLAIN"]);
        assert_eq!(offer.iter().count(), 3);
        assert_eq!(offer.iter().next().unwrap().to_string(), "SIZE 20");
        for bad in ["", " ", "A\r\nB", "A\0"] {
            assert!(offer.set(bad).is_err(), "{bad:?}");
        }
    }
}
