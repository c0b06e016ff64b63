//! The key and the answer that proves the other side read it (RFC 6455 §1.3, §4.2.2). No secret and
//! no security: it only tells a WebSocket peer from something else. Called by both sides.

use base64::Engine as _;
use base64::alphabet::STANDARD as STANDARD_ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest as _, Sha1};

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes of a key, and of its text.
pub(super) const KEY_BYTES: usize = 16;
pub(super) const KEY_TEXT_BYTES: usize = 24;

/// Padding must be there, but the four unused bits of the last character may be anything: the
/// example in RFC 6455 §4.1 (`AQIDBAUGBwgJCgsMDQ4PEC==`) has them set.
const KEY_DECODER: GeneralPurpose = GeneralPurpose::new(
    &STANDARD_ALPHABET,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`, as ASCII.
///
/// ```
/// let accept = broker_proto::handshake::accept_key("dGhlIHNhbXBsZSBub25jZQ==");
/// assert_eq!(&accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &str) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key.as_bytes()).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    STANDARD.encode_slice(digest, &mut accept).expect("20 bytes are 28 characters of base64");
    accept
}

/// Whether `text` is the base64 of 16 bytes.
pub(super) fn is_key(text: &str) -> bool {
    // The decoder wants room for the estimate, which is rounded up to whole groups.
    let mut bytes = [0; KEY_TEXT_BYTES];
    KEY_DECODER.decode_slice(text, &mut bytes) == Ok(KEY_BYTES)
}

/// The text of a key.
pub(super) fn encode_key(key: [u8; KEY_BYTES]) -> [u8; KEY_TEXT_BYTES] {
    let mut text = [0; KEY_TEXT_BYTES];
    STANDARD.encode_slice(key, &mut text).expect("16 bytes are 24 characters of base64");
    text
}
