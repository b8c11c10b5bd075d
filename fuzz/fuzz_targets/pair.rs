//! See `tests::fuzz::pair`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tests::fuzz::pair(input));
