//! The course of a run, second by second: what the watch saw and what the workers timed, put side
//! by side. Adds nothing of its own; shown by the JSON, CSV and HTML forms of a report.

use std::collections::BTreeMap;
use std::ops::Range;

use hdrhistogram::Histogram;

use super::{Report, quantile_ns};
use crate::watch::{Sample, cores, second_of};

/// What happened between two looks, a second apart as a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// When it begins, in seconds after the begin of measuring; negative before that. In a run
    /// that never came to measuring, after the begin of connecting.
    pub at_s: f64,
    /// How long it is.
    pub seconds: f64,
    /// Messages sent.
    pub sent: u64,
    /// Messages that arrived, each once per subscriber.
    pub delivered: u64,
    /// Connections that are ready at its end.
    pub connections: u64,
    /// The median latency of what arrived, if there was enough to tell.
    pub p50_ns: Option<u64>,
    /// The 99th percentile, if there was enough to tell.
    pub p99_ns: Option<u64>,
    /// The 99th percentile of the network's and the target's part, if it is known.
    pub net_p99_ns: Option<u64>,
    /// The 99th percentile of the load generator's own part, if it is known.
    pub own_p99_ns: Option<u64>,
    /// How many cores the load generator used.
    pub own_cores: Option<f64>,
    /// How many cores the target used, if it was watched.
    pub target_cores: Option<f64>,
}

/// The whole run in order.
#[must_use]
pub fn rows(report: &Report) -> Vec<Row> {
    let origin_ns = match report.course.start_ns {
        0 => report.course.begun_ns,
        start_ns => start_ns + report.plan.schedule.measured_after_ns(),
    };
    let pairs = report.watched.samples.windows(2);
    pairs.map(|pair| row(report, origin_ns, &pair[0], &pair[1])).collect()
}

fn row(report: &Report, origin_ns: u64, from: &Sample, to: &Sample) -> Row {
    let (before, after) = (&from.progress, &to.progress);
    let first = second_of(from.at_ns, origin_ns);
    let end = second_of(to.at_ns, origin_ns).max(first + 1);
    let within = |seconds: &BTreeMap<i64, _>| sum(seconds, first..end);
    let latency = within(&report.seconds);
    let quantile = |sum: &Option<Histogram<u64>>, quantile| {
        sum.as_ref().and_then(|sum| quantile_ns(sum, quantile))
    };
    let since_ns = from.at_ns.cast_signed() - origin_ns.cast_signed();
    Row {
        at_s: since_ns as f64 / 1e9,
        seconds: to.at_ns.saturating_sub(from.at_ns) as f64 / 1e9,
        sent: after.sent.saturating_sub(before.sent),
        delivered: after.delivered.saturating_sub(before.delivered),
        connections: after.ready.saturating_sub(after.closed),
        p50_ns: quantile(&latency, 0.5),
        p99_ns: quantile(&latency, 0.99),
        net_p99_ns: quantile(&within(&report.parts.net_seconds), 0.99),
        own_p99_ns: quantile(&within(&report.parts.own_seconds), 0.99),
        own_cores: cores(from, to, |sample| Some(sample.own_cpu_ns)),
        target_cores: cores(from, to, |sample| sample.target.map(|usage| usage.cpu_ns)),
    }
}

/// The histogram of several seconds; none if nothing arrived in them.
fn sum(seconds: &BTreeMap<i64, Histogram<u64>>, within: Range<i64>) -> Option<Histogram<u64>> {
    let mut within = seconds.range(within).map(|(_, histogram)| histogram);
    let mut sum = within.next()?.clone();
    for histogram in within {
        sum.add(histogram).expect("all histograms have one shape");
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;
    use crate::engine::Progress;
    use crate::seconds::{Seconds, merge};

    #[test]
    fn looks_and_latencies_of_the_same_second_stand_in_one_row() {
        let second_ns = 1_000_000_000;
        let mut report = report(3, 0);
        report.course.start_ns = 5 * second_ns;
        let mut seconds = Seconds::new(5 * second_ns);
        for _ in 0..20 {
            seconds.record(5 * second_ns + 7, 1_000_000);
            seconds.record(6 * second_ns + 7, 9_000_000);
        }
        report.seconds = merge([seconds]);
        let look = |at_ns, sent, ready| Sample {
            at_ns,
            progress: Progress { sent, delivered: 2 * sent, ready, ..Progress::default() },
            own_cpu_ns: at_ns / 4,
            target: None,
        };
        // The looks are a little late; that must not move latencies to another second.
        report.watched.samples = vec![
            look(4 * second_ns, 0, 3),
            look(5 * second_ns + 2_000_000, 0, 4),
            look(6 * second_ns + 1_000_000, 10, 4),
            look(6 * second_ns + 500_000_000, 15, 4),
        ];
        let rows = rows(&report);
        assert_eq!(rows.iter().map(|row| row.sent).collect::<Vec<_>>(), [0, 10, 5]);
        assert_eq!(rows.iter().map(|row| row.delivered).collect::<Vec<_>>(), [0, 20, 10]);
        assert_eq!(rows[0].at_s, -1.0);
        assert_eq!(rows[0].p50_ns, None);
        let medians = [rows[1].p50_ns, rows[2].p50_ns].map(|p50_ns| p50_ns.unwrap() / 100_000);
        assert_eq!(medians, [10, 90]);
        assert_eq!((rows[1].p99_ns, rows[1].own_cores), (None, Some(0.25)));
    }
}
