//! What the parts made for dashboards cost, and what they bear: `bench dashboards`. Fills the tables
//! of docs/DASHBOARDS.md, one for each study. The broker runs alone on one core, afresh for each
//! measurement, the load generator on another; rounds go there and back, and what is compared is
//! compared within a round. Measures nothing itself: `peers::round` does.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

mod study;
mod table;

use self::study::Case;
use self::table::table;
use crate::machine::Machine;
use crate::page;
use crate::peers::round::Bench;
use crate::progress::note;

/// The flags of `bench dashboards`.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct DashboardsFlags {
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Study::ALL)]
    pub study: Vec<Study>,
    /// How often each is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Small loads, each half a second long, once: shows that everything works, and measures nothing
    /// to build on.
    #[arg(long)]
    pub quick: bool,
    /// Put the tables into this page, each in the place of its name: docs/DASHBOARDS.md.
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
    /// Write every result of the load generator to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  All four, three rounds; about a quarter of an hour:
      cargo run --release -p bench -- dashboards --page docs/DASHBOARDS.md

  Only what history and last values cost, ten rounds:
      cargo run --release -p bench -- dashboards --study kept --rounds 10";

/// What is measured together and stands in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Study {
    /// The newest twice a second, against every message.
    Latest,
    /// The others' latency while one client reads nothing, or little.
    Slow,
    /// Thousands that come back at once and want what they missed.
    Storm,
    /// Keeping history and last values, against keeping nothing.
    Kept,
}

/// One measurement.
#[derive(Debug)]
struct Row {
    study: Study,
    /// Which of the study's cases.
    case: usize,
    round: u32,
    /// The load generator's result.
    result: Value,
}

impl Study {
    /// All of them, as they stand in the page.
    pub const ALL: [Self; 4] = [Self::Latest, Self::Slow, Self::Storm, Self::Kept];

    fn name(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::Slow => "slow",
            Self::Storm => "storm",
            Self::Kept => "kept",
        }
    }
}

/// Measures, prints the tables, and puts them where they belong.
///
/// # Errors
/// If the broker or the load generator can't be built or started, or a file can't be written.
pub fn run(flags: &DashboardsFlags) -> anyhow::Result<()> {
    let bench = if flags.quick { Bench::at_hand()? } else { Bench::prepare(1, 0)? };
    let rounds = if flags.quick { 1 } else { flags.rounds };
    let mut rows = Vec::new();
    for round in 1..=rounds {
        for &study in &flags.study {
            let mut cases: Vec<(usize, Case)> =
                study.cases(flags.quick).into_iter().enumerate().collect();
            if round.is_multiple_of(2) {
                cases.reverse();
            }
            for (at, case) in cases {
                note(&format!("round {round} · {} · {}", study.name(), case.name));
                let result = measure(&bench, &case)?;
                note(&format!("    {}", result["verdict"]["text"].as_str().unwrap_or_default()));
                rows.push(Row { study, case: at, round, result });
            }
        }
    }
    let machine = Machine::here();
    for &study in &flags.study {
        let own: Vec<&Row> = rows.iter().filter(|row| row.study == study).collect();
        let text = table(study, flags.quick, rounds, &machine, &own);
        writeln!(io::stdout().lock(), "{text}").context("cannot write the table")?;
        if let Some(path) = &flags.page {
            page::put(path, study.name(), &text)?;
        }
    }
    if let Some(path) = &flags.json {
        let all = rows.iter().map(|row| {
            let case = &study_case(row, flags.quick);
            json!({"study": row.study.name(), "case": case, "round": row.round, "result": row.result})
        });
        fs::write(path, format!("{:#}\n", Value::Array(all.collect())))?;
    }
    Ok(())
}

fn study_case(row: &Row, quick: bool) -> String {
    row.study.cases(quick).get(row.case).map_or_else(String::new, |case| case.name.to_owned())
}

/// A broker of its own under the case's load.
fn measure(bench: &Bench, case: &Case) -> anyhow::Result<Value> {
    let mut broker = Command::new(bench.tools.own("broker"));
    broker.args(["--workers", "1", "--pin", "false", "--commands-per-second-max", "1000000"]);
    broker.args(case.broker.split_whitespace());
    bench.load_broker(&mut broker, &case.load, case.seconds)
}
