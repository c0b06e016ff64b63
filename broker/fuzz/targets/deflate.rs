//! Fuzzes compressed messages: see `protocol`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::protocol::deflate(data));
