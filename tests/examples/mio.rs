//! mio: one poll for reading, writing and the deadline. Sends one message to the server given as ADDRESS:PORT.
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant as Clock;

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use smtp_proto::client::{Envelope, Event, Report};
use smtp_proto::{Config, Connection, Instant, Route, Security};

fn main() -> Result<(), Box<dyn Error>> {
    let stream = std::net::TcpStream::connect(std::env::args().nth(1).ok_or("usage: mio ADDRESS:PORT")?)?;
    stream.set_nonblocking(true)?;
    let config = Config::new("localhost", 25).security(Security::None);
    let report = send(TcpStream::from_std(stream), config, b"Subject: hello\r\n\r\nHello from mio.\r\n")?;
    println!("{:?}", report.recipients);
    Ok(())
}

pub(crate) fn send(mut to: TcpStream, config: Config, mut message: &[u8]) -> Result<Report, Box<dyn Error>> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(8));
    poll.registry().register(&mut to, Token(0), Interest::READABLE | Interest::WRITABLE)?;
    let (mut smtp, mut report, epoch) = (Connection::new(config, Route::direct())?, None, Clock::now());
    smtp.send(Envelope::new("me@example.org", ["you@example.org"])?, Default::default())?;
    smtp.quit()?;
    loop {
        let now = Instant::from_epoch(epoch.elapsed());
        match smtp.poll(now)? {
            Some(Event::Sent(sent)) => report = Some(sent),
            Some(Event::Closed(_)) => return report.ok_or("closed".into()),
            Some(_) => continue,
            None => {}
        }
        if let Some(mut body) = smtp.body(now) {
            body.write(&mut message)?;
            message.is_empty().then(|| body.end());
        }
        let wants = smtp.wants(now);
        // Readiness is told once: both are tried until neither gets on.
        let wrote = if wants.write.is_empty() { None } else { at_once(to.write(wants.write)) };
        let read = if wants.read.is_empty() { None } else { at_once(to.read(wants.read)) };
        if wrote.is_none() && read.is_none() {
            at_once(poll.poll(&mut events, wants.deadline.map(|one| one.at.since(now)))).transpose()?;
        }
        match wrote {
            Some(Ok(n)) => smtp.sent(n),
            Some(Err(_)) => smtp.write_failed(),
            None => {}
        }
        read.into_iter().for_each(|read| smtp.received(read.unwrap_or(0)));
    }
}

fn at_once<T>(done: io::Result<T>) -> Option<io::Result<T>> {
    let later = |error: &io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
    Some(done).filter(|done| !done.as_ref().is_err_and(later))
}
