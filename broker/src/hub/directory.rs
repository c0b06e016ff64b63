//! The directory: every topic in use, by name. It is the one map all workers share; a publish
//! looks into it once, a delivery never.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use broker_proto::command::Epoch;
use broker_proto::topic::Topic as TopicName;
use dashmap::DashMap;
use foldhash::fast::RandomState;

use super::topic::Topic;

/// All topics in use, at most `topics_max`.
#[derive(Debug)]
pub struct Directory {
    topics: DashMap<ByName, (), RandomState>,
    len: AtomicU64,
    next_id: AtomicU64,
    topics_max: u64,
    epoch_base: u64,
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
    /// An empty directory. `started_unix_s` makes epochs of different runs differ.
    pub fn new(topics_max: u64, started_unix_s: u64) -> Self {
        Self {
            topics: DashMap::with_hasher(RandomState::default()),
            len: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
            topics_max,
            epoch_base: started_unix_s << 20,
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
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let topic = Arc::new(Topic::new(id, name, Epoch::new(self.epoch_base + id), now_ms));
        match self.topics.entry(ByName(topic.clone())) {
            dashmap::Entry::Occupied(entry) => Ok((entry.key().0.clone(), false)),
            dashmap::Entry::Vacant(entry) => {
                entry.insert(());
                self.len.fetch_add(1, Ordering::Relaxed);
                Ok((topic, true))
            }
        }
    }

    /// Takes a topic out; called under its lock when it retires.
    pub fn remove(&self, topic: &Topic) {
        if self.topics.remove_if(topic.as_str(), |found, ()| found.0.id() == topic.id()).is_some() {
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

    fn name(text: &str) -> TopicName<'_> {
        TopicName::new(text).unwrap()
    }

    #[test]
    fn a_name_is_one_topic_until_it_is_removed_and_then_a_new_epoch() {
        let directory = Directory::new(10, 1_000);
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
        let directory = Directory::new(1, 0);
        directory.find_or_create(name("a"), 0).unwrap();
        assert_eq!(
            directory.find_or_create(name("b"), 0).unwrap_err(),
            DirectoryFull { topics_max: 1 }
        );
        assert!(directory.find_or_create(name("a"), 0).is_ok());
    }
}
