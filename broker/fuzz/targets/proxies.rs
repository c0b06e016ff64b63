//! Fuzzes what proxies say of their clients: see `protocol`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::protocol::proxies(data));
