//! The bodies of the fuzz targets for the server: by itself, and against our client over a wire that may break.
//!
//! The rules of this file: those of [`crate::fuzz`]; control octets were added at the end, so that old inputs mean what they
//! meant.

use std::sync::Arc;
use std::time::Duration;

use proxy_proto::{Instant, Machine};
use smtp_proto::body::LineEndings;
use smtp_proto::client::{Envelope, Event, Notify, Outcome, Report, Ret};
use smtp_proto::command::Command;
use smtp_proto::parameter::{EnvelopeId, OriginalRecipient};
use smtp_proto::reply::{Code, Reply};
use smtp_proto::sasl::Channel;
use smtp_proto::sasl::server::{Answer, Event as Asked};
use smtp_proto::server::{self, Ask, Config as Host, Question, Server};
use smtp_proto::{Config, Grouping, Secret, Security};

use crate::fuzz::{Control, canonical, envelope, turns};
use crate::laws::{self, BEGIN, Cut};
use crate::transparent::Transparent;
use crate::wire::{Break, Wire};

const ASKS: [Ask; 5] = [Ask::Data, Ask::Verify, Ask::Expand, Ask::Help, Ask::Unknown];
const EXTENSIONS: [&str; 7] =
    ["REQUIRETLS", "DELIVERBY 60", "MT-PRIORITY", "FUTURERELEASE 99 2099-01-01T00:00:00Z", "RRVS", "LIMITS", "ETRN"];

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
        .limits(server::Limits { message: if flags & 64 > 0 { 20 } else { 0 }, ..server::Limits::default() });
    if flags & 128 > 0 {
        config = with(with(config, "BINARYMIME"), "DSN");
    }
    if more & 1 > 0 {
        config = config.ask(ASKS);
    }
    if more & 2 > 0 {
        config = EXTENSIONS.into_iter().fold(config, with).with_own("XODD a", &["XODD"]).expect("an extension");
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
            match (answers & bit == 0, more & 16 > 0) {
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
            check(event, &config, flags & 2 > 0);
        }
        answer(server, event, answers, more);
    };
    let turns = turns(data);
    let run = |cut| joined(laws::run(&mut Server::new(config.clone()), &turns, cut, act));
    assert_eq!(run(cut), run(Cut::Pieces(usize::MAX)));
    owner(Server::new(config.clone()), &mut control, data);
}

/// What is handed out is lawful, and means the same when it is written again.
fn check(event: &server::Event, config: &Host, lmtp: bool) {
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
    let hello = if lmtp { "LHLO c\r\n" } else { "EHLO c\r\n" };
    let opening = if wire.starts_with("RCPT") { "MAIL FROM:<> SMTPUTF8\r\n" } else { "" };
    let wire = [hello, opening, &wire].concat();
    // A server like it, that greets by itself and takes lines of any length.
    let limits = server::Limits { line: 8192, ..server::Limits::default() };
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

/// An envelope with what the control asks for.
fn given(more: u8) -> Envelope {
    if more & 2 == 0 {
        return envelope();
    }
    let delay = Notify { delay: true, ..Notify::default() };
    let given = envelope().ret(Ret::Headers).notify(1, delay).envid("a=b");
    given.and_then(|given| given.orcpt(0, "rfc822", "b+b@example.net")).expect("lawful parameters")
}

/// A client against a server, on a wire that may break: what arrived is what was sent, and what is told is true.
pub fn pair(input: &[u8]) {
    let (mut control, data) = Control::split(input);
    let flags = control.next();
    let security = [Security::None, Security::StartTls, Security::Implicit, Security::Auto][usize::from(flags % 4)];
    let grouping = if flags & 4 > 0 { Grouping::OneByOne } else { Grouping::Groups };
    let config = Config::new("localhost", 25).security(security).tls(Transparent).grouping(grouping);
    let config = config.entropy(|octets| octets.fill(7));
    let mut server = Host::new("mx.example.org").expect("a name").ask(ASKS).with("DSN").expect("an extension");
    for (bit, keyword) in [(8, "PIPELINING"), (16, "CHUNKING"), (32, "SIZE")] {
        if flags & bit > 0 {
            server = server.without(keyword);
        }
    }
    let acceptor: Arc<dyn smtp_proto::tls::Acceptor> = Arc::new(Transparent);
    let implicit = security == Security::Implicit;
    let offers = implicit || security == Security::StartTls || flags & 64 > 0;
    let piece = usize::from(control.next()).max(1);
    let mut wire = Wire::new(config.clone(), server.clone(), offers.then_some(acceptor.clone()), implicit, piece);
    let refuse = control.next();
    let refused = ["bob@example.net", "carol@example.net"].into_iter().enumerate();
    wire.manners.refuse = refused.filter(|(at, _)| refuse & (1 << at) > 0).map(|(_, to)| to.into()).collect();
    let place = usize::from(control.next()) * 4 + usize::from(control.next());
    match control.next() % 4 {
        1 => wire.breaks = Some(Break { up: place, down: usize::MAX, swallows: false }),
        2 => wire.breaks = Some(Break { up: place, down: usize::MAX, swallows: true }),
        3 => wire.breaks = Some(Break { up: usize::MAX, down: place, swallows: true }),
        _ => {}
    }
    let more = control.next();
    // PIPECONNECT: what is remembered of the server, truly or not.
    let early = control.next();
    if early > 0 {
        let mut offer = String::from("grouping flights\nPIPECONNECT\n");
        for (bit, keyword) in [(1, "PIPELINING\n"), (2, "CHUNKING\n"), (4, "SIZE 1000\n"), (8, "SMTPUTF8\n")] {
            if early & bit > 0 {
                offer += keyword;
            }
        }
        let client = config.remembered(offer.parse().expect("an offer"));
        let server = if early & 16 > 0 { server.with("PIPECONNECT").expect("an extension") } else { server };
        let manners = std::mem::take(&mut wire.manners);
        let breaks = wire.breaks;
        wire = Wire::new(client, server, offers.then_some(acceptor), implicit, piece);
        (wire.manners, wire.breaks) = (manners, breaks);
    }
    let messages: Vec<&[u8]> = turns(data).into_iter().take(4).collect();
    let mut ids = Vec::new();
    for message in &messages {
        ids.push((wire.client.send(given(more), LineEndings::Canonical).expect("an open session"), *message));
        if more & 8 > 0 {
            wire.client.command(Command::vrfy("bob").expect("a command")).expect("an open session");
        }
    }
    if flags & 128 > 0 {
        wire.client.quit().expect("an open session");
    }
    wire.run_out(&ids);
    let reports: Vec<&Report> =
        wire.events.iter().filter_map(|event| if let Event::Sent(one) = event { Some(one) } else { None }).collect();
    let over = wire.failure.is_some() || wire.breaks.is_none();
    assert!(!over || reports.len() == ids.len(), "a message is not reported: {:?}", wire.failure);
    // Who does not quit is turned out in the end.
    if wire.breaks.is_none() && flags & 128 > 0 {
        assert_eq!((wire.failure, wire.server_failure), (None, None));
    }
    // In order, and nothing that was not sent.
    let mut arrived = wire.arrived.iter();
    for report in reports {
        let (_, message) = ids.iter().find(|(id, _)| *id == report.transaction).expect("one of ours");
        let unknown = report.recipients.iter().any(|one| one.outcome == Outcome::Unknown);
        let accepted = report.recipients.iter().any(|one| matches!(one.outcome, Outcome::Accepted(_)));
        if !accepted && !unknown {
            continue;
        }
        let Some(one) = arrived.next() else {
            assert!(!accepted, "accepted, and it never arrived");
            continue;
        };
        let expected = given(more).reverse_path().to_string();
        assert_eq!(
            (&one.from, one.mail.envid.as_ref().map(EnvelopeId::as_str)),
            (&expected, (more & 2 > 0).then_some("a=b"))
        );
        if let (true, Some(first)) = (more & 2 > 0, one.to.iter().position(|to| to == "bob@example.net")) {
            let original = OriginalRecipient::new("rfc822", "b+b@example.net").expect("an address");
            assert_eq!((&one.rcpt[first].orcpt, one.mail.ret), (&Some(original), Some(Ret::Headers)));
        }
        assert_eq!(one.content.escape_ascii().to_string(), canonical(message).escape_ascii().to_string());
        for recipient in &report.recipients {
            let to = one.to.iter().any(|to| to == recipient.path.as_str());
            match recipient.outcome {
                Outcome::Accepted(_) => assert!(to),
                Outcome::Refused(_) | Outcome::NotSent => assert!(!to),
                Outcome::Unknown => {}
            }
        }
    }
    assert!(arrived.next().is_none(), "delivered, and told as not sent");
}
