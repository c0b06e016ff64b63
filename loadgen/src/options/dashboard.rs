//! The flags of `loadgen dashboard`. Their defaults are those of
//! `loadgen/scenarios/dashboard.toml`.

use clap::Args;

use super::groups::{check_options, check_publishers, check_size};
use super::{Conduct, Timing, not_negative, positive};
use crate::engine::DRAWN_MAX;

/// The flags of `loadgen dashboard`.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true, after_long_help = EXAMPLES)]
pub struct Dashboard {
    /// Users, each with one connection.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub users: u32,
    /// Panels of each user, each about another metric: in turn one topic, a list of topics, and a
    /// filter for the metric of all hosts.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub panels: u32,
    /// Hosts, each with a topic for every metric.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub hosts: u32,
    /// Metrics: every third is fast, every third of medium speed, every third slow (25 : 5 : 1).
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub metrics: u32,
    /// Topics of a panel that is a list.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub list: u32,
    /// How many of 100 panels ask for the newest values alone (mode latest).
    #[arg(long, default_value_t = 30.0, value_parser = not_negative)]
    pub latest_share: f64,
    /// Values a second of each topic that these ask for at most.
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    pub max_rate: f64,
    /// Panels that are closed in a second, all users together; each is opened again.
    #[arg(long, default_value_t = 20.0, value_parser = positive)]
    pub flips: f64,
    /// How long a panel stays closed, in seconds.
    #[arg(long, default_value_t = 0.5, value_parser = not_negative)]
    pub away: f64,
    /// Connections that publish; at most one per topic.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub publishers: u32,
    /// Messages a second, all topics together, on average.
    #[arg(long, default_value_t = 500.0, value_parser = positive)]
    pub rate: f64,
    /// What the messages are drawn from: the same number gives the same.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
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
  500 users look at 200 hosts, and open 100 panels a second:
      loadgen dashboard --users 500 --hosts 200 --flips 100 --rate 5000

A panel that is opened begins with the last value of each of its topics; the time from the subscribe
until all are there is the line `snapshot`. What was published while it was closed is missed, not lost.

`loadgen fanout --help` explains how it measures, and the exit codes.";

impl Dashboard {
    /// What no single flag can tell.
    ///
    /// # Errors
    ///
    /// A sentence for the user.
    pub fn check(&self) -> Result<(), String> {
        check_options("dashboard", self.conduct.protocol)?;
        check_size(self.size, self.conduct.protocol.shape().payload_bytes_min())?;
        check_publishers(self.publishers, self.hosts * self.metrics, "--hosts times --metrics")?;
        if self.panels > self.metrics {
            return Err(format!("--panels {} needs as many --metrics", self.panels));
        }
        if self.list > self.hosts {
            return Err(format!("--list {} needs as many --hosts", self.list));
        }
        if self.latest_share > 100.0 {
            return Err(format!("--latest-share {} is more than all", self.latest_share));
        }
        if self.timing.warmup <= 0.0 {
            return Err("--warmup must be more than 0: each topic gets its first value then".into());
        }
        check_drawn(self.rate, &self.timing)
    }
}

/// That so many messages can be drawn before the run, with room for chance.
pub(super) fn check_drawn(rate: f64, timing: &Timing) -> Result<(), String> {
    let messages = rate * (timing.warmup + timing.seconds);
    if messages > DRAWN_MAX as f64 * 0.99 {
        return Err(format!("{messages:.0} messages are too many: at most {DRAWN_MAX} are drawn"));
    }
    Ok(())
}
