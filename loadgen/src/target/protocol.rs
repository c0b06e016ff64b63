//! Which protocol is spoken, and what the rest of the load generator asks of every one of them.
//! Payloads of frames in and out; no frames, no sockets. How each does it is in its own file.

use broker_proto::ws::Opcode;
use serde::{Deserialize, Serialize};

use super::native::Encoding;
use super::{Incoming, mqtt};
use crate::stamp::Shape;

/// What a target speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
pub enum Protocol {
    /// `altavoz.v1.json`: text frames, JSON payloads.
    Json,
    /// `altavoz.v1.bin`: binary frames, payloads of any bytes.
    Bin,
    /// MQTT 3.1.1 over WebSocket, QoS 0.
    Mqtt,
}

impl Protocol {
    /// What a report calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "altavoz.v1.json",
            Self::Bin => "altavoz.v1.bin",
            Self::Mqtt => "mqtt",
        }
    }

    /// The subprotocol to ask for in the handshake, if the protocol has one.
    #[must_use]
    pub fn subprotocol(self) -> Option<&'static str> {
        match self {
            Self::Json | Self::Bin | Self::Mqtt => Some(self.name()),
        }
    }

    /// The frames that commands travel in.
    #[must_use]
    pub fn opcode(self) -> Opcode {
        match self {
            Self::Json => Opcode::Text,
            Self::Bin | Self::Mqtt => Opcode::Binary,
        }
    }

    /// How a stamp lies in a payload.
    #[must_use]
    pub fn shape(self) -> Shape {
        match self {
            Self::Json => Shape::Json,
            Self::Bin | Self::Mqtt => Shape::Raw,
        }
    }

    /// Whether the server numbers the messages of a topic. If it does not, accounts rest on the
    /// publishers' stamps alone, and what one missed while it was away can't be told from a loss.
    #[must_use]
    pub fn numbers_messages(self) -> bool {
        matches!(self, Self::Json | Self::Bin)
    }

    /// What it calls the topic that we call `topic`, whose levels `/` separates.
    #[must_use]
    pub fn topic(self, topic: &str) -> String {
        match self {
            Self::Json | Self::Bin | Self::Mqtt => topic.to_owned(),
        }
    }

    /// Appends the command that publishes `payload`, which has this protocol's
    /// [`shape`](Self::shape). Only a failure is answered, if anything is.
    ///
    /// # Panics
    ///
    /// If the topic is none.
    pub fn publish(self, out: &mut Vec<u8>, topic: &str, payload: &[u8]) {
        match self {
            Self::Json => Encoding::Json.publish(out, topic, payload),
            Self::Bin => Encoding::Bin.publish(out, topic, payload),
            Self::Mqtt => mqtt::publish(out, topic, payload),
        }
    }

    /// Reads one thing from the begin of what the server sent: what it is, and how many bytes it
    /// took. None if it is not complete: more comes with the next frame.
    #[must_use]
    pub fn read(self, bytes: &[u8]) -> Option<(Incoming<'_>, usize)> {
        match self {
            Self::Json => Some((Encoding::Json.read(bytes), bytes.len())),
            Self::Bin => Some((Encoding::Bin.read(bytes), bytes.len())),
            Self::Mqtt => mqtt::read(bytes),
        }
    }

    /// What says that a quiet client is still there, where the protocol has something of its own
    /// for that and the client begins.
    #[must_use]
    pub fn ping(self) -> Option<&'static [u8]> {
        match self {
            Self::Json | Self::Bin => None,
            Self::Mqtt => Some(mqtt::PINGREQ),
        }
    }

    /// The answer to [`Incoming::Ping`].
    #[must_use]
    pub fn pong(self) -> &'static [u8] {
        match self {
            Self::Json | Self::Bin | Self::Mqtt => b"",
        }
    }
}
