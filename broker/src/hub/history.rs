//! What is kept of a topic: its newest messages, for those who come back or come late. Their seqs
//! are contiguous and end with the topic's newest.
//!
//! Bounded by the topic's rule in number, bytes and age; what all topics keep together is bounded
//! by whoever holds the [`Budget`]. No locks and no clock: the topic's lock guards it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::message::Message;
use crate::config::rules::Rule;

/// The messages that are kept of one topic.
#[derive(Debug, Default)]
pub struct History {
    kept: VecDeque<Kept>,
    bytes: u64,
    /// When the newest of those that were dropped was published; 0 if none was.
    dropped_ms: u64,
}

/// A message that is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The message.
    pub message: Arc<Message>,
    /// When it was published, in ms of the broker's clock.
    pub at_ms: u64,
}

/// What all topics may keep together.
#[derive(Debug)]
pub struct Budget {
    bytes: AtomicU64,
    messages: AtomicU64,
    bytes_max: u64,
    /// Memory is short: nothing more may be kept, however little it is.
    is_squeezed: AtomicBool,
}

impl History {
    /// Keeps a message, which must be the next of its topic, and drops what is too much.
    pub fn push(&mut self, message: Arc<Message>, now_ms: u64, rule: &Rule, budget: &Budget) {
        let (bytes, before) = (message.held_bytes() as u64, self.size());
        if budget.is_spent() && bytes > self.bytes {
            // It would take more than what it takes the place of.
            self.clear(budget);
            self.dropped_ms = now_ms.max(1);
            return;
        }
        self.kept.push_back(Kept { message, at_ms: now_ms });
        self.bytes += bytes;
        self.cut(now_ms, rule, budget.would_be_spent(bytes));
        budget.change(before, self.size());
    }

    /// Drops what is too old or too much. The newest is kept for as long as the rule keeps the
    /// last value, whatever its size.
    pub fn trim(&mut self, now_ms: u64, rule: &Rule, budget: &Budget) {
        let before = self.size();
        self.cut(now_ms, rule, budget.is_spent());
        budget.change(before, self.size());
    }

    fn cut(&mut self, now_ms: u64, rule: &Rule, squeezed: bool) {
        let messages_max = if squeezed { 0 } else { rule.history_messages as usize };
        while let Some(oldest) = self.kept.front() {
            let is_last = self.kept.len() == 1;
            let age_ms = now_ms.saturating_sub(oldest.at_ms);
            let is_history = self.kept.len() <= messages_max
                && age_ms < rule.history_ms
                && (self.bytes <= rule.history_bytes || is_last);
            if is_history || (is_last && age_ms < rule.last_ms) {
                break;
            }
            self.pop();
        }
    }

    /// Drops everything.
    pub fn clear(&mut self, budget: &Budget) {
        let before = self.size();
        while !self.kept.is_empty() {
            self.pop();
        }
        budget.change(before, self.size());
    }

    /// Whether messages that were published at that time or later are kept no more.
    pub fn has_dropped_since(&self, from_ms: u64) -> bool {
        self.dropped_ms > 0 && self.dropped_ms >= from_ms
    }

    /// Bytes of memory held by what is kept.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The newest message.
    pub fn newest(&self) -> Option<&Kept> {
        self.kept.back()
    }

    /// The messages that are history by `now_ms`: not those that are kept as the last value only.
    pub fn past(&self, now_ms: u64, rule: &Rule) -> impl DoubleEndedIterator<Item = &Kept> {
        let old = self.kept.partition_point(|kept| !is_past(kept, now_ms, rule));
        let skipped = self.kept.len().saturating_sub(rule.history_messages as usize).max(old);
        self.kept.range(skipped..)
    }

    /// All that is kept, the last value among it.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Kept> {
        self.kept.iter()
    }

    /// All that is kept from a seq on.
    pub fn from_seq(&self, seq: u64) -> impl Iterator<Item = &Kept> {
        let first = self.kept.front().map_or(0, |kept| kept.message.seq());
        let skipped = seq.saturating_sub(first).min(self.kept.len() as u64);
        self.kept.range(skipped as usize..)
    }

    /// Bytes and messages.
    fn size(&self) -> (u64, u64) {
        (self.bytes, self.kept.len() as u64)
    }

    fn pop(&mut self) {
        if let Some(oldest) = self.kept.pop_front() {
            let bytes = oldest.message.held_bytes() as u64;
            self.bytes -= bytes;
            self.dropped_ms = oldest.at_ms.max(1);
        }
        if self.kept.capacity() > 32 && self.kept.len() * 4 < self.kept.capacity() {
            self.kept.shrink_to(self.kept.len() * 2);
        }
    }
}

fn is_past(kept: &Kept, now_ms: u64, rule: &Rule) -> bool {
    now_ms.saturating_sub(kept.at_ms) < rule.history_ms
}

impl Budget {
    /// Nothing is kept yet, and at most `bytes_max` may be.
    pub fn new(bytes_max: u64) -> Self {
        let (bytes, messages) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { bytes, messages, bytes_max, is_squeezed: AtomicBool::new(false) }
    }

    /// Bytes of memory held by what is kept.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Messages that are kept.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Whether no more may be kept: of each topic then only the last message stays, and of a topic
    /// that keeps nothing yet not even that.
    pub fn is_spent(&self) -> bool {
        self.would_be_spent(0)
    }

    /// The same, with so many bytes more.
    fn would_be_spent(&self, bytes: u64) -> bool {
        self.bytes() + bytes > self.bytes_max || self.is_squeezed()
    }

    /// Lets nothing more be kept, whatever the limit is, or no longer so.
    pub fn squeeze(&self, is_squeezed: bool) {
        self.is_squeezed.store(is_squeezed, Ordering::Relaxed);
    }

    /// Whether nothing more may be kept because memory is short.
    pub fn is_squeezed(&self) -> bool {
        self.is_squeezed.load(Ordering::Relaxed)
    }

    /// Something else that topics keep took so many bytes before, and takes so many after.
    pub fn change_bytes(&self, before: u64, after: u64) {
        self.change((before, 0), (after, 0));
    }

    /// A topic kept so many bytes and messages before, and keeps so many after. Where one message
    /// takes the place of another there is often nothing to note, and no line to fight over.
    fn change(&self, before: (u64, u64), after: (u64, u64)) {
        if before.0 != after.0 {
            self.bytes.fetch_add(after.0.wrapping_sub(before.0), Ordering::Relaxed);
        }
        if before.1 != after.1 {
            self.messages.fetch_add(after.1.wrapping_sub(before.1), Ordering::Relaxed);
        }
    }
}
