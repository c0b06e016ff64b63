//! Fuzzes topics and filters: see `commands`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::commands::topics(data));
