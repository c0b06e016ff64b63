//! Latency by the second: one small histogram for the second under way, and what is left of those
//! before it, a few hundred bytes each, so that a run of hours fits in memory. Exact when the
//! workers' seconds are added up. No clock: times are passed in. Kept by each worker's ledger.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::counts;

/// A second in nanoseconds.
pub const SECOND_NS: u64 = 1_000_000_000;

/// The longest time that is told apart: one hour, as in the histogram of the whole run.
const NANOS_MAX: u64 = 3600 * SECOND_NS;

/// Two significant digits: a point of a plot is known to 1 per cent.
const DIGITS: u8 = 2;

/// The latencies of one worker, by the second in which the messages arrived.
///
/// ```
/// use loadgen::seconds::{Seconds, merge};
///
/// let mut seconds = Seconds::new(5_000_000_000);
/// seconds.record(4_900_000_000, 1_000); // before the origin: second -1
/// seconds.record(5_000_000_000, 2_000);
/// seconds.record(5_999_999_999, 9_000);
/// let merged = merge([seconds]);
/// assert_eq!(merged.keys().copied().collect::<Vec<_>>(), [-1, 0]);
/// assert_eq!(merged[&0].len(), 2);
/// ```
#[derive(Debug, Deserialize, Serialize)]
pub struct Seconds {
    origin_ns: u64,
    second: i64,
    /// When that second begins and ends.
    #[serde(skip)]
    begins_ns: u64,
    #[serde(skip)]
    ends_ns: u64,
    #[serde(with = "counts::coarse")]
    current: Histogram<u64>,
    /// Of the seconds that are over; those before the origin no longer once it is reached.
    #[serde(with = "counts::coarse")]
    whole: Histogram<u64>,
    past: Vec<Past>,
}

/// A second that is over.
#[derive(Debug, Deserialize, Serialize)]
struct Past {
    second: i64,
    /// Latencies in nanoseconds and how often each was seen.
    counts: Vec<(u64, u64)>,
}

impl Seconds {
    /// Counts seconds from `origin_ns`; what is earlier is in second -1, -2 and so on.
    #[must_use]
    pub fn new(origin_ns: u64) -> Self {
        let (current, whole) = (small_histogram(), small_histogram());
        Self { origin_ns, second: 0, begins_ns: 0, ends_ns: 0, current, whole, past: Vec::new() }
    }

    /// A message arrived at `now_ns`, `latency_ns` after it was due.
    pub fn record(&mut self, now_ns: u64, latency_ns: u64) {
        if !(self.begins_ns..self.ends_ns).contains(&now_ns) {
            self.turn_to(now_ns);
        }
        self.current.saturating_record(latency_ns);
    }

    /// What comes from here on is of the second that `now_ns` is in.
    fn turn_to(&mut self, now_ns: u64) {
        let since_ns = now_ns.cast_signed().wrapping_sub(self.origin_ns.cast_signed());
        let second = since_ns.div_euclid(SECOND_NS.cast_signed());
        let begun_ns = since_ns.rem_euclid(SECOND_NS.cast_signed()).cast_unsigned();
        self.begins_ns = now_ns.saturating_sub(begun_ns);
        self.ends_ns = now_ns.saturating_add(SECOND_NS - begun_ns);
        if second != self.second {
            self.close_second();
            if self.second < 0 && second >= 0 {
                self.whole.reset();
            }
            self.second = second;
        }
    }

    /// Everything from the origin on, or while nothing has come since, what was before it; replaces
    /// what `to` holds, which must be a histogram for one second.
    pub fn copy_to(&self, to: &mut Histogram<u64>) {
        to.set_to(&self.whole).expect("both have one shape");
        to.add(&self.current).expect("both have one shape");
    }

    fn close_second(&mut self) {
        if self.current.is_empty() {
            return;
        }
        let counts = self.current.iter_recorded();
        let counts = counts.map(|step| (step.value_iterated_to(), step.count_at_value())).collect();
        self.past.push(Past { second: self.second, counts });
        self.whole.add(&self.current).expect("both have one shape");
        self.current.reset();
    }
}

/// The histograms of all workers, added up by second. Seconds in which nothing arrived are absent.
#[must_use]
pub fn merge(all: impl IntoIterator<Item = Seconds>) -> BTreeMap<i64, Histogram<u64>> {
    let mut merged = BTreeMap::new();
    for mut seconds in all {
        seconds.close_second();
        for past in seconds.past {
            let histogram = merged.entry(past.second).or_insert_with(small_histogram);
            for (latency_ns, count) in past.counts {
                histogram.saturating_record_n(latency_ns, count);
            }
        }
    }
    merged
}

/// An empty histogram of nanoseconds up to an hour, known to 1 per cent.
#[must_use]
pub(crate) fn small_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, NANOS_MAX, DIGITS).expect("the bounds and digits are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seconds_of_two_workers_add_up_to_what_one_would_have_seen() {
        let samples: Vec<(u64, u64)> =
            (0..3000).map(|k| (k * 1_000_000, 1_000 + k * k * 17)).collect();
        let mut one = Seconds::new(0);
        let mut two = [Seconds::new(0), Seconds::new(0)];
        for (at, &(now_ns, latency_ns)) in samples.iter().enumerate() {
            one.record(now_ns, latency_ns);
            two[at % 2].record(now_ns, latency_ns);
        }
        let (one, two) = (merge([one]), merge(two));
        assert_eq!(one, two);
        assert_eq!(one.values().map(Histogram::len).collect::<Vec<_>>(), [1000; 3]);
    }

    #[test]
    fn what_is_so_far_begins_anew_at_the_origin() {
        let mut seconds = Seconds::new(5_000_000_000);
        let mut so_far = small_histogram();
        let mut len = |seconds: &Seconds| {
            seconds.copy_to(&mut so_far);
            so_far.len()
        };
        for now_ns in [3_500_000_000, 4_100_000_000, 4_900_000_000] {
            seconds.record(now_ns, 1_000);
        }
        assert_eq!(len(&seconds), 3);
        for now_ns in [5_000_000_000, 5_100_000_000, 6_200_000_000, 9_000_000_000] {
            seconds.record(now_ns, 1_000);
        }
        assert_eq!(len(&seconds), 4);
    }

    #[test]
    fn a_second_without_arrivals_is_absent() {
        let mut seconds = Seconds::new(0);
        seconds.record(500_000_000, 1);
        seconds.record(3_500_000_000, 3_000_000_000);
        let merged = merge([seconds]);
        assert_eq!(merged.keys().copied().collect::<Vec<_>>(), [0, 3]);
        assert!(merged[&3].max() >= 3_000_000_000);
    }
}
