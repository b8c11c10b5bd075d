//! Dot-stuffing, beside what cannot be done without: a copy, and a scan with a copy.

#![allow(missing_docs, reason = "criterion writes functions without any")]

mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use smtp_proto::body::{DotStuffing, LineEndings, Unstuffing};

fn stuffing(criterion: &mut Criterion) {
    let size = if common::is_timed() { 1024 * 1024 } else { 10_000 };
    let unix = |message: Vec<u8>| message.into_iter().filter(|octet| *octet != b'\r').collect::<Vec<_>>();
    let messages = [
        ("base64", common::base64(size)),
        ("dotted text", common::dotted(size)),
        ("dotted text, bare LF", unix(common::dotted(size))),
    ];
    for (name, message) in &messages {
        let mut group = criterion.benchmark_group(format!("stuffing, {name}"));
        group.throughput(Throughput::Bytes(message.len() as u64));
        let mut output = Vec::with_capacity(2 * common::PIECE);
        let mut each =
            |group: &mut criterion::BenchmarkGroup<'_, _>, what: &str, write: &mut dyn FnMut(&[u8], &mut Vec<u8>)| {
                group.bench_function(what, |bencher| {
                    bencher.iter(|| {
                        for piece in message.chunks(common::PIECE) {
                            output.clear();
                            write(std::hint::black_box(piece), &mut output);
                            std::hint::black_box(&mut output);
                        }
                    });
                });
            };
        each(&mut group, "memcpy", &mut |piece, output| output.extend_from_slice(piece));
        each(&mut group, "scan and copy", &mut common::scan_and_copy);
        for endings in [LineEndings::Canonical, LineEndings::Strict] {
            if endings == LineEndings::Strict && name.ends_with("LF") {
                continue;
            }
            let mut stuffing = DotStuffing::new(endings);
            each(&mut group, &format!("{endings:?}"), &mut |piece, output| {
                stuffing.write(piece, output).expect("lines");
            });
        }
        let mut unstuffing = Unstuffing::new(true);
        each(&mut group, "unstuffing", &mut |mut piece, output| {
            assert_eq!(unstuffing.receive(&mut piece, output), Ok(false));
        });
        group.finish();
    }
}

criterion_group!(benches, stuffing);
criterion_main!(benches);
