//! The command line: every flag with its default, its unit and its limit, and the help that
//! teaches. Decides nothing and opens nothing; read by `main`, handed to the scenarios.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::target::Protocol;

const EXAMPLES: &str = "\
Examples:
  A thousand subscribers of one topic, a hundred messages a second, ten seconds:
      loadgen fanout

  What 10,000 subscribers get of 20 messages a second, the result kept for later:
      loadgen fanout --subscribers 10000 --rate 20 --seconds 30 --json run.json

  A hundred topics fed by ten publishers, 4 KB each, in the binary protocol:
      loadgen fanout --topics 100 --publishers 10 --size 4096 --protocol bin

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
  2    the command line is wrong
  3    the target cannot be reached, or too few connections were made
  5    delivery is broken: lost, duplicated or out of order
  130  interrupted; the report covers what was sent until then";

/// `loadgen` and its subcommands.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "loadgen",
    version,
    about = "Opens very many WebSockets and proves what was delivered",
    after_help = "`loadgen fanout --help` shows its flags, with examples."
)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One subcommand per scenario.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Few topics, many subscribers: every message goes to every subscriber of its topic.
    Fanout(Fanout),
}

/// The flags of `loadgen fanout`.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Fanout {
    /// Where the broker listens.
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    pub url: String,
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
    /// Bytes of a payload: at least 64 in JSON, 28 in binary.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=64 << 20))]
    pub size: u32,
    /// How long to measure.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    pub seconds: f64,
    /// How long to publish before measuring, in seconds: accounted for, but not timed.
    #[arg(long, default_value_t = 1.0, value_parser = not_negative)]
    pub warmup: f64,
    /// After the last send, how long to wait for missing messages while none arrives, in seconds.
    #[arg(long, default_value_t = 5.0, value_parser = not_negative)]
    pub drain: f64,
    /// Threads that share the connections [default: one per core]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// What is spoken.
    #[arg(long, value_enum, default_value_t = Protocol::Json)]
    pub protocol: Protocol,
    /// Write the result to this file as JSON too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Print the verdict and nothing else.
    #[arg(long)]
    pub quiet: bool,
}

impl Fanout {
    /// What no single flag can tell.
    ///
    /// # Errors
    ///
    /// A sentence for the user.
    pub fn check(&self) -> Result<(), String> {
        if self.publishers > self.topics {
            return Err(format!(
                "--publishers {} needs as many --topics: each topic has one publisher, so that \
                 its order is defined",
                self.publishers
            ));
        }
        let size_min = self.protocol.shape().payload_bytes_min();
        if (self.size as usize) < size_min {
            return Err(format!(
                "--size {} is too small: the stamp in a payload takes {size_min} bytes",
                self.size
            ));
        }
        Ok(())
    }

    /// The number of threads: as asked, else one per core.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(cores, |threads| threads as usize)
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
        let Command::Fanout(fanout) = Options::try_parse_from(all)?.command;
        Ok(fanout)
    }

    #[test]
    fn the_command_line_is_sound_and_its_defaults_pass_the_check() {
        Options::command().debug_assert();
        let options = fanout(&[]).unwrap();
        assert_eq!((options.subscribers, options.topics, options.publishers), (1000, 1, 1));
        assert_eq!(options.check(), Ok(()));
        assert!(options.thread_count() >= 1);
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
