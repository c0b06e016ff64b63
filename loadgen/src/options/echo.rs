//! The flags of `loadgen echo`. Their defaults are those of `loadgen/scenarios/echo.toml`, which a
//! test of the library holds against them.

use clap::Args;

use super::groups::check_size;
use super::{Conduct, Timing, positive};

/// The flags of `loadgen echo`.
#[derive(Clone, Debug, Args)]
#[command(
    args_override_self = true,
    after_long_help = EXAMPLES,
    mut_arg("url", |arg| arg.default_value("ws://127.0.0.1:8080/echo")),
    mut_arg("protocol", |arg| arg.default_value("echo"))
)]
pub struct EchoFlags {
    /// Connections, each of which gets back what it sends.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub connections: u32,
    /// Messages a second, all connections together, which send in turn.
    #[arg(long, default_value_t = 1000.0, value_parser = positive)]
    pub rate: f64,
    /// Bytes of a payload: at least 28, 64 in JSON.
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
  A broker started with --echo, 1,000 connections that send 10 messages a second each:
      loadgen echo --connections 1000 --rate 10000

  Any other server that sends back what it gets:
      loadgen echo --url ws://10.0.0.5:9001/

  Through topics: every connection publishes on one of its own, to which it subscribes:
      loadgen echo --protocol json --url ws://127.0.0.1:8080/ws

Latency runs from the time a message was due to its return.

`loadgen fanout --help` explains how it measures, and the exit codes.";

impl EchoFlags {
    /// What no single flag can tell.
    ///
    /// # Errors
    ///
    /// A sentence for the user.
    pub fn check(&self) -> Result<(), String> {
        check_size(self.size, self.conduct.protocol.shape().payload_bytes_min())
    }
}
