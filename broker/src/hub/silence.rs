//! Topics that must not fall silent, because their rule says how often a message is expected: when
//! each is to be looked at next, and which are stale. Shared by all workers; touched when a topic
//! is first published on, when its time has come, and when it is stale or live again, but not by a
//! publish in between.
//!
//! Its lock is taken inside a topic's lock, never the other way round.

use std::cmp::{Ordering as Order, Reverse};
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;

use super::topic::Topic;

/// Whether a message is awaited on a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Liveness {
    /// Nobody would notice: there was no message yet, or its rule expects none.
    #[default]
    Unwatched,
    /// It stands among those that will be looked at.
    Awaited,
    /// It is stale, at this place.
    Stale(u32),
}

/// What is known of the silence of a topic; part of what its lock guards.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    /// When its newest message was published, in ms of the broker's clock.
    pub heard_ms: u64,
    /// Whether the next is awaited.
    pub liveness: Liveness,
}

/// A topic that is stale.
#[derive(Clone, Debug)]
pub struct Stale {
    /// The topic.
    pub topic: Arc<Topic>,
    /// The seq of its last message.
    pub seq: u64,
    /// When that was published, in ms of the broker's clock.
    pub heard_ms: u64,
}

/// What is told of a topic: to the workers with subscribers, in the order of its messages.
#[derive(Clone, Debug)]
pub struct SilenceMail {
    /// The topic.
    pub topic: Arc<Topic>,
    /// The seq of its last message, or of the one that comes now.
    pub seq: u64,
    /// For how long it has been silent, in milliseconds; none if it is live again.
    pub silent_ms: Option<u64>,
}

/// All topics that are awaited or stale: at most as many as there are topics.
#[derive(Debug)]
pub struct Silence {
    inner: Mutex<Inner>,
    /// When the first is to be looked at, to be read without the lock; `u64::MAX` if none is.
    next_ms: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    due: BinaryHeap<Reverse<Due>>,
    stale: Slab<Stale>,
}

#[derive(Debug)]
struct Due {
    at_ms: u64,
    topic: Arc<Topic>,
}

impl Silence {
    /// When the first of the topics is to be looked at; none if none is.
    pub fn next_due_ms(&self) -> Option<u64> {
        Some(self.next_ms.load(Ordering::Relaxed)).filter(|&at_ms| at_ms < u64::MAX)
    }

    /// A topic is to be looked at then; whether that is before all others.
    pub fn await_next(&self, topic: Arc<Topic>, at_ms: u64) -> bool {
        let mut inner = self.lock();
        inner.due.push(Reverse(Due { at_ms, topic }));
        let is_first = at_ms < self.next_ms.load(Ordering::Relaxed);
        self.note_next(&inner);
        is_first
    }

    /// The next topic that is to be looked at by now.
    pub fn take_due(&self, now_ms: u64) -> Option<Arc<Topic>> {
        if self.next_due_ms()? > now_ms {
            return None;
        }
        let mut inner = self.lock();
        let is_due = |due: &&Reverse<Due>| due.0.at_ms <= now_ms;
        let due = inner.due.peek().filter(is_due).is_some().then(|| inner.due.pop()).flatten();
        self.note_next(&inner);
        due.map(|Reverse(due)| due.topic)
    }

    /// A topic is stale; its place from here on. `tell` is called before anyone can see it here.
    pub fn begin(&self, stale: Stale, tell: impl FnOnce()) -> u32 {
        let mut inner = self.lock();
        tell();
        inner.stale.insert(stale) as u32
    }

    /// The topic at that place is no longer stale; `tell` is called before anyone can see it gone.
    pub fn end(&self, place: u32, tell: impl FnOnce()) {
        let mut inner = self.lock();
        tell();
        inner.stale.try_remove(place as usize);
        if inner.stale.is_empty() {
            inner.stale = Slab::new();
        }
    }

    /// Looks at the next `count` places of stale topics from `from` on and moves out those that
    /// are `wanted`; returns where to go on, or none behind the last.
    pub fn scan(
        &self,
        from: usize,
        count: usize,
        wanted: impl Fn(&Topic) -> bool,
        into: &mut Vec<Stale>,
    ) -> Option<usize> {
        let inner = self.lock();
        let end = from.saturating_add(count);
        let places = from..end.min(inner.stale.capacity());
        let stale = places.filter_map(|place| inner.stale.get(place));
        into.extend(stale.filter(|stale| wanted(&stale.topic)).cloned());
        (end < inner.stale.capacity()).then_some(end)
    }

    fn note_next(&self, inner: &Inner) {
        let next_ms = inner.due.peek().map_or(u64::MAX, |Reverse(due)| due.at_ms);
        self.next_ms.store(next_ms, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while the lock is held leaves whole values behind.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Silence {
    fn default() -> Self {
        Self { inner: Mutex::default(), next_ms: AtomicU64::new(u64::MAX) }
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Order {
        (self.at_ms, self.topic.id()).cmp(&(other.at_ms, other.topic.id()))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Order::Equal
    }
}

impl Eq for Due {}
