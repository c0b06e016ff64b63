//! What functions cost, as a table: `bench functions` has cargo run criterion's benchmarks, briefly,
//! reads what criterion keeps of them, and fills a place in docs/BENCHMARKS.md. Measures nothing
//! itself; the benchmarks are in `benches/`.

mod kept;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use clap::Args;

pub use kept::{Amount, Kept};

use crate::machine::Machine;
use crate::page;
use crate::peers::tools::Tools;

/// The files of `benches/` that criterion measures without a server.
const FILES: [&str; 6] = ["mask", "frames", "handshake", "commands", "topics", "fanout"];

/// The flags of `bench functions`.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct FunctionsFlags {
    /// Which files of `bench/benches`.
    #[arg(long, value_delimiter = ',', default_values_t = FILES.map(str::to_owned))]
    pub file: Vec<String>,
    /// How long each benchmark is measured, in seconds.
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
    /// Put the tables into this page, in its place called `functions`: docs/BENCHMARKS.md.
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
    /// Measure nothing: make the tables from what was measured last.
    #[arg(long)]
    pub again: bool,
}

const EXAMPLES: &str = "\
Examples:
  All into the page, about ten minutes:
      cargo run --release -p bench -- functions --page docs/BENCHMARKS.md

  Longer, and only some:
      cargo run --release -p bench -- functions --file mask,frames --seconds 5

The machine must be quiet. `cargo bench -p bench` runs the same benchmarks for longer, and compares
each with the time before.";

/// Measures and prints the tables.
///
/// # Errors
/// If a benchmark does not build or run, or a file can't be read or written.
pub fn run(flags: &FunctionsFlags) -> anyhow::Result<()> {
    let tools = Tools::prepare()?;
    if !flags.again {
        measure(flags, &tools)?;
    }
    let all = kept::read(&tools.criterion_folder())?;
    let text = format!("{}\n\n{}", heading(flags, &Machine::here()), tables(&all));
    writeln!(io::stdout().lock(), "{text}").context("cannot write the tables")?;
    flags.page.as_ref().map_or(Ok(()), |path| page::put(path, "functions", &text))
}

fn measure(flags: &FunctionsFlags, tools: &Tools) -> anyhow::Result<()> {
    let folder = tools.criterion_folder();
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args(["bench", "--package", "bench"]);
    flags.file.iter().for_each(|name| {
        command.args(["--bench", name]);
    });
    let seconds = flags.seconds.to_string();
    command.args(["--", "--noplot", "--sample-size", "20", "--warm-up-time", "0.3"]);
    command.args(["--measurement-time", &seconds]);
    command.env("CRITERION_HOME", &folder).current_dir(env!("CARGO_MANIFEST_DIR"));
    let status = command.stdout(Stdio::null()).status().context("cargo")?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}

/// What the tables are of. For how long the benchmarks ran that are there already, nobody knows.
fn heading(flags: &FunctionsFlags, machine: &Machine) -> String {
    let each = if flags.again { String::new() } else { format!("{} s each, ", flags.seconds) };
    format!("{machine}; {each}the time of one call.")
}

/// A table for each group: a row for each function, a column for each size.
fn tables(all: &[Kept]) -> String {
    let mut groups: BTreeMap<&str, Vec<&Kept>> = BTreeMap::new();
    for kept in all {
        groups.entry(&kept.group).or_default().push(kept);
    }
    let tables: Vec<String> =
        groups.iter().map(|(name, kept)| format!("**{name}**\n\n{}", table(kept))).collect();
    tables.join("\n")
}

fn table(all: &[&Kept]) -> String {
    let mut sizes: Vec<&str> = all.iter().map(|kept| kept.size.as_str()).collect();
    // Numbers by their value, before words.
    sizes.sort_by_key(|size| (size.parse::<u64>().unwrap_or(u64::MAX), *size));
    sizes.dedup();
    let mut functions: Vec<&str> = all.iter().map(|kept| kept.function.as_str()).collect();
    functions.sort_by_key(|function| (!function.starts_with("ours"), *function));
    functions.dedup();
    let mut out = format!("| | {} |\n|---|{}\n", sizes.join(" | "), "--:|".repeat(sizes.len()));
    for function in functions {
        let cell = |size: &&str| {
            let kept = all.iter().find(|kept| kept.function == function && kept.size == **size);
            kept.map_or("–".to_owned(), |kept| kept.cell())
        };
        let cells: Vec<String> = sizes.iter().map(cell).collect();
        let _ = writeln!(out, "| {} | {} |", function.replace('|', "/"), cells.join(" | "));
    }
    out
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        flags: FunctionsFlags,
    }

    #[test]
    fn of_what_was_measured_before_it_is_not_said_for_how_long() {
        let heading = |line: &str| {
            let flags = Line::parse_from(line.split(' ')).flags;
            heading(&flags, &Machine::here())
        };
        assert!(heading("functions --seconds 5").ends_with("; 5 s each, the time of one call."));
        let again = heading("functions --seconds 5 --again");
        assert!(again.ends_with("; the time of one call.") && !again.contains("5 s"), "{again}");
    }

    #[test]
    fn a_group_is_a_table_of_functions_and_sizes() {
        let kept = |function: &str, size: &str, ns, amount| Kept {
            group: "mask".into(),
            function: function.into(),
            size: size.into(),
            ns,
            amount,
        };
        let all = [
            kept("bytewise", "16", 8.0, Amount::Bytes(16)),
            kept("ours", "1024", 32.0, Amount::Bytes(1024)),
            kept("ours", "16", 2.5, Amount::Bytes(16)),
        ];
        let expected = "**mask**\n\n| | 16 | 1024 |\n|---|--:|--:|\n\
            | ours | 2.50 ns, 6.40 GB/s | 32.0 ns, 32.0 GB/s |\n\
            | bytewise | 8.00 ns, 2.00 GB/s | – |\n";
        assert_eq!(tables(&all), expected);
    }
}
