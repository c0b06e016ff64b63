//! The broker against other servers, under the same load: `bench peers`. Each server runs alone,
//! afresh in every round, pinned to one core; the load generator, a process of its own, to another.
//! Rounds go there and back (A B B A), the broker runs twice in each, and a ratio is taken only
//! within a round, so that what the machine does meanwhile falls on all alike.
//!
//! | part | what it is |
//! |---|---|
//! | [`scenario`] | the loads |
//! | [`contender`] | the servers, and how each is started |
//! | [`tools`] | fetches those that are other people's |
//! | [`round`] | one server under one load |
//! | [`table`] | what came of all rounds |

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

pub mod contender;
pub mod round;
pub mod scenario;
pub mod table;
pub mod tools;

use crate::machine::Machine;
use contender::Contender;
use round::{Bench, Figures};
use scenario::Scenario;
use table::Table;

/// The flags of `bench peers`.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct PeersFlags {
    /// The loads, in this order.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Scenario::USUAL)]
    pub scenario: Vec<Scenario>,
    /// The servers to compare the broker with.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Contender::USUAL)]
    pub peers: Vec<Contender>,
    /// How often each server is measured under each load; five or more to build on.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// How long each of them is measured, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Connections of the scenario `idle`. All of a process's descriptors are connections there.
    #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub idle_connections: u32,
    /// Write every round's figures to this file as JSON; `bench plot` draws them.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  Everything, five rounds of ten seconds; about three hours:
      cargo run --release -p bench -- peers

  Is the broker as cheap as the bare loop today?
      cargo run --release -p bench -- peers --scenario fan,burst --peers bare

How to read the table:
  `broker / it` is the broker's processor time for a delivery against this server's in the same
  round: 0.9 means that the broker takes nine tenths of it. The median of the rounds, and in
  brackets the least and the greatest. The line `broker again` is the same broker measured a second
  time in each round: a difference smaller than what that line shows is none.
  A server that lost, repeated or reordered a message has no figures but that.";

/// Runs every round and prints a table for each scenario.
///
/// # Errors
/// If the broker or the load generator can't be built or started, or a file can't be written.
/// A peer that can't be had or does not answer is left out, with the reason.
pub fn run(flags: &PeersFlags) -> anyhow::Result<()> {
    let bench = Bench::prepare(flags.seconds, flags.idle_connections)?;
    let mut available = Vec::new();
    for &peer in flags.peers.iter().filter(|peer| !peer.is_ours()) {
        match peer.fetch(&bench.tools) {
            Ok(()) => available.push(peer),
            Err(error) => note(&format!("{} is left out: {error:#}", peer.name())),
        }
    }
    let mut rounds = Vec::new();
    for &scenario in &flags.scenario {
        let mut table = Table::new(scenario);
        for number in 1..=flags.rounds {
            measure(&bench, scenario, number, &available, &mut table)?;
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{table}").context("cannot write the table")?;
        rounds.extend(table.to_json());
    }
    if let Some(path) = &flags.json {
        let named = |peer: &Contender| Some((peer.name(), peer.version(&bench.tools)?));
        let versions: BTreeMap<_, _> = available.iter().filter_map(named).collect();
        let result = json!({
            "machine": Machine::here().to_string(),
            "round_count": flags.rounds,
            "seconds": flags.seconds,
            "versions": versions,
            "rounds": rounds,
        });
        let text = format!("{result:#}\n");
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// One round: every server once, the broker twice.
fn measure(
    bench: &Bench,
    scenario: Scenario,
    number: u32,
    available: &[Contender],
    table: &mut Table,
) -> anyhow::Result<()> {
    let mut order: Vec<_> = [Contender::Broker]
        .into_iter()
        .chain(available.iter().copied().filter(|peer| peer.fits(scenario)))
        .chain([Contender::BrokerAgain])
        .collect();
    if number.is_multiple_of(2) {
        order.reverse();
    }
    for contender in order {
        note(&format!("{} · round {number} · {}", scenario.name(), contender.name()));
        let outcome = bench.run(contender, scenario);
        match outcome {
            Ok(figures) => {
                note(&format!("    {}", figures.line()));
                table.add(number, contender, figures);
            }
            Err(error) if contender.is_ours() => {
                bail!("{} under {}: {error:#}", contender.name(), scenario.name())
            }
            Err(error) => {
                table.add(number, contender, Figures::failed(format!("{error:#}")));
                note(&format!("    failed: {error:#}"));
            }
        }
    }
    Ok(())
}

/// What is going on, for who waits.
fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
