//! See `tests::fuzz_server::pair`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tests::fuzz_server::pair(input));
