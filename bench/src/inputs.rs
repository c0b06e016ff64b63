//! Inputs that several benchmarks share: what a live dashboard sends. No measuring here; the
//! benchmarks are in `benches/`.

use broker_proto::ws::{Opcode, encode_masked_frame};

/// A publish of a stock price in `altavoz.v1.json`, 85 bytes.
pub const PUBLISH: &str =
    r#"{"op":"publish","topic":"ticker/ACME","data":{"price":101.5,"size":300,"side":"bid"}}"#;

/// The topic of [`PUBLISH`].
pub const TOPIC: &str = "ticker/ACME";

/// The payload of [`PUBLISH`].
pub const DATA: &[u8] = br#"{"price":101.5,"size":300,"side":"bid"}"#;

/// A mask key with four different bytes.
pub const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Text of `length` bytes, all ASCII.
#[must_use]
pub fn ascii(length: usize) -> Vec<u8> {
    (0..length).map(|i| b' ' + (i % 90) as u8).collect()
}

/// `count` masked text frames of `payload`, as they stand in a receive buffer.
#[must_use]
pub fn client_frames(count: usize, payload: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..count {
        encode_masked_frame(&mut stream, Opcode::Text, payload, KEY);
    }
    stream
}

/// Whether criterion is to measure: under `cargo test` each benchmark runs once, to see that it
/// does, and the large inputs are left out.
#[must_use]
pub fn is_measured() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
