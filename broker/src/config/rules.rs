//! Topic rules: what is kept of a topic, and what becomes of those who can't keep up with it. The
//! first rule whose filter matches a topic holds for it, and a last one, made of the settings of
//! the same names, for all others.
//!
//! Plain values, read from the settings; the hub asks for a topic's rule once, when it is made.

use std::ops::RangeInclusive;
use std::sync::Arc;

use broker_proto::topic::{Filter, Topic};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{Config, KEEP_MS_MAX, demo};

/// Longest flush delay, in milliseconds.
pub const FLUSH_MS_MAX: u32 = 1_000;

/// All rules, in the order in which they are asked.
#[derive(Clone, Debug)]
pub struct Rules {
    rules: Vec<(Box<str>, Arc<Rule>)>,
    default: Arc<Rule>,
    system: Arc<Rule>,
}

/// What holds for a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Most messages kept for those who come back or ask; 0 keeps none.
    pub history_messages: u32,
    /// How long they are kept, in milliseconds.
    pub history_ms: u64,
    /// Most bytes of memory they take; the newest message is kept whatever its size.
    pub history_bytes: u64,
    /// How long the last message is kept for those who subscribe with `last`, in milliseconds; 0
    /// does not keep it.
    pub last_ms: u64,
    /// What becomes of the messages of a subscriber that reads too slowly.
    pub overload: Overload,
    /// Whether it is known who is there.
    pub presence: Presence,
    /// How long a message may wait so that more go out with it, in milliseconds; 0 sends it in the
    /// turn in which it comes.
    pub flush_ms: u32,
    /// Longest payload in bytes; a longer one is answered `too_large`. None: what fits a message.
    pub payload_bytes_max: Option<u32>,
    /// Subscribers that ask for no mode get `latest`.
    pub latest: bool,
    /// With `latest`: at most so many messages a second of a topic or key, unless they ask for
    /// another rate.
    pub max_rate: Option<f64>,
    /// Whether its messages may be compressed. One that holds a secret beside what others can choose
    /// should not be: how long it comes out tells how far the two are alike.
    pub compress: bool,
    /// When a topic that had a message has none for so many milliseconds, its subscribers are told
    /// that it is stale; 0 expects none.
    pub expect_every_ms: u64,
    /// How long the `msg_id` of a publish is remembered, in milliseconds, so that a retry is not
    /// published again; 0 refuses such publishes.
    pub retry_ms: u64,
    /// Whether what is kept is kept on disk too.
    pub store: Store,
    /// Each node of a cluster has topics of its own by these names, of which others hear nothing: the
    /// broker's own numbers, and the feeds of the demos.
    pub is_local: bool,
}

/// Whether what is kept of a topic outlives the process. A later one promises more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// It does not.
    #[default]
    None,
    /// It is written to disk afterwards: what was published last may be gone after a crash.
    Accepted,
    /// It is on disk before anyone sees it, the publisher's answer included.
    Durable,
}

/// What becomes of the messages of a subscriber that reads too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Overload {
    /// Only the newest of each topic is sent, with gap notices, until it keeps up again.
    Conflate,
    /// The oldest are dropped, with gap notices.
    DropOldest,
    /// The connection is closed with 4408.
    Close,
}

/// Whether it is known who is subscribed to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Presence {
    /// Nobody is told.
    None,
    /// Every client may ask how many there are and who, and be told who comes and goes.
    Members,
}

/// A rule as it stands in the settings file; what it leaves out is as in the settings of the same
/// names.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RuleEntry {
    /// The topics it holds for.
    pub filter: String,
    history_messages: Option<u32>,
    history_ms: Option<u64>,
    history_bytes: Option<u64>,
    last_ms: Option<u64>,
    overload: Option<Overload>,
    presence: Option<Presence>,
    flush_ms: Option<u32>,
    payload_bytes_max: Option<u32>,
    mode: Option<Mode>,
    max_rate: Option<f64>,
    compress: Option<bool>,
    expect_every_ms: Option<u64>,
    store: Option<Store>,
    retry_ms: Option<u64>,
}

/// How long a `msg_id` is remembered where no rule says otherwise, and at most.
const RETRY_MS: u64 = 120_000;
const RETRY_MS_MAX: u64 = 3_600_000;

/// What can be expected of a feed: a message in a tenth of a second at most, in thirty days at least.
const EXPECT_EVERY_MS: RangeInclusive<u64> = 100..=KEEP_MS_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    All,
    Latest,
}

impl RuleEntry {
    /// What is wrong with it, if anything.
    pub(super) fn check(&self) -> Result<(), String> {
        Filter::new(&self.filter).map_err(|error| format!("filter: {error}"))?;
        if let Some(ms) = self.flush_ms.filter(|ms| *ms > FLUSH_MS_MAX) {
            return Err(format!("flush_ms = {ms}: at most {FLUSH_MS_MAX}"));
        }
        if let Some(rate) = self.max_rate.filter(|rate| !(rate.is_finite() && *rate > 0.0)) {
            return Err(format!("max_rate = {rate}: must be a number above 0"));
        }
        if let Some(ms) = self.expect_every_ms.filter(|ms| !EXPECT_EVERY_MS.contains(ms)) {
            let (least, most) = (EXPECT_EVERY_MS.start(), EXPECT_EVERY_MS.end());
            return Err(format!("expect_every_ms = {ms}: must be from {least} to {most}"));
        }
        if let Some(ms) = self.retry_ms.filter(|ms| *ms > RETRY_MS_MAX) {
            return Err(format!("retry_ms = {ms}: at most {RETRY_MS_MAX}"));
        }
        if self.max_rate.is_some() && self.mode != Some(Mode::Latest) {
            return Err("max_rate needs mode = \"latest\"".to_owned());
        }
        Ok(())
    }

    /// Whether it has something kept on disk.
    pub(super) fn is_stored(&self) -> bool {
        self.store.is_some_and(|store| store != Store::None)
    }

    fn over(&self, default: &Rule) -> Rule {
        Rule {
            history_messages: self.history_messages.unwrap_or(default.history_messages),
            history_ms: self.history_ms.unwrap_or(default.history_ms),
            history_bytes: self.history_bytes.unwrap_or(default.history_bytes),
            last_ms: self.last_ms.unwrap_or(default.last_ms),
            overload: self.overload.unwrap_or(default.overload),
            presence: self.presence.unwrap_or(default.presence),
            flush_ms: self.flush_ms.unwrap_or(default.flush_ms),
            payload_bytes_max: self.payload_bytes_max.or(default.payload_bytes_max),
            latest: self.mode.map_or(default.latest, |mode| mode == Mode::Latest),
            max_rate: self.max_rate.or(default.max_rate),
            compress: self.compress.unwrap_or(default.compress),
            expect_every_ms: self.expect_every_ms.unwrap_or(default.expect_every_ms),
            store: self.store.unwrap_or(default.store),
            retry_ms: self.retry_ms.unwrap_or(default.retry_ms),
            is_local: default.is_local,
        }
    }
}

impl Rules {
    /// The rules of these settings.
    pub fn new(config: &Config) -> Self {
        let default = Rule {
            history_messages: config.history_messages,
            history_ms: config.history_ms,
            history_bytes: config.history_bytes,
            last_ms: config.last_ms,
            overload: config.overload,
            presence: config.presence,
            flush_ms: config.flush_ms,
            payload_bytes_max: None,
            latest: false,
            max_rate: None,
            compress: true,
            expect_every_ms: 0,
            store: Store::None,
            retry_ms: RETRY_MS,
            is_local: false,
        };
        let local = Rule { is_local: true, ..default.clone() };
        let with_filter = |entry: &RuleEntry, default: &Rule| {
            (entry.filter.as_str().into(), entry.over(default).into())
        };
        let demo = if config.demo { demo::rules() } else { Vec::new() };
        let own = config.topic.iter().map(|entry| with_filter(entry, &default));
        let rules = own.chain(demo.iter().map(|entry| with_filter(entry, &local))).collect();
        // The broker's own numbers: yesterday's are of no use.
        let system = Rule { history_messages: 0, presence: Presence::None, flush_ms: 0, ..local };
        Self { rules, default: default.into(), system: system.into() }
    }

    /// Whether all topics' messages may be compressed.
    pub fn compress_all(&self) -> bool {
        self.rules.iter().all(|(_, rule)| rule.compress)
    }

    /// The rule that holds for a topic.
    pub fn of(&self, topic: Topic<'_>) -> Arc<Rule> {
        match self.find(topic) {
            Some((_, rule)) => rule.clone(),
            None if topic.is_system() => self.system.clone(),
            None => self.default.clone(),
        }
    }

    /// The filter of the rule that holds for a topic; none if it has no rule of its own.
    pub fn filter_of(&self, topic: Topic<'_>) -> Option<&str> {
        self.find(topic).map(|(filter, _)| &**filter)
    }

    /// The rules with their filters, in the order in which they are asked, and last, without one,
    /// what holds for other topics than the broker's own.
    pub fn entries(&self) -> impl Iterator<Item = (Option<&str>, &Rule)> {
        let rules = self.rules.iter().map(|(filter, rule)| (Some(&**filter), &**rule));
        rules.chain(std::iter::once((None, &*self.default)))
    }

    /// What decides how nodes share a topic: the filters in their order, and of which of their topics
    /// something is kept on all nodes.
    pub fn places(&self) -> Vec<(Option<String>, bool)> {
        let place = |(filter, rule): (Option<&str>, &Rule)| {
            (filter.map(str::to_owned), rule.keeps() && !rule.is_local)
        };
        self.entries().map(place).collect()
    }

    fn find(&self, topic: Topic<'_>) -> Option<&(Box<str>, Arc<Rule>)> {
        let matches = |filter: &str| Filter::new(filter).is_ok_and(|filter| filter.matches(topic));
        self.rules.iter().find(|(filter, _)| matches(filter))
    }
}

impl Rule {
    /// Whether anything is kept of a topic's messages.
    pub fn keeps(&self) -> bool {
        self.history_messages > 0 || self.last_ms > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_holds_and_what_it_leaves_out_is_as_in_the_settings() {
        let text = r#"
            [[topic]]
            filter = "chat/#"
            history_messages = 7
            overload = "drop_oldest"
            [[topic]]
            filter = "chat/secret"
            history_messages = 0
        "#;
        #[derive(Deserialize)]
        struct File {
            topic: Vec<RuleEntry>,
        }
        let File { topic } = toml::from_str(text).unwrap();
        let rules = Rules::new(&Config { topic, last_ms: 5, ..Config::default() });
        let of = |name| rules.of(Topic::new(name).unwrap());
        assert_eq!((of("chat/secret").history_messages, of("chat/a").last_ms), (7, 5));
        assert_eq!(of("chat/a").overload, Overload::DropOldest);
        assert_eq!(of("other").overload, Overload::Conflate);
        assert_eq!(of("$SYS/broker").history_messages, 0);
    }

    #[test]
    fn a_rule_that_makes_no_sense_is_refused_by_name() {
        let check = |text: &str| toml::from_str::<RuleEntry>(text).unwrap().check();
        assert!(check("filter = \"a/#/b\"").unwrap_err().starts_with("filter: "));
        assert!(check("filter = \"a\"\nexpect_every_ms = 99").unwrap_err().contains("from 100 to"));
        assert!(check("filter = \"a\"\nretry_ms = 3600001").unwrap_err().contains("3600000"));
        assert!(check("filter = \"a\"\nmax_rate = 2").unwrap_err().contains("latest"));
        assert!(check("filter = \"a\"\nflush_ms = 1001").unwrap_err().contains("1000"));
        assert_eq!(check("filter = \"a\"\nmode = \"latest\"\nmax_rate = 0.5"), Ok(()));
    }
}
