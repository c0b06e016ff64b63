//! A queue from many threads to one, bounded in bytes, softly: whoever puts something in is told
//! when the limit is passed, and is remembered, to be woken when the queue has been emptied.
//!
//! What a worker's mailbox and a log are made of; each keeps a state `S` of its own under the same
//! lock. Knows no threads, and nothing of what lies in it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::workers::WorkerSet;

/// The queue.
#[derive(Debug)]
pub(super) struct Queue<T, S> {
    inner: Mutex<Inner<T, S>>,
    /// What `inner.bytes` is, to be read without the lock.
    bytes: AtomicU64,
    bytes_max: u64,
}

#[derive(Debug)]
struct Inner<T, S> {
    items: VecDeque<T>,
    bytes: u64,
    /// Workers that wait for the queue to be emptied.
    waiting: WorkerSet,
    state: S,
}

/// The queue while its lock is held.
pub(super) struct Locked<'q, T, S> {
    inner: MutexGuard<'q, Inner<T, S>>,
    queue: &'q Queue<T, S>,
}

impl<T, S: Default> Queue<T, S> {
    /// An empty queue that asks for a pause above `bytes_max`.
    pub(super) fn new(bytes_max: u64) -> Self {
        let (items, state) = (VecDeque::new(), S::default());
        let inner = Mutex::new(Inner { items, bytes: 0, waiting: 0, state });
        Self { inner, bytes: AtomicU64::new(0), bytes_max }
    }
}

impl<T, S> Queue<T, S> {
    /// Takes the lock.
    pub(super) fn lock(&self) -> Locked<'_, T, S> {
        // A panic while the lock is held leaves whole values behind.
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { inner, queue: self }
    }

    /// Whether it is over its limit; if so, the worker `from` is named by the
    /// [`take`](Locked::take) that empties it.
    pub(super) fn is_full_for(&self, from: usize) -> bool {
        if !self.is_full() {
            return false;
        }
        let mut inner = self.lock().inner;
        let is_full = inner.bytes > self.bytes_max;
        inner.waiting |= u64::from(is_full) << from;
        is_full
    }

    /// Whether it is over its limit.
    pub(super) fn is_full(&self) -> bool {
        self.bytes() > self.bytes_max
    }

    /// Bytes of memory held by what waits.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Above how many bytes it asks for a pause.
    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }
}

impl<T, S> Locked<'_, T, S> {
    /// Puts an item last, which holds so many bytes; whether the queue is over its limit. A worker
    /// `from` that is told so is remembered, and named by the [`take`](Self::take) that empties
    /// the queue.
    pub(super) fn push(&mut self, item: T, bytes: u64, from: Option<usize>) -> bool {
        let inner = &mut *self.inner;
        inner.bytes += bytes;
        inner.items.push_back(item);
        self.queue.bytes.store(inner.bytes, Ordering::Relaxed);
        let is_full = inner.bytes > self.queue.bytes_max;
        if let (true, Some(from)) = (is_full, from) {
            inner.waiting |= 1 << from;
        }
        is_full
    }

    /// Moves all that waits behind what is in `into`; returns the workers that waited for this.
    pub(super) fn take(&mut self, into: &mut VecDeque<T>) -> WorkerSet {
        let inner = &mut *self.inner;
        inner.bytes = 0;
        self.queue.bytes.store(0, Ordering::Relaxed);
        if into.is_empty() {
            std::mem::swap(into, &mut inner.items);
        } else {
            into.append(&mut inner.items);
        }
        std::mem::take(&mut inner.waiting)
    }

    /// Keeps room for so many items, no more.
    pub(super) fn shrink_to(&mut self, items: usize) {
        self.inner.items.shrink_to(items);
    }

    /// How many items wait.
    pub(super) fn len(&self) -> usize {
        self.inner.items.len()
    }

    /// Bytes of memory held by them.
    pub(super) fn bytes(&self) -> u64 {
        self.inner.bytes
    }

    /// What is kept beside them.
    pub(super) fn state(&mut self) -> &mut S {
        &mut self.inner.state
    }
}
