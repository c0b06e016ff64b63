//! The directory: every topic in use, by name. It is the one map all workers share; a publish
//! looks into it once, a delivery never. Beside the map the topics stand in an order, in which
//! whoever looks for all that match a filter goes through them a stretch at a time.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use broker_proto::command::{Epoch, Position};
use broker_proto::topic::Topic as TopicName;
use dashmap::DashMap;
use foldhash::fast::RandomState;

use super::topic::{Topic, TopicState};
use crate::config::rules::{Rule, Rules};
use crate::slots::Slots;

/// Places of the order that are looked at together when the rules change.
const RULES_PLACES: usize = 1_024;
/// However late an epoch is that was made elsewhere, ours go on from here at the latest.
const NEXT_EPOCH_MAX: u64 = u64::MAX / 2;

/// All topics in use, at most `topics_max`.
#[derive(Debug)]
pub struct Directory {
    topics: DashMap<ByName, (), RandomState>,
    /// The same topics; one that is added may take the place of one that was removed.
    order: Mutex<Slots<Arc<Topic>>>,
    rules: RwLock<Arc<Rules>>,
    rules_generation: AtomicU64,
    compress_all: AtomicBool,
    len: AtomicU64,
    next_epoch: AtomicU64,
    topics_max: u64,
}

/// There are `topics_max` topics already.
#[derive(Debug, PartialEq, Eq)]
pub struct DirectoryFull {
    /// The limit that was reached.
    pub topics_max: u64,
}

/// A topic that hashes and compares by its name, so that the name is stored once.
#[derive(Debug)]
struct ByName(Arc<Topic>);

impl Directory {
    /// An empty directory. `started_unix_ms` makes epochs of different runs differ.
    pub fn new(topics_max: u64, started_unix_ms: u64, rules: Rules) -> Self {
        Self {
            topics: DashMap::with_hasher(RandomState::default()),
            order: Mutex::default(),
            compress_all: rules.compress_all().into(),
            rules: RwLock::new(Arc::new(rules)),
            rules_generation: AtomicU64::new(0),
            len: AtomicU64::new(0),
            // Behind those of every earlier run, unless that made a million topics a millisecond.
            next_epoch: AtomicU64::new((started_unix_ms << 20) + 1),
            topics_max,
        }
    }

    /// How many topics there are.
    pub fn len(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether so many more fit.
    ///
    /// # Errors
    /// They do not.
    pub fn has_room_for(&self, topics: u64) -> Result<(), DirectoryFull> {
        match self.len().saturating_add(topics) > self.topics_max {
            true => Err(DirectoryFull { topics_max: self.topics_max }),
            false => Ok(()),
        }
    }

    /// Whether so many topics are there that those are to go which nobody watches.
    pub fn is_crowded(&self) -> bool {
        self.len() > self.topics_max / 4 * 3
    }

    /// What holds for a topic of that name: of one that is in use, what it has taken over.
    pub fn rule_of(&self, name: TopicName<'_>) -> Arc<Rule> {
        match self.find(name) {
            Some(topic) => topic.rule(),
            None => self.rules().of(name),
        }
    }

    /// From here on other rules hold, for the topics in use and for those to come. See
    /// [`Topic::take_rule`] for what a topic in use takes over.
    pub fn replace_rules(&self, rules: Rules) {
        self.compress_all.store(rules.compress_all(), Ordering::Release);
        let rules = Arc::new(rules);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules.clone();
        let (mut next, mut topics) = (Some(0), Vec::new());
        while let Some(from) = next {
            // A stretch at a time: nobody waits for the whole directory.
            next = self.scan(from, RULES_PLACES, |_| true, &mut topics);
            for topic in topics.drain(..) {
                self.change_rule(&topic, rules.of(topic.name()));
            }
        }
    }

    fn change_rule(&self, topic: &Topic, rule: Arc<Rule>) {
        self.rules_generation.fetch_add(1, Ordering::Release);
        topic.take_rule(rule);
    }

    /// Grows before a topic takes another rule over: whoever has seen the rule sees this too.
    pub fn rules_generation(&self) -> u64 {
        self.rules_generation.load(Ordering::Acquire)
    }

    /// The epoch that was given out last: topics that begin from here on have later ones.
    pub fn newest_epoch(&self) -> Epoch {
        Epoch::new(self.next_epoch.load(Ordering::Relaxed) - 1)
    }

    /// Whether a topic's numbering is that of a position. Its epoch is the topic's own, or one
    /// that was the newest while the topic had its own: had the topic begun anew since, its own
    /// would be later.
    ///
    /// One that was numbered elsewhere began at that time of another node's clock, and positions
    /// may have been given out by nodes whose newest epoch is later than this one's.
    pub fn is_comparable(&self, position: Position, topic: &Topic) -> bool {
        let epoch = position.epoch.value();
        let newest = match topic.is_numbered_elsewhere() {
            true => u64::MAX,
            false => self.newest_epoch().value(),
        };
        (topic.epoch().value()..=newest).contains(&epoch)
    }

    /// A topic goes on in an epoch that was made elsewhere; called under its lock.
    pub(super) fn renumber(&self, topic: &Topic, state: &mut TopicState, epoch: Epoch) {
        self.go_on_behind(epoch);
        topic.renumber(epoch, state);
    }

    /// Topics that begin from here on have later epochs than this one, which was made elsewhere.
    fn go_on_behind(&self, epoch: Epoch) {
        let next = epoch.value().saturating_add(1).min(NEXT_EPOCH_MAX);
        self.next_epoch.fetch_max(next, Ordering::Relaxed);
    }

    /// Whether the rules let the messages of all topics be compressed.
    pub fn may_compress_all(&self) -> bool {
        self.compress_all.load(Ordering::Acquire)
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The topic of that name, if there is one.
    pub fn find(&self, name: TopicName<'_>) -> Option<Arc<Topic>> {
        self.topics.get(name.as_str()).map(|found| found.key().0.clone())
    }

    /// Looks at the next `count` places of the order from `from` on, and moves out the topics
    /// there that are `wanted`; returns where to go on, or None behind the last.
    pub fn scan(
        &self,
        from: usize,
        count: usize,
        wanted: impl Fn(&Topic) -> bool,
        into: &mut Vec<Arc<Topic>>,
    ) -> Option<usize> {
        let order = self.order();
        let end = from.saturating_add(count);
        let topics = (from..end.min(order.end())).filter_map(|place| order.get(place));
        into.extend(topics.filter(|topic| wanted(topic)).cloned());
        (end < order.end()).then_some(end)
    }

    fn order(&self) -> MutexGuard<'_, Slots<Arc<Topic>>> {
        // A panic while the lock is held leaves a whole table behind.
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topic of that name, made if there is none; the flag tells that it was made just now.
    pub fn find_or_create(
        &self,
        name: TopicName<'_>,
        now_ms: u64,
    ) -> Result<(Arc<Topic>, bool), DirectoryFull> {
        if let Some(found) = self.topics.get(name.as_str()) {
            return Ok((found.key().0.clone(), false));
        }
        // The count is taken before the insert, so that it may pass the limit by no more than the
        // workers that are here at the same moment.
        if self.len() >= self.topics_max {
            return Err(DirectoryFull { topics_max: self.topics_max });
        }
        let epoch = Epoch::new(self.next_epoch.fetch_add(1, Ordering::Relaxed));
        Ok(self.add(name, epoch, now_ms))
    }

    /// A topic as an earlier run had it, in the epoch it had. The one that is there, if there is one.
    ///
    /// # Errors
    /// There are as many topics as there may be.
    pub(super) fn restore(
        &self,
        name: TopicName<'_>,
        epoch: Epoch,
        now_ms: u64,
    ) -> Result<Arc<Topic>, DirectoryFull> {
        self.has_room_for(1)?;
        self.go_on_behind(epoch);
        Ok(self.add(name, epoch, now_ms).0)
    }

    fn add(&self, name: TopicName<'_>, epoch: Epoch, now_ms: u64) -> (Arc<Topic>, bool) {
        let rules = self.rules();
        let topic = Arc::new(Topic::new(name, epoch, rules.of(name), now_ms));
        match self.topics.entry(ByName(topic.clone())) {
            dashmap::Entry::Occupied(entry) => (entry.key().0.clone(), false),
            dashmap::Entry::Vacant(entry) => {
                topic.set_place(self.order().insert(topic.clone()));
                entry.insert(());
                self.len.fetch_add(1, Ordering::Relaxed);
                let newest = self.rules();
                if !Arc::ptr_eq(&rules, &newest) {
                    // Whoever replaced them may have gone through the topics before this one came.
                    self.change_rule(&topic, newest.of(name));
                }
                (topic, true)
            }
        }
    }

    /// How many topics there is memory for in their order.
    pub fn capacity(&self) -> usize {
        self.order().capacity()
    }

    /// What a burst of topics needed is given back, once few are left.
    pub fn shrink(&self) {
        self.order().shrink();
        if self.topics.capacity() > 1_024 && self.topics.len() * 4 < self.topics.capacity() {
            self.topics.shrink_to_fit();
        }
    }

    /// Takes a topic out; called under its lock when it retires.
    pub fn remove(&self, topic: &Topic) {
        if self.topics.remove_if(topic.as_str(), |found, ()| found.0.id() == topic.id()).is_some() {
            self.order().remove(topic.place());
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        self.0.as_str()
    }
}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for ByName {}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules::new(&crate::config::Config::default())
    }

    fn name(text: &str) -> TopicName<'_> {
        TopicName::new(text).unwrap()
    }

    #[test]
    fn a_name_is_one_topic_until_it_is_removed_and_then_a_new_epoch() {
        let directory = Directory::new(10, 1_000, rules());
        let (first, made) = directory.find_or_create(name("a/b"), 0).unwrap();
        assert!(made);
        let (again, made) = directory.find_or_create(name("a/b"), 0).unwrap();
        assert!(!made && Arc::ptr_eq(&first, &again));
        directory.remove(&first);
        directory.remove(&first);
        assert_eq!(directory.len(), 0);
        let (second, made) = directory.find_or_create(name("a/b"), 0).unwrap();
        assert!(made && second.epoch() != first.epoch());
        directory.remove(&first);
        assert_eq!(directory.len(), 1, "an old topic must not take the new one out");
    }

    #[test]
    fn a_full_directory_says_its_limit() {
        let directory = Directory::new(1, 0, rules());
        directory.find_or_create(name("a"), 0).unwrap();
        assert_eq!(
            directory.find_or_create(name("b"), 0).unwrap_err(),
            DirectoryFull { topics_max: 1 }
        );
        assert!(directory.find_or_create(name("a"), 0).is_ok());
    }
}
