//! Many recipients: whom the server had no room for goes into a further transaction, and the results are told as one.

use smtp_proto::client::{Envelope, Event, Outcome, Report};
use smtp_proto::{Config, Grouping, Misuse, Security, server};
use tests::wire::Wire;

fn wire(grouping: Grouping, recipients: usize) -> Wire {
    let config = Config::new("localhost", 25).security(Security::None).grouping(grouping);
    let limits = server::Limits { recipients, ..server::Limits::default() };
    let mut wire =
        Wire::new(config, server::Config::new("mx.example.org").unwrap().limits(limits), None, false, 10_000);
    assert!(wire.run_until(|event| matches!(event, Event::Ready)));
    wire
}

/// What an adapter does with a message that it can open again.
fn send_all(wire: &mut Wire, envelope: Envelope, message: &[u8]) -> Report {
    let mut parts = envelope.parts(wire.client.extensions()).into_iter();
    let mut whole = wire.send(&parts.next().expect("a part"), message);
    for part in parts {
        whole.merge(wire.send(&part, message));
    }
    while let Some(rest) = whole.remaining() {
        whole.merge(wire.send(&rest, message));
    }
    whole
}

#[test]
fn everybody_gets_it_once_however_few_fit_into_a_transaction() {
    for grouping in [Grouping::Flights, Grouping::Groups, Grouping::OneByOne] {
        // One is refused, and takes no room.
        for (people, room, transactions) in [(25, 25, 1), (25, 24, 1), (25, 23, 2), (25, 10, 3), (7, 1, 6)] {
            let to: Vec<_> = (0..people).map(|n| format!("user{n}@example.net")).collect();
            let mut wire = wire(grouping, room);
            wire.manners.refuse = vec!["user3@example.net".into()];
            let report = send_all(&mut wire, Envelope::new("alice@example.org", &to).unwrap(), b"hello\r\n");
            assert_eq!(report.recipients.len(), people);
            for (at, one) in report.recipients.iter().enumerate() {
                assert_eq!(one.path.as_str(), to[at]);
                let accepted = matches!(one.outcome, Outcome::Accepted(_));
                assert_eq!(accepted, at != 3, "{:?} {room} {:?}", grouping, one);
                let arrived =
                    wire.arrived.iter().flat_map(|message| &message.to).filter(|to| **to == *one.path.as_str());
                assert_eq!(arrived.count(), usize::from(accepted));
            }
            assert_eq!(wire.arrived.len(), transactions, "{people} in {room}");
            assert!(wire.client.is_clean());
        }
    }
}

#[test]
fn limits_that_are_stated_are_kept_without_being_refused() {
    let mut wire = wire(Grouping::Flights, 1000);
    wire.client.extensions_mut().set("LIMITS RCPTMAX=4 RCPTDOMAINMAX=2").unwrap();
    let to: Vec<_> = (0..12).map(|n| format!("user{n}@example{}.net", n % 4)).collect();
    let envelope = Envelope::new("alice@example.org", &to).unwrap();
    assert_eq!(wire.client.send(envelope.clone(), Default::default()), Err(Misuse::TooManyRecipients { limit: 4 }));
    let four = Envelope::new("alice@example.org", &to[..4]).unwrap();
    assert_eq!(wire.client.send(four, Default::default()), Err(Misuse::TooManyDomains { limit: 2 }));
    let report = send_all(&mut wire, envelope, b"hello\r\n");
    assert!(report.is_accepted());
    assert_eq!(report.recipients.iter().map(|one| one.path.to_string()).collect::<Vec<_>>(), to);
    assert_eq!(wire.arrived.len(), 4);
    assert!(wire.arrived.iter().all(|message| message.to.len() <= 4));
}

#[test]
fn a_connection_says_when_it_is_used_up() {
    let mut wire = wire(Grouping::Flights, 10);
    assert_eq!(wire.client.mails_left(), None);
    wire.client.extensions_mut().set("LIMITS MAILMAX=3").unwrap();
    let envelope = || Envelope::new("alice@example.org", ["bob@example.net"]).unwrap();
    assert_eq!(wire.client.mails_left(), Some(3));
    assert!(wire.send(&envelope(), b"hello\r\n").is_accepted());
    assert_eq!(wire.client.mails_left(), Some(2));
    let ids = [1, 2].map(|_| (wire.client.send(envelope(), Default::default()).unwrap(), &b"hello\r\n"[..]));
    assert_eq!(wire.client.mails_left(), Some(0));
    let used_up = Misuse::TooManyMessages { limit: 3 };
    assert_eq!(wire.client.send(envelope(), Default::default()), Err(used_up.clone()));
    wire.run_out_to(&ids, |event| matches!(event, Event::Sent(report) if report.transaction == ids[1].0));
    assert_eq!(wire.arrived.len(), 3);
    assert!(wire.client.is_clean(), "nothing is lost by asking");
    // What was asked for before anybody knew is told as soon as that is known.
    let config = Config::new("localhost", 25).security(Security::None).with("LIMITS MAILMAX=1");
    let mut early = Wire::new(config, server::Config::new("mx.example.org").unwrap(), None, false, 1000);
    let ids = [1, 2, 3].map(|_| (early.client.send(envelope(), Default::default()).unwrap(), &b"hello\r\n"[..]));
    early.client.quit().unwrap();
    early.run_out(&ids);
    let told = early.events.iter().filter_map(|event| match event {
        Event::Sent(report) => Some((report.transaction == ids[0].0, report.misuse.clone())),
        _ => None,
    });
    let used_up = Some(Misuse::TooManyMessages { limit: 1 });
    assert_eq!(told.collect::<Vec<_>>(), [(false, used_up.clone()), (false, used_up), (true, None)]);
    assert_eq!((early.arrived.len(), early.failure), (1, None));
}
