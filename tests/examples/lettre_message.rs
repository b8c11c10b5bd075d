//! A message that lettre has built, sent by smtp-tokio: `lettre_message HOST:PORT`, without TLS.
use std::error::Error;

use lettre::message::{Message, MultiPart};
use smtp_tokio::proto::client::{Envelope, Report};
use smtp_tokio::proto::{Config, Security};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = std::env::args().nth(1).ok_or("usage: lettre_message HOST:PORT")?;
    let (host, port) = server.rsplit_once(':').ok_or("a port is needed")?;
    println!("{}", send(Config::new(host, port.parse()?).security(Security::None)).await?);
    Ok(())
}

pub(crate) async fn send(config: Config) -> Result<Report, Box<dyn Error>> {
    let message = Message::builder()
        .from("Alice <alice@example.org>".parse()?)
        .to("Bob <bob@example.net>".parse()?)
        .bcc("carol@example.net".parse()?)
        .subject("Grüße")
        .multipart(MultiPart::alternative_plain_html("Hello, Bob.".to_owned(), "<p>Hello, Bob.</p>".to_owned()))?;
    // lettre has made an envelope of the fields, those for Bcc among them, which the message itself does not show.
    let (from, to) = (message.envelope().from(), message.envelope().to());
    let envelope = Envelope::new(from.map_or("", AsRef::as_ref), to.iter().map(AsRef::<str>::as_ref))?;
    let octets = message.formatted();

    let mut smtp = smtp_tokio::connect(&config).await?;
    let report = smtp.send(&envelope.size(octets.len() as u64), &octets[..]).await?;
    smtp.quit().await?;
    Ok(report)
}
