//! Which protocol is spoken, and what the rest of the load generator asks of every one of them.
//! Payloads of frames in and out; no frames, no sockets. How each does it is in its own file.

use std::borrow::Cow;

use broker_proto::ws::Opcode;
use serde::{Deserialize, Serialize};

use super::native::Encoding;
use super::{Delivery, Incoming, echo, mqtt, native, nats, nchan, pusher, redis, socketio};
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
    /// NATS over WebSocket.
    Nats,
    /// Pusher protocol 7: client events on private channels.
    Pusher,
    /// Socket.IO 4: the events subscribe, publish and message.
    Socketio,
    /// nchan: a WebSocket for each channel, at PATH/sub/CHANNEL and PATH/pub/CHANNEL.
    Nchan,
    /// Redis publish/subscribe (RESP2) over TCP, without WebSocket.
    Redis,
    /// None: every message comes back to its sender.
    Echo,
}

impl Protocol {
    /// What a report calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "altavoz.v1.json",
            Self::Bin => "altavoz.v1.bin",
            Self::Mqtt => "mqtt",
            Self::Nats => "nats",
            Self::Pusher => "pusher",
            Self::Socketio => "socketio",
            Self::Nchan => "nchan",
            Self::Redis => "redis",
            Self::Echo => "echo",
        }
    }

    /// The subprotocol to ask for in the handshake, if the protocol has one.
    #[must_use]
    pub fn subprotocol(self) -> Option<&'static str> {
        match self {
            Self::Json | Self::Bin | Self::Mqtt => Some(self.name()),
            _ => None,
        }
    }

    /// The frames that commands travel in.
    #[must_use]
    pub fn opcode(self) -> Opcode {
        match self {
            Self::Json | Self::Pusher | Self::Socketio | Self::Nchan => Opcode::Text,
            Self::Bin | Self::Mqtt | Self::Nats | Self::Redis | Self::Echo => Opcode::Binary,
        }
    }

    /// How a stamp lies in a payload.
    #[must_use]
    pub fn shape(self) -> Shape {
        match self {
            Self::Json | Self::Pusher | Self::Socketio | Self::Nchan => Shape::Json,
            Self::Bin | Self::Mqtt | Self::Nats | Self::Redis | Self::Echo => Shape::Raw,
        }
    }

    /// Whether the server numbers the messages of a topic. If it does not, accounts rest on the
    /// publishers' stamps alone, and what one missed while it was away can't be told from a loss.
    #[must_use]
    pub fn numbers_messages(self) -> bool {
        matches!(self, Self::Json | Self::Bin)
    }

    /// Whether there are topics; if not, a client hears nothing but itself.
    #[must_use]
    pub fn has_topics(self) -> bool {
        self != Self::Echo
    }

    /// Whether a publisher that subscribes to its own topic gets its own messages.
    #[must_use]
    pub fn returns_to_sender(self) -> bool {
        !matches!(self, Self::Pusher | Self::Nchan | Self::Redis)
    }

    /// Whether it is spoken over WebSocket; if not, over TCP as it is.
    #[must_use]
    pub fn has_frames(self) -> bool {
        self != Self::Redis
    }

    /// Whether the topic stands in the URL, so that a connection has one topic and no more.
    #[must_use]
    pub fn has_topic_in_url(self) -> bool {
        self == Self::Nchan
    }

    /// The path and query of the request line for a connection about this topic, where those of the
    /// target are `resource`.
    #[must_use]
    pub fn resource<'a>(self, resource: &'a str, topic: &str, is_publisher: bool) -> Cow<'a, str> {
        match self {
            Self::Nchan => nchan::resource(resource, topic, is_publisher).into(),
            _ => resource.into(),
        }
    }

    /// Whether one may only publish where one subscribes.
    #[must_use]
    pub fn publishers_subscribe(self) -> bool {
        self == Self::Pusher
    }

    /// What it calls the topic that we call `topic`, whose levels `/` separates; empty where there
    /// are no topics.
    #[must_use]
    pub fn topic(self, topic: &str) -> String {
        match self {
            Self::Json | Self::Bin | Self::Mqtt | Self::Socketio | Self::Redis => topic.to_owned(),
            Self::Nchan => nchan::channel(topic),
            Self::Nats => topic.replace('/', "."),
            Self::Pusher => pusher::channel(topic),
            Self::Echo => String::new(),
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
            Self::Nats => nats::publish(out, topic, payload),
            Self::Pusher => pusher::publish(out, topic, payload),
            Self::Socketio => socketio::publish(out, topic, payload),
            Self::Nchan => nchan::publish(out, payload),
            Self::Redis => redis::publish(out, topic, payload),
            Self::Echo => echo::publish(out, payload),
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
            Self::Nats => nats::read(bytes),
            Self::Pusher => Some((pusher::read(bytes), bytes.len())),
            Self::Socketio => Some((socketio::read(bytes), bytes.len())),
            Self::Nchan => Some((nchan::read(bytes), bytes.len())),
            Self::Redis => redis::read(bytes),
            Self::Echo => Some((echo::read(bytes), bytes.len())),
        }
    }

    /// A message that is all of a frame, in the protocol that the load generator meets most: as
    /// [`read`](Self::read) would read it, at a fraction of the time, for the times when there are
    /// millions a second. None says nothing.
    #[must_use]
    pub fn read_delivery(self, bytes: &[u8]) -> Option<Delivery<'_>> {
        match self {
            Self::Json => native::read_message(bytes),
            _ => None,
        }
    }

    /// What says that a quiet client is still there, where the protocol has something of its own
    /// for that and the client begins.
    #[must_use]
    pub fn ping(self) -> Option<&'static [u8]> {
        match self {
            Self::Mqtt => Some(mqtt::PINGREQ),
            Self::Pusher => Some(pusher::PING),
            _ => None,
        }
    }

    /// The answer to [`Incoming::Ping`].
    #[must_use]
    pub fn pong(self) -> &'static [u8] {
        match self {
            Self::Nats => nats::PONG,
            Self::Pusher => pusher::PONG,
            Self::Socketio => socketio::PONG,
            _ => b"",
        }
    }
}
