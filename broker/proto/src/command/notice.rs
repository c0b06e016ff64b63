//! What the broker says without being asked, besides messages and gaps: that a subscription is
//! served otherwise, that someone came or went, that a topic fell silent or began. Plain values, made by the hub and written by the
//! codecs.

use super::{Epoch, Member};

/// One notice about a topic or a subscription.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Notice<'a> {
    /// A subscription is served in another mode from here on.
    Mode {
        /// The filter as it was subscribed to.
        filter: &'a str,
        /// The mode.
        now: Serving,
        /// Why.
        reason: ModeReason,
    },
    /// The token expires soon: a new one is due.
    Expiring {
        /// In how many milliseconds.
        in_ms: u64,
    },
    /// A subscription is no longer allowed, and has ended.
    Unsubscribed {
        /// The filter as it was subscribed to.
        filter: &'a str,
    },
    /// Who came to a topic and who left it, one at a time or many at once.
    Presence {
        /// The topic.
        topic: &'a str,
        /// Who is there now and was not.
        joined: &'a [Member<'a>],
        /// Who was there and is not now.
        left: &'a [Member<'a>],
        /// How many are there now.
        count: u64,
    },
    /// Nothing more has come on a topic for as long as its rule expects a message.
    Stale {
        /// The topic.
        topic: &'a str,
        /// The seq of its last message.
        seq: u64,
        /// For how long it has been silent, in milliseconds.
        silent_ms: u64,
    },
    /// A topic that was stale has a message again.
    Live {
        /// The topic.
        topic: &'a str,
        /// The seq of the message.
        seq: u64,
    },
    /// A topic under a filter has begun: its positions have this epoch, not that of the answer.
    Epoch {
        /// The topic.
        topic: &'a str,
        /// Its epoch.
        epoch: Epoch,
    },
}

/// How a subscription is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Serving {
    /// `all`, 1: every message, in order.
    All = 1,
    /// `latest`, 2: the newest message of each topic or key as soon as it can be sent.
    Latest = 2,
    /// `slow`, 3: the newest message of each topic or key every two seconds at most.
    Slow = 3,
}

impl Serving {
    /// The name in the JSON protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Latest => "latest",
            Self::Slow => "slow",
        }
    }

    /// The number in the binary protocol.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The mode with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::All, Self::Latest, Self::Slow].get(usize::from(code).checked_sub(1)?).copied()
    }
}

/// Why a subscription is served otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ModeReason {
    /// `slow`, 1: the client does not keep up.
    Slow = 1,
    /// `caught_up`, 2: it keeps up again.
    CaughtUp = 2,
}

impl ModeReason {
    /// The name in the JSON protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::CaughtUp => "caught_up",
        }
    }

    /// The number in the binary protocol.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The reason with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Slow, Self::CaughtUp].get(usize::from(code).checked_sub(1)?).copied()
    }
}
