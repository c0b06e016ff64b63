//! Which connections are whose: all workers of a run, in however many processes, take subscribers
//! and publishers in turn. Pure arithmetic; asked by the plan and the workers.

use serde::{Deserialize, Serialize};

/// The workers of one engine among those of the whole run.
///
/// ```
/// use loadgen::engine::Part;
///
/// // The second of two processes with two threads each.
/// let part = Part { first: 2, workers: 4 };
/// assert!(part.numbers(1, 10).eq([3, 7]));
/// assert_eq!((part.place_of(7, 1), part.place_of(6, 1)), (Some(1), None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Part {
    /// The number of its first worker.
    pub first: usize,
    /// Workers of all engines together, at least one.
    pub workers: usize,
}

impl Part {
    /// All there are.
    #[must_use]
    pub const fn whole(threads: usize) -> Self {
        Self { first: 0, workers: threads }
    }

    /// Which of `count` subscribers or publishers belong to the engine's worker number `worker`, in
    /// the order of their places with it.
    pub fn numbers(self, worker: usize, count: u32) -> impl Iterator<Item = u32> + use<> {
        ((self.first + worker) as u32..count).step_by(self.workers)
    }

    /// The place of a subscriber or publisher with the engine's worker number `worker`; none if it
    /// belongs to another.
    #[must_use]
    pub fn place_of(self, number: u32, worker: usize) -> Option<usize> {
        let number = number as usize;
        (number % self.workers == self.first + worker).then_some(number / self.workers)
    }

    /// A number that no other connection of the run has, for the one at `place` with the engine's
    /// worker number `worker`.
    #[must_use]
    pub fn unique(self, worker: usize, place: usize) -> u32 {
        (place * self.workers + self.first + worker) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_belongs_to_one_worker_of_one_process_whatever_threads_each_has() {
        let threads = [2, 1, 3];
        let workers = threads.iter().sum();
        let mut first = 0;
        let mut all = Vec::new();
        for threads in threads {
            let part = Part { first, workers };
            for worker in 0..threads {
                for (place, number) in part.numbers(worker, 50).enumerate() {
                    assert_eq!(part.place_of(number, worker), Some(place));
                    assert_eq!(part.unique(worker, place), number);
                    all.push(number);
                }
            }
            first += threads;
        }
        all.sort_unstable();
        assert!(all.into_iter().eq(0..50));
    }
}
