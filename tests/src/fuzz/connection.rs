//! The fuzz target `connection`: what an adapter is promised, whatever is said and asked.
//!
//! The rules of this file: TLS is transparent here, so that what is fuzzed lies behind the handshake.

use std::time::Duration;

use smtp_proto::body::LineEndings;
use smtp_proto::client::Event;
use smtp_proto::command::Command;
use smtp_proto::sasl::Credentials;
use smtp_proto::{Config, Connection, Route, Security};

use super::client::envelope;
use super::control::Control;
use crate::laws::BEGIN;
use crate::transparent::Transparent;

/// A connection keeps what it promises, whatever the server says and whatever its owner does, in any order.
pub fn connection(input: &[u8]) {
    let (mut control, mut data) = Control::split(input);
    let flags = control.next();
    let security = [
        Security::None,
        Security::StartTls,
        Security::Implicit,
        Security::Auto,
        Security::StartTlsIfOffered,
        Security::None,
        Security::StartTls,
        Security::StartTls,
    ][usize::from(flags % 8)];
    let mut config = Config::new("localhost", 25).security(security).tls(Transparent).entropy(|octets| octets.fill(7));
    if flags & 8 > 0 {
        config = config.credentials(Credentials::password("tim", "tanstaaftanstaaf"));
    }
    let mut connection = Connection::new(config, Route::direct()).expect("a configuration");
    let (mut now, mut failure, mut sent, mut told, mut ended) = (BEGIN, None, Vec::new(), Vec::new(), false);
    let mut accepting = 0;
    while let Some(step) = control.or_end() {
        let size = usize::from(step >> 3);
        match step % 8 {
            0 | 1 => {
                let wants = connection.wants(now);
                let n = data.len().min(size * 8 + 1).min(wants.read.len());
                wants.read[..n].copy_from_slice(&data[..n]);
                assert!(wants.write.len() < 256 * 1024, "it fills the memory");
                // No octets are the end of the stream.
                if n > 0 || (data.is_empty() && !ended) {
                    ended = n == 0;
                    connection.received(n);
                }
                data = &data[n..];
            }
            2 => {
                let written = connection.wants(now).write.len();
                connection.sent(written.min(size * 16 + 1));
            }
            3 => now = now.after(Duration::from_secs(size as u64)),
            4 => {
                if let Some(mut body) = connection.body(now) {
                    match size % 4 {
                        0 => body.end(),
                        1 => body.abandon(),
                        _ => drop(body.write(&mut &[b'.'; 1000][..size])),
                    }
                }
            }
            5 => match size % 8 {
                0 => drop(connection.quit()),
                1 => drop(connection.command(Command::noop())),
                2 => connection.write_failed(),
                _ => sent.extend(connection.send(envelope(), LineEndings::Canonical)),
            },
            _ => {}
        }
        loop {
            match connection.poll(now) {
                Ok(None) => {
                    assert_eq!(failure, None, "an error is forgotten");
                    break;
                }
                Ok(Some(Event::Sent(report))) => {
                    assert!(sent.contains(&report.transaction), "a report of nothing");
                    accepting += usize::from(report.is_accepted());
                    told.push(report.transaction);
                }
                Ok(Some(_)) => assert_eq!(failure, None, "an event after an error"),
                Err(error) => {
                    assert!(failure.is_none_or(|first| first == error), "another error");
                    assert_eq!(connection.wants(now).deadline, None, "it still waits after an error");
                    failure = Some(error);
                    break;
                }
            }
        }
        if failure.is_none() {
            let deadline = connection.wants(now).deadline;
            assert!(deadline.is_none_or(|deadline| deadline.at > now), "a deadline that has passed is not acted upon");
        }
    }
    let mut once = told.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), told.len(), "a message is reported twice");
    assert!(failure.is_none() || told.len() == sent.len(), "a message is not reported");
    assert!(accepting <= input.windows(3).filter(|part| part[0] == b'2').count(), "accepted, and nobody said so");
}
