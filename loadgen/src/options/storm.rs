//! The flags of `loadgen storm`. Their defaults are those of `loadgen/scenarios/storm.toml`.

use clap::Args;

use super::groups::{check_options, check_publishers, check_size};
use super::{Conduct, Timing, positive};
use crate::engine::STORMS_MAX;

/// The flags of `loadgen storm`.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true, after_long_help = EXAMPLES)]
pub struct StormFlags {
    /// Connections that subscribe; number i subscribes to topic i modulo the topics.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub subscribers: u32,
    /// How many of 100 subscribers are cut off.
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    pub share: f64,
    /// How many storms there are while measuring, at equal distances.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=i64::from(STORMS_MAX)))]
    pub times: u32,
    /// Each comes back after a random time up to this, in milliseconds; with 0, all in one moment.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=3_600_000))]
    pub spread: u32,
    /// Do not ask for what was missed (`since`), just subscribe anew.
    #[arg(long)]
    pub forget: bool,
    /// Topics, published to in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub topics: u32,
    /// Connections that publish; at most one per topic.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub publishers: u32,
    /// Messages a second, all topics together.
    #[arg(long, default_value_t = 50.0, value_parser = positive)]
    pub rate: f64,
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

const EXAMPLES: &str = "\
Examples:
  5,000 subscribers lose their connections three times, and are told to come back within a second:
      loadgen storm --subscribers 5000 --times 3 --spread 1000 --seconds 30

Who comes back asks for what came after its last message. expected = delivered + lost + missed while
disconnected; where the server says that it has recovered a subscription, nothing may be missing.

`loadgen fanout --help` explains how it measures, and the exit codes.";

impl StormFlags {
    /// From one storm to the next, in seconds.
    #[must_use]
    pub fn every(&self) -> f64 {
        self.timing.seconds / f64::from(self.times)
    }

    /// What no single flag can tell.
    ///
    /// # Errors
    ///
    /// A sentence for the user.
    pub fn check(&self) -> Result<(), String> {
        check_publishers(self.publishers, self.topics, "--topics")?;
        check_size(self.size, self.conduct.protocol.shape().payload_bytes_min())?;
        check_options("storm", self.conduct.protocol)?;
        if self.share > 100.0 {
            return Err(format!("--share {} is more than all", self.share));
        }
        Ok(())
    }
}
