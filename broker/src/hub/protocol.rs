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
    /// The name under which it is asked for, where it has one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "altavoz.v1.json",
            Self::Bin => "altavoz.v1.bin",
            Self::Echo => "echo",
        }
    }

    /// The opcode of this protocol's messages.
    pub fn opcode(self) -> Opcode {
        match self {
            Self::Json | Self::Echo => Opcode::Text,
            Self::Bin => Opcode::Binary,
        }
    }
}
