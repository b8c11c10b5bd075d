//! The laws, on every machine there is, at every cut.

use std::time::Duration;

use proptest::prelude::*;
use proxy_proto::{Instant, Machine, Options, ProxyUrl};
use smtp_proto::body::LineEndings;
use smtp_proto::client::{self, Client, Envelope, Event, StartTls};
use smtp_proto::command::{Command, ForwardPath, Parameter, ReversePath};
use smtp_proto::reply::MalformedReply;
use smtp_proto::sasl::server::{Answer, ScramKeys};
use smtp_proto::sasl::{self, BindingKind, Channel, Credentials, MechanismName, ScramHash};
use smtp_proto::server::{self, Server};
use smtp_proto::{Cause, Misuse, Secret};
use tests::dialogue::{Dialogue, describe, describe_error};
use tests::laws::{self, BEGIN, Cut};

const ONE_BY_ONE: &str = "
    message: alice@example.org to bob@example.net carol@example.net
    | Subject: a
    |
    | ..
    | .
    quit:
    S: 220 mx.example.org
    C: EHLO client.example.org
    S: 250-mx.example.org
    S: 250 8BITMIME
    C: MAIL FROM:<alice@example.org>
    S: 250 ok
    C: RCPT TO:<bob@example.net>
    S: 250 ok
    C: RCPT TO:<carol@example.net>
    S: 251 will forward
    C: DATA
    S: 354 go
    C: Subject: a
    C:
    C: ...
    C: ..
    C: .
    S: 250 queued
    C: QUIT
    S: 221 bye
    = greeted 220
    = ready
    = mail 250
    = recipient 0 250
    = recipient 1 251
    = sent accepted 250, accepted 250
    = closed 221";
const ONE_BY_ONE_PHASES: [&str; 8] = ["greeting", "EHLO", "MAIL", "RCPT", "RCPT", "DATA", "final dot", "QUIT"];

const PIPELINED: &str = "
    message: alice@example.org to bob@example.net carol@example.net
    | .
    message: <> to dan@example.net
    | two
    command: NOOP
    quit:
    S: 220-mx.example.org
    S: 220 ready
    C: EHLO client.example.org
    S: 250-mx.example.org
    S: 250 PIPELINING
    C: MAIL FROM:<alice@example.org>
    C: RCPT TO:<bob@example.net>
    C: RCPT TO:<carol@example.net>
    C: DATA
    S: 250 ok
    S: 250 ok
    S: 250-ok
    S: 250 really
    S: 354 go
    C: ..
    C: .
    C: MAIL FROM:<>
    C: RCPT TO:<dan@example.net>
    C: DATA
    S: 250 queued
    S: 250 ok
    S: 250 ok
    S: 354 go
    C: two
    C: .
    C: NOOP
    S: 250 queued
    S: 250 ok
    C: QUIT
    S: 221 bye
    = greeted 220
    = ready
    = mail 250
    = recipient 0 250
    = recipient 1 250
    = sent accepted 250, accepted 250
    = mail 250
    = recipient 0 250
    = sent accepted 250
    = replied 250
    = closed 221";
const PIPELINED_PHASES: [&str; 13] = [
    "greeting",
    "EHLO",
    "MAIL",
    "RCPT",
    "RCPT",
    "DATA",
    "final dot",
    "MAIL",
    "RCPT",
    "DATA",
    "final dot",
    "command",
    "QUIT",
];

const CHUNKED: &str = "
    message: alice@example.org to bob@example.net carol@example.net
    | .
    message: <> to dan@example.net
    | two
    quit:
    S: 220 mx.example.org
    C: EHLO client.example.org
    S: 250-mx.example.org
    S: 250-CHUNKING
    S: 250 PIPELINING
    C: MAIL FROM:<alice@example.org>
    C: RCPT TO:<bob@example.net>
    C: RCPT TO:<carol@example.net>
    C: BDAT 3 LAST
    C: .
    S: 250 ok
    S: 250 ok
    S: 250 ok
    S: 250 taken
    C: MAIL FROM:<>
    C: RCPT TO:<dan@example.net>
    C: BDAT 5 LAST
    C: two
    S: 250 ok
    S: 250 ok
    S: 250 taken
    C: QUIT
    S: 221 bye
    = greeted 220
    = ready
    = mail 250
    = recipient 0 250
    = recipient 1 250
    = sent accepted 250, accepted 250
    = mail 250
    = recipient 0 250
    = sent accepted 250
    = closed 221";
const CHUNKED_PHASES: [&str; 10] =
    ["greeting", "EHLO", "MAIL", "RCPT", "RCPT", "final dot", "MAIL", "RCPT", "final dot", "QUIT"];

const SECURED: &str = "
    starttls: required
    login: tim tanstaaftanstaaf LOGIN
    S: 220 mx.example.org
    C: EHLO client.example.org
    S: 250-mx.example.org
    S: 250 STARTTLS
    C: STARTTLS
    S: 220 go
    TLS
    C: EHLO client.example.org
    S: 250-mx.example.org
    S: 250 AUTH LOGIN
    C: AUTH LOGIN
    S: 334 VXNlcm5hbWU6
    C: dGlt
    S: 334 UGFzc3dvcmQ6
    C: dGFuc3RhYWZ0YW5zdGFhZg==
    S: 235 welcome
    = greeted 220
    = offered 250
    = starttls 220
    = offered 250
    = ready";
const SECURED_PHASES: [&str; 7] = ["greeting", "EHLO", "STARTTLS", "EHLO", "AUTH", "AUTH", "AUTH"];

fn bases() -> [(Dialogue, &'static [&'static str]); 4] {
    [
        (Dialogue::parse(ONE_BY_ONE), &ONE_BY_ONE_PHASES),
        (Dialogue::parse(PIPELINED), &PIPELINED_PHASES),
        (Dialogue::parse(CHUNKED), &CHUNKED_PHASES),
        (Dialogue::parse(SECURED), &SECURED_PHASES),
    ]
}

/// The replies in one turn of a server.
fn replies(turn: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    for line in turn.split_inclusive(|octet| *octet == b'\n') {
        all.last_mut().unwrap().extend_from_slice(line);
        if line.get(3) != Some(&b'-') {
            all.push(Vec::new());
        }
    }
    all.pop();
    all
}

/// A dialogue that ends with `other` in the place of its reply `at`; or with `other` behind that reply.
fn ending(base: &Dialogue, at: usize, other: &[u8], behind: bool) -> Dialogue {
    let (mut turns, mut seen) = (Vec::new(), 0);
    for turn in &base.turns {
        let mut short = Vec::new();
        for reply in replies(turn) {
            if seen == at {
                if behind {
                    short.extend_from_slice(&reply);
                }
                short.extend_from_slice(other);
                turns.push(short);
                return base.with_turns(turns);
            }
            short.extend_from_slice(&reply);
            seen += 1;
        }
        turns.push(short);
    }
    panic!("no reply {at}");
}

/// Whether reply `at` is the last of its turn: nothing else is due behind it.
fn ends_turn(base: &Dialogue, at: usize) -> bool {
    let mut seen = 0;
    base.turns.iter().any(|turn| {
        seen += replies(turn).len();
        seen == at + 1
    })
}

/// What came last, in words; the same at every cut.
fn last(dialogue: &Dialogue) -> (Vec<String>, laws::Trace<Event, smtp_proto::Error>) {
    let whole = dialogue.run_cut(Cut::Pieces(usize::MAX));
    for size in [1, 2, 3, 7] {
        assert_eq!(dialogue.run_cut(Cut::Pieces(size)), whole, "pieces of {size}");
    }
    let told = whole.events.iter().map(describe).chain(whole.failure.iter().map(describe_error)).collect();
    (told, whole)
}

#[test]
fn the_client_says_and_tells_the_same_at_every_cut() {
    for (base, phases) in bases() {
        base.check();
        assert_eq!(base.turns.iter().map(|turn| replies(turn).len()).sum::<usize>(), phases.len());
    }
}

#[test]
fn a_refusal_at_each_step_is_answered_as_the_rfc_says() {
    for (base, phases) in bases() {
        for (at, phase) in phases.iter().enumerate() {
            let (told, trace) = last(&ending(&base, at, b"550 no\r\n", false));
            let last = told.last().map_or("", String::as_str);
            let said = trace.output.last().unwrap().escape_ascii().to_string();
            match *phase {
                "greeting" => assert_eq!((last, said.as_str()), ("error in greeting: refused 550", "QUIT\\r\\n")),
                // RFC 5321 section 3.2: HELO, where EHLO is refused.
                "EHLO" => assert_eq!(said, "HELO client.example.org\\r\\n"),
                "STARTTLS" => {
                    assert_eq!((last, said.as_str()), ("error in STARTTLS: no STARTTLS 550", "QUIT\\r\\n"))
                }
                "AUTH" => assert_eq!((last, said.as_str()), ("error in AUTH: authentication", "QUIT\\r\\n")),
                "MAIL" | "DATA" | "final dot" => assert!(last.starts_with("sent refused 550"), "{told:?}"),
                "RCPT" if base.said[2].starts_with(b"MAIL FROM:<alice@example.org>") && at < 5 => {
                    assert!(last.starts_with("recipient") && last.ends_with("550"), "{told:?}");
                }
                "RCPT" => assert_eq!(last, "sent refused 550"),
                "command" => assert_eq!(last, "replied 550"),
                _ => assert_eq!(last, "closed 550"),
            }
        }
    }
}

#[test]
fn a_421_at_each_step_ends_the_session_there() {
    for (base, phases) in bases() {
        for (at, phase) in phases.iter().enumerate() {
            let (told, trace) = last(&ending(&base, at, b"421 4.3.2 going down\r\n", false));
            if *phase == "QUIT" {
                assert_eq!(told.last().unwrap(), "closed 421");
                continue;
            }
            // The event that the reply gives may come first; then nothing goes on.
            let mut client = base.client();
            let owner = base.owner();
            let turns = ending(&base, at, b"421 4.3.2 going down\r\n", false).turns;
            let turns: Vec<&[u8]> = turns.iter().map(Vec::as_slice).collect();
            let again = laws::run(&mut client, &turns, Cut::Pieces(usize::MAX), owner);
            let error = again.failure.or(trace.failure).or_else(|| client.receive(BEGIN, &mut &b""[..]).err());
            let error = error.unwrap_or_else(|| panic!("421 to {phase} is survived: {told:?}"));
            assert_eq!(error.phase.name(), *phase);
            assert!(error.is_transient(), "{error}");
            assert!(format!("{error}").contains("421"), "{error}");
            let said = trace.output.last().unwrap();
            assert!(said.is_empty() || said == b"QUIT\r\n", "{}", said.escape_ascii());
        }
    }
}

#[test]
fn what_is_no_reply_is_refused_at_each_step() {
    let long = [b"250 ".as_slice(), &[b'x'; 20_000], b"\r\n"].concat();
    let endless = b"250-x\r\n".repeat(600);
    type Kind = fn(&MalformedReply) -> bool;
    let kinds: [(&[u8], Kind); 9] = [
        (b"hello\r\n", |one| matches!(one, MalformedReply::NotAReply(_))),
        (b"25\r\n", |one| matches!(one, MalformedReply::NotAReply(_))),
        (b"250_ok\r\n", |one| matches!(one, MalformedReply::NotAReply(_))),
        (b"\r\n", |one| matches!(one, MalformedReply::NotAReply(_))),
        (b"\x15\x03\x03\x00\x02\x02\x28", |one| matches!(one, MalformedReply::NotAReply(_))),
        (b"199 what\r\n", |one| matches!(one, MalformedReply::CodeOutOfRange(199))),
        (b"250-a\r\n550 b\r\n", |one| matches!(one, MalformedReply::CodesDiffer { .. })),
        (&long, |one| matches!(one, MalformedReply::LineTooLong { .. })),
        (&endless, |one| matches!(one, MalformedReply::ReplyTooLong { .. })),
    ];
    for (base, phases) in bases() {
        for (at, phase) in phases.iter().enumerate() {
            for (wire, is) in kinds {
                let (told, trace) = last(&ending(&base, at, wire, false));
                let error = trace.failure.unwrap_or_else(|| panic!("{} is taken: {told:?}", wire.escape_ascii()));
                assert_eq!(error.phase.name(), *phase);
                assert!(matches!(&error.cause, Cause::Malformed(one) if is(one)), "{error:?}");
            }
        }
    }
}

#[test]
fn a_code_without_meaning_is_refused_at_each_step() {
    for (base, phases) in bases() {
        for (at, phase) in phases.iter().enumerate() {
            // 354 means something to DATA alone; 250 does not mean "go on" there.
            let other: &[u8] = if *phase == "DATA" { b"250 ok\r\n" } else { b"354 go\r\n" };
            let (told, trace) = last(&ending(&base, at, other, false));
            match *phase {
                "command" | "QUIT" => assert_eq!(trace.failure, None),
                // Any permanent refusal would lead to HELO, yet 354 is none.
                _ => {
                    let error = trace.failure.unwrap_or_else(|| panic!("taken as an answer to {phase}: {told:?}"));
                    assert!(matches!(error.cause, Cause::Unexpected(_)), "{error:?}");
                    assert_eq!(error.phase.name(), *phase);
                }
            }
        }
    }
}

#[test]
fn a_reply_before_its_command_is_refused_at_each_step() {
    for (base, phases) in bases() {
        for (at, phase) in phases.iter().enumerate().filter(|(at, _)| ends_turn(&base, *at)) {
            for extra in ["250 ok\r\n", "220 mx.example.org, again\r\n", "354 go\r\n", "25"] {
                let dialogue = ending(&base, at, extra.as_bytes(), true);
                let (told, trace) = last(&dialogue);
                let last = told.last().unwrap();
                match (*phase, extra) {
                    // Behind 221 the stream is not ours any more.
                    ("QUIT", _) => assert_eq!(last, "closed 221"),
                    // Bytes in clear behind the reply to STARTTLS, whatever they are.
                    ("STARTTLS", _) => assert_eq!(last, "error in STARTTLS: injected"),
                    // Not a reply yet, but a command now would be answered by it: nothing may be said.
                    (_, "25") => {
                        assert_eq!(trace.failure, None, "{told:?}");
                        assert_eq!(trace.output.last().unwrap(), b"", "it speaks into a reply that has begun");
                    }
                    _ => assert!(last.contains(&format!("unsolicited {}", &extra[..3])), "{told:?} to {phase}"),
                }
            }
        }
    }
}

#[test]
fn octets_behind_the_reply_to_starttls_are_injected_at_every_cut() {
    let base = Dialogue::parse(SECURED);
    let at = SECURED_PHASES.iter().position(|phase| *phase == "STARTTLS").unwrap();
    for extra in [&b"250 AUTH PLAIN\r\n"[..], b"\n", b"\x00", b"\x16\x03\x03\x00", b"2"] {
        let trace = ending(&base, at, extra, true).run();
        let error = trace.failure.expect("a failure");
        assert_eq!((error.phase.name(), &error.cause), ("STARTTLS", &Cause::Injected));
        assert_eq!(trace.output.last().unwrap(), b"", "and nothing more is said in clear");
    }
}

/// A client before TLS, driven to the moment of `secured`, then told what the server offers now.
#[test]
fn what_was_offered_before_tls_is_forgotten() {
    let dialogue = Dialogue::parse(
        "
        starttls: required
        message: a@example.org to b@example.net
        S: 220 mx
        C: EHLO client.example.org
        S: 250-mx
        S: 250-PIPELINING
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 go
        TLS
        C: EHLO client.example.org
        S: 250 mx
        C: MAIL FROM:<a@example.org>
        = greeted 220
        = offered 250
        = starttls 220
        = ready",
    );
    dialogue.check();
}

#[test]
fn what_would_end_a_line_is_misuse_and_nothing_is_sent() {
    let bad = ["\r", "\n", "\0", "\r\n", "\r\nDATA\r\n"];
    for octets in bad {
        for text in [format!("a{octets}b"), format!("{octets}b"), format!("a{octets}")] {
            let address = format!("{text}@example.org");
            let domain = format!("a@{text}");
            let quoted = format!("\"{text}\"@example.org");
            for address in [&address, &domain, &quoted, &text] {
                assert!(matches!(ForwardPath::new(address), Err(Misuse::Forbidden { .. })), "{address:?}");
                assert!(matches!(ReversePath::new(address), Err(Misuse::Forbidden { .. })), "{address:?}");
                assert!(Envelope::new(address, ["b@example.net"]).is_err());
                assert!(Envelope::new("a@example.org", ["b@example.net", address]).is_err());
            }
            assert!(Parameter::new(&text, None).is_err(), "{text:?}");
            assert!(matches!(Parameter::new("ENVID", Some(&text)), Err(Misuse::Forbidden { .. })), "{text:?}");
            assert!(Command::other(&text).is_err() && Command::vrfy(&text).is_err() && Command::expn(&text).is_err());
            assert!(Command::other(&format!("NOOP {text}")).is_err() && Command::help(Some(&text)).is_err());
            let mut config = client::Config::new("mx.example.org");
            config.helo = text.clone();
            assert!(Client::new(config).is_err());
            assert!(smtp_proto::Config::new("mx", 25).helo(text.clone()).check().is_err());
            assert!(server::Config::new(&text).is_err(), "{text:?}");
        }
    }
}

#[test]
fn a_misuse_changes_nothing() {
    let mut config = client::Config::new("mx.example.org");
    config.starttls = StartTls::Never;
    let international = Envelope::new("a@example.org", ["d\u{f6}rte@example.net"]).unwrap();
    let run = |misuse: bool| {
        let turns: [&[u8]; 4] = [b"220 mx\r\n", b"250 mx\r\n", b"250 ok\r\n", b"221 bye\r\n"];
        let mut client = Client::new(config.clone()).unwrap();
        laws::run(&mut client, &turns, Cut::Pieces(3), |client, _, event, _| {
            if event == Some(&Event::Ready) {
                let misused = misuse.then(|| client.send(international.clone(), LineEndings::Strict));
                assert!(misused.is_none_or(|sent| matches!(sent, Err(Misuse::NotOffered { .. }))));
                client.command(Command::noop()).unwrap();
                client.quit().unwrap();
            }
            if misuse && client.is_ready() {
                assert_eq!(client.send(international.clone(), LineEndings::Strict), Err(Misuse::NotOpen));
                assert_eq!(client.quit(), Err(Misuse::NotOpen));
                assert_eq!(client.command(Command::noop()), Err(Misuse::NotOpen));
            }
        })
    };
    let without = run(false);
    assert_eq!(without.events.len(), 4);
    assert_eq!(run(true), without);
}

fn server_config() -> server::Config {
    server::Config::new("mx.example.org").unwrap().starttls(true).mechanisms([MechanismName::Plain])
}

/// Accepts everything, and anybody.
fn agree(server: &mut Server, _: Instant, event: Option<&server::Event>, output: &mut Vec<u8>) {
    match event {
        Some(server::Event::StartTls) => {
            // The 220 goes out in clear, and TLS stands at once.
            server.transmit(BEGIN, output);
            server.secured().unwrap();
        }
        Some(server::Event::Authenticate { .. }) => {
            server.authentication().unwrap().begin(&Channel::clear(), [9; 24]).unwrap()
        }
        Some(server::Event::Credentials(_)) => server.credentials().unwrap().answer(Answer::Accept).unwrap(),
        Some(_) => {
            while let Some(decision) = server.decision() {
                decision.accept();
            }
        }
        None => {}
    }
}

/// Events in which content is one, however it was handed out.
fn content_joined(trace: laws::Trace<server::Event, server::Error>) -> laws::Trace<String, server::Error> {
    let mut events: Vec<String> = Vec::new();
    let mut content = Vec::new();
    for event in trace.events {
        match event {
            server::Event::Content { octets, last } => {
                content.extend(octets);
                if last {
                    events.push(format!("content {}", std::mem::take(&mut content).escape_ascii()));
                }
            }
            server::Event::Abandoned(why) => {
                content.clear();
                events.push(format!("{why:?}"));
            }
            other => events.push(format!("{other:?}")),
        }
    }
    let laws::Trace { output, failure, left, end, .. } = trace;
    laws::Trace { events, output, failure, left, end }
}

fn server_same_at_every_cut(config: &server::Config, turns: &[&[u8]]) -> laws::Trace<String, server::Error> {
    let run = |cut| content_joined(laws::run(&mut Server::new(config.clone()), turns, cut, agree));
    let whole = run(Cut::Pieces(usize::MAX));
    for cut in Cut::all(turns) {
        assert_eq!(run(cut), whole, "cut {cut:?}");
    }
    whole
}

#[test]
fn the_server_hears_the_same_at_every_cut() {
    let greet: &[u8] = b"EHLO client.example.org\r\n";
    let group: &[u8] = b"MAIL FROM:<a@example.org> SIZE=20 BODY=8BITMIME\r\nRCPT TO:<b@example.net>\r\n\
        RCPT TO:<c@example.net>\r\nDATA\r\n";
    let message: &[u8] = b"Subject: x\r\n\r\n..\r\n...\r\n.\r\nMAIL FROM:<>\r\nRSET\r\nNOOP\r\nVRFY x\r\nQUIT\r\n";
    let trace = server_same_at_every_cut(&server_config(), &[greet, group, message]);
    assert_eq!((trace.failure, trace.end), (None, Ok(())));
    assert_eq!(trace.events[3], "content Subject: x\\r\\n\\r\\n.\\r\\n..\\r\\n");
    let chunks: &[u8] =
        b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nBDAT 6\r\na\r\n.\r\nBDAT 3 LAST\r\n\r\n.";
    let trace = server_same_at_every_cut(
        &server_config().bare_line_endings_in_content(true),
        &[greet, chunks, b"BDAT 0 LAST\r\nQUIT\r\n"],
    );
    assert_eq!(trace.events[2], "content a\\r\\n.\\r\\n\\r\\n.");
    let tls: [&[u8]; 4] = [greet, b"STARTTLS\r\n", greet, b"AUTH PLAIN AHRpbQBzZWNyZXQ=\r\nQUIT\r\n"];
    let trace = server_same_at_every_cut(&server_config(), &tls);
    assert_eq!(trace.events[0], "StartTls");
    assert!(trace.output.last().unwrap().starts_with(b"235 "), "{trace:?}");
    for bad in [
        &b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: mx\r\n\r\n",
        b"EHLO a\nMAIL FROM:<x>\n\r\nQUIT\r\n",
        b"BDAT x\r\nhello\r\n",
        b"MAIL FROM:<a\0b@c>\r\nRCPT TO:<a@b\r>\r\nAUTH PLAIN \xff\r\nAUTH PLAIN AA=A\r\n",
    ] {
        server_same_at_every_cut(&server_config(), &[greet, bad]);
    }
}

#[test]
fn a_tunnel_leaves_the_servers_words_alone_at_every_cut() {
    let greeting = b"220 mx.example.org\r\n";
    let cases: [(&str, &[&[u8]]); 4] = [
        ("socks4a://p", &[b"\x00\x5a\0\0\0\0\0\0"]),
        ("socks5h://p", &[b"\x05\x00", b"\x05\x00\x00\x01\0\0\0\0\0\0"]),
        ("socks5h://alice:s3cret@p", &[b"\x05\x02", b"\x01\x00", b"\x05\x00\x00\x03\x01x\0\0"]),
        ("http://p", &[b"HTTP/1.1 200 Connection established\r\nVia: p\r\n\r\n"]),
    ];
    for (url, turns) in cases {
        let url: ProxyUrl = url.parse().unwrap();
        let target = "mx.example.org:25".parse().unwrap();
        let make = || url.tunnel(&target, &Options::default()).unwrap();
        let mut turns: Vec<Vec<u8>> = turns.iter().map(|turn| turn.to_vec()).collect();
        turns.last_mut().unwrap().extend_from_slice(greeting);
        let turns: Vec<&[u8]> = turns.iter().map(Vec::as_slice).collect();
        let trace = laws::same_at_every_cut(make, &turns, |_, _, _, _| {});
        assert_eq!((trace.events.len(), trace.left.as_slice(), trace.end), (1, &greeting[..], Ok(())), "{url:?}");
    }
}

fn mechanisms() -> impl Iterator<Item = (MechanismName, Credentials)> {
    let credentials = |name: &MechanismName| {
        let all = [
            Credentials::password("tim", "secret"),
            Credentials::token("tim", "token"),
            Credentials::external(""),
            Credentials::anonymous("trace"),
        ];
        all.into_iter().find(|one| one.drives(name)).unwrap()
    };
    MechanismName::BY_STRENGTH.iter().map(move |name| (name.clone(), credentials(name)))
}

fn bound() -> Channel {
    Channel::secured().binding(BindingKind::TlsExporter, vec![1; 32]).plus_offered(true)
}

fn answer(name: &MechanismName, password: &str) -> Answer {
    let hash = match name.as_str() {
        name if name.starts_with("SCRAM-SHA-512") => ScramHash::Sha512,
        name if name.starts_with("SCRAM-SHA-256") => ScramHash::Sha256,
        name if name.starts_with("SCRAM-SHA-1") => ScramHash::Sha1,
        "CRAM-MD5" | "DIGEST-MD5" => return Answer::Password(Secret::from(password)),
        _ => return if password == "secret" { Answer::Accept } else { Answer::Refuse },
    };
    Answer::Scram(ScramKeys::derive(hash, &Secret::from(password), *b"salt of a test", 4096).unwrap())
}

#[test]
fn every_mechanism_keeps_the_laws_against_any_message() {
    let challenges: [&[u8]; 9] = [
        b"",
        b"VXNlcm5hbWU6",
        b"<1896.697170952@postoffice.example.net>",
        b"realm=\"x\",nonce=\"y\",qop=\"auth\",charset=utf-8,algorithm=md5-sess",
        b"r=x,s=QQ==,i=4096",
        b"e=other-error",
        b"NTLMSSP\0\x02\0\0\0",
        b"{\"status\":\"401\"}",
        &[0xff; 10_000],
    ];
    for (name, credentials) in mechanisms() {
        for first in challenges {
            for second in challenges {
                let mut client = sasl::start(&name, &credentials, &bound(), "mx.example.org", [7; 24]).unwrap();
                let trace = laws::run_messages(client.as_mut(), &[first, second, b"", first], |_, _| {});
                // None of these is a server that has proved itself.
                let proves = name.as_str().starts_with("SCRAM-") || name == MechanismName::DigestMd5;
                assert!(!proves || trace.end.is_err(), "{name} is content with {trace:?}");
                if !sasl::server::is_available(&name) {
                    continue;
                }
                let mut server = sasl::server::start(&name, &bound(), "mx.example.org", [9; 24]).unwrap();
                let trace = laws::run_messages(server.as_mut(), &[first, second, b"", first], |server, event| {
                    use sasl::server::Event as Asked;
                    if let Some(Asked::Verify { .. } | Asked::VerifyToken { .. } | Asked::Lookup { .. }) = event {
                        server.answer(answer(&name, "wrong")).unwrap();
                        assert!(server.answer(Answer::Refuse).is_err(), "one question, one answer");
                    }
                });
                assert!(trace.end.is_err(), "{name} lets anybody in: {trace:?}");
            }
        }
    }
}

/// What a hostile or broken server might say.
fn server_words() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let words = prop::sample::select(vec![
        &b"220 mx.example.org\r\n"[..],
        b"250-mx.example.org\r\n250-PIPELINING\r\n250-STARTTLS\r\n250-SIZE 1000\r\n250 AUTH PLAIN LOGIN CRAM-MD5\r\n",
        b"250-mx.example.org\r\n250-PIPELINING\r\n250-BINARYMIME\r\n250 CHUNKING\r\n",
        b"250 ok\r\n",
        b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n",
        b"250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n",
        b"503 what\r\n",
        b"250-\r\n",
        b"354 go\r\n",
        b"421 bye\r\n",
        b"450 later\r\n",
        b"550 no\r\n",
        b"220 go\r\n",
        b"334 \r\n",
        b"334 PDE4OTZAeD4=\r\n",
        b"235 yes\r\n",
        b"221 bye\r\n",
        b"25",
        b"\r\n",
        b"\xff\x00",
    ]);
    prop::collection::vec(words.prop_map(<[u8]>::to_vec), 0..14)
}

/// What an owner may do, at any moment.
#[derive(Clone, Debug)]
enum Operation {
    Hear(usize),
    Transmit,
    Expire(u64),
    Finish,
    Send,
    Command,
    Quit,
    Write(usize),
    End,
    Abandon,
    Secured,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    use Operation as O;
    let one = prop_oneof![
        8 => (1..80_usize).prop_map(O::Hear),
        6 => Just(O::Transmit),
        1 => (0..700_u64).prop_map(O::Expire),
        1 => Just(O::Finish),
        2 => Just(O::Send),
        1 => Just(O::Command),
        1 => Just(O::Quit),
        2 => (0..40_usize).prop_map(O::Write),
        2 => Just(O::End),
        1 => Just(O::Abandon),
        1 => Just(O::Secured),
    ];
    prop::collection::vec(one, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn whatever_the_server_says_and_however_it_is_cut_the_client_keeps_the_laws(
        words in server_words(), size in 1..40_usize, secure in any::<bool>(),
    ) {
        let base = Dialogue::parse(if secure { SECURED } else { PIPELINED });
        let dialogue = base.with_turns(words);
        let whole = dialogue.run_cut(Cut::Pieces(usize::MAX));
        prop_assert_eq!(dialogue.run_cut(Cut::Pieces(size)), whole);
    }

    #[test]
    fn whatever_the_owner_does_and_when_nothing_panics_and_errors_stay(
        words in server_words(), operations in operations(), secure in any::<bool>(),
    ) {
        let mut config = client::Config::new("mx.example.org");
        config.starttls = if secure { StartTls::IfOffered } else { StartTls::Never };
        config.credentials = secure.then(|| Credentials::password("tim", "secret"));
        config.entropy = Some(std::sync::Arc::new(|octets: &mut [u8]| octets.fill(7)));
        let envelope = Envelope::new("a@example.org", ["b@example.net", "c@example.net"]).unwrap();
        let mut client = Client::new(config).unwrap();
        let stream = words.concat();
        let (mut input, mut failure, mut now) = (&stream[..], None, BEGIN);
        for operation in operations {
            let mut output = Vec::new();
            let clean = client.is_clean();
            let outcome = match operation {
                Operation::Hear(n) => {
                    let (mut piece, rest) = input.split_at(n.min(input.len()));
                    let taken = piece.len();
                    let heard = client.receive(now, &mut piece).map(drop);
                    // What was not taken is there to be heard again.
                    input = &input[taken - piece.len()..];
                    prop_assert!(input.ends_with(rest));
                    Some(heard)
                }
                Operation::Transmit => {
                    client.transmit(now, &mut output);
                    let length = output.len();
                    prop_assert!(!client.transmit(now, &mut output) && output.len() == length);
                    None
                }
                Operation::Expire(seconds) => {
                    let before = client.deadline();
                    now = now.after(Duration::from_secs(seconds));
                    let expired = client.expire(now);
                    if before.is_some_and(|deadline| deadline.at > now) && failure.is_none() {
                        prop_assert_eq!(&expired, &Ok(()));
                        prop_assert_eq!(client.deadline(), before);
                    }
                    Some(expired)
                }
                Operation::Finish => Some(client.finish()),
                Operation::Send => {
                    let sent = client.send(envelope.clone(), LineEndings::Strict);
                    prop_assert!(sent.is_ok() || client.is_clean() == clean);
                    None
                }
                Operation::Command => { let _ = client.command(Command::noop()); None }
                Operation::Quit => { let _ = client.quit(); None }
                Operation::Write(n) => {
                    if let Some(mut body) = client.body(now, &mut output, 100) {
                        let octets = [b'.'; 40];
                        body.write(&mut &octets[..n]).unwrap();
                        // Bare, so refused, and taking nothing.
                        body.write(&mut &b"x\ny"[..]).expect_err("a bare LF");
                    }
                    prop_assert!(output.len() <= 200, "more than there is room for");
                    None
                }
                Operation::End => { if let Some(body) = client.body(now, &mut output, 100) { body.end(); } None }
                Operation::Abandon => {
                    if let Some(body) = client.body(now, &mut output, 100) {
                        body.abandon();
                        prop_assert!(output.is_empty());
                    }
                    None
                }
                Operation::Secured => { client.secured(Channel::secured()); None }
            };
            if let Some(outcome) = outcome {
                if let Some(error) = &failure {
                    prop_assert_eq!(outcome.as_ref(), Err(error));
                }
                failure = failure.or(outcome.err());
            }
        }
        if failure.is_some() {
            let mut reports = 0;
            while client.abandoned(|_| false).is_some() {
                reports += 1;
                prop_assert!(reports < 100);
            }
        }
    }

    #[test]
    fn whatever_the_client_says_the_server_keeps_the_laws(
        pieces in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            prop::sample::select(vec![
                "EHLO c\r\n", "HELO c\r\n", "MAIL FROM:<a@b>\r\n", "RCPT TO:<c@d>\r\n", "DATA\r\n", ".\r\n", "..\r\n",
                "BDAT 3\r\n", "BDAT 0 LAST\r\n", "abc", "RSET\r\n", "STARTTLS\r\n", "AUTH PLAIN\r\n",
                "AHRpbQBzZWNyZXQ=\r\n", "*\r\n", "QUIT\r\n", "NOOP\r\n", "\r", "\n",
            ]).prop_map(|word| word.as_bytes().to_vec()),
        ], 0..16),
        size in 1..40_usize,
    ) {
        let stream = pieces.concat();
        let config = server_config().danger_allow_clear_text_auth(true);
        let run = |cut| content_joined(laws::run(&mut Server::new(config.clone()), &[&stream], cut, agree));
        prop_assert_eq!(run(Cut::Pieces(size)), run(Cut::Pieces(usize::MAX)));
    }
}
