//! See `tests::fuzz_dial::dial`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tests::fuzz_dial::dial(input));
