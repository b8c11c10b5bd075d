//! What is remembered of a server lets commands leave before its greeting; where it has changed its mind, that costs a
//! connection and nothing else.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use smtp_proto::client::{Envelope, Remembered};
use smtp_proto::{Config, Route, Security};

const MESSAGE: &[u8] = b"Subject: early\r\n\r\nHello.\r\n";

fn remembered() -> Remembered {
    "grouping groups\nPIPECONNECT\nPIPELINING\n".parse().unwrap()
}

fn config(listener: &TcpListener) -> Config {
    let port = listener.local_addr().unwrap().port();
    Config::new("127.0.0.1", port).security(Security::None).helo("client.example.org").remembered(remembered())
}

fn envelope() -> Envelope {
    Envelope::new("alice@example.org", ["bob@example.net"]).unwrap()
}

/// Reads until this has come, before the greeting.
fn early(mut stream: &TcpStream, last: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    while !String::from_utf8_lossy(&octets).contains(last) {
        let mut some = [0; 1000];
        let n = stream.read(&mut some).unwrap();
        assert!(n > 0, "the client has gone");
        octets.extend_from_slice(&some[..n]);
    }
    octets
}

/// Speaks the server's part, from EHLO to QUIT, behind what came early; gives what was heard.
fn serve(mut stream: &TcpStream, early: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut peer = BufReader::new(early.chain(stream));
    let mut body = false;
    loop {
        let mut line = String::new();
        if peer.read_line(&mut line).unwrap() == 0 {
            return lines;
        }
        let reply = match line.as_str() {
            ".\r\n" => "250 2.0.0 Queued\r\n",
            _ if body => continue,
            "DATA\r\n" => "354 Go\r\n",
            "QUIT\r\n" => "221 Bye\r\n",
            line if line.starts_with("EHLO") => "250-mx.example.org\r\n250-PIPECONNECT\r\n250 PIPELINING\r\n",
            _ => "250 Ok\r\n",
        };
        body = line == "DATA\r\n";
        lines.push(line);
        stream.write_all(reply.as_bytes()).unwrap();
    }
}

#[test]
fn the_first_flight_holds_ehlo_and_the_envelope() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = config(&listener);
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let early = early(&stream, "RCPT TO:<bob@example.net>\r\n");
        stream.write_all(b"220 mx.example.org\r\n").unwrap();
        serve(&stream, &early)
    });
    let stream = smtp_blocking::Pollable::tcp(TcpStream::connect(("127.0.0.1", config.port())).unwrap()).unwrap();
    let mut smtp = smtp_blocking::Smtp::begin(stream, &config, Route::direct()).unwrap();
    let report = smtp.send(&envelope(), MESSAGE).unwrap();
    assert!(report.is_accepted(), "{report:?}");
    smtp.quit().unwrap();
    let lines = server.join().unwrap();
    let verbs: Vec<_> = lines.iter().map(|line| line.split([' ', '\r']).next().unwrap()).collect();
    assert_eq!(verbs, ["EHLO", "MAIL", "RCPT", "DATA", ".", "QUIT"]);
}

#[test]
fn a_server_that_takes_offence_is_asked_again_in_the_usual_order() {
    type Send = fn(&Config) -> bool;
    let blocking: Send = |config| {
        let mut smtp = smtp_blocking::connect(config).unwrap();
        smtp.send(&envelope(), MESSAGE).unwrap().is_accepted()
    };
    let tokio: Send = |config| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut smtp = smtp_tokio::connect(config).await.unwrap();
            smtp.send(&envelope(), MESSAGE).await.unwrap().is_accepted()
        })
    };
    for send in [blocking, tokio] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = config(&listener);
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            early(&stream, "EHLO client.example.org\r\n");
            stream.write_all(b"554 5.5.0 Synchronization error\r\n").unwrap();
            drop(stream);
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let too_early = stream.read(&mut [0; 100]);
            assert!(too_early.is_err(), "the greeting is waited for: {too_early:?}");
            stream.set_read_timeout(None).unwrap();
            stream.write_all(b"220 mx.example.org\r\n").unwrap();
            serve(&stream, b"")
        });
        assert!(send(&config));
        assert_eq!(server.join().unwrap()[0], "EHLO client.example.org\r\n");
    }
}
