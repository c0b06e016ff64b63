//! What is stored for a topic: one record holds the messages that a node published together, with
//! their place in the topic.
//!
//! | bytes | |
//! |---|---|
//! | 1 | version, 1 |
//! | 8 | epoch |
//! | 8 | seq of the first message; the others follow without a hole |
//! | 8, 8 | the node that wrote it, and its number for the attempt |
//! | 2 | how many messages, from 1 |
//! | 4 + n | each of them: twice its length, plus 1 if it is JSON, and the payload |
//!
//! Numbers are big-endian. Whatever bytes come, reading them neither panics nor allocates.

use broker_proto::command::{Epoch, Payload, Position};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 1 + 4 * 8 + 2;
const COUNT_AT: usize = HEADER_BYTES - 2;
/// In front of each payload.
const LENGTH_BYTES: usize = 4;

/// Most messages in one record.
pub const MESSAGES_MAX: u16 = 1_024;

/// Who wrote a record: the run of a node, and which of its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Chosen at random when the node started.
    pub node: u64,
    /// Never used twice by the node.
    pub nonce: u64,
}

/// A record as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where its first message stands.
    pub first: Position,
    /// Who wrote it.
    pub origin: Origin,
    /// How many messages it holds, at least one.
    pub count: u16,
    payloads: &'a [u8],
}

/// The bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a later version, or something else altogether.
    #[error("not a record of version 1")]
    Version,
    /// They end too early or too late, or a number in them can't be.
    #[error("a damaged record")]
    Damaged,
}

/// A record that is being put together: all but its place is known.
#[derive(Debug)]
pub struct Draft {
    bytes: Vec<u8>,
    count: u16,
}

impl<'a> Record<'a> {
    /// Reads a record.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, RecordError> {
        if bytes.first() != Some(&VERSION) {
            return Err(RecordError::Version);
        }
        let (header, payloads) =
            bytes.split_at_checked(HEADER_BYTES).ok_or(RecordError::Damaged)?;
        let [epoch, seq, node, nonce] = [1, 9, 17, 25].map(|at| number(header, at));
        let count = u16::from_be_bytes([header[COUNT_AT], header[COUNT_AT + 1]]);
        let first = Position { epoch: Epoch::new(epoch), seq };
        let record = Self { first, origin: Origin { node, nonce }, count, payloads };
        let is_whole = record.payloads().count() == usize::from(count)
            && record.payloads().bytes_left() == 0
            && (1..=MESSAGES_MAX).contains(&count)
            && (1..u64::MAX - u64::from(count)).contains(&seq);
        if is_whole { Ok(record) } else { Err(RecordError::Damaged) }
    }

    /// The messages, in their order.
    pub fn payloads(&self) -> Payloads<'a> {
        Payloads { rest: self.payloads, left: self.count }
    }

    /// Where its last message stands.
    pub fn last_seq(&self) -> u64 {
        self.first.seq + u64::from(self.count) - 1
    }
}

fn number(header: &[u8], at: usize) -> u64 {
    header[at..at + 8].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Walks over the messages of a record.
#[derive(Clone, Debug)]
pub struct Payloads<'a> {
    rest: &'a [u8],
    left: u16,
}

impl Payloads<'_> {
    /// How much is left behind the last of them.
    fn bytes_left(mut self) -> usize {
        while self.next().is_some() {}
        self.rest.len()
    }
}

impl<'a> Iterator for Payloads<'a> {
    type Item = Payload<'a>;

    fn next(&mut self) -> Option<Payload<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (length, rest) = self.rest.split_first_chunk::<LENGTH_BYTES>()?;
        let length = u32::from_be_bytes(*length);
        let (payload, rest) = rest.split_at_checked((length >> 1) as usize)?;
        self.rest = rest;
        Some(if length & 1 == 1 { Payload::Json(payload) } else { Payload::Opaque(payload) })
    }
}

impl Default for Draft {
    fn default() -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[0] = VERSION;
        Self { bytes, count: 0 }
    }
}

impl Draft {
    /// Bytes that a record of this one payload takes.
    pub fn bytes_for(payload: Payload<'_>) -> usize {
        HEADER_BYTES + LENGTH_BYTES + payload.bytes().len()
    }

    /// Whether a payload may be added to those that are in it, so that it stays within `bytes_max`.
    pub fn has_room_for(&self, payload: Payload<'_>, bytes_max: usize) -> bool {
        let bytes = self.bytes.len() + LENGTH_BYTES + payload.bytes().len();
        self.count < MESSAGES_MAX && bytes <= bytes_max
    }

    /// Adds a message behind the others. It must be shorter than 2 GiB, and there must be
    /// [room](Self::has_room_for) for it.
    pub fn push(&mut self, payload: Payload<'_>) {
        let bytes = payload.bytes();
        debug_assert!(self.count < MESSAGES_MAX && bytes.len() < 1 << 31, "there is room");
        let is_json = u32::from(matches!(payload, Payload::Json(_)));
        let length = (bytes.len() as u32) << 1 | is_json;
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(bytes);
        self.count += 1;
    }

    /// The record as it was placed last.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// How many messages it holds.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The record with this place and writer, as it is stored.
    pub fn place(&mut self, first: Position, origin: Origin) -> &[u8] {
        let numbers = [first.epoch.value(), first.seq, origin.node, origin.nonce];
        for (at, number) in [1, 9, 17, 25].into_iter().zip(numbers) {
            self.bytes[at..at + 8].copy_from_slice(&number.to_be_bytes());
        }
        self.bytes[COUNT_AT..HEADER_BYTES].copy_from_slice(&self.count.to_be_bytes());
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(seq: u64) -> Position {
        Position { epoch: Epoch::new(0x0102_0304_0506_0708), seq }
    }

    const ORIGIN: Origin = Origin { node: 0xAAAA_BBBB, nonce: 3 };

    #[test]
    fn a_record_on_the_wire() {
        let mut draft = Draft::default();
        draft.push(Payload::Json(b"7"));
        draft.push(Payload::Opaque(b"\xFF\0"));
        let bytes = draft.place(first(258), ORIGIN);
        let wire = b"\x01\
            \x01\x02\x03\x04\x05\x06\x07\x08\
            \0\0\0\0\0\0\x01\x02\
            \0\0\0\0\xAA\xAA\xBB\xBB\0\0\0\0\0\0\0\x03\
            \0\x02\
            \0\0\0\x037\
            \0\0\0\x04\xFF\0";
        assert_eq!(bytes, wire);
        let record = Record::decode(bytes).unwrap();
        assert_eq!((record.first, record.origin), (first(258), ORIGIN));
        assert_eq!((record.count, record.last_seq()), (2, 259));
        let payloads: Vec<_> = record.payloads().collect();
        assert_eq!(payloads, [Payload::Json(b"7"), Payload::Opaque(b"\xFF\0")]);
    }

    #[test]
    fn what_is_cut_or_has_more_behind_it_is_no_record() {
        let mut draft = Draft::default();
        draft.push(Payload::Json(b"[1,2]"));
        let whole = draft.place(first(1), ORIGIN).to_vec();
        for length in 1..whole.len() {
            assert_eq!(Record::decode(&whole[..length]), Err(RecordError::Damaged), "{length}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert_eq!(Record::decode(&longer), Err(RecordError::Damaged));
        let later = [&[2], &whole[1..]].concat();
        assert_eq!(Record::decode(&later), Err(RecordError::Version));
        assert_eq!(Record::decode(b""), Err(RecordError::Version));
    }

    #[test]
    fn a_record_without_messages_or_beyond_the_last_seq_is_none() {
        let mut none = Draft::default();
        assert_eq!(Record::decode(none.place(first(1), ORIGIN)), Err(RecordError::Damaged));
        let mut draft = Draft::default();
        draft.push(Payload::Json(b"1"));
        for seq in [0, u64::MAX - 1, u64::MAX] {
            let decoded = Record::decode(draft.place(first(seq), ORIGIN));
            assert_eq!(decoded, Err(RecordError::Damaged), "{seq}");
        }
    }

    #[test]
    fn a_draft_has_room_until_it_is_full() {
        let mut draft = Draft::default();
        let payload = Payload::Opaque(b"12345678");
        assert!(draft.has_room_for(payload, Draft::bytes_for(payload)));
        assert!(!draft.has_room_for(payload, Draft::bytes_for(payload) - 1));
        for _ in 0..MESSAGES_MAX {
            assert!(draft.has_room_for(payload, usize::MAX));
            draft.push(payload);
        }
        assert!(!draft.has_room_for(payload, usize::MAX));
        assert!(Record::decode(draft.place(first(1), ORIGIN)).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            payloads in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 1..20),
            seq in 1..u64::MAX / 2,
            node: u64,
            nonce: u64,
        ) {
            let mut draft = Draft::default();
            let payload = |(is_json, bytes): &(bool, Vec<u8>)| match is_json {
                true => Payload::Json(bytes.clone().leak()),
                false => Payload::Opaque(bytes.clone().leak()),
            };
            let payloads: Vec<_> = payloads.iter().map(payload).collect();
            payloads.iter().for_each(|payload| draft.push(*payload));
            let origin = Origin { node, nonce };
            let record = Record::decode(draft.place(first(seq), origin)).unwrap();
            prop_assert_eq!((record.first, record.origin), (first(seq), origin));
            prop_assert_eq!(record.payloads().collect::<Vec<_>>(), payloads);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            is_of_version: bool,
            count in 0..4_u16,
        ) {
            if is_of_version && bytes.len() >= HEADER_BYTES {
                bytes[0] = VERSION;
                bytes[COUNT_AT..HEADER_BYTES].copy_from_slice(&count.to_be_bytes());
            }
            if let Ok(record) = Record::decode(&bytes) {
                prop_assert_eq!(record.payloads().count(), usize::from(record.count));
            }
        }
    }
}
