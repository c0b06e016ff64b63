//! Those who leave during a run and come back: in turn, or all at once. Part of the worker, which
//! calls it in every turn.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::{Phase, Worker};
use crate::engine::Storm;
use crate::sys;

/// How long to wait after a first attempt to come back that failed; twice as long after each other.
const RETRY_NS: u64 = 50_000_000;

/// The longest of these waits.
const RETRY_MAX_NS: u64 = 1_000_000_000;

/// Whose connections were cut.
#[derive(Default)]
pub(super) struct Cut {
    /// How many storms have been.
    storms: u32,
    /// When who tries to come back.
    returns: BinaryHeap<Reverse<(u64, usize)>>,
    away: HashMap<usize, Away>,
}

/// One that is not back.
struct Away {
    since_ns: u64,
    storm: u32,
    attempts: u32,
}

impl Cut {
    /// Where it was for so long, in which storm; none if it was not away.
    pub(super) fn take_back(&mut self, index: usize, now_ns: u64) -> Option<(u32, u64)> {
        let away = self.away.remove(&index)?;
        Some((away.storm, now_ns.saturating_sub(away.since_ns)))
    }

    /// How many are away.
    pub(super) fn count(&self) -> u64 {
        self.away.len() as u64
    }

    /// An attempt failed; returns whether it was one to come back, which there will be more of.
    pub(super) fn retries(&mut self, index: usize, now_ns: u64) -> bool {
        let Some(away) = self.away.get_mut(&index) else { return false };
        let wait_ns = RETRY_MAX_NS.min(RETRY_NS << away.attempts.min(10));
        away.attempts += 1;
        self.returns.push(Reverse((now_ns + wait_ns / 2 + fastrand::u64(..=wait_ns / 2), index)));
        true
    }

    fn take_due(&mut self, now_ns: u64) -> Option<usize> {
        let &Reverse((at_ns, index)) = self.returns.peek()?;
        (at_ns <= now_ns).then(|| {
            self.returns.pop();
            index
        })
    }
}

impl Worker {
    /// Lets those leave whose turn it is, and brings those back who were away for long enough;
    /// once nothing is published any more, all of them.
    pub(super) fn churn(&mut self) {
        let Some(churn) = self.plan.churn else { return };
        let now_ns = sys::now_ns();
        if self.phase == Phase::Publish {
            let after_ns = now_ns.saturating_sub(self.shared.start_ns());
            while let Some(subscriber) = churn.next_due(&mut self.turn, after_ns) {
                if let Some(index) = self.plan.part.place_of(subscriber, self.index) {
                    self.leave(index, now_ns);
                }
            }
        }
        let until_ns = if self.phase == Phase::Drain { u64::MAX } else { now_ns };
        while let Some(&(index, at_ns)) = self.away.front() {
            if at_ns > until_ns || self.connecting_count >= self.connecting_max() {
                break;
            }
            self.away.pop_front();
            self.clients[index].reset();
            self.open(index, now_ns);
        }
        self.connect();
    }

    /// Who is not back yet from the last time stays away.
    fn leave(&mut self, index: usize, now_ns: u64) {
        if self.clients[index].is_ready() {
            self.ledger.left += 1;
            let change = self.clients[index].close();
            self.handle_change(index, change);
            self.connecting.push_back((index, now_ns));
        }
    }

    /// Cuts the connections when a storm comes, and lets each come back in its time. However many
    /// that are at once: that is what a storm is.
    pub(super) fn storm(&mut self) {
        let Some(storm) = self.plan.storm else { return };
        let now_ns = sys::now_ns();
        if self.phase == Phase::Publish {
            let after_ns = now_ns.saturating_sub(self.shared.start_ns());
            let due_ns = storm.due_after_ns(self.cut.storms);
            if due_ns.is_some_and(|due_ns| due_ns <= after_ns) {
                self.strike(&storm, now_ns);
            }
        }
        while let Some(index) = self.cut.take_due(now_ns) {
            self.clients[index].reset();
            self.open(index, now_ns);
        }
        self.connect();
    }

    /// Who is not back yet from the last storm stays away.
    fn strike(&mut self, storm: &Storm, now_ns: u64) {
        let number = self.cut.storms;
        self.cut.storms += 1;
        let share = self.plan.part.numbers(self.index, storm.subscribers).count();
        for index in 0..share {
            if self.clients[index].is_ready() {
                self.clients[index].reset();
                self.open -= 1;
                self.ledger.storm.cut += 1;
                let away = Away { since_ns: now_ns, storm: number, attempts: 0 };
                self.cut.away.insert(index, away);
                let wait_ns = fastrand::u64(..=storm.spread_ns);
                self.cut.returns.push(Reverse((now_ns + wait_ns, index)));
            }
        }
    }

    /// A connection could not be made, or ended before it was ready.
    pub(super) fn handle_unreached(&mut self, index: usize, why: String) {
        if self.cut.retries(index, sys::now_ns()) {
            self.ledger.storm.failed.add(why);
        } else {
            self.ledger.failures.add(why);
            self.ledger.progress.failed += 1;
        }
    }

    /// A connection is ready that was there before.
    pub(super) fn handle_back(&mut self, index: usize) {
        // A connection for polls that the server closed in between was never missed.
        self.ledger.rejoined += u64::from(self.polls.is_none());
        if let Some((storm, nanos)) = self.cut.take_back(index, sys::now_ns()) {
            self.ledger.storm.handle_back(storm, nanos);
        }
    }

    /// Nobody comes back any more. What is gone for those of whom nothing came since is missed.
    pub(super) fn end_absences(&mut self) {
        self.ledger.groups.handle_end(sys::now_ns());
        self.ledger.storm.absent = self.cut.count();
        for (account, gone_to) in self.ledger.storm.take_all_gone() {
            self.ledger.handle_rejoin(account, gone_to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_to_come_back_tries_again_later_and_later() {
        let mut cut = Cut::default();
        assert!(!cut.retries(3, 0));
        cut.away.insert(3, Away { since_ns: 10, storm: 1, attempts: 0 });
        for wait_ns in [RETRY_NS, 2 * RETRY_NS, 4 * RETRY_NS] {
            assert!(cut.retries(3, 0));
            assert_eq!((cut.take_due(wait_ns / 2 - 1), cut.take_due(wait_ns)), (None, Some(3)));
        }
        assert_eq!((cut.take_back(3, 25), cut.take_back(3, 25)), (Some((1, 15)), None));
        assert_eq!(cut.count(), 0);
    }
}
