//! The flags of the scenarios beside `fanout`, one struct each. Their defaults are those of the
//! files in `loadgen/scenarios`, which a test of the library holds against them.

use clap::Args;

use super::groups::{check_options, check_publishers, check_size};
use super::{Conduct, Timing, not_negative, positive};
use crate::engine::{Arrivals, DRAWN_MAX, SLOW_BYTES_MAX, TOPICS_EACH_MAX};
use crate::payload::Body;

/// The flags of `loadgen churn`.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true, after_long_help = CHURN_EXAMPLES)]
pub struct ChurnFlags {
    /// Connections that subscribe; number i subscribes to topic i modulo the topics.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub subscribers: u32,
    /// How many of 100 subscribers leave and come back.
    #[arg(long, default_value_t = 20.0, value_parser = positive)]
    pub percent: f64,
    /// How many leave in a second, in turn.
    #[arg(long, default_value_t = 20.0, value_parser = positive)]
    pub leaves: f64,
    /// How long each is away, in seconds.
    #[arg(long, default_value_t = 0.5, value_parser = not_negative)]
    pub away: f64,
    /// Topics, published to in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub topics: u32,
    /// Connections that publish; at most one per topic.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub publishers: u32,
    /// Messages a second, all topics together.
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
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

/// The flags of `loadgen connect`.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true, after_long_help = CONNECT_EXAMPLES)]
pub struct Connect {
    /// Connections to open.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub connections: u32,
    /// How long to hold them once all are open.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    pub seconds: f64,
    /// What every scenario has.
    #[command(flatten)]
    pub conduct: Conduct,
}

/// The flags of `loadgen notify`.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true, after_long_help = NOTIFY_EXAMPLES)]
pub struct Notify {
    /// Users, each with a connection and a topic of its own.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub users: u32,
    /// Connections that publish; at most one per user.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub publishers: u32,
    /// Messages a second, all users together, who get them in turn.
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    pub rate: f64,
    /// Bytes of a payload: at least 64 in JSON, 28 in binary.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=64 << 20))]
    pub size: u32,
    /// How long what takes.
    #[command(flatten)]
    pub timing: Timing,
    /// What every scenario has.
    #[command(flatten)]
    pub conduct: Conduct,
}

/// The flags of `loadgen slow`.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true, after_long_help = SLOW_EXAMPLES)]
pub struct SlowFlags {
    /// Connections that subscribe; number i subscribes to topic i modulo the topics.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub subscribers: u32,
    /// How many of 100 subscribers read slowly.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    pub slow_share: f64,
    /// How many bytes each of these reads in a second; 0 for none at all.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(0..=i64::from(SLOW_BYTES_MAX)))]
    pub slow_bytes_per_second: u32,
    /// Topics, published to in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub topics: u32,
    /// Connections that publish; at most one per topic.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub publishers: u32,
    /// Messages a second, all topics together.
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
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

/// The flags of `loadgen ticker`.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true, after_long_help = TICKER_EXAMPLES)]
pub struct Ticker {
    /// Connections that watch symbols.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub clients: u32,
    /// Symbols, each a topic.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub symbols: u32,
    /// Symbols that each client watches; every symbol has as many clients as any other.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=i64::from(TOPICS_EACH_MAX)))]
    pub watch: u32,
    /// Connections that publish; at most one per symbol.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub publishers: u32,
    /// Updates a second, all symbols together, on average.
    #[arg(long, default_value_t = 200.0, value_parser = positive)]
    pub rate: f64,
    /// How unequal the symbols are: symbol n is updated in proportion to 1 / n to this power.
    #[arg(long, default_value_t = 1.0, value_parser = not_negative)]
    pub zipf: f64,
    /// How updates follow each other.
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson)]
    pub arrivals: Arrivals,
    /// What the updates are drawn from: the same number gives the same updates.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Clients ask for the newest of each symbol alone (mode latest).
    #[arg(long)]
    pub latest: bool,
    /// With --latest: at most so many updates a second of each symbol [default: as fast as they come]
    #[arg(long, requires = "latest", value_parser = positive)]
    pub max_rate: Option<f64>,
    /// Bytes of a payload: at least 136.
    #[arg(long, default_value_t = 160, value_parser = clap::value_parser!(u32).range(1..=64 << 20))]
    pub size: u32,
    /// How long what takes.
    #[command(flatten)]
    pub timing: Timing,
    /// What every scenario has.
    #[command(flatten)]
    pub conduct: Conduct,
}

const CHURN_EXAMPLES: &str = "\
Examples:
  A tenth of 5,000 subscribers comes and goes, 50 a second, each away for two seconds:
      loadgen churn --subscribers 5000 --percent 10 --leaves 50 --away 2

What is published while a subscriber is away is accounted for apart: expected = delivered + lost +
missed. It is told by the seq in the answer to its next subscribe.

`loadgen fanout --help` explains how it measures, and the exit codes.";

const CONNECT_EXAMPLES: &str = "\
Examples:
  Ten thousand connections for a minute, and what each costs the broker in memory:
      loadgen connect --connections 10000 --seconds 60 --target-pid $(pgrep -x broker)

`loadgen fanout --help` explains how it measures, and the exit codes.";

const NOTIFY_EXAMPLES: &str = "\
Examples:
  Ten thousand users, each with a topic of its own, 500 notices a second:
      loadgen notify --users 10000 --rate 500

`loadgen fanout --help` explains how it measures, and the exit codes.";

const SLOW_EXAMPLES: &str = "\
Examples:
  A twentieth of 2,000 subscribers reads nothing, while 500 messages of 1 KB flow a second:
      loadgen slow --subscribers 2000 --slow-share 5 --slow-bytes-per-second 0 --rate 500 --size 1024

A slow reader may be closed by the server: with 4408, or without a close frame if it would not read
one. What it got until then must be whole, and end with the seq that the close reason names.

`loadgen fanout --help` explains how it measures, and the exit codes.";

const TICKER_EXAMPLES: &str = "\
Examples:
  500 symbols, 2,000 clients that watch 20 of them each:
      loadgen ticker --symbols 500 --clients 2000 --watch 20

  All symbols alike, at equal distances:
      loadgen ticker --zipf 0 --arrivals constant

  Clients that look at the newest price twice a second:
      loadgen ticker --rate 5000 --latest --max-rate 2

`loadgen fanout --help` explains how it measures, and the exit codes.";

impl ChurnFlags {
    /// What no single flag can tell.
    ///
    /// # Errors
    ///
    /// A sentence for the user.
    pub fn check(&self) -> Result<(), String> {
        check_publishers(self.publishers, self.topics, "--topics")?;
        check_size(self.size, self.conduct.protocol.shape().payload_bytes_min())?;
        if self.percent > 100.0 {
            return Err(format!("--percent {} is more than all", self.percent));
        }
        Ok(())
    }
}

impl Notify {
    /// What no single flag can tell.
    ///
    /// # Errors
    ///
    /// A sentence for the user.
    pub fn check(&self) -> Result<(), String> {
        check_publishers(self.publishers, self.users, "--users")?;
        check_size(self.size, self.conduct.protocol.shape().payload_bytes_min())
    }
}

impl SlowFlags {
    /// What no single flag can tell.
    ///
    /// # Errors
    ///
    /// A sentence for the user.
    pub fn check(&self) -> Result<(), String> {
        check_publishers(self.publishers, self.topics, "--topics")?;
        check_size(self.size, self.conduct.protocol.shape().payload_bytes_min())?;
        if self.slow_share > 100.0 {
            return Err(format!("--slow-share {} is more than all", self.slow_share));
        }
        Ok(())
    }
}

impl Ticker {
    /// What no single flag can tell.
    ///
    /// # Errors
    ///
    /// A sentence for the user.
    pub fn check(&self) -> Result<(), String> {
        check_publishers(self.publishers, self.symbols, "--symbols")?;
        check_size(self.size, Body::Quote.payload_bytes_min())?;
        if self.watch > self.symbols {
            return Err(format!("--watch {} needs as many --symbols", self.watch));
        }
        if self.latest {
            check_options("ticker --latest", self.conduct.protocol)?;
        }
        // With room for chance.
        let updates = self.rate * (self.timing.warmup + self.timing.seconds);
        if updates > DRAWN_MAX as f64 * 0.99 {
            return Err(format!(
                "{updates:.0} updates are too many: at most {DRAWN_MAX} are drawn"
            ));
        }
        Ok(())
    }
}
