//! Whole stacks by chance: a few hundred seeds here, as many as one likes by `cargo sim`.

use tests::sim::{self, Coverage};

/// The seeds that run with the other tests.
const SEEDS: std::ops::Range<u64> = 0..400;

#[test]
fn what_is_told_is_true() {
    let mut met = Coverage::default();
    for seed in SEEDS {
        match sim::run(seed) {
            Ok(coverage) => met.add(&coverage),
            Err(violation) => panic!("{violation}"),
        }
    }
    // A simulation that meets nothing shows nothing.
    for what in ["accepted", "refused", "not sent", "unknown, delivered", "unknown, not delivered", "misuse"] {
        assert!(met.count("outcome", what) > 0, "{what} was not met:\n{met}");
    }
    for parameter in ["SIZE", "BODY", "ENVID", "RET", "NOTIFY", "ORCPT", "BY", "MT-PRIORITY"] {
        assert!(met.count("delivered with", parameter) > 0, "nothing came with {parameter}:\n{met}");
    }
}

/// `SEED=7 cargo test -p tests --test sim one_seed -- --nocapture`
#[test]
fn one_seed() {
    let Ok(seed) = std::env::var("SEED") else { return };
    match sim::run(seed.parse().expect("a number")) {
        Ok(coverage) => println!("{coverage}"),
        Err(violation) => panic!("{violation}"),
    }
}
