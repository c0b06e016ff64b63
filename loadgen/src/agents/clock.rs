//! How far the clock of another host is from ours: many short exchanges, of which the quickest
//! tells most, as NTP does it (RFC 5905 §8). Pure arithmetic on times that are passed in; asked by
//! the run before and after it measures.

/// One question and its answer.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// When the question was sent, on our clock.
    pub sent_ns: u64,
    /// What the other clock showed.
    pub there_ns: u64,
    /// When the answer was here, on our clock.
    pub back_ns: u64,
}

/// What is known of the other clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// What to add to the other clock to get ours.
    pub offset_ns: i64,
    /// The truth is at most so far from that: half of the quickest exchange.
    pub uncertainty_ns: u64,
}

/// How well an agent's times can be compared with those of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockQuality {
    /// How well its clock was known when measuring began.
    pub uncertainty_ns: u64,
    /// How far it was from where it should have been when measuring was over.
    pub drift_ns: u64,
    /// The most that a time of its can be wrong by.
    pub error_ns: u64,
}

impl Estimate {
    /// From these exchanges; none if there are none.
    ///
    /// ```
    /// use loadgen::agents::{Estimate, Exchange};
    ///
    /// // The other clock is 1,000 behind; one of the answers was held up for 80.
    /// let exchanges = [
    ///     Exchange { sent_ns: 5_000, there_ns: 4_010, back_ns: 5_100 },
    ///     Exchange { sent_ns: 6_000, there_ns: 5_010, back_ns: 6_020 },
    /// ];
    /// let estimate = Estimate::from_exchanges(exchanges).unwrap();
    /// assert_eq!((estimate.offset_ns, estimate.uncertainty_ns), (1_000, 10));
    /// ```
    pub fn from_exchanges(exchanges: impl IntoIterator<Item = Exchange>) -> Option<Self> {
        let took_ns = |exchange: &Exchange| exchange.back_ns.saturating_sub(exchange.sent_ns);
        let quickest = exchanges.into_iter().min_by_key(took_ns)?;
        let half_ns = took_ns(&quickest).div_ceil(2);
        let middle_ns = quickest.sent_ns.wrapping_add(half_ns);
        let offset_ns = middle_ns.wrapping_sub(quickest.there_ns).cast_signed();
        Some(Self { offset_ns, uncertainty_ns: half_ns })
    }

    /// How good this estimate was, given that of the end.
    #[must_use]
    pub fn judged_by(&self, end: &Self) -> ClockQuality {
        let drift_ns = end.offset_ns.wrapping_sub(self.offset_ns).unsigned_abs();
        let error_ns = self.uncertainty_ns.max(drift_ns.saturating_add(end.uncertainty_ns));
        ClockQuality { uncertainty_ns: self.uncertainty_ns, drift_ns, error_ns }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_clock_that_drifted_is_wrong_by_the_drift_and_what_is_not_known_of_it() {
        let begin = Estimate { offset_ns: -500, uncertainty_ns: 30 };
        let steady = begin.judged_by(&Estimate { offset_ns: -510, uncertainty_ns: 5 });
        assert_eq!(steady, ClockQuality { uncertainty_ns: 30, drift_ns: 10, error_ns: 30 });
        let drifted = begin.judged_by(&Estimate { offset_ns: 300, uncertainty_ns: 40 });
        assert_eq!(drifted, ClockQuality { uncertainty_ns: 30, drift_ns: 800, error_ns: 840 });
    }

    proptest! {
        #[test]
        fn the_truth_is_within_the_uncertainty_whatever_the_ways_take(
            behind_ns in -(1_i64 << 60)..1 << 60,
            ways in prop::collection::vec((0..50_000_000_u64, 0..50_000_000_u64), 1..40),
        ) {
            let exchanges = ways.iter().zip(0_u64..).map(|(&(there, back), step)| {
                let sent_ns = (1 << 62) + step * 200_000_000;
                let there_ns = (sent_ns + there).wrapping_sub(behind_ns.cast_unsigned());
                Exchange { sent_ns, there_ns, back_ns: sent_ns + there + back }
            });
            let estimate = Estimate::from_exchanges(exchanges).unwrap();
            let error_ns = estimate.offset_ns.abs_diff(behind_ns);
            prop_assert!(error_ns <= estimate.uncertainty_ns, "{error_ns}: {estimate:?}");
        }
    }
}
