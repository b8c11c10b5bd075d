//! See `tests::replay`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tests::replay::replay(input));
