//! The flags of `loadgen find`: what is searched for, and the scenarios that it can be searched
//! with, whose own flags stand beside. Decides nothing; read by `scenario::find`.

use clap::{Args, Subcommand};

use super::{Chat, ChurnFlags, Dashboard, EchoFlags, Fanout, Notify, SlowFlags, Ticker, positive};
use crate::threshold::Threshold;

/// The flags of `loadgen find`.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Find {
    /// What is published at each rate.
    #[command(subcommand)]
    pub scenario: Searched,
}

/// The scenarios that have a rate.
#[derive(Clone, Debug, Subcommand)]
pub enum Searched {
    /// With the load of `loadgen chat`.
    Chat(Search<Chat>),
    /// With the load of `loadgen churn`.
    Churn(Search<ChurnFlags>),
    /// With the load of `loadgen echo`.
    Echo(Search<EchoFlags>),
    /// With the load of `loadgen dashboard`.
    Dashboard(Search<Dashboard>),
    /// With the load of `loadgen fanout`.
    Fanout(Search<Fanout>),
    /// With the load of `loadgen notify`.
    Notify(Search<Notify>),
    /// With the load of `loadgen slow`.
    Slow(Search<SlowFlags>),
    /// With the load of `loadgen ticker`.
    Ticker(Search<Ticker>),
    /// With a scenario's file, and flags that win over it.
    #[command(external_subcommand)]
    File(Vec<String>),
}

/// What is searched for, and the scenario's own flags. A run is short here, since there are many:
/// three seconds unless `--seconds` says otherwise.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true, after_long_help = EXAMPLES)]
#[command(mut_arg("seconds", |arg| arg.default_value("3")))]
#[command(mut_arg("rate", |arg| arg.hide(true)))]
pub struct Search<T: Args> {
    /// What is published.
    #[command(flatten)]
    pub flags: T,
    /// What is searched for.
    #[command(flatten)]
    pub bound: Bound,
}

/// The bound that must hold, and where to look for the rate.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Search")]
pub struct Bound {
    /// What must hold, as in p99<20ms. Can be given many times; --threshold is added to it.
    #[arg(long, value_name = "DEMAND", default_value = "p99<20ms")]
    pub latency: Vec<Threshold>,
    /// Messages a second to begin with: doubled while the bound holds, halved while it does not.
    #[arg(long, value_name = "RATE", default_value_t = 100.0, value_parser = positive)]
    pub from: f64,
    /// Messages a second beyond which nothing is tried [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = positive)]
    pub to: Option<f64>,
    /// How close the highest rate that holds and the lowest that does not must come, in per cent.
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = positive)]
    pub precision: f64,
}

const EXAMPLES: &str = "\
Examples:
  The highest rate at which 99 of 100 deliveries to 1,000 subscribers take less than 20 ms:
      loadgen find fanout --latency 'p99<20ms'

  Between 1,000 and 50,000 a second, five seconds each, every step kept:
      loadgen find ticker --from 1000 --to 50000 --seconds 5 --json steps.json --html steps.html

  With a scenario of one's own:
      loadgen find mine.toml --latency 'p99.9<100ms'

A rate holds if the bound does, nothing was lost, doubled or out of order, no connection was closed,
and 99 % of the rate was reached. One that does not is tried a second time. Where a measurement is
INVALID the generator is the limit, and the answer is a lower bound.

Exit codes:
  0    a rate was found
  1    no rate holds the bound
  2    the command line is wrong
  3    the target cannot be reached, or too few connections were made
  4    no rate could be measured: the generator or its machine is too slow
  5    no rate holds, and delivery is broken even at the lowest
  130  interrupted";

impl Bound {
    /// What no single flag can tell.
    ///
    /// # Errors
    ///
    /// A sentence for the user.
    pub fn check(&self) -> Result<(), String> {
        match self.to.filter(|&to| to < self.from) {
            Some(to) => Err(format!("--to {to} is less than --from {}", self.from)),
            None => Ok(()),
        }
    }
}
