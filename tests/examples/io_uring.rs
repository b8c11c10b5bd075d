//! io_uring (compio): reads and writes are given to the kernel with their buffers. Sends one message to ADDRESS:PORT.
use std::time::{Duration, Instant as Clock};
use std::{error::Error, future::poll_fn, pin::Pin, task::Poll};

use compio::io::{AsyncRead, AsyncWrite};
use compio::{BufResult, net::TcpStream, runtime::Runtime, time::timeout};
use smtp_proto::client::{Envelope, Event, Report};
use smtp_proto::{Config, Connection, Instant, Route, Security};

fn main() -> Result<(), Box<dyn Error>> {
    let server = std::env::args().nth(1).ok_or("usage: io_uring ADDRESS:PORT")?;
    let config = Config::new("localhost", 25).security(Security::None);
    let sending = send(&server, config, b"Subject: hello\r\n\r\nHello from the ring.\r\n");
    Runtime::new()?.block_on(sending).map(|report| println!("{:?}", report.recipients))
}

pub(crate) async fn send(server: &str, config: Config, mut message: &[u8]) -> Result<Report, Box<dyn Error>> {
    let (stream, epoch, mut report) = (TcpStream::connect(server).await?, Clock::now(), None);
    let mut smtp = Connection::new(config, Route::direct())?;
    smtp.send(Envelope::new("me@example.org", ["you@example.org"])?, Default::default())?;
    smtp.quit()?;
    // What the kernel was given, to read and to write, is kept until it is done: its octets would be lost otherwise.
    type Given = Option<Pin<Box<dyn Future<Output = BufResult<usize, Vec<u8>>>>>>;
    let mut given: [Given; 2] = [None, None];
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
        let (wants, mut from, mut to) = (smtp.wants(now), stream.clone(), stream.clone());
        let (room, octets) = (Vec::with_capacity(wants.read.len()), wants.write.to_vec());
        (room.capacity() > 0).then(|| given[0].get_or_insert_with(|| Box::pin(async move { from.read(room).await })));
        (!octets.is_empty()).then(|| given[1].get_or_insert_with(|| Box::pin(async move { to.write(octets).await })));
        let first = poll_fn(|cx| {
            let done = given.each_mut().map(|one| match one.as_mut()?.as_mut().poll(cx) {
                Poll::Ready(done) => one.take().map(|_| done),
                Poll::Pending => None,
            });
            if done.iter().any(Option::is_some) { Poll::Ready(done) } else { Poll::Pending }
        });
        let limit = wants.deadline.map_or(Duration::MAX, |one| one.at.since(now));
        let [read, wrote] = timeout(limit, first).await.unwrap_or([None, None]);
        if let Some(BufResult(result, octets)) = read {
            smtp.wants(now).read[..octets.len()].copy_from_slice(&octets);
            smtp.received(result.unwrap_or(0));
        }
        match wrote {
            Some(BufResult(Ok(n), _)) => smtp.sent(n),
            Some(_) => smtp.write_failed(),
            None => {}
        }
    }
}
