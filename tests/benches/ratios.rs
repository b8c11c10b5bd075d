//! How what is done compares with what must be done: each pair runs in turns, and what counts is the time of the processor.

mod common;

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use smtp_proto::Grouping;
use smtp_proto::body::{DotStuffing, LineEndings};
use smtp_proto::tls::Acceptor;
use tests::tls::Pki;

use common::{Clock, PIECE, Pouring};

fn timed(run: impl FnOnce()) -> Duration {
    let before = Clock::now();
    run();
    before.elapsed()
}

/// Runs both in turns, and says what the median turn took, and how fast the second was in terms of the first.
fn compare(
    what: &str,
    octets: usize,
    turns: usize,
    mut least: impl FnMut() -> Duration,
    mut ours: impl FnMut() -> Duration,
) {
    if !common::is_wanted(what) {
        return;
    }
    let mut times: Vec<_> = (0..turns).map(|_| (least().as_secs_f64(), ours().as_secs_f64())).collect();
    let mut median = |key: &dyn Fn(&(f64, f64)) -> f64| {
        times.sort_by(|one, other| key(one).total_cmp(&key(other)));
        key(&times[times.len() / 2])
    };
    let rate = |seconds: f64| octets as f64 / seconds / 1e9;
    let (first, second) = (rate(median(&|turn| turn.0)), rate(median(&|turn| turn.1)));
    println!("{what:58} {first:6.2} GB/s {second:6.2} GB/s  ratio {:.2}", median(&|turn| turn.0 / turn.1));
}

/// What one pass and one copy cost, where the next step finds them.
fn parts(turns: usize) {
    let message = common::base64(PIECE);
    let (mut copy, mut output) = (Vec::with_capacity(2 * PIECE), Vec::with_capacity(2 * PIECE));
    let mut stuffing = DotStuffing::new(LineEndings::Canonical);
    compare(
        "copy alone, Canonical stuffing: base64, near",
        message.len() * 1000,
        turns,
        || {
            timed(|| {
                for _ in 0..1000 {
                    copy.clear();
                    copy.extend_from_slice(black_box(&message));
                    black_box(&mut copy);
                }
            })
        },
        || {
            timed(|| {
                for _ in 0..1000 {
                    output.clear();
                    stuffing.write(black_box(&message), &mut output).expect("lines");
                    black_box(&mut output);
                }
            })
        },
    );
}

fn stuffing(turns: usize) {
    let size = common::large() / 4;
    for (name, message) in [("base64", common::base64(size)), ("text, 1% dotted", common::dotted(size))] {
        for endings in [LineEndings::Canonical, LineEndings::Strict] {
            let (mut output, mut stuffing) = (Vec::with_capacity(2 * PIECE), DotStuffing::new(endings));
            let mut copy = Vec::with_capacity(2 * PIECE);
            compare(
                &format!("scan and copy, {endings:?} stuffing: {name}"),
                message.len(),
                turns,
                || {
                    timed(|| {
                        for piece in message.chunks(PIECE) {
                            copy.clear();
                            common::scan_and_copy(black_box(piece), &mut copy);
                            black_box(&mut copy);
                        }
                    })
                },
                || {
                    timed(|| {
                        for piece in message.chunks(PIECE) {
                            output.clear();
                            stuffing.write(black_box(piece), &mut output).expect("lines");
                            black_box(&mut output);
                        }
                    })
                },
            );
        }
    }
}

/// A bare rustls client that has shaken hands, with the same settings and certificate.
fn bare(pki: &Pki) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pki.authority.as_bytes()).expect("a certificate")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut server = pki.server.accept().expect("a server");
    while client.is_handshaking() || server.is_handshaking() {
        let (mut up, mut down, mut plain) = (Vec::new(), Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut up).expect("a vector");
        }
        let mut octets = &up[..];
        server.open(&mut octets, &mut plain, 1).expect("a client");
        server.seal(b"", &mut down).expect("a handshake");
        let mut octets = &down[..];
        while !octets.is_empty() {
            client.read_tls(&mut octets).expect("a slice");
            client.process_new_packets().expect("a server");
        }
    }
    client.set_buffer_limit(None);
    client
}

/// The client's part of a session alone, against rustls sealing the same octets, with what comes out thrown away.
fn sealing(turns: usize) {
    let pki = Pki::new();
    let message = common::base64(common::large());
    let piece = &message[..PIECE];
    let mut bare = bare(&pki);
    let mut alone = |octets: &[u8], count: usize, to: &mut dyn Write| {
        timed(|| {
            for _ in 0..count {
                for piece in black_box(octets).chunks(PIECE) {
                    bare.writer().write_all(piece).expect("no limit");
                    while bare.wants_write() {
                        bare.write_tls(to).expect("a sink");
                    }
                }
            }
        })
    };
    // A message that is in memory as a whole; and one that is read piece by piece to where the one before it was.
    for (what, octets, count) in [("in memory", &message[..], 1), ("read in pieces", piece, message.len() / PIECE)] {
        let size = octets.len() * count;
        for (how, grouping, endings) in [
            ("DATA", Grouping::Groups, LineEndings::Canonical),
            ("BDAT", Grouping::Flights, LineEndings::Canonical),
            ("BDAT, Exact", Grouping::Flights, LineEndings::Exact),
        ] {
            let ours = || Pouring::ready(grouping, endings, &pki).pour(octets, count);
            let title = format!("rustls to nowhere, client by {how}: {what}");
            compare(&title, size, turns, || alone(octets, count, &mut std::io::sink()), ours);
            let mut buffer = Buffer(Vec::new());
            let title = format!("rustls to a buffer, client by {how}: {what}");
            compare(&title, size, turns, || alone(octets, count, &mut buffer), ours);
        }
    }
}

/// What a transport is handed: 64 KiB at a time, in one piece.
struct Buffer(Vec<u8>);

impl Write for Buffer {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        if self.0.len() > PIECE {
            black_box(&mut self.0).clear();
        }
        self.0.write(octets)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn main() {
    let turns = if common::is_timed() { 15 } else { 1 };
    parts(turns);
    stuffing(turns);
    sealing(turns);
}
