//! See `tests::fuzz::reply`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tests::fuzz::reply(input));
