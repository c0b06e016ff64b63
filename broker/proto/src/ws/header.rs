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
const MASKED: u8 = 0x80;

/// What the next header is held against: our role, and how far the message has come.
pub(super) struct Expected {
    pub(super) role: Role,
    /// Bytes of the fragmented message so far; `None` between messages.
    pub(super) assembled: Option<usize>,
    pub(super) message_bytes_max: u32,
}

/// A checked frame header. The payload fits the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
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

        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let masked = check_second(second, opcode, expected)?;

        let Some((length, length_end)) = parse_length(second, bytes)? else { return Ok(None) };
        let payload_bytes = check_length(length, opcode, expected)?;

        if !masked {
            return Ok(Some((Self { opcode, fin, key: None, payload_bytes }, length_end)));
        }
        let Some(&key) = bytes[length_end..].first_chunk::<4>() else { return Ok(None) };
        Ok(Some((Self { opcode, fin, key: Some(key), payload_bytes }, length_end + 4)))
    }

    /// Whether the frame is an event of its own: a control frame, or a message in one frame.
    #[inline]
    pub(super) fn is_standalone(&self) -> bool {
        self.fin && self.opcode != Opcode::Continuation
    }
}

#[inline]
fn check_first(byte: u8, expected: &Expected) -> Result<Opcode, ProtocolError> {
    if byte & RESERVED != 0 {
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
fn check_length(length: u64, opcode: Opcode, expected: &Expected) -> Result<usize, ProtocolError> {
    let assembled = expected.assembled.unwrap_or(0) as u64;
    // Both are below 2^63, so the sum holds.
    let bytes = assembled + length;
    let bytes_max = expected.message_bytes_max;
    if bytes > u64::from(bytes_max) && !opcode.is_control() {
        return Err(ProtocolError::MessageTooLong { bytes, bytes_max });
    }
    Ok(length as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Expected =
        Expected { role: Role::Server, assembled: None, message_bytes_max: u32::MAX };

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
        let expected = Expected { role: Role::Client, assembled: Some(90), message_bytes_max: 100 };
        assert!(Header::parse(&[0x80, 10], &expected).is_ok());
        assert_eq!(
            Header::parse(&[0x80, 11], &expected),
            Err(ProtocolError::MessageTooLong { bytes: 101, bytes_max: 100 })
        );
        assert!(Header::parse(&[0x89, 125], &expected).is_ok());
    }
}
