//! The stamp that every published payload carries: who sent it, as which number of its topic, and
//! when it should have been sent. Fixed width at a fixed offset, so that it is read with no
//! parser. Knows no protocol; called by the publishers and by whoever receives.

use faster_hex::hex_decode;
use serde::{Deserialize, Serialize};

/// What identifies one published message and times it.
///
/// ```
/// use loadgen::stamp::{Shape, Stamp};
///
/// let stamp = Stamp { run: 0xc0ffee, publisher: 0, topic: 2, seq: 41, intended_ns: 1_000 };
/// let mut payload = Vec::new();
/// Shape::Json.write(&stamp, 128, &mut payload);
/// assert!(payload.starts_with(br#"{"s":"00c0ffee00000000"#));
/// assert_eq!(payload.len(), 128);
/// assert_eq!(Shape::Json.read(&payload), Some(stamp));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which run sent it, so that messages of another run are not taken for ours.
    pub run: u32,
    /// The publisher's number, from 0.
    pub publisher: u32,
    /// The topic's number, from 0.
    pub topic: u32,
    /// The message's number within its topic, from 1, in the order it was sent.
    pub seq: u64,
    /// When the schedule wanted it sent, in nanoseconds of [`now_ns`](crate::sys::now_ns). A late
    /// send keeps this time.
    pub intended_ns: u64,
}

/// How a stamp lies in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Shape {
    /// A JSON object with one string: `{"s":"` + 56 hexadecimal digits + padding + `"}`.
    Json,
    /// 28 bytes, big-endian, then padding.
    Raw,
}

const JSON_BEFORE: &[u8] = br#"{"s":""#;
const JSON_AFTER: &[u8] = br#""}"#;
const RAW_BYTES: usize = 28;
const PADDING: u8 = b'x';
const DIGITS: &[u8; 16] = b"0123456789abcdef";

impl Shape {
    /// The smallest payload that holds a stamp: 64 bytes as JSON, 28 raw.
    #[must_use]
    pub const fn payload_bytes_min(self) -> usize {
        match self {
            Self::Json => JSON_BEFORE.len() + 2 * RAW_BYTES + JSON_AFTER.len(),
            Self::Raw => RAW_BYTES,
        }
    }

    /// Appends a payload of `payload_bytes`, or of the smallest size if that is more.
    pub fn write(self, stamp: &Stamp, payload_bytes: usize, out: &mut Vec<u8>) {
        let padding = payload_bytes.saturating_sub(self.payload_bytes_min());
        match self {
            Self::Json => {
                stamp.write_json(out);
                out.resize(out.len() + padding, PADDING);
                out.extend_from_slice(JSON_AFTER);
            }
            Self::Raw => {
                out.extend_from_slice(&stamp.to_bytes());
                out.resize(out.len() + padding, PADDING);
            }
        }
    }

    /// Reads the stamp back. None if there is none at its place, or if the end of the payload is
    /// not what [`write`](Self::write) put there.
    #[must_use]
    pub fn read(self, payload: &[u8]) -> Option<Stamp> {
        match self {
            Self::Json => {
                let (stamp, rest) = Stamp::split_json(payload)?;
                is_padding(rest.strip_suffix(JSON_AFTER)?).then_some(stamp)
            }
            Self::Raw => {
                let (raw, padding) = payload.split_first_chunk()?;
                is_padding(padding).then(|| Stamp::from_bytes(raw))
            }
        }
    }
}

impl Stamp {
    /// Appends the begin of a JSON object whose first member is the stamp, up to its last digit.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(JSON_BEFORE);
        for byte in self.to_bytes() {
            out.push(DIGITS[usize::from(byte >> 4)]);
            out.push(DIGITS[usize::from(byte & 15)]);
        }
    }

    /// The stamp in the first member of a JSON object, and what follows its last digit.
    pub(crate) fn split_json(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (digits, rest) = payload.strip_prefix(JSON_BEFORE)?.split_first_chunk()?;
        Some((Self::from_bytes(&unhex(digits)?), rest))
    }

    fn to_bytes(self) -> [u8; RAW_BYTES] {
        let mut raw = [0; RAW_BYTES];
        raw[0..4].copy_from_slice(&self.run.to_be_bytes());
        raw[4..8].copy_from_slice(&self.publisher.to_be_bytes());
        raw[8..12].copy_from_slice(&self.topic.to_be_bytes());
        raw[12..20].copy_from_slice(&self.seq.to_be_bytes());
        raw[20..28].copy_from_slice(&self.intended_ns.to_be_bytes());
        raw
    }

    fn from_bytes(raw: &[u8; RAW_BYTES]) -> Self {
        Self {
            run: u32_at(raw, 0),
            publisher: u32_at(raw, 4),
            topic: u32_at(raw, 8),
            seq: u64::from(u32_at(raw, 12)) << 32 | u64::from(u32_at(raw, 16)),
            intended_ns: u64::from(u32_at(raw, 20)) << 32 | u64::from(u32_at(raw, 24)),
        }
    }
}

fn u32_at(raw: &[u8; RAW_BYTES], at: usize) -> u32 {
    u32::from_be_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]])
}

/// Only the ends are looked at: a payload that was cut, swapped or mixed up shows there, and a
/// large one costs no more than a small one.
fn is_padding(bytes: &[u8]) -> bool {
    let ends = [bytes.first(), bytes.last()];
    ends.into_iter().flatten().all(|&byte| byte == PADDING)
}

fn unhex(digits: &[u8; 2 * RAW_BYTES]) -> Option<[u8; RAW_BYTES]> {
    let mut raw = [0; RAW_BYTES];
    hex_decode(digits, &mut raw).is_ok().then_some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp =
        Stamp { run: 0x0102_0304, publisher: 5, topic: 6, seq: 1 << 40, intended_ns: u64::MAX };

    #[test]
    fn the_json_stamp_is_56_digits_in_the_first_member() {
        let mut payload = Vec::new();
        Shape::Json.write(&STAMP, 67, &mut payload);
        let expected = br#"{"s":"0102030400000005000000060000010000000000ffffffffffffffffxxx"}"#;
        assert_eq!(payload, expected);
        assert!(serde_json::from_slice::<serde_json::Value>(&payload).is_ok());
    }

    #[test]
    fn every_size_from_the_smallest_is_met_exactly_and_read_back() {
        for shape in [Shape::Json, Shape::Raw] {
            for size in shape.payload_bytes_min()..shape.payload_bytes_min() + 9 {
                let mut payload = Vec::new();
                shape.write(&STAMP, size, &mut payload);
                assert_eq!(payload.len(), size);
                assert_eq!(shape.read(&payload), Some(STAMP));
            }
        }
    }

    #[test]
    fn a_payload_that_was_damaged_or_is_not_ours_has_no_stamp() {
        let mut json = Vec::new();
        Shape::Json.write(&STAMP, 80, &mut json);
        assert_eq!(Shape::Json.read(&json[..79]), None);
        let mut wrong_digit = json.clone();
        wrong_digit[10] = b'g';
        assert_eq!(Shape::Json.read(&wrong_digit), None);
        assert_eq!(Shape::Json.read(br#"{"price":101.5}"#), None);
        assert_eq!(Shape::Raw.read(&[0; 27]), None);
        assert_eq!(Shape::Raw.read(&[0; 29]), None);
    }
}
