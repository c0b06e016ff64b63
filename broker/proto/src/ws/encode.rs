//! Frames out (RFC 6455 §5.2): whole messages only, never fragmented, lengths in their shortest
//! form. Called by the broker for frames to clients, by the load generator for masked ones.

use super::header::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, RSV1};
use super::{Opcode, mask};

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The header of an unfragmented frame, to be sent right before its payload.
///
/// ```
/// use broker_proto::ws::{FrameHeader, Opcode};
///
/// assert_eq!(FrameHeader::new(Opcode::Binary, 256, None).as_slice(), [0x82, 0x7e, 0x01, 0x00]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FrameHeader {
    bytes: [u8; HEADER_BYTES_MAX],
    length: u8,
}

impl FrameHeader {
    /// The header of a payload of `payload_len` bytes. A client passes the `mask` key it masks the
    /// payload with, fresh and unpredictable for every frame (RFC 6455 §5.3); a server `None`.
    ///
    /// A control frame's payload must be at most 125 bytes.
    #[must_use]
    pub fn new(opcode: Opcode, payload_len: usize, mask: Option<[u8; 4]>) -> Self {
        debug_assert!(!opcode.is_control() || payload_len <= CONTROL_BYTES_MAX);
        let mut bytes = [0; HEADER_BYTES_MAX];
        bytes[0] = FIN | opcode as u8;
        let mut length = Self::length_of(payload_len);
        match length {
            2 => bytes[1] = payload_len as u8,
            4 => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(payload_len as u16).to_be_bytes());
            }
            _ => {
                bytes[1] = 127;
                bytes[2..10].copy_from_slice(&(payload_len as u64).to_be_bytes());
            }
        }
        if let Some(key) = mask {
            bytes[1] |= MASKED;
            bytes[length..length + 4].copy_from_slice(&key);
            length += 4;
        }
        Self { bytes, length: length as u8 }
    }

    /// Bytes of the header of a payload of `payload_len` bytes that is not masked: 2, 4 or 10 (RFC
    /// 6455 §5.2).
    #[inline]
    #[must_use]
    pub const fn length_of(payload_len: usize) -> usize {
        match payload_len {
            0..126 => 2,
            126..=0xFFFF => 4,
            _ => 10,
        }
    }

    /// The same for a payload that is compressed: with RSV1 set (RFC 7692 §6).
    pub(super) fn compressed(mut self) -> Self {
        self.bytes[0] |= RSV1;
        self
    }

    /// The header's 2 to 14 bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Appends a whole unmasked frame, as a server sends it.
///
/// A control frame's payload must be at most 125 bytes.
///
/// ```
/// use broker_proto::ws::{Opcode, encode_frame};
///
/// let mut out = Vec::new();
/// encode_frame(&mut out, Opcode::Text, b"Hello");
/// assert_eq!(out, b"\x81\x05Hello");
/// ```
pub fn encode_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    append(out, &FrameHeader::new(opcode, payload.len(), None), payload);
}

/// Appends a whole frame masked with `key`, as a client sends it.
///
/// A control frame's payload must be at most 125 bytes. The key must be fresh and unpredictable
/// for every frame (RFC 6455 §5.3).
///
/// ```
/// use broker_proto::ws::{Opcode, encode_masked_frame};
///
/// let mut out = Vec::new();
/// encode_masked_frame(&mut out, Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
/// assert_eq!(out, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
/// ```
pub fn encode_masked_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    append(out, &FrameHeader::new(opcode, payload.len(), Some(key)), payload);
    let start = out.len() - payload.len();
    mask::apply(key, 0, &mut out[start..]);
}

fn append(out: &mut Vec<u8>, header: &FrameHeader, payload: &[u8]) {
    let header = header.as_slice();
    out.reserve(header.len() + payload.len());
    out.extend_from_slice(header);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_their_shortest_form_at_every_boundary() {
        let expected: [(usize, &[u8]); 7] = [
            (0, &[0x82, 0]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0x00, 0x7e]),
            (65_535, &[0x82, 126, 0xff, 0xff]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (0xFFFF_FFFF, &[0x82, 127, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
            (0x1_0000_0000, &[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0]),
        ];
        for (length, bytes) in expected {
            assert_eq!(FrameHeader::new(Opcode::Binary, length, None).as_slice(), bytes);
        }
    }

    #[test]
    fn the_longest_header_fills_its_room() {
        let header = FrameHeader::new(Opcode::Text, 65_536, Some([1, 2, 3, 4]));
        assert_eq!(header.as_slice(), [0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn frames_are_appended_after_what_is_there() {
        let mut out = b"before".to_vec();
        encode_frame(&mut out, Opcode::Pong, b"p");
        encode_masked_frame(&mut out, Opcode::Ping, b"p", [0xff; 4]);
        assert_eq!(out, b"before\x8a\x01p\x89\x81\xff\xff\xff\xff\x8f");
    }
}
