//! A server on a real socket that follows a script, for what only a socket does: stalls, resets, half-written messages.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

/// The server's end of one connection.
pub struct Peer {
    stream: BufReader<TcpStream>,
}

impl Peer {
    /// Says octets as they are.
    ///
    /// # Panics
    ///
    /// Where the connection is gone.
    pub fn say(&mut self, octets: &str) {
        self.stream.get_mut().write_all(octets.as_bytes()).expect("a client that listens");
    }

    /// Hears one line, without its end; empty at the end of the stream.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        let _ = self.stream.read_line(&mut line);
        line.trim_end().to_owned()
    }

    /// Hears lines up to a lone dot, and gives what came before it.
    pub fn hear_message(&mut self) -> String {
        let mut message = String::new();
        loop {
            match self.hear() {
                line if line == "." => return message,
                line => message.extend([&line, "\r\n"]),
            }
        }
    }

    /// Reads this many octets, and forgets them.
    pub fn swallow(&mut self, octets: usize) {
        let _ = std::io::copy(&mut Read::take(&mut self.stream, octets as u64), &mut std::io::sink());
    }

    /// Hears what comes in one piece.
    pub fn hear_piece(&mut self) -> String {
        let piece = self.stream.fill_buf().unwrap_or_default();
        let (length, said) = (piece.len(), String::from_utf8_lossy(piece).into_owned());
        self.stream.consume(length);
        said
    }

    /// Greets, and answers EHLO with these extensions.
    pub fn open(&mut self, extensions: &[&str]) {
        self.say("220 mx.example.org\r\n");
        assert!(self.hear().starts_with("EHLO "));
        self.say("250-mx.example.org\r\n");
        for extension in extensions {
            self.say(&format!("250-{extension}\r\n"));
        }
        self.say("250 HELP\r\n");
    }

    /// Waits until the client hangs up, so that nothing is lost to a reset.
    pub fn wait_for_end(&mut self) {
        let _ = std::io::copy(&mut self.stream, &mut std::io::sink());
    }
}

/// Serves one connection by a script; join the handle to see whether the script was followed.
///
/// # Panics
///
/// Where no port is to be had.
pub fn serve(script: impl FnOnce(&mut Peer) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        script(&mut Peer { stream: BufReader::new(stream) });
    });
    (address, server)
}
