//! `smtp send`, interrupted: what is known is told.
#![cfg(unix)]

mod common;

use std::io::Read;
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::*;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

fn begin(args: &[&str], stdin: Stdio) -> Child {
    let fixed = ["send", "--security", "none", "--from", "a@b.example", "--to", "c@d.example", "--to", "e@f.example"];
    command().args(fixed).args(args).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    let status = output.status.code().expect("ended by the signal itself");
    Ran { status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn results(message: &Value) -> Vec<&str> {
    let recipients = message["recipients"].as_array().unwrap();
    recipients.iter().map(|one| one["result"].as_str().unwrap()).collect()
}

#[test]
fn what_was_sent_what_may_be_and_what_was_not() {
    for runtime in RUNTIMES {
        // The second message is heard to its end, and not answered.
        let (url, heard) = polite(EHLO, |line, messages| messages == 1 && line == ".");
        let child = begin(&["--server", &url, "--runtime", runtime, "--count", "3", "--json"], Stdio::null());
        for _ in 0..2 {
            while heard.recv_timeout(PATIENCE).unwrap() != "." {}
        }
        kill("-INT", &child);
        let ran = end(child);
        let report = ran.json();
        assert_eq!((ran.status, &report["outcome"]), (130, &"partial".into()), "{ran:?}");
        assert_eq!((&report["error"]["kind"], &report["error"]["phase"]), (&"interrupted".into(), &"final dot".into()));
        let messages = report["messages"].as_array().unwrap();
        let all: Vec<_> = messages.iter().map(results).collect();
        assert_eq!(all, [["accepted", "accepted"], ["unknown", "unknown"], ["not-sent", "not-sent"]], "{ran:?}");
        assert_eq!((ran.stderr.lines().count(), ran.stderr.contains("may have been delivered")), (1, true), "{ran:?}");
        assert!(report["flights"].as_u64().unwrap() > 2, "{ran:?}");
    }
}

#[test]
fn who_has_nothing_under_way_has_sent_nothing() {
    for runtime in RUNTIMES {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("smtp://{}", silent.local_addr().unwrap());
        let child = begin(&["--server", &url, "--runtime", runtime, "--json"], Stdio::null());
        let _held = silent.accept().unwrap();
        kill("-TERM", &child);
        let ran = end(child);
        let report = ran.json();
        assert_eq!((ran.status, &report["outcome"]), (143, &"failed".into()), "{ran:?}");
        assert_eq!(report["error"]["kind"], "interrupted", "{ran:?}");
        assert_eq!(results(&report["messages"][0]), ["not-sent", "not-sent"], "{ran:?}");
        assert!(ran.stderr.contains("SIGTERM") && !ran.stderr.contains("delivered"), "{ran:?}");
    }
}

#[test]
fn a_probe_is_told_of_too() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = silent.local_addr().unwrap().to_string();
    let mut child = command();
    child.args(["probe", "--json", "--budget", "1h", &place]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    let _held = silent.accept().unwrap();
    kill("-INT", &child);
    let ran = end(child);
    assert_eq!((ran.status, &ran.json()["error"]["kind"]), (130, &"interrupted".into()), "{ran:?}");
}

#[test]
fn a_message_that_never_comes_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let transcript = folder.path().join("transcript");
    let options = ["--server", "127.0.0.1:1", "--message", "-", "--json", "--transcript-file", text(&transcript)];
    let child = begin(&options, Stdio::piped());
    // The transcript is made shortly before the message is read.
    let began = Instant::now();
    while !transcript.exists() && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
    kill("-INT", &child);
    let mut child = child;
    let stdin = child.stdin.take();
    let ran = end(child);
    drop(stdin);
    assert_eq!((ran.status, &ran.json()["messages"]), (130, &Value::Array(Vec::new())), "{ran:?}");
}

#[test]
fn who_asks_twice_is_not_kept_waiting() {
    // Nobody reads the transcript, so that it stands still once the pipe is full, whatever becomes of its session.
    let (url, heard) = polite(EHLO, |_, _| false);
    let mut child = begin(&["--server", &url, "--transcript", "--count", "3000"], Stdio::null());
    while heard.recv_timeout(Duration::from_secs(3)).is_ok() {}
    kill("-INT", &child);
    std::thread::sleep(Duration::from_millis(300));
    kill("-INT", &child);
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(child.try_wait().unwrap().map(|status| status.code()), Some(Some(130)));
    let mut shown = String::new();
    child.stderr.take().unwrap().read_to_string(&mut shown).unwrap();
    assert!(shown.contains("C: MAIL FROM"), "it had begun");
}
