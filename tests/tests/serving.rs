//! The adapters' servers, and the servers for other people's tests, over real sockets: each does the same.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use smtp_blocking::serve::{Served, Stop, serve};
use smtp_blocking::{Error, test_util as blocking};
use smtp_proto::client::{Envelope, Outcome, Ret};
use smtp_proto::reply::{Code, Reply};
use smtp_proto::sasl::{Allowed, Credentials, MechanismName};
use smtp_proto::test_util::{Policy, Received};
use smtp_proto::{Accepted, Config, server};
use smtp_tokio::test_util as tokio_util;

/// A test server of either adapter.
enum Running {
    Blocking(blocking::Server),
    Tokio(Arc<tokio_util::Server>),
}

impl Running {
    /// One of each, that behave so.
    fn each(policy: &Policy) -> [Self; 2] {
        let (tell, hear) = mpsc::channel();
        let kept = policy.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tell.send(Arc::new(tokio_util::Server::start(kept).await.unwrap())).unwrap();
                std::future::pending::<()>().await;
            });
        });
        [Self::Blocking(blocking::Server::start(policy.clone()).unwrap()), Self::Tokio(hear.recv().unwrap())]
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Blocking(server) => server.address(),
            Self::Tokio(server) => server.address(),
        }
    }

    fn client(&self) -> Config {
        match self {
            Self::Blocking(server) => server.client(),
            Self::Tokio(server) => server.client(),
        }
    }

    fn authority(&self) -> &str {
        match self {
            Self::Blocking(server) => server.authority(),
            Self::Tokio(server) => server.authority(),
        }
    }

    fn set_policy(&self, policy: Policy) {
        match self {
            Self::Blocking(server) => server.set_policy(policy),
            Self::Tokio(server) => server.set_policy(policy),
        }
    }

    fn take(&self) -> Vec<Received> {
        match self {
            Self::Blocking(server) => server.take(),
            Self::Tokio(server) => server.take(),
        }
    }
}

fn envelope() -> Envelope {
    Envelope::new("alice@example.org", ["bob@example.net", "carol@example.net"]).unwrap()
}

/// Sends one message, and gives the code that was said of each recipient.
fn send(config: &Config, envelope: &Envelope, message: &[u8]) -> Result<Vec<Option<u16>>, Error> {
    let mut smtp = smtp_blocking::connect(config)?;
    let report = smtp.send(envelope, message)?;
    let codes = report.recipients.iter().map(|one| match &one.outcome {
        Outcome::Accepted(reply) | Outcome::Refused(reply) => Some(reply.code().number()),
        _ => None,
    });
    let codes = codes.collect();
    smtp.quit()?;
    Ok(codes)
}

fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

#[test]
fn what_was_sent_is_what_was_received() {
    for policy in [Policy::new(), Policy::new().starttls(), Policy::new().implicit_tls(), Policy::new().lmtp()] {
        for server in Running::each(&policy) {
            let envelope = envelope().ret(Ret::Headers).envid("one two").unwrap();
            assert_eq!(send(&server.client(), &envelope, b"one\n.\n").unwrap(), [Some(250), Some(250)]);
            assert_eq!(send(&server.client(), &envelope, b"two\r\n").unwrap(), [Some(250), Some(250)]);
            let received = server.take();
            let texts: Vec<_> = received.iter().map(Received::text).collect();
            assert_eq!(texts, ["one\r\n.\r\n", "two\r\n"]);
            assert_eq!((received[0].from.as_str(), received[0].user()), ("alice@example.org", None));
            assert_eq!(received[0].to(), ["bob@example.net", "carol@example.net"]);
            assert_eq!(received[0].parameters.envid.as_ref().unwrap().as_str(), "one two");
            let secured = format!("{policy:?}").contains("StartTls") || format!("{policy:?}").contains("Implicit");
            assert_eq!(received[0].tls.is_some(), secured);
            assert!(server.authority().starts_with("-----BEGIN CERTIFICATE-----"));
            assert!(server.take().is_empty(), "taken");
        }
    }
}

#[test]
fn everything_can_go_wrong_on_purpose() {
    let reply = |code, text: &str| Reply::new(Code::new(code).unwrap(), text).unwrap();
    for server in Running::each(&Policy::new()) {
        let sent = |policy: Policy, message: &[u8]| {
            server.set_policy(policy);
            send(&server.client(), &envelope(), message)
        };
        let codes = |policy, message: &[u8]| sent(policy, message).unwrap();
        assert_eq!(codes(Policy::new().refuse_recipient("BOB@example.net"), b"x"), [Some(550), Some(250)]);
        let busy = Policy::new().answer_recipient("carol@example.net", reply(450, "4.2.1 Busy"));
        assert_eq!(codes(busy, b"x"), [Some(250), Some(450)]);
        assert_eq!(codes(Policy::new().refuse_messages(), b"x"), [Some(550), Some(550)]);
        assert_eq!(codes(Policy::new().answer_messages(reply(451, "4.3.0 Later")), b"x"), [Some(451), Some(451)]);
        assert_eq!(codes(Policy::new().max_size(3).without("SIZE"), b"123456"), [Some(552), Some(552)]);
        assert_eq!(server.take().len(), 2, "only what was accepted is received");
        assert_eq!(codes(Policy::new().require_auth(), b"x"), [Some(530), Some(530)]);

        let began = Instant::now();
        assert_eq!(codes(Policy::new().delay(Duration::from_millis(60)), b"x"), [Some(250), Some(250)]);
        // Greeting, EHLO, the group, QUIT: a lower bound, which no slow machine can break.
        assert!(began.elapsed() >= Duration::from_millis(3 * 60), "{:?}", began.elapsed());
        server.take();

        for cut in [0, 5, 100, 200] {
            let cut = sent(Policy::new().cut_after(cut).without("CHUNKING"), &[b'x'; 1000]);
            assert!(matches!(cut, Err(Error::Session { .. } | Error::Dial(_))), "{cut:?}");
            assert!(server.take().is_empty(), "{cut:?}");
        }
        // And well again.
        assert_eq!(codes(Policy::new(), b"x"), [Some(250), Some(250)]);
    }
}

#[test]
fn users_log_in_by_every_mechanism() {
    let policy = Policy::new().starttls().user("alice", "correct horse").require_auth();
    for server in Running::each(&policy) {
        for name in ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"] {
            let name: MechanismName = name.parse().unwrap();
            for (password, right) in [("correct horse", true), ("wrong horse", false)] {
                let login = Credentials::password("alice", password);
                let config = server.client().credentials(login).allowed(Allowed::only([name.clone()]));
                assert_eq!(send(&config, &envelope(), b"x").is_ok(), right, "{name} {password}");
            }
            let received = server.take();
            assert_eq!(received.len(), 1);
            assert_eq!(received[0].identity.as_ref().unwrap().mechanism, name);
        }
    }
}

#[test]
fn a_policy_can_set_anything() {
    let policy = Policy::new().configure(|config| config.greeting("at your service").unwrap());
    for server in Running::each(&policy) {
        let mut stream = BufReader::new(TcpStream::connect(server.address()).unwrap());
        assert_eq!(line(&mut stream), "220 localhost at your service\r\n");
    }
    let unlawful = Policy::new().configure(|config| config.with("DSN").unwrap());
    assert!(blocking::Server::start(unlawful).is_ok());
}

#[test]
fn waiting_for_messages_ends_in_time() {
    let server = blocking::Server::start(Policy::new()).unwrap();
    assert!(server.wait_for(1, Duration::from_millis(20)).is_empty());
    let config = server.client();
    let sending = thread::spawn(move || send(&config, &envelope(), b"x").unwrap());
    assert_eq!(server.wait_for(1, Duration::from_secs(60)).len(), 1);
    sending.join().unwrap();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = tokio_util::Server::start(Policy::new()).await.unwrap();
        assert!(server.wait_for(1, Duration::from_millis(20)).await.is_empty());
        let config = server.client();
        let sending = thread::spawn(move || send(&config, &envelope(), b"x").unwrap());
        assert_eq!(server.wait_for(1, Duration::from_secs(60)).await.len(), 1);
        // The thread's QUIT is answered here.
        while !sending.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// Yes to everything, until the end.
fn hold(mut served: Served) {
    while let Ok(Some(_)) = served.next() {
        while let Some(decision) = served.connection().decision() {
            decision.accept();
        }
    }
}

fn accepted() -> Accepted {
    Accepted::new(server::Config::new("mx.example.org").unwrap(), None).unwrap()
}

#[test]
fn no_more_than_permitted_are_met_and_all_are_told_of_the_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stop = Stop::new();
    thread::scope(|scope| {
        let serving = scope.spawn(|| {
            serve(listener, 1, &stop, |stream, _| hold(Served::new(accepted(), stream).until(&stop))).unwrap();
        });
        let mut first = BufReader::new(TcpStream::connect(address).unwrap());
        let mut second = BufReader::new(TcpStream::connect(address).unwrap());
        assert!(line(&mut first).starts_with("220"));
        second.get_ref().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(second.read_line(&mut String::new()).is_err(), "met beside the first");
        second.get_ref().set_read_timeout(None).unwrap();
        first.get_mut().write_all(b"QUIT\r\n").unwrap();
        assert!(line(&mut first).starts_with("221"));
        drop(first);
        assert!(line(&mut second).starts_with("220"));
        second.get_mut().write_all(b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n").unwrap();
        while !line(&mut second).starts_with("354") {}
        stop.stop();
        // What is under way is finished first.
        thread::sleep(Duration::from_millis(150));
        second.get_mut().write_all(b"x\r\n.\r\n").unwrap();
        assert!(line(&mut second).starts_with("250"));
        assert!(line(&mut second).starts_with("421"));
        drop(second);
        serving.join().unwrap();
    });
}

#[test]
fn the_last_reply_reaches_who_is_still_writing() {
    let server = blocking::Server::start(Policy::new()).unwrap();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let mut write = stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        write.write_all(b"QUIT\r\n")?;
        write.write_all(&[b'x'; 1 << 20])
    });
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert!(heard.ends_with("221 Closing the connection\r\n"), "{heard}");
    let _ = writing.join().unwrap();
}

#[test]
fn a_session_that_panics_ends_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stop = Stop::new();
    thread::scope(|scope| {
        let serving = scope.spawn(|| {
            let met = AtomicUsize::new(0);
            serve(listener, 1, &stop, |stream, _| {
                if met.fetch_add(1, Ordering::Relaxed) == 0 {
                    drop(stream);
                    // As a panic, but without its noise.
                    std::panic::resume_unwind(Box::new("on purpose"));
                }
                hold(Served::new(accepted(), stream).until(&stop));
            })
        });
        let mut unlucky = TcpStream::connect(address).unwrap();
        assert_eq!(unlucky.read(&mut [0; 9]).unwrap(), 0);
        let mut second = BufReader::new(TcpStream::connect(address).unwrap());
        assert!(line(&mut second).starts_with("220"), "there is room again");
        stop.stop();
        assert!(serving.join().unwrap().is_ok());
    });
}
