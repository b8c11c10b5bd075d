//! A thousand connections at once through `smtp serve`, and a message on each.

#![cfg(unix)]

mod common;

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Write};
use std::thread;
use std::time::Duration;

use common::*;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::Value;

const THOUSAND: usize = 1000;

#[test]
fn none_is_lost() {
    let mut limit = getrlimit(Resource::Nofile);
    let needed = THOUSAND as u64 + 100;
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        println!("skipped: {:?} open files are not enough for {THOUSAND} connections", limit.maximum);
        return;
    }
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let mut serving = Serving::start(&["--json", "--store", text(folder.path())]);
    let mut streams: Vec<_> = (0..THOUSAND).map(|_| serving.connect()).collect();
    for stream in &streams {
        // A slow machine is no lost message.
        stream.get_ref().set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    }
    // What the server tells is read meanwhile: a full pipe would stop it.
    let out = std::mem::replace(&mut serving.out, BufReader::new(Box::new(io::empty())));
    let told = thread::spawn(move || out.lines().take(THOUSAND).map(|line| line.unwrap()).collect::<Vec<_>>());
    // All are in the middle of the same thing at once.
    for stream in &mut streams {
        assert!(reply(stream).starts_with("220"));
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        write!(stream.get_mut(), "EHLO c{number}\r\n").unwrap();
    }
    for stream in &mut streams {
        assert!(reply(stream).starts_with("250"));
    }
    for stream in &mut streams {
        stream.get_mut().write_all(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n").unwrap();
    }
    for stream in &mut streams {
        for code in ["250", "250", "354"] {
            assert!(reply(stream).starts_with(code));
        }
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        write!(stream.get_mut(), "Subject: {number}\r\n\r\n..{number}\r\n.\r\n").unwrap();
    }
    for stream in &mut streams {
        assert!(reply(stream).starts_with("250"));
    }
    for stream in &mut streams {
        assert!(say(stream, "QUIT").starts_with("221"));
    }
    let told = told.join().unwrap();
    let mut subjects = BTreeSet::new();
    for line in told {
        let told: Value = serde_json::from_str(&line).unwrap();
        let subject = told["headers"][0]["value"].as_str().unwrap().to_string();
        let kept = std::fs::read_to_string(told["file"].as_str().unwrap()).unwrap();
        assert_eq!(kept, format!("Subject: {subject}\r\n\r\n.{subject}\r\n"));
        assert_eq!(told["helo"], format!("c{subject}"));
        subjects.insert(subject.parse::<usize>().unwrap());
    }
    assert!(subjects.into_iter().eq(0..THOUSAND), "each once");
    let kept = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(kept.filter(|path| path.extension().is_some_and(|one| one == "eml")).count(), THOUSAND);
    assert_eq!(serving.interrupt(), Some(0));
}
