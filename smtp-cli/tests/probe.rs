//! `smtp probe` against servers that are as they should be, and such that are not.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use common::{BYE, GREETING, PASSWORD, Ran, Serving, run, text};
use serde_json::Value;

const RUNTIMES: [&str; 3] = ["tokio", "blocking", "async-std"];

fn probe(runtime: &str, place: &str, more: &[&str]) -> Ran {
    run(&[&["probe", "--json", "--runtime", runtime, place], more].concat())
}

/// A server that does the same with everyone who comes; its address.
fn everyone(act: impl Fn(TcpStream) + Send + Sync + Copy + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || act(stream));
        }
    });
    address
}

/// Reads until the peer goes.
fn drain(stream: &mut TcpStream) {
    let _ = std::io::copy(stream, &mut std::io::sink());
}

fn keywords(offer: &Value) -> Vec<String> {
    let all = offer["extensions"].as_array().unwrap();
    all.iter().map(|one| one["keyword"].as_str().unwrap().to_owned()).collect()
}

fn phases(port: &Value) -> Vec<&str> {
    port["times"].as_array().unwrap().iter().map(|one| one["phase"].as_str().unwrap()).collect()
}

#[test]
fn starttls_is_found_and_what_is_recommended_works() {
    let mut server = Serving::start(&["--tls", "starttls", "--user", "u", "--password-env", "TEST_PASSWORD"]);
    let ca = server.ca();
    for runtime in RUNTIMES {
        let login = ["--ca", text(&ca), "--user", "u", "--password-env", "TEST_PASSWORD"];
        let ran = probe(runtime, &server.address, &login);
        let report = ran.json();
        assert_eq!(ran.status, 0, "{ran:?}");
        let port = &report["ports"][0];
        assert_eq!((&port["speaks"], &port["mode"]), (&"smtp".into(), &"starttls".into()), "{ran:?}");
        assert_eq!((&port["secure"], &port["starttls"], &port["connects"]), (&true.into(), &true.into(), &true.into()));
        assert_eq!((&port["greeting"]["code"], &port["tls"]["version"]), (&220.into(), &"1.3".into()), "{ran:?}");
        let certificate = &port["certificate"];
        assert_eq!(certificate["trusted"], true, "{ran:?}");
        assert_eq!(certificate["issuer"], "throw-away authority of the smtp command");
        assert!(certificate["names"].as_array().unwrap().contains(&"127.0.0.1".into()), "{ran:?}");
        assert!(keywords(&port["before_tls"]).contains(&"STARTTLS".into()), "{ran:?}");
        assert!(!keywords(&port["under_tls"]).contains(&"STARTTLS".into()), "{ran:?}");
        assert!(port["under_tls"]["mechanisms"].as_array().unwrap().contains(&"PLAIN".into()), "{ran:?}");
        assert_eq!(phases(port), ["connect", "greeting", "EHLO", "STARTTLS", "TLS handshake", "EHLO"], "{ran:?}");
        let login = &report["authentication"];
        assert_eq!((&login["mechanism"], &login["error"]), (&"SCRAM-SHA-512-PLUS".into(), &Value::Null), "{ran:?}");
        let arguments = report["recommended"]["arguments"].as_array().unwrap();
        let arguments: Vec<_> = arguments.iter().map(|word| word.as_str().unwrap()).collect();
        let pasted = run(&[&["send", "--validate", "--json"], &arguments[..]].concat());
        assert_eq!((pasted.status, &pasted.json()["security"]["mode"]), (0, &"starttls".into()), "{pasted:?}");
    }
}

#[test]
fn implicit_tls_is_found_without_waiting_for_a_greeting() {
    let mut server = Serving::start(&["--tls", "implicit"]);
    let ca = server.ca();
    for runtime in RUNTIMES {
        // Who waited would wait for the whole of an hour.
        let ran = probe(runtime, &server.address, &["--ca", text(&ca), "--budget", "1h"]);
        let report = ran.json();
        let port = &report["ports"][0];
        assert_eq!((ran.status, &port["mode"], &port["secure"]), (0, &"implicit".into(), &true.into()), "{ran:?}");
        assert_eq!((&port["before_tls"], &port["starttls"]), (&Value::Null, &Value::Null), "{ran:?}");
        assert_eq!(phases(port), ["connect", "TLS handshake", "greeting", "EHLO"], "{ran:?}");
        assert_eq!(report["recommended"]["server"], format!("smtps://{}", server.address), "{ran:?}");
        assert_eq!(report["recommended"]["hint"], format!("{}/implicit", server.address), "{ran:?}");
    }
}

#[test]
fn a_certificate_that_is_not_trusted_is_shown_all_the_same() {
    for tls in ["starttls", "implicit"] {
        let server = Serving::start(&["--tls", tls, "--user", "u", "--password-env", "TEST_PASSWORD"]);
        for runtime in RUNTIMES {
            let ran = probe(runtime, &server.address, &["--user", "u", "--password-env", "TEST_PASSWORD"]);
            let report = ran.json();
            assert_eq!((ran.status, &report["error"]["kind"]), (76, &"tls".into()), "{ran:?}");
            let port = &report["ports"][0];
            assert_eq!((&port["mode"], &port["secure"]), (&tls.into(), &false.into()), "{ran:?}");
            let certificate = &port["certificate"];
            assert_eq!(certificate["trusted"], false, "{ran:?}");
            assert!(certificate["why_not"].as_str().unwrap().contains("authority"), "{ran:?}");
            assert_eq!(certificate["subject"], "throw-away certificate of the smtp command", "{ran:?}");
            assert_eq!(port["tls"]["version"], "1.3", "{ran:?}");
            assert!(port["under_tls"]["mechanisms"].as_array().unwrap().contains(&"PLAIN".into()), "{ran:?}");
            // Nobody was logged in there.
            assert_eq!((&report["authentication"], &report["recommended"]), (&Value::Null, &Value::Null), "{ran:?}");
        }
    }
}

#[test]
fn the_options_of_tls_are_those_of_send() {
    let mut server = Serving::start(&["--tls", "implicit"]);
    let ca = server.ca();
    for runtime in RUNTIMES {
        let ca = ["--ca", text(&ca)];
        let ran = probe(runtime, &server.address, &[&ca[..], &["--tls-name", "mail.example.org"]].concat());
        let report = ran.json();
        assert_eq!((ran.status, &report["error"]["kind"]), (76, &"tls".into()), "{ran:?}");
        let why = report["ports"][0]["certificate"]["why_not"].as_str().unwrap();
        assert!(why.contains("mail.example.org"), "{why}");
        let ran =
            probe(runtime, &server.address, &[&ca[..], &["--tls-name", "localhost", "--tls-max", "1.2"]].concat());
        let report = ran.json();
        assert_eq!((ran.status, &report["ports"][0]["tls"]["version"]), (0, &"1.2".into()), "{ran:?}");
        let arguments = report["recommended"]["arguments"].as_array().unwrap();
        let arguments: Vec<_> = arguments.iter().map(|word| word.as_str().unwrap()).collect();
        let pasted = run(&[&["send", "--validate", "--json"], &arguments[..]].concat());
        assert_eq!((pasted.status, &pasted.json()["security"]["tls"]), (0, &"1.2".into()), "{pasted:?}");
    }
    let half = run(&["probe", "--json", "127.0.0.1", "--client-cert", "/nonexistent/file"]);
    assert_eq!((half.status, &half.json()["error"]["kind"]), (64, &"usage".into()));
    let both = ["--client-cert", "/nonexistent/file", "--client-key", "/nonexistent/file"];
    assert_eq!(run(&[&["probe", "--json", "127.0.0.1"], &both[..]].concat()).status, 66);
}

#[test]
fn clear_text_will_not_do_and_nobody_is_logged_in_there() {
    let server = Serving::start(&["--tls", "none", "--user", "u", "--password-env", "TEST_PASSWORD"]);
    for runtime in RUNTIMES {
        let ran = probe(runtime, &server.address, &["--user", "u", "--password-env", "TEST_PASSWORD"]);
        let report = ran.json();
        let port = &report["ports"][0];
        assert_eq!((ran.status, &port["mode"], &port["starttls"]), (76, &"none".into(), &false.into()), "{ran:?}");
        assert!(port["before_tls"]["mechanisms"].as_array().unwrap().contains(&"PLAIN".into()), "{ran:?}");
        assert_eq!((&report["authentication"], &report["recommended"]), (&Value::Null, &Value::Null), "{ran:?}");
    }
}

#[test]
fn a_wrong_password_is_told_and_the_way_is_still_recommended() {
    let mut server = Serving::start(&["--tls", "implicit", "--user", "u", "--password-env", "TEST_PASSWORD"]);
    let ca = server.ca();
    let ran = probe("tokio", &server.address, &["--ca", text(&ca), "--user", "u", "--password-env", "TEST_TOKEN"]);
    let report = ran.json();
    assert_eq!((ran.status, &report["error"]["kind"]), (77, &"auth".into()), "{ran:?}");
    assert_eq!(report["authentication"]["mechanism"], Value::Null, "{ran:?}");
    assert!(report["recommended"].is_object(), "{ran:?}");
}

#[test]
fn what_is_no_mail_server_is_told_for_what_it_is() {
    let silent = everyone(|mut stream| drain(&mut stream));
    let closing = everyone(|stream| drop(stream.shutdown(Shutdown::Both)));
    let web = everyone(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        let _ = stream.shutdown(Shutdown::Write);
        drain(&mut stream);
    });
    let other = everyone(|mut stream| {
        let _ = stream.write_all(b"+OK \x1b[31mPOP3\r\n");
        drain(&mut stream);
    });
    for runtime in RUNTIMES {
        let budget = ["--budget", "1s"];
        for (address, status, kind, speaks) in [
            (&silent, 75, "timeout", "nothing"),
            (&closing, 75, "closed", "nothing"),
            (&web, 76, "protocol", "other"),
            (&other, 76, "protocol", "other"),
        ] {
            let ran = probe(runtime, address, &budget);
            let report = ran.json();
            assert_eq!((ran.status, &report["error"]["kind"]), (status, &kind.into()), "{ran:?}");
            let port = &report["ports"][0];
            assert_eq!((&port["connects"], &port["speaks"]), (&true.into(), &speaks.into()), "{ran:?}");
            assert_eq!((&port["mode"], &report["recommended"]), (&Value::Null, &Value::Null), "{ran:?}");
        }
    }
}

#[test]
fn a_server_that_greets_with_a_refusal_is_told_with_it() {
    for (greeting, status) in [("554 5.3.2 go away\r\n", 65), ("421 4.3.2 busy\r\n", 75)] {
        let address = everyone(move |mut stream| {
            let _ = stream.write_all(greeting.as_bytes());
            drain(&mut stream);
        });
        let ran = probe("tokio", &address, &["--budget", "2s"]);
        let report = ran.json();
        assert_eq!((ran.status, &report["error"]["kind"]), (status, &"refused".into()), "{ran:?}");
        assert_eq!(report["ports"][0]["greeting"]["code"], greeting[..3].parse::<u16>().unwrap(), "{ran:?}");
        assert_eq!(report["error"]["phase"], "greeting", "{ran:?}");
    }
}

#[test]
fn nothing_takes_longer_than_the_budget() {
    // Ten times the budget is less than any limit of its own that a session has.
    let silent = everyone(|mut stream| drain(&mut stream));
    let stuck = everyone(|mut stream| {
        let _ = stream.write_all(GREETING.as_bytes());
        drain(&mut stream);
    });
    for address in [&silent, &stuck] {
        for runtime in RUNTIMES {
            let began = Instant::now();
            let ran = probe(runtime, address, &["--budget", "500ms"]);
            assert!(began.elapsed() < Duration::from_secs(5), "{ran:?}");
            assert_eq!((ran.status, &ran.json()["error"]["kind"]), (75, &"timeout".into()), "{ran:?}");
        }
    }
}

#[test]
fn a_greeting_without_an_end_is_late() {
    // To a hello of TLS it is an answer in clear, which proves no more than that.
    let address = everyone(|mut stream| {
        let _ = stream.write_all(b"220-mx.example.org is th");
        drain(&mut stream);
    });
    for runtime in RUNTIMES {
        let ran = probe(runtime, &address, &["--budget", "1s"]);
        let error = &ran.json()["error"];
        assert_eq!(
            (ran.status, &error["kind"], &error["phase"]),
            (75, &"timeout".into(), &"greeting".into()),
            "{ran:?}"
        );
    }
}

#[test]
fn names_and_ports_that_lead_nowhere() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for runtime in RUNTIMES {
        let ran = probe(runtime, &closed, &[]);
        let report = ran.json();
        assert_eq!((ran.status, &report["error"]["kind"]), (69, &"connect".into()), "{ran:?}");
        assert_eq!((&report["ports"][0]["connects"], &report["ports"][0]["speaks"]), (&false.into(), &Value::Null));
        let ran = probe(runtime, "nowhere.invalid", &[]);
        assert_eq!((ran.status, &ran.json()["error"]["kind"]), (68, &"resolve".into()), "{ran:?}");
        let ran = probe(runtime, "localhost", &["--proxy", &format!("socks5h://u:{PASSWORD}@127.0.0.1:1")]);
        assert_eq!(ran.status, 64, "{ran:?}");
        let ran = probe(runtime, "localhost", &["--proxy", "socks5h://u:hunter2@127.0.0.1:1"]);
        assert_eq!((ran.status, &ran.json()["error"]["hop"]), (69, &1.into()), "{ran:?}");
        assert!(!(ran.stdout + &ran.stderr).contains("hunter2"));
        // Without a port, all of them.
        let ran = probe(runtime, "127.0.0.77", &[]);
        let report = ran.json();
        let ports: Vec<_> = report["ports"].as_array().unwrap().iter().map(|port| port["port"].to_string()).collect();
        assert_eq!((ports.join(" ").as_str(), ran.status), ("465 587 25 2525", 69), "{ran:?}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for args in [
        &["a b"][..],
        &["smtp://a.example"],
        &["u:p@a.example"],
        &["127.0.0.1:0"],
        &["127.0.0.1", "--budget", "0"],
        &["127.0.0.1", "--budget", "48h"],
        &["127.0.0.1", "--user", "u"],
        &["127.0.0.1", "--user", "u", "--password-env", "NO_SUCH_VARIABLE"],
        &["127.0.0.1", "--user", "a\nb", "--password-env", "TEST_PASSWORD"],
        &["127.0.0.1", "--no-such-option"],
        &[],
    ] {
        let ran = run(&[&["probe", "--json"], args].concat());
        assert_eq!((ran.status, &ran.json()["error"]["kind"]), (64, &"usage".into()), "{args:?}: {ran:?}");
    }
    assert_eq!(run(&["probe", "--json", "127.0.0.1", "--ca", "/nonexistent/file"]).json()["error"]["kind"], "input");
}

#[test]
fn people_get_a_table_without_what_peers_could_do_to_a_terminal() {
    let offer = "250-server.example.org\r\n250-X-\x1b[31mRED\r\n250 AUTH PLAIN \x1b]0;title\x07\r\n";
    let address = everyone(move |mut stream| {
        let _ = stream.write_all(b"220 \x1b[2Jhello\r\n");
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(offer.as_bytes());
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(BYE.as_bytes());
        drain(&mut stream);
    });
    let ran = run(&["probe", &address, "--budget", "2s"]);
    assert_eq!(ran.status, 76, "{ran:?}");
    assert!(ran.stdout.contains("greeting") && ran.stdout.contains("hello") && ran.stdout.contains("RED"), "{ran:?}");
    assert!(ran.stdout.contains("no secure way was found"), "{ran:?}");
    let odd = |c: char| c.is_control() && c != '\n';
    assert!(!ran.stdout.contains(odd) && !ran.stderr.contains(odd), "{ran:?}");
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 100), "{ran:?}");
}
