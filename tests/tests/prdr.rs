//! PRDR (draft-hall-prdr-00), our client against our server: each recipient has an end of his own, wherever the wire breaks.

use smtp_proto::client::{Envelope, Event, Outcome, Report, TransactionId};
use smtp_proto::{Config, Grouping, Misuse, Security, server};
use tests::dialogue::describe_report;
use tests::wire::{Break, Wire};

const GROUPINGS: [Grouping; 3] = [Grouping::Flights, Grouping::Groups, Grouping::OneByOne];
const BODY: &[u8] = b".\r\n353 is no reply here\r\n.";

fn server_config() -> server::Config {
    server::Config::new("mx.example.org").unwrap().with("PRDR").unwrap()
}

fn wire(grouping: Grouping, server: server::Config, piece: usize) -> Wire {
    let config = Config::new("localhost", 2525).security(Security::None).helo("client.example.org");
    let mut wire = Wire::new(config.grouping(grouping), server, None, false, piece);
    wire.manners.refuse = vec!["carol@example.net".into()];
    wire
}

fn envelope(to: &[&str]) -> Envelope {
    Envelope::new("alice@example.org", to).unwrap().prdr()
}

fn three() -> Envelope {
    envelope(&["bob@example.net", "carol@example.net", "dan@example.net"])
}

fn reports(wire: &Wire) -> Vec<Report> {
    let sent = |event: &Event| if let Event::Sent(report) = event { Some(report.clone()) } else { None };
    wire.events.iter().filter_map(sent).collect()
}

#[test]
fn each_recipient_has_an_outcome_by_data_and_by_bdat_grouped_and_not() {
    let (bob, dan) = ("bob@example.net", "dan@example.net");
    for grouping in GROUPINGS {
        for without in [&[][..], &["CHUNKING"], &["PIPELINING"], &["CHUNKING", "PIPELINING"]] {
            for piece in [1, 7, 100_000] {
                for (full, takes_back, outcome, to) in [
                    (&[][..], false, "accepted 250, refused 550, accepted 250", &[bob, dan][..]),
                    (&[bob], false, "refused 550, refused 550, accepted 250", &[dan]),
                    (&[dan], false, "accepted 250, refused 550, refused 550", &[bob]),
                    (&[bob, dan], false, "refused 550, refused 550, refused 550", &[]),
                    (&[bob], true, "refused 550, refused 550, refused 550", &[]),
                ] {
                    let server = without.iter().fold(server_config(), |server, keyword| server.without(keyword));
                    let mut wire = wire(grouping, server, piece);
                    wire.manners.full = full.iter().map(|one| one.to_string()).collect();
                    wire.manners.takes_back = takes_back;
                    assert!(wire.run_until(|event| *event == Event::Ready), "{:?}", wire.failure);
                    let ids: Vec<(TransactionId, &[u8])> =
                        (0..4).map(|_| (wire.client.send(three(), Default::default()).unwrap(), BODY)).collect();
                    wire.client.quit().unwrap();
                    wire.run_out(&ids);
                    assert_eq!((&wire.failure, &wire.server_failure), (&None, &None));
                    let told: Vec<String> = reports(&wire).iter().map(describe_report).collect();
                    assert_eq!(told, [outcome; 4], "{grouping:?}, without {without:?}, {piece}, {full:?}");
                    assert_eq!(wire.arrived.len(), if to.is_empty() { 0 } else { 4 });
                    for one in &wire.arrived {
                        assert_eq!(
                            (&one.to[..], one.mail.prdr),
                            (&to.iter().map(|to| to.to_string()).collect::<Vec<_>>()[..], true)
                        );
                        assert_eq!(one.content, [BODY, b"\r\n"].concat());
                    }
                }
            }
        }
    }
}

#[test]
fn one_recipient_is_answered_for_once() {
    for to in [&["dan@example.net"][..], &["carol@example.net", "dan@example.net"]] {
        let mut wire = wire(Grouping::Flights, server_config(), 100_000);
        assert!(wire.run_until(|event| *event == Event::Ready));
        assert!(describe_report(&wire.send(&envelope(to), BODY)).ends_with("accepted 250"));
        assert!(!wire.from_server.windows(5).any(|part| part == b"\r\n353"));
    }
}

#[test]
fn a_server_that_does_not_offer_it_is_not_asked() {
    for server in [server_config().without("PRDR"), server::Config::new("mx.example.org").unwrap()] {
        let mut wire = wire(Grouping::Flights, server, 100_000);
        assert!(wire.run_until(|event| *event == Event::Ready));
        let asked = wire.client.send(three(), Default::default());
        assert_eq!(asked, Err(Misuse::NotOffered { extension: "PRDR" }));
    }
}

/// Where the reply that begins so ends, the first behind `from`.
fn end_of(reply: &str, octets: &[u8], from: usize) -> usize {
    let begin = from + octets[from..].windows(reply.len()).position(|part| part == reply.as_bytes()).expect("a reply");
    begin + octets[begin..].windows(2).position(|part| part == b"\r\n").expect("its end") + 2
}

#[test]
fn wherever_the_wire_breaks_nobody_is_told_wrong() {
    for grouping in GROUPINGS {
        let broken = |breaks| {
            let mut wire = wire(grouping, server_config(), 100_000);
            wire.manners.full = vec!["bob@example.net".into()];
            wire.breaks = breaks;
            let id = wire.client.send(three(), Default::default()).unwrap();
            wire.client.quit().unwrap();
            wire.run_out(&[(id, BODY)]);
            wire
        };
        let whole = broken(None);
        assert_eq!(describe_report(&reports(&whole)[0]), "refused 550, refused 550, accepted 250");
        let carol = end_of("550 5.1.1", &whole.from_server, 0);
        let begun = end_of("353 ", &whole.from_server, 0);
        let bob = end_of("550 5.7.1", &whole.from_server, begun);
        let dan = end_of("250 2.0.0", &whole.from_server, bob);
        let last = end_of("250 2.0.0", &whole.from_server, dan);
        let (up, down) = (whole.from_client.len(), whole.from_server.len());
        for (up, down) in (0..up).map(|at| (at, usize::MAX)).chain((0..down).map(|at| (usize::MAX, at))) {
            for swallows in [false, true] {
                let wire = broken(Some(Break { up, down, swallows }));
                let [report] = &reports(&wire)[..] else { panic!("one report, whatever happens") };
                let heard = wire.from_server.len();
                let expected = [(bob, false), (carol, false), (dan, true)];
                for (one, (answered, accepted)) in report.recipients.iter().zip(expected) {
                    let arrived = wire.arrived.iter().any(|message| message.to.contains(&one.path.to_string()));
                    let what = format!("{}: {:?}, broken at {up} {down} {swallows}", one.path, one.outcome);
                    match &one.outcome {
                        // Only the last word makes a yes of it.
                        Outcome::Accepted(_) => assert!(accepted && arrived && heard >= last, "{what}"),
                        Outcome::Refused(_) => assert!(!accepted && heard >= answered && !arrived, "{what}"),
                        Outcome::NotSent => assert!(!arrived && heard < begun, "{what}"),
                        Outcome::Unknown => assert!(heard < last && (accepted || heard < answered), "{what}"),
                    }
                }
                assert_eq!(report.cut_short.is_some(), heard < last);
            }
        }
    }
}
