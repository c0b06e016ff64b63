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
    filters: RwLock<Trie<WorkerSet>>,
    /// Counts changes; topics keep their answer for as long as it stands still.
    generation: AtomicU64,
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
        filters.each_match(topic, &mut |workers| watchers |= *workers);
        watchers
    }

    /// `worker` has its first subscriber to `filter`.
    pub fn join(&self, filter: Filter<'_>, worker: usize) {
        let mut filters = self.filters.write().unwrap_or_else(PoisonError::into_inner);
        *filters.get_or_insert_with(filter, || 0) |= 1 << worker;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// `worker` has lost its last subscriber to `filter`.
    pub fn leave(&self, filter: Filter<'_>, worker: usize) {
        let mut filters = self.filters.write().unwrap_or_else(PoisonError::into_inner);
        let workers = filters.get_or_insert_with(filter, || 0);
        *workers &= !(1 << worker);
        if *workers == 0 {
            filters.remove(filter);
        }
        self.generation.fetch_add(1, Ordering::Release);
    }
}
