//! A pool of eight connections to a server that closes them at random: every message is accounted for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use smtp_blocking::pool as blocking;
use smtp_proto::client::{Envelope, Outcome};
use smtp_proto::reply::{Code, Reply};
use smtp_proto::server::{self, Event};
use smtp_proto::session::Reuse;
use smtp_proto::{Accepted, Config, Security};
use smtp_tokio::pool::{Error, Pool};
use smtp_tokio::serve::{Served, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// What the server has taken responsibility for, by content, and how often.
type Arrived = Arc<Mutex<HashMap<Vec<u8>, u32>>>;

/// Small random numbers (xorshift), the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Serves until told to stop; each connection ends after `patience` events at the latest.
async fn unreliable(listener: TcpListener, arrived: Arrived, opened: Arc<AtomicUsize>, stop: oneshot::Receiver<()>) {
    let dice = Arc::new(Mutex::new(Dice(0x9E37_79B9_7F4A_7C15)));
    serve(listener, 100, async { drop(stop.await) }, move |stream, _, stopping| {
        let (arrived, dice) = (arrived.clone(), dice.clone());
        opened.fetch_add(1, Ordering::SeqCst);
        async move {
            let accepted = Accepted::new(server::Config::new("mx.example.org").unwrap(), None).unwrap();
            let mut served = Served::new(accepted, stream).until(stopping);
            let mut content = Vec::new();
            let mut left = dice.lock().unwrap().roll(120);
            while let Ok(Some(event)) = served.next().await {
                match event {
                    Event::Content { octets, last } => {
                        content.extend(octets);
                        if last {
                            *arrived.lock().unwrap().entry(std::mem::take(&mut content)).or_default() += 1;
                        }
                    }
                    Event::Abandoned(_) => content.clear(),
                    _ => {}
                }
                // Gone without a word: sometimes before the answer, sometimes behind it.
                if left == 0 && dice.lock().unwrap().roll(2) == 0 {
                    return;
                }
                while let Some(decision) = served.connection().decision() {
                    decision.accept();
                }
                if left == 0 {
                    return;
                }
                left -= 1;
            }
        }
    })
    .await;
}

#[test]
fn every_message_arrives_once_or_is_told_not_to_or_is_unknown() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (arrived, opened) = (Arrived::default(), Arc::new(AtomicUsize::new(0)));
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(unreliable(listener, arrived.clone(), opened.clone(), stopped));
        let pool = Pool::new(Config::new("127.0.0.1", port).security(Security::None), 8);
        let count = 10_000;
        let senders: Vec<_> = (0..32)
            .map(|lane| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let envelope = Envelope::new("alice@example.org", ["bob@example.net"]).unwrap();
                    let mut outcomes = Vec::new();
                    for number in (lane..count).step_by(32) {
                        let message = format!("Subject: {number}\r\n\r\nHello.\r\n").into_bytes();
                        let sent = pool.send(&envelope, &message[..]).await;
                        outcomes.push((message, sent.map(|report| report.recipients[0].outcome.clone())));
                    }
                    outcomes
                })
            })
            .collect();
        let (mut accepted, mut unknown, mut not_sent) = (0, 0, 0);
        for sender in senders {
            for (message, outcome) in sender.await.unwrap() {
                let times = arrived.lock().unwrap().get(&message).copied().unwrap_or(0);
                match outcome {
                    Ok(Outcome::Accepted(_)) => {
                        assert_eq!(times, 1);
                        accepted += 1;
                    }
                    Ok(Outcome::Unknown) => {
                        assert!(times <= 1);
                        unknown += 1;
                    }
                    // Twice in a row in vain, or no session to be had: told, and true.
                    Ok(Outcome::NotSent) | Err(Error::Session(_)) => {
                        assert_eq!(times, 0);
                        not_sent += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(accepted + unknown + not_sent, count);
        assert!(accepted > count / 2 && unknown > 0, "{accepted} accepted, {unknown} unknown, {not_sent} not sent");
        assert!(opened.load(Ordering::SeqCst) > 50, "the server did not close often enough to prove anything");
        pool.close().await;
        assert!(matches!(pool.get().await, Err(Error::Closed)));
        stop.send(()).unwrap();
        server.await.unwrap();
    });
}

/// A server that counts its connections, does not close them, and tells of each QUIT.
async fn counting(opened: Arc<AtomicUsize>) -> (u16, oneshot::Sender<()>, mpsc::Receiver<()>) {
    let (quit, quits) = mpsc::channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(serve(listener, 100, async { drop(stopped.await) }, move |stream, _, stopping| {
        opened.fetch_add(1, Ordering::SeqCst);
        let quit = quit.clone();
        async move {
            let accepted = Accepted::new(server::Config::new("mx.example.org").unwrap(), None).unwrap();
            let mut served = Served::new(accepted, stream).until(stopping);
            while let Ok(Some(event)) = served.next().await {
                if event == Event::Quit {
                    let _ = quit.send(());
                }
                while let Some(decision) = served.connection().decision() {
                    decision.accept();
                }
            }
        }
    }));
    (port, stop, quits)
}

#[test]
fn a_session_is_used_again_asked_after_a_while_and_worn_out() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let opened = Arc::new(AtomicUsize::new(0));
        let (port, _stop, _) = counting(opened.clone()).await;
        let config = Config::new("127.0.0.1", port).security(Security::None);
        let envelope = Envelope::new("alice@example.org", ["bob@example.net"]).unwrap();
        let reuse = Reuse::default().messages(3).ask_after(Duration::from_millis(1));
        let pool = Pool::with(config, 4, reuse);
        for sent in 0..7 {
            let smtp = pool.get().await.unwrap();
            // MAIL, RCPT and DATA or BDAT for each message, a NOOP before the second and the third.
            let asked = smtp.connection().commands();
            assert!(sent % 3 == 0 || asked > 0);
            drop(smtp);
            assert!(pool.send(&envelope, &b"Hello.\r\n"[..]).await.unwrap().is_accepted());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(opened.load(Ordering::SeqCst), 3, "three messages a connection");
        assert_eq!(pool.status().size, 1);
    });
}

#[test]
fn a_blocking_pool_lends_what_is_fit_and_drops_what_is_not() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let opened = Arc::new(AtomicUsize::new(0));
    let (port, _stop, _) = runtime.block_on(counting(opened.clone()));
    let envelope = Envelope::new("alice@example.org", ["bob@example.net"]).unwrap();
    let config = Config::new("127.0.0.1", port).security(Security::None);
    let pool = blocking::Pool::with(config, 2, Reuse::default().messages(3)).unwrap();
    for _ in 0..7 {
        assert!(pool.send(&envelope, &b"Hello.\r\n"[..]).unwrap().is_accepted());
    }
    assert_eq!(opened.load(Ordering::SeqCst), 3, "three messages a connection");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(pool.send(&envelope, &b"Hello.\r\n"[..]).unwrap().is_accepted()));
        }
    });
    assert!(pool.inner().state().connections <= 2);
}

#[test]
fn a_connection_that_cannot_be_had_is_told_at_once_and_not_asked_for_behind_the_callers_back() {
    use std::io::Write;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let met = Arc::new(AtomicUsize::new(0));
    let count = met.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = stream.unwrap().write_all(b"554 5.7.1 Go away\r\n");
        }
    });
    let config = Config::new("127.0.0.1", port).security(Security::None);
    let pool = blocking::Pool::new(config, 2).unwrap();
    let envelope = Envelope::new("a@b.example", ["c@d.example"]).unwrap();
    for asked in 1..=3 {
        let refused = pool.send(&envelope, &b"x\r\n"[..]).unwrap_err();
        // The session's own error, where r2d2 has but words; after its time it would be `Unavailable`.
        let blocking::Error::Session(error) = refused else { panic!("{refused}") };
        assert!(error.to_string().contains("554 5.7.1 Go away"), "{error}");
        // Long enough for r2d2's first tries of its own.
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(met.load(Ordering::SeqCst), asked);
    }
}

/// Long enough for whatever happens at all.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_blocking_pool_that_is_closed_says_quit_and_lends_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let opened = Arc::new(AtomicUsize::new(0));
    let (port, _stop, quits) = runtime.block_on(counting(opened.clone()));
    let envelope = Envelope::new("alice@example.org", ["bob@example.net"]).unwrap();
    let pool = blocking::Pool::new(Config::new("127.0.0.1", port).security(Security::None), 2).unwrap();
    let (mut lent, idle) = (pool.get().unwrap(), pool.get().unwrap());
    drop(idle);
    assert_eq!((pool.status().connections, pool.status().idle_connections), (2, 1));

    pool.clone().close();
    quits.recv_timeout(SOON).expect("a session that is idle ends with QUIT");
    assert_eq!((pool.status().connections, pool.status().idle_connections), (1, 0));
    assert!(matches!(pool.get(), Err(blocking::Error::Closed)));
    assert!(matches!(pool.send(&envelope, &b"Hello.\r\n"[..]), Err(blocking::Error::Closed)));

    // Who has a session keeps it.
    assert!(quits.try_recv().is_err());
    assert!(lent.send(&envelope, &b"Hello.\r\n"[..]).unwrap().is_accepted());
    drop(lent);
    quits.recv_timeout(SOON).expect("a session that comes back ends with QUIT");
    assert_eq!(pool.status().connections, 0);
    pool.close();
    assert_eq!(opened.load(Ordering::SeqCst), 2, "nothing was opened after it was closed");
}

#[test]
fn a_connection_that_opens_while_the_blocking_pool_closes_ends_and_is_lent_to_nobody() {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (met, meeting) = mpsc::channel();
    let (greet, greeting) = mpsc::channel();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        met.send(()).unwrap();
        greeting.recv_timeout(SOON).unwrap();
        stream.write_all(b"220 mx.example.org\r\n").unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut heard = Vec::new();
        for line in lines.map_while(Result::ok) {
            heard.push(line.split(' ').next().unwrap().to_owned());
            // Who has said QUIT need not listen any more.
            let _ = stream.write_all(if line == "QUIT" { b"221 bye\r\n" } else { b"250 mx.example.org\r\n" });
        }
        heard
    });
    let pool = blocking::Pool::new(Config::new("127.0.0.1", port).security(Security::None), 2).unwrap();
    let waiting = {
        let pool = pool.clone();
        std::thread::spawn(move || pool.get().map(drop))
    };
    meeting.recv_timeout(SOON).unwrap();
    pool.close();
    greet.send(()).unwrap();
    assert!(matches!(waiting.join().unwrap(), Err(blocking::Error::Closed)));
    assert_eq!(server.join().unwrap(), ["EHLO", "QUIT"]);
}

/// A server that takes one message on each connection, and closes at the next (RFC 5321 section 3.8: 421 in answer to any command).
async fn one_each(opened: Arc<AtomicUsize>) -> (u16, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(serve(listener, 100, async { drop(stopped.await) }, move |stream, _, stopping| {
        opened.fetch_add(1, Ordering::SeqCst);
        async move {
            let accepted = Accepted::new(server::Config::new("mx.example.org").unwrap(), None).unwrap();
            let mut served = Served::new(accepted, stream).until(stopping);
            let mut begun = 0;
            while let Ok(Some(event)) = served.next().await {
                begun += u32::from(matches!(event, Event::Mail { .. }));
                while let Some(decision) = served.connection().decision() {
                    if begun > 1 {
                        let enough = Reply::new(Code::SERVICE_CLOSING, "4.7.0 One message is enough").unwrap();
                        decision.refuse(&enough).unwrap();
                    } else {
                        decision.accept();
                    }
                }
            }
        }
    }));
    (port, stop)
}

#[test]
fn a_421_costs_one_redial_and_no_message() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let envelope = Envelope::new("alice@example.org", ["bob@example.net", "carol@example.net"]).unwrap();
    let message = &b"Hello.\r\n"[..];
    let opened = Arc::new(AtomicUsize::new(0));
    let (port, _stop) = runtime.block_on(one_each(opened.clone()));
    let config = Config::new("127.0.0.1", port).security(Security::None);
    runtime.block_on(async {
        let pool = Pool::new(config.clone(), 2);
        // Two that lie idle, and look as fit as any.
        let (mut one, mut two) = (pool.get().await.unwrap(), pool.get().await.unwrap());
        assert!(one.send(&envelope, message).await.unwrap().is_accepted());
        assert!(two.send(&envelope, message).await.unwrap().is_accepted());
        drop((one, two));
        for sent in 1..=3 {
            assert!(pool.send(&envelope, message).await.unwrap().is_accepted());
            assert_eq!(opened.load(Ordering::SeqCst), 2 + sent);
        }
    });
    opened.store(0, Ordering::SeqCst);
    let pool = smtp_blocking::pool::Pool::new(config, 2).unwrap();
    let (mut one, mut two) = (pool.get().unwrap(), pool.get().unwrap());
    assert!(one.send(&envelope, message).unwrap().is_accepted());
    assert!(two.send(&envelope, message).unwrap().is_accepted());
    drop((one, two));
    for _ in 0..3 {
        assert!(pool.send(&envelope, message).unwrap().is_accepted());
    }
    assert!(pool.inner().state().connections <= 2);
}
