//! Unsigned LEB128: seven bits a byte, the lowest first, the top bit set on all bytes but the
//! last. Only the shortest form of a number is accepted, so that a number has one encoding.

use super::DecodeError;

/// Appends `number` in 1 to 10 bytes.
pub(super) fn append(out: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Reads the number at the front of `bytes`, and how many bytes it took.
pub(super) fn read(bytes: &[u8]) -> Result<(u64, usize), DecodeError> {
    let mut number = 0_u64;
    for (index, &byte) in bytes.iter().enumerate() {
        let bits = u64::from(byte & 0x7F);
        // The tenth byte has room for one bit, and no byte may come after it.
        if index == 9 && byte > 1 {
            return Err(DecodeError::BadVarint);
        }
        number |= bits << (7 * index);
        if byte & 0x80 == 0 {
            let is_minimal = index == 0 || byte != 0;
            return if is_minimal { Ok((number, index + 1)) } else { Err(DecodeError::BadVarint) };
        }
    }
    Err(DecodeError::Truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_the_edges_of_each_length_read_back() {
        for bits in 0..64 {
            for number in [1_u64 << bits, (1 << bits) - 1, u64::MAX >> bits] {
                let mut bytes = Vec::new();
                append(&mut bytes, number);
                assert_eq!(read(&bytes), Ok((number, bytes.len())), "{number}");
                let all_but_last = &bytes[..bytes.len() - 1];
                assert_eq!(read(all_but_last), Err(DecodeError::Truncated), "{number}");
            }
        }
    }

    #[test]
    fn longer_forms_than_needed_are_refused() {
        for bytes in [&[0x80, 0x00][..], &[0xFF, 0x80, 0x00], &[0x81, 0x80, 0x80, 0x00]] {
            assert_eq!(read(bytes), Err(DecodeError::BadVarint), "{bytes:?}");
        }
    }

    #[test]
    fn numbers_above_64_bits_are_refused() {
        let mut bytes = [0xFF; 10];
        bytes[9] = 0x01;
        assert_eq!(read(&bytes), Ok((u64::MAX, 10)));
        bytes[9] = 0x02;
        assert_eq!(read(&bytes), Err(DecodeError::BadVarint));
        assert_eq!(read(&[0xFF; 11]), Err(DecodeError::BadVarint));
    }
}
