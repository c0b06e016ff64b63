//! A report as JSON for programs. Member names end in their unit; a quantile that the number of
//! samples can't support is null. Returns a value and writes no file. Called by the scenarios.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::{QUANTILES, Report, quantile_ns, verdict};
use crate::engine::Tally;

/// The whole report.
#[must_use]
pub fn to_json(report: &Report) -> Value {
    let (plan, schedule, totals) = (&report.plan, &report.plan.schedule, &report.totals);
    json!({
        "loadgen": env!("CARGO_PKG_VERSION"),
        "scenario": report.scenario,
        "target": {
            "url": report.url,
            "address": plan.target.address.to_string(),
            "protocol": plan.target.protocol.subprotocol(),
        },
        "plan": {
            "subscribers": plan.subscribers,
            "publishers": plan.publishers,
            "topics": plan.topics.len(),
            "per_second": schedule.rate(),
            "messages": schedule.messages(),
            "warmup_messages": schedule.warmup_messages(),
            "publishing_s": seconds(schedule.duration_ns()),
            "payload_bytes": plan.payload_bytes,
            "threads": plan.threads,
        },
        "connections": {
            "asked": plan.connections(),
            "ready": report.course.ready,
            "connecting_s": seconds(report.connecting_ns),
            "per_second": report.connect_rate(),
            "failed": tally(&report.failures),
            "closed_by_server": tally(&report.closes),
            "closed_cleanly": report.closed_cleanly,
            "pings_answered": report.pings,
        },
        "messages": {
            "sent": report.sent,
            "sent_measured": report.sent_measured,
            "unsent": report.unsent(),
            "per_second": report.achieved_rate,
            "refused": tally(&report.refusals),
        },
        "deliveries": {
            "expected": totals.expected,
            "delivered": totals.delivered,
            "lost": totals.lost,
            "duplicated": totals.duplicated,
            "out_of_order": totals.out_of_order,
            "seq_breaks": totals.seq_breaks,
            "gap_notices": totals.gap_notices,
            "gap_messages": totals.gap_messages,
            "strange": report.strange,
            "per_second": report.delivered_rate,
        },
        "latency_us": times(&report.latency),
        "send_lag_us": times(&report.lag),
        "generator": { "busiest_thread_share": report.busiest_share },
        "verdict": {
            "exit_code": report.outcome().exit_code(),
            "text": verdict(report),
        },
    })
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn tally(tally: &Tally) -> Value {
    tally.iter().map(|(what, count)| (what.to_owned(), Value::from(count))).collect()
}

fn times(histogram: &Histogram<u64>) -> Value {
    let micros = |nanos: u64| Value::from(nanos as f64 / 1e3);
    let mut times = Map::new();
    times.insert("count".into(), histogram.len().into());
    for (name, quantile) in QUANTILES {
        let value = quantile_ns(histogram, quantile).map_or(Value::Null, micros);
        times.insert(name.into(), value);
    }
    let max = if histogram.is_empty() { Value::Null } else { micros(histogram.max()) };
    times.insert("max".into(), max);
    Value::Object(times)
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn the_json_says_what_the_verdict_says() {
        let mut broken = report(2, 1);
        broken.latency.record_n(2_000_000, 20).unwrap();
        let value = to_json(&broken);
        assert_eq!(value["deliveries"]["lost"], 1);
        assert_eq!(value["verdict"]["exit_code"], 5);
        assert_eq!(value["verdict"]["text"], verdict(&broken));
        assert_eq!(value["latency_us"]["count"], 20);
        assert!(value["latency_us"]["p50"].is_f64() && value["latency_us"]["p99"].is_null());
    }
}
