//! A session is recorded, written, read and played again: the same is said and told; and what is not the same is found.

use std::sync::{Arc, Mutex};

use proxy_proto::{Instant, Machine};
use smtp_proto::client::{
    self, Client, Deviation, Entry, Envelope, Event, Recording, Replayed, Said, StartTls, TransactionId, Transcript,
    replay,
};
use smtp_proto::command::Command;
use smtp_proto::sasl::{Allowed, Channel, Credentials};
use smtp_proto::{Config, Grouping, Security, server, tls};
use tests::tls::Pki;
use tests::wire::Wire;

const MESSAGES: [&[u8]; 2] = [b"Subject: one\r\n\r\n.\r\n", b"two\n"];

/// A transcript that is written as text while it is made.
fn recorder() -> (Transcript, Arc<Mutex<String>>) {
    let text = Arc::new(Mutex::new(String::new()));
    let file = text.clone();
    let listener = move |now, phase, line: client::Line<'_>| {
        let mut file = file.lock().unwrap();
        *file += &Entry::new(now, phase, line).to_string();
        file.push('\n');
    };
    (Transcript::new(listener), text)
}

fn envelopes() -> [Envelope; 2] {
    [
        Envelope::new("alice@example.org", ["bob@example.net", "carol@example.net"]).unwrap(),
        Envelope::new("alice@example.org", ["dan@example.net"]).unwrap(),
    ]
}

fn credentials() -> Credentials {
    Credentials::password("tim", "tanstaaftanstaaf")
}

/// A client as the recorded one was, that wants the same.
fn client(grouping: Grouping, tls: bool) -> Client {
    let mut config = client::Config::new("localhost");
    config.helo = "client.example.org".into();
    config.starttls = if tls { StartTls::Required } else { StartTls::Never };
    config.grouping = grouping;
    config.credentials = Some(credentials());
    config.allowed = Allowed::only(["PLAIN".parse().unwrap()]).danger_allow_clear_text();
    let mut client = Client::new(config).unwrap();
    for envelope in envelopes() {
        client.send(envelope, Default::default()).unwrap();
    }
    client.command(Command::noop()).unwrap();
    client.quit().unwrap();
    client
}

/// The same session in memory, recorded.
fn record(grouping: Grouping, with_tls: bool) -> (String, Vec<Event>) {
    let (transcript, text) = recorder();
    let pki = Pki::new();
    let acceptor: Arc<dyn tls::Acceptor> = Arc::new(pki.server.clone());
    let config = Config::new("localhost", 25)
        .security(if with_tls { Security::StartTls } else { Security::None })
        .tls(pki.client.clone())
        .grouping(grouping)
        .helo("client.example.org")
        .credentials(credentials())
        .allowed(Allowed::only(["PLAIN".parse().unwrap()]).danger_allow_clear_text())
        .transcript(transcript);
    let server = server::Config::new("mx.example.org").unwrap().mechanisms(["PLAIN".parse().unwrap()]);
    let server = server.danger_allow_clear_text_auth(true);
    let mut wire = Wire::new(config, server, with_tls.then_some(acceptor), false, 1000);
    wire.manners.password = Some("tanstaaftanstaaf".into());
    wire.manners.refuse = vec!["carol@example.net".into()];
    let ids = envelopes().map(|envelope| wire.client.send(envelope, Default::default()).unwrap());
    wire.client.command(Command::noop()).unwrap();
    wire.client.quit().unwrap();
    wire.run_out(&[(ids[0], MESSAGES[0]), (ids[1], MESSAGES[1])]);
    assert_eq!(wire.failure, None);
    let text = text.lock().unwrap().clone();
    (text, wire.events)
}

/// Messages in the order in which they were asked for.
fn in_order() -> impl FnMut(TransactionId) -> Vec<u8> {
    let mut known: Vec<TransactionId> = Vec::new();
    move |id| {
        if !known.contains(&id) {
            known.push(id);
        }
        MESSAGES[known.iter().position(|one| *one == id).unwrap()].to_vec()
    }
}

#[test]
fn what_was_recorded_happens_again() {
    for grouping in [Grouping::Flights, Grouping::Groups, Grouping::OneByOne] {
        for tls in [false, true] {
            let (text, events) = record(grouping, tls);
            assert!(!text.contains("tanstaaf") && !text.contains("dGltAHRhbnN0YWFm"), "{text}");
            let recording: Recording = text.parse().unwrap();
            assert_eq!(recording.to_string(), text);
            assert_eq!(recording.message_sizes().collect::<Vec<_>>(), MESSAGES.map(|one| one.len() as u64));
            let replayed = replay(&recording, &mut client(grouping, tls), |_, _| {}, in_order());
            assert_eq!((&replayed.deviation, &replayed.failure), (&None, &None), "{text}");
            // TLS is a word between the layers, and the first is told by the client, the other by who owns it.
            let ours = |event: &&Event| !matches!(event, Event::StartTls(_) | Event::Secured);
            assert!(replayed.events.iter().filter(ours).eq(events.iter().filter(ours)), "{grouping:?} {tls}");
            assert!(replayed.events.len() > 8);
        }
    }
}

fn play(recording: &Recording) -> Replayed {
    replay(recording, &mut client(Grouping::Groups, false), |_, _| {}, in_order())
}

#[test]
fn what_is_not_the_same_is_found_where_it_begins() {
    let (text, _) = record(Grouping::Groups, false);
    let recording: Recording = text.parse().unwrap();
    let lines: Vec<_> =
        recording.entries.iter().enumerate().filter(|(_, one)| matches!(one.said, Said::Client(_))).collect();
    assert!(lines.len() > 12);
    for (at, entry) in lines {
        let Said::Client(line) = &entry.said else { unreachable!() };
        // Another line than the one that will be said.
        let mut other = recording.clone();
        other.entries[at].said = Said::Client("HELP".into());
        let found = play(&other).deviation.expect("a deviation");
        assert_eq!((found.entry, found.recorded.as_deref()), (at, Some("HELP")));
        assert_eq!(found.said.as_deref(), Some(line.as_str()));
        // One line that will be said is missing.
        let mut short = recording.clone();
        short.entries.remove(at);
        // Where it was the last before a reply, that answers nothing now.
        let replayed = play(&short);
        assert!(replayed.deviation.is_some() || replayed.failure.is_some(), "without {line}");
    }
    // The end is missing: what is said there is said beyond the recording.
    let mut short = recording.clone();
    let quit = short.entries.iter().position(|one| one.said == Said::Client("QUIT".into())).unwrap();
    short.entries.truncate(quit);
    let beyond = Deviation { entry: quit, recorded: None, said: Some("QUIT".into()) };
    assert_eq!(play(&short).deviation, Some(beyond));
}

#[test]
fn another_answer_of_the_server_leads_elsewhere() {
    let (text, _) = record(Grouping::Groups, false);
    let other = text.replace("S: 354 ", "S: 451 ");
    let replayed = play(&other.parse().unwrap());
    let deviation = replayed.deviation.expect("the message does not go out");
    assert_eq!(deviation.recorded.as_deref(), Some("."));
    let malformed = text.replace("S: 250-PIPELINING", "S: 250-CHUNKING");
    assert!(play(&malformed.parse().unwrap()).deviation.is_some());
}

#[test]
fn a_refusal_in_the_middle_of_a_message_interrupts_it_again() {
    let (transcript, text) = recorder();
    let mut config = client::Config::new("localhost");
    config.starttls = StartTls::Never;
    config.transcript = Some(transcript);
    let make = |config: &client::Config| {
        let mut client = Client::new(config.clone()).unwrap();
        client.send(envelopes()[1].clone(), Default::default()).unwrap();
        client
    };
    let mut recorded = make(&config);
    let (now, mut events) = (Instant::EPOCH, Vec::new());
    let mut hear = |client: &mut Client, reply: &str| {
        let mut rest = reply.as_bytes();
        while let Ok(Some(event)) = client.receive(now, &mut rest) {
            events.push(event);
        }
        client.transmit(now, &mut Vec::new());
    };
    for reply in ["220 mx\r\n", "250 mx\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
        hear(&mut recorded, reply);
    }
    recorded.body(now, &mut Vec::new(), 1000).expect("354 was said");
    hear(&mut recorded, "552 too big\r\n");
    config.transcript = None;
    let recording: Recording = text.lock().unwrap().parse().unwrap();
    let replayed = replay(&recording, &mut make(&config), |_, _| {}, |_| b"a message\r\n".to_vec());
    assert_eq!((replayed.deviation, replayed.events), (None, events));
    assert_eq!(replayed.failure.map(|error| error.phase.name()), Some("data block"));
}

#[test]
fn a_time_out_comes_again() {
    let recording: Recording =
        "0.000000000 [greeting] -- it waits\n400.000000000 [greeting] -- still\n".parse().unwrap();
    let replayed = play(&recording);
    assert!(matches!(replayed.failure.unwrap().cause, smtp_proto::Cause::TimedOut { .. }));
}

#[test]
fn tls_from_the_beginning_is_in_the_recording() {
    let text = "0.000000000 [TLS handshake] -- TLS TLSv1_3, x\n0.000000000 [greeting] S: 220 mx\n\
                0.000000000 [EHLO] C: EHLO localhost\n0.000000000 [EHLO] S: 250 mx\n";
    let mut client = Client::new(client::Config::new("localhost")).unwrap();
    let replayed = replay(&text.parse().unwrap(), &mut client, |_, _| {}, |_| Vec::new());
    assert_eq!((replayed.deviation, replayed.failure), (None, None));
    assert!(client.is_ready());
    client.secured(Channel::clear());
}

#[test]
fn a_message_that_cannot_be_given_as_it_was_is_given_up() {
    let mut config = client::Config::new("localhost");
    config.helo = "client.example.org".into();
    config.starttls = StartTls::Never;
    let mut client = Client::new(config).unwrap();
    client.send(envelopes()[1].clone(), smtp_proto::body::LineEndings::Strict).unwrap();
    let recording: Recording = "0.000000000 [greeting] S: 220 mx\n\
        0.000000000 [EHLO] C: EHLO client.example.org\n\
        0.000000000 [EHLO] S: 250 mx\n\
        0.000000000 [MAIL] C: MAIL FROM:<alice@example.org>\n\
        0.000000000 [MAIL] S: 250 ok\n\
        0.000000000 [RCPT] C: RCPT TO:<dan@example.net>\n\
        0.000000000 [RCPT] S: 250 ok\n\
        0.000000000 [DATA] C: DATA\n\
        0.000000000 [DATA] S: 354 go\n\
        0.000000000 [final dot] C: .\n\
        0.000000000 [final dot] S: 250 taken\n"
        .parse()
        .unwrap();
    // The octets that were recorded had no bare line ending.
    let played = replay(&recording, &mut client, |_, _| {}, |_| b"a\nb\r\n".to_vec());
    let deviation = played.deviation.expect("the dot is never said");
    assert_eq!((deviation.entry, deviation.recorded.as_deref(), deviation.said), (9, Some("."), None));
    assert!(!played.events.iter().any(|event| matches!(event, Event::Sent(report) if report.is_accepted())));
}
