//! A recorded session, once more: to see whether the machine says again what it said, and where it does not.
//!
//! The rules of this file:
//!
//! - The server's lines come from the recording, at their moments; the client's are compared with those of the recording, in
//!   order. The first that differs ends the replay, because what the server said behind it answers something else.
//! - A message goes out when the recording shows that it did, and not before: so what interrupted it interrupts it again.
//! - `***` in a recording stands for anything.

use alloc::string::String;
use alloc::vec::Vec;

use proxy_proto::{Instant, Machine};

use super::event::{Event, TransactionId};
use super::recording::{Recording, Said};
use super::{Client, phase};
use crate::error::Error;
use crate::sasl::Channel;

/// Octets of a message that are given at once.
const PIECE: usize = 16 * 1024;

/// What came of a replay.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Replayed {
    /// What the client told its owner, in order.
    pub events: Vec<Event>,
    /// How the session failed.
    pub failure: Option<Error>,
    /// Where the client said something else than it had said; `None` where it did not.
    pub deviation: Option<Deviation>,
}

/// Where a client said something else than is recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deviation {
    /// The place in [`Recording::entries`]; their number where something was said behind the last.
    pub entry: usize,
    /// What is recorded; `None` where nothing is.
    pub recorded: Option<String>,
    /// What was said; `None` where nothing was.
    pub said: Option<String>,
}

/// Plays a recording to a client at its very beginning, which is set up as the recorded one was and wants the same.
///
/// `act` is called with each event, so that further work can be asked for where it was asked for then; `message` gives the octets
/// of a message ([`Recording::message_sizes`] says how many they were).
///
/// A login that depends on a nonce (SCRAM, CRAM-MD5, DIGEST-MD5, NTLM) cannot be replayed beyond its challenge, because what
/// the server answered belongs to secrets that nobody recorded. Of TLS it is only known that it stood.
pub fn replay(
    recording: &Recording,
    client: &mut Client,
    act: impl FnMut(&mut Client, &Event),
    message: impl FnMut(TransactionId) -> Vec<u8>,
) -> Replayed {
    client.tap = Some(Vec::new());
    let mut player = Player { client, act, message, body: None, events: Vec::new(), failure: None };
    let deviation = player.play(recording);
    let Player { client, events, failure, .. } = player;
    client.tap = None;
    Replayed { events, failure, deviation }
}

struct Player<'a, A, M> {
    client: &'a mut Client,
    act: A,
    message: M,
    /// The message going out, and how much of it was taken.
    body: Option<(TransactionId, Vec<u8>, usize)>,
    events: Vec<Event>,
    failure: Option<Error>,
}

impl<A: FnMut(&mut Client, &Event), M: FnMut(TransactionId) -> Vec<u8>> Player<'_, A, M> {
    fn play(&mut self, recording: &Recording) -> Option<Deviation> {
        let mut now = Instant::EPOCH;
        for (at, entry) in recording.entries.iter().enumerate() {
            now = now.max(entry.at);
            match &entry.said {
                Said::Client(line) => {
                    let said = self.next_line(now);
                    if !said.as_ref().is_some_and(|said| is_like(line, said)) {
                        return Some(Deviation { entry: at, recorded: Some(line.clone()), said });
                    }
                }
                Said::Server(reply) => {
                    // Whatever was said before it is recorded before it.
                    let mut wire = Vec::new();
                    reply.encode(&mut wire);
                    self.hear(now, &wire);
                }
                Said::Note(note) if entry.phase == phase::TLS.name() && note.starts_with("TLS") => {
                    self.client.secured(Channel::secured());
                }
                // What comes below the dialogue comes before its clock runs.
                Said::Note(_) if [phase::TLS, phase::CONNECT].iter().any(|below| below.name() == entry.phase) => {}
                Said::Note(_) => self.hear(now, b""),
            }
            if self.failure.is_none() {
                self.failure = self.client.expire(now).err();
            }
        }
        self.client.transmit(now, &mut Vec::new());
        let said = self.said()?;
        Some(Deviation { entry: recording.entries.len(), recorded: None, said: Some(said) })
    }

    /// The oldest line that the client said and that was not compared yet.
    fn said(&mut self) -> Option<String> {
        self.client.tap.as_mut().filter(|tap| !tap.is_empty()).map(|tap| tap.remove(0))
    }

    /// The same, where it can be brought to say one.
    fn next_line(&mut self, now: Instant) -> Option<String> {
        let mut output = Vec::new();
        loop {
            self.client.transmit(now, &mut output);
            if let Some(line) = self.said() {
                return Some(line);
            }
            output.clear();
            if !self.write(now, &mut output) {
                return None;
            }
        }
    }

    /// Gives the next octets of the message that is going out, or its end; `false` where none may go.
    fn write(&mut self, now: Instant, output: &mut Vec<u8>) -> bool {
        let Some(mut body) = self.client.body(now, output, usize::MAX) else { return false };
        let Some(id) = body.transaction() else { return false };
        let message = &mut self.message;
        let (_, octets, taken) = match &mut self.body {
            Some(known) if known.0 == id => known,
            other => other.insert((id, message(id), 0)),
        };
        if *taken == octets.len() {
            body.end();
            return true;
        }
        let piece = &octets[*taken..octets.len().min(*taken + PIECE)];
        match body.write(&mut &piece[..]) {
            Ok(written) => {
                *taken += written;
                written > 0
            }
            Err(_) => {
                body.abandon();
                false
            }
        }
    }

    fn hear(&mut self, now: Instant, wire: &[u8]) {
        let mut rest = wire;
        while self.failure.is_none() {
            match self.client.receive(now, &mut rest) {
                Ok(Some(event)) => {
                    if matches!(event, Event::StartTls(_)) && rest.is_empty() {
                        self.client.secured(Channel::secured());
                    }
                    (self.act)(self.client, &event);
                    self.events.push(event);
                }
                Ok(None) => return,
                Err(error) => {
                    self.failure = Some(error);
                    while let Some(report) = self.client.abandoned(|_| true) {
                        self.events.push(Event::Sent(report));
                    }
                }
            }
        }
    }
}

/// Whether a line is the recorded one, where `***` stands for anything.
fn is_like(recorded: &str, said: &str) -> bool {
    let mut parts = recorded.split("***");
    let Some(mut rest) = parts.next().and_then(|first| said.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let end = match parts.peek() {
            Some(_) => rest.find(part).map(|at| at + part.len()),
            None => rest.ends_with(part).then_some(rest.len()),
        };
        let Some(end) = end else { return false };
        rest = &rest[end..];
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_like_anything() {
        for (recorded, said, like) in [
            ("QUIT", "QUIT", true),
            ("QUIT", "QUIT ", false),
            ("QUIT", "NOOP", false),
            ("***", "", true),
            ("***", "anything", true),
            ("AUTH PLAIN ***", "AUTH PLAIN AA==", true),
            ("AUTH PLAIN ***", "AUTH LOGIN AA==", false),
            ("BURL imap://a;URLAUTH=*** LAST", "BURL imap://a;URLAUTH=x LAST", true),
            ("BURL imap://a;URLAUTH=*** LAST", "BURL imap://a;URLAUTH=x", false),
            ("a***b***c", "a1b2c", true),
            ("a***b***c", "a1c", false),
        ] {
            assert_eq!(is_like(recorded, said), like, "{recorded} {said}");
        }
    }
}
