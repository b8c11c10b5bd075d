//! The fuzz target `replay`: any text that is a transcript can be written and read again, and played to a client
//! that wants something: it comes to the same each time, and each message is told of once at most.

use smtp_proto::client::{self, Client, Envelope, Event, Recording, Replayed, StartTls, replay as play};
use smtp_proto::command::Command;
use smtp_proto::sasl::{Allowed, Credentials};
use smtp_proto::{Cause, Grouping};

/// The first octet says what the client is like; the rest is the transcript.
pub fn replay(input: &[u8]) {
    let Some((flags, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(recording) = text.parse::<Recording>() else { return };
    assert_eq!(recording.to_string().parse(), Ok(recording.clone()), "written and read it is another");
    let one = run(*flags, &recording);
    assert_eq!(run(*flags, &recording), one, "the same recording, another outcome");
    if let Some(deviation) = &one.deviation {
        assert!(deviation.entry <= recording.entries.len() && deviation.recorded != deviation.said);
    }
    let told = one.events.iter().filter_map(|event| match event {
        Event::Sent(report) => Some(report),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    for (at, report) in told.iter().enumerate() {
        assert!(told[..at].iter().all(|other| other.transaction != report.transaction), "a message is told of twice");
        assert!(report.cut_short.is_none() || one.failure.is_some());
    }
    if let Some(error) = &one.failure {
        assert!(!matches!(error.cause, Cause::Abandoned), "canonical line endings are never given up");
    }
}

fn run(flags: u8, recording: &Recording) -> Replayed {
    let mut config = client::Config::new("mx.example.org");
    config.starttls =
        [StartTls::Never, StartTls::IfOffered, StartTls::Required, StartTls::Never][usize::from(flags % 4)];
    config.grouping = if flags & 4 > 0 { Grouping::Flights } else { Grouping::Groups };
    if flags & 8 > 0 {
        config.credentials = Some(Credentials::password("tim", "tanstaaftanstaaf"));
        config.allowed = Allowed::only(["PLAIN".parse().expect("a mechanism")]).danger_allow_clear_text();
    }
    if flags & 16 > 0 {
        let offer = "grouping flights\nPIPELINING\nPIPECONNECT\nCHUNKING\nAUTH PLAIN\n";
        config.remembered = Some(offer.parse().expect("an offer"));
    }
    config.lmtp = flags & 32 > 0;
    let mut client = Client::new(config).expect("a configuration");
    for to in [&["bob@example.net", "carol@example.net"][..], &["dan@example.net"]] {
        let envelope = Envelope::new("alice@example.org", to).expect("an envelope");
        let envelope = if flags & 64 > 0 { envelope.prdr() } else { envelope };
        client.send(envelope, Default::default()).expect("an open session");
    }
    client.command(Command::noop()).expect("an open session");
    if flags & 128 > 0 {
        client.quit().expect("an open session");
    }
    play(recording, &mut client, |_, _| {}, |_| b".\r\nx".to_vec())
}
