//! What a search found, for people and for programs: the answer with its neighbourhood, and what
//! speaks against it. Decides the exit code; runs nothing. Made by `find` at the end.

use serde_json::{Value, json};

use super::search::{Judgement, Search};
use super::step::{COLUMNS, Step, Stop, rate};
use crate::options::Bound;
use crate::report::page;
use crate::scenario::{UNREACHABLE, USAGE};

/// Exit code of a search in which nothing held.
const NONE: u8 = 1;

/// A search that is over.
#[derive(Debug)]
pub(super) struct Outcome<'a> {
    pub(super) scenario: &'static str,
    pub(super) bound: &'a Bound,
    /// What was demanded of each step.
    pub(super) demands: String,
    pub(super) search: Search,
    /// All runs, in the order they were made.
    pub(super) steps: Vec<Step>,
    /// What ended it early, if something did.
    pub(super) stop: Option<Stop>,
}

impl Outcome<'_> {
    /// The exit code of the process.
    pub(super) fn exit_code(&self) -> u8 {
        match (&self.stop, self.search.holding(), self.steps.last()) {
            (Some(Stop::Interrupted), ..) => 130,
            (Some(Stop::Unreachable), ..) => UNREACHABLE,
            (Some(Stop::TooFew(_)), ..) => USAGE,
            (None, Some(_), _) => 0,
            (None, None, Some(step)) if step.judgement == Judgement::Blind => 4,
            (None, None, Some(step)) if step.result["verdict"]["exit_code"] == 5 => 5,
            _ => NONE,
        }
    }

    /// Whether the target could hold more than was found.
    pub(super) fn is_lower_bound(&self) -> bool {
        let is_ceiling = |ceiling: Option<(f64, Judgement)>| {
            ceiling.is_some_and(|(_, judgement)| judgement == Judgement::Fails)
        };
        self.search.holding().is_some() && !is_ceiling(self.search.ceiling())
    }

    /// The answer in one line.
    pub(super) fn verdict(&self) -> String {
        let demands = &self.demands;
        match &self.stop {
            Some(Stop::Interrupted) => return format!("INTERRUPTED: {}", self.so_far()),
            Some(Stop::Unreachable) => {
                return format!("FAILED: too few connections; {}", self.so_far());
            }
            Some(Stop::TooFew(demand)) => {
                return format!(
                    "FAILED: too few deliveries to tell whether {demand}: give more --seconds, \
                     more connections or a higher --from; {}",
                    self.so_far()
                );
            }
            None => {}
        }
        let Some(holding) = self.search.holding() else {
            let last = self.steps.last().map_or("", |step| step.why.as_str());
            let lowest = self.search.ceiling().map_or(0.0, |(ceiling, _)| ceiling);
            return format!("NONE: not even {} messages/s hold {demands}: {last}", rate(lowest));
        };
        let found = format!("{} messages/s hold {demands}", rate(holding));
        match self.search.ceiling() {
            None => format!("AT LEAST: {found}; nothing higher was tried"),
            Some((ceiling, Judgement::Blind)) => {
                format!("AT LEAST: {found}; at {}, {}", rate(ceiling), self.why(ceiling))
            }
            Some((ceiling, _)) => {
                format!("FOUND: {found}; {} do not: {}", rate(ceiling), self.why(ceiling))
            }
        }
    }

    /// What speaks against the answer, one line each.
    pub(super) fn doubts(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .contradictory()
            .map(|step| {
                format!(
                    "the results at {} messages/s contradict each other: once it held, once {}",
                    rate(step.rate),
                    step.why
                )
            })
            .collect();
        if let Some(holding) = self.search.holding() {
            let of_holding = |step: &&Step| step.rate == holding;
            let last = self.steps.iter().rfind(of_holding);
            if last.is_some_and(|step| step.result["verdict"]["measurement"] == "SUSPECT") {
                lines.push("the measurement of the rate found is SUSPECT".to_owned());
            }
        }
        lines
    }

    /// Everything, with the whole report of every step.
    pub(super) fn json(&self) -> Value {
        let ceiling = self.search.ceiling();
        json!({
            "loadgen": env!("CARGO_PKG_VERSION"),
            "find": {
                "scenario": self.scenario,
                "demands": self.demands,
                "from_per_second": self.bound.from,
                "to_per_second": self.bound.to,
                "precision_percent": self.bound.precision,
                "holds_per_second": self.search.holding(),
                "is_lower_bound": self.is_lower_bound(),
                "next_per_second": ceiling.map(|(rate, _)| rate),
                "next": ceiling.map(|(_, judgement)| judgement.name()),
                "doubts": self.doubts(),
                "exit_code": self.exit_code(),
                "text": self.verdict(),
            },
            "steps": self.steps.iter().map(Step::json).collect::<Value>(),
        })
    }

    /// A line for each step.
    pub(super) fn csv(&self) -> String {
        let lines = self.steps.iter().map(Step::csv);
        std::iter::once(COLUMNS.to_owned()).chain(lines).collect()
    }

    /// All steps side by side, the lowest rate first.
    pub(super) fn page(&self) -> String {
        let mut steps: Vec<&Step> = self.steps.iter().collect();
        steps.sort_by(|one, other| one.rate.total_cmp(&other.rate));
        let results: Vec<_> = steps
            .iter()
            .map(|step| {
                let again = if step.is_second { ", again" } else { "" };
                (format!("{}/s{again}", rate(step.rate)), step.result.clone())
            })
            .collect();
        page(&results)
    }

    fn so_far(&self) -> String {
        match self.search.holding() {
            Some(holding) => format!("{} messages/s held {}", rate(holding), self.demands),
            None => "no rate was found to hold".to_owned(),
        }
    }

    /// Why this rate does not hold.
    fn why(&self, ceiling: f64) -> &str {
        self.steps.iter().rfind(|step| step.rate == ceiling).map_or("", |step| step.why.as_str())
    }

    /// Steps that did not hold where the same rate held on the second try.
    fn contradictory(&self) -> impl Iterator<Item = &Step> {
        let pairs = self.steps.iter().zip(self.steps.iter().skip(1));
        pairs.filter(|(_, next)| next.is_second && next.judgement == Judgement::Holds).map(|p| p.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::step::tests::step;
    use super::*;

    fn bound() -> Bound {
        Bound { latency: Vec::new(), from: 100.0, to: None, precision: 10.0 }
    }

    /// A search over these steps, in which the ceiling is met at once.
    fn outcome<'a>(bound: &'a Bound, steps: &[(f64, Judgement, &str)]) -> Outcome<'a> {
        let mut search = Search::new(100.0, None, 0.1);
        let mut all = Vec::new();
        for &(rate, judgement, why) in steps {
            search.handle(rate, judgement);
            all.push(step(rate, judgement, why));
        }
        let demands = "p99<20ms".to_owned();
        Outcome { scenario: "fanout", bound, demands, search, steps: all, stop: None }
    }

    #[test]
    fn the_answer_stands_between_what_holds_and_what_does_not() {
        let bound = bound();
        let steps =
            [(1000.0, Judgement::Holds, ""), (1100.0, Judgement::Fails, "p99<20ms missed: 31 ms")];
        let found = outcome(&bound, &steps);
        assert_eq!(
            found.verdict(),
            "FOUND: 1,000 messages/s hold p99<20ms; 1,100 do not: p99<20ms missed: 31 ms"
        );
        assert_eq!((found.exit_code(), found.is_lower_bound()), (0, false));
        assert_eq!(found.json()["find"]["holds_per_second"], 1000.0);
        assert_eq!(found.csv().lines().count(), 3);
        assert!(found.page().contains(r#""name":"1,100/s""#));
    }

    #[test]
    fn where_the_generator_is_the_limit_the_answer_is_a_lower_bound() {
        let bound = bound();
        let steps = [(1000.0, Judgement::Holds, ""), (1100.0, Judgement::Blind, "busy")];
        let found = outcome(&bound, &steps);
        assert_eq!(found.verdict(), "AT LEAST: 1,000 messages/s hold p99<20ms; at 1,100, busy");
        assert_eq!((found.exit_code(), found.is_lower_bound()), (0, true));
        assert_eq!(outcome(&bound, &steps[1..]).exit_code(), 4);
    }

    #[test]
    fn where_nothing_holds_it_says_how_low_it_went_and_what_ended_it_early() {
        let bound = bound();
        let mut none = outcome(&bound, &[(50.0, Judgement::Fails, "slow")]);
        assert_eq!(none.verdict(), "NONE: not even 50.0 messages/s hold p99<20ms: slow");
        assert_eq!(none.exit_code(), 1);
        none.stop = Some(Stop::TooFew("p99<20ms".into()));
        assert_eq!(none.exit_code(), 2);
        assert!(none.verdict().starts_with("FAILED: too few deliveries to tell whether p99<20ms"));
    }

    #[test]
    fn results_that_contradict_each_other_are_named() {
        let bound = bound();
        let mut found = outcome(&bound, &[(1000.0, Judgement::Fails, "p99<20ms missed: 31 ms")]);
        assert!(found.doubts().is_empty());
        found.search.handle(1000.0, Judgement::Holds);
        let mut second = step(1000.0, Judgement::Holds, "");
        second.is_second = true;
        found.steps.push(second);
        assert_eq!(
            found.doubts(),
            ["the results at 1,000 messages/s contradict each other: once it held, once p99<20ms \
              missed: 31 ms"]
        );
    }
}
