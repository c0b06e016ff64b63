//! How the messages of a subscription are to be delivered: what a client can ask for. Plain data;
//! the JSON codec reads and checks it for both protocols.

use super::Position;
use crate::topic::Topic;

/// The most names in the option `fields`.
pub const FIELDS_MAX: usize = 64;

/// The most levels of the JSON pointer in the option `key`.
pub const KEY_LEVELS_MAX: usize = 32;

/// The options of a subscribe. The default is every message from now on, whole and in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubscribeOptions<'a> {
    /// `last`: begin with the last message of every matching topic.
    pub last: bool,
    /// `since`: begin with what came after a known message.
    pub since: Option<Since<'a>>,
    /// `mode` is `latest`: only ever the newest message, never a queue.
    pub latest: bool,
    /// `mode` is `all`, said so: every message, also where the broker would choose otherwise.
    pub all: bool,
    /// `max_rate`: at most so many messages a second for a topic or key; above 0 and finite.
    pub max_rate: Option<f64>,
    /// `key`: a JSON pointer (RFC 6901) to the member that tells a topic's values apart.
    pub key: Option<&'a str>,
    /// `fields`: only these members of an object; 1 to [`FIELDS_MAX`] names, empty if not asked.
    pub fields: Vec<&'a str>,
    /// `deadband`: only values that moved enough.
    pub deadband: Option<Deadband<'a>>,
    /// `presence`: tell who joins and leaves.
    pub presence: bool,
    /// `epochs`: tell the epochs of topics that begin; for filters with wildcards.
    pub epochs: bool,
}

impl SubscribeOptions<'_> {
    /// The name of the first option that asks for something else than the default, in the order
    /// of the fields; none if all are at their default.
    pub fn first_asked(&self) -> Option<&'static str> {
        let asked = [
            ("last", self.last),
            ("since", self.since.is_some()),
            ("mode", self.latest),
            ("max_rate", self.max_rate.is_some()),
            ("key", self.key.is_some()),
            ("fields", !self.fields.is_empty()),
            ("deadband", self.deadband.is_some()),
            ("presence", self.presence),
            ("epochs", self.epochs),
        ];
        asked.into_iter().find_map(|(name, is_asked)| is_asked.then_some(name))
    }

    /// Whether no mode was named, so that the broker's own choice for the topic may hold.
    pub fn mode_is_default(&self) -> bool {
        !self.latest && !self.all
    }

    /// The first option given that makes sense in the mode `latest` only.
    pub fn needs_latest(&self) -> Option<&'static str> {
        let asked = [
            ("max_rate", self.max_rate.is_some()),
            ("key", self.key.is_some() && self.deadband.is_none()),
        ];
        asked.into_iter().find_map(|(name, is_asked)| is_asked.then_some(name))
    }
}

/// After which message to begin.
#[derive(Clone, Debug, PartialEq)]
pub enum Since<'a> {
    /// For a filter without wildcards: the last message that the client has of the topic.
    At(Position),
    /// For a filter with wildcards: the last message of each topic that the client knows. Every
    /// topic matches the filter and stands here once.
    Topics(Vec<(Topic<'a>, Position)>),
}

/// How far a value must move from the last one delivered before it is delivered again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deadband<'a> {
    /// The top-level member that holds the number.
    pub field: &'a str,
    /// How far.
    pub delta: Delta,
    /// `max_silence_ms`: after so long without a message, the newest one is delivered however
    /// little it moved; in milliseconds, from 1. None: silence may last.
    pub max_silence_ms: Option<u32>,
}

/// A distance between two numbers; 0 or more and finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Delta {
    /// `abs`: in the units of the value.
    Absolute(f64),
    /// `pct`: in per cent of the last value delivered.
    Percent(f64),
}
