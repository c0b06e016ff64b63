//! Two workers against one: `bench workers`. The broker and the load generator share all cores, so
//! on two of them this tells what more workers cost, not how far they scale; `counting` tells by
//! instructions whether a delivery gets dearer the more workers there are. Fills two tables of
//! docs/BENCHMARKS.md.

mod counting;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use clap::Args;

pub use counting::{Cost, TurnsFlags, cost, turns};

use crate::figures::{medians_of, notes};
use crate::machine::Machine;
use crate::page;
use crate::peers::round::{Bench, Figures};
use crate::peers::scenario::Scenario;
use crate::peers::table::Spread;
use crate::progress::note;

/// The flags of `bench workers`.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct WorkersFlags {
    /// The loads, in this order.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_values_t = [Scenario::Fan, Scenario::Burst, Scenario::Ticker, Scenario::Notify, Scenario::Flood4M]
    )]
    pub scenario: Vec<Scenario>,
    /// How often the broker is measured under each load, with one worker and with two.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// How long each measurement takes, in seconds.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Put the tables into this page, in its place called `workers`: docs/BENCHMARKS.md.
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  Into the page, about five minutes:
      cargo run --release -p bench -- workers --page docs/BENCHMARKS.md

How to read it:
  Broker and load generator have the same cores, and the load generator needs about as much of them as
  the broker. Two workers can do no more than one then; what they cost more is the price of their
  being two. The second table counts instructions: those for a delivery must not depend on how many
  workers there are, since a worker has its subscribers for itself.";

/// One broker under one load.
struct Row {
    scenario: Scenario,
    round: u32,
    workers: u32,
    figures: Figures,
}

/// Measures, counts, and prints both tables.
///
/// # Errors
/// If the broker or the load generator can't be built, a file can't be written, or there is no
/// valgrind to count with. A failed measurement is a row that says so.
pub fn run(flags: &WorkersFlags) -> anyhow::Result<()> {
    let bench = Bench::prepare(flags.seconds, 0)?.on_all_cores();
    let mut rows = Vec::new();
    for round in 1..=flags.rounds {
        for &scenario in &flags.scenario {
            let order = if round.is_multiple_of(2) { [2, 1] } else { [1, 2] };
            for workers in order {
                note(&format!("{} · round {round} · {workers} workers", scenario.name()));
                let figures = measure(&bench, scenario, workers)
                    .unwrap_or_else(|error| Figures::failed(format!("{error:#}")));
                note(&format!("    {}", figures.line()));
                rows.push(Row { scenario, round, workers, figures });
            }
        }
    }
    let mut text = table(flags, &rows);
    note("counting instructions");
    let costs = counting::WORKERS.map(|workers| {
        let cost = cost(&bench.tools, workers, counting::SUBSCRIBERS);
        cost.map(|cost| (workers, cost))
    });
    let costs = costs.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    text += "\n";
    text += &counting::table(&costs);
    writeln!(io::stdout().lock(), "{text}").context("cannot write the table")?;
    flags.page.as_ref().map_or(Ok(()), |path| page::put(path, "workers", &text))
}

fn measure(bench: &Bench, scenario: Scenario, workers: u32) -> anyhow::Result<Figures> {
    let mut broker = Command::new(bench.tools.own("broker"));
    broker.args(["--workers", &workers.to_string(), "--pin", "false"]);
    let (result, idle_us) = bench.run_broker(&mut broker, &scenario.flags(0))?;
    Ok(Figures::read(&result, idle_us))
}

/// The medians in Markdown, and the ratio within a round.
fn table(flags: &WorkersFlags, rows: &[Row]) -> String {
    let mut out = format!(
        "{}; broker and load generator on the same cores; {}.\n\n\
         | load | workers | CPU a delivery, µs | two / one | p50, ms | p99, ms | deliveries/s | |\n\
         |---|--:|--:|--:|--:|--:|--:|---|\n",
        Machine::here(),
        medians_of(flags.rounds, flags.seconds),
    );
    for &scenario in &flags.scenario {
        for workers in [1, 2] {
            let of = |count: u32| {
                rows.iter().filter(move |row| row.scenario == scenario && row.workers == count)
            };
            let show = |value: fn(&Figures) -> Option<f64>, scale: f64, digits: usize| {
                let values = of(workers).filter_map(|row| value(&row.figures)).collect();
                Spread::middle(Spread::of(values), scale, digits)
            };
            let ratios = of(2).filter_map(|two| {
                let one = of(1).find(|one| one.round == two.round)?;
                let ratio = two.figures.cpu_us? / one.figures.cpu_us?;
                ratio.is_finite().then_some(ratio)
            });
            let ratio = match Spread::of(ratios.collect()) {
                Some(Spread { median, least, greatest }) if workers == 2 => {
                    format!("{median:.2} ({least:.2}–{greatest:.2})")
                }
                _ => String::new(),
            };
            let _ = writeln!(
                out,
                "| `{}` | {workers} | {} | {ratio} | {} | {} | {} | {} |",
                scenario.name(),
                show(|figures| figures.cpu_us, 1.0, 3),
                show(|figures| figures.p50_us, 1e-3, 2),
                show(|figures| figures.p99_us, 1e-3, 2),
                show(|figures| figures.deliveries_per_s, 1.0, 0),
                notes(of(workers).filter_map(|row| row.figures.note())),
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        flags: WorkersFlags,
    }

    #[test]
    fn the_ratio_is_that_of_two_workers_to_one_in_the_same_round() {
        use clap::Parser as _;

        let flags = Line::parse_from(["workers", "--scenario", "fan"]).flags;
        let row = |round, workers, cpu_us| Row {
            scenario: Scenario::Fan,
            round,
            workers,
            figures: Figures { cpu_us: Some(cpu_us), ..Figures::default() },
        };
        let mut rows = vec![row(1, 1, 1.0), row(1, 2, 2.0), row(2, 2, 6.0), row(2, 1, 4.0)];
        let text = table(&flags, &rows);
        assert!(text.contains("| `fan` | 1 | 2.500 |  | – | – | – |  |"), "{text}");
        assert!(text.contains("| `fan` | 2 | 4.000 | 1.75 (1.50–2.00) | – | – | – |  |"), "{text}");
        assert!(text.contains("; medians of 3 rounds of 4 s."), "{text}");
        rows[0].figures = Figures::failed("3 lost".into());
        let text = table(&flags, &rows);
        assert!(text.contains("| `fan` | 1 | 4.000 |  | – | – | – | 3 lost |"), "{text}");
    }

    #[test]
    fn a_note_stands_once_and_in_one_cell() {
        use clap::Parser as _;

        let flags = Line::parse_from(["workers", "--scenario", "fan", "--rounds", "1"]).flags;
        let row = |round, fault: &str| Row {
            scenario: Scenario::Fan,
            round,
            workers: 1,
            figures: Figures::failed(fault.to_owned()),
        };
        let text = table(&flags, &[row(1, "a|b\nc"), row(2, "3 lost"), row(3, "a|b\nc")]);
        assert!(text.contains("| `fan` | 1 | – |  | – | – | – | a/b c; 3 lost |"), "{text}");
        assert!(text.contains("; one round of 4 s."), "{text}");
    }
}
