//! Reading frame headers (RFC 6455 §5.2): 2 to 14 bytes, checked in the order in which they come.
//!
//! A header that may be incomplete is refused on the first byte that makes it wrong, never later,
//! so that how the bytes were split can not change which error is reported. Nothing is allocated
//! from a length that was only claimed. Called by the decoder.

use super::{Opcode, ProtocolError, Role};

/// The longest frame header: two bytes, a 64-bit length, a masking key.
pub const HEADER_BYTES_MAX: usize = 14;

/// The longest payload of a control frame (RFC 6455 §5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
/// RSV1, which marks a compressed message where that was agreed on (RFC 7692 §6).
pub(super) const RSV1: u8 = 0x40;
const MASKED: u8 = 0x80;

/// What the next header is held against: our role, and how far the message has come.
pub(super) struct Expected {
    pub(super) role: Role,
    /// Bytes of the fragmented message so far; `None` between messages.
    pub(super) assembled: Option<usize>,
    /// Whether the fragmented message is compressed; `None` where no message may be.
    pub(super) is_compressed: Option<bool>,
    pub(super) message_bytes_max: u32,
}

/// A checked frame header. The payload fits the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    /// The first frame of a compressed message.
    pub(super) is_compressed: bool,
    pub(super) key: Option<[u8; 4]>,
    pub(super) payload_bytes: usize,
}

impl Header {
    /// Reads the header at the front of `bytes`: it and its length in bytes, or `None` if it is
    /// right so far but not complete.
    #[inline]
    pub(super) fn parse(
        bytes: &[u8],
        expected: &Expected,
    ) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let fin = first & FIN != 0;
        let opcode = check_first(first, expected)?;
        let is_compressed = first & RSV1 != 0;

        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let masked = check_second(second, opcode, expected)?;

        let Some((length, length_end)) = parse_length(second, bytes)? else { return Ok(None) };
        let payload_bytes = check_length(length, opcode, is_compressed, expected)?;

        let header = Self { opcode, fin, is_compressed, key: None, payload_bytes };
        if !masked {
            return Ok(Some((header, length_end)));
        }
        let Some(&key) = bytes[length_end..].first_chunk::<4>() else { return Ok(None) };
        Ok(Some((Self { key: Some(key), ..header }, length_end + 4)))
    }

    /// Whether the frame is an event of its own: a control frame, or a message in one frame.
    #[inline]
    pub(super) fn is_standalone(&self) -> bool {
        self.fin && self.opcode != Opcode::Continuation
    }
}

#[inline]
fn check_first(byte: u8, expected: &Expected) -> Result<Opcode, ProtocolError> {
    if byte & RESERVED != 0 && !may_be_compressed(byte, expected) {
        return Err(ProtocolError::ReservedBits((byte & RESERVED) >> 4));
    }
    let Some(opcode) = Opcode::from_first_byte(byte) else {
        return Err(ProtocolError::ReservedOpcode(byte & 0x0F));
    };
    match (opcode.is_control(), opcode, expected.assembled) {
        (true, ..) if byte & FIN == 0 => Err(ProtocolError::FragmentedControl(opcode)),
        (false, Opcode::Continuation, None) => Err(ProtocolError::UnexpectedContinuation),
        (false, Opcode::Text | Opcode::Binary, Some(_)) => {
            Err(ProtocolError::InterruptedMessage(opcode))
        }
        _ => Ok(opcode),
    }
}

/// RFC 7692 §6: RSV1 alone, and only on the first frame of a data message.
#[inline]
fn may_be_compressed(byte: u8, expected: &Expected) -> bool {
    let opcode = Opcode::from_first_byte(byte);
    expected.is_compressed.is_some()
        && byte & RESERVED == RSV1
        && matches!(opcode, Some(Opcode::Text | Opcode::Binary))
}

#[inline]
fn check_second(byte: u8, opcode: Opcode, expected: &Expected) -> Result<bool, ProtocolError> {
    let masked = byte & MASKED != 0;
    match (expected.role, masked) {
        (Role::Server, false) => return Err(ProtocolError::Unmasked),
        (Role::Client, true) => return Err(ProtocolError::Masked),
        _ => {}
    }
    if opcode.is_control() && usize::from(byte & !MASKED) > CONTROL_BYTES_MAX {
        return Err(ProtocolError::ControlTooLong(opcode));
    }
    Ok(masked)
}

/// The payload length, and how many bytes of the header end with it.
#[inline]
fn parse_length(second: u8, bytes: &[u8]) -> Result<Option<(u64, usize)>, ProtocolError> {
    let (length, shortest, end) = match second & !MASKED {
        126 => match bytes[2..].first_chunk() {
            Some(&length) => (u64::from(u16::from_be_bytes(length)), 126, 4),
            None => return Ok(None),
        },
        127 => match bytes[2..].first_chunk() {
            Some(&length) => (u64::from_be_bytes(length), 1 << 16, 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 0, 2),
    };
    if length >> 63 != 0 {
        return Err(ProtocolError::LengthTopBit(length));
    }
    if length < shortest {
        return Err(ProtocolError::NonMinimalLength(length));
    }
    Ok(Some((length, end)))
}

#[inline]
fn check_length(
    length: u64,
    opcode: Opcode,
    is_compressed: bool,
    expected: &Expected,
) -> Result<usize, ProtocolError> {
    let assembled = expected.assembled.unwrap_or(0) as u64;
    // Both are below 2^63, so the sum holds.
    let bytes = assembled + length;
    let bytes_max = expected.message_bytes_max;
    let mut wire_bytes_max = u64::from(bytes_max);
    if is_compressed || expected.is_compressed == Some(true) {
        wire_bytes_max = compressed_bytes_max(bytes_max);
    }
    if bytes > wire_bytes_max && !opcode.is_control() {
        return Err(ProtocolError::MessageTooLong { bytes, bytes_max });
    }
    Ok(length as usize)
}

/// How long a compressed message may be whose content is within the limit: what cannot be
/// compressed grows by an eighth at worst, with the codes that every compressor has at hand.
const fn compressed_bytes_max(message_bytes_max: u32) -> u64 {
    message_bytes_max as u64 + message_bytes_max as u64 / 8 + 64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Expected = Expected {
        role: Role::Server,
        assembled: None,
        is_compressed: None,
        message_bytes_max: u32::MAX,
    };

    #[test]
    fn every_length_form_is_read_and_every_shorter_prefix_asks_for_more() {
        let headers: [(&[u8], usize); 5] = [
            (&[0x82, 0x80, 1, 2, 3, 4], 0),
            (&[0x82, 0xfd, 1, 2, 3, 4], 125),
            (&[0x82, 0xfe, 0x00, 0x7e, 1, 2, 3, 4], 126),
            (&[0x82, 0xfe, 0xff, 0xff, 1, 2, 3, 4], 65_535),
            (&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4], 65_536),
        ];
        for (bytes, payload_bytes) in headers {
            let header = Header {
                opcode: Opcode::Binary,
                fin: true,
                is_compressed: false,
                key: Some([1, 2, 3, 4]),
                payload_bytes,
            };
            assert_eq!(Header::parse(bytes, &SERVER), Ok(Some((header, bytes.len()))));
            for cut in 0..bytes.len() {
                assert_eq!(Header::parse(&bytes[..cut], &SERVER), Ok(None), "cut at {cut}");
            }
        }
    }

    #[test]
    fn the_first_wrong_byte_is_enough() {
        let wrong: [(&[u8], ProtocolError); 4] = [
            (&[0xc1], ProtocolError::ReservedBits(0b100)),
            (&[0x09], ProtocolError::FragmentedControl(Opcode::Ping)),
            (&[0x81, 0x05], ProtocolError::Unmasked),
            (&[0x89, 0xfe], ProtocolError::ControlTooLong(Opcode::Ping)),
        ];
        for (bytes, error) in wrong {
            assert_eq!(Header::parse(bytes, &SERVER), Err(error));
        }
    }

    #[test]
    fn the_limit_counts_what_was_assembled_but_not_control_frames() {
        let expected = Expected {
            role: Role::Client,
            assembled: Some(90),
            is_compressed: None,
            message_bytes_max: 100,
        };
        assert!(Header::parse(&[0x80, 10], &expected).is_ok());
        assert_eq!(
            Header::parse(&[0x80, 11], &expected),
            Err(ProtocolError::MessageTooLong { bytes: 101, bytes_max: 100 })
        );
        assert!(Header::parse(&[0x89, 125], &expected).is_ok());
    }

    #[test]
    fn rsv1_alone_on_the_first_data_frame_marks_a_compressed_message_where_that_was_agreed_on() {
        let agreed = Expected { role: Role::Client, is_compressed: Some(false), ..SERVER };
        for (first, opcode) in [(0xc1, Opcode::Text), (0x42, Opcode::Binary)] {
            let (header, _) = Header::parse(&[first, 0], &agreed).unwrap().unwrap();
            assert_eq!((header.opcode, header.is_compressed), (opcode, true));
        }
        let inside = Expected { assembled: Some(1), is_compressed: Some(true), ..agreed };
        for (first, expected) in [
            (0xc0, &inside), // on a continuation
            (0xc9, &agreed), // on a control frame
            (0xc3, &agreed), // on a reserved opcode
            (0xe1, &agreed), // with RSV2
            (0x91, &agreed), // RSV3
            (0xc1, &SERVER), // not agreed on
        ] {
            let bits = (first & RESERVED) >> 4;
            let refused = Err(ProtocolError::ReservedBits(bits));
            assert_eq!(Header::parse(&[first], expected), refused, "{first:#x}");
        }
    }

    #[test]
    fn what_cannot_be_compressed_may_be_a_little_longer_than_the_limit() {
        let agreed = Expected { is_compressed: Some(false), message_bytes_max: 80, ..SERVER };
        let with =
            |first: u8, length: u8| Header::parse(&[first, 0xfe, 0, length, 1, 2, 3, 4], &agreed);
        assert!(with(0xc2, 80 + 10 + 64).is_ok());
        let error = ProtocolError::MessageTooLong { bytes: 155, bytes_max: 80 };
        assert_eq!(with(0xc2, 155), Err(error));
        let error = ProtocolError::MessageTooLong { bytes: 126, bytes_max: 80 };
        assert_eq!(with(0x82, 126), Err(error));
    }
}
