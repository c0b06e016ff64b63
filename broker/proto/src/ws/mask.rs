//! Masking and unmasking, which are the same (RFC 6455 §5.3): XOR with a four-byte key, repeated.
//!
//! Written over fixed blocks so that the compiler turns it into vector code. Called by the decoder
//! on every payload that came masked, and by the encoder of client frames.

/// One turn of the wide loop: a cache line, which is two to four vector registers.
const BLOCK_BYTES: usize = 64;
const WORD_BYTES: usize = size_of::<u64>();

/// Masks or unmasks `bytes` in place.
///
/// `phase` is the offset of `bytes[0]` within the frame's payload, so that a payload can be worked
/// on in pieces of any length; only its remainder by four counts.
///
/// ```
/// use broker_proto::ws::mask;
///
/// // RFC 6455 §5.7: "Hello" as a masked text frame.
/// let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
/// mask::apply([0x37, 0xfa, 0x21, 0x3d], 0, &mut payload[..3]);
/// mask::apply([0x37, 0xfa, 0x21, 0x3d], 3, &mut payload[3..]);
/// assert_eq!(&payload, b"Hello");
/// ```
pub fn apply(key: [u8; 4], phase: usize, bytes: &mut [u8]) {
    let mut key = key;
    key.rotate_left(phase % 4);
    let word = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);

    let (blocks, rest) = bytes.as_chunks_mut::<BLOCK_BYTES>();
    for block in blocks {
        apply_words(word, block.as_chunks_mut().0);
    }
    let (words, rest) = rest.as_chunks_mut();
    apply_words(word, words);
    for (byte, key) in rest.iter_mut().zip(word.to_ne_bytes()) {
        *byte ^= key;
    }
}

#[inline(always)]
fn apply_words(key: u64, words: &mut [[u8; WORD_BYTES]]) {
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// RFC 6455 §5.3 as it is written: `transformed[i] = original[i] XOR key[i MOD 4]`.
    fn apply_bytewise(key: [u8; 4], phase: usize, bytes: &mut [u8]) {
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte ^= key[(phase + i) % 4];
        }
    }

    #[test]
    fn equals_the_bytewise_definition_at_every_length_alignment_and_phase() {
        let source: Vec<u8> = (0..400_u32).map(|i| (i * 131 + i / 7) as u8).collect();
        for length in 0..=300 {
            for alignment in 0..32 {
                for phase in 0..4 {
                    let mut fast = source.clone();
                    let mut slow = source.clone();
                    apply(KEY, phase, &mut fast[alignment..alignment + length]);
                    apply_bytewise(KEY, phase, &mut slow[alignment..alignment + length]);
                    assert_eq!(fast, slow, "length {length} alignment {alignment} phase {phase}");
                }
            }
        }
    }

    #[test]
    fn a_payload_in_pieces_equals_the_payload_at_once() {
        let source: Vec<u8> = (0..=255).collect();
        let mut whole = source.clone();
        apply(KEY, 0, &mut whole);
        for cut in 0..=source.len() {
            let mut pieces = source.clone();
            apply(KEY, 0, &mut pieces[..cut]);
            apply(KEY, cut, &mut pieces[cut..]);
            assert_eq!(pieces, whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_large_phase_counts_by_its_remainder() {
        let mut far = *b"payload";
        let mut near = *b"payload";
        apply(KEY, usize::MAX, &mut far);
        apply(KEY, 3, &mut near);
        assert_eq!(far, near);
    }
}
