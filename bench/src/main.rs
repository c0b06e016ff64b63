//! `bench`: compares the broker with other servers, and is two of them. The measuring is in the
//! library; criterion's benchmarks are in `benches/`, and run from here for a table.

use bench::dashboards::{self, DashboardsFlags};
use bench::durable::{self, DurableFlags};
use bench::functions::{self, FunctionsFlags};
use bench::peers::{self, PeersFlags};
use bench::plot::{self, PlotFlags};
use bench::servers;
use bench::transports::{self, TransportsFlags};
use bench::workers::{self, TurnsFlags, WorkersFlags};
use clap::{Parser, Subcommand, ValueEnum};

#[derive(Debug, Parser)]
#[command(name = "bench", version, about = "Compares the broker with other servers")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The broker and other servers under the same load, as a table of ratios.
    Peers(PeersFlags),
    /// Draws what `peers --json` wrote.
    Plot(PlotFlags),
    /// One feed over WebSocket, server-sent events and polls, for docs/WHY-WEBSOCKET.md.
    Transports(TransportsFlags),
    /// What the parts made for dashboards cost and bear, for docs/DASHBOARDS.md.
    Dashboards(DashboardsFlags),
    /// Publishes a second in memory and on disk, for docs/BENCHMARKS.md.
    Durable(DurableFlags),
    /// Two workers against one: processor time, latency, and instructions for a delivery.
    Workers(WorkersFlags),
    /// What functions cost: criterion's benchmarks, run briefly, as a table.
    Functions(FunctionsFlags),
    /// Messages on their way through the hub, without sockets, for `workers` to count.
    #[command(hide = true)]
    Turns(TurnsFlags),
    /// One of the small servers to compare with, until it is ended.
    Serve {
        /// Which.
        #[arg(value_enum)]
        kind: Kind,
        /// Where it listens, on 127.0.0.1.
        #[arg(long)]
        port: u16,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// One thread, epoll, a send per subscriber and read.
    Bare,
    /// tokio-tungstenite, a task and a queue per connection.
    Tungstenite,
}

fn main() -> anyhow::Result<()> {
    match Options::parse().command {
        Command::Peers(flags) => peers::run(&flags),
        Command::Plot(flags) => plot::run(&flags),
        Command::Transports(flags) => transports::run(&flags),
        Command::Dashboards(flags) => dashboards::run(&flags),
        Command::Durable(flags) => durable::run(&flags),
        Command::Workers(flags) => workers::run(&flags),
        Command::Functions(flags) => functions::run(&flags),
        Command::Turns(flags) => {
            workers::turns(&flags);
            Ok(())
        }
        Command::Serve { kind, port } => {
            broker::sys::raise_descriptor_limit();
            match kind {
                Kind::Bare => servers::bare::serve(port)?,
                Kind::Tungstenite => servers::tungstenite::serve(port)?,
            }
            Ok(())
        }
    }
}
