//! What became of subscriptions to the newest of each topic alone: what was conflated, whether the
//! rate was kept, and when the last value was there. Shown by the text and JSON forms of a report.

use serde_json::{Value, json};

use super::{Report, grouped, text};
use crate::account::Totals;
use crate::engine::{Latest, Ledger};

/// How much later than an interval after the last send the newest value may come, for what a
/// network and a busy machine take: one second.
const SLACK_NS: u64 = 1_000_000_000;

/// The newest values of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Newest {
    /// Deliveries beyond what the rate allows.
    pub over_rate: u64,
    /// The most messages of one topic that one subscriber got within a second.
    pub peak_per_second: u64,
    /// When the last message was sent.
    pub last_send_ns: u64,
    /// When the last one arrived.
    pub last_arrival_ns: u64,
}

impl Newest {
    pub(super) fn settle(&mut self, ledgers: &[Ledger]) {
        let most = |number: fn(&Ledger) -> u64| ledgers.iter().map(number).max().unwrap_or(0);
        self.last_send_ns = most(|ledger| ledger.last_send_ns);
        self.last_arrival_ns = most(|ledger| ledger.last_arrival_ns);
        self.peak_per_second = most(|ledger| ledger.peak.per_second());
    }

    /// Adds an account, which `allowed` deliveries may be in.
    pub(super) fn add(&mut self, totals: &Totals, allowed: u64) {
        self.over_rate += totals.delivered.saturating_sub(allowed);
    }

    /// From the last send to the last arrival, in nanoseconds.
    #[must_use]
    pub fn settled_ns(&self) -> u64 {
        self.last_arrival_ns.saturating_sub(self.last_send_ns)
    }

    /// Whether the last values came later than the rate explains.
    #[must_use]
    pub fn is_late(&self, latest: Latest) -> bool {
        self.settled_ns() > latest.interval_ns() + SLACK_NS
    }

    pub(super) fn is_right(&self, latest: Option<Latest>) -> bool {
        latest.is_none_or(|latest| self.over_rate == 0 && !self.is_late(latest))
    }
}

/// The line about the newest; none where everything was asked for.
pub(super) fn summary(out: &mut String, report: &Report) {
    let Some(latest) = report.plan.latest else { return };
    let totals = &report.totals;
    let rate = latest.max_rate.map_or_else(String::new, |rate| format!(", at most {rate}/s"));
    let line = format!(
        "of each topic{rate}: {} delivered, {} conflated by request; nobody got more than {} of a topic \
         within a second; the newest values were there {} after the last send",
        grouped(totals.delivered),
        grouped(totals.conflated),
        grouped(report.newest.peak_per_second),
        text::time(report.newest.settled_ns())
    );
    text::line(out, "the newest", &line);
}

/// For programs; null where everything was asked for.
pub(super) fn json(report: &Report) -> Value {
    let Some(latest) = report.plan.latest else { return Value::Null };
    json!({
        "max_per_second": latest.max_rate,
        "peak_per_second": report.newest.peak_per_second,
        "conflated": report.totals.conflated,
        "over_rate": report.newest.over_rate,
        "settled_ms": report.newest.settled_ns() as f64 / 1e6,
        "late": report.newest.is_late(latest),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;
    use crate::report::Outcome;

    #[test]
    fn what_was_conflated_by_request_is_no_fault_but_too_much_and_too_late_are() {
        let mut report = report(2, 0);
        report.plan.latest = Some(Latest { max_rate: Some(4.0) });
        report.totals.delivered -= 12;
        report.totals.conflated = 12;
        assert_eq!(report.outcome(), Outcome::Delivered);
        assert!(super::super::verdict(&report).contains("8 delivered, 12 conflated by request, 0"));
        report.newest.last_arrival_ns = SLACK_NS + 250_000_000;
        assert_eq!(report.outcome(), Outcome::Delivered);
        report.newest.last_arrival_ns += 1;
        assert_eq!(report.outcome(), Outcome::Broken);
        assert!(super::super::verdict(&report).ends_with("1 newest value too late"));
        report.newest.last_arrival_ns = 0;
        report.newest.add(&report.totals, 7);
        report.newest.peak_per_second = 5;
        assert_eq!((report.newest.over_rate, report.outcome()), (1, Outcome::Broken));
        let mut out = String::new();
        summary(&mut out, &report);
        assert!(out.contains("of each topic, at most 4/s: 8 delivered, 12 conflated"), "{out}");
        assert!(out.contains("nobody got more than 5 of a topic within a second"), "{out}");
        let told = json(&report);
        assert_eq!((&told["max_per_second"], &told["peak_per_second"]), (&json!(4.0), &json!(5)));
    }
}
