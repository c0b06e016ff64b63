//! Flags that several scenarios share, in groups that are flattened into theirs. Checks what no
//! single flag of a group can tell; knows no scenario.

use std::net::SocketAddr;

use clap::{ArgAction, Args};

use super::{AccessFlags, TargetFlags, WireFlags, not_negative, positive};
use crate::agents::Spread;
use crate::engine::Schedule;
use crate::report::Outputs;
use crate::target::Protocol;

/// What every scenario has.
#[derive(Clone, Debug, Args)]
pub struct Conduct {
    /// Where to.
    #[command(flatten)]
    pub to: TargetFlags,
    /// What is spoken.
    #[arg(long, value_enum, default_value_t = Protocol::Json)]
    pub protocol: Protocol,
    /// What it takes to be let in.
    #[command(flatten)]
    pub access: AccessFlags,
    /// What lies below the protocol.
    #[command(flatten)]
    pub wire: WireFlags,
    /// Threads that share the connections; of each agent, with --agents [default: one per core]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Ask the kernel when it received each delivery, to tell the network's part of the latency
    /// from the load generator's own. Costs a little for every packet of this machine.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub kernel_timestamps: bool,
    /// Over which processes and hosts the connections are spread.
    #[command(flatten)]
    pub spread: Spread,
    /// What becomes of the result.
    #[command(flatten)]
    pub outputs: Outputs,
    /// Who looks on.
    #[command(flatten)]
    pub following: Following,
}

/// What is shown of a run while it goes on.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "While it runs")]
pub struct Following {
    /// Print the verdict and what decided it, nothing else.
    #[arg(long)]
    pub quiet: bool,
    /// Lines of progress, also where the standard error is a terminal, which gets a screen with the
    /// run's numbers otherwise (q ends the run).
    #[arg(long)]
    pub plain: bool,
    /// Serve the run's numbers for Prometheus at http://ADDR:PORT/metrics; port 0 takes a free one,
    /// which is printed.
    #[arg(long, value_name = "ADDR:PORT")]
    pub prometheus: Option<SocketAddr>,
}

/// How long what takes.
#[derive(Clone, Copy, Debug, Args)]
pub struct Timing {
    /// How long to measure.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    pub seconds: f64,
    /// How long to publish before measuring, in seconds: accounted for, but not timed.
    #[arg(long, default_value_t = 1.0, value_parser = not_negative)]
    pub warmup: f64,
    /// After the last send, how long to wait for missing messages while none arrives, in seconds.
    #[arg(long, default_value_t = 5.0, value_parser = not_negative)]
    pub drain: f64,
}

impl Conduct {
    /// The number of threads: as asked, else one per core.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(cores, |threads| threads as usize)
    }
}

impl Timing {
    /// A constant rate on all topics in turn.
    #[must_use]
    pub fn schedule(&self, rate: f64, topics: u32) -> Schedule {
        Schedule::new(rate, self.warmup, self.seconds, topics)
    }
}

/// That each topic has one publisher; `topics` is the flag that sets their number.
pub(super) fn check_publishers(publishers: u32, topics: u32, flag: &str) -> Result<(), String> {
    if publishers <= topics {
        return Ok(());
    }
    Err(format!(
        "--publishers {publishers} needs as many {flag}: each topic has one publisher, so that \
         its order is defined"
    ))
}

/// That the protocol knows the options of a subscribe that a scenario is about.
pub(super) fn check_options(scenario: &str, protocol: Protocol) -> Result<(), String> {
    if protocol.has_options() {
        return Ok(());
    }
    Err(format!(
        "{scenario} asks for what {} has no words for; it takes --protocol json or bin",
        protocol.name()
    ))
}

/// That a payload holds what it must, in bytes.
pub(super) fn check_size(size: u32, size_min: usize) -> Result<(), String> {
    if size as usize >= size_min {
        return Ok(());
    }
    Err(format!("--size {size} is too small: what every payload must hold takes {size_min} bytes"))
}
