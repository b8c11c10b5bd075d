//! An adapter of one's own: a socket, a clock, a loop. Sends one message to the server given as HOST:PORT.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "sockets and clocks are what an adapter brings"
)]
use smtp_proto::client::{Envelope, Event};
use smtp_proto::{Config, Connection, Instant, Route, Security};
use std::io::{Read, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::args().nth(1).ok_or("usage: own_adapter HOST:PORT")?;
    let (mut stream, epoch) = (std::net::TcpStream::connect(server)?, std::time::Instant::now());
    let mut smtp = Connection::new(Config::new("localhost", 25).security(Security::None), Route::direct())?;
    let mut message = &b"Subject: hello\r\n\r\nHello from a loop of my own.\r\n"[..];
    smtp.send(Envelope::new("me@example.org", ["you@example.org"])?, Default::default())?;
    smtp.quit()?;
    loop {
        let now = Instant::from_epoch(epoch.elapsed());
        match smtp.poll(now)? {
            Some(Event::Sent(report)) => println!("{:?}", report.recipients),
            Some(Event::Closed(_)) => return Ok(()),
            Some(_) => {}
            None => {
                if let Some(mut body) = smtp.body(now) {
                    body.write(&mut message)?;
                    if message.is_empty() {
                        body.end();
                    }
                }
                let wants = smtp.wants(now);
                if !wants.write.is_empty() {
                    let n = stream.write(wants.write)?;
                    smtp.sent(n);
                } else {
                    // A socket that could wait for several things at once would do both; this one only keeps the time.
                    stream.set_read_timeout(wants.deadline.map(|deadline| deadline.at.since(now)))?;
                    let n = stream.read(wants.read)?;
                    smtp.received(n);
                }
            }
        }
    }
}
