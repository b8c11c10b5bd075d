//! A loop of callbacks on one thread (calloop): nobody waits, everybody is called. Sends one message to ADDRESS:PORT.
use std::cell::RefCell;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant as Clock};

use calloop::{EventLoop, Interest, Mode, PostAction, generic::Generic};
use smtp_proto::client::{Envelope, Event, Report};
use smtp_proto::{Config, Connection, Instant, Route, Security};

fn main() -> Result<(), Box<dyn Error>> {
    let stream = TcpStream::connect(std::env::args().nth(1).ok_or("usage: callbacks ADDRESS:PORT")?)?;
    let config = Config::new("localhost", 25).security(Security::None);
    send(stream, config, b"Subject: hello\r\n\r\nHello, called back.\r\n").map(|report| println!("{report:?}"))
}

pub(crate) fn send(mut to: TcpStream, config: Config, mut message: &[u8]) -> Result<Report, Box<dyn Error>> {
    to.set_nonblocking(true)?;
    let ready = Generic::new(to.try_clone()?, Interest::BOTH, Mode::Edge);
    let (mut smtp, mut report, epoch) = (Connection::new(config, Route::direct())?, None, Clock::now());
    smtp.send(Envelope::new("me@example.org", ["you@example.org"])?, Default::default())?;
    smtp.quit()?;
    // Does all that can be done now, and says when to be called at the latest, if it is not over.
    let called = RefCell::new(|| -> Result<_, Box<dyn Error>> {
        loop {
            let now = Instant::from_epoch(epoch.elapsed());
            match smtp.poll(now)? {
                Some(Event::Sent(sent)) => report = Some(sent),
                Some(Event::Closed(_)) => return Ok(None),
                Some(_) => continue,
                None => {}
            }
            if let Some(mut body) = smtp.body(now) {
                body.write(&mut message)?;
                message.is_empty().then(|| body.end());
            }
            let wants = smtp.wants(now);
            let limit = wants.deadline.map(|one| one.at.since(now)).or(Some(Duration::MAX));
            let later = |did: &io::Result<_>| did.as_ref().is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
            let wrote = Some(to.write(wants.write)).filter(|wrote| !wants.write.is_empty() && !later(wrote));
            let read = Some(to.read(wants.read)).filter(|read| !wants.read.is_empty() && !later(read));
            match &wrote {
                Some(Ok(n)) => smtp.sent(*n),
                Some(Err(_)) => smtp.write_failed(),
                None if read.is_none() => return Ok(limit),
                None => {}
            }
            read.into_iter().for_each(|read| smtp.received(read.unwrap_or(0)));
        }
    });
    let (mut events, mut next) = (EventLoop::try_new()?, Ok(Some(Duration::ZERO)));
    events.handle().insert_source(ready, |_, _, _| Ok(PostAction::Continue))?;
    while let Some(limit) = std::mem::replace(&mut next, Ok(None))? {
        events.handle().insert_idle(|next| *next = called.borrow_mut()()); // for the stream or for the time
        events.dispatch(limit, &mut next)?;
    }
    drop(events);
    report.ok_or("closed".into())
}
