//! A report as JSON for programs. Member names end in their unit; a quantile that the number of
//! samples can't support is null. Returns a value and writes no file. Called by the scenarios.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::{
    Absent, QUANTILES, Report, Row, groups, newest, quantile_ns, rows, servers, storm, verdict,
    wire,
};
use crate::agents::AgentSeen;
use crate::engine::Tally;
use crate::watch::Watched;

/// Points of the percentile curve on each halving of the distance to 100 per cent.
const CURVE_STEPS: f64 = 8.0;

/// The whole report.
#[must_use]
pub fn to_json(report: &Report) -> Value {
    let (plan, schedule, totals) = (&report.plan, &report.plan.schedule, &report.totals);
    json!({
        "loadgen": env!("CARGO_PKG_VERSION"),
        "scenario": report.scenario,
        "target": {
            "url": report.url,
            "address": plan.target.servers.first().address.to_string(),
            "servers": servers::json(report),
            "transport": plan.target.wire.transport.name(),
            "protocol": plan.target.protocol.name(),
            "process": target_process(&report.watched),
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
            "threads": plan.part.workers,
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
            "left": report.left,
            "rejoined": report.rejoined,
        },
        "wire": wire::to_json(&report.wire),
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
            "missed_while_disconnected": totals.missed,
            "conflated": totals.conflated,
            "duplicated": totals.duplicated,
            "out_of_order": totals.out_of_order,
            "seq_breaks": totals.seq_breaks,
            "gap_notices": totals.gap_notices,
            "gap_messages": totals.gap_messages,
            "strange": report.strange,
            "per_second": report.delivered_rate,
        },
        "slow": slow(report),
        "storm": storm::json(report),
        "latest": newest::json(report),
        "groups": groups::json(report),
        "presence": groups::presence_json(report),
        "latency_us": times(&report.latency),
        "net_us": part(report, &report.parts.net),
        "own_lag_us": part(report, &report.parts.own),
        "latency_parts": latency_parts(report),
        "to_first_us": reached(report, &report.spread.first),
        "to_last_us": reached(report, &report.spread.last),
        "messages_not_followed": report.spread.not_followed(),
        "send_lag_us": times(&report.lag),
        "latency_curve_us": curve(&report.latency),
        "generator": {
            "busiest_thread_share": report.busiest_share,
            "rss_bytes_per_connection": report.own_rss_bytes_per_connection,
            "cores": report.watched.own_cores(),
            "stolen_share": report.watched.stolen_share(),
            "agents": report.agents.iter().map(agent).collect::<Value>(),
            "hiccups": {
                "count": report.hiccups.count,
                "sum_us": report.hiccups.sum_ns as f64 / 1e3,
                "longest_us": report.hiccups.longest_ns as f64 / 1e3,
            },
        },
        "thresholds": report.checks().iter().map(|check| json!({
            "demand": check.text,
            "value": check.value,
            "met": check.is_met,
        })).collect::<Value>(),
        "verdict": {
            "exit_code": report.exit_code(),
            "text": verdict(report),
            "measurement": report.judgement().map(|verdict| verdict.trust.name()),
            "reasons": reasons(report),
        },
        "measured_s": seconds(schedule.duration_ns() - schedule.measured_after_ns()),
        "series": rows(report).iter().map(row).collect::<Value>(),
    })
}

fn target_process(watched: &Watched) -> Value {
    json!({
        "cpu_us_per_delivery": watched.target_cpu_ns_per_delivery().map(|nanos| nanos / 1e3),
        "cpu_us_per_connection": watched.target_cpu_ns_per_connection().map(|nanos| nanos / 1e3),
        "cores": watched.target_cores(),
        "rss_bytes": watched.end.and_then(|end| end.sample.target).map(|usage| usage.rss_bytes),
        "rss_bytes_per_connection": watched.target_rss_bytes_per_connection(),
        "sends_per_delivery": watched.sends_per_delivery(),
    })
}

/// Those who read slowly; null where the plan has none.
fn slow(report: &Report) -> Value {
    let Some(slow) = report.plan.slow else { return Value::Null };
    let totals = &report.slow.totals;
    json!({
        "subscribers": slow.subscribers,
        "bytes_per_second": slow.bytes_per_second,
        "closed_by_server": tally(&report.slow.closes),
        "delivered": totals.delivered,
        "lost": totals.lost,
        "duplicated": totals.duplicated,
        "out_of_order": totals.out_of_order,
        "seq_breaks": totals.seq_breaks,
        "gap_notices": totals.gap_notices,
        "left_out_with_notice": totals.missed,
        "after_close": report.slow.after_cut,
        "latency_us": times(&report.slow.latency),
    })
}

/// One of the latency's parts; null where they are not known.
fn part(report: &Report, histogram: &Histogram<u64>) -> Value {
    report.parts.absent().map_or_else(|| times(histogram), |_| Value::Null)
}

/// To the first or the last delivery; null where nothing has several subscribers.
fn reached(report: &Report, histogram: &Histogram<u64>) -> Value {
    if report.spread.due == 0 { Value::Null } else { times(histogram) }
}

fn latency_parts(report: &Report) -> Value {
    json!({
        "not_available": report.parts.absent().map(Absent::why),
        "undecided": report.parts.undecided(),
    })
}

/// One of several processes.
fn agent(agent: &AgentSeen) -> Value {
    let micros = |nanos: u64| nanos as f64 / 1e3;
    json!({
        "name": agent.name,
        "pid": agent.pid,
        "threads": agent.threads,
        "connections": agent.connections,
        "busiest_thread_share": agent.busiest_share,
        "stolen_share": agent.stolen_share,
        "clock": agent.clock.map(|clock| json!({
            "uncertainty_us": micros(clock.uncertainty_ns),
            "drift_us": micros(clock.drift_ns),
            "error_us": micros(clock.error_ns),
        })),
    })
}

fn reasons(report: &Report) -> Value {
    let reasons = report.judgement().map_or(Vec::new(), |verdict| verdict.reasons);
    reasons.into_iter().map(|(trust, text)| json!({"trust": trust.name(), "text": text})).collect()
}

fn row(row: &Row) -> Value {
    let micros = |nanos: Option<u64>| nanos.map(|nanos| nanos as f64 / 1e3);
    json!({
        "at_s": row.at_s,
        "seconds": row.seconds,
        "sent": row.sent,
        "delivered": row.delivered,
        "connections": row.connections,
        "p50_us": micros(row.p50_ns),
        "p99_us": micros(row.p99_ns),
        "net_p99_us": micros(row.net_p99_ns),
        "own_lag_p99_us": micros(row.own_p99_ns),
        "own_cores": row.own_cores,
        "target_cores": row.target_cores,
    })
}

/// Shares of all samples and the latency that so many do not exceed, as far as the number of
/// samples supports it.
fn curve(histogram: &Histogram<u64>) -> Value {
    let quantiles = (0..).map(|step| 1.0 - 0.5_f64.powf(f64::from(step) / CURVE_STEPS));
    quantiles
        .map_while(|quantile| Some((quantile, quantile_ns(histogram, quantile)?)))
        .map(|(quantile, nanos)| json!([quantile, nanos as f64 / 1e3]))
        .collect()
}

pub(super) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

pub(super) fn tally(tally: &Tally) -> Value {
    tally.iter().map(|(what, count)| (what.to_owned(), Value::from(count))).collect()
}

pub(super) fn times(histogram: &Histogram<u64>) -> Value {
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
        assert_eq!(value["verdict"]["measurement"], "VALID");
        let curve = value["latency_curve_us"].as_array().unwrap();
        assert!(!curve.is_empty() && curve.iter().all(|point| point[0].as_f64() <= Some(0.5)));
        assert!(value["latency_us"]["p50"].is_f64() && value["latency_us"]["p99"].is_null());
    }
}
