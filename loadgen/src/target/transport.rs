//! How subscribers get their messages. Plain data that an agent can be given; what is written and
//! read is in `http`. Part of the target.

use serde::{Deserialize, Serialize};

/// The most messages that one poll may ask for: what the API gives at most.
pub const POLL_LIMIT_MAX: u32 = 1000;

/// What a subscriber's connection is. Publishers have a WebSocket in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Transport {
    /// A WebSocket.
    #[default]
    Ws,
    /// A response without an end: server-sent events.
    Sse,
    /// Requests at an interval, each for what is new.
    Poll(Polling),
}

/// How a subscriber polls. It asks for the newest so many messages of each of its topics, since
/// that is what the API has; where they do not reach back to the last one it knows, it asks again
/// for as many as it can get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Polling {
    /// From the begin of one poll to that of the next, at least a millisecond.
    pub every_ns: u64,
    /// For how many messages it asks, from 1 to [`POLL_LIMIT_MAX`].
    pub limit: u32,
}

impl Transport {
    /// What a report calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Sse => "sse",
            Self::Poll(_) => "poll",
        }
    }

    /// Whether it can be used: one that came from elsewhere may be anything.
    #[must_use]
    pub fn is_sound(self) -> bool {
        match self {
            Self::Ws | Self::Sse => true,
            Self::Poll(polling) => {
                polling.every_ns >= 1_000_000 && (1..=POLL_LIMIT_MAX).contains(&polling.limit)
            }
        }
    }
}
