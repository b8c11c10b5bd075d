//! The fuzz target `server`: the laws at every cut whatever its owner answers, then calls in any order.

use std::time::Duration;

use proxy_proto::{Instant, Machine};
use smtp_proto::Secret;
use smtp_proto::reply::{Code, Reply};
use smtp_proto::sasl::Channel;
use smtp_proto::sasl::server::{Answer, Event as Asked};
use smtp_proto::server::{self, Ask, Config as Host, Question, Server};

use super::control::{Control, turns};
use crate::laws::{self, BEGIN, Cut};

/// What a server may be asked to ask about.
pub(super) const ASKS: [Ask; 5] = [Ask::Data, Ask::Verify, Ask::Expand, Ask::Help, Ask::Unknown];
const EXTENSIONS: [&str; 7] =
    ["REQUIRETLS", "DELIVERBY 60", "MT-PRIORITY", "FUTURERELEASE 99 2099-01-01T00:00:00Z", "RRVS", "LIMITS", "ETRN"];

fn limits(flags: u8) -> server::Limits {
    server::Limits { message: if flags & 64 > 0 { 20 } else { 0 }, ..server::Limits::default() }
}

fn host(flags: u8, more: u8) -> Host {
    let names = ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"].map(|name| name.parse().expect("a mechanism"));
    let with = |config: Host, line: &str| config.with(line).expect("an extension");
    let mut config = Host::new("mx.example.org")
        .expect("a name")
        .starttls(flags & 1 > 0)
        .lmtp(flags & 2 > 0)
        .hold_greeting(flags & 4 > 0)
        .mechanisms(if flags & 8 > 0 { names.to_vec() } else { Vec::new() })
        .danger_allow_clear_text_auth(true)
        .bare_line_feeds_in_commands(flags & 16 > 0)
        .bare_line_endings_in_content(flags & 32 > 0)
        .limits(limits(flags));
    if flags & 128 > 0 {
        config = with(with(config, "BINARYMIME"), "DSN");
    }
    if more & 1 > 0 {
        config = config.ask(ASKS);
    }
    if more & 2 > 0 {
        config = EXTENSIONS.into_iter().fold(config, with).with_own("XODD a", &["XODD"]).expect("an extension");
    }
    if more & 64 > 0 {
        config = with(config, "PRDR");
    }
    config.permit_xclient(more & 4 > 0)
}

/// Answers what is open; the answer depends on the question alone, not on the cut.
fn answer(server: &mut Server, event: Option<&server::Event>, answers: u8, more: u8) {
    while server.is_asking() {
        if let Some(decision) = server.decision() {
            let bit = match decision.question() {
                Question::Greeting => 1,
                Question::Mail => 2,
                Question::Recipient => 4,
                Question::Message | Question::MessageFor(_) => 8,
                Question::Data => 32,
                Question::Etrn | Question::Xclient => 64,
                _ => 128,
            };
            let own = |number| Reply::new(Code::new(number).expect("a code"), "x\ny").expect("a reply");
            // Not all alike, where each is answered for.
            let differs = more & 128 > 0 && matches!(decision.question(), Question::MessageFor(at) if at % 2 == 1);
            match ((answers & bit == 0) != differs, more & 16 > 0) {
                (true, false) => decision.accept(),
                (true, true) => {
                    let number = match decision.question() {
                        Question::Greeting | Question::Xclient => 220,
                        Question::Data => 354,
                        _ => 250,
                    };
                    decision.accept_with(&own(number)).expect("the code that is asked for");
                }
                (false, true) => decision.refuse(&own(if more & 32 > 0 { 421 } else { 554 })).expect("a refusal"),
                (false, false) if more & 8 > 0 => decision.defer(),
                (false, false) => decision.reject(),
            }
        } else if let Some(question) = server.authentication() {
            question.begin(&Channel::clear(), [9; 24]).expect("an offered mechanism");
        } else if let Some(Some(server::Event::Credentials(asked))) = server.credentials().map(|_| event) {
            let answer = match asked {
                Asked::Lookup { .. } => Answer::Password(Secret::from("secret")),
                _ if answers & 16 == 0 => Answer::Accept,
                _ => Answer::Refuse,
            };
            let question = server.credentials().expect("it is open");
            question.answer(answer).expect("an answer that fits");
        } else {
            return;
        }
    }
}

/// The server keeps the laws at every cut, whatever its owner answers; content does not depend on how it is handed out.
pub fn server(input: &[u8]) {
    let (mut control, data) = Control::split(input);
    let (flags, answers, cut, more) = (control.next(), control.next(), control.cut(), control.next());
    let config = host(flags, more);
    let act = |server: &mut Server, now: Instant, event: Option<&server::Event>, output: &mut Vec<u8>| {
        if matches!(event, Some(server::Event::StartTls)) {
            server.transmit(now, output);
            server.secured().expect("it asked for it");
        }
        if let Some(event) = event {
            check(event, &config, flags);
        }
        answer(server, event, answers, more);
    };
    let turns = turns(data);
    let run = |cut| joined(laws::run(&mut Server::new(config.clone()), &turns, cut, act));
    assert_eq!(run(cut), run(Cut::Pieces(usize::MAX)));
    owner(Server::new(config.clone()), &mut control, data);
}

/// What is handed out is lawful, and means the same when it is written again.
fn check(event: &server::Event, config: &Host, flags: u8) {
    let (raw, line) = match event {
        server::Event::Mail { from, parameters } => (parameters.raw(), format!("MAIL FROM:<{from}>")),
        server::Event::Recipient { to, parameters } => (parameters.raw(), format!("RCPT TO:<{to}>")),
        server::Event::Command { verb, argument } => {
            assert!(
                !verb.contains(char::is_whitespace) && !argument.contains(|c: char| c.is_ascii_control() && c != '\t'),
                "{event:?}"
            );
            return;
        }
        _ => return,
    };
    let mut wire = line;
    for one in &raw {
        wire.extend([" ", one.keyword()]);
        wire.extend(one.value().into_iter().flat_map(|value| ["=", value]));
    }
    wire.push_str("\r\n");
    let hello = if flags & 2 > 0 { "LHLO c\r\n" } else { "EHLO c\r\n" };
    let opening = if wire.starts_with("RCPT") { "MAIL FROM:<> SMTPUTF8\r\n" } else { "" };
    let wire = [hello, opening, &wire].concat();
    // A server like it, that greets by itself and takes lines of any length.
    let limits = server::Limits { line: 8192, ..limits(flags) };
    let mut again = Server::new(config.clone().hold_greeting(false).implicit_tls(true).limits(limits));
    let mut rest = wire.as_bytes();
    let mut last = None;
    while let Ok(Some(heard)) = again.receive(BEGIN, &mut rest) {
        last = Some(heard);
        while let Some(decision) = again.decision() {
            decision.accept();
        }
    }
    assert_eq!(last.as_ref(), Some(event), "{wire}");
}

/// Calls in any order: nothing panics, an error stays, what is misused changes nothing.
fn owner(mut server: Server, control: &mut Control<'_>, mut input: &[u8]) {
    let (mut now, mut failure, mut last) = (BEGIN, None, None);
    while let Some(step) = control.or_end() {
        let size = usize::from(step >> 3);
        let outcome = match step % 8 {
            0 | 1 => {
                let (mut piece, _) = input.split_at(input.len().min(size * 4 + 1));
                let offered = piece.len();
                let heard = server.receive(now, &mut piece);
                input = &input[offered - piece.len()..];
                Some(heard.map(|event| last = event.or(last.take())))
            }
            2 => {
                let mut output = Vec::new();
                server.transmit(now, &mut output);
                assert!(output.len() < 200_000 && !server.transmit(now, &mut output), "it speaks again without cause");
                None
            }
            3 => {
                now = now.after(Duration::from_secs(size as u64 * 20));
                let (before, failed) = (server.deadline(), failure.is_some());
                let expired = server.expire(now);
                if before.is_some_and(|deadline| deadline.at > now) && !failed {
                    assert_eq!((&expired, server.deadline()), (&Ok(()), before));
                }
                Some(expired)
            }
            4 | 5 => {
                let asks = server.is_asking();
                let reply = [220, 250, 354, 421, 450, 550][size % 6];
                let reply = Reply::new(Code::new(reply).expect("a code"), "x").expect("a reply");
                let said = match server.decision() {
                    Some(decision) if size < 12 => decision.accept_with(&reply),
                    Some(decision) => decision.refuse(&reply),
                    None => {
                        answer(&mut server, last.as_ref(), size as u8, 0);
                        Ok(())
                    }
                };
                assert!(said.is_ok() || (asks && server.is_asking()), "a misuse has changed something");
                None
            }
            6 => {
                match size % 4 {
                    0 => server.shut_down(),
                    1 => drop(server.secured()),
                    _ => answer(&mut server, last.as_ref(), step, step),
                }
                None
            }
            _ if size == 31 => Some(server.finish()),
            _ => None,
        };
        if let Some(outcome) = outcome {
            if let Some(error) = &failure {
                assert_eq!(outcome.as_ref(), Err(error));
            }
            failure = failure.or(outcome.err());
        }
        assert!(failure.is_none() || server.is_closed());
    }
}

/// Content is one, however it was handed out.
fn joined(trace: laws::Trace<server::Event, server::Error>) -> laws::Trace<String, server::Error> {
    let (mut events, mut content) = (Vec::new(), Vec::new());
    for event in trace.events {
        match event {
            server::Event::Content { octets, last: false } => content.extend(octets),
            server::Event::Content { octets, last: true } => {
                content.extend(octets);
                events.push(format!("content {}", std::mem::take(&mut content).escape_ascii()));
            }
            other => {
                events.push(format!("{other:?} behind {}", std::mem::take(&mut content).escape_ascii()));
            }
        }
    }
    // Content that is not complete when the input ends may still be held back, in part.
    let laws::Trace { output, failure, left, end, .. } = trace;
    laws::Trace { events, output, failure, left, end }
}
