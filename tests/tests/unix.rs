//! LMTP over a Unix socket, by the adapters that know the way.

#![cfg(unix)]

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use smtp_proto::client::{Envelope, Outcome, Report};
use smtp_proto::dial::Why;
use smtp_proto::session::Error;
use smtp_proto::{Config, Limits, Misuse, Security, phase};

const MESSAGE: &[u8] = b"Subject: hello\r\n\r\nHello.\r\n";

type Result<T> = std::result::Result<T, Error<std::io::Error>>;

/// A folder that goes with its owner; a socket's path must be short.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("smtp-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("lmtp")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The dialogue of RFC 2033 section 5, without its PIPELINING: two recipients are known, one is not, and one of the two is over quota.
fn lmtp(listener: UnixListener) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let mut message = String::new();
        say(&mut stream, "220 foo.edu LMTP server ready");
        for (command, reply) in [
            ("LHLO ", "250 foo.edu"),
            ("MAIL FROM:<chris@bar.com>", "250 OK"),
            ("RCPT TO:<pat@foo.edu>", "250 OK"),
            ("RCPT TO:<jones@foo.edu>", "550 No such user here"),
            ("RCPT TO:<green@foo.edu>", "250 OK"),
            ("DATA", "354 Start mail input; end with <CRLF>.<CRLF>"),
        ] {
            let heard = hear(&mut stream);
            assert!(heard.starts_with(command), "{heard}");
            say(&mut stream, reply);
        }
        loop {
            match &*hear(&mut stream) {
                "." => break,
                line => message.extend([line, "\r\n"]),
            }
        }
        say(&mut stream, "250 OK");
        say(&mut stream, "452 <green@foo.edu> is temporarily over quota");
        assert_eq!(hear(&mut stream), "QUIT");
        say(&mut stream, "221 foo.edu closing connection");
        message
    })
}

fn say(stream: &mut BufReader<UnixStream>, line: &str) {
    stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
}

fn hear(stream: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn config() -> Config {
    Config::new("localhost", 24).lmtp(true).security(Security::None)
}

fn envelope() -> Envelope {
    Envelope::new("chris@bar.com", ["pat@foo.edu", "jones@foo.edu", "green@foo.edu"]).unwrap()
}

fn with_tokio(path: PathBuf, config: &Config) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut smtp = smtp_tokio::connect_unix(path, config).await?;
        let report = smtp.send(&envelope(), MESSAGE).await?;
        smtp.quit().await?;
        Ok(report)
    })
}

fn blocking(path: PathBuf, config: &Config) -> Result<Report> {
    let mut smtp = smtp_blocking::connect_unix(path, config)?;
    let report = smtp.send(&envelope(), MESSAGE)?;
    smtp.quit()?;
    Ok(report)
}

/// What connects, sends [`MESSAGE`] and quits.
type Run = fn(PathBuf, &Config) -> Result<Report>;

const ADAPTERS: [(&str, Run); 2] = [("tokio", with_tokio), ("blocking", blocking)];

#[test]
fn each_recipient_has_its_own_reply() {
    for (name, run) in ADAPTERS {
        let folder = Folder::new(name);
        let server = lmtp(UnixListener::bind(folder.socket()).unwrap());
        let report = run(folder.socket(), &config()).unwrap();
        assert_eq!(server.join().unwrap().as_bytes(), MESSAGE, "{name}");
        let results: Vec<_> = report.recipients.iter().map(|one| one.outcome.name()).collect();
        assert_eq!(results, ["accepted", "refused", "deferred"], "{name}: {report}");
        assert!(matches!(&report.recipients[2].outcome, Outcome::Refused(reply) if reply.code().number() == 452));
    }
}

#[test]
fn who_is_not_there_is_named() {
    for (name, run) in ADAPTERS {
        let folder = Folder::new(&format!("{name}-gone"));
        let path = folder.socket();
        match run(path.clone(), &config()).unwrap_err() {
            Error::Dial(failure) => {
                let attempt = failure.telling().unwrap();
                assert!(
                    matches!(&attempt.why, Why::Connect(error) if error.kind() == ErrorKind::NotFound),
                    "{attempt}"
                );
                assert!(failure.to_string().contains(path.to_str().unwrap()), "{failure}");
            }
            other => panic!("{name}: {other}"),
        }
        // What cannot be said is found before anything is opened.
        let refused = run(path, &config().helo("a b")).unwrap_err();
        assert!(matches!(refused, Error::Misuse(Misuse::Forbidden { .. })), "{name}: {refused}");
    }
}

/// Who listens and never accepts: the connection is open, as far as the system is concerned, and then the greeting's limit counts.
#[test]
fn a_silent_server_is_left_in_time() {
    for (name, run) in ADAPTERS {
        let folder = Folder::new(&format!("{name}-silent"));
        let _listener = UnixListener::bind(folder.socket()).unwrap();
        let limits = Limits { greeting: Duration::from_millis(50), ..Limits::default() };
        let error = run(folder.socket(), &config().limits(limits)).unwrap_err();
        assert_eq!(error.session().map(|error| error.phase), Some(phase::GREETING), "{name}: {error}");
    }
}

/// A listener without room for one more, which has some in a while, or never.
#[cfg(target_os = "linux")]
#[test]
fn a_listener_that_is_busy_is_waited_for() {
    use socket2::{Domain, SockAddr, Socket, Type};
    for (name, run) in ADAPTERS {
        for waits in [true, false] {
            let folder = Folder::new(&format!("{name}-busy-{waits}"));
            let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            listener.bind(&SockAddr::unix(folder.socket()).unwrap()).unwrap();
            listener.listen(0).unwrap();
            let listener = UnixListener::from(listener);
            let _first = UnixStream::connect(folder.socket()).unwrap();
            if waits {
                let server = thread::spawn(move || {
                    thread::sleep(Duration::from_millis(50));
                    let first = listener.accept().unwrap();
                    let message = lmtp(listener).join().unwrap();
                    drop(first);
                    message
                });
                let report = run(folder.socket(), &config()).unwrap();
                assert_eq!(report.recipients[0].outcome.name(), "accepted", "{name}: {report}");
                assert_eq!(server.join().unwrap().as_bytes(), MESSAGE);
            } else {
                let limits = Limits { connect: Duration::from_millis(50), ..Limits::default() };
                match run(folder.socket(), &config().limits(limits)).unwrap_err() {
                    Error::Dial(failure) => {
                        assert!(matches!(failure.attempts[0].why, Why::TimedOut(phase::CONNECT)), "{name}: {failure}");
                    }
                    other => panic!("{name}: {other}"),
                }
            }
        }
    }
}
