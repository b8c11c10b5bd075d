//! `smtp serve` from outside, with `smtp send` and with bare sockets as its clients.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::*;
use serde_json::Value;

const LOGIN: [&str; 4] = ["--user", "u", "--password-env", "TEST_PASSWORD"];

fn stored(folder: &std::path::Path, extension: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = all.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    found.sort();
    found
}

#[test]
fn messages_are_kept_as_they_came() {
    let folder = tempfile::tempdir().unwrap();
    let mut serving = Serving::start(&["--json", "--store", text(folder.path())]);
    let message = file(b".dot\r\n..\r\n.\r\nSubject: a\r\n\r\nno end");
    for runtime in RUNTIMES {
        let ran = send(runtime, &serving.url(), &["--message", text(message.path()), "--security", "none"]);
        assert_eq!(ran.status, 0, "{ran:?}");
        let told: Value = serde_json::from_str(&serving.line()).unwrap();
        assert_eq!((&told["from"], &told["octets"]), (&"alice@example.org".into(), &35.into()));
        assert_eq!((&told["recipients"][0]["address"], &told["tls"]), (&"bob@example.net".into(), &Value::Null));
        let kept = PathBuf::from(told["file"].as_str().unwrap());
        assert_eq!(fs::read(&kept).unwrap(), b".dot\r\n..\r\n.\r\nSubject: a\r\n\r\nno end\r\n");
        let envelope: Value = serde_json::from_slice(&fs::read(kept.with_extension("json")).unwrap()).unwrap();
        assert_eq!(envelope, told);
    }
    assert_eq!((stored(folder.path(), "eml").len(), stored(folder.path(), "part").len()), (RUNTIMES.len(), 0));
}

#[test]
fn several_messages_over_one_connection() {
    for without in ["PIPELINING,CHUNKING", "X"] {
        let serving = Serving::start(&["--without", without]);
        for runtime in RUNTIMES {
            let (a, b) = (file(b"Subject: a\r\n\r\na\r\n"), file(b"Subject: b\r\n\r\nb\r\n"));
            let more = ["--message", text(a.path()), "--message", text(b.path()), "--count", "3", "--security", "none"];
            let ran = send(runtime, &serving.url(), &more);
            let report = ran.json();
            assert_eq!((ran.status, report["messages"].as_array().unwrap().len()), (0, 6), "{ran:?}");
            assert!(report["rate"]["messages_per_second"].as_f64().unwrap() > 0.0);
        }
    }
}

#[test]
fn standard_input_is_a_message_and_can_be_several() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(&["--store", text(folder.path())]);
    for runtime in RUNTIMES {
        for count in ["1", "2"] {
            let args = ["send", "--quiet", "--runtime", runtime, "--security", "none", "--server", &serving.address];
            let more = ["--from", "", "--to", "a@b.example", "--message", "-", "--count", count];
            let mut child = command().args(args).args(more).stdin(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(b"Subject: x\n\ny\n").unwrap();
            assert!(child.wait().unwrap().success());
        }
    }
    let kept = stored(folder.path(), "eml");
    assert_eq!(kept.len(), 3 * RUNTIMES.len());
    for path in kept {
        assert_eq!(fs::read(path).unwrap(), b"Subject: x\r\n\r\ny\r\n");
    }
}

#[test]
fn tls_of_both_kinds_and_every_mechanism() {
    for (kind, scheme, mode) in [("starttls", "smtp", "starttls"), ("implicit", "smtps", "implicit")] {
        let mut serving = Serving::start(&[&["--tls", kind], &LOGIN[..]].concat());
        let ca = serving.ca();
        let url = format!("{scheme}://{}", serving.address);
        for runtime in RUNTIMES {
            for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"] {
                let more = [&["--ca", text(&ca), "--auth", mechanism, "--validate"], &LOGIN[..]].concat();
                let ran = send(runtime, &url, &more);
                let report = ran.json();
                assert_eq!((ran.status, &report["outcome"]), (0, &"validated".into()), "{ran:?}");
                assert_eq!(report["authentication"]["mechanism"], mechanism);
                assert_eq!((&report["security"]["mode"], &report["security"]["tls"]), (&mode.into(), &"1.3".into()));
                assert_eq!(report["hint"], format!("{}/{mode}", serving.address));
            }
            let old = [&["--ca", text(&ca), "--tls-max", "1.2", "--validate"], &LOGIN[..]].concat();
            assert_eq!(send(runtime, &url, &old).json()["security"]["tls"], "1.2");
            let wrong = ["--ca", text(&ca), "--user", "v", "--password-env", "TEST_PASSWORD", "--validate"];
            assert_eq!(send(runtime, &url, &wrong).status, 77);
            let untrusted = send(runtime, &url, &["--validate"]);
            assert_eq!((untrusted.status, &untrusted.json()["error"]["kind"]), (76, &"tls".into()));
            let reckless = send(runtime, &url, &["--validate", "--danger-accept-invalid-certs"]);
            assert!(reckless.status == 0 && reckless.stderr.contains("not checked"), "{reckless:?}");
            let other = send(runtime, &url, &["--validate", "--ca", text(&ca), "--tls-name", "mail.example.org"]);
            assert_eq!(other.status, 76, "{other:?}");
        }
        assert!(ca.exists());
        assert_eq!(serving.interrupt(), Some(0));
        assert!(!ca.exists(), "left behind");
    }
}

#[test]
fn the_password_is_a_token_too() {
    let serving = Serving::start(&["--user", "u", "--password-env", "TEST_TOKEN"]);
    let more = ["--user", "u", "--token-env", "TEST_TOKEN", "--validate", "--security", "none"];
    for runtime in RUNTIMES {
        assert_eq!(send(runtime, &serving.url(), &more).status, 77, "in clear");
        for mechanism in ["OAUTHBEARER", "XOAUTH2"] {
            let loud = ["--danger-allow-clear-text-auth", "--auth", mechanism];
            let ran = send(runtime, &serving.url(), &[&more[..], &loud].concat());
            assert_eq!((ran.status, &ran.json()["authentication"]["mechanism"]), (0, &mechanism.into()), "{ran:?}");
        }
    }
}

#[test]
fn faults_on_purpose() {
    // More than all the buffers on the way hold.
    let large = file(&b"0123456789\r\n".repeat(1 << 21));
    let long = file(&b"0123456789\r\n".repeat(2000));
    let clear = ["--security", "none"];
    for runtime in RUNTIMES {
        let run =
            |options: &[&str], more: &[&str]| send(runtime, &Serving::start(options).url(), &[&clear, more].concat());
        let ran = run(&["--refuse-rcpt", "Bob@example.net"], &["--to", "bob@example.net", "--to", "c@d.example"]);
        assert_eq!((ran.status, &ran.json()["outcome"]), (65, &"partial".into()), "{ran:?}");
        let ran = run(&["--tempfail"], &[]);
        assert_eq!((ran.status, &ran.json()["messages"][0]["reply"]["code"]), (75, &451.into()), "{ran:?}");
        // What the server says it will not take is not sent; where it is not listened to, it says so again.
        let ran = run(&["--max-size", "1000"], &["--message", text(long.path())]);
        assert_eq!((ran.status, &ran.json()["outcome"]), (65, &"refused".into()), "{ran:?}");
        assert_eq!(ran.json()["messages"][0]["flights"], 0, "{ran:?}");
        let ran = run(&["--max-size", "1000"], &["--message", text(long.path()), "--without", "SIZE"]);
        assert_eq!((ran.status, &ran.json()["messages"][0]["reply"]["code"]), (65, &552.into()), "{ran:?}");
        let ran = run(&["--drop-after", "10000"], &["--message", text(large.path())]);
        assert_eq!((ran.status, &ran.json()["error"]["kind"]), (75, &"closed".into()), "{ran:?}");
        let ran = run(&["--greet-after", "2s"], &["--greeting-timeout", "200ms"]);
        assert_eq!((ran.status, &ran.json()["error"]["phase"]), (75, &"greeting".into()), "{ran:?}");
        let ran = run(&["--greet-after", "200ms"], &[]);
        assert!(ran.status == 0 && ran.json()["seconds"].as_f64().unwrap() > 0.2, "{ran:?}");
        let began = Instant::now();
        assert_eq!(run(&["--slow", "100ms"], &[]).status, 0);
        assert!(began.elapsed() > Duration::from_millis(400), "{:?}", began.elapsed());
    }
}

/// Says all of it before the greeting has come; what is heard until the end, or where the connection was reset.
fn rush(serving: &Serving) -> String {
    let mut stream = serving.connect();
    stream.get_mut().write_all(b"EHLO a.example\r\nQUIT\r\n").unwrap();
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    String::from_utf8(heard).unwrap()
}

#[test]
fn who_does_not_wait_for_the_greeting_is_found_out() {
    let begin = |more: &[&str]| Serving::start(&[&["--greet-after", "500ms"], more].concat());
    let refusing = begin(&[]);
    let heard = rush(&refusing);
    assert!(heard.starts_with("554") && heard.lines().nth(1).unwrap().starts_with("503"), "{heard}");
    assert_eq!(rush(&begin(&["--early-talkers", "drop"])), "");
    for served in [&["--early-talkers", "serve"][..], &["--with", "PIPECONNECT"]] {
        let heard = rush(&begin(served));
        assert!(heard.starts_with("220") && heard.contains("\n250 ") && heard.contains("\n221"), "{heard}");
        assert_eq!(heard.contains("PIPECONNECT"), served[0] == "--with", "{heard}");
    }
    // Who waits is served everywhere.
    let mut polite = refusing.connect();
    assert!(reply(&mut polite).starts_with("220") && say(&mut polite, "QUIT").starts_with("221"));
}

#[test]
fn each_reply_to_a_group_is_slow() {
    let slow = Duration::from_millis(200);
    let serving = Serving::start(&["--slow", "200ms"]);
    let mut stream = serving.connect();
    assert!(reply(&mut stream).starts_with("220"));
    assert!(say(&mut stream, "EHLO a").starts_with("250"));
    let began = Instant::now();
    let group = "MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n";
    stream.get_mut().write_all(group.as_bytes()).unwrap();
    for (at, code) in ["250", "250", "250", "354"].into_iter().enumerate() {
        assert!(reply(&mut stream).starts_with(code));
        assert!(began.elapsed() >= slow * (at as u32 + 1), "too early");
    }
    let mut secured = Serving::start(&["--slow", "200ms", "--tls", "implicit", "--lmtp"]);
    let ca = secured.ca();
    let ten: Vec<String> = (0..10).map(|at| format!("r{at}@b.example")).collect();
    let to: Vec<&str> = ten.iter().flat_map(|to| ["--to", to]).collect();
    let url = format!("smtps://{}", secured.address);
    let ran = send("tokio", &url, &[&["--lmtp", "--ca", text(&ca)][..], &to].concat());
    assert_eq!(ran.status, 0, "{ran:?}");
    // Twice for each recipient, and for the greeting, LHLO, MAIL.
    assert!(ran.json()["seconds"].as_f64().unwrap() > 23.0 * 0.2, "{ran:?}");
}

#[test]
fn mechanisms_are_offered_as_asked_for() {
    let offer = |more: &[&str]| {
        let serving = Serving::start(&[&LOGIN[..], more].concat());
        let mut stream = serving.connect();
        reply(&mut stream);
        let offer = say(&mut stream, "EHLO a");
        let line = offer.lines().find_map(|line| line.get(4..)?.strip_prefix("AUTH ")).unwrap();
        line.split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(offer(&["--auth", "login,SCRAM-SHA-512"]), ["LOGIN", "SCRAM-SHA-512"]);
    let usual = offer(&[]);
    assert!(usual.contains(&"SCRAM-SHA-512".into()) && usual.contains(&"PLAIN".into()), "{usual:?}");
    assert!(!usual.iter().any(|name| ["DIGEST-MD5", "NTLM"].contains(&name.as_str())), "{usual:?}");
    let serving = Serving::start(&[&LOGIN[..], &["--auth", "SCRAM-SHA-512"]].concat());
    for runtime in RUNTIMES {
        let more = [&LOGIN[..], &["--validate", "--security", "none"]].concat();
        let report = send(runtime, &serving.url(), &more).json();
        assert_eq!((&report["exit"], &report["authentication"]["mechanism"]), (&0.into(), &"SCRAM-SHA-512".into()));
    }
}

#[test]
fn what_keeps_it_from_serving_is_told_as_json_too() {
    for (options, status, kind) in [
        (&["--listen", "nowhere"][..], 64, "usage"),
        (&["--listen", "127.0.0.1:0", "--with", "NO-SUCH"], 64, "usage"),
        (&["--listen", "127.0.0.1:0", "--auth", "PLAIN"], 64, "usage"),
        (&["--no-such-option"], 64, "usage"),
        (&["--listen", "127.0.0.1:0", "--cert", "/nonexistent", "--key", "/nonexistent"], 66, "input"),
    ] {
        let ran = run(&[&["serve", "--json"], options].concat());
        assert_eq!((ran.status, &ran.json()["error"]["kind"]), (status, &kind.into()), "{ran:?}");
    }
}

#[test]
fn silence_before_the_greeting_is_found_out_by_auto() {
    let mut serving = Serving::start(&["--tls", "implicit"]);
    let ca = serving.ca();
    for runtime in RUNTIMES {
        let ran = send(runtime, &serving.url(), &["--ca", text(&ca), "--greeting-timeout", "300ms"]);
        assert_eq!((ran.status, &ran.json()["security"]["mode"]), (0, &"implicit".into()), "{ran:?}");
    }
}

#[test]
fn lmtp_has_a_reply_for_each_recipient() {
    let mut serving = Serving::start(&["--lmtp", "--json", "--refuse-rcpt", "no@b.example"]);
    let mut stream = serving.connect();
    assert!(reply(&mut stream).contains("LMTP"));
    assert!(say(&mut stream, "EHLO a").starts_with('5'));
    assert!(say(&mut stream, "LHLO a").starts_with("250"));
    assert!(say(&mut stream, "MAIL FROM:<>").starts_with("250"));
    for (to, code) in [("a@b.example", "250"), ("no@b.example", "550"), ("c@b.example", "250")] {
        assert!(say(&mut stream, &format!("RCPT TO:<{to}>")).starts_with(code));
    }
    assert!(say(&mut stream, "DATA").starts_with("354"));
    assert!(say(&mut stream, "Subject: x\r\n\r\ny\r\n.").starts_with("250"));
    assert!(reply(&mut stream).starts_with("250"));
    assert!(say(&mut stream, "QUIT").starts_with("221"));
    let told: Value = serde_json::from_str(&serving.line()).unwrap();
    assert_eq!(told["recipients"].as_array().unwrap().len(), 2);
    assert_eq!(told["headers"][0]["value"], "x");
}

#[test]
fn who_is_connected_hears_421_at_the_end() {
    let mut serving = Serving::start(&[]);
    let (mut idle, mut busy) = (serving.connect(), serving.connect());
    for stream in [&mut idle, &mut busy] {
        assert!(reply(stream).starts_with("220"));
        assert!(say(stream, "EHLO a").starts_with("250"));
    }
    say(&mut busy, "MAIL FROM:<>");
    say(&mut busy, "RCPT TO:<a@b.example>");
    assert!(say(&mut busy, "DATA").starts_with("354"));
    let finish = std::thread::spawn(move || {
        let mut heard = String::new();
        std::thread::sleep(Duration::from_millis(300));
        busy.get_mut().write_all(b"x\r\n.\r\n").unwrap();
        busy.read_to_string(&mut heard).unwrap();
        heard
    });
    let mut rest = String::new();
    assert_eq!(serving.interrupt(), Some(0));
    idle.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("421"), "{rest}");
    // What was under way is finished first.
    let heard = finish.join().unwrap();
    assert!(heard.starts_with("250") && heard.contains("\n421"), "{heard}");
}

#[test]
fn a_message_that_goes_on_is_taken_to_its_end_and_one_that_stalls_is_not() {
    let mut serving = Serving::start(&[]);
    let (mut slow, mut stalled) = (serving.connect(), serving.connect());
    for stream in [&mut slow, &mut stalled] {
        reply(stream);
        for line in ["EHLO a", "MAIL FROM:<>", "RCPT TO:<a@b.example>"] {
            assert!(say(stream, line).starts_with("250"));
        }
        assert!(say(stream, "DATA").starts_with("354"));
    }
    let finish = std::thread::spawn(move || {
        // Longer than anybody may pause.
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(500));
            slow.get_mut().write_all(b"x\r\n").unwrap();
        }
        slow.get_mut().write_all(b".\r\n").unwrap();
        let mut heard = String::new();
        slow.read_to_string(&mut heard).unwrap();
        heard
    });
    assert_eq!(serving.interrupt(), Some(0));
    let heard = finish.join().unwrap();
    assert!(heard.starts_with("250") && heard.contains("\n421"), "{heard}");
}

#[test]
fn control_characters_in_words_are_refused() {
    for options in [["--refuse-rcpt", "a@b\r\nc"], ["--without", "DSN\n"]] {
        assert_eq!(run(&[&["serve", "--listen", "127.0.0.1:0"], &options[..]].concat()).status, 64, "{options:?}");
    }
}

#[test]
fn a_port_that_is_taken_is_said() {
    let serving = Serving::start(&[]);
    let ran = run(&["serve", "--listen", &serving.address]);
    assert!(ran.status == 69 && ran.stderr.contains(&serving.address), "{ran:?}");
    for nothing in ["nowhere", "127.0.0.1:99999"] {
        let ran = run(&["serve", "--listen", nothing]);
        assert!(ran.status == 64 && ran.stderr.contains(nothing), "{ran:?}");
    }
}
