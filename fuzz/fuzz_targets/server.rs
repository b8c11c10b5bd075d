//! See `tests::fuzz_server::server`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tests::fuzz_server::server(input));
