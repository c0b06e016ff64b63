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
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, ValueEnum as _};
use serde_json::{Value, json};

pub mod contender;
pub mod round;
pub mod scenario;
pub mod table;
pub mod tools;

use crate::machine::Machine;
use crate::progress::note;
use crate::{page, plot};
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
    /// All loads and all servers there are.
    #[arg(long, conflicts_with_all = ["scenario", "peers"])]
    pub all: bool,
    /// How often each server is measured under each load; five or more to build on.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// How long each of them is measured, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Begin nothing new after so many minutes; what was measured until then counts [default: no
    /// limit]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub minutes: Option<u32>,
    /// Connections of the scenario `idle`. All of a process's descriptors are connections there.
    #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub idle_connections: u32,
    /// Write every round's figures to this file as JSON, anew after each; `bench plot` draws them.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Put the tables into this page, in its place called `peers`, and the plots into the folder
    /// `images` beside it: docs/BENCHMARKS.md.
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  The usual loads and servers, five rounds of ten seconds; about two hours:
      cargo run --release -p bench -- peers

  Everything into the page, with plots, in 80 minutes at most:
      cargo run --release -p bench -- peers --all --rounds 3 --seconds 4 --minutes 80 \\
          --json target/peers.json --page docs/BENCHMARKS.md

  Is the broker as cheap as the bare loop today?
      cargo run --release -p bench -- peers --scenario fan,burst --peers bare

How to read the table:
  `broker / it` is the broker's processor time for a delivery against this server's in the same
  round: 0.9 means that the broker takes nine tenths of it. The median of the rounds, and in
  brackets the least and the greatest. The line `broker again` is the same broker measured a second
  time in each round: a difference smaller than what that line shows is none.
  A server that lost, repeated or reordered a message has no figures but that. One that fails twice
  under a load is not tried under it again; none of that ends the run.";

/// So often a server may fail under a load before it is given up there.
const FAILURES_MAX: usize = 2;

/// What a measurement takes beside the time to measure, in seconds, about: a look at the idle server,
/// connecting, warm-up, drain.
const BESIDE_SECONDS: u32 = 4;

/// Runs every round and prints a table for each scenario.
///
/// # Errors
/// If the broker or the load generator can't be built, or a file can't be written. A server that
/// can't be had, does not start or fails under a load has that in its row.
pub fn run(flags: &PeersFlags) -> anyhow::Result<()> {
    let bench = Bench::prepare(flags.seconds, flags.idle_connections)?;
    let field = Field::new(flags, bench);
    let limit = flags.minutes.map(|minutes| Duration::from_secs(60 * u64::from(minutes)));
    let began = Instant::now();
    let is_over = || limit.is_some_and(|limit| began.elapsed() >= limit);
    let mut tables: Vec<Table> = flags.scenarios().iter().copied().map(Table::new).collect();
    note(&field.outlook(flags));
    'rounds: for number in 1..=flags.rounds {
        for at in 0..tables.len() {
            field.measure(number, &mut tables[at], is_over);
            keep(flags, &field.versions(), &tables)?;
            if is_over() {
                note("the time is over");
                break 'rounds;
            }
        }
    }
    tables.retain(|table| table.rounds() > 0);
    let mut out = io::stdout().lock();
    tables.iter().try_for_each(|table| writeln!(out, "{table}")).context("cannot write the table")
}

impl PeersFlags {
    fn scenarios(&self) -> &[Scenario] {
        if self.all { Scenario::value_variants() } else { &self.scenario }
    }

    fn wanted(&self) -> Vec<Contender> {
        let all = if self.all { Contender::value_variants() } else { &self.peers };
        all.iter().copied().filter(|peer| !peer.is_ours()).collect()
    }
}

/// The servers that are there, and those that are not.
struct Field {
    bench: Bench,
    available: Vec<Contender>,
    missing: Vec<(Contender, String)>,
}

impl Field {
    /// Fetches what was asked for.
    fn new(flags: &PeersFlags, bench: Bench) -> Self {
        let (mut available, mut missing) = (Vec::new(), Vec::new());
        for peer in flags.wanted() {
            match peer.fetch(&bench.tools) {
                Ok(()) => available.push(peer),
                Err(error) => {
                    let why = format!("not to be had: {error:#}");
                    note(&format!("{} is left out, {why}", peer.name()));
                    missing.push((peer, why.lines().next().unwrap_or_default().to_owned()));
                }
            }
        }
        Self { bench, available, missing }
    }

    /// How long it will take, for who waits.
    fn outlook(&self, flags: &PeersFlags) -> String {
        let each = |scenario: &Scenario| {
            2 + self.available.iter().filter(|peer| peer.fits(*scenario)).count() as u32
        };
        let runs = flags.rounds * flags.scenarios().iter().map(each).sum::<u32>();
        let minutes = (runs * (flags.seconds + BESIDE_SECONDS)).div_ceil(60);
        format!("{runs} measurements in {} rounds, about {minutes} minutes", flags.rounds)
    }

    /// One round: every server once, the broker twice; fewer if the time is over before.
    fn measure(&self, number: u32, table: &mut Table, is_over: impl Fn() -> bool) {
        let scenario = table.scenario();
        let is_tried =
            |peer: &Contender| peer.fits(scenario) && table.failures(*peer) < FAILURES_MAX;
        let mut order: Vec<_> = [Contender::Broker]
            .into_iter()
            .chain(self.available.iter().copied().filter(is_tried))
            .chain([Contender::BrokerAgain])
            .collect();
        if number.is_multiple_of(2) {
            order.reverse();
        }
        for contender in order {
            if is_over() {
                break;
            }
            note(&format!("{} · round {number} · {}", scenario.name(), contender.name()));
            let outcome = self.bench.run(contender, scenario);
            let figures = outcome.unwrap_or_else(|error| Figures::failed(format!("{error:#}")));
            note(&format!("    {}", figures.line()));
            table.add(number, contender, figures);
        }
        if number == 1 && table.rounds() > 0 {
            for (peer, why) in self.missing.iter().filter(|(peer, _)| peer.fits(scenario)) {
                table.add(number, *peer, Figures::failed(why.clone()));
            }
        }
    }

    /// Of those servers that are not ours.
    fn versions(&self) -> BTreeMap<&'static str, String> {
        let named = |peer: &Contender| Some((peer.name(), peer.version(&self.bench.tools)?));
        self.available.iter().filter_map(named).collect()
    }
}

/// Writes what was measured so far to the files that were asked for.
fn keep(
    flags: &PeersFlags,
    versions: &BTreeMap<&str, String>,
    tables: &[Table],
) -> anyhow::Result<()> {
    let rounds: Vec<Value> = tables.iter().flat_map(Table::to_json).collect();
    let machine = Machine::here().to_string();
    let result = json!({
        "machine": machine,
        "seconds": flags.seconds,
        "versions": versions,
        "rounds": rounds,
    });
    if let Some(path) = &flags.json {
        let text = format!("{result:#}\n");
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    let Some(path) = &flags.page else { return Ok(()) };
    let folder = path.with_file_name("images");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let drawn = plot::draw(&result, &folder)?;
    let versions: Vec<String> =
        versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let mut text = format!("{machine}; {} s a round. {}.\n", flags.seconds, versions.join(", "));
    for table in tables.iter().filter(|table| table.rounds() > 0) {
        let _ = write!(text, "\n{table}");
        if drawn.contains(&table.scenario()) {
            let name = table.scenario().name();
            let _ = write!(text, "\n![Plot of {name}](images/peers-{name}.svg)\n");
        }
    }
    page::put(path, "peers", &text)
}
