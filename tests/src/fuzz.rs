//! The bodies of the fuzz targets: each takes any octets, and panics where a law is broken.
//!
//! The rules of this file: an input is *control* (its length in the first octet, then so many octets) and *data* behind it:
//! the control says which machine, how it is cut and what its owner does; the data is what the peer says, 0xFE between
//! turns. So a mutation of one leaves the other alone, and a corpus can be written by hand. They run on stable, too.

use std::sync::Arc;
use std::time::Duration;

use proxy_proto::{Instant, Machine, Options, ProxyUrl, http, socks4, socks5};
use smtp_proto::body::{DotStuffing, LineEndings, Unstuffing};
use smtp_proto::client::{self, Client, Envelope, Event, StartTls};
use smtp_proto::command::{Command, ForwardPath, Parameter, ReversePath, xtext};
use smtp_proto::extension::Extensions;
use smtp_proto::reply::{Reply, ReplyReader};
use smtp_proto::sasl::server::{Answer, Event as Asked, ScramKeys};
use smtp_proto::sasl::{self, Allowed, BindingKind, Channel, Credentials, MechanismName, ScramHash};
use smtp_proto::server::{self, Server};
use smtp_proto::{Config, Connection, Grouping, Misuse, Route, Secret, Security};

use crate::fuzz_server;
use crate::laws::{self, BEGIN, Cut};
use crate::transparent::Transparent;

/// The body of a target.
pub type Target = fn(&[u8]);

/// Every target: its name, and its body.
pub const TARGETS: [(&str, Target); 12] = [
    ("reply", reply),
    ("ehlo", ehlo),
    ("client", client),
    ("server", fuzz_server::server),
    ("connection", connection),
    ("pair", fuzz_server::pair),
    ("tunnel", tunnel),
    ("sasl", sasl),
    ("body", body),
    ("command", command),
    ("dial", crate::fuzz_dial::dial),
    ("replay", crate::fuzz_replay::replay),
];

/// What the owner does, an octet a decision; nothing but zeroes once it is used up.
pub(crate) struct Control<'a>(&'a [u8]);

impl<'a> Control<'a> {
    pub(crate) fn split(input: &'a [u8]) -> (Self, &'a [u8]) {
        let Some((length, rest)) = input.split_first() else { return (Self(&[]), &[]) };
        let (control, data) = rest.split_at(rest.len().min(usize::from(*length)));
        (Self(control), data)
    }

    pub(crate) fn next(&mut self) -> u8 {
        self.or_end().unwrap_or_default()
    }

    pub(crate) fn or_end(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn flag(&mut self) -> bool {
        self.next() % 2 == 1
    }

    /// A cut: most often into small pieces, or once.
    pub(crate) fn cut(&mut self) -> Cut {
        match self.next() {
            0 => Cut::Pieces(1),
            size @ 1..=127 => Cut::Pieces(usize::from(size)),
            at => Cut::At(usize::from(at - 127)),
        }
    }
}

pub(crate) fn turns(data: &[u8]) -> Vec<&[u8]> {
    data.split(|octet| *octet == 0xFE).collect()
}

/// Replies are read the same at every cut, can be written again, and are shown without control characters.
pub fn reply(input: &[u8]) {
    let (mut control, data) = Control::split(input);
    let read = |pieces: Vec<&[u8]>| {
        let (mut reader, mut replies) = (ReplyReader::default(), Vec::new());
        for mut piece in pieces {
            loop {
                match reader.receive(&mut piece) {
                    Ok(Some(reply)) => replies.push(reply),
                    Ok(None) => break,
                    Err(error) => return (replies, Some(error)),
                }
            }
            assert!(piece.is_empty());
        }
        (replies, None)
    };
    let whole = read(vec![data]);
    let size = usize::from(control.next()).max(1);
    assert_eq!(read(data.chunks(size).collect()), whole);
    assert_eq!(read(data.chunks(1).collect()), whole);
    for reply in whole.0 {
        assert!(!reply.to_string().contains(char::is_control), "{reply:?}");
        assert!((200..600).contains(&reply.code().number()) && reply.lines().count() > 0);
        let mut wire = Vec::new();
        reply.encode(&mut wire);
        // A CR at the very end of a line belongs to the line's end when it is read again.
        if !reply.lines().any(|line| line.ends_with(b"\r")) && wire.len() < 2000 {
            assert_eq!(read(vec![&wire]), (vec![reply], None));
        }
    }
}

/// The offer is read from any reply: what is offered is found in any case, once, and can be switched off.
pub fn ehlo(input: &[u8]) {
    let (_, data) = Control::split(input);
    let Ok(Some(reply)) = ReplyReader::default().receive(&mut &data[..]) else { return };
    let mut extensions = Extensions::from_reply(&reply);
    let keywords: Vec<String> = extensions.iter().map(|one| one.keyword.clone()).collect();
    for keyword in &keywords {
        assert!(extensions.offers(keyword) && extensions.offers(&keyword.to_ascii_lowercase()));
        assert!(!keyword.is_empty() && !keyword.contains(|c: char| c.is_ascii_whitespace()));
        let mut other = keywords.iter().filter(|other| other.eq_ignore_ascii_case(keyword));
        assert_eq!((other.next().is_some(), other.next()), (true, None), "{keyword} twice");
    }
    let _ = (extensions.size_limit(), extensions.mechanisms(), extensions.pipelining());
    for name in extensions.mechanisms() {
        if let Ok(name) = name.parse::<MechanismName>() {
            assert_eq!(name.as_str().parse(), Ok(name.clone()));
        }
    }
    for keyword in &keywords {
        extensions.remove(keyword);
    }
    assert_eq!(extensions, Extensions::default());
}

pub(crate) fn envelope() -> Envelope {
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

/// What the RFC makes of a message's line ends, an octet at a time.
pub(crate) fn canonical(message: &[u8]) -> Vec<u8> {
    let mut canonical = Vec::new();
    for (at, octet) in message.iter().enumerate() {
        match octet {
            b'\n' if at > 0 && message[at - 1] == b'\r' => {}
            b'\r' | b'\n' => canonical.extend_from_slice(b"\r\n"),
            octet => canonical.push(*octet),
        }
    }
    if !canonical.is_empty() && !canonical.ends_with(b"\r\n") {
        canonical.extend_from_slice(b"\r\n");
    }
    canonical
}

/// Each proxy's handshake, from both sides, keeps the laws at every cut.
pub fn tunnel(input: &[u8]) {
    let (mut control, data) = Control::split(input);
    let kind = control.next() % 9;
    let cut = control.cut();
    let grant = control.flag();
    let turns = turns(data);
    let urls =
        ["socks4://fred@p", "socks4a://p", "socks5h://p", "socks5h://alice:s3cret@p", "http://p", "http://a:b@p"];
    if let Some(url) = urls.get(usize::from(kind)) {
        let url: ProxyUrl = url.parse().expect("a proxy");
        let target = if url.proxy_resolves() { "mx.example:25" } else { "192.0.2.1:25" }.parse().expect("a target");
        let make = || url.tunnel(&target, &Options::default()).expect("well-formed");
        let whole = laws::run(&mut make(), &turns, Cut::Pieces(usize::MAX), |_, _, _, _| {});
        assert_eq!(laws::run(&mut make(), &turns, cut, |_, _, _, _| {}), whole);
        assert!(whole.events.len() <= 1);
        return;
    }
    let limits = proxy_proto::Limits::default();
    match kind {
        6 => {
            let act = |accept: &mut socks4::Accept, _: Instant, asked: Option<&socks4::Request>, _: &mut Vec<u8>| {
                if asked.is_some() {
                    let answered = if grant { accept.granted(None) } else { accept.refused(socks4::Refusal::Rejected) };
                    answered.expect("it was asked");
                }
            };
            let whole = laws::run(&mut socks4::Accept::new(limits), &turns, Cut::Pieces(usize::MAX), act);
            assert_eq!(laws::run(&mut socks4::Accept::new(limits), &turns, cut, act), whole);
        }
        7 => {
            let act = |accept: &mut socks5::Accept, _: Instant, asked: Option<&socks5::Asked>, _: &mut Vec<u8>| {
                let answered = match asked {
                    None => Ok(()),
                    Some(socks5::Asked::Credentials(_)) if grant => accept.admit(),
                    Some(socks5::Asked::Credentials(_)) => accept.turn_away(),
                    Some(socks5::Asked::Connect(_)) if grant => accept.granted(None),
                    Some(_) => accept.refused(socks5::Refusal::NotAllowed),
                };
                answered.expect("it was asked");
            };
            let make = || socks5::Accept::new(socks5::Admission::Either, limits);
            let whole = laws::run(&mut make(), &turns, Cut::Pieces(usize::MAX), act);
            assert_eq!(laws::run(&mut make(), &turns, cut, act), whole);
        }
        _ => {
            let act = |accept: &mut http::Accept, _: Instant, asked: Option<&http::Request>, _: &mut Vec<u8>| {
                if asked.is_some() {
                    let answered = if grant { accept.granted() } else { accept.challenge(&["Basic"], true) };
                    answered.expect("it was asked");
                }
            };
            let whole = laws::run(&mut http::Accept::new(limits), &turns, Cut::Pieces(usize::MAX), act);
            assert_eq!(laws::run(&mut http::Accept::new(limits), &turns, cut, act), whole);
        }
    }
}

/// Each mechanism, from both sides, keeps the laws; nobody is let in who has not proved it, and no server is believed.
pub fn sasl(input: &[u8]) {
    let (mut control, data) = Control::split(input);
    let names = MechanismName::BY_STRENGTH;
    let name = &names[usize::from(control.next()) % names.len()];
    let is_server = control.flag();
    let messages = turns(data);
    let channel = Channel::secured().binding(BindingKind::TlsExporter, vec![1; 32]).plus_offered(true);
    // A hostile server may ask for a second of work, and no more; that is its law, and not for here.
    if data.windows(2).any(|pair| pair == b"i=") && !data.windows(6).any(|part| part == b"i=4096") {
        return;
    }
    if !is_server {
        let all = [
            Credentials::password("tim", "secret"),
            Credentials::token("tim", "token"),
            Credentials::external(""),
            Credentials::anonymous("trace"),
        ];
        let credentials = all.iter().find(|one| one.drives(name)).expect("each mechanism is driven by something");
        let mut client = sasl::start(name, credentials, &channel, "mx.example.org", [7; 24]).expect("it fits");
        let trace = laws::run_messages(client.as_mut(), &messages, |_, _| {});
        let proves = name.as_str().starts_with("SCRAM") || *name == MechanismName::DigestMd5;
        assert!(!proves || trace.end.is_err(), "{name} is content with a server that cannot know");
        return;
    }
    if !sasl::server::is_available(name) {
        return;
    }
    let mut server = sasl::server::start(name, &channel, "mx.example.org", [9; 24]).expect("it fits");
    let trace = laws::run_messages(server.as_mut(), &messages, |server, event| {
        let Some(Asked::Verify { .. } | Asked::VerifyToken { .. } | Asked::Lookup { .. }) = event else { return };
        let answered = match name.as_str() {
            "CRAM-MD5" => server.answer(Answer::Password(Secret::from("not to be guessed"))),
            scram if scram.starts_with("SCRAM") => {
                let hash = match scram {
                    name if name.contains("512") => ScramHash::Sha512,
                    name if name.contains("256") => ScramHash::Sha256,
                    _ => ScramHash::Sha1,
                };
                let keys = ScramKeys::decoy(hash, &Secret::from("x"), "tim", 4096).expect("keys");
                server.answer(Answer::Scram(keys))
            }
            _ => server.answer(Answer::Refuse),
        };
        answered.expect("an answer that fits");
        assert!(server.answer(Answer::Refuse).is_err(), "one question, one answer");
    });
    assert!(trace.end.is_err(), "{name} lets anybody in");
}

/// Stuffed at any cut and unstuffed at any other, a message is its canonical form; strict refuses what is not.
pub fn body(input: &[u8]) {
    let (mut control, data) = Control::split(input);
    let (one, two) = (usize::from(control.next()).max(1), usize::from(control.next()).max(1));
    let stuff = |endings| -> Result<Vec<u8>, Misuse> {
        let (mut stuffing, mut wire) = (DotStuffing::new(endings), Vec::new());
        for chunk in data.chunks(one) {
            stuffing.write(chunk, &mut wire)?;
        }
        stuffing.end(&mut wire);
        Ok(wire)
    };
    let wire = stuff(LineEndings::Canonical).expect("it takes everything");
    assert!(!wire[..wire.len() - 5.min(wire.len())].windows(5).any(|part| part == b"\r\n.\r\n"), "it ends too early");
    if let Ok(strict) = stuff(LineEndings::Strict) {
        assert_eq!(strict, wire);
    } else {
        assert_ne!(canonical(data), data, "it refuses what is canonical");
    }
    for lenient in [false, true] {
        let (mut unstuffing, mut content, mut ended) = (Unstuffing::new(lenient), Vec::new(), false);
        for mut chunk in wire.chunks(two) {
            assert!(!ended, "it ends before the end");
            ended = unstuffing.receive(&mut chunk, &mut content).expect("its line ends are canonical");
            assert!(chunk.is_empty());
        }
        assert!(ended);
        assert_eq!(content, canonical(data));
    }
    // Any octets at all are unstuffed the same at every cut.
    let unstuff = |size: usize, lenient| {
        let (mut unstuffing, mut content, mut taken) = (Unstuffing::new(lenient), Vec::new(), 0);
        for mut chunk in data.chunks(size) {
            let before = chunk.len();
            let verdict = unstuffing.receive(&mut chunk, &mut content);
            taken += before - chunk.len();
            if verdict != Ok(false) {
                return (content, taken, verdict);
            }
        }
        (content, taken, Ok(false))
    };
    for lenient in [false, true] {
        assert_eq!(unstuff(two, lenient), unstuff(usize::MAX, lenient));
    }
}

/// What a client may say of a path or a parameter, a server reads as the same; xtext comes back as it went.
pub fn command(input: &[u8]) {
    let (mut control, data) = Control::split(input);
    assert_eq!(xtext::decode(&xtext::encode(data)).as_deref(), Some(data));
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(octets) = xtext::decode(text) {
        assert_eq!(xtext::decode(&xtext::encode(&octets)), Some(octets));
    }
    let _ = (
        Command::other(text),
        Command::vrfy(text),
        Command::help(Some(text)),
        Reply::new(smtp_proto::reply::Code::OK, text),
    );
    let (word, value) = text.split_once('=').map_or((text, None), |(word, value)| (word, Some(value)));
    let parameter = Parameter::new(word, value).ok();
    let mut config = server::Config::new("mx.example.org").expect("a name");
    if control.flag() {
        config = config.with("DSN").expect("an extension");
    }
    let ask = |line: String| {
        let mut server = Server::new(config.clone());
        let opening = if line.starts_with("RCPT") { "EHLO c\r\nMAIL FROM:<> SMTPUTF8\r\n" } else { "EHLO c\r\n" };
        let wire = [opening, line.as_str(), "\r\n"].concat();
        let mut input = wire.as_bytes();
        let mut asked = None;
        while let Ok(Some(event)) = server.receive(BEGIN, &mut input) {
            asked = Some(event);
            while let Some(decision) = server.decision() {
                decision.accept();
            }
        }
        asked
    };
    if let Ok(path) = ReversePath::new(text) {
        let Some(server::Event::Mail { from, .. }) = ask(format!("MAIL FROM:<{path}> SMTPUTF8")) else {
            panic!("a path that no server takes: {path:?}");
        };
        assert_eq!(from, path);
    }
    if let Ok(path) = ForwardPath::new(text) {
        let Some(server::Event::Recipient { to, .. }) = ask(format!("RCPT TO:<{path}>")) else {
            panic!("a path that no server takes: {path:?}");
        };
        assert_eq!(to, path);
    }
    if let Some(parameter) = parameter {
        let line = match parameter.value() {
            Some(value) => format!("MAIL FROM:<> {}={value}", parameter.keyword()),
            None => format!("MAIL FROM:<> {}", parameter.keyword()),
        };
        // Most are refused; one that is taken is the one that was said.
        if let Some(server::Event::Mail { parameters, .. }) = ask(line) {
            // It means the same, were it written in another way.
            let again = parameters.raw();
            assert_eq!((again.len(), again[0].keyword()), (1, parameter.keyword()));
        }
    }
}
