//! Gives every client of a worker one turn in each interval, spread evenly over it, so that there
//! is no timer for each. Pure arithmetic; used for keep-alives and for polls.

use std::ops::Range;

/// The turns of one worker's clients.
#[derive(Debug)]
pub(super) struct Turns {
    every_ns: u64,
    since_ns: u64,
    /// How many turns there were.
    count: u64,
}

impl Turns {
    /// One turn for each in so long a time; the first comes after `now_ns`.
    pub(super) fn new(every_ns: u64, now_ns: u64) -> Self {
        Self { every_ns, since_ns: now_ns, count: 0 }
    }

    /// The turns that came since the last call, at most one for each of `clients`: turn n is
    /// client n modulo the clients.
    pub(super) fn due(&mut self, now_ns: u64, clients: usize) -> Range<u64> {
        let passed_ns = u128::from(now_ns.saturating_sub(self.since_ns));
        let due = (passed_ns * clients as u128 / u128::from(self.every_ns)) as u64;
        let first = self.count.max(due.saturating_sub(clients as u64));
        self.count = due;
        first..due
    }

    /// When the next turn comes; none where nobody has one.
    pub(super) fn next_due_ns(&self, clients: usize) -> Option<u64> {
        let passed_ns = (u128::from(self.count) + 1) * u128::from(self.every_ns);
        let after_ns = passed_ns.div_ceil((clients as u128).max(1));
        (clients > 0).then(|| self.since_ns.saturating_add(after_ns as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_NS: u64 = 20_000_000_000;

    #[test]
    fn every_client_has_one_turn_in_each_interval_and_a_worker_that_slept_gives_no_more() {
        let mut turns = Turns::new(EVERY_NS, 5);
        let mut all = Vec::new();
        for step in 0..=100 {
            all.extend(turns.due(5 + step * EVERY_NS / 100, 7));
        }
        assert!(all.into_iter().eq(0..7));
        assert_eq!(turns.due(5 + 10 * EVERY_NS, 7), 63..70);
        assert_eq!(Turns::new(EVERY_NS, 5).due(u64::MAX, 0), 0..0);
    }

    #[test]
    fn at_the_time_that_is_told_there_is_one_turn_and_none_before() {
        let mut turns = Turns::new(1_000, 50);
        assert_eq!(turns.next_due_ns(0), None);
        for turn in 0..20 {
            let next_ns = turns.next_due_ns(3).unwrap();
            assert_eq!(turns.due(next_ns - 1, 3), turn..turn);
            assert_eq!(turns.due(next_ns, 3), turn..turn + 1);
        }
    }
}
