//! See `tests::fuzz::http_head`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tests::fuzz::http_head(input));
