//! Messages through both machines in memory: many small ones, and a large one.

#![allow(missing_docs, reason = "criterion writes functions without any")]

mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use smtp_proto::Grouping;
use tests::tls::Pki;

use common::Pair;

fn sessions(criterion: &mut Criterion) {
    let pki = Pki::new();
    let (many, large) = (if common::is_timed() { 10_000 } else { 20 }, common::large());
    for (what, count, size) in [("messages of 2 KiB", many, 2048), ("message of 64 MiB", 1, large)] {
        let mut group = criterion.benchmark_group(format!("{count} {what}, client and server"));
        group.sample_size(10);
        let message = common::base64(size);
        group.throughput(Throughput::Bytes((count * message.len()) as u64));
        for (grouping, how) in [(Grouping::Groups, "DATA"), (Grouping::Flights, "BDAT")] {
            for (security, pki) in [("clear", None), ("TLS", Some(&pki))] {
                let mut pair = Pair::ready(grouping, pki);
                group.bench_function(format!("{how}, {security}"), |bencher| {
                    bencher.iter(|| {
                        let mut left = count;
                        while left > 0 {
                            // A hundred at once, as a queue would hand them over.
                            let batch = left.min(100);
                            pair.send(&message, batch);
                            left -= batch;
                        }
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, sessions);
criterion_main!(benches);
