//! Our own client against it: whatever one side says, the other understands.

use super::*;
use crate::client::{self, Client, Envelope};
use crate::sasl::Credentials as Known;

/// Plays until neither side has more to say; TLS is a word between the two.
fn converse(client: &mut Client, owner: &mut Owner, message: &[u8], events: &mut Vec<client::Event>) {
    let (mut to_server, mut to_client, mut left) = (Vec::new(), Vec::new(), message);
    for _ in 0..200 {
        let before = (events.len(), owner.events.len(), left.len());
        let mut input = &to_client[..];
        while let Some(event) = client.receive(NOW, &mut input).unwrap() {
            if matches!(event, client::Event::StartTls(_)) {
                owner.server.secured().unwrap();
                client.secured(Channel::secured());
            }
            events.push(event);
        }
        to_client.clear();
        let mut spoke = client.transmit(NOW, &mut to_server);
        if let Some(mut body) = client.body(NOW, &mut to_server, 100_000) {
            let _ = body.write(&mut left);
            body.end();
            left = message;
            spoke = true;
        }
        spoke |= client.transmit(NOW, &mut to_server);
        let mut input = &to_server[..];
        owner.give(&mut input);
        let taken = to_server.len() - input.len();
        to_server.drain(..taken);
        to_client.append(&mut owner.output);
        if !spoke && to_client.is_empty() && before == (events.len(), owner.events.len(), left.len()) {
            return;
        }
    }
    panic!("they never stop: {events:?}");
}

#[test]
fn starttls_auth_messages_quit() {
    let mut without: Vec<Vec<String>> =
        ["", "PIPELINING", "CHUNKING"].iter().map(|one| alloc::vec![one.to_string()]).collect();
    without.push(alloc::vec!["PIPELINING".into(), "CHUNKING".into()]);
    for switched_off in without {
        let offered = ["PLAIN", "LOGIN"].map(|name| name.parse().unwrap());
        let mut owner = Owner::new(config().starttls(true).mechanisms(offered));
        let mut settings = client::Config::new("mx.example");
        settings.credentials = Some(Known::password("tim", "secret"));
        settings.without = switched_off;
        let mut client = Client::new(settings).unwrap();
        let mut events = Vec::new();
        converse(&mut client, &mut owner, b"", &mut events);
        assert!(client.is_ready(), "{events:?}");
        assert_eq!(owner.server.session().user(), Some("tim"));
        let message = b".\r\n..\r\nthe end without an end";
        let envelope = |from| Envelope::new(from, ["a@b.example", "refused@b.example"]).unwrap();
        for from in ["one@c.example", "refused@c.example", "two@c.example"] {
            client.send(envelope(from), crate::body::LineEndings::default()).unwrap();
        }
        client.quit().unwrap();
        converse(&mut client, &mut owner, message, &mut events);
        assert!(owner.server.is_closed() && owner.result.is_ok());
        assert!(matches!(events.last(), Some(client::Event::Closed(Some(_)))), "{events:?}");
        let stored = "message .\\r\\n..\\r\\nthe end without an end\\r\\n";
        assert_eq!(owner.events.iter().filter(|event| *event == stored).count(), 2, "{:?}", owner.events);
        let outcomes: Vec<bool> = events
            .iter()
            .filter_map(|event| match event {
                client::Event::Sent(report) => Some(report),
                _ => None,
            })
            .flat_map(|report| report.recipients.iter().map(|one| matches!(one.outcome, client::Outcome::Accepted(_))))
            .collect();
        assert_eq!(outcomes, [true, false, false, false, true, false]);
    }
}
