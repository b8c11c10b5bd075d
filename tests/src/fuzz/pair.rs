//! The fuzz target `pair`: our client against our server, over a wire that may break.

use std::sync::Arc;

use smtp_proto::body::LineEndings;
use smtp_proto::client::{Envelope, Event, Notify, Outcome, Report, Ret};
use smtp_proto::command::Command;
use smtp_proto::parameter::{EnvelopeId, OriginalRecipient};
use smtp_proto::server::Config as Host;
use smtp_proto::{Config, Grouping, Security};

use super::client::envelope;
use super::control::{Control, turns};
use super::server::ASKS;
use crate::oracle::canonical;
use crate::transparent::Transparent;
use crate::wire::{Break, Wire};

/// An envelope with what the control asks for.
fn given(more: u8, each: u8) -> Envelope {
    let envelope = if each & 1 > 0 { envelope().prdr() } else { envelope() };
    if more & 2 == 0 {
        return envelope;
    }
    let delay = Notify { delay: true, ..Notify::default() };
    let given = envelope.ret(Ret::Headers).notify(1, delay).envid("a=b");
    given.and_then(|given| given.orcpt(0, "rfc822", "b+b@example.net")).expect("lawful parameters")
}

/// A client against a server, on a wire that may break: what arrived is what was sent, and what is told is true.
pub fn pair(input: &[u8]) {
    let (mut control, data) = Control::split(input);
    let flags = control.next();
    let security = [Security::None, Security::StartTls, Security::Implicit, Security::Auto][usize::from(flags % 4)];
    let grouping = if flags & 4 > 0 { Grouping::OneByOne } else { Grouping::Groups };
    let config = Config::new("localhost", 25).security(security).tls(Transparent).grouping(grouping);
    let mut config = config.entropy(|octets| octets.fill(7));
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
    let refuse = control.next();
    let place = usize::from(control.next()) * 4 + usize::from(control.next());
    let breaks = match control.next() % 4 {
        1 => Some(Break { up: place, down: usize::MAX, swallows: false }),
        2 => Some(Break { up: place, down: usize::MAX, swallows: true }),
        3 => Some(Break { up: usize::MAX, down: place, swallows: true }),
        _ => None,
    };
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
        config = config.remembered(offer.parse().expect("an offer"));
        if early & 16 > 0 {
            server = server.with("PIPECONNECT").expect("an extension");
        }
    }
    // PRDR: who is refused once the message is there, each by himself or all by the last word.
    let each = control.next();
    if each & 1 > 0 {
        server = server.with("PRDR").expect("an extension");
    }
    let mut wire = Wire::new(config, server, offers.then_some(acceptor), implicit, piece);
    wire.breaks = breaks;
    let some = |bits: u8| {
        let all = ["bob@example.net", "carol@example.net"].into_iter().enumerate();
        all.filter(|(at, _)| bits & (1 << at) > 0).map(|(_, to)| to.to_owned()).collect()
    };
    (wire.manners.refuse, wire.manners.full, wire.manners.takes_back) = (some(refuse), some(each >> 1), each & 8 > 0);
    let messages: Vec<&[u8]> = turns(data).into_iter().take(4).collect();
    let mut ids = Vec::new();
    for message in &messages {
        ids.push((wire.client.send(given(more, each), LineEndings::Canonical).expect("an open session"), *message));
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
        let expected = given(more, each).reverse_path().to_string();
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
