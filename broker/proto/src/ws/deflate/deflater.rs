//! Compressing messages (RFC 7692 §7.2.1), and the frames they travel in.
//!
//! Whether a message is worth it is decided by the caller: short ones grow. Called by the broker's
//! workers for frames to clients, by the load generator for masked ones.

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

use super::super::header::HEADER_BYTES_MAX;
use super::super::{FrameHeader, Opcode, mask};
use super::{TAIL, Terms, Volume};

/// The level between speed and size that zlib has as its default.
pub const LEVEL_DEFAULT: u8 = 6;

/// The smallest window that zlib makes without a header, as a power of two.
const ZLIB_WINDOW_BITS_MIN: u8 = 9;

/// How the output grows in the rare case that the first estimate was too small, in bytes.
const GROWTH_BYTES: usize = 1024;

/// Compresses messages one after the other. Takes 380 KB with the largest window, 250 KB with the
/// smallest; where no context is taken over, one is enough for any number of connections.
pub struct Deflater {
    zlib: Deflate,
    keeps_context: bool,
    volume: Volume,
}

impl Deflater {
    /// For an end that compresses on these terms, at a level from 1 (quick) to 9 (small); higher
    /// ones count as 9, and 0 stores.
    ///
    /// zlib has no window of 8 bits. In one of 9 it refers at most 250 bytes back, which is as
    /// good.
    #[must_use]
    pub fn new(terms: Terms, level: u8) -> Self {
        let window_bits = terms.window_bits().value().max(ZLIB_WINDOW_BITS_MIN);
        let config = DeflateConfig {
            level: i32::from(level.min(9)),
            // Negative: raw, without zlib's header and checksum.
            window_bits: -i32::from(window_bits),
            ..DeflateConfig::default()
        };
        let zlib = Deflate::new_with_config(config);
        Self { zlib, keeps_context: !terms.no_context_takeover, volume: Volume::default() }
    }

    /// What was compressed so far.
    #[must_use]
    pub fn volume(&self) -> Volume {
        self.volume
    }

    /// Appends `message` compressed, without the four bytes that every message ends with. An empty
    /// one takes one byte (§7.2.3.6).
    pub fn deflate(&mut self, message: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        match message.is_empty() {
            // zlib flushes nothing twice; this is an empty block up to its tail.
            true => out.push(0),
            false => self.flush(message, out),
        }
        self.volume.message_bytes += message.len() as u64;
        self.volume.wire_bytes += (out.len() - start) as u64;
    }

    fn flush(&mut self, message: &[u8], out: &mut Vec<u8>) {
        if !self.keeps_context {
            self.zlib.reset();
        }
        let (mut at, mut end) = (0, out.len());
        out.resize(end + message.len() + message.len() / 8 + 64, 0);
        loop {
            let (read, written) = (self.zlib.total_in(), self.zlib.total_out());
            self.zlib
                .compress(&message[at..], &mut out[end..], DeflateFlush::SyncFlush)
                .expect("a stream that is never finished can always go on");
            at += (self.zlib.total_in() - read) as usize;
            end += (self.zlib.total_out() - written) as usize;
            if at == message.len() && end < out.len() {
                break;
            }
            out.resize(out.len() + GROWTH_BYTES, 0);
        }
        debug_assert!(out[..end].ends_with(&TAIL));
        out.truncate(end - TAIL.len());
    }
}

/// Appends a whole unmasked frame with the message compressed, as a server sends it. Only for text
/// and binary messages.
///
/// ```
/// use broker_proto::ws::Opcode;
/// use broker_proto::ws::deflate::{Deflater, LEVEL_DEFAULT, Terms, encode_deflated_frame};
///
/// let mut deflater = Deflater::new(Terms::default(), LEVEL_DEFAULT);
/// let mut out = Vec::new();
/// encode_deflated_frame(&mut out, Opcode::Text, b"Hello", &mut deflater);
/// // RFC 7692 §7.2.3.1.
/// assert_eq!(out, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
/// ```
pub fn encode_deflated_frame(
    out: &mut Vec<u8>,
    opcode: Opcode,
    message: &[u8],
    deflater: &mut Deflater,
) {
    append(out, opcode, message, None, deflater);
}

/// Appends a whole frame with the message compressed and then masked with `key`, as a client sends
/// it. Only for text and binary messages.
pub fn encode_masked_deflated_frame(
    out: &mut Vec<u8>,
    opcode: Opcode,
    message: &[u8],
    key: [u8; 4],
    deflater: &mut Deflater,
) {
    let start = append(out, opcode, message, Some(key), deflater);
    mask::apply(key, 0, &mut out[start..]);
}

/// Returns where the payload begins. It is compressed behind room for the longest header and moved
/// up to its own, since the header tells the length.
fn append(
    out: &mut Vec<u8>,
    opcode: Opcode,
    message: &[u8],
    key: Option<[u8; 4]>,
    deflater: &mut Deflater,
) -> usize {
    debug_assert!(!opcode.is_control(), "a control frame is never compressed");
    let start = out.len();
    let payload = start + HEADER_BYTES_MAX;
    out.resize(payload, 0);
    deflater.deflate(message, out);
    let payload_bytes = out.len() - payload;
    let header = FrameHeader::new(opcode, payload_bytes, key).compressed();
    let header = header.as_slice();
    let begin = start + header.len();
    out[start..begin].copy_from_slice(header);
    out.copy_within(payload.., begin);
    out.truncate(begin + payload_bytes);
    begin
}
