//! This worker's lists of subscribers: one per topic and one per wildcard filter that any session
//! here is subscribed to. Joining and leaving are O(1), whatever the list's length.
//!
//! A subscriber knows its place among its session's subscriptions and a subscription knows its
//! place in the list, so that either can be swapped out and the one that moved be told.

use std::sync::Arc;

use broker_proto::topic::Filter;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use slab::Slab;

use super::topic::Topic;
use super::trie::Trie;

/// Topics for which the matching filters are remembered; beyond it all is forgotten at once.
const MATCHES_MAX: usize = 65_536;

/// All lists of one worker.
#[derive(Debug, Default)]
pub struct Lists {
    lists: Slab<List>,
    by_topic: HashMap<u64, u32, RandomState>,
    filters: Trie<u32>,
    /// The filters' lists that match a topic, until the filters change.
    matches: HashMap<u64, Box<[u32]>, RandomState>,
}

/// The subscribers to one topic or filter.
#[derive(Debug)]
pub struct List {
    /// What they are subscribed to.
    pub watched: Watched,
    /// Who they are, in no order.
    pub subscribers: Vec<Subscriber>,
}

/// What a list's subscribers are subscribed to.
#[derive(Debug)]
pub enum Watched {
    /// One topic, and the seq up to which this worker has delivered it.
    Topic {
        /// The topic.
        topic: Arc<Topic>,
        /// The last seq delivered here, or the topic's seq when the list was made.
        seq: u64,
    },
    /// A filter with wildcards.
    Filter {
        /// The filter.
        filter: Box<str>,
        /// How much of the worker's mail was put in before other workers knew of the filter. It
        /// is there for the sake of other subscriptions, and need not be contiguous with what
        /// follows, so it is not for this list.
        from: u64,
    },
}

/// A session in a list.
#[derive(Clone, Copy, Debug)]
pub struct Subscriber {
    /// The session's slot.
    pub slot: u32,
    /// The subscription's place among those of the session.
    pub place: u32,
}

impl Lists {
    /// The list of a topic, by the topic's id.
    pub fn of_topic(&mut self, topic_id: u64) -> Option<&mut List> {
        let key = *self.by_topic.get(&topic_id)?;
        self.lists.get_mut(key as usize)
    }

    /// The key of a topic's list.
    pub fn key_of_topic(&self, topic_id: u64) -> Option<u32> {
        self.by_topic.get(&topic_id).copied()
    }

    /// The lists of the filters that match `topic`.
    pub fn matching(&mut self, topic: &Topic) -> impl Iterator<Item = &List> {
        let Self { lists, filters, matches, .. } = self;
        let keys: &[u32] = if filters.is_empty() {
            &[]
        } else {
            if matches.len() >= MATCHES_MAX {
                matches.clear();
            }
            matches.entry(topic.id()).or_insert_with(|| {
                let mut keys = Vec::new();
                filters.each_match(topic.name(), &mut |key| keys.push(*key));
                keys.into_boxed_slice()
            })
        };
        keys.iter().filter_map(|key| lists.get(*key as usize))
    }

    /// A new list for a topic whose newest message is `seq`.
    pub fn add_topic(&mut self, topic: Arc<Topic>, seq: u64) -> u32 {
        let id = topic.id();
        let watched = Watched::Topic { topic, seq };
        let key = self.lists.insert(List { watched, subscribers: Vec::new() }) as u32;
        self.by_topic.insert(id, key);
        key
    }

    /// The list of a filter with wildcards, and whether it was made just now.
    pub fn of_filter(&mut self, filter: Filter<'_>) -> (u32, bool) {
        let Self { lists, filters, matches, .. } = self;
        let mut made = false;
        let key = *filters.get_or_insert_with(filter, || {
            made = true;
            let watched = Watched::Filter { filter: filter.as_str().into(), from: u64::MAX };
            lists.insert(List { watched, subscribers: Vec::new() }) as u32
        });
        if made {
            matches.clear();
        }
        (key, made)
    }

    /// A list by its key, which must be one that was given out and not removed.
    pub fn list(&mut self, key: u32) -> &mut List {
        &mut self.lists[key as usize]
    }

    /// Whether a list is that of `filter`.
    pub fn is_of(&self, key: u32, filter: Filter<'_>) -> bool {
        match &self.lists[key as usize].watched {
            Watched::Topic { topic, .. } => topic.as_str() == filter.as_str(),
            Watched::Filter { filter: name, .. } => **name == *filter.as_str(),
        }
    }

    /// Removes a list that has lost its last subscriber.
    pub fn remove(&mut self, key: u32) -> Watched {
        let list = self.lists.remove(key as usize);
        debug_assert!(list.subscribers.is_empty());
        match &list.watched {
            Watched::Topic { topic, .. } => {
                self.by_topic.remove(&topic.id());
            }
            Watched::Filter { filter: name, .. } => {
                self.filters.remove(Filter::new(name).expect("was checked on subscribing"));
                self.matches.clear();
            }
        }
        if self.lists.is_empty() {
            // What a burst of lists needed is given back.
            *self = Self::default();
        }
        list.watched
    }
}
