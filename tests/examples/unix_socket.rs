//! A Unix socket, and nothing but `std`. Sends one message to the server that listens at the path given.
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant as Clock;

use smtp_proto::client::{Envelope, Event, Report};
use smtp_proto::{Config, Connection, Instant, Route, Security};

fn main() -> Result<(), Box<dyn Error>> {
    let stream = UnixStream::connect(std::env::args().nth(1).ok_or("usage: unix_socket PATH")?)?;
    let config = Config::new("localhost", 24).security(Security::None);
    println!("{:?}", send(stream, config, b"Subject: hello\r\n\r\nHello from next door.\r\n")?.recipients);
    Ok(())
}

pub(crate) fn send(mut to: UnixStream, config: Config, mut message: &[u8]) -> Result<Report, Box<dyn Error>> {
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
        // A blocking socket cannot wait for two things at once: what there is to say is said first.
        let limit = wants.deadline.map(|one| one.at.since(now)).filter(|limit| !limit.is_zero());
        to.set_write_timeout(limit)?;
        to.set_read_timeout(limit)?;
        if wants.write.is_empty() {
            in_time(to.read(wants.read)).into_iter().for_each(|read| smtp.received(read.unwrap_or(0)));
        } else {
            match in_time(to.write(wants.write)) {
                Some(Ok(n)) => smtp.sent(n),
                Some(Err(_)) => smtp.write_failed(),
                None => {}
            }
        }
    }
}

/// What took too long is no failure yet: the deadline is looked at once more.
fn in_time(done: io::Result<usize>) -> Option<io::Result<usize>> {
    let late = |error: &io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
    Some(done).filter(|done| !done.as_ref().is_err_and(late))
}
