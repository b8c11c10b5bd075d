//! Messages that other crates have built, by the examples that show it: they arrive octet for octet.

use std::time::Duration;

#[path = "../examples/lettre_message.rs"]
#[allow(dead_code)] // its main
mod lettre_message;
#[path = "../examples/mail_builder_message.rs"]
#[allow(dead_code)] // its main
mod mail_builder_message;

use smtp_blocking::test_util::{Policy, Received, Server};

/// What arrived, with its lines unfolded.
fn fields(received: &Received) -> String {
    received.text().replace("\r\n ", " ").replace("\r\n\t", " ")
}

/// One message, which says its size beforehand and is of that size.
fn one(server: &Server) -> Received {
    let received = server.wait_for(1, Duration::from_secs(10));
    assert_eq!(received.len(), 1);
    let one = received.into_iter().next().unwrap();
    assert_eq!(one.parameters.size, Some(one.octets.len() as u64), "{}", one.text());
    assert_eq!((one.from.as_str(), one.to()), ("alice@example.org", vec!["bob@example.net", "carol@example.net"]));
    one
}

#[test]
fn lettre_builds_a_message() {
    let server = Server::start(Policy::new()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(lettre_message::send(server.client())).unwrap();
    assert!(report.is_accepted(), "{report}");
    let text = fields(&one(&server));
    assert!(text.contains("To: Bob <bob@example.net>\r\n") && text.contains("multipart/alternative"), "{text}");
    assert!(!text.contains("carol"), "whoever is in Bcc is in the envelope only: {text}");
}

#[test]
fn mail_builder_builds_a_message() {
    let server = Server::start(Policy::new()).unwrap();
    let report = mail_builder_message::send(server.client()).unwrap();
    assert!(report.is_accepted(), "{report}");
    let text = fields(&one(&server));
    assert!(text.contains("bob@example.net") && text.contains("numbers.csv") && !text.contains("carol"), "{text}");
}
