//! Where the workers put together what each has seen of a message: the slots of all topics, behind
//! one lock. Entered once a turn with what has become complete meanwhile, not for each delivery.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Seen, Slots};
use crate::engine::Plan;

/// What all workers of an engine have seen.
#[derive(Debug)]
pub(in crate::engine) struct Merge(Mutex<Slots>);

impl Merge {
    /// Room for the topics of this plan, if it has several workers.
    pub(in crate::engine) fn new(plan: &Plan) -> Self {
        let topics = if plan.threads > 1 { plan.topics.len() } else { 0 };
        Self(Mutex::new(Slots::new(topics)))
    }

    /// None if somebody is there, unless it `must` be.
    pub(super) fn lock(&self, must: bool) -> Option<MutexGuard<'_, Slots>> {
        match must {
            true => Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)),
            false => self.0.try_lock().ok(),
        }
    }
}

impl Slots {
    /// Adds a worker's part of a message; returns the whole once that was the last one.
    pub(super) fn add(&mut self, seen: &Seen) -> Option<Seen> {
        let slot = self.slot_of(&seen.stamp, seen.first_ns)?;
        slot.first_ns = slot.first_ns.min(seen.first_ns);
        slot.last_ns = slot.last_ns.max(seen.last_ns);
        slot.count += seen.count;
        let whole = Seen { first_ns: slot.first_ns, last_ns: slot.last_ns, ..*seen };
        (slot.count == seen.all).then_some(whole)
    }
}
