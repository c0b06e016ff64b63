//! What the broker says to a client besides messages. Plain values, made by the hub and written
//! by the codecs.

use super::{CommandError, Epoch};

/// The answer to one command. Only a command with an id is answered, but errors always are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer<'a> {
    /// To `connect`.
    Connected {
        /// The number of this connection.
        session: u64,
    },
    /// To `subscribe`: it holds from here on.
    Subscribed {
        /// The filter as it was written.
        filter: &'a str,
        /// Where the topic stands: the first message to come has the next seq. None for a filter
        /// with wildcards.
        position: Option<(Epoch, u64)>,
        /// To a subscribe with `since`: whether everything after it will be delivered.
        recovered: Option<bool>,
    },
    /// To `unsubscribe`: no message of this filter follows.
    Unsubscribed {
        /// The filter as it was written.
        filter: &'a str,
    },
    /// To `publish`.
    Published {
        /// The topic's epoch.
        epoch: Epoch,
        /// The message's number.
        seq: u64,
        /// How safe the message is.
        level: Level,
    },
    /// To `ping`.
    Pong,
    /// To `stats`.
    Stats(Stats),
    /// To anything that failed.
    Error(&'a CommandError),
}

/// How safe a published message is when its answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// `accepted`, 0: it has its place in the topic and will be delivered if this process lives.
    Accepted = 0,
    /// `replicated`, 1: other nodes hold it too.
    Replicated = 1,
    /// `durable`, 2: it is on disk.
    Durable = 2,
}

impl Level {
    /// The name in the JSON protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Replicated => "replicated",
            Self::Durable => "durable",
        }
    }

    /// The number in the binary protocol.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The level with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Accepted, Self::Replicated, Self::Durable].get(usize::from(code)).copied()
    }
}

/// The delivery accounts of one connection, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Subscriptions held now.
    pub subscriptions: u64,
    /// Publish commands received, refused ones included.
    pub received: u64,
    /// Messages of topics handed to the network for this connection.
    pub sent: u64,
    /// Messages of its topics that were not delivered to it.
    pub dropped: u64,
    /// Messages that wait in the broker because the client has not read yet.
    pub pending: u64,
}

/// Why messages of a topic are missing between two that were delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum GapReason {
    /// `overflow`, 1: the client did not keep up.
    Overflow = 1,
    /// `expired`, 2: they are no longer in the history.
    Expired = 2,
    /// `backplane`, 3: they were lost between nodes.
    Backplane = 3,
}

impl GapReason {
    /// The name in the JSON protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overflow => "overflow",
            Self::Expired => "expired",
            Self::Backplane => "backplane",
        }
    }

    /// The number in the binary protocol.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The reason with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Overflow, Self::Expired, Self::Backplane]
            .get(usize::from(code).checked_sub(1)?)
            .copied()
    }
}
