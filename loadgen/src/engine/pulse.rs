//! What the workers tell of a run while it goes on, beyond the gauges: latency so far, and how well
//! they themselves keep up. A worker takes it from its ledger a few times a second, between two
//! turns and never for a message, and waits for nobody. For those who look on; what is reported
//! comes from the ledgers.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{Hiccups, Ledger};
use crate::counts;
use crate::seconds::small_histogram;

/// How often a worker takes its pulse: every 200 ms.
pub const PULSE_EVERY_NS: u64 = 200_000_000;

/// The quantile of [`Pulse::lag_ns`]: the highest that the verdict looks at.
const LAG_QUANTILE: f64 = 0.99;

/// How one worker does, or all together. Before measuring begins, only the latency is filled.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Pulse {
    /// From the intended send to the arrival, in nanoseconds, of what arrived since measuring
    /// began; before that, of what arrived during the warm-up.
    #[serde(with = "counts::coarse")]
    pub latency: Histogram<u64>,
    /// 99 per cent of the measured messages were sent no later than so long after they were due; of
    /// several publishing workers, the worst one's.
    pub lag_ns: u64,
    /// The processor time of the busiest thread since measuring began, as a share of the time.
    pub busiest_share: f64,
    /// Sleeps that ended late while measuring.
    pub hiccups: Hiccups,
}

impl Pulse {
    /// Takes over what the worker knows by now; `busy_share` is that of its thread.
    pub(super) fn take(&mut self, ledger: &Ledger, busy_share: f64) {
        ledger.seconds.copy_to(&mut self.latency);
        self.lag_ns = ledger.lag.value_at_quantile(LAG_QUANTILE);
        self.busiest_share = busy_share;
        self.hiccups = ledger.hiccups;
    }

    /// Adds that of another worker.
    pub fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency).expect("all pulses have one shape");
        self.lag_ns = self.lag_ns.max(other.lag_ns);
        self.busiest_share = self.busiest_share.max(other.busiest_share);
        self.hiccups.add(&other.hiccups);
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            latency: small_histogram(),
            lag_ns: 0,
            busiest_share: 0.0,
            hiccups: Hiccups::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_workers_samples_add_up_and_the_worst_speaks_for_all() {
        let mut all = Pulse::default();
        for (latency_ns, lag_ns, busiest_share) in [(1_000, 7, 0.5), (9_000, 3, 0.8)] {
            let mut one = Pulse { lag_ns, busiest_share, ..Pulse::default() };
            one.latency.record(latency_ns).unwrap();
            one.hiccups.handle_wake(super::super::HICCUP_NS);
            all.add(&one);
        }
        assert_eq!((all.latency.len(), all.lag_ns, all.hiccups.count), (2, 7, 2));
        assert!((all.busiest_share - 0.8).abs() < f64::EPSILON);
    }
}
