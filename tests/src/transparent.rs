//! A session that looks like TLS from outside and hides nothing, so that fuzzing reaches past the handshake.
//!
//! The rules of this file: the first octet each way is 0x16, as a handshake's is; then octets go as they are, but that 0x15
//! is the goodbye, as an alert's is, and 0x17 stands before each 0x15 and 0x17 that is meant.

use smtp_proto::Misuse;
use smtp_proto::tls::{Acceptor, Connector, Error, Facts, Session};

const HELLO: u8 = 0x16;
const GOODBYE: u8 = 0x15;
const ESCAPE: u8 = 0x17;

/// Begins transparent sessions, at either end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transparent;

impl Connector for Transparent {
    fn connect(&self, _: &str) -> Result<Box<dyn Session>, Misuse> {
        Ok(Box::new(Filter { greets: true, is_client: true, ..Filter::default() }))
    }
}

impl Acceptor for Transparent {
    fn accept(&self) -> Result<Box<dyn Session>, Misuse> {
        Ok(Box::new(Filter::default()))
    }
}

#[derive(Default)]
struct Filter {
    /// Its own hello is to be said.
    greets: bool,
    /// Who greets first is not greeted back for it.
    is_client: bool,
    /// The peer has said hello.
    greeted: bool,
    escaped: bool,
    closes: bool,
    closed_by_peer: bool,
    failed: bool,
}

impl Session for Filter {
    fn open(&mut self, input: &mut &[u8], plaintext: &mut Vec<u8>, room: usize) -> Result<(), Error> {
        while let Some((octet, rest)) = input.split_first() {
            if self.failed || (!self.greeted && *octet != HELLO) {
                self.failed = true;
                return Err(Error::Failed("no hello".into()));
            }
            if plaintext.len() >= room {
                break;
            }
            *input = rest;
            match octet {
                _ if self.closed_by_peer => {}
                _ if !self.greeted => {
                    self.greeted = true;
                    self.greets |= !self.is_client;
                }
                _ if std::mem::take(&mut self.escaped) => plaintext.push(*octet),
                &GOODBYE => self.closed_by_peer = true,
                &ESCAPE => self.escaped = true,
                octet => plaintext.push(*octet),
            }
        }
        Ok(())
    }

    fn seal(&mut self, plaintext: &[u8], output: &mut Vec<u8>) -> Result<(), Error> {
        if std::mem::take(&mut self.greets) {
            output.push(HELLO);
        }
        assert!(plaintext.is_empty() || self.greeted, "it speaks during the handshake");
        for octet in plaintext {
            if matches!(*octet, GOODBYE | ESCAPE) {
                output.push(ESCAPE);
            }
            output.push(*octet);
        }
        if std::mem::take(&mut self.closes) {
            output.push(GOODBYE);
        }
        Ok(())
    }

    fn close(&mut self) {
        self.closes = true;
    }

    fn is_handshaking(&self) -> bool {
        !self.greeted
    }

    fn is_closed_by_peer(&self) -> bool {
        self.closed_by_peer
    }

    fn facts(&self) -> Facts {
        Facts::default()
    }
}
