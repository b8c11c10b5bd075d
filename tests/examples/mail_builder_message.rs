//! A message that mail-builder has built, sent by smtp-blocking: `mail_builder_message HOST:PORT`, without TLS.
use std::error::Error;

use mail_builder::MessageBuilder;
use smtp_blocking::proto::client::{Envelope, Report};
use smtp_blocking::proto::{Config, Security};

fn main() -> Result<(), Box<dyn Error>> {
    let server = std::env::args().nth(1).ok_or("usage: mail_builder_message HOST:PORT")?;
    let (host, port) = server.rsplit_once(':').ok_or("a port is needed")?;
    println!("{}", send(Config::new(host, port.parse()?).security(Security::None))?);
    Ok(())
}

pub(crate) fn send(config: Config) -> Result<Report, Box<dyn Error>> {
    // It writes header fields and says nothing about the envelope: that is the caller's to know.
    let message = MessageBuilder::new()
        .from(("Alice", "alice@example.org"))
        .to(("Bob", "bob@example.net"))
        .subject("Grüße")
        .text_body("Hello, Bob.")
        .attachment("text/csv", "numbers.csv", &b"1,2\r\n"[..])
        .write_to_vec()?;
    let envelope = Envelope::new("alice@example.org", ["bob@example.net", "carol@example.net"])?;

    let mut smtp = smtp_blocking::connect(&config)?;
    let report = smtp.send(&envelope.size(message.len() as u64), &message[..])?;
    smtp.quit()?;
    Ok(report)
}
