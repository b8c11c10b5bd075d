//! Runs the command, its test server, and small servers that say what they are told.

#![allow(dead_code, reason = "not every test file uses all of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

pub(crate) const PASSWORD: &str = "open sesame/7+%@!";
pub(crate) const TOKEN: &str = "ya29.a-token-of-ours";
pub(crate) const RUNTIMES: [&str; 3] = ["tokio", "blocking", "async-std"];

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The report; its exit status is the process's.
    pub(crate) fn json(&self) -> Value {
        let report: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(report["exit"], self.status, "{self:?}");
        report
    }
}

/// The command, with nothing inherited that could change its mind.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smtp"));
    command
        .env_remove("ALL_PROXY")
        .env_remove("NO_PROXY")
        .env("TEST_PASSWORD", PASSWORD)
        .env("TEST_TOKEN", TOKEN)
        .stdin(Stdio::null());
    command
}

pub(crate) fn run(args: &[&str]) -> Ran {
    let output = command().args(args).output().unwrap();
    let ran = Ran {
        status: output.status.code().expect("ended by a signal"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    for shown in [&ran.stdout, &ran.stderr] {
        assert!(!shown.contains(PASSWORD) && !shown.contains(TOKEN), "a secret in an output: {ran:?}");
    }
    assert!(ran.status == 0 || !ran.stderr.is_empty(), "a failure, and nothing on stderr: {ran:?}");
    ran
}

/// `smtp send` from alice to bob, with a report.
pub(crate) fn send(runtime: &str, server: &str, more: &[&str]) -> Ran {
    let args = ["send", "--json", "--runtime", runtime, "--server", server, "--from", "alice@example.org"];
    let to: &[&str] =
        if more.contains(&"--to") || more.contains(&"--validate") { &[] } else { &["--to", "bob@example.net"] };
    run(&[&args, to, more].concat())
}

/// A file that is gone at the end.
pub(crate) fn file(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `smtp serve`, running.
pub(crate) struct Serving {
    child: Child,
    pub(crate) out: BufReader<Box<dyn Read + Send>>,
    pub(crate) address: String,
}

impl Serving {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = command()
            .args([&["serve", "--listen", "127.0.0.1:0"], args].concat())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out: Box<dyn Read + Send> = Box::new(child.stdout.take().unwrap());
        let mut out = BufReader::new(out);
        let mut address = String::new();
        out.read_line(&mut address).unwrap();
        if address.starts_with('{') {
            let first: Value = serde_json::from_str(&address).unwrap();
            address = first["listening"].as_str().unwrap().into();
        }
        Self { child, out, address: address.trim().into() }
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().into()
    }

    /// The path of the throw-away authority, printed behind the address.
    pub(crate) fn ca(&mut self) -> PathBuf {
        self.line().strip_prefix("CA: ").expect("no CA").into()
    }

    pub(crate) fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub(crate) fn connect(&self) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        BufReader::new(stream)
    }

    /// As Ctrl-C does; the exit status.
    pub(crate) fn interrupt(&mut self) -> Option<i32> {
        kill("-INT", &self.child);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads one reply, and its code.
pub(crate) fn reply(stream: &mut BufReader<TcpStream>) -> String {
    let mut reply = String::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let last = line.as_bytes().get(3) != Some(&b'-');
        reply.push_str(&line);
        if last {
            return reply;
        }
    }
}

pub(crate) fn say(stream: &mut BufReader<TcpStream>, line: &str) -> String {
    stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
    reply(stream)
}

/// A server for one conversation: it says a reply, and after each line it hears the next; an empty one closes. After a 354
/// it hears a whole message. The thread returns all that was heard.
pub(crate) fn scripted(replies: &[&str]) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let replies: Vec<String> = replies.iter().map(|reply| reply.to_string()).collect();
    let thread = thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let mut heard = String::new();
        for reply in replies {
            if reply.is_empty() {
                return heard;
            }
            stream.get_mut().write_all(reply.as_bytes()).unwrap();
            let message = reply.starts_with("354");
            loop {
                let from = heard.len();
                if stream.read_line(&mut heard).unwrap_or(0) == 0 {
                    return heard;
                }
                if !message || &heard[from..] == ".\r\n" {
                    break;
                }
            }
        }
        // Whatever still comes, QUIT say, is read and not answered.
        let _ = stream.read_to_string(&mut heard);
        heard
    });
    (url, thread)
}

/// A server for everyone who comes. Each line that it hears it tells, and it is polite until `silent` says otherwise of a line and
/// of the messages heard before it.
pub(crate) fn polite(
    ehlo: &'static str,
    silent: impl Fn(&str, usize) -> bool + Send + Sync + Copy + 'static,
) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let (tell, heard) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, tell) = (stream.unwrap(), tell.clone());
            thread::spawn(move || {
                let mut out = stream.try_clone().unwrap();
                out.write_all(GREETING.as_bytes()).unwrap();
                let (mut content, mut messages) = (false, 0);
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let is_silent = silent(&line, messages);
                    let _ = tell.send(line.clone());
                    if is_silent {
                        continue;
                    }
                    let reply = match line.split(' ').next().unwrap() {
                        "." => OK,
                        _ if content => continue,
                        "EHLO" => ehlo,
                        "DATA" => GO,
                        "QUIT" => BYE,
                        _ => OK,
                    };
                    (content, messages) = (line == "DATA", messages + usize::from(line == "."));
                    if out.write_all(reply.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, heard)
}

/// As Ctrl-C does, or whoever ends it by another signal.
pub(crate) fn kill(signal: &str, child: &Child) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// The replies of a polite server up to a point.
pub(crate) const GREETING: &str = "220 server.example.org ESMTP\r\n";
pub(crate) const EHLO: &str = "250-server.example.org\r\n250 8BITMIME\r\n";
pub(crate) const OK: &str = "250 2.0.0 ok\r\n";
pub(crate) const GO: &str = "354 go on\r\n";
pub(crate) const BYE: &str = "221 bye\r\n";
