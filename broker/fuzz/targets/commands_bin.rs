//! Fuzzes commands in binary: see `commands`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::commands::commands_bin(data));
