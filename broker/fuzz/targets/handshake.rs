//! Fuzzes heads of requests and responses: see `protocol`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::protocol::handshake(data));
