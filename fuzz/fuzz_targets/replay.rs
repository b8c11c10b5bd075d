//! See `tests::fuzz_replay`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tests::fuzz_replay::replay(input));
