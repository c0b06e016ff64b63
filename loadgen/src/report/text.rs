//! A report as text for people: a short table, and the verdict as its last line. Decides nothing;
//! returns text and prints none. Called by the scenarios.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::{
    INVALID, MISSED, Outcome, Parts, QUANTILES, Report, groups, newest, quantile_ns, servers,
    storm, wire,
};
use crate::agents::AgentSeen;
use crate::engine::{Spread, Tally};
use crate::threshold::Checked;
use crate::verdict::Verdict;

/// The lines above the verdict, each with its line break.
#[must_use]
pub fn summary(report: &Report) -> String {
    let mut out = String::new();
    let plan = &report.plan;
    line(&mut out, "target", &format!("{} ({})", report.url, plan.target.protocol.name()));
    for text in servers::lines(report) {
        line(&mut out, "", &text);
    }
    line(&mut out, "connections", &connections(report));
    for (name, text) in wire::lines(&report.wire) {
        line(&mut out, name, &text);
    }
    tally(&mut out, "failed", &report.failures);
    if report.course.start_ns == 0 {
        return out;
    }
    match plan.is_holding() {
        true => line(&mut out, "held", &held(report)),
        false => flow(&mut out, report),
    }
    line(
        &mut out,
        "generator",
        &format!(
            "{}{}, busiest {:.0} %{}",
            processes(report),
            count(plan.part.workers as u64, "thread", "threads"),
            report.busiest_share * 100.0,
            own_memory(report)
        ),
    );
    for agent in &report.agents {
        line(&mut out, "", &one_of(agent));
    }
    if plan.churn.is_some() {
        line(&mut out, "churn", &churn(report));
    }
    if plan.slow.is_some() {
        slow(&mut out, report);
    }
    storm::summary(&mut out, report);
    newest::summary(&mut out, report);
    groups::summary(&mut out, report);
    target_process(&mut out, report);
    if !report.totals.is_clean() {
        line(&mut out, "accounts", &accounts(report));
    }
    if report.strange > 0 {
        let text = format!("{} damaged, misrouted or foreign", grouped(report.strange));
        line(&mut out, "strange", &text);
    }
    tally(&mut out, "refused", &report.refusals);
    tally(&mut out, "closed", &report.closes);
    if let Some(judgement) = report.judgement() {
        line(&mut out, "measurement", &judgement.line());
    }
    for check in report.checks() {
        line(&mut out, "threshold", &demand(&check));
    }
    out
}

/// What was sent, and how it went.
fn flow(out: &mut String, report: &Report) {
    let plan = &report.plan;
    line(out, "messages", &messages(report));
    line(
        out,
        "rate",
        &format!(
            "{} of {} messages/s of {} payload bytes sent, {} deliveries/s",
            rate(report.achieved_rate),
            rate(plan.schedule.rate()),
            grouped(plan.payload_bytes as u64),
            rate(report.delivered_rate)
        ),
    );
    line(out, "latency", &times(&report.latency));
    parts(out, &report.parts);
    spread(out, &report.spread);
    line(out, "sent late by", &times(&report.lag));
}

/// Whose part of the latency is whose.
fn parts(out: &mut String, parts: &Parts) {
    if let Some(absent) = parts.absent() {
        line(out, "net", &format!("not available: {}", absent.why()));
        return;
    }
    let mut net = times(&parts.net);
    if parts.undecided() > 0 {
        let undecided = count(parts.undecided(), "delivery", "deliveries");
        let _ = write!(net, "; not told apart for {undecided}");
    }
    line(out, "net", &net);
    line(out, "own lag", &times(&parts.own));
}

/// How far apart those who get the same message are, where there are several.
fn spread(out: &mut String, spread: &Spread) {
    if spread.due == 0 {
        return;
    }
    let mut last = times(&spread.last);
    if spread.not_followed() > 0 {
        let messages = count(spread.not_followed(), "message", "messages");
        let _ = write!(last, "; {messages} not followed to the last delivery");
    }
    line(out, "to the first", &times(&spread.first));
    line(out, "to the last", &last);
}

fn held(report: &Report) -> String {
    let held_s = report.plan.schedule.duration_ns() / 1_000_000_000;
    format!("{held_s} s, {} lost meanwhile", grouped(report.closes.sum()))
}

/// The subscribers who are to get everything.
fn quick(report: &Report) -> u64 {
    let slow = report.plan.slow.map_or(0, |slow| slow.subscribers);
    u64::from(report.plan.subscribers - slow)
}

/// What the verdict says of those who were away, or wanted the newest alone.
fn missed(report: &Report) -> String {
    let part = |number: u64, what: &str| match number {
        0 => String::new(),
        number => format!("{} {what}, ", grouped(number)),
    };
    let totals = &report.totals;
    part(totals.missed, "missed while disconnected")
        + &part(totals.conflated, "conflated by request")
}

fn churn(report: &Report) -> String {
    format!(
        "left {}, back {}; {} missed while disconnected",
        count(report.left, "time", "times"),
        count(report.rejoined, "time", "times"),
        count(report.totals.missed, "delivery", "deliveries")
    )
}

fn slow(out: &mut String, report: &Report) {
    let readers = &report.slow;
    let count_all = u64::from(report.plan.slow.map_or(0, |slow| slow.subscribers));
    let text = format!(
        "{}, {} closed for it: {} delivered, {} left out with notice, {} lost, {} after the close",
        count(count_all, "reader", "readers"),
        grouped(readers.closes.sum()),
        grouped(readers.totals.delivered),
        grouped(readers.totals.missed),
        grouped(readers.totals.lost),
        grouped(readers.after_cut)
    );
    line(out, "slow", &text);
    line(out, "slow latency", &times(&readers.latency));
    tally(out, "slow closed", &readers.closes);
}

fn processes(report: &Report) -> String {
    match report.agents.len() {
        0 => String::new(),
        agents => format!("{}, ", count(agents as u64, "process", "processes")),
    }
}

fn one_of(agent: &AgentSeen) -> String {
    let clock = agent.clock.map_or_else(String::new, |clock| {
        format!(", clock ± {}, drifted {}", time(clock.uncertainty_ns), time(clock.drift_ns))
    });
    format!(
        "{}: {}, {}, busiest {:.0} %{clock}",
        agent.name,
        count(agent.connections, "connection", "connections"),
        count(agent.threads as u64, "thread", "threads"),
        agent.busiest_share * 100.0
    )
}

fn own_memory(report: &Report) -> String {
    let bytes = report.own_rss_bytes_per_connection;
    bytes.map_or_else(String::new, |bytes| format!(", {} bytes per connection", grouped(bytes)))
}

/// What decided an exit code of 1 or 4, one line each, for those who see nothing but the verdict.
#[must_use]
pub fn complaints(report: &Report) -> Vec<String> {
    match report.exit_code() {
        MISSED => {
            let checks = report.checks();
            checks.iter().filter(|check| !check.is_met).map(demand).collect()
        }
        INVALID if report.fault.is_none() => report.judgement().iter().map(Verdict::line).collect(),
        _ => Vec::new(),
    }
}

/// One line: the outcome and the numbers that it rests on.
#[must_use]
pub fn verdict(report: &Report) -> String {
    let totals = &report.totals;
    let faults = format!(
        "{} lost, {} duplicated, {} out of order",
        grouped(totals.lost),
        grouped(totals.duplicated),
        grouped(totals.out_of_order)
    );
    let share = format!("{} of {} delivered", grouped(totals.delivered), grouped(totals.expected));
    match report.outcome() {
        Outcome::Delivered => {
            let topics = match report.plan.topics.len() {
                1 => String::new(),
                topics => format!(" over {} topics", grouped(topics as u64)),
            };
            let sign = if topics.is_empty() { " × " } else { ", " };
            let name = match report.exit_code() {
                INVALID => "INVALID",
                MISSED => "MISSED",
                _ => "OK",
            };
            if report.plan.is_holding() {
                let connections = count(report.course.ready, "connection", "connections");
                return format!("{name}: {connections} opened and held, none lost");
            }
            if report.plan.is_round_trip {
                return format!(
                    "{name}: {}, {} = {} returned, {faults}",
                    count(report.course.ready, "connection", "connections"),
                    count(report.sent, "message", "messages"),
                    grouped(totals.delivered)
                );
            }
            format!(
                "{name}: {}{sign}{}{topics} = {} delivered, {}{faults}",
                count(quick(report), "subscriber", "subscribers"),
                count(report.sent, "message", "messages"),
                grouped(totals.delivered),
                missed(report)
            )
        }
        Outcome::TooFewConnections => {
            let asked = report.plan.connections();
            let why = report.failures.most_frequent().or(report.closes.most_frequent());
            format!(
                "FAILED: {} of {} connections reached: {}",
                grouped(report.course.ready),
                grouped(asked),
                why.unwrap_or("no reason known")
            )
        }
        Outcome::Broken => format!("BROKEN: {share}, {faults}{}", further_faults(report)),
        Outcome::Interrupted => format!("INTERRUPTED: {share}, {faults}"),
        Outcome::AgentLost => {
            let fault = report.fault.as_deref().unwrap_or("an agent was lost");
            format!("FAILED: {fault}; of what the others saw, {share}, {faults}")
        }
    }
}

/// A number with its digits in groups of three.
///
/// ```
/// assert_eq!(loadgen::report::grouped(1_234_567), "1,234,567");
/// ```
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn connections(report: &Report) -> String {
    let ready = report.course.ready;
    let mut text = format!(
        "{} ready in {} ({}/s)",
        grouped(ready),
        time(report.connecting_ns),
        grouped(report.connect_rate() as u64)
    );
    if report.course.start_ns != 0 && report.closed_cleanly < ready {
        let _ = write!(text, ", {} closed cleanly", grouped(report.closed_cleanly));
    }
    if report.pings > 0 {
        let _ = write!(text, ", {} answered", count(report.pings, "ping", "pings"));
    }
    text
}

fn messages(report: &Report) -> String {
    let mut text = format!("{} sent", grouped(report.sent));
    let warmup = report.sent - report.sent_measured;
    if warmup > 0 {
        let _ = write!(text, ", {} of them to warm up: accounted for, not timed", grouped(warmup));
    }
    if report.unsent() > 0 {
        let _ = write!(text, "; {} were due but never sent", grouped(report.unsent()));
    }
    text
}

fn target_process(out: &mut String, report: &Report) {
    let watched = &report.watched;
    let mut parts = Vec::new();
    if let Some(cores) = watched.target_cores() {
        parts.push(format!("{cores:.2} cores"));
    }
    if let Some(cpu_ns) = watched.target_cpu_ns_per_delivery() {
        parts.push(format!("{} of processor time per delivery", time(cpu_ns as u64)));
    }
    if let Some(sends) = watched.sends_per_delivery() {
        parts.push(format!("{sends:.3} sends per delivery"));
    }
    if let Some(bytes) = watched.target_rss_bytes_per_connection() {
        parts.push(format!("{} bytes of memory per connection", grouped(bytes as u64)));
    }
    if !parts.is_empty() {
        line(out, "target uses", &parts.join(", "));
    }
}

fn demand(check: &Checked) -> String {
    let value = check.value.as_deref().unwrap_or("not known, or too few samples to tell");
    format!("{} {}: {value}", check.text, if check.is_met { "met" } else { "MISSED" })
}

fn accounts(report: &Report) -> String {
    let totals = &report.totals;
    let sign = if totals.is_closed() { "=" } else { "does not equal" };
    format!(
        "{} expected {sign} {} delivered + {} lost + {} missed{}; {}, {}",
        grouped(totals.expected),
        grouped(totals.delivered),
        grouped(totals.lost),
        grouped(totals.missed),
        match totals.conflated {
            0 => String::new(),
            conflated => format!(" + {} conflated", grouped(conflated)),
        },
        count(totals.seq_breaks, "break in the broker's seq", "breaks in the broker's seq"),
        count(totals.gap_notices, "gap notice", "gap notices"),
    )
}

fn further_faults(report: &Report) -> String {
    let mut text = String::new();
    let mut add = |number: u64, one: &str, many: &str| {
        if number > 0 {
            let _ = write!(text, ", {}", count(number, one, many));
        }
    };
    add(report.totals.seq_breaks, "break in the broker's seq", "breaks in the broker's seq");
    add(report.totals.gap_notices, "gap notice", "gap notices");
    let slow = &report.slow.totals;
    let holes =
        slow.lost + slow.duplicated + slow.out_of_order + slow.seq_breaks + slow.gap_notices;
    add(holes, "fault of what slow readers got", "faults of what slow readers got");
    if let Some(latest) = report.plan.latest {
        let newest = &report.newest;
        add(newest.over_rate, "delivery above the rate", "deliveries above the rate");
        add(u64::from(newest.is_late(latest)), "newest value too late", "");
    }
    let without = report.groups.book.without_value;
    add(without, "topic without its current value", "topics without their current value");
    add(report.storm.absent, "subscriber not back", "subscribers not back");
    add(report.strange, "strange message", "strange messages");
    add(report.unsent(), "message never sent", "messages never sent");
    add(report.refusals.sum(), "command refused", "commands refused");
    add(report.closes.sum(), "connection closed by the server", "connections closed by the server");
    text
}

pub(super) fn times(histogram: &Histogram<u64>) -> String {
    if histogram.is_empty() {
        return "nothing to measure".to_owned();
    }
    let mut text = String::new();
    for (name, quantile) in QUANTILES {
        if let Some(value_ns) = quantile_ns(histogram, quantile) {
            let _ = write!(text, "{name} {}  ", time(value_ns));
        }
    }
    let _ = write!(text, "max {}", time(histogram.max()));
    text
}

pub(super) fn line(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "{name:>12}  {text}");
}

pub(super) fn tally(out: &mut String, name: &str, tally: &Tally) {
    for (what, count) in tally.iter() {
        line(out, name, &format!("{} × {what}", grouped(count)));
    }
}

/// Three significant digits and a unit.
pub(crate) fn time(nanos: u64) -> String {
    let (value, unit) = match nanos {
        0..1_000_000 => (nanos as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (nanos as f64 / 1e6, "ms"),
        _ => (nanos as f64 / 1e9, "s"),
    };
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}

pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        0.0..100.0 => format!("{per_second:.1}"),
        _ => grouped(per_second.round() as u64),
    }
}

/// A number with its noun.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn numbers_are_grouped_and_times_have_three_digits() {
        let numbers = [0, 999, 1000, 123_456, 1_000_000];
        assert_eq!(numbers.map(grouped), ["0", "999", "1,000", "123,456", "1,000,000"]);
        let times = [850, 12_345, 9_876_000, 123_456_000, 2_500_000_000];
        assert_eq!(times.map(time), ["0.85 µs", "12.3 µs", "9.88 ms", "123 ms", "2.50 s"]);
    }

    #[test]
    fn the_verdict_names_what_it_rests_on() {
        assert_eq!(
            verdict(&report(1000, 0)),
            "OK: 1,000 subscribers × 10 messages = 10,000 delivered, 0 lost, 0 duplicated, \
             0 out of order"
        );
        let mut broken = report(1000, 3);
        broken.totals.seq_breaks = 1;
        broken.closes.add("1011".into());
        assert_eq!(
            verdict(&broken),
            "BROKEN: 9,997 of 10,000 delivered, 3 lost, 0 duplicated, 0 out of order, \
             1 break in the broker's seq, 1 connection closed by the server"
        );
    }

    #[test]
    fn what_decided_the_exit_code_is_said_in_a_line_of_its_own() {
        let mut report = report(2, 0);
        report.thresholds = vec!["lost=0".parse().unwrap(), "max<1ms".parse().unwrap()];
        report.latency.record(5_000_000).unwrap();
        assert_eq!(complaints(&report)[0], "max<1ms MISSED: 5.001 ms");
        assert!(verdict(&report).starts_with("MISSED: 2 subscribers"));
        let text = summary(&report);
        assert!(text.contains("threshold  lost=0 met: 0\n"), "{text}");
        assert!(text.contains("measurement  VALID\n"), "{text}");
        report.busiest_share = 0.99;
        assert_eq!(
            complaints(&report),
            ["INVALID: the busiest generator thread was busy 99 % of the time"]
        );
        assert!(verdict(&report).starts_with("INVALID: 2 subscribers"));
    }

    #[test]
    fn the_account_is_shown_where_something_is_wrong() {
        assert!(!summary(&report(2, 0)).contains("accounts"));
        let text = summary(&report(2, 1));
        assert!(text.contains("20 expected = 19 delivered + 1 lost + 0 missed"), "{text}");
    }
}
