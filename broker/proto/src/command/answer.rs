//! What the broker says to a client besides messages. Plain values, made by the hub and written
//! by the codecs.

use super::{CommandError, Epoch, Payload};

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
        /// For a filter with wildcards: the epoch that positions of its topics have from here on,
        /// but for those of topics of which a notice tells another. None for one without.
        epoch: Option<Epoch>,
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
        /// To a publish with `count`: how many subscriptions matched it.
        subscribers: Option<u64>,
    },
    /// To `pause`: no message of this filter follows until it is resumed.
    Paused {
        /// The filter as it was written.
        filter: &'a str,
    },
    /// To `resume`.
    Resumed {
        /// The filter as it was written.
        filter: &'a str,
        /// How many messages were passed over since the pause; the newest of them follows.
        skipped: u64,
    },
    /// To `history`.
    History {
        /// The topic.
        topic: &'a str,
        /// The topic's epoch.
        epoch: Epoch,
        /// The seq of the topic's newest message, whether it is listed or not.
        seq: u64,
        /// The newest messages that are kept, oldest first; their seqs are contiguous.
        messages: &'a [Past<'a>],
    },
    /// To `presence`.
    Presence {
        /// The topic.
        topic: &'a str,
        /// How many sessions are subscribed to exactly this topic.
        count: u64,
        /// Who they are; fewer than `count` where there are more than the broker remembers.
        members: &'a [Member<'a>],
    },
    /// To `ping`.
    Pong,
    /// To `stats`.
    Stats(Stats),
    /// To `stats` of one subscription.
    Account {
        /// The filter as it was written.
        filter: &'a str,
        /// What became of its messages.
        account: Account,
    },
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

/// The delivery accounts of one connection, since it was opened. They close: `matched` is the sum
/// of `sent`, `conflated`, `filtered`, `dropped`, `skipped` and `pending`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Subscriptions held now.
    pub subscriptions: u64,
    /// Publish commands received, refused ones included.
    pub received: u64,
    /// Messages that its subscriptions matched, those of `last` and `since` among them.
    pub matched: u64,
    /// Messages of topics handed to the network for this connection.
    pub sent: u64,
    /// Messages for which a newer one of the topic or key was sent instead.
    pub conflated: u64,
    /// Messages held back by `deadband`, or because another subscription delivers them.
    pub filtered: u64,
    /// Messages that a gap notice or the end of a subscription took the place of.
    pub dropped: u64,
    /// Messages that came while their subscription was paused.
    pub skipped: u64,
    /// Messages that wait in the broker: for a rate's next turn, or because the client has not
    /// read yet.
    pub pending: u64,
    /// Bytes that wait because the client has not read yet.
    pub pending_bytes: u64,
    /// For how long the client has not caught up, in milliseconds; 0 if it has.
    pub behind_ms: u64,
}

impl Stats {
    /// Their names in the JSON protocol, in the order of [`values`](Self::values).
    pub const NAMES: [&'static str; 11] = [
        "subscriptions",
        "received",
        "matched",
        "sent",
        "conflated",
        "filtered",
        "dropped",
        "skipped",
        "pending",
        "pending_bytes",
        "behind_ms",
    ];

    /// The numbers, in the order of the fields.
    pub fn values(&self) -> [u64; 11] {
        [
            self.subscriptions,
            self.received,
            self.matched,
            self.sent,
            self.conflated,
            self.filtered,
            self.dropped,
            self.skipped,
            self.pending,
            self.pending_bytes,
            self.behind_ms,
        ]
    }

    /// The accounts with these [`values`](Self::values).
    pub fn from_values(values: [u64; 11]) -> Self {
        let [
            subscriptions,
            received,
            matched,
            sent,
            conflated,
            filtered,
            dropped,
            skipped,
            pending,
            pending_bytes,
            behind_ms,
        ] = values;
        Self {
            subscriptions,
            received,
            matched,
            sent,
            conflated,
            filtered,
            dropped,
            skipped,
            pending,
            pending_bytes,
            behind_ms,
        }
    }
}

/// What became of the messages of one subscription, since it was made. It closes: `matched` is the
/// sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Messages that it matched, those of `last` and `since` among them.
    pub matched: u64,
    /// Messages that it put in line for the network.
    pub sent: u64,
    /// Messages for which a newer one of the topic or key was sent instead.
    pub conflated: u64,
    /// Messages held back by `deadband`, or delivered by another subscription.
    pub filtered: u64,
    /// Messages that a gap notice took the place of.
    pub dropped: u64,
    /// Messages that came while it was paused.
    pub skipped: u64,
    /// Messages that wait for a rate's next turn, or were put aside for a slow client.
    pub pending: u64,
}

impl Account {
    /// Their names in the JSON protocol, in the order of [`values`](Self::values).
    pub const NAMES: [&'static str; 7] =
        ["matched", "sent", "conflated", "filtered", "dropped", "skipped", "pending"];

    /// The numbers, in the order of the fields.
    pub fn values(&self) -> [u64; 7] {
        let Self { matched, sent, conflated, filtered, dropped, skipped, pending } = *self;
        [matched, sent, conflated, filtered, dropped, skipped, pending]
    }

    /// The account with these [`values`](Self::values).
    pub fn from_values(values: [u64; 7]) -> Self {
        let [matched, sent, conflated, filtered, dropped, skipped, pending] = values;
        Self { matched, sent, conflated, filtered, dropped, skipped, pending }
    }
}

/// A message of the past in the answer to `history`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past<'a> {
    /// Its number in its topic.
    pub seq: u64,
    /// As it was published.
    pub payload: Payload<'a>,
}

/// Someone who is subscribed to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The number of the connection.
    pub session: u64,
    /// Who it is by its token; none without a token.
    pub user: Option<&'a str>,
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
