//! Fuzzes tokens: see `tokens`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::tokens::tokens(data));
