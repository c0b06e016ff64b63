//! `loadgen compare`: two results or more side by side, from the files that `--json` wrote. The
//! first is what the others are held against. Runs nothing; called by the scenarios' dispatch.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::report::page;

/// Exit code of files that make no sense.
const USAGE: u8 = 2;

/// The most results in one comparison: more fit neither a terminal nor a plot.
const RESULTS_MAX: usize = 12;

/// The flags of `loadgen compare`.
#[derive(Clone, Debug, Args)]
pub struct Compare {
    /// Results that --json wrote; the first is what the others are compared with.
    #[arg(required = true, num_args = 2..=RESULTS_MAX, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write a page with the runs' plots on top of each other to this file too.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// What is compared: its name, where it stands in a result, and how it is shown.
const LINES: [(&str, &str, Shown); 31] = [
    ("scenario", "/scenario", Shown::Text),
    ("target", "/target/url", Shown::Text),
    ("protocol", "/target/protocol", Shown::Text),
    ("measurement", "/verdict/measurement", Shown::Text),
    ("exit code", "/verdict/exit_code", Shown::Same),
    ("subscribers", "/plan/subscribers", Shown::Same),
    ("topics", "/plan/topics", Shown::Same),
    ("payload bytes", "/plan/payload_bytes", Shown::Same),
    ("messages/s asked", "/plan/per_second", Shown::Same),
    ("messages/s reached", "/messages/per_second", Shown::Number),
    ("connections/s", "/connections/per_second", Shown::Number),
    ("deliveries/s", "/deliveries/per_second", Shown::Number),
    ("lost", "/deliveries/lost", Shown::Same),
    ("duplicated", "/deliveries/duplicated", Shown::Same),
    ("out of order", "/deliveries/out_of_order", Shown::Same),
    ("latency p50, µs", "/latency_us/p50", Shown::Number),
    ("latency p90, µs", "/latency_us/p90", Shown::Number),
    ("latency p99, µs", "/latency_us/p99", Shown::Number),
    ("latency p99.9, µs", "/latency_us/p99.9", Shown::Number),
    ("latency max, µs", "/latency_us/max", Shown::Number),
    ("net p50, µs", "/net_us/p50", Shown::Number),
    ("net p99, µs", "/net_us/p99", Shown::Number),
    ("own lag p50, µs", "/own_lag_us/p50", Shown::Number),
    ("own lag p99, µs", "/own_lag_us/p99", Shown::Number),
    ("to the first p99, µs", "/to_first_us/p99", Shown::Number),
    ("to the last p99, µs", "/to_last_us/p99", Shown::Number),
    ("sent late p99, µs", "/send_lag_us/p99", Shown::Number),
    ("generator cores", "/generator/cores", Shown::Number),
    ("target CPU, µs/delivery", "/target/process/cpu_us_per_delivery", Shown::Number),
    ("target memory, B/conn.", "/target/process/rss_bytes_per_connection", Shown::Number),
    ("target sends/delivery", "/target/process/sends_per_delivery", Shown::Number),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// As it stands.
    Text,
    /// A number whose change is not a matter of per cent.
    Same,
    /// A number, with its change against the first in per cent.
    Number,
}

/// Compares and returns the exit code: 0, or 2 if a file is no result or the page can't be written.
#[must_use]
pub fn run(options: &Compare) -> u8 {
    match compare(options) {
        Ok(()) => 0,
        Err(why) => {
            let _ = writeln!(io::stderr().lock(), "loadgen: {why}");
            USAGE
        }
    }
}

fn compare(options: &Compare) -> Result<(), String> {
    let results = read_all(&options.files)?;
    if let Some(path) = &options.html {
        let written = fs::write(path, page(&results));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let _ = io::stdout().lock().write_all(side_by_side(&results).as_bytes());
    Ok(())
}

/// The results as a table in text. What no result has is left out.
///
/// ```
/// use serde_json::json;
///
/// let slow = ("slow".to_owned(), json!({ "latency_us": { "p99": 4000.0 } }));
/// let fast = ("fast".to_owned(), json!({ "latency_us": { "p99": 1000.0 } }));
/// let text = loadgen::compare::side_by_side(&[slow, fast]);
/// assert!(text.contains("latency p99, µs"));
/// assert!(text.contains("1,000 (−75.0 %)"));
/// ```
#[must_use]
pub fn side_by_side(results: &[(String, Value)]) -> String {
    let names = results.iter().map(|(name, _)| name.clone()).collect();
    let mut rows: Vec<(&str, Vec<String>)> = vec![("", names)];
    for (name, pointer, shown) in LINES {
        let values: Vec<Option<&Value>> = results
            .iter()
            .map(|(_, result)| result.pointer(pointer).filter(|value| !value.is_null()))
            .collect();
        if values.iter().any(Option::is_some) {
            let base = values[0].and_then(Value::as_f64);
            let cells = values.iter().enumerate();
            rows.push((name, cells.map(|(at, value)| cell(*value, shown, base, at)).collect()));
        }
    }
    let width = |column: usize| rows.iter().map(|(_, cells)| cells[column].chars().count()).max();
    let widths: Vec<usize> = (0..results.len()).map(|at| width(at).unwrap_or(0)).collect();
    let mut out = String::new();
    for (name, cells) in &rows {
        let _ = write!(out, "{name:>23}");
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(out, "  {cell:>width$}");
        }
        out.push('\n');
    }
    out
}

fn cell(value: Option<&Value>, shown: Shown, base: Option<f64>, at: usize) -> String {
    let Some(value) = value else { return "–".to_owned() };
    let Some(number) = value.as_f64() else {
        return value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    };
    let text = short(number);
    match base.filter(|base| at > 0 && shown == Shown::Number && *base != 0.0) {
        Some(base) => format!("{text} ({})", change(number / base - 1.0)),
        None => text,
    }
}

fn change(share: f64) -> String {
    let sign = if share < 0.0 { '−' } else { '+' };
    format!("{sign}{:.1} %", share.abs() * 100.0)
}

/// Three significant digits, or all of the whole part in groups.
fn short(number: f64) -> String {
    match number {
        n if n.fract() == 0.0 || n.abs() >= 100.0 => crate::report::grouped(n.round() as u64),
        n if n.abs() >= 10.0 => format!("{n:.1}"),
        n if n.abs() >= 1.0 => format!("{n:.2}"),
        n => format!("{n:.3}"),
    }
}

fn read_all(files: &[PathBuf]) -> Result<Vec<(String, Value)>, String> {
    files.iter().map(|path| Ok((name_of(path, files), read(path)?))).collect()
}

fn read(path: &Path) -> Result<Value, String> {
    let name = path.display();
    let text = fs::read(path).map_err(|error| format!("{name}: {error}"))?;
    let value: Value =
        serde_json::from_slice(&text).map_err(|error| format!("{name} is not JSON: {error}"))?;
    match value.get("loadgen").is_some_and(Value::is_string) {
        true => Ok(value),
        false => Err(format!("{name} is no result that --json wrote")),
    }
}

/// The file's name without its ending, or the whole path where two would be called the same.
fn name_of(path: &Path, all: &[PathBuf]) -> String {
    let is_alone = all.iter().filter(|other| other.file_stem() == path.file_stem()).count() == 1;
    let stem = path.file_stem().filter(|_| is_alone);
    stem.unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_one_result_lacks_is_a_dash_and_what_all_lack_is_left_out() {
        let first = json!({"scenario": "fanout", "latency_us": {"p50": 1234.5, "p99": null}});
        let second = json!({"scenario": "fanout", "latency_us": {"p50": 2469.0},
                            "deliveries": {"lost": 3}});
        let text = side_by_side(&[("a".into(), first), ("b".into(), second)]);
        let expected = [
            "                              a                 b",
            "               scenario  fanout            fanout",
            "                   lost       –                 3",
            "        latency p50, µs   1,235  2,469 (+100.0 %)",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn files_of_one_name_are_told_apart_by_their_paths() {
        let files = ["a/run.json", "b/run.json", "other.json"].map(PathBuf::from);
        let names = files.each_ref().map(|file| name_of(file, &files));
        assert_eq!(names, ["a/run.json", "b/run.json", "other"]);
    }
}
