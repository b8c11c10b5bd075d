//! The grammar of commands, from the server's side (RFC 5321 section 4.1).
//!
//! The rules of this file: it knows what a line says, not whether it may be said now; verbs in any case; spaces in excess are
//! borne where they cannot change the meaning; source routes are read and ignored (section 3.6.1).

use alloc::vec::Vec;

use super::replies::{self, Fixed};
use crate::command::{ForwardPath, Parameter, ReversePath};

/// One command.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Said<'a> {
    Ehlo(&'a str),
    Helo(&'a str),
    Lhlo(&'a str),
    StartTls,
    Auth {
        mechanism: &'a str,
        /// Base64, or `=` for an empty one.
        initial: Option<&'a str>,
    },
    Mail(ReversePath, Vec<Parameter>),
    Rcpt(ForwardPath, Vec<Parameter>),
    Data,
    /// The size is `None` where it cannot be read: where the next command begins is then unknown.
    Bdat {
        size: Option<u64>,
        last: bool,
    },
    Rset,
    Noop,
    Vrfy(&'a str),
    Expn(&'a str),
    Help(Option<&'a str>),
    Etrn(&'a str),
    /// The attributes, not looked at.
    Xclient(&'a str),
    Quit,
    /// A verb of nobody's here, with what stands behind it.
    Other(&'a str, &'a str),
}

/// Reads a line without its end; else how it is answered.
pub(super) fn parse(line: &[u8]) -> Result<Said<'_>, Fixed> {
    let lawful =
        core::str::from_utf8(line).ok().filter(|text| !text.bytes().any(|o| o.is_ascii_control() && o != b'\t'));
    let Some(text) = lawful else {
        let chunk = line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"));
        return if chunk { Ok(Said::Bdat { size: None, last: false }) } else { Err(replies::NOT_TEXT) };
    };
    let text = text.trim_end_matches(is_space);
    let (verb, argument) = text.split_at(text.find(is_space).unwrap_or(text.len()));
    let argument = argument.trim_start_matches(is_space);
    let alone = |said| if argument.is_empty() { Ok(said) } else { Err(replies::NO_ARGUMENT) };
    let is = |name: &str| verb.eq_ignore_ascii_case(name);
    if is("EHLO") {
        hello(argument).map(Said::Ehlo)
    } else if is("HELO") {
        hello(argument).map(Said::Helo)
    } else if is("LHLO") {
        hello(argument).map(Said::Lhlo)
    } else if is("MAIL") {
        mail(argument)
    } else if is("RCPT") {
        rcpt(argument)
    } else if is("DATA") {
        alone(Said::Data)
    } else if is("BDAT") {
        Ok(bdat(argument))
    } else if is("AUTH") {
        auth(argument)
    } else if is("STARTTLS") {
        alone(Said::StartTls)
    } else if is("RSET") {
        alone(Said::Rset)
    } else if is("QUIT") {
        alone(Said::Quit)
    } else if is("VRFY") {
        some(argument).map(Said::Vrfy)
    } else if is("EXPN") {
        some(argument).map(Said::Expn)
    } else if is("ETRN") {
        some(argument).map(Said::Etrn)
    } else if is("XCLIENT") {
        some(argument).map(Said::Xclient)
    } else if is("NOOP") {
        Ok(Said::Noop)
    } else if is("HELP") {
        Ok(Said::Help(Some(argument).filter(|topic| !topic.is_empty())))
    } else {
        Ok(Said::Other(verb, argument))
    }
}

fn some(argument: &str) -> Result<&str, Fixed> {
    if argument.is_empty() { Err(replies::ARGUMENT) } else { Ok(argument) }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

fn hello(name: &str) -> Result<&str, Fixed> {
    crate::command::check_helo(name).map(|()| name).map_err(|_| replies::HELLO_NAME)
}

fn auth(argument: &str) -> Result<Said<'_>, Fixed> {
    let mut words = argument.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(mechanism), initial, None) => Ok(Said::Auth { mechanism, initial }),
        (None, ..) => Err(replies::ARGUMENT),
        (_, _, Some(_)) => Err(replies::BASE64),
    }
}

fn bdat(argument: &str) -> Said<'_> {
    let mut words = argument.split_ascii_whitespace();
    let number = |word: &str| if word.bytes().all(|o| o.is_ascii_digit()) { word.parse().ok() } else { None };
    let size = words.next().and_then(number);
    match (words.next(), words.next()) {
        (None, _) => Said::Bdat { size, last: false },
        (Some(word), None) if word.eq_ignore_ascii_case("LAST") => Said::Bdat { size, last: true },
        _ => Said::Bdat { size: None, last: false },
    }
}

fn mail(argument: &str) -> Result<Said<'_>, Fixed> {
    let (address, rest) = path(argument, "FROM:").ok_or(replies::REVERSE_PATH)?;
    let from = ReversePath::new(address).map_err(|_| replies::REVERSE_PATH)?;
    Ok(Said::Mail(from, parameters(rest)?))
}

fn rcpt(argument: &str) -> Result<Said<'_>, Fixed> {
    let (address, rest) = path(argument, "TO:").ok_or(replies::FORWARD_PATH)?;
    let to = ForwardPath::new(address).map_err(|_| replies::FORWARD_PATH)?;
    Ok(Said::Rcpt(to, parameters(rest)?))
}

/// The address between the brackets, without a source route, and what follows them.
fn path<'a>(argument: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    if !argument.get(..prefix.len())?.eq_ignore_ascii_case(prefix) {
        return None;
    }
    // Old clients write a space behind the colon; the bracket still says where the path begins.
    let inside = argument[prefix.len()..].trim_start_matches(is_space).strip_prefix('<')?;
    let (mut quoted, mut literal, mut escaped, mut start) = (false, false, false, 0);
    for (at, octet) in inside.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' => literal = true,
            b']' => literal = false,
            b':' if !literal && start == 0 && inside.starts_with('@') => start = at + 1,
            b'>' => {
                let rest = &inside[at + 1..];
                return (rest.is_empty() || rest.starts_with(is_space)).then_some((&inside[start..at], rest));
            }
            _ => {}
        }
    }
    None
}

/// Each keyword once: what a second one would mean is nowhere defined.
fn parameters(rest: &str) -> Result<Vec<Parameter>, Fixed> {
    let mut parameters: Vec<Parameter> = Vec::new();
    for word in rest.split_ascii_whitespace() {
        let (keyword, value) = match word.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (word, None),
        };
        let parameter = Parameter::new(keyword, value).map_err(|_| replies::PARAMETER)?;
        if parameters.iter().any(|one| one.keyword() == parameter.keyword()) {
            return Err(replies::PARAMETER);
        }
        parameters.push(parameter);
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};

    fn address(line: &str) -> Result<String, Fixed> {
        match parse(line.as_bytes())? {
            Said::Mail(path, _) => Ok(path.to_string()),
            Said::Rcpt(path, _) => Ok(path.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn paths_of_every_form_are_read() {
        for (line, expected) in [
            ("MAIL FROM:<a@b.example>", "a@b.example"),
            ("mail from: <a@b.example> ", "a@b.example"),
            ("Mail \t From:\t<a@b.example>\tSIZE=1", "a@b.example"),
            ("MAIL FROM:<>", ""),
            ("MAIL FROM:<> BODY=8BITMIME", ""),
            ("RCPT TO:<@x.example,@y.example:a@b.example>", "a@b.example"),
            ("RCPT TO:<@[IPv6:::1]:a@b.example>", "a@b.example"),
            ("RCPT TO:<a@[IPv6:::1]>", "a@[IPv6:::1]"),
            ("RCPT TO:<\"a> b\\\"\"@b.example>", "\"a> b\\\"\"@b.example"),
            ("RCPT TO:<Postmaster>", "Postmaster"),
            ("RCPT TO:<dörte@sörensen.example>", "dörte@sörensen.example"),
        ] {
            assert_eq!(address(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn bad_input_gets_its_own_answer() {
        for (line, answer) in [
            ("EHLO", replies::HELLO_NAME),
            ("EHLO a b", replies::HELLO_NAME),
            ("HELO \u{e9}", replies::HELLO_NAME),
            ("NOOP\0", replies::NOT_TEXT),
            ("MAIL FROM:<a@b>\r", replies::NOT_TEXT),
            ("QUIT now", replies::NO_ARGUMENT),
            ("DATA x", replies::NO_ARGUMENT),
            ("STARTTLS x", replies::NO_ARGUMENT),
            ("VRFY", replies::ARGUMENT),
            ("ETRN", replies::ARGUMENT),
            ("XCLIENT ", replies::ARGUMENT),
            ("AUTH", replies::ARGUMENT),
            ("AUTH PLAIN AA== AA==", replies::BASE64),
            ("MAIL", replies::REVERSE_PATH),
            ("MAIL FROM", replies::REVERSE_PATH),
            ("MAIL FROM:a@b", replies::REVERSE_PATH),
            ("MAIL FROM:<a@b", replies::REVERSE_PATH),
            ("MAIL FROM:<a@b>SIZE=1", replies::REVERSE_PATH),
            ("MAIL FROM:<a b@c>", replies::REVERSE_PATH),
            ("MAIL FROM:<<a@b>>", replies::REVERSE_PATH),
            ("MAIL TO:<a@b>", replies::REVERSE_PATH),
            ("MAIL FRÖM:<a@b>", replies::REVERSE_PATH),
            ("RCPT TO:<>", replies::FORWARD_PATH),
            ("RCPT TO:<@a.example:>", replies::FORWARD_PATH),
            ("RCPT TO:<\"a>@b", replies::FORWARD_PATH),
            ("MAIL FROM:<a@b> SIZE=1 size=2", replies::PARAMETER),
            ("MAIL FROM:<a@b> SIZE=", replies::PARAMETER),
            ("MAIL FROM:<a@b> =1", replies::PARAMETER),
            ("MAIL FROM:<a@b> A=B=C", replies::PARAMETER),
        ] {
            assert_eq!(parse(line.as_bytes()), Err(answer), "{line:?}");
        }
        assert_eq!(parse(b"NOOP \xff"), Err(replies::NOT_TEXT));
    }

    #[test]
    fn what_is_no_command_here_is_handed_on() {
        for (line, verb, argument) in
            [("", "", ""), (" NOOP", "", "NOOP"), ("NOOPS", "NOOPS", ""), ("GET / HTTP/1.1", "GET", "/ HTTP/1.1")]
        {
            assert_eq!(parse(line.as_bytes()), Ok(Said::Other(verb, argument)), "{line:?}");
        }
        assert_eq!(parse(b"help"), Ok(Said::Help(None)));
        assert_eq!(parse(b"help  MAIL "), Ok(Said::Help(Some("MAIL"))));
        assert_eq!(parse(b"vrfy a b"), Ok(Said::Vrfy("a b")));
        assert_eq!(parse(b"etrn @b.example"), Ok(Said::Etrn("@b.example")));
    }

    #[test]
    fn chunk_sizes_are_digits() {
        let size = |line: &str| match parse(line.as_bytes()) {
            Ok(Said::Bdat { size, last }) => (size, last),
            other => panic!("{other:?}"),
        };
        assert_eq!(size("BDAT 0"), (Some(0), false));
        assert_eq!(size("bdat 86 last "), (Some(86), true));
        assert_eq!(size("BDAT 18446744073709551615"), (Some(u64::MAX), false));
        for bad in
            ["BDAT", "BDAT LAST", "BDAT +1", "BDAT -1", "BDAT 18446744073709551616", "BDAT 1 FIRST", "BDAT 1 LAST x"]
        {
            assert_eq!(size(bad).0, None, "{bad}");
        }
        assert_eq!(parse(b"BDAT \xff 5"), Ok(Said::Bdat { size: None, last: false }));
    }
}
