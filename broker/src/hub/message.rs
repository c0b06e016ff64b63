//! A published message: the payload copied once, encoded once per protocol in use, and shared by
//! reference by every worker and every backlog.
//!
//! The frame in the publisher's own protocol is built at once and holds the only copy of the
//! payload; the frame of the other protocol is derived from it by the first worker that needs it.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use broker_proto::command::{Epoch, Payload};
use broker_proto::topic::Topic as TopicName;
use broker_proto::ws::deflate::{Deflater, encode_deflated_frame};
use broker_proto::ws::{FrameHeader, HEADER_BYTES_MAX};
use broker_proto::{bin, json, sse};

use super::protocol::Protocol;
use super::topic::Topic;

/// One message of one topic, with its place in the topic's order.
#[derive(Debug)]
pub struct Message {
    topic: Arc<Topic>,
    epoch: Epoch,
    seq: u64,
    frame: Frame,
    /// Where the payload lies in `frame`.
    payload: Range<u32>,
    /// The protocol that `frame` is encoded in.
    native: Protocol,
    payload_is_json: bool,
    /// Nothing is put aside for what most messages are never wanted as.
    derived: OnceLock<Box<Derived>>,
}

/// Other forms of a message, each made by whoever needs it first.
#[derive(Debug, Default)]
struct Derived {
    /// The frame in the protocol that is not `native`.
    other: OnceLock<Frame>,
    /// The same as a server-sent event.
    event: OnceLock<Box<[u8]>>,
    /// The frames compressed, in JSON and in binary; empty if that does not pay.
    deflated: [OnceLock<Box<[u8]>>; 2],
}

impl Message {
    /// Copies `payload` into a frame of `native`, as message `seq` of `topic`; bytes that are no
    /// JSON into one of the binary protocol, which has them as they are. `name` is the topic's,
    /// already checked. Called under the topic's lock: its epoch is the message's.
    pub fn new(
        topic: Arc<Topic>,
        name: TopicName<'_>,
        seq: u64,
        payload: Payload<'_>,
        native: Protocol,
    ) -> Self {
        let payload_is_json = matches!(payload, Payload::Json(_));
        let native = if payload_is_json { native } else { Protocol::Bin };
        let (frame, range) = Frame::encode(name, seq, payload, native);
        Self {
            epoch: topic.epoch(),
            topic,
            seq,
            frame,
            payload: range.start as u32..range.end as u32,
            native,
            payload_is_json,
            derived: OnceLock::new(),
        }
    }

    /// The topic it was published on.
    pub fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }

    /// Whether its seq is one of the topic's numbering now.
    pub fn is_of_now(&self) -> bool {
        self.epoch == self.topic.epoch()
    }

    /// Its number within its epoch, from 1.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// What subscribers that speak `protocol` get: a whole unmasked WebSocket frame, or an event.
    pub fn frame(&self, protocol: Protocol) -> &[u8] {
        if protocol == Protocol::Sse {
            return self.derived().event.get_or_init(|| self.to_event());
        }
        self.encoded(protocol).bytes()
    }

    /// The frame compressed for subscribers that speak `protocol`: by whoever needs it first, and
    /// for good. `None` if it is shorter than `bytes_min`, or compression does not make it shorter.
    pub fn deflate(
        &self,
        protocol: Protocol,
        bytes_min: usize,
        deflater: &mut Deflater,
    ) -> Option<&[u8]> {
        let compress = || {
            let plain = self.encoded(protocol);
            let mut frame = Vec::new();
            if plain.payload().len() >= bytes_min {
                encode_deflated_frame(&mut frame, protocol.opcode(), plain.payload(), deflater);
            }
            let pays = frame.len() < plain.bytes().len();
            if pays { frame.into_boxed_slice() } else { Box::default() }
        };
        let frame = self.derived().deflated(protocol).get_or_init(compress);
        (!frame.is_empty()).then_some(frame)
    }

    /// The frame compressed, if it [was](Self::deflate) and that pays.
    pub fn deflated(&self, protocol: Protocol) -> Option<&[u8]> {
        let frame = self.derived.get()?.deflated(protocol).get()?;
        (!frame.is_empty()).then_some(frame)
    }

    fn encoded(&self, protocol: Protocol) -> &Frame {
        if protocol == self.native {
            return &self.frame;
        }
        let build = || Frame::encode(self.topic.name(), self.seq, self.payload(), protocol).0;
        self.derived().other.get_or_init(build)
    }

    fn derived(&self) -> &Derived {
        self.derived.get_or_init(Box::default)
    }

    fn to_event(&self) -> Box<[u8]> {
        let (mut text, mut event) = (Vec::new(), Vec::new());
        json::encode_message(&mut text, self.topic.name(), self.seq, self.payload());
        sse::encode_event(&mut event, &text);
        event.into()
    }

    /// Bytes of memory it holds, without the frames that may be derived later.
    pub fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.frame.0.capacity()
    }

    /// The same message with another payload: what some of its subscribers get instead.
    pub fn with_payload(&self, payload: Payload<'_>) -> Self {
        let (topic, name) = (self.topic.clone(), self.topic.name());
        Self { epoch: self.epoch, ..Self::new(topic, name, self.seq, payload, Protocol::Json) }
    }

    /// What was published.
    pub fn payload(&self) -> Payload<'_> {
        let bytes = &self.frame.0[self.payload.start as usize..self.payload.end as usize];
        if self.payload_is_json { Payload::Json(bytes) } else { Payload::Opaque(bytes) }
    }
}

impl Derived {
    fn deflated(&self, protocol: Protocol) -> &OnceLock<Box<[u8]>> {
        &self.deflated[usize::from(protocol == Protocol::Bin)]
    }
}

/// An encoded WebSocket frame. The header's length is known only after the payload is written, so
/// it is put right in front of it, where there is room for the longest.
#[derive(Debug)]
struct Frame(Vec<u8>);

impl Frame {
    fn encode(
        topic: TopicName<'_>,
        seq: u64,
        payload: Payload<'_>,
        protocol: Protocol,
    ) -> (Self, Range<usize>) {
        let room = match protocol {
            Protocol::Bin => bin::message_bytes(topic, payload),
            Protocol::Json | Protocol::Echo | Protocol::Sse => json::message_bytes(topic, payload),
        };
        let mut bytes = Vec::with_capacity(HEADER_BYTES_MAX + room);
        bytes.resize(HEADER_BYTES_MAX, 0);
        let range = match protocol {
            Protocol::Bin => bin::encode_message(&mut bytes, topic, seq, payload),
            Protocol::Json | Protocol::Echo | Protocol::Sse => {
                json::encode_message(&mut bytes, topic, seq, payload)
            }
        };
        let header = FrameHeader::new(protocol.opcode(), bytes.len() - HEADER_BYTES_MAX, None);
        let start = HEADER_BYTES_MAX - header.as_slice().len();
        bytes[start..HEADER_BYTES_MAX].copy_from_slice(header.as_slice());
        (Self(bytes), range)
    }

    fn bytes(&self) -> &[u8] {
        &self.0[HEADER_BYTES_MAX - FrameHeader::length_of(self.payload().len())..]
    }

    fn payload(&self) -> &[u8] {
        &self.0[HEADER_BYTES_MAX..]
    }
}
