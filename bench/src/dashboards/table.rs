//! What came of a study's rounds, as a table in Markdown: medians, sums of what must be none, and
//! what the load generator thinks of its own measurement. Measures nothing.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Row, Study};
use crate::figures::{grouped, median};
use crate::machine::Machine;

/// A column: its head, where the figure stands in the result, and how it is told.
#[derive(Clone, Copy, Debug)]
struct Column {
    head: &'static str,
    path: &'static str,
    told: Told,
    scale: f64,
    digits: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// The median of the rounds.
    Median,
    /// The greatest of all rounds.
    Most,
    /// The sum of all rounds: of what should not happen.
    Sum,
    /// Times the study's first case in the same round: the median, and the least and greatest.
    Ratio,
}

const fn column(head: &'static str, path: &'static str, told: Told) -> Column {
    Column { head, path, told, scale: 1.0, digits: 0 }
}

impl Column {
    const fn scaled(self, scale: f64, digits: usize) -> Self {
        Self { scale, digits, ..self }
    }
}

const CORES: Column =
    column("the broker's cores", "/target/process/cores", Told::Median).scaled(1.0, 3);
const LOST: Column = column("lost", "/deliveries/lost", Told::Sum);
const P99: Column = column("p99, ms", "/latency_us/p99", Told::Median).scaled(1e-3, 2);

const LATEST: [Column; 9] = [
    column("deliveries a second", "/deliveries/per_second", Told::Median),
    column("conflated", "/deliveries/conflated", Told::Median),
    column("of a symbol a second: asked for", "/latest/max_per_second", Told::Most).scaled(1.0, 1),
    column("and came at most", "/latest/peak_per_second", Told::Most),
    column("over the rate", "/latest/over_rate", Told::Sum),
    column("newest there after, ms", "/latest/settled_ms", Told::Most),
    LOST,
    CORES,
    column("times the first", "/target/process/cores", Told::Ratio).scaled(1.0, 2),
];

const SLOW: [Column; 8] = [
    column("p50, ms", "/latency_us/p50", Told::Median).scaled(1e-3, 2),
    P99,
    column("p99, times the first", "/latency_us/p99", Told::Ratio).scaled(1.0, 2),
    LOST,
    column("it got", "/slow/delivered", Told::Median),
    column("left out with notice", "/slow/left_out_with_notice", Told::Median),
    column("without", "/slow/lost", Told::Sum),
    column("memory, MB", "/target/process/rss_bytes", Told::Most).scaled(1e-6, 1),
];

const STORM: [Column; 9] = [
    column("cut", "/storm/cut", Told::Sum),
    column("recovered", "/storm/recovered", Told::Sum),
    column("not recovered", "/storm/not_recovered", Told::Sum),
    column("missed", "/storm/missed", Told::Sum),
    LOST,
    column("doubled", "/deliveries/duplicated", Told::Sum),
    column("all back after, s", "/storm/all_back_after_s", Told::Most).scaled(1.0, 2),
    P99,
    CORES,
];

const KEPT: [Column; 5] = [
    column("publishes a second", "/messages/per_second", Told::Median),
    column("not sent", "/messages/unsent", Told::Sum),
    LOST,
    CORES,
    column("times the first", "/target/process/cores", Told::Ratio).scaled(1.0, 2),
];

impl Study {
    fn columns(self) -> &'static [Column] {
        match self {
            Self::Latest => &LATEST,
            Self::Slow => &SLOW,
            Self::Storm => &STORM,
            Self::Kept => &KEPT,
        }
    }
}

/// The table of a study's measurements, with what they are of.
pub(super) fn table(
    study: Study,
    quick: bool,
    rounds: u32,
    machine: &Machine,
    rows: &[&Row],
) -> String {
    let (columns, cases) = (study.columns(), study.cases(quick));
    let of = match (quick, rounds) {
        (true, _) => "One quick round, which says nothing of speed".to_owned(),
        (false, 1) => "One round".to_owned(),
        (false, _) => format!("Medians of {rounds} rounds{}", but_for(columns)),
    };
    let mut out = format!("{of}. {machine}.\n\n| |");
    columns.iter().for_each(|column| out += &format!(" {} |", column.head));
    out += " the generator says |\n|---|";
    columns.iter().for_each(|_| out += "--:|");
    out += "---|\n";
    for (at, case) in cases.iter().enumerate() {
        let _ = write!(out, "| {} |", case.name);
        for column in columns {
            let _ = write!(out, " {} |", column.cell(at, rows));
        }
        let _ = writeln!(out, " {} |", says(at, rows));
    }
    out
}

/// Which columns are no medians.
fn but_for(columns: &[Column]) -> String {
    let named = |told, words: &str| {
        let heads = columns.iter().filter(|column| column.told == told);
        let heads: Vec<_> = heads.map(|column| format!("`{}`", column.head)).collect();
        (!heads.is_empty()).then(|| format!("; {words} of {}", heads.join(", ")))
    };
    let named = [named(Told::Sum, "the sum"), named(Told::Most, "the greatest")];
    named.into_iter().flatten().collect()
}

impl Column {
    fn cell(&self, case: usize, rows: &[&Row]) -> String {
        let show = |value: f64| grouped(value * self.scale, self.digits);
        let values = match self.told {
            Told::Ratio => self.ratios(case, rows),
            _ => of_case(case, rows).filter_map(|row| figure(&row.result, self.path)).collect(),
        };
        let told = match self.told {
            Told::Median => median(values),
            Told::Most => values.into_iter().reduce(f64::max),
            Told::Sum => values.into_iter().reduce(|sum, value| sum + value),
            Told::Ratio => return self.spread(case, values),
        };
        told.map_or("–".to_owned(), show)
    }

    /// The figure against that of the first case in the same round.
    fn ratios(&self, case: usize, rows: &[&Row]) -> Vec<f64> {
        let first = |round| {
            let row = of_case(0, rows).find(|row| row.round == round)?;
            figure(&row.result, self.path).filter(|value| *value > 0.0)
        };
        let ratio = |row: &&Row| Some(figure(&row.result, self.path)? / first(row.round)?);
        of_case(case, rows).filter_map(|row| ratio(&row)).collect()
    }

    fn spread(&self, case: usize, values: Vec<f64>) -> String {
        let (least, most) = (min(&values), max(&values));
        match median(values).filter(|_| case > 0) {
            Some(middle) if least < most => {
                let digits = self.digits;
                format!("{middle:.digits$} ({least:.digits$} to {most:.digits$})")
            }
            Some(middle) => grouped(middle, self.digits),
            None => "–".to_owned(),
        }
    }
}

fn of_case<'r>(case: usize, rows: &'r [&Row]) -> impl Iterator<Item = &'r Row> {
    rows.iter().copied().filter(move |row| row.case == case)
}

/// A number; of a list the greatest, of an object the sum.
fn figure(result: &Value, path: &str) -> Option<f64> {
    match result.pointer(path)? {
        Value::Array(values) => values.iter().filter_map(Value::as_f64).reduce(f64::max),
        Value::Object(values) => Some(values.values().filter_map(Value::as_f64).sum()),
        value => value.as_f64(),
    }
}

/// What is to be thought of the rounds: how many of which trust, and what was broken.
fn says(case: usize, rows: &[&Row]) -> String {
    let mut words: Vec<(String, u32)> = Vec::new();
    for row in of_case(case, rows) {
        let verdict = &row.result["verdict"];
        let said = match verdict["exit_code"] == 0 {
            true => verdict["measurement"].as_str(),
            false => verdict["text"].as_str(),
        };
        let said = said.unwrap_or("nothing");
        match words.iter_mut().find(|(word, _)| word == said) {
            Some((_, count)) => *count += 1,
            None => words.push((said.to_owned(), 1)),
        }
    }
    match &words[..] {
        [(word, _)] => word.clone(),
        _ => words.iter().map(|(word, n)| format!("{n} {word}")).collect::<Vec<_>>().join(", "),
    }
}

fn min(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn max(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(case: usize, round: u32, cores: f64, trust: &str) -> Row {
        let result = json!({
            "deliveries": {"lost": 1},
            "messages": {"per_second": 100_000.0, "unsent": 0},
            "target": {"process": {"cores": cores}},
            "verdict": {"exit_code": 0, "measurement": trust},
        });
        Row { study: Study::Kept, case, round, result }
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_what_must_not_be_is_summed_up() {
        let rows = [
            row(0, 1, 0.1, "VALID"),
            row(1, 1, 0.11, "VALID"),
            row(1, 2, 0.3, "SUSPECT"),
            row(0, 2, 0.2, "VALID"),
        ];
        let rows: Vec<&Row> = rows.iter().collect();
        let text = table(Study::Kept, false, 2, &Machine::here(), &rows);
        let of = "Medians of 2 rounds; the sum of `not sent`, `lost`. ";
        assert!(text.starts_with(of), "{text}");
        let nothing = "| nothing | 100,000 | 0 | 2 | 0.150 | – | VALID |";
        assert!(text.contains(nothing), "{text}");
        let kept = "| 100,000 | 0 | 2 | 0.205 | 1.30 (1.10 to 1.50) | 1 VALID, 1 SUSPECT |";
        assert!(text.contains(kept), "{text}");
    }

    #[test]
    fn the_rate_that_was_asked_for_stands_beside_what_came() {
        let latest = json!({"max_per_second": 2.0, "peak_per_second": 3, "over_rate": 0});
        let row =
            Row { study: Study::Latest, case: 1, round: 1, result: json!({"latest": latest}) };
        let text = table(Study::Latest, false, 3, &Machine::here(), &[&row]);
        assert!(
            text.contains("of a symbol a second: asked for | and came at most | over"),
            "{text}"
        );
        assert!(text.contains("| – | – | 2.0 | 3 | 0 |"), "{text}");
        assert!(
            text.contains("; the sum of `over the rate`, `lost`; the greatest of `of a"),
            "{text}"
        );
    }

    #[test]
    fn a_broken_account_and_a_missing_figure_are_said() {
        let mut broken = row(0, 1, 0.1, "VALID");
        broken.result = json!({"verdict": {"exit_code": 5, "text": "BROKEN: 3 lost"}});
        let text = table(Study::Kept, false, 1, &Machine::here(), &[&broken]);
        assert!(text.contains("| nothing | – | – | – | – | – | BROKEN: 3 lost |"), "{text}");
    }

    #[test]
    fn of_a_list_the_greatest_counts_and_of_an_object_the_sum() {
        let result = json!({"list": [0.5, 2.5, 1.0], "codes": {"4408": 2, "1001": 1}});
        assert_eq!(figure(&result, "/list"), Some(2.5));
        assert_eq!(figure(&result, "/codes"), Some(3.0));
        assert_eq!(figure(&result, "/none"), None);
    }
}
