//! Every input that the fuzz targets start from, and every one that has ever found a fault, on a stable compiler.

use std::fs;
use std::path::Path;

use tests::fuzz::TARGETS;

#[test]
fn the_corpora_find_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    for (name, target) in TARGETS {
        let mut inputs = 0;
        for entry in fs::read_dir(root.join("corpus").join(name)).expect("a corpus") {
            let path = entry.expect("an entry").path();
            // Told only where it fails.
            println!("{}", path.display());
            target(&fs::read(&path).expect("an input"));
            inputs += 1;
        }
        assert!(inputs > 1, "nothing to try for {name}");
        assert!(root.join("fuzz_targets").join(name).with_extension("rs").exists(), "{name} is not fuzzed");
    }
    let fuzzed = fs::read_dir(root.join("fuzz_targets")).expect("the targets").count();
    assert_eq!(fuzzed, TARGETS.len(), "a target whose corpus is not tried");
}

#[test]
fn inputs_without_sense_find_nothing() {
    for (_, target) in TARGETS {
        for input in [&b""[..], b"\0", b"\xff", b"\xff\xff\xff", &[0xFE; 40], &[0; 40], b"\x02\x03\x04\x05"] {
            target(input);
        }
    }
}
