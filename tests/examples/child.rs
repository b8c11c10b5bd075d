//! The pipes of a child process, such as `ssh host nc localhost 25`. Sends one message through the command given.
use std::error::Error;
use std::io::{BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant as Clock};

use smtp_proto::client::{Envelope, Event, Report};
use smtp_proto::{Config, Connection, Instant, Route, Security};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let mut command = Command::new(words.next().ok_or("usage: child COMMAND [ARGUMENT]...")?);
    let mut child = command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let config = Config::new("localhost", 25).security(Security::None);
    println!("{:?}", send(&mut child, config, b"Subject: hello\r\n\r\nHello from afar.\r\n")?.recipients);
    child.kill()?; // what there was to say is said
    child.wait().map(drop).map_err(Into::into)
}

pub(crate) fn send(child: &mut Child, config: Config, mut message: &[u8]) -> Result<Report, Box<dyn Error>> {
    let (mut input, output) = child.stdin.take().zip(child.stdout.take()).ok_or("a child with pipes, please")?;
    // A pipe has no time-out, so another thread waits for it.
    let (tell, hear) = sync_channel(4096);
    let mut octets = BufReader::new(output).bytes().map_while(Result::ok);
    std::thread::spawn(move || octets.try_for_each(|octet| tell.send(octet)));
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
        if !wants.write.is_empty() {
            match input.write(wants.write) {
                Ok(n) => smtp.sent(n),
                Err(_) => smtp.write_failed(),
            }
            continue;
        }
        match hear.recv_timeout(wants.deadline.map_or(Duration::MAX, |one| one.at.since(now))) {
            Ok(octet) => {
                wants.read[0] = octet;
                smtp.received(1);
            }
            Err(RecvTimeoutError::Disconnected) => smtp.received(0),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
