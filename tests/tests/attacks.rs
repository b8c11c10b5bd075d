//! Known attacks, each tried and seen to fail. `SECURITY.md` lists them, with tests of the same kind that stand elsewhere.
//!
//! The rules of this file: an attack is what somebody else says; what counts is what the victim says, believes and takes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proxy_proto::{Hop, Options, ProxyUrl, Target};
use smtp_proto::client::{Envelope, Event, Transcript};
use smtp_proto::reply::{Code, Reply};
use smtp_proto::sasl::{Allowed, Credentials, MechanismName};
use smtp_proto::{Accepted, AcceptedError, Cause, Config, Connection, Error, Instant, Limits, Route, Security, server};
use tests::tls::Pki;
use tests::wire::Wire;

const USER: &str = "alice@example.org";
const PASSWORD: &str = "correct.horse-battery-staple";

/// Base64 (RFC 4648 section 4), a naive oracle.
fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in octets.chunks(3) {
        let bits = group.iter().fold(0_u32, |sum, octet| sum << 8 | u32::from(*octet)) << (8 * (3 - group.len()));
        for at in 0..=group.len() {
            text.push(ALPHABET[(bits >> (18 - 6 * at)) as usize & 63] as char);
        }
        text.push_str(&"=".repeat(3 - group.len()));
    }
    text
}

/// Whether the password is among these octets, in clear or in base64, wherever the groups of three begin.
fn gives_away(octets: &[u8]) -> bool {
    let mut forms = vec![PASSWORD.to_owned()];
    for before in 0..3 {
        let shifted = base64(&[&b"\0\0\0"[..before], PASSWORD.as_bytes()].concat());
        // Without what the neighbours have a part in.
        forms.push(shifted[4..shifted.len() - 4].to_owned());
    }
    forms.iter().any(|form| octets.windows(form.len()).any(|window| window == form.as_bytes()))
}

#[test]
fn what_gives_a_password_away_is_known() {
    assert_eq!((&*base64(b"f"), &*base64(b"fo"), &*base64(b"foobar")), ("Zg==", "Zm8=", "Zm9vYmFy")); // RFC 4648 section 10
    for before in ["", "a", "ab", "abc", "\0alice\0"] {
        assert!(gives_away(base64(format!("{before}{PASSWORD}").as_bytes()).as_bytes()));
        assert!(gives_away(format!("{before}{PASSWORD}").as_bytes()));
    }
    assert!(!gives_away(base64(b"a wrong horse").as_bytes()));
}

/// A client whose server, or whoever is between, is written by hand; in virtual time.
struct Victim {
    connection: Connection,
    now: Instant,
    said: Vec<u8>,
    events: Vec<Event>,
}

impl Victim {
    fn new(config: Config, route: Route) -> Self {
        let connection = Connection::new(config, route).unwrap();
        let mut victim = Self { connection, now: Instant::EPOCH, said: Vec::new(), events: Vec::new() };
        victim.turn().unwrap();
        victim
    }

    /// Hears octets, reacts, and speaks.
    fn hear(&mut self, octets: &[u8]) -> Result<(), Error> {
        for piece in octets.chunks(1024) {
            self.connection.wants(self.now).read[..piece.len()].copy_from_slice(piece);
            self.connection.received(piece.len());
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), Error> {
        let mut ended = Ok(());
        loop {
            match self.connection.poll(self.now) {
                Ok(Some(event)) => self.events.push(event),
                Ok(None) => break,
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            }
        }
        while let Some(body) = self.connection.body(self.now) {
            body.end();
        }
        let wants = self.connection.wants(self.now);
        let written = wants.write.len();
        self.said.extend_from_slice(wants.write);
        self.connection.sent(written);
        ended
    }

    /// Hears octets one by one, so far apart, until it has had enough; how long that took.
    fn endure(&mut self, octets: impl Iterator<Item = u8>, apart: Duration) -> (Error, Duration) {
        let begin = self.now;
        for octet in octets {
            let next = self.now.after(apart);
            while let Some(deadline) = self.connection.wants(self.now).deadline.filter(|deadline| deadline.at <= next) {
                self.now = deadline.at;
                if let Err(error) = self.turn() {
                    return (error, self.now.since_epoch() - begin.since_epoch());
                }
            }
            self.now = next;
            if let Err(error) = self.hear(&[octet]) {
                return (error, self.now.since_epoch() - begin.since_epoch());
            }
        }
        panic!("it has endured all of it");
    }
}

fn config(security: Security) -> Config {
    Config::new("localhost", 587)
        .security(security)
        .helo("client.example.org")
        .entropy(|octets| octets.fill(7))
        .tls(Pki::new().client)
        .credentials(Credentials::password(USER, PASSWORD))
}

fn envelope() -> Envelope {
    Envelope::new(USER, ["bob@example.net"]).unwrap()
}

fn server_config() -> server::Config {
    server::Config::new("mx.example.org").unwrap()
}

/// Whoever sits between removes STARTTLS from the offer, refuses it or makes nonsense of it, and asks for the password.
#[test]
fn starttls_cannot_be_stripped_to_get_at_credentials_or_mail() {
    let without = "250-mx\r\n250-PIPELINING\r\n250 AUTH PLAIN LOGIN XOAUTH2\r\n";
    let with = "250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN XOAUTH2\r\n";
    let ways: [&[&str]; 7] = [
        &["220 mx\r\n", without],
        &["220 mx\r\n", "250-mx\r\n250-STARTTL5\r\n250 AUTH PLAIN LOGIN\r\n"],
        &["220 mx\r\n", "502 what\r\n", "250 mx\r\n"],
        &["220 mx\r\n", with, "454 not now\r\n", "235 ok\r\n", "250 ok\r\n"],
        &["220 mx\r\n", with, "502 what\r\n", "334 \r\n", "334 UGFzc3dvcmQ6\r\n"],
        &["220 mx\r\n", with, "250 ok\r\n", "250 ok\r\n"],
        &["220 mx\r\n", with, "220 go\r\n", "250 mx\r\n"],
    ];
    for security in [Security::Auto, Security::StartTls, Security::StartTlsIfOffered] {
        for way in ways {
            let mut victim = Victim::new(config(security), Route::direct());
            victim.connection.send(envelope(), Default::default()).unwrap();
            let failed = way.iter().any(|turn| victim.hear(turn.as_bytes()).is_err());
            let said = victim.said.escape_ascii().to_string();
            assert!(failed, "{security:?} bears {way:?}: {said}");
            assert!(!victim.events.contains(&Event::Ready));
            assert!(!gives_away(&victim.said) && !said.contains("AUTH ") && !said.contains("MAIL"), "{said}");
        }
    }
    // Where STARTTLS is required, nobody needs credentials for it to be an error.
    for way in ways {
        let config = Config::new("localhost", 25).security(Security::StartTls).helo("c.example").tls(Pki::new().client);
        let mut victim = Victim::new(config, Route::direct());
        victim.connection.send(envelope(), Default::default()).unwrap();
        assert!(way.iter().any(|turn| victim.hear(turn.as_bytes()).is_err()), "{way:?}");
        assert!(!victim.said.escape_ascii().to_string().contains("MAIL"));
    }
}

/// Commands put behind STARTTLS in clear must not be taken for what the client says under TLS.
#[test]
fn commands_behind_starttls_reach_no_server() {
    let pki = Pki::new();
    let now = Instant::EPOCH;
    let attack = b"EHLO c.example\r\nSTARTTLS\r\nRSET\r\nMAIL FROM:<eve@example.com>\r\n";
    let behind = attack.len() - "RSET\r\nMAIL FROM:<eve@example.com>\r\n".len();
    for cut in 1..attack.len() {
        // Cut right behind STARTTLS the rest comes as the handshake, which it is not.
        let mut server = Accepted::new(server_config(), Some(Arc::new(pki.server.clone()))).unwrap();
        let mut failure = None;
        for piece in [&attack[..cut], &attack[cut..]] {
            server.wants(now).read[..piece.len()].copy_from_slice(piece);
            server.received(piece.len());
            loop {
                match server.poll(now) {
                    Ok(Some(event)) => panic!("{event:?} at {cut}"),
                    Ok(None) => {}
                    Err(error) => failure = Some(error),
                }
                // It speaks, and goes on with what it has left unread till then.
                let said = server.wants(now).write.len();
                server.sent(said);
                if said == 0 || failure.is_some() {
                    break;
                }
            }
        }
        let injected = failure == Some(AcceptedError::Smtp(server::Error::ClearTextBehindStartTls));
        let no_handshake = matches!(failure, Some(AcceptedError::Tls(_)));
        assert!(if cut == behind { no_handshake } else { injected }, "{failure:?} at {cut}");
        assert!(server.tls().is_none());
    }
}

/// What ends a message for one program and not for another carries a second message past the first.
#[test]
fn no_message_is_smuggled_in_another() {
    let ends = [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r\n",
        "\r\n.\r",
        "\r.\r",
        "\n.\r",
        "\r.\n",
        "\r\n.\r\n",
        "\r\n.\r\r\n",
        "\r\n\0.\r\n",
        "\n\n.\r\n",
        "\r\r\n.\r\n",
        ".\r\n",
        "\r\n..\r\n",
        "\r\n.",
    ];
    for end in ends {
        let message = format!(
            "Subject: one\r\n\r\nfirst{end}MAIL FROM:<eve@example.com>\r\nRCPT TO:<mallory@example.com>\r\nDATA\r\nsecond{end}"
        );
        // By the dot, and by chunks, where nothing ends the message but its length.
        for without in [&["CHUNKING"][..], &[]] {
            for piece in [1, 7, 4096] {
                let mut config = Config::new("localhost", 25).security(Security::None).helo("c.example");
                for keyword in without {
                    config = config.without(*keyword);
                }
                let mut wire = Wire::new(config, server_config(), None, false, piece);
                assert!(wire.run_until(|event| *event == Event::Ready));
                let report = wire.send(&envelope(), message.as_bytes());
                assert!(report.is_accepted(), "{end:?}: {report:?}");
                // What any other reader of the same octets could take for a line end or for the end.
                let said = &wire.from_client;
                let bare = said.iter().enumerate().any(|(at, octet)| match octet {
                    b'\n' => at == 0 || said[at - 1] != b'\r',
                    b'\r' => said.get(at + 1) != Some(&b'\n'),
                    _ => false,
                });
                assert!(!bare, "{end:?} leaves a bare line end");
                if !without.is_empty() {
                    let ends = said.windows(5).filter(|window| window == b"\r\n.\r\n").count();
                    assert_eq!(ends, 1, "{end:?} ends the message early");
                }
                wire.client.quit().unwrap();
                assert!(wire.run_until(|event| matches!(event, Event::Closed(Some(_)))));
                assert_eq!(wire.arrived.len(), 1, "{end:?}");
                assert_eq!(wire.arrived[0].from, USER);
                assert_eq!(wire.arrived[0].to, ["bob@example.net"]);
            }
        }
    }
}

/// Text that a server repeats, or an owner brings, cannot become a reply of its own.
#[test]
fn one_reply_is_never_two() {
    // Heard: a CR alone ends nothing, and nothing of it reaches a terminal.
    let shown = Arc::new(Mutex::new(String::new()));
    let listener = shown.clone();
    let transcript = Transcript::new(move |_, _, line| listener.lock().unwrap().push_str(&line.to_string()));
    let config = Config::new("localhost", 25).security(Security::None).helo("c.example").transcript(transcript);
    let mut victim = Victim::new(config, Route::direct());
    for turn in [&b"220 mx\r\n"[..], b"250 mx\r250 second\x1b[2J\x07\r\n"] {
        victim.hear(turn).unwrap();
    }
    let replies = victim.events.iter().filter(|event| matches!(event, Event::Ready)).count();
    assert_eq!(replies, 1);
    let shown = shown.lock().unwrap();
    assert!(shown.contains("second") && !shown.chars().any(char::is_control), "{shown:?}");
    // Said: whatever the text is, every line of it bears the code, and all but the last go on.
    for text in
        ["no such user\n250 2.0.0 ok", "a\r\n250 ok", "a\r250 ok", "\n\n", "a\0b", "250-ok\n250 ok", "\u{85}250 ok"]
    {
        let Ok(reply) = Reply::new(Code::new(550).unwrap(), text) else {
            assert!(text.contains(['\r', '\0']), "{text:?} need not be refused");
            continue;
        };
        let mut encoded = Vec::new();
        reply.encode(&mut encoded);
        let encoded = String::from_utf8(encoded).unwrap();
        let lines: Vec<_> = encoded.split_terminator("\r\n").collect();
        assert!(encoded.ends_with("\r\n") && encoded.matches(['\r', '\n']).count() == 2 * lines.len());
        for (at, line) in lines.iter().enumerate() {
            let more = if at + 1 < lines.len() { "550-" } else { "550 " };
            assert!(line.starts_with(more), "{line:?} of {text:?}");
        }
    }
}

/// Whoever can delay but not break TLS waits for the client to fall back to clear text.
#[test]
fn delay_downgrades_nothing() {
    let limits = Limits::interactive();
    // Silence instead of a greeting: TLS begins, and only TLS will do then.
    for late in
        [&b"220 mx\r\n"[..], b"250-mx\r\n250 AUTH PLAIN\r\n", b"235 ok\r\n", b"", b"\x15\x03\x01\x00\x02\x02\x28"]
    {
        let mut victim = Victim::new(config(Security::Auto).limits(limits), Route::direct());
        assert!(victim.said.is_empty());
        victim.now = victim.now.after(limits.greeting);
        victim.turn().unwrap();
        assert_eq!(victim.said.first(), Some(&0x16), "a handshake record begins");
        let error = if late.is_empty() {
            victim.now = victim.now.after(limits.tls);
            victim.turn().unwrap_err()
        } else {
            victim.hear(late).unwrap_err()
        };
        assert!(matches!(error.cause, Cause::Tls(_) | Cause::TimedOut { .. }), "{error:?}");
        assert!(!gives_away(&victim.said) && !victim.said.windows(4).any(|four| four == b"EHLO"));
    }
    // The same behind STARTTLS, and where TLS comes first.
    let begun: [(Security, &[&[u8]]); 2] = [
        (Security::StartTls, &[b"220 mx\r\n", b"250-mx\r\n250 STARTTLS\r\n", b"220 go\r\n"]),
        (Security::Implicit, &[]),
    ];
    for (security, turns) in begun {
        let mut victim = Victim::new(config(security).limits(limits), Route::direct());
        turns.iter().for_each(|turn| victim.hear(turn).unwrap());
        let before = victim.said.len();
        victim.now = victim.now.after(limits.tls);
        let error = victim.turn().unwrap_err();
        assert!(matches!(error.cause, Cause::TimedOut { .. }) && error.phase.name() == "TLS handshake", "{error:?}");
        assert!(!gives_away(&victim.said) && victim.said.len() == before, "nothing is said any more");
    }
}

/// One octet now and then, so that no read ever waits long.
#[test]
fn octets_that_drip_keep_nobody_for_ever() {
    let limits = Limits { greeting: Duration::from_secs(20), ..Limits::interactive() };
    let clear = || Config::new("localhost", 25).security(Security::None).helo("c.example").limits(limits);
    let drip = Duration::from_secs(1);
    let endless = || b"250-a line of an endless reply\r\n".iter().copied().cycle();
    let (error, took) = Victim::new(clear(), Route::direct()).endure(b"220-mx\r\n".iter().copied().cycle(), drip);
    assert_eq!((error.phase.name(), took), ("greeting", limits.greeting));
    let mut victim = Victim::new(clear(), Route::direct());
    victim.hear(b"220 mx\r\n").unwrap();
    let (error, took) = victim.endure(endless(), drip);
    assert_eq!((error.phase.name(), took), ("EHLO", limits.ehlo));
    // A handshake of which a record never ends.
    let record = [0x16, 3, 3, 0x3f, 0xff].into_iter().chain(std::iter::repeat(0));
    let (error, took) = Victim::new(config(Security::Implicit).limits(limits), Route::direct()).endure(record, drip);
    assert_eq!((error.phase.name(), took), ("TLS handshake", limits.tls));
    // A proxy of which the head never ends.
    let proxy: ProxyUrl = "http://proxy.example:3128".parse().unwrap();
    let target = Target::new("mx.example.org", 25).unwrap();
    let mut options = Options::default();
    options.limits.handshake = limits.hop;
    let route = || Route::direct().tunnel(Hop::new(1, &proxy), proxy.tunnel(&target, &options).unwrap());
    let head = || b"HTTP/1.1 200 OK\r\n".iter().copied().chain(b"A: b\r\n".iter().copied().cycle());
    let (error, took) = Victim::new(clear(), route()).endure(head(), drip);
    assert_eq!((error.hop.as_ref().map(Hop::number), took), (Some(1), limits.hop), "{error:?}");
    // A server's client that drips has a command's time for a command.
    let now = |seconds| Instant::from_epoch(Duration::from_secs(seconds));
    let mut server = Accepted::new(server_config(), None).unwrap();
    let given_up = (0..100_000).find(|second| {
        let said = server.wants(now(*second)).write.len();
        server.sent(said);
        server.wants(now(*second)).read[0] = b'A';
        server.received(1);
        server.poll(now(*second)).is_err()
    });
    assert_eq!(given_up, Some(server::Limits::default().command_time.as_secs()));
}

/// Everything that is said at once, and without end.
#[test]
fn a_flood_ends_at_its_limit() {
    let clear = || Config::new("localhost", 25).security(Security::None).helo("c.example");
    // Lines without end, one line without end, replies that nobody asked for.
    let lines = b"250-SIZE 1000\r\n".repeat(100_000);
    let line = [b"250-", &b"x".repeat(1_000_000)[..]].concat();
    let replies = b"250 ok\r\n".repeat(100_000);
    for (flood, greeted) in [(&lines, true), (&line, true), (&lines, false), (&line, false), (&replies, true)] {
        let mut victim = Victim::new(clear(), Route::direct());
        if greeted {
            victim.hear(b"220 mx\r\n").unwrap();
        }
        let error = victim.hear(flood).unwrap_err();
        assert!(matches!(error.cause, Cause::Malformed(_) | Cause::Unsolicited(_)), "{error:?}");
        assert!(victim.events.len() <= 3, "{:?}", victim.events);
    }
}

/// A proxy that sends the client elsewhere, or asks for more than it was given.
#[test]
fn nobody_is_followed_to_another_place() {
    let proxy: ProxyUrl = "http://proxy.example:3128".parse().unwrap();
    let target = Target::new("mx.example.org", 25).unwrap();
    for reply in [
        "HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 305 Use Proxy\r\nLocation: http://evil.example/\r\n\r\n",
        "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"the mail server's password\"\r\nContent-Length: 0\r\n\r\n",
    ] {
        let route = Route::direct().tunnel(Hop::new(1, &proxy), proxy.tunnel(&target, &Options::default()).unwrap());
        let mut victim = Victim::new(config(Security::StartTls), route);
        let asked = victim.said.len();
        let error = victim.hear(reply.as_bytes()).unwrap_err();
        assert!(matches!(error.cause, Cause::Tunnel(_)), "{error:?}");
        assert!(victim.said.len() == asked && !gives_away(&victim.said), "it was asked once, for one thing");
    }
    // A server that names another: its answer is a refusal, and nothing else is said to anybody.
    let mut victim =
        Victim::new(Config::new("localhost", 25).security(Security::None).helo("c.example"), Route::direct());
    victim.connection.send(envelope(), Default::default()).unwrap();
    let moved = "551 5.1.6 user not local; please try <bob@evil.example>\r\n";
    for turn in ["220 mx\r\n", "250 mx\r\n", "250 ok\r\n", moved] {
        victim.hear(turn.as_bytes()).unwrap();
    }
    let said = victim.said.escape_ascii().to_string();
    assert!(!said.contains("evil"), "{said}");
    assert!(victim.events.iter().any(|event| matches!(event, Event::Sent(report) if !report.is_accepted())));
}

/// Secrets in what is shown: transcripts, errors, and what `Debug` writes.
#[test]
fn no_secret_is_shown_whatever_the_mechanism_and_its_end() {
    for name in ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"] {
        let credentials = match name {
            "XOAUTH2" | "OAUTHBEARER" => Credentials::token(USER, PASSWORD),
            _ => Credentials::password(USER, PASSWORD),
        };
        for right in [true, false] {
            let name: MechanismName = name.parse().unwrap();
            let shown = Arc::new(Mutex::new(String::new()));
            let listener = shown.clone();
            let transcript = Transcript::new(move |_, _, line| {
                let mut shown = listener.lock().unwrap();
                shown.push_str(&line.to_string());
                shown.push('\n');
            });
            let config = Config::new("localhost", 25)
                .security(Security::None)
                .helo("c.example")
                .entropy(|octets| octets.fill(7))
                .transcript(transcript)
                .credentials(credentials.clone())
                .allowed(Allowed::only([name.clone()]).danger_allow_clear_text());
            let mut seen = format!("{config:?}");
            let offer = server_config().mechanisms([name.clone()]).danger_allow_clear_text_auth(true);
            let mut wire = Wire::new(config, offer, None, false, 1000);
            wire.manners.password = Some(if right { PASSWORD } else { "another one" }.into());
            assert_eq!(wire.run_until(|event| *event == Event::Ready), right, "{name}: {:?}", wire.failure);
            seen.push_str(&format!("{:?} {:?}", wire.events, wire.failure));
            seen.extend(wire.failure.iter().map(ToString::to_string));
            seen.push_str(&shown.lock().unwrap());
            assert!(seen.contains(&format!("AUTH {name}")), "{name} is not in the transcript: {seen}");
            assert!(!gives_away(seen.as_bytes()), "{name}: {seen}");
            // What the wire has seen, where the mechanism hides nothing, so that this can fail.
            assert_eq!(gives_away(&wire.from_client), name.reveals_secret(), "{name}");
            // Nor is any response of the client's: all that it said while AUTH was under way, but the word itself.
            let said = String::from_utf8(wire.from_client.clone()).unwrap();
            let under_way = said.lines().skip_while(|line| !line.starts_with("AUTH "));
            for response in under_way.flat_map(|line| line.trim_start_matches("AUTH ").split(' ')) {
                let plain = response == name.as_str() || ["=", "*", "", "QUIT", "MAIL"].contains(&response);
                assert!(plain || !seen.contains(response), "{name} shows {response}");
            }
        }
    }
}

/// A chunk whose length is not what it seems leaves its octets to be read as commands.
#[test]
fn no_length_of_a_chunk_turns_its_octets_into_commands() {
    let lengths = [
        "18446744073709551615 LAST",
        "18446744073709551616",
        "99999999999999999999999999999 LAST",
        "-1",
        "+5",
        "0x10",
        "1e1",
        "5LAST",
        "5 LASTLY",
        "5 LAST 6",
        "",
        " ",
        "LAST",
        "5,6",
        "5.0",
        "\u{665}",
        "4294967296",
        // Lines that only who is less strict takes for one.
        "90\n",
        "90 LAST\nNOOP",
        &"0".repeat(5000),
    ];
    let now = Instant::EPOCH;
    for length in lengths {
        let chunk = format!("BDAT {length}\r\nMAIL FROM:<eve@example.com>\r\nRCPT TO:<mallory@example.com>\r\n");
        let dialogue =
            ["EHLO c.example\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\n", &chunk].concat();
        let mut server = Accepted::new(server_config(), None).unwrap();
        let (mut heard, mut rest) = (Vec::new(), dialogue.as_bytes());
        loop {
            let mut over = false;
            loop {
                match server.poll(now) {
                    Ok(Some(event)) => {
                        heard.push(format!("{event:?}"));
                        while let Some(decision) = server.decision() {
                            decision.accept();
                        }
                    }
                    Ok(None) => break,
                    Err(_) => {
                        over = true;
                        break;
                    }
                }
            }
            let said = server.wants(now).write.len();
            server.sent(said);
            if over || (rest.is_empty() && said == 0) {
                break;
            }
            let wants = server.wants(now);
            let piece = rest.len().min(wants.read.len()).min(7);
            wants.read[..piece].copy_from_slice(&rest[..piece]);
            rest = &rest[piece..];
            if piece > 0 {
                server.received(piece);
            }
        }
        assert!(heard.iter().any(|event| event.contains("bob@example.net")), "{length:?}: {heard:?}");
        let commands = heard.iter().filter(|event| event.starts_with("Mail") || event.starts_with("Recipient"));
        assert!(
            !commands.into_iter().any(|event| event.contains("eve@") || event.contains("mallory")),
            "{length:?}: {heard:?}"
        );
    }
}

/// One octet for a length: what is longer must not go on as something else.
#[test]
fn no_name_overflows_its_field_at_a_proxy() {
    let name = |octets: usize| {
        let mut name = "a".repeat(63);
        while name.len() < octets {
            name.push('.');
            name.push_str(&"b".repeat(63.min(octets - name.len())));
        }
        name
    };
    for length in [253, 254, 255, 256, 257, 300, 511, 512, 513, 65_536] {
        let Ok(target) = Target::new(&name(length), 25) else {
            assert!(length > 253, "a name of {length} octets is lawful (RFC 1035 section 2.3.4)");
            continue;
        };
        let proxy: ProxyUrl = "socks5h://proxy.example:1080".parse().unwrap();
        let Ok(tunnel) = proxy.tunnel(&target, &Options::default()) else { continue };
        let mut victim = Victim::new(
            Config::new("localhost", 25).security(Security::None).helo("c.example"),
            Route::direct().tunnel(Hop::new(1, &proxy), tunnel),
        );
        victim.hear(b"\x05\x00").unwrap();
        // Version, command, reserved, type 3, the length, the name, the port: whole.
        let request = victim.said.strip_prefix(b"\x05\x01\x00").expect("the methods").to_vec();
        assert_eq!(request[..4], [5, 1, 0, 3]);
        assert_eq!((usize::from(request[4]), request.len()), (length, 5 + length + 2));
    }
    let long = "x".repeat(256);
    for url in [format!("socks5://{long}:p@proxy.example"), format!("socks5://u:{long}@proxy.example")] {
        let refused = url.parse::<ProxyUrl>().is_err() || {
            let target = Target::new("mx.example.org", 25).unwrap();
            url.parse::<ProxyUrl>().unwrap().tunnel(&target, &Options::default()).is_err()
        };
        assert!(refused, "a user name or a password has 255 octets at most (RFC 1929 section 2)");
    }
}
