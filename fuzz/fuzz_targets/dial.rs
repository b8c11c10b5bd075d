//! See `tests::fuzz::dial`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tests::fuzz::dial(input));
