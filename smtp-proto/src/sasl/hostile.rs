//! Every mechanism against a peer that sends anything: no panic, no success, errors that stick.
//!
//! The rules of this file: the bytes are pseudo-random from a fixed seed, so that a failure comes back; they are made of what
//! the grammars are made of, and of damaged copies of good messages.

use alloc::boxed::Box;
use alloc::vec::Vec;

use proxy_proto::Instant;

use super::{BindingKind, Channel, Credentials, Mechanism, MechanismName, server, start};

const NOW: Instant = Instant::EPOCH;

/// Marsaglia's xorshift64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    /// Good messages of all mechanisms, and words of their grammars.
    const SEEDS: &'static [&'static [u8]] = &[
        b"",
        b"Username:",
        b"<1896.697170952@postoffice.reston.mci.net>",
        b"r=AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBx,s=QSXCR+Q6sek8bf92,i=4096",
        b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        b"e=other-error",
        b"realm=\"a\",nonce=\"OA6MG9tEQGm2hh\",qop=\"auth\",algorithm=md5-sess,charset=utf-8",
        b"rspauth=ea40f60335c427b5527b84dbabcdfffd",
        b"{\"status\":\"invalid_token\"}",
        b"NTLMSSP\0\x02\0\0\0\0\0\0\0\x38\0\0\0\x33\x82\x8a\xe2\x01\x23\x45\x67\x89\xab\xcd\xef\0\0\0\0\0\0\0\0\x04\0\x04\0\x38\0\0\0\x06\0\x70\x17\0\0\0\x0f\0\0\0\0",
        b"a\0b\0c",
        b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        b"p=tls-exporter,a=x,n=user,r=fyko",
        b"c=biws,r=fykoAgICAgICAgICAgICAgICAgICAgICAgIC,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        b"n,a=u,\x01host=h\x01auth=Bearer t\x01\x01",
        b"user=u\x01auth=Bearer t\x01\x01",
        b"tim b913a602c7eda7a495b4e6e7334d3890",
    ];

    fn message(&mut self) -> Vec<u8> {
        let mut message = Self::SEEDS[self.roll(Self::SEEDS.len())].to_vec();
        for _ in 0..self.roll(4) {
            let at = self.roll(message.len() + 1);
            match self.roll(5) {
                0 => message.truncate(at),
                1 => message.insert(at, b",=\"\\\0\x01 \xffa"[self.roll(9)]),
                2 if at < message.len() => message[at] = self.roll(256) as u8,
                3 if at < message.len() => drop(message.remove(at)),
                _ => message.extend_from_slice(Self::SEEDS[self.roll(Self::SEEDS.len())]),
            }
        }
        // Work that the limits allow is not what is tested here.
        if message.windows(3).any(|part| part == b",i=") && !message.windows(7).any(|part| part == b",i=4096") {
            message.clear();
        }
        message
    }
}

fn channel() -> Channel {
    Channel::secured().binding(BindingKind::TlsExporter, [1; 32])
}

#[test]
fn no_client_panics_or_is_content_with_what_proves_nothing() {
    let mut dice = Dice(0x5a51);
    let all = [
        Credentials::password("user", "pencil"),
        Credentials::token("user", "token"),
        Credentials::external(""),
        Credentials::anonymous(""),
    ];
    for name in MechanismName::BY_STRENGTH.iter().filter(|name| name.is_available()) {
        let credentials = all.iter().find(|credentials| credentials.drives(name)).unwrap();
        for _ in 0..300 {
            let mut client: Box<dyn Mechanism> = start(name, credentials, &channel(), "h", [1; 24]).unwrap();
            let mut out = Vec::new();
            let mut failed = None;
            for _ in 0..4 {
                let spoke = client.transmit(NOW, &mut out);
                assert!(!(spoke && failed.is_some()), "{name} speaks after an error");
                assert!(!client.transmit(NOW, &mut out), "{name} speaks twice");
                let message = dice.message();
                let mut input = &message[..];
                let got = client.receive(NOW, &mut input);
                match failed {
                    Some(_) => assert_eq!(got.err(), failed, "{name} forgets its error"),
                    None => {
                        assert!(input.is_empty(), "{name} leaves input");
                        failed = got.err();
                    }
                }
            }
            assert!(out.len() < 4096, "{name}");
            if name.is_scram() || *name == MechanismName::DigestMd5 {
                assert!(client.finish().is_err(), "{name} believes a forged server");
            }
        }
    }
}

#[test]
fn no_server_panics_or_lets_in_who_proves_nothing() {
    let mut dice = Dice(0x5e4e4);
    for name in MechanismName::BY_STRENGTH.iter().filter(|name| server::is_available(name)) {
        for _ in 0..1000 {
            let mut machine = server::start(name, &channel(), "h", [2; 24]).unwrap();
            let mut out = Vec::new();
            for _ in 0..4 {
                machine.transmit(NOW, &mut out);
                assert!(!machine.transmit(NOW, &mut out), "{name} speaks twice");
                let message = dice.message();
                let mut input = &message[..];
                let got = machine.receive(NOW, &mut input);
                if let Err(error) = &got {
                    assert_eq!(machine.receive(NOW, &mut &b""[..]).as_ref(), Err(error));
                }
                if let Ok(Some(event)) = got {
                    assert!(!matches!(event, server::Event::Authenticated { .. }), "{name}");
                    let _ = machine.answer(server::Answer::Refuse);
                }
            }
            assert!(out.len() < 4096 && machine.finish().is_err(), "{name}");
        }
    }
}
