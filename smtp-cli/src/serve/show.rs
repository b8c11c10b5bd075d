//! What the server tells of itself on standard output: where it listens, then each message.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;

use super::mail::Arrived;
use crate::args::ServeArgs;
use crate::failure::Failure;
use crate::output::json::error;
use crate::output::put;

/// For people, or for programs.
pub(crate) struct Show {
    json: bool,
}

impl Show {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// The address first, alone on its line: port 0 is known only now.
    pub(crate) fn listening(&self, address: SocketAddr, args: &ServeArgs, ca: Option<&Path>) {
        let text = if self.json {
            format!("{}\n", json!({ "listening": address.to_string(), "ca": ca, "lmtp": args.lmtp }))
        } else {
            let ca = ca.map(|path| format!("CA: {}\n", path.display())).unwrap_or_default();
            format!("{address}\n{ca}")
        };
        put(text.as_bytes());
    }

    /// One message.
    pub(crate) fn arrived(&self, arrived: &Arrived) {
        if !self.json {
            return put(for_people(arrived).as_bytes());
        }
        if let Ok(line) = serde_json::to_string(arrived) {
            put(format!("{line}\n").as_bytes());
        }
    }
}

/// For programs: there will be no server.
pub(crate) fn failed(failure: &Failure) {
    put(format!("{}\n", json!({ "exit": failure.status, "error": error(failure) })).as_bytes());
}

fn for_people(arrived: &Arrived) -> String {
    let mut text = format!("\nfrom <{}> {}\n", arrived.from, arrived.parameters.join(" "));
    for to in &arrived.recipients {
        text.push_str(&format!("to <{}> {}\n", to.address, to.parameters.join(" ")));
    }
    text.push_str(&format!("by {} ({})", arrived.peer, arrived.helo.as_deref().unwrap_or("-")));
    match (&arrived.tls, &arrived.cipher) {
        (Some(version), Some(cipher)) => text.push_str(&format!(", TLS {version} {cipher}")),
        _ => text.push_str(", in clear"),
    }
    if let (Some(user), Some(mechanism)) = (&arrived.user, &arrived.mechanism) {
        text.push_str(&format!(", user {user} by {mechanism}"));
    }
    text.push_str(&format!(", {} octets\n", arrived.octets));
    if let Some(file) = &arrived.file {
        text.push_str(&format!("kept as {}\n", file.display()));
    }
    for field in &arrived.headers {
        text.push_str(&format!("  {}: {}\n", field.name, field.value));
    }
    // A client can write what a terminal obeys.
    text.lines().map(str::trim_end).map(clean).collect()
}

fn clean(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).chain(['\n']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(clean("a\x1b[31mb"), "a\u{fffd}[31mb\n");
    }
}
