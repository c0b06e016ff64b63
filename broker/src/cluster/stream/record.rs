//! What is stored for a topic: one record holds the messages that a node published together, with
//! their place in the topic.
//!
//! | bytes | |
//! |---|---|
//! | 1 | version: 1, or 2 if a message has an identity |
//! | 8 | epoch |
//! | 8 | seq of the first message; the others follow without a hole |
//! | 8, 8 | the node that wrote it, and its number for the attempt |
//! | 2 | how many messages, from 1 |
//! | 4 (+ 28) + n | each of them: twice its length, plus 1 if it is JSON, plus 2³¹ if it has an identity; the identity; the payload |
//!
//! An [`Identity`] is 16 bytes of id, 8 of the request and 4 of milliseconds. Numbers are big-endian. Whatever bytes come, reading them neither panics nor allocates.

use broker_proto::command::{Epoch, Payload, Position};

/// Without identities, as a broker writes it that knows none.
const PLAIN: u8 = 1;
/// With identities.
const NAMED: u8 = 2;
const HEADER_BYTES: usize = 1 + 4 * 8 + 2;
const COUNT_AT: usize = HEADER_BYTES - 2;
/// In front of each payload.
const LENGTH_BYTES: usize = 4;
/// Of a length: an identity follows.
const HAS_IDENTITY: u32 = 1 << 31;
const IDENTITY_BYTES: usize = 16 + 8 + 4;

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

/// What a message is known by when its publish comes again, on whichever node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// A digest of who published it, and of what he calls it.
    pub id: [u8; 16],
    /// A digest of the request that it came with, which a retry must have too; 0 if any will do.
    pub request: u64,
    /// How long a retry is recognized, in milliseconds, at most [`KEPT_MS_MAX`].
    pub kept_ms: u32,
}

/// Longest that a retry is recognized, in milliseconds; what a record says beyond is not believed.
pub const KEPT_MS_MAX: u32 = 3_600_000;

/// One message of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What was published.
    pub payload: Payload<'a>,
    /// What a retry of it is known by, if its publisher wants that.
    pub identity: Option<Identity>,
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
    /// Some may have an identity.
    is_named: bool,
    messages: &'a [u8],
}

/// The bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a later version, or something else altogether.
    #[error("not a record of version 1 or 2")]
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
        let is_named = match bytes.first() {
            Some(&PLAIN) => false,
            Some(&NAMED) => true,
            _ => return Err(RecordError::Version),
        };
        let (header, messages) =
            bytes.split_at_checked(HEADER_BYTES).ok_or(RecordError::Damaged)?;
        let [epoch, seq, node, nonce] = [1, 9, 17, 25].map(|at| number(header, at));
        let count = u16::from_be_bytes([header[COUNT_AT], header[COUNT_AT + 1]]);
        let first = Position { epoch: Epoch::new(epoch), seq };
        let origin = Origin { node, nonce };
        let record = Self { first, origin, count, is_named, messages };
        let is_whole = record.messages().count() == usize::from(count)
            && record.messages().bytes_left() == 0
            && (1..=MESSAGES_MAX).contains(&count)
            && (1..u64::MAX - u64::from(count)).contains(&seq);
        if is_whole { Ok(record) } else { Err(RecordError::Damaged) }
    }

    /// The messages, in their order.
    pub fn messages(&self) -> Messages<'a> {
        Messages { rest: self.messages, left: self.count, is_named: self.is_named }
    }

    /// Whether some of them may have an identity.
    pub fn is_named(&self) -> bool {
        self.is_named
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
pub struct Messages<'a> {
    rest: &'a [u8],
    left: u16,
    is_named: bool,
}

impl Messages<'_> {
    /// How much is left behind the last of them.
    fn bytes_left(mut self) -> usize {
        while self.next().is_some() {}
        self.rest.len()
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (length, mut rest) = self.rest.split_first_chunk::<LENGTH_BYTES>()?;
        let length = u32::from_be_bytes(*length);
        let identity = match (length & HAS_IDENTITY > 0, self.is_named) {
            (false, _) => None,
            (true, false) => return None,
            (true, true) => {
                let (identity, payload) = rest.split_first_chunk::<IDENTITY_BYTES>()?;
                rest = payload;
                Some(Identity::read(identity))
            }
        };
        let payload_bytes = (length & !HAS_IDENTITY) >> 1;
        let (payload, rest) = rest.split_at_checked(payload_bytes as usize)?;
        self.rest = rest;
        let is_json = length & 1 == 1;
        let payload = if is_json { Payload::Json(payload) } else { Payload::Opaque(payload) };
        Some(Message { payload, identity })
    }
}

impl Identity {
    fn read(bytes: &[u8; IDENTITY_BYTES]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&bytes[..16]);
        let kept_ms = bytes[24..].iter().fold(0, |number, &byte| number << 8 | u32::from(byte));
        Self { id, request: number(bytes, 16), kept_ms: kept_ms.min(KEPT_MS_MAX) }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&self.request.to_be_bytes());
        out.extend_from_slice(&self.kept_ms.to_be_bytes());
    }
}

impl<'a> From<Payload<'a>> for Message<'a> {
    fn from(payload: Payload<'a>) -> Self {
        Self { payload, identity: None }
    }
}

impl Message<'_> {
    /// Bytes that it takes in a record.
    fn bytes(&self) -> usize {
        let identity = if self.identity.is_some() { IDENTITY_BYTES } else { 0 };
        LENGTH_BYTES + identity + self.payload.bytes().len()
    }
}

impl Default for Draft {
    fn default() -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[0] = PLAIN;
        Self { bytes, count: 0 }
    }
}

impl Draft {
    /// Bytes that a record of this one message takes.
    pub fn bytes_for(message: Message<'_>) -> usize {
        HEADER_BYTES + message.bytes()
    }

    /// Whether a message may be added to those that are in it, so that it stays within `bytes_max`.
    pub fn has_room_for(&self, message: Message<'_>, bytes_max: usize) -> bool {
        self.count < MESSAGES_MAX && self.bytes.len() + message.bytes() <= bytes_max
    }

    /// Adds a message behind the others. It must be shorter than 1 GiB, and there must be
    /// [room](Self::has_room_for) for it.
    pub fn push(&mut self, Message { payload, identity }: Message<'_>) {
        let bytes = payload.bytes();
        debug_assert!(self.count < MESSAGES_MAX && bytes.len() < 1 << 30, "there is room");
        let is_json = u32::from(matches!(payload, Payload::Json(_)));
        let mut length = (bytes.len() as u32) << 1 | is_json;
        if identity.is_some() {
            length |= HAS_IDENTITY;
            self.bytes[0] = NAMED;
        }
        self.bytes.extend_from_slice(&length.to_be_bytes());
        if let Some(identity) = identity {
            identity.write(&mut self.bytes);
        }
        self.bytes.extend_from_slice(bytes);
        self.count += 1;
    }

    /// What was added, in its order.
    pub fn messages(&self) -> Messages<'_> {
        let rest = &self.bytes[HEADER_BYTES..];
        Messages { rest, left: self.count, is_named: self.is_named() }
    }

    /// Whether some of it has an identity.
    pub fn is_named(&self) -> bool {
        self.bytes[0] == NAMED
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
mod tests;
