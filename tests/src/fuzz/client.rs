//! The fuzz target `client`: the laws at every cut, then calls in any order.

use std::sync::Arc;
use std::time::Duration;

use proxy_proto::{Instant, Machine};
use smtp_proto::Grouping;
use smtp_proto::body::LineEndings;
use smtp_proto::client::{self, Client, Envelope, Event, StartTls};
use smtp_proto::command::Command;
use smtp_proto::sasl::{Allowed, Channel, Credentials};

use super::control::{Control, turns};
use crate::laws::{self, BEGIN, Cut};

/// What is sent.
pub(super) fn envelope() -> Envelope {
    Envelope::new("alice@example.org", ["bob@example.net", "carol@example.net"]).expect("an envelope")
}

fn client_config(flags: u8) -> client::Config {
    let mut config = client::Config::new("mx.example.org");
    config.starttls =
        [StartTls::Never, StartTls::IfOffered, StartTls::Required, StartTls::Never][usize::from(flags % 4)];
    if flags & 4 > 0 {
        config.credentials = Some(Credentials::password("tim", "tanstaaftanstaaf"));
        config.allowed = Allowed::all().danger_allow_clear_text();
    }
    if flags & 8 > 0 {
        config.grouping = Grouping::OneByOne;
    }
    config.entropy = Some(Arc::new(|octets: &mut [u8]| octets.fill(7)));
    config
}

/// The client keeps the laws at every cut, and whatever its owner does.
pub fn client(input: &[u8]) {
    let (mut control, data) = Control::split(input);
    let flags = control.next();
    let config = client_config(flags);
    let wish = |client: &mut Client| {
        for _ in 0..(flags >> 4) % 4 {
            client.send(envelope(), LineEndings::Canonical).expect("an open session");
        }
        if flags & 64 > 0 {
            client.command(Command::noop()).expect("an open session");
        }
        if flags & 128 > 0 {
            client.quit().expect("an open session");
        }
    };
    let make = || {
        let mut client = Client::new(config.clone()).expect("a configuration");
        wish(&mut client);
        client
    };
    let act = |client: &mut Client, now: Instant, event: Option<&Event>, output: &mut Vec<u8>| {
        if event.is_none() {
            if client.phase() == smtp_proto::phase::STARTTLS {
                client.secured(Channel::secured());
            }
            while let Some(mut body) = client.body(now, output, usize::MAX) {
                body.write(&mut &b".\r\n.x"[..]).expect("canonical line endings");
                body.end();
            }
        }
    };
    let cut = control.cut();
    let turns = turns(data);
    // SCRAM is a second of work where the server says so; that is its law, and not for here.
    if data.windows(2).any(|pair| pair == b"i=") {
        return;
    }
    let whole = laws::run(&mut make(), &turns, Cut::Pieces(usize::MAX), act);
    assert_eq!(laws::run(&mut make(), &turns, cut, act), whole);
    let said = whole.output.concat();
    assert!(!said.windows(16).any(|part| part == b"tanstaaftanstaaf"), "a password in clear");
    owner_of_client(make(), &mut control, data);
}

/// Calls in any order: nothing panics, an error stays, what is misused changes nothing.
fn owner_of_client(mut client: Client, control: &mut Control<'_>, mut input: &[u8]) {
    let (mut now, mut failure) = (BEGIN, None);
    while let Some(step) = control.or_end() {
        let mut output = Vec::new();
        let size = usize::from(step >> 3);
        let outcome = match step % 8 {
            0 | 1 => {
                let (mut piece, _) = input.split_at(input.len().min(size * 4 + 1));
                let offered = piece.len();
                let heard = client.receive(now, &mut piece).map(drop);
                input = &input[offered - piece.len()..];
                Some(heard)
            }
            2 => {
                client.transmit(now, &mut output);
                assert!(!client.transmit(now, &mut output), "it speaks again without cause");
                None
            }
            3 => {
                now = now.after(Duration::from_secs(size as u64 * 20));
                let (before, failed) = (client.deadline(), failure.is_some());
                let expired = client.expire(now);
                if before.is_some_and(|deadline| deadline.at > now) && !failed {
                    assert_eq!((&expired, client.deadline()), (&Ok(()), before));
                }
                Some(expired)
            }
            4 => {
                if let Some(mut body) = client.body(now, &mut output, 64) {
                    match size % 4 {
                        0 => body.end(),
                        1 => drop(body.write(&mut &[b'.'; 100][..])),
                        2 => drop(body.write(&mut &b"\r"[..])),
                        _ => body.abandon(),
                    }
                }
                assert!(output.len() < 200, "more than there is room for");
                None
            }
            5 => {
                let _ = match size % 4 {
                    0 => client.quit(),
                    1 => client.command(Command::noop()).map(drop),
                    _ => client.send(envelope(), LineEndings::Strict).map(drop),
                };
                None
            }
            6 => {
                client.secured(Channel::secured());
                None
            }
            _ if size == 31 => Some(client.finish()),
            _ => None,
        };
        if let Some(outcome) = outcome {
            if let Some(error) = &failure {
                assert_eq!(outcome.as_ref(), Err(error));
            }
            failure = failure.or(outcome.err());
        }
    }
    if failure.is_some() {
        assert!(std::iter::from_fn(|| client.abandoned(|_| false)).take(300).count() < 300);
    }
}
