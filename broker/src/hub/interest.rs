//! Which workers have which wildcard filters: what a publisher asks to know where a topic's
//! messages must go. Shared by all workers, changed only when a worker's first subscriber to a
//! filter comes or its last one goes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use broker_proto::topic::{Filter, Topic as TopicName};

use super::trie::Trie;
use super::workers::WorkerSet;

/// The wildcard filters of all workers.
#[derive(Debug, Default)]
pub struct Interest {
    filters: RwLock<Trie<Watch>>,
    /// Counts changes; topics keep their answer for as long as it stands still.
    generation: AtomicU64,
}

/// Who has a filter.
#[derive(Debug, Default)]
struct Watch {
    workers: WorkerSet,
    /// Subscriptions to it, of all workers.
    subscribers: AtomicU64,
}

impl Interest {
    /// The number of changes so far, from 0.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The workers with a filter that matches `topic`.
    pub fn watchers(&self, topic: TopicName<'_>) -> WorkerSet {
        let mut watchers = 0;
        let filters = self.filters.read().unwrap_or_else(PoisonError::into_inner);
        filters.each_match(topic, &mut |watch| watchers |= watch.workers);
        watchers
    }

    /// How many subscriptions there are to filters that match `topic`, on all workers.
    pub fn subscribers_of(&self, topic: TopicName<'_>) -> u64 {
        let mut count = 0;
        let filters = self.filters.read().unwrap_or_else(PoisonError::into_inner);
        filters.each_match(topic, &mut |watch: &Watch| {
            count += watch.subscribers.load(Ordering::Relaxed);
        });
        count
    }

    /// A subscription to `filter`, which has been joined, has come or goes.
    pub fn count(&self, filter: Filter<'_>, is_new: bool) {
        let filters = self.filters.read().unwrap_or_else(PoisonError::into_inner);
        let Some(watch) = filters.get(filter) else { return };
        match is_new {
            true => watch.subscribers.fetch_add(1, Ordering::Relaxed),
            false => watch.subscribers.fetch_sub(1, Ordering::Relaxed),
        };
    }

    /// `worker` has its first subscriber to `filter`; `tell` is called before anyone else can join
    /// or leave if no other worker had one.
    pub fn join(&self, filter: Filter<'_>, worker: usize, tell: impl FnOnce()) {
        let mut filters = self.filters.write().unwrap_or_else(PoisonError::into_inner);
        let watch = filters.get_or_insert_with(filter, Watch::default);
        if watch.workers == 0 {
            tell();
        }
        watch.workers |= 1 << worker;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// `worker` has lost its last subscriber to `filter`; `tell` is called likewise if no other
    /// worker has one.
    pub fn leave(&self, filter: Filter<'_>, worker: usize, tell: impl FnOnce()) {
        let mut filters = self.filters.write().unwrap_or_else(PoisonError::into_inner);
        let watch = filters.get_or_insert_with(filter, Watch::default);
        watch.workers &= !(1 << worker);
        if watch.workers == 0 {
            filters.remove(filter);
            tell();
        }
        self.generation.fetch_add(1, Ordering::Release);
    }
}
