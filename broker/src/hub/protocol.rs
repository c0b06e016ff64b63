//! Which of the broker's protocols a connection speaks. Chosen in its handshake, for good.

use broker_proto::ws::Opcode;

/// What a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `altavoz.v1.json`, text messages.
    Json,
    /// `altavoz.v1.bin`, binary messages.
    Bin,
    /// Every message is sent back as it came; no topics.
    Echo,
}

impl Protocol {
    /// The opcode of this protocol's messages.
    pub fn opcode(self) -> Opcode {
        match self {
            Self::Json | Self::Echo => Opcode::Text,
            Self::Bin => Opcode::Binary,
        }
    }
}
