//! Fuzzes streams of frames, however they are split: see `protocol`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::protocol::frames(data));
