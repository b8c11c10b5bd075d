//! `smtp send` from outside: exit statuses, reports, and what must never be shown.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;

use common::*;

const CLEAR: [&str; 2] = ["--security", "none"];

#[test]
fn without_a_server_it_talks_to_its_own() {
    for runtime in RUNTIMES {
        let ran = run(&["send", "--runtime", runtime, "--body", "A line.\n.\nAnother.\n"]);
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(ran.stderr.contains("C: STARTTLS") && ran.stderr.contains("C: AUTH SCRAM-SHA-512"), "{ran:?}");
        assert!(ran.stdout.contains("A line.\n.\nAnother.\n"), "{ran:?}");
        let ran = run(&["send", "--runtime", runtime, "--lmtp"]);
        assert!(ran.status == 0 && ran.stderr.contains("C: LHLO"), "{ran:?}");
        for more in [&["--security", "none"], &["--security", "implicit"]] {
            let ran = run(&[&["send", "--runtime", runtime, "--json"], &more[..]].concat());
            let mode = if more[1] == "none" { "none" } else { "implicit" };
            assert_eq!((ran.status, &ran.json()["security"]["mode"]), (0, &mode.into()), "{ran:?}");
        }
        let ran = run(&["send", "--quiet", "--runtime", runtime, "--user", "u", "--password-env", "TEST_PASSWORD"]);
        assert_eq!((ran.status, ran.stdout + &ran.stderr), (0, String::new()));
    }
}

#[test]
fn what_cannot_be_meant_is_64() {
    let (from, to) = (["--from", "a@b.example"], ["--to", "c@d.example"]);
    let server = ["--server", "smtp://127.0.0.1:1"];
    for args in [
        &["--no-such-option"][..],
        &["--count", "0"],
        // What became of each is kept to be told.
        &["--count", "1000001"],
        &["--timeout", "4 days"],
        &[server, from].concat(),
        &[server, to].concat(),
        &[&["--server", "http://a"], &from[..], &to[..]].concat(),
        &[&server[..], &from, &["--to", "c@d.example\r\nDATA"]].concat(),
        &[&server[..], &from, &to, &["--timeout", "0"]].concat(),
        &[&server[..], &from, &to, &["--proxy", "none", "--proxy", "none"]].concat(),
        &[&server[..], &from, &to, &["--helo", "a b"]].concat(),
        &[&server[..], &from, &to, &["--user", "a"]].concat(),
        &[&server[..], &from, &to, &["--auth", "NO-SUCH"]].concat(),
        &[&server[..], &from, &to, &["--tls-name", "no name"]].concat(),
        &[&server[..], &from, &to, &["--message", "-", "--message", "-"]].concat(),
        &[&server[..], &from, &to, &["--body", "a", "--message", "-"]].concat(),
    ] {
        let ran = run(&[&["send", "--json"], args].concat());
        assert_eq!(ran.status, 64, "{args:?}: {ran:?}");
        let report = ran.json();
        assert_eq!((&report["error"]["kind"], &report["outcome"]), (&"usage".into(), &"failed".into()), "{ran:?}");
    }
    let ran = run(&[&["send", "--tls-min", "1.1"], &server[..], &from, &to].concat());
    assert!(ran.status == 64 && ran.stderr.contains("the oldest TLS version is 1.2"), "{ran:?}");
    let ran = run(&[&["send", "--timeout", "0"][..], &["--server", "127.0.0.1:1"], &from, &to].concat());
    assert!(ran.status == 64 && ran.stderr.contains("operation"), "{ran:?}");
    assert_eq!(run(&[]).status, 64);
    assert_eq!((run(&["--help"]).status, run(&["send", "--help"]).status, run(&["--version"]).status), (0, 0, 0));
}

#[test]
fn what_does_not_begin() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for runtime in RUNTIMES {
        let ran = send(runtime, &format!("smtp://{closed}"), &CLEAR);
        assert_eq!((ran.status, &ran.json()["error"]["kind"]), (69, &"connect".into()), "{ran:?}");
        // Whoever reads it finds each recipient and each object, whatever failed.
        assert_eq!(ran.json()["messages"][0]["recipients"][0]["result"], "not-sent", "{ran:?}");
        assert_eq!(ran.json()["security"]["mode"], "none", "{ran:?}");
        let ran = send(runtime, "smtp://nowhere.invalid", &CLEAR);
        assert_eq!((ran.status, &ran.json()["error"]["kind"]), (68, &"resolve".into()), "{ran:?}");
        for option in ["--message", "--password-file", "--ca"] {
            let ran = send(runtime, &format!("smtp://{closed}"), &[option, "/nonexistent/file"]);
            assert_eq!((ran.status, &ran.json()["error"]["kind"]), (66, &"input".into()), "{ran:?}");
        }
    }
}

/// One conversation, and what it must come to.
fn case(replies: &[&str], more: &[&str], status: i32, outcome: &str, kind: &str, phase: &str) {
    for runtime in RUNTIMES {
        let (url, server) = scripted(replies);
        let clear: &[&str] = if more.contains(&"--security") { &[] } else { &CLEAR };
        let ran = send(runtime, &url, &[clear, more].concat());
        let report = ran.json();
        assert_eq!(ran.status, status, "{replies:?}: {ran:?}");
        assert_eq!(report["outcome"], outcome, "{ran:?}");
        assert_eq!(report["messages"].as_array().unwrap().len(), 1, "{ran:?}");
        if status != 0 {
            assert_eq!((&report["error"]["kind"], &report["error"]["phase"]), (&kind.into(), &phase.into()), "{ran:?}");
            assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
            assert!(ran.stderr.starts_with(&format!("smtp: {phase}: ")), "{ran:?}");
        }
        server.join().unwrap();
    }
}

#[test]
fn each_way_to_end_has_its_status() {
    case(&[GREETING, EHLO, OK, OK, GO, OK, BYE], &[], 0, "delivered", "", "");
    case(&["554 5.3.2 no\r\n", BYE], &[], 65, "failed", "refused", "greeting");
    case(&["421 4.3.2 busy\r\n", ""], &[], 75, "failed", "refused", "greeting");
    case(&["+OK POP3\r\n", ""], &[], 76, "failed", "protocol", "greeting");
    case(&[GREETING, EHLO, "550 5.7.1 no\r\n", BYE], &[], 65, "refused", "refused", "MAIL");
    case(&[GREETING, EHLO, OK, "450 4.2.1 later\r\n", OK, BYE], &[], 75, "deferred", "refused", "RCPT");
    case(&[GREETING, EHLO, OK, OK, "554 5.6.0 no\r\n", BYE], &[], 65, "refused", "refused", "DATA");
    case(&[GREETING, EHLO, OK, OK, GO, "451 4.3.0 later\r\n", BYE], &[], 75, "deferred", "refused", "final dot");
    case(&[GREETING, EHLO, OK, OK, GO, ""], &[], 74, "unknown", "closed", "final dot");
    case(&[GREETING, EHLO, OK, ""], &[], 75, "failed", "closed", "RCPT");
    case(&[GREETING, EHLO, "354 what\r\n", ""], &[], 76, "failed", "protocol", "MAIL");
    let stall = ["--timeout", "300ms"];
    case(&[GREETING, EHLO], &stall, 75, "failed", "timeout", "MAIL");
    case(&[GREETING, EHLO, OK, OK, GO], &stall, 74, "unknown", "timeout", "final dot");
    // One of two was refused for good when the other's reply failed to come: that was no RCPT.
    let lmtp = ["--lmtp", "--to", "bob@example.net", "--to", "carol@example.net", "--timeout", "300ms"];
    case(&[GREETING, EHLO, OK, OK, OK, GO, "550 5.2.2 full\r\n"], &lmtp, 65, "unknown", "refused", "final dot");
    case(&[GREETING, EHLO, BYE], &["--security", "starttls"], 76, "failed", "tls", "STARTTLS");
    // A challenge that is no base64, and "hello", which is no message of SCRAM.
    let (offer, login) = ("250-a\r\n250 AUTH SCRAM-SHA-256\r\n", ["--user", "u", "--password-env", "TEST_PASSWORD"]);
    for challenge in ["334 !!!\r\n", "334 aGVsbG8=\r\n"] {
        let replies = [GREETING, offer, challenge, "501 5.7.0 cancelled\r\n", BYE];
        case(&replies, &login, 76, "failed", "protocol", "AUTH");
    }
    case(&[GREETING, "500 what\r\n", "500 what\r\n", BYE], &["--lmtp"], 65, "failed", "refused", "EHLO");
}

#[test]
fn who_is_silent_to_everything_is_not_to_be_tried_with_tls() {
    // Nobody accepts, so the kernel does, and nothing is ever said.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for runtime in RUNTIMES {
        let ran = send(runtime, &silent.local_addr().unwrap().to_string(), &["--timeout", "1200ms"]);
        let report = ran.json();
        assert_eq!((ran.status, &report["error"]["phase"]), (75, &"greeting".into()), "{ran:?}");
        assert!(ran.stderr.contains("as silent to TLS") && !ran.stderr.contains("--security"), "{ran:?}");
    }
}

#[test]
fn the_last_word_of_a_proxy_counts() {
    for runtime in RUNTIMES {
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://user:wrong@{}", proxy.local_addr().unwrap());
        let serving = thread::spawn(move || {
            // Credentials are asked for on one connection and refused on the next.
            for _ in 0..2 {
                let (mut stream, _) = proxy.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
                stream
                    .write_all(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\nConnection: close\r\n\r\n")
                    .unwrap();
            }
        });
        let ran = send(runtime, "smtp://127.0.0.1:1", &["--proxy", &url]);
        let report = ran.json();
        assert_eq!((ran.status, &report["error"]["kind"], &report["error"]["hop"]), (69, &"proxy".into(), &1.into()));
        let text = report["error"]["text"].as_str().unwrap();
        assert!(text.starts_with("the proxy refused"), "{text}");
        serving.join().unwrap();
    }
}

#[test]
fn what_is_no_proxy_is_told_for_what_it_is() {
    let serving = Serving::start(&[]);
    let through =
        |proxy: &str| send("tokio", "smtp://127.0.0.1:1", &["--proxy", &format!("{proxy}{}", serving.address)]);
    for scheme in ["socks4://", "socks5h://", "http://"] {
        let ran = through(scheme);
        assert_eq!((ran.status, &ran.json()["error"]["hop"]), (69, &1.into()), "{ran:?}");
        assert!(ran.stderr.contains("it is a mail server, not a proxy"), "{ran:?}");
    }
    let ran = through("https://");
    assert_eq!((ran.status, &ran.json()["error"]["hop"]), (76, &1.into()), "{ran:?}");
    assert!(ran.stderr.contains("proxy of http://") && !ran.stderr.contains("STARTTLS"), "{ran:?}");
    let ran = send("tokio", "smtp://127.0.0.1:1", &["--proxy", "socks5h://nowhere.invalid"]);
    assert_eq!((ran.status, &ran.json()["error"]["hop"]), (68, &1.into()), "{ran:?}");
    let ran = send("tokio", "smtp://nowhere.invalid", &["--proxy", &format!("socks5://{}", serving.address)]);
    assert_eq!((ran.status, &ran.json()["error"]["hop"]), (68, &serde_json::Value::Null), "{ran:?}");
}

#[test]
fn recipients_have_each_their_own_result() {
    let never = "550 5.1.1 never\r\n";
    let to = ["--to", "a@b.example", "--to", "c@d.example"];
    case(&[GREETING, EHLO, OK, OK, never, GO, OK, BYE], &to, 65, "partial", "refused", "RCPT");
    let (url, _server) =
        scripted(&[GREETING, EHLO, OK, "250 2.1.5 yes\r\n", never, GO, "250 2.0.0 taken as 1\r\n", BYE]);
    let report = send("tokio", &url, &[&CLEAR[..], &to].concat()).json();
    let message = &report["messages"][0];
    let shown: Vec<_> = message["recipients"].as_array().unwrap().iter().map(|to| to.to_string()).collect();
    assert_eq!(
        shown,
        [
            r#"{"address":"a@b.example","code":250,"enhanced":"2.1.5","result":"accepted","text":"yes"}"#,
            r#"{"address":"c@d.example","code":550,"enhanced":"5.1.1","result":"refused","text":"never"}"#,
        ]
    );
    assert_eq!(message["reply"].to_string(), r#"{"code":250,"enhanced":"2.0.0","text":"taken as 1"}"#);
    assert_eq!((&message["flights"], &report["flights"]), (&5.into(), &6.into()));
}

#[test]
fn the_password_is_never_shown_nor_sent_in_clear() {
    let login = ["--user", "u", "--password-env", "TEST_PASSWORD", "--transcript"];
    let offer = "250-server.example.org\r\n250 AUTH PLAIN LOGIN\r\n";
    for runtime in RUNTIMES {
        let (url, server) = scripted(&[GREETING, offer, BYE]);
        let ran = send(runtime, &url, &[&CLEAR[..], &login].concat());
        assert_eq!((ran.status, &ran.json()["error"]["kind"]), (77, &"auth".into()), "{ran:?}");
        assert!(!server.join().unwrap().contains("AUTH"));
        // A server that repeats what it was told.
        let echo = format!("535-5.7.8 wrong: {PASSWORD}\r\n535 5.7.8 AHUAb3BlbiBzZXNhbWUvNyslQCE=\r\n");
        let (url, server) = scripted(&[GREETING, offer, &echo, BYE]);
        let loud = ["--danger-allow-clear-text-auth", "--auth", "PLAIN"];
        let ran = send(runtime, &url, &[&CLEAR[..], &login, &loud].concat());
        assert_eq!(ran.status, 77, "{ran:?}");
        assert!(server.join().unwrap().contains("AHUAb3BlbiBzZXNhbWUvNyslQCE="));
        assert!(!(ran.stdout + &ran.stderr).contains("AHUAb3BlbiBzZXNhbWUvNyslQCE="));
    }
}

#[test]
fn the_flights_of_all_connections_are_counted() {
    for runtime in RUNTIMES {
        // One message in each session (RFC 9422).
        let (url, heard) = polite("250-server.example.org\r\n250 LIMITS MAILMAX=1\r\n", |_, _| false);
        let one = send(runtime, &url, &CLEAR).json()["flights"].as_u64().unwrap();
        let ran = send(runtime, &url, &[&CLEAR[..], &["--count", "3"]].concat());
        assert_eq!((ran.status, &ran.json()["flights"]), (0, &(3 * one).into()), "{ran:?}");
        assert_eq!(heard.try_iter().filter(|line| line.starts_with("EHLO ")).count(), 4);
    }
}

#[test]
fn line_endings_can_be_checked() {
    let canonical = [
        (&b"Subject: a\r\n\r\nb\nc\r\n"[..], "\r\nb\r\nc\r\n.\r\n"),
        (b"Subject: a\r\n\r\nb\0\r\n", "\r\nb\0\r\n.\r\n"),
    ];
    for (message, sent) in canonical {
        let odd = file(message);
        for runtime in RUNTIMES {
            let (url, server) = scripted(&[GREETING, EHLO, OK, OK, GO, OK, BYE]);
            let ran = send(runtime, &url, &[&CLEAR[..], &["--message", text(odd.path())]].concat());
            assert_eq!(ran.status, 0, "{ran:?}");
            assert!(server.join().unwrap().contains(sent));
            let (url, server) = scripted(&[GREETING, EHLO, OK, OK, GO, ""]);
            let strict = ["--message", text(odd.path()), "--line-endings", "strict"];
            let ran = send(runtime, &url, &[&CLEAR[..], &strict].concat());
            assert_eq!((ran.status, &ran.json()["error"]["kind"]), (66, &"input".into()), "{ran:?}");
            assert!(!server.join().unwrap().contains("\r\n.\r\n"));
        }
    }
}

#[test]
fn the_transcript_goes_into_a_file_too() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (url, _server) = scripted(&[GREETING, EHLO, OK, OK, GO, OK, BYE]);
    let ran = send("tokio", &url, &[&CLEAR[..], &["--transcript-file", text(file.path())]].concat());
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let transcript = std::fs::read_to_string(file.path()).unwrap();
    assert!(transcript.contains("C: MAIL FROM:<alice@example.org>\n"), "{transcript}");
    assert!(transcript.contains("S: 354 go on\n"), "{transcript}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_system_that_has_no_more_is_no_slip_of_the_users() {
    for args in ["send --json", "probe --json 127.0.0.1:1", "serve --json --listen 127.0.0.1:0"] {
        // Three are open already.
        let line = format!("ulimit -n 4; exec \"$0\" {args}");
        let output = Command::new("sh").args(["-c", &line, env!("CARGO_BIN_EXE_smtp")]).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &report["exit"]), (Some(75), &75.into()), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("Too many open files"), "{output:?}");
    }
    let output = command()
        .args(["send", "--server", "127.0.0.1:1", "--from", "a@b.example", "--to", "c@d.example", "--message", "-"])
        .env("TMPDIR", "/nonexistent")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).contains("no temporary file");
    assert_eq!((output.status.code(), told), (Some(66), true), "{output:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_report_that_finds_no_room_is_no_failure_but_is_told() {
    for more in [&[][..], &["--json"], &["--help"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command().arg("send").args(more).stdout(full).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).contains("smtp: the output is not complete: ");
        assert_eq!((output.status.code(), told), (Some(0), more != ["--help"]), "{output:?}");
    }
}

#[test]
fn a_reader_that_went_away_is_no_reason_to_fail() {
    for args in [&["send"][..], &["send", "--json"], &["--help"]] {
        let mut child = command().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
    }
}
