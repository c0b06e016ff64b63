//! Whose part of a delivery's latency is whose: until the kernel of this machine received it, the
//! network's and the target's; from there until it was counted, the load generator's own. No
//! sockets and no clock: times are passed in. Kept by each worker's ledger.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::ledger::histogram;
use super::receive::Receipt;
use crate::counts;
use crate::seconds::Seconds;

/// Not knowing the time of receipt by less than this does not matter: 1 ms.
const OPEN_NS: u64 = 1_000_000;

/// Nor by less than this part of the latency: a tenth.
const OPEN_PART: u64 = 10;

/// Both parts of every latency that the kernel gave a time for. Sums and histograms of one shape:
/// those of all workers add up.
#[derive(Debug, Deserialize, Serialize)]
pub struct Split {
    /// From the intended send to the kernel's receipt, in nanoseconds, of what was published after
    /// the warm-up. Only what can be told: see [`own`](Self::own).
    #[serde(with = "counts")]
    pub net: Histogram<u64>,
    /// From the kernel's receipt to the count. If several messages lay in the socket together, the
    /// kernel's time is that of the last; where the generator had not looked for long enough that
    /// the others may have come much earlier, the time it had not looked is in here, and nothing in
    /// `net`.
    #[serde(with = "counts")]
    pub own: Histogram<u64>,
    /// `net` by second.
    pub net_seconds: Seconds,
    /// `own` by second.
    pub own_seconds: Seconds,
    /// How often the realtime clock was set during the run, which makes all of this worthless.
    pub clock_steps: u64,
}

impl Split {
    pub(super) fn new() -> Self {
        Self {
            net: histogram(),
            own: histogram(),
            net_seconds: Seconds::new(0),
            own_seconds: Seconds::new(0),
            clock_steps: 0,
        }
    }

    /// Measuring begins at this time.
    pub(super) fn begin(&mut self, measured_from_ns: u64) {
        self.net_seconds = Seconds::new(measured_from_ns);
        self.own_seconds = Seconds::new(measured_from_ns);
    }

    /// A message that was due at `intended_ns` was counted at `now_ns`.
    pub(super) fn record(
        &mut self,
        intended_ns: u64,
        now_ns: u64,
        receipt: &Receipt,
        is_measured: bool,
    ) {
        let Some(kernel_ns) = receipt.kernel_ns else { return };
        let (net_ns, own_ns) = parts(intended_ns, kernel_ns.min(now_ns), now_ns, receipt);
        self.own_seconds.record(now_ns, own_ns);
        if let Some(net_ns) = net_ns {
            self.net_seconds.record(now_ns, net_ns);
        }
        if is_measured {
            self.own.saturating_record(own_ns);
            if let Some(net_ns) = net_ns {
                self.net.saturating_record(net_ns);
            }
        }
    }
}

/// The network's part, if it can be told, and the generator's, which is at most this.
fn parts(intended_ns: u64, kernel_ns: u64, now_ns: u64, receipt: &Receipt) -> (Option<u64>, u64) {
    let exact = (Some(kernel_ns.saturating_sub(intended_ns)), now_ns - kernel_ns);
    if receipt.is_last {
        return exact;
    }
    // It came at some time from here on, at the latest together with the last one.
    let earliest_ns = receipt.unseen_since_ns.max(intended_ns).min(kernel_ns);
    let latency_ns = now_ns.saturating_sub(intended_ns);
    if kernel_ns - earliest_ns <= OPEN_NS.max(latency_ns / OPEN_PART) {
        return exact;
    }
    (None, now_ns - earliest_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn receipt(kernel_ns: u64, unseen_since_ns: u64, is_last: bool) -> Receipt {
        Receipt { kernel_ns: Some(kernel_ns), unseen_since_ns, is_last }
    }

    #[test]
    fn the_parts_of_a_message_with_a_time_of_its_own_make_up_its_latency() {
        // Due at 100 ms, received at 103, counted at 110, though nobody looked for ages.
        let last = receipt(103 * MS, 0, true);
        assert_eq!(parts(100 * MS, 103 * MS, 110 * MS, &last), (Some(3 * MS), 7 * MS));
        // Received before it was due, as clocks of two machines may have it.
        assert_eq!(parts(105 * MS, 103 * MS, 110 * MS, &last), (Some(0), 7 * MS));
    }

    #[test]
    fn what_came_before_the_last_of_a_read_has_its_time_if_the_generator_was_looking() {
        // A target that held both back for 50 ms, and then sent them at once.
        let looking = receipt(150 * MS, 150 * MS, false);
        assert_eq!(parts(100 * MS, 150 * MS, 151 * MS, &looking), (Some(50 * MS), MS));
        let turn_of_4_ms = receipt(150 * MS, 146 * MS, false);
        assert_eq!(parts(100 * MS, 150 * MS, 151 * MS, &turn_of_4_ms), (Some(50 * MS), MS));
        // Both due within the last millisecond: no more than that is open.
        let away = receipt(150 * MS, 0, false);
        assert_eq!(parts(149 * MS, 150 * MS, 151 * MS, &away), (Some(MS), MS));
    }

    #[test]
    fn what_came_while_the_generator_was_not_looking_is_its_own_lag_and_no_network_time() {
        // Stalled from 90 to 600 ms; the last message in the socket came at 590.
        let stalled = receipt(590 * MS, 90 * MS, false);
        assert_eq!(parts(100 * MS, 590 * MS, 600 * MS, &stalled), (None, 500 * MS));
        assert_eq!(parts(80 * MS, 590 * MS, 600 * MS, &stalled), (None, 510 * MS));
    }

    #[test]
    fn only_what_is_measured_is_in_the_histograms_and_nothing_without_a_time() {
        let mut split = Split::new();
        split.begin(0);
        split.record(100 * MS, 110 * MS, &receipt(103 * MS, 0, true), true);
        split.record(100 * MS, 110 * MS, &receipt(103 * MS, 0, true), false);
        split.record(100 * MS, 600 * MS, &receipt(590 * MS, 90 * MS, false), true);
        split.record(100 * MS, 600 * MS, &Receipt::default(), true);
        assert_eq!((split.net.len(), split.own.len()), (1, 2));
        let seconds = crate::seconds::merge([split.own_seconds]);
        assert_eq!(seconds[&0].len(), 3);
    }
}
