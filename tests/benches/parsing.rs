//! Replies, and the answer to EHLO.

#![allow(missing_docs, reason = "criterion writes functions without any")]

mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use smtp_proto::extension::Extensions;
use smtp_proto::reply::ReplyReader;

const OFFER: &[u8] = b"250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-VRFY\r\n250-ETRN\r\n\
    250-STARTTLS\r\n250-AUTH PLAIN LOGIN\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n\
    250 CHUNKING\r\n";

fn parsing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parsing");
    let mut reader = ReplyReader::default();
    let mut read = |mut wire: &[u8]| {
        let mut last = None;
        while let Some(reply) = reader.receive(&mut wire).expect("replies") {
            last = Some(reply);
        }
        last
    };
    let line = b"250 2.0.0 Ok: queued as 4ZxYvU1q2Wz9sBn\r\n";
    group.throughput(Throughput::Bytes(line.len() as u64));
    group.bench_function("a reply", |bencher| bencher.iter(|| read(std::hint::black_box(line))));
    group.throughput(Throughput::Bytes(OFFER.len() as u64));
    group.bench_function("an answer to EHLO", |bencher| bencher.iter(|| read(std::hint::black_box(OFFER))));
    let reply = read(OFFER).expect("a reply");
    group.bench_function("its extensions", |bencher| bencher.iter(|| Extensions::from_reply(&reply)));
    let long = [b"214-a line of help\r\n".repeat(500), b"214 end\r\n".to_vec()].concat();
    group.throughput(Throughput::Bytes(long.len() as u64));
    group.bench_function("a reply of 501 lines", |bencher| bencher.iter(|| read(std::hint::black_box(&long))));
    group.finish();
}

criterion_group!(benches, parsing);
criterion_main!(benches);
