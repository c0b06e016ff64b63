//! The command line: every flag with its default, its unit and its limit, and the help that
//! teaches. Decides nothing and opens nothing; read by `main`, handed to the scenarios.

mod access;
mod chat;
mod dashboard;
mod echo;
mod find;
mod groups;
mod scenarios;
mod sink;
mod storm;
mod targets;
mod wire;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::agents::AgentFlags;
use crate::compare::Compare;

pub use access::AccessFlags;
pub use chat::Chat;
pub use dashboard::Dashboard;
pub use echo::EchoFlags;
pub use find::{Bound, Find, Search, Searched};
pub use groups::{Conduct, Following, Timing};
pub use scenarios::{ChurnFlags, Connect, Notify, SlowFlags, Ticker};
pub use sink::SinkFlags;
pub use storm::StormFlags;
pub use targets::TargetFlags;
pub use wire::{TransportName, WireFlags};

use groups::{check_publishers, check_size};

const EXAMPLES: &str = "\
Examples:
  A thousand subscribers of one topic, a hundred messages a second, ten seconds:
      loadgen fanout

  What 10,000 subscribers get of 20 messages a second, the result kept for later:
      loadgen fanout --subscribers 10000 --rate 20 --seconds 30 --json run.json

  A hundred topics fed by ten publishers, 4 KB each, in the binary protocol:
      loadgen fanout --topics 100 --publishers 10 --size 4096 --protocol bin

  With a page of plots, the broker's processor time and memory in it:
      loadgen fanout --html report.html --target-pid $(pgrep -x broker)

  A cluster of three brokers, on which everything must reach everybody:
      loadgen fanout --targets ws://a:8080/ws,ws://b:8080/ws,ws://c:8080/ws --publishers 3 --topics 3

  The same feed by polling twice a second, to see what that costs:
      loadgen fanout --transport poll --poll-ms 500

  As a gate: 1 as the exit code if a demand is missed:
      loadgen fanout --threshold 'p99<20ms' --threshold 'rate>=99%'

  As a test in a script: only the verdict is printed, the exit code tells:
      loadgen fanout --quiet --url ws://10.0.0.5:8080/ws || echo \"broken: $?\"

How it measures:
  Messages are due on a constant schedule. One that is sent late keeps the time at which it was
  due, and latency runs from that time to its arrival: a slow server cannot slow the measurement
  down to its own pace. Every subscriber's account of every topic must close: expected =
  delivered + lost. All messages are accounted for, those of the warm-up too; only those after it
  are timed.

Exit codes:
  0    everything arrived, once and in order
  1    a --threshold was missed
  2    the command line is wrong
  3    the target or an agent cannot be reached, or too few connections were made
  4    the measurement is invalid: the load generator or its machine was too slow to time anything,
       or an agent was lost
  5    delivery is broken: lost, duplicated or out of order
  130  interrupted; the report covers what was sent until then";

/// `loadgen` and its subcommands.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "loadgen",
    version,
    about = "Opens very many WebSockets and proves what was delivered",
    after_help = "`loadgen list` names the scenarios; `loadgen fanout --help` shows the flags of \
                  one, with examples."
)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One subcommand per scenario, and those about results and the machine.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Rooms of unequal size, whose members come and go and see each other do so.
    Chat(Chat),
    /// As fanout, while a share of the subscribers leaves and comes back all the time.
    Churn(ChurnFlags),
    /// Connections that are opened and held: how fast that goes, and what they cost.
    Connect(Connect),
    /// Every connection sends, and gets its own messages back: how long a round trip takes.
    Echo(EchoFlags),
    /// Users with panels of many topics each, which they close and open again.
    Dashboard(Dashboard),
    /// Few topics, many subscribers: every message goes to every subscriber of its topic.
    Fanout(Fanout),
    /// The highest rate at which a scenario holds a bound, by search.
    Find(Find),
    /// Very many topics with one subscriber each, and few messages for any of them.
    Notify(Notify),
    /// As fanout, while a share of the subscribers reads slowly or not at all.
    Slow(SlowFlags),
    /// As fanout, while everybody's connection is cut at once and all come back.
    Storm(StormFlags),
    /// A market: symbols of which few are updated often, and clients that watch some.
    Ticker(Ticker),
    /// Names the scenarios, one a line.
    List,
    /// Prints the file behind a scenario, to begin one's own with.
    Show {
        /// As `loadgen list` names it.
        name: String,
    },
    /// Runs a scenario from a file; flags after its name win over it.
    Run {
        /// TOML; its keys are the flags of its scenario.
        file: PathBuf,
        /// Flags of the scenario.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
    /// Shares the work of runs on other hosts: waits for them and does what they ask.
    Agent(AgentFlags),
    /// Results of earlier runs side by side, as text and as a page.
    Compare(Compare),
    /// A small target with set faults, to test load generators on and compare brokers with.
    Sink(SinkFlags),
    /// Whether this machine is fit to measure with, and what to do where it is not.
    Doctor,
}

/// The flags of `loadgen fanout`.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true, after_long_help = EXAMPLES)]
pub struct Fanout {
    /// Connections that subscribe; number i subscribes to topic i modulo the topics.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub subscribers: u32,
    /// Topics, published to in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub topics: u32,
    /// Connections that publish; at most one per topic, so that each topic has one order.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub publishers: u32,
    /// Messages a second, all topics together.
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    pub rate: f64,
    /// Messages that are due at once, with a pause after them; the rate, over all, stays.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub burst: u32,
    /// Bytes of a payload: at least 64 in JSON, 28 in binary.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=64 << 20))]
    pub size: u32,
    /// How long what takes.
    #[command(flatten)]
    pub timing: Timing,
    /// What every scenario has.
    #[command(flatten)]
    pub conduct: Conduct,
}

impl Fanout {
    /// What no single flag can tell.
    ///
    /// # Errors
    ///
    /// A sentence for the user.
    pub fn check(&self) -> Result<(), String> {
        check_publishers(self.publishers, self.topics, "--topics")?;
        check_size(self.size, self.conduct.protocol.shape().payload_bytes_min())
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match not_negative(text)? {
        0.0 => Err("must be more than 0".into()),
        number => Ok(number),
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=1e9).contains(&number) => Ok(number),
        _ => Err("not a number from 0 to 1000000000".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn fanout(arguments: &[&str]) -> Result<Fanout, clap::Error> {
        let all = ["loadgen", "fanout"].iter().chain(arguments);
        match Options::try_parse_from(all)?.command {
            Command::Fanout(fanout) => Ok(fanout),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_sound_and_its_defaults_pass_the_check() {
        Options::command().debug_assert();
        let options = fanout(&[]).unwrap();
        assert_eq!((options.subscribers, options.topics, options.publishers), (1000, 1, 1));
        assert_eq!(options.check(), Ok(()));
        assert!(options.conduct.thread_count() >= 1);
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        for wrong in [["--rate", "0"], ["--seconds", "-1"], ["--rate", "NaN"], ["--topics", "0"]] {
            assert!(fanout(&wrong).is_err(), "{wrong:?}");
        }
        assert!(fanout(&["--publishers", "2"]).unwrap().check().is_err());
        assert!(fanout(&["--size", "63"]).unwrap().check().is_err());
        assert_eq!(fanout(&["--size", "28", "--protocol", "bin"]).unwrap().check(), Ok(()));
    }
}
