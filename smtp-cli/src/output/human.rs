//! The summary for people: a line for each message, then one for the session; failures on standard error.

use std::io::{self, IsTerminal, Write};

use super::{Sent, Summary, put};
use crate::failure::Failure;

/// Prints what happened on standard output.
pub(crate) fn print(summary: &Summary) {
    let mut text = Vec::new();
    // Memory takes all of it.
    let _ = write(&mut text, summary);
    put(&text);
}

/// Prints a failure on standard error, in one line.
pub(crate) fn print_failure(failure: &Failure) {
    let stderr = io::stderr();
    let (red, plain) = if has_colours(stderr.is_terminal()) { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
    let _ = writeln!(stderr.lock(), "{red}smtp: {failure}{plain}");
}

/// Whether colours are wanted (no-color.org).
pub(crate) fn has_colours(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn write(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    // Of many messages that all went the same way there is little to say.
    let many = summary.messages.len() > 10 && summary.messages.iter().all(Sent::is_accepted);
    for sent in summary.messages.iter().filter(|_| !many) {
        message(out, sent)?;
    }
    if summary.messages.len() > 1 {
        let accepted = summary.messages.iter().filter(|sent| sent.is_accepted()).count();
        write!(out, "{accepted} of {} messages accepted", summary.messages.len())?;
        match summary.rate() {
            Some(rate) => writeln!(out, ", {rate:.1} a second")?,
            None => writeln!(out)?,
        }
    }
    if summary.validated {
        writeln!(out, "validated")?;
    }
    if let (Some(server), Some(session)) = (&summary.server, &summary.session) {
        write!(out, "{}", server.host)?;
        if let Some(port) = server.port {
            write!(out, " port {port}")?;
        }
        if let Some(address) = server.address.filter(|address| address.ip().to_string() != server.host) {
            write!(out, " ({})", address.ip())?;
        }
        match (&session.tls, session.mode()) {
            (Some((version, cipher)), mode) => write!(out, ", {mode}, TLS {version} {cipher}")?,
            (None, _) => write!(out, ", in clear")?,
        }
        if let Some(mechanism) = &session.mechanism {
            write!(out, ", authenticated by {mechanism}")?;
        }
        writeln!(out, ", {} flights, {:.3} s", summary.flights, summary.seconds)?;
    }
    Ok(())
}

fn message(out: &mut impl Write, sent: &Sent) -> io::Result<()> {
    for to in &sent.recipients {
        write!(out, "{} -> {}: {}", display(&sent.from), to.address, to.result)?;
        let reply = if to.result == "accepted" { &sent.reply } else { &to.reply };
        match reply {
            Some(reply) => writeln!(out, " ({reply})")?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

fn display(from: &str) -> &str {
    if from.is_empty() { "<>" } else { from }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_recipient_has_a_line() {
        let messages = vec![Sent::not_sent("", ["b@c", "d@e"].into_iter(), None)];
        let mut out = Vec::new();
        write(&mut out, &Summary { messages, ..Summary::default() }).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "<> -> b@c: not-sent\n<> -> d@e: not-sent\n");
    }
}
