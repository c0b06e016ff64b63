//! One run of a search: at which rate, what became of it and why. Judges a report and keeps what is
//! told of it; runs nothing. Made by `find`, shown by its `outcome`.

use serde_json::{Value, json};

use super::search::Judgement;
use crate::report::{Outcome, QUANTILES, Report, grouped, quantile_ns, to_json};
use crate::verdict::Trust;

/// The share of the rate asked for that must be reached.
const REACHED_MIN: f64 = 0.99;

/// A run and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Messages a second asked for.
    pub(super) rate: f64,
    /// The same rate was tried before.
    pub(super) is_second: bool,
    pub(super) judgement: Judgement,
    /// Why it does not hold; empty if it does.
    pub(super) why: String,
    /// The whole report.
    pub(super) result: Value,
    reached_share: f64,
    quantiles_ns: [Option<u64>; 4],
    lost: u64,
    trust: Trust,
}

/// Why a run ends the search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The user wants it.
    Interrupted,
    /// Too few connections were made, or an agent was lost.
    Unreachable,
    /// So few deliveries that this demand can't be held against them.
    TooFew(String),
}

/// The head of the table of [`Step::line`]s.
pub(super) const HEAD: &str =
    "    messages/s  reached       p50       p99     p99.9      lost  measurement\n";

impl Step {
    /// What became of the run at `rate`.
    ///
    /// # Errors
    ///
    /// If it says nothing about the rate, and no other run would.
    pub(super) fn new(rate: f64, is_second: bool, report: &Report) -> Result<Self, Stop> {
        match report.outcome() {
            Outcome::Interrupted => return Err(Stop::Interrupted),
            Outcome::TooFewConnections | Outcome::AgentLost => return Err(Stop::Unreachable),
            Outcome::Delivered | Outcome::Broken => {}
        }
        let planned = report.planned_rate();
        let reached_share = if planned > 0.0 { report.achieved_rate / planned } else { 1.0 };
        let (judgement, why) = judge(report, reached_share)?;
        Ok(Self {
            rate,
            is_second,
            judgement,
            why,
            result: to_json(report),
            reached_share,
            quantiles_ns: QUANTILES.map(|(_, quantile)| quantile_ns(&report.latency, quantile)),
            lost: report.totals.lost,
            trust: trust(report),
        })
    }

    /// For people: one line of the table.
    pub(super) fn line(&self) -> String {
        let [p50, _, p99, p999] = self.quantiles_ns.map(millis);
        let what = match self.judgement {
            Judgement::Holds => "holds".to_owned(),
            Judgement::Fails => format!("fails: {}", self.why),
            Judgement::Blind => format!("not known: {}", self.why),
        };
        let again = if self.is_second { "again " } else { "" };
        format!(
            "{again:>6}{:>8}  {:>5.1} %  {p50:>8}  {p99:>8}  {p999:>8}  {:>8}  {:<11}  {what}\n",
            rate(self.rate),
            self.reached_share * 100.0,
            grouped(self.lost),
            self.trust.name()
        )
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "per_second": self.rate,
            "second_try": self.is_second,
            "judgement": self.judgement.name(),
            "why": self.why,
            "reached_share": self.reached_share,
            "result": self.result,
        })
    }

    /// For spreadsheets: the values of [`COLUMNS`].
    pub(super) fn csv(&self) -> String {
        let times = self.quantiles_ns.map(|nanos| {
            nanos.map_or_else(String::new, |nanos| format!("{:.1}", nanos as f64 / 1e3))
        });
        format!(
            "{},{},{},{:.4},{},{},{},{},\"{}\"\n",
            self.rate,
            self.is_second,
            self.judgement.name(),
            self.reached_share,
            times.join(","),
            self.lost,
            self.trust.name(),
            self.result["deliveries"]["per_second"],
            self.why.replace('"', "'")
        )
    }
}

/// The first line of the CSV form.
pub(super) const COLUMNS: &str = "per_second,second_try,judgement,reached_share,p50_us,p90_us,\
                                  p99_us,p99.9_us,lost,measurement,deliveries_per_second,why\n";

impl Judgement {
    /// `holds`, `fails` or `unknown`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::Blind => "unknown",
        }
    }
}

/// As the exit code of a run has it: delivery first, then whether anything can be told of the
/// times, then the demands; and last whether the rate was there at all.
fn judge(report: &Report, reached_share: f64) -> Result<(Judgement, String), Stop> {
    if report.outcome() == Outcome::Broken {
        return Ok((Judgement::Fails, faults(report)));
    }
    if trust(report) == Trust::Invalid && !report.allows_invalid {
        let reason = report.judgement().and_then(|verdict| verdict.reasons.into_iter().next());
        let reason = reason.map_or_else(String::new, |(_, text)| format!(": {text}"));
        return Ok((Judgement::Blind, format!("the generator is the limit{reason}")));
    }
    for check in report.checks() {
        match (check.is_met, check.value) {
            (true, _) => {}
            (false, None) => return Err(Stop::TooFew(check.text)),
            (false, Some(value)) => {
                return Ok((Judgement::Fails, format!("{} missed: {value}", check.text)));
            }
        }
    }
    if reached_share < REACHED_MIN {
        let why = format!("{:.1} % of the rate was reached", reached_share * 100.0);
        return Ok((Judgement::Fails, why));
    }
    Ok((Judgement::Holds, String::new()))
}

fn trust(report: &Report) -> Trust {
    report.judgement().map_or(Trust::Valid, |verdict| verdict.trust)
}

fn faults(report: &Report) -> String {
    let totals = &report.totals;
    let kinds = [
        (totals.lost, "lost"),
        (totals.duplicated, "duplicated"),
        (totals.out_of_order, "out of order"),
        (report.unsent(), "never sent"),
        (report.closes.sum(), "connections closed by the server"),
        (report.refusals.sum(), "commands refused"),
        (report.failures.sum(), "connections failed"),
    ];
    let found: Vec<_> = kinds
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", grouped(*count)))
        .collect();
    if found.is_empty() { "delivery is broken".to_owned() } else { found.join(", ") }
}

fn millis(nanos: Option<u64>) -> String {
    nanos.map_or_else(|| "–".to_owned(), |nanos| format!("{:.2} ms", nanos as f64 / 1e6))
}

/// A rate for people: whole, unless it is small.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        0.0..10.0 => format!("{per_second:.2}"),
        10.0..100.0 => format!("{per_second:.1}"),
        _ => grouped(per_second.round() as u64),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::report::tests::report;

    /// A step at this rate that was told to hold, or why it does not.
    pub(in super::super) fn step(rate: f64, judgement: Judgement, why: &str) -> Step {
        let step = Step::new(rate, false, &report(3, 0)).unwrap();
        Step { judgement, why: why.to_owned(), ..step }
    }

    fn demanding(demand: &str) -> Report {
        let mut report = report(3, 0);
        report.latency.record_n(30_000_000, 2000).unwrap();
        report.thresholds = vec![demand.parse().unwrap()];
        report
    }

    fn judged(report: &Report) -> (Judgement, String) {
        let step = Step::new(100.0, false, report).unwrap();
        (step.judgement, step.why)
    }

    #[test]
    fn a_step_holds_if_its_demands_do_and_everything_came_at_the_rate_asked_for() {
        assert_eq!(judged(&demanding("p99<40ms")).0, Judgement::Holds);
        let (judgement, why) = judged(&demanding("p99<20ms"));
        assert_eq!((judgement, why.as_str()), (Judgement::Fails, "p99<20ms missed: 30.015 ms"));
        let mut slow = demanding("p99<40ms");
        slow.achieved_rate *= 0.985;
        assert_eq!(judged(&slow), (Judgement::Fails, "98.5 % of the rate was reached".into()));
        let mut lossy = demanding("p99<40ms");
        lossy.totals.lost = 1;
        lossy.totals.delivered -= 1;
        lossy.closes.add("4408".into());
        let why = "1 lost, 1 connections closed by the server".to_owned();
        assert_eq!(judged(&lossy), (Judgement::Fails, why));
    }

    #[test]
    fn an_invalid_measurement_shows_nothing_but_that_the_generator_is_the_limit() {
        let mut busy = demanding("p99<20ms");
        busy.busiest_share = 0.95;
        let (judgement, why) = judged(&busy);
        assert_eq!(judgement, Judgement::Blind);
        assert!(why.starts_with("the generator is the limit: the busiest generator"), "{why}");
        busy.allows_invalid = true;
        assert_eq!(judged(&busy).0, Judgement::Fails);
    }

    #[test]
    fn what_no_run_at_this_rate_could_tell_ends_the_search() {
        let mut few = demanding("p99.9<40ms");
        let stop = Step::new(100.0, false, &few).unwrap_err();
        assert_eq!(stop, Stop::TooFew("p99.9<40ms".into()));
        few.course.is_interrupted = true;
        assert_eq!(Step::new(100.0, false, &few).unwrap_err(), Stop::Interrupted);
    }

    #[test]
    fn a_step_is_a_line_of_the_table_and_of_the_csv() {
        let mut step = Step::new(2000.0, true, &demanding("p99<20ms")).unwrap();
        let line = step.line();
        assert!(line.starts_with("again    2,000  100.0 %  30.02 ms  30.02 ms"), "{line}");
        assert!(line.ends_with("VALID        fails: p99<20ms missed: 30.015 ms\n"), "{line}");
        let column = |text: &str, what| text.split(what).next().unwrap().chars().count();
        assert_eq!(column(&line, "VALID"), column(HEAD, "measurement"), "{HEAD}{line}");
        step.why = "a \"b\"".into();
        assert!(step.csv().starts_with("2000,true,fails,1.0000,"), "{}", step.csv());
        assert_eq!(step.csv().matches(',').count(), COLUMNS.matches(',').count());
    }
}
