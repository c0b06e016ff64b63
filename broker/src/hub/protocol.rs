//! Which of the broker's protocols a connection speaks. Chosen in its handshake, for good.

use broker_proto::command::{GapReason, Notice};
use broker_proto::topic::Topic as TopicName;
use broker_proto::ws::{Opcode, encode_frame};
use broker_proto::{bin, json};

use super::events;

/// What a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `altavoz.v1.json`, text messages.
    Json,
    /// `altavoz.v1.bin`, binary messages.
    Bin,
    /// Every message is sent back as it came; no topics.
    Echo,
    /// Server-sent events: the text of `altavoz.v1.json`, without WebSocket frames.
    Sse,
}

impl Protocol {
    /// The name under which it is asked for, where it has one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "altavoz.v1.json",
            Self::Bin => "altavoz.v1.bin",
            Self::Echo => "echo",
            Self::Sse => "sse",
        }
    }

    /// The opcode of this protocol's messages.
    pub fn opcode(self) -> Opcode {
        match self {
            Self::Json | Self::Echo | Self::Sse => Opcode::Text,
            Self::Bin => Opcode::Binary,
        }
    }

    /// Writes a frame for one connection: an answer, a notice or a control frame.
    pub fn encode_own(self, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
        match self {
            Self::Sse => events::encode_own(out, opcode, payload),
            Self::Json | Self::Bin | Self::Echo => encode_frame(out, opcode, payload),
        }
    }

    /// Writes a notice.
    pub fn encode_notice(self, out: &mut Vec<u8>, notice: &Notice<'_>) {
        match self {
            Self::Bin => bin::encode_notice(out, notice),
            Self::Json | Self::Echo | Self::Sse => json::encode_notice(out, notice),
        }
    }

    /// Writes that messages of a topic will not come, from a seq to another.
    pub fn encode_gap(
        self,
        out: &mut Vec<u8>,
        topic: TopicName<'_>,
        (from, to): (u64, u64),
        reason: GapReason,
    ) {
        match self {
            Self::Bin => bin::encode_gap(out, topic, from, to, reason),
            Self::Json | Self::Echo | Self::Sse => json::encode_gap(out, topic, from, to, reason),
        }
    }
}
