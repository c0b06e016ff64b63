//! What stands in a segment, as functions of bytes: records, and the frames that hold them. A frame
//! is what one write puts on disk: all of its records are there after a crash, or none.
//!
//! ```text
//! segment  header header frame frame …
//! header   "ALTAVOZ\x01" · nonce u64 · crc u32          twice: one bad sector is survived
//! frame    "AVZf" · length u32 · crc u32 · crc u32 · records
//! record   kind u8 · what it says                       numbers are little-endian
//! ```
//!
//! Both sums of a frame begin with the segment's nonce and the frame's place: bytes of an earlier
//! life of the disk, or a payload that looks like a frame, are none. Reads and writes no files.

use broker_proto::command::{Level, Payload};

/// Bytes at the beginning of a segment.
pub(super) const HEADERS_BYTES: u64 = 2 * HEADER_BYTES as u64;
/// Bytes of a frame before its records.
pub(super) const FRAME_HEAD_BYTES: usize = 16;
/// What a frame begins with.
pub(super) const FRAME_MAGIC: [u8; 4] = *b"AVZf";

/// With the version of all that follows as its last byte.
const HEADER_MAGIC: [u8; 8] = *b"ALTAVOZ\x01";
const HEADER_BYTES: usize = 20;

const TOPIC: u8 = 1;
const MESSAGE: u8 = 2;
const FORGOTTEN: u8 = 3;
const CLEAN: u8 = 4;

/// One entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// What is known of a topic from here on.
    Topic(TopicRecord<'a>),
    /// A message of a topic that a record before this one names.
    Message(MessageRecord<'a>),
    /// Nothing of this topic is kept any more.
    Forgotten {
        /// Its number in the store.
        id: u64,
    },
    /// The broker stopped in order: behind this nothing was seen that is not here.
    Clean,
}

/// A topic's name, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TopicRecord<'a> {
    /// Its number in the store: the value of its first epoch, which no other topic has.
    pub(super) id: u64,
    pub(super) epoch: u64,
    /// That of its newest message, which may stand elsewhere in the log.
    pub(super) seq: u64,
    pub(super) level: Level,
    pub(super) name: &'a str,
}

/// A message, with the number of its topic in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageRecord<'a> {
    pub(super) id: u64,
    pub(super) seq: u64,
    pub(super) at_unix_ms: u64,
    pub(super) payload: Payload<'a>,
}

/// A frame that is being filled.
#[derive(Debug)]
pub(super) struct Frame {
    bytes: Vec<u8>,
}

impl Frame {
    /// Without records.
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; FRAME_HEAD_BYTES] }
    }

    /// Puts a record last.
    pub(super) fn add(&mut self, record: &Record<'_>) {
        let out = &mut self.bytes;
        match record {
            Record::Topic(topic) => {
                out.push(TOPIC);
                put(out, &[topic.id, topic.epoch, topic.seq]);
                // A name has 255 bytes at most.
                out.extend([topic.level.code(), topic.name.len() as u8]);
                out.extend_from_slice(topic.name.as_bytes());
            }
            Record::Message(message) => {
                let (is_json, bytes) = match message.payload {
                    Payload::Json(bytes) => (1, bytes),
                    Payload::Opaque(bytes) => (0, bytes),
                };
                out.push(MESSAGE);
                put(out, &[message.id, message.seq, message.at_unix_ms]);
                out.push(is_json);
                // What fits a WebSocket message here is at most a GiB.
                out.extend((bytes.len() as u32).to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Record::Forgotten { id } => {
                out.push(FORGOTTEN);
                put(out, &[*id]);
            }
            Record::Clean => out.push(CLEAN),
        }
    }

    /// Whether it has no records.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == FRAME_HEAD_BYTES
    }

    /// Bytes that it takes on disk.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Writes the head for this place; what is to be written there.
    pub(super) fn seal(&mut self, nonce: u64, offset: u64) -> &[u8] {
        let (head, body) = self.bytes.split_at_mut(FRAME_HEAD_BYTES);
        let length = (body.len() as u32).to_le_bytes();
        head[..4].copy_from_slice(&FRAME_MAGIC);
        head[4..8].copy_from_slice(&length);
        head[8..12].copy_from_slice(&sum(nonce, offset, &length).to_le_bytes());
        head[12..].copy_from_slice(&sum(nonce, offset, body).to_le_bytes());
        &self.bytes
    }

    /// Takes all records out. What a burst needed is given back.
    pub(super) fn clear(&mut self) {
        self.bytes.truncate(FRAME_HEAD_BYTES);
        self.bytes.shrink_to(1024 * 1024);
    }
}

/// The head of a frame that was found at a place: how long its records are, and their sum.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameHead {
    pub(super) length: usize,
    sum: u32,
}

impl FrameHead {
    /// Reads it; `None` if it is none, or one of another place.
    pub(super) fn parse(head: &[u8; FRAME_HEAD_BYTES], nonce: u64, offset: u64) -> Option<Self> {
        let number =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let is_sound = head[..4] == FRAME_MAGIC && sum(nonce, offset, &head[4..8]) == number(8);
        is_sound.then(|| Self { length: number(4) as usize, sum: number(12) })
    }

    /// Whether these are the records that were written.
    pub(super) fn fits(&self, body: &[u8], nonce: u64, offset: u64) -> bool {
        body.len() == self.length && sum(nonce, offset, body) == self.sum
    }
}

/// What a segment begins with.
pub(super) fn headers(nonce: u64) -> Vec<u8> {
    let mut header = HEADER_MAGIC.to_vec();
    put(&mut header, &[nonce]);
    let sum = crc32fast::hash(&header);
    header.extend(sum.to_le_bytes());
    header.repeat(2)
}

/// The nonce of a segment that begins with these bytes, if one of its headers is whole.
pub(super) fn nonce(headers: &[u8]) -> Option<u64> {
    headers.chunks_exact(HEADER_BYTES).find_map(|header| {
        let (said, sum) = header.split_at(HEADER_BYTES - 4);
        let is_sound =
            said.starts_with(&HEADER_MAGIC) && crc32fast::hash(said).to_le_bytes() == sum;
        is_sound.then(|| Fields(&said[HEADER_MAGIC.len()..]).number()).flatten()
    })
}

/// Whether another version of the broker has written these headers.
pub(super) fn is_of_another_version(headers: &[u8]) -> bool {
    let version = HEADER_MAGIC.len() - 1;
    headers.starts_with(&HEADER_MAGIC[..version]) && !headers.starts_with(&HEADER_MAGIC)
}

/// The records of a frame with where the payloads begin in it, until one is not understood.
pub(super) fn records(body: &[u8]) -> impl Iterator<Item = (Record<'_>, usize)> {
    let mut fields = Fields(body);
    std::iter::from_fn(move || {
        let record = fields.record()?;
        let payload = match record {
            Record::Message(message) => message.payload.bytes().len(),
            _ => 0,
        };
        Some((record, body.len() - fields.0.len() - payload))
    })
}

fn put(out: &mut Vec<u8>, numbers: &[u64]) {
    numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
}

fn sum(nonce: u64, offset: u64, bytes: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&nonce.to_le_bytes());
    sum.update(&offset.to_le_bytes());
    sum.update(bytes);
    sum.finalize()
}

/// Bytes that are read field by field; each method is `None` if they end too early.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn record(&mut self) -> Option<Record<'a>> {
        Some(match self.byte()? {
            TOPIC => {
                let (id, epoch, seq) = (self.number()?, self.number()?, self.number()?);
                let level = Level::from_code(self.byte()?)?;
                let length = self.byte()?.into();
                let name = str::from_utf8(self.bytes(length)?).ok()?;
                Record::Topic(TopicRecord { id, epoch, seq, level, name })
            }
            MESSAGE => {
                let (id, seq, at_unix_ms) = (self.number()?, self.number()?, self.number()?);
                let is_json = self.byte()? == 1;
                let length = u32::from_le_bytes(self.bytes(4)?.try_into().ok()?);
                let bytes = self.bytes(length as usize)?;
                let payload = if is_json { Payload::Json(bytes) } else { Payload::Opaque(bytes) };
                Record::Message(MessageRecord { id, seq, at_unix_ms, payload })
            }
            FORGOTTEN => Record::Forgotten { id: self.number()? },
            CLEAN => Record::Clean,
            _ => return None,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_gives_back_what_was_put_in_at_its_own_place_only() {
        let topic = TopicRecord { id: 7, epoch: 9, seq: 3, level: Level::Durable, name: "a/ü" };
        let payload = Payload::Opaque(b"AVZf\x00");
        let message = MessageRecord { id: 7, seq: 4, at_unix_ms: 5, payload };
        let json = MessageRecord { seq: 5, payload: Payload::Json(b"{}"), ..message };
        let written = [
            Record::Topic(topic),
            Record::Message(message),
            Record::Message(json),
            Record::Forgotten { id: 7 },
            Record::Clean,
        ];
        let mut frame = Frame::new();
        assert!(frame.is_empty());
        written.iter().for_each(|record| frame.add(record));
        let bytes = frame.seal(1, 2).to_vec();
        let (head, body) = bytes.split_at(FRAME_HEAD_BYTES);
        let head: &[u8; FRAME_HEAD_BYTES] = head.try_into().unwrap();
        let parsed = FrameHead::parse(head, 1, 2).unwrap();
        assert!(parsed.fits(body, 1, 2));
        assert!(FrameHead::parse(head, 1, 3).is_none(), "another place");
        assert!(FrameHead::parse(head, 2, 2).is_none(), "another segment");
        let read: Vec<_> = records(body).collect();
        assert!(read.iter().map(|(record, _)| record).eq(&written));
        let at = read[1].1;
        assert_eq!(&body[at..at + 5], b"AVZf\x00");
    }

    #[test]
    fn no_single_flipped_bit_goes_unseen() {
        let mut frame = Frame::new();
        frame.add(&Record::Forgotten { id: 1 });
        let whole = frame.seal(5, 40).to_vec();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (head, body) = bytes.split_at(FRAME_HEAD_BYTES);
            let head = FrameHead::parse(head.try_into().unwrap(), 5, 40);
            assert!(!head.is_some_and(|head| head.fits(body, 5, 40)), "bit {bit}");
        }
    }

    #[test]
    fn one_header_of_two_is_enough_and_other_versions_are_known() {
        let mut bytes = headers(77);
        assert_eq!(bytes.len() as u64, HEADERS_BYTES);
        bytes[3] ^= 1;
        assert_eq!(nonce(&bytes), Some(77));
        bytes[30] ^= 1;
        assert_eq!(nonce(&bytes), None);
        let mut newer = headers(77);
        newer[7] += 1;
        assert!(is_of_another_version(&newer) && !is_of_another_version(&headers(77)));
    }

    #[test]
    fn what_ends_too_early_or_is_unknown_ends_the_records() {
        let mut frame = Frame::new();
        frame.add(&Record::Clean);
        frame.add(&Record::Forgotten { id: 1 });
        let body = &frame.seal(0, 0)[FRAME_HEAD_BYTES..];
        assert_eq!(records(&body[..body.len() - 1]).count(), 1);
        assert_eq!(records(&[9, 4]).count(), 0);
    }
}
