//! This worker's lists of subscribers: one per topic and one per wildcard filter that any session
//! here is subscribed to. Joining and leaving are O(1), whatever the list's length.
//!
//! A subscriber knows its place among its session's subscriptions and a subscription knows its
//! place in the list, so that either can be swapped out and the one that moved be told.

use std::num::NonZeroU32;
use std::sync::Arc;

use broker_proto::topic::Filter;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use super::subscribers::Subscribers;
use super::topic::Topic;
use super::trie::Trie;
use crate::slots::Slots;
use crate::slots::places::Places;

/// Topics for which the matching filters are remembered; beyond it all is forgotten at once.
const MATCHES_MAX: usize = 65_536;

/// The key of a list, in as little memory as it needs where it may be missing.
#[derive(Clone, Copy, Debug)]
struct ListKey(NonZeroU32);

/// All lists of one worker.
#[derive(Debug, Default)]
pub struct Lists {
    lists: Slots<List>,
    /// The lists of topics, by the topic's place in the directory.
    by_place: Places<ListKey>,
    filters: Trie<u32>,
    /// The filters' lists that match a topic, until the filters change.
    matches: HashMap<u64, Box<[u32]>, RandomState>,
}

/// The subscribers to one topic or filter.
#[derive(Debug)]
pub struct List {
    /// What they are subscribed to.
    pub watched: Watched,
    /// Those who get everything as it is, in no order.
    pub subscribers: Subscribers,
    /// Messages that came since the list was made.
    pub matched: u64,
    /// The others, if there are any.
    pub special: Option<Box<Specials>>,
}

/// The subscribers of a list that are served otherwise than with everything as it is.
#[derive(Debug, Default)]
pub struct Specials {
    /// How many they are, those that are paused among them.
    pub count: u32,
    /// The cohorts that some of them are in.
    pub cohorts: Vec<u32>,
    /// Those that want everything and are getting what was before, by their keys.
    pub catching: Vec<u32>,
    /// How many are paused.
    pub paused: u32,
    /// Under a filter with paused subscriptions: topics that had messages since, with how many the
    /// list had by then.
    pub touched: HashMap<u64, (Arc<Topic>, u64), RandomState>,
    /// Slots of those who are told who comes and goes; they may be plain subscribers.
    pub told: HashSet<u32, RandomState>,
    /// Slots of those who are told the epochs of topics that begin; they may be plain too.
    pub epochs: HashSet<u32, RandomState>,
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
    /// A filter with wildcards. They are few beside the topics, so they have memory of their own.
    Filter(Box<WatchedFilter>),
}

/// A filter that a list's subscribers are subscribed to.
#[derive(Debug)]
pub struct WatchedFilter {
    /// The filter.
    pub filter: Box<str>,
    /// How much of the worker's mail was put in before other workers knew of the filter. It is
    /// there for the sake of other subscriptions, and need not be contiguous with what follows, so
    /// it is not for this list.
    pub from: u64,
}

impl ListKey {
    fn new(key: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(key))
    }

    fn get(self) -> u32 {
        self.0.get() - 1
    }
}

impl List {
    fn new(watched: Watched) -> Self {
        Self { watched, subscribers: Subscribers::default(), matched: 0, special: None }
    }

    /// Whether nobody is subscribed.
    pub fn is_empty(&self) -> bool {
        self.subscribers.is_empty() && self.special.as_ref().is_none_or(|held| held.count == 0)
    }

    /// How many are subscribed.
    pub fn len(&self) -> u64 {
        self.subscribers.len() as u64 + self.special.as_ref().map_or(0, |held| held.count.into())
    }

    /// The subscribers that are not plain, to be added to.
    pub fn special_mut(&mut self) -> &mut Specials {
        self.special.get_or_insert_default()
    }

    fn is_of(&self, topic: &Topic) -> bool {
        self.topic().is_some_and(|(own, _)| own.id() == topic.id())
    }

    /// Gives back what was needed for special subscribers, if none is left.
    pub fn shrink_special(&mut self) {
        let is_idle =
            |held: &Specials| held.count == 0 && held.told.is_empty() && held.epochs.is_empty();
        if self.special.as_deref().is_some_and(is_idle) {
            self.special = None;
        }
    }

    /// The topic, and the seq up to which it was delivered here; None for a filter's list.
    pub fn topic(&self) -> Option<(&Arc<Topic>, u64)> {
        match &self.watched {
            Watched::Topic { topic, seq } => Some((topic, *seq)),
            Watched::Filter(_) => None,
        }
    }

    /// Whether messages of `topic` are for its subscribers.
    pub fn matches(&self, topic: &Topic) -> bool {
        match &self.watched {
            Watched::Topic { topic: own, .. } => own.id() == topic.id(),
            Watched::Filter(held) => {
                Filter::new(&held.filter).is_ok_and(|filter| filter.matches(topic.name()))
            }
        }
    }

    /// What its subscribers are subscribed to, as they wrote it.
    pub fn filter(&self) -> &str {
        match &self.watched {
            Watched::Topic { topic, .. } => topic.as_str(),
            Watched::Filter(held) => &held.filter,
        }
    }
}

impl Lists {
    /// The key of a topic's list.
    pub fn key_of_topic(&self, topic: &Topic) -> Option<u32> {
        let key = self.by_place.get(topic.place())?.get();
        // The place may have been another topic's when the message came into the mailbox.
        self.lists[key as usize].is_of(topic).then_some(key)
    }

    /// Puts the keys of the lists that match `topic` into `keys`: that of the topic itself first.
    pub fn keys_of(&mut self, topic: &Topic, keys: &mut Vec<u32>) {
        keys.clear();
        keys.extend(self.key_of_topic(topic));
        let Self { filters, matches, .. } = self;
        if filters.is_empty() {
            return;
        }
        if matches.len() >= MATCHES_MAX {
            matches.clear();
        }
        let matching = matches.entry(topic.id()).or_insert_with(|| {
            let mut keys = Vec::new();
            filters.each_match(topic.name(), &mut |key| keys.push(*key));
            keys.into_boxed_slice()
        });
        keys.extend(&**matching);
    }

    /// A new list for a topic whose newest message is `seq`.
    pub fn add_topic(&mut self, topic: Arc<Topic>, seq: u64) -> u32 {
        let place = topic.place();
        let key = self.lists.insert(List::new(Watched::Topic { topic, seq })) as u32;
        let earlier = self.by_place.put(place, ListKey::new(key));
        debug_assert!(earlier.is_none(), "the place is no other topic's");
        key
    }

    /// The list of a filter with wildcards, and whether it was made just now.
    pub fn of_filter(&mut self, filter: Filter<'_>) -> (u32, bool) {
        let Self { lists, filters, matches, .. } = self;
        let mut made = false;
        let key = *filters.get_or_insert_with(filter, || {
            made = true;
            let watched = WatchedFilter { filter: filter.as_str().into(), from: u64::MAX };
            lists.insert(List::new(Watched::Filter(Box::new(watched)))) as u32
        });
        if made {
            matches.clear();
        }
        (key, made)
    }

    /// The same, to look at.
    pub fn peek(&self, key: u32) -> &List {
        &self.lists[key as usize]
    }

    /// A list by its key, which must be one that was given out and not removed.
    pub fn list(&mut self, key: u32) -> &mut List {
        &mut self.lists[key as usize]
    }

    /// Whether a list is that of `filter`.
    pub fn is_of(&self, key: u32, filter: Filter<'_>) -> bool {
        match &self.lists[key as usize].watched {
            Watched::Topic { topic, .. } => topic.as_str() == filter.as_str(),
            Watched::Filter(held) => *held.filter == *filter.as_str(),
        }
    }

    /// Removes a list that has lost its last subscriber.
    pub fn remove(&mut self, key: u32) -> Watched {
        let list = self.lists.remove(key as usize).expect("its last subscriber was there");
        debug_assert!(list.is_empty());
        match &list.watched {
            Watched::Topic { topic, .. } => {
                let taken = self.by_place.take(topic.place());
                debug_assert_eq!(taken.map(ListKey::get), Some(key), "the place was its own");
            }
            Watched::Filter(held) => {
                self.filters.remove(Filter::new(&held.filter).expect("was checked on subscribing"));
                self.matches.clear();
            }
        }
        list.watched
    }

    /// How many lists there is memory for.
    pub fn capacity(&self) -> usize {
        self.lists.capacity()
    }

    /// What a burst of lists needed is given back, once few are left.
    pub fn shrink(&mut self) {
        if self.lists.is_empty() {
            *self = Self::default();
            return;
        }
        self.lists.shrink();
    }
}
