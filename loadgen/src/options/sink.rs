//! The flags of `loadgen sink`, each with what it does wrong and how that is counted. Checks what
//! no single flag can tell; injects nothing.

use std::net::SocketAddr;

use broker_proto::ws::CloseCode;
use clap::Args;

use super::{not_negative, positive};

/// The flags of `loadgen sink`.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct SinkFlags {
    /// Where to listen; port 0 takes a free one, and the first line says which.
    #[arg(long, default_value = "127.0.0.1:8081")]
    pub listen: SocketAddr,
    /// Print both lines, where it listens and what it did, as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where what is drawn at random begins: the same seed draws the same.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Hold every delivery back for so many milliseconds.
    #[arg(long, default_value_t = 0.0, value_name = "MS", value_parser = not_negative)]
    pub delay: f64,
    /// Hold every delivery back for 0 to so many milliseconds more, drawn; the order stays.
    #[arg(long, default_value_t = 0.0, value_name = "MS", value_parser = not_negative)]
    pub jitter: f64,
    /// Leave out every Nth delivery.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub drop: Option<u64>,
    /// Leave out so many of 100 deliveries, drawn.
    #[arg(long, value_name = "P", value_parser = percent, conflicts_with = "drop")]
    pub drop_percent: Option<f64>,
    /// Say of each message that is left out that it will not come.
    #[arg(long)]
    pub gap: bool,
    /// Damage every Nth delivery: one byte of its payload, the 11th, is another.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub corrupt: Option<u64>,
    /// In place of every Nth delivery, deliver another topic's message; where there is none, the
    /// message itself under the name `elsewhere`.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub misroute: Option<u64>,
    /// Deliver every Nth delivery twice.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub duplicate: Option<u64>,
    /// Swap every Nth delivery with the next of its connection and topic. If none comes within a
    /// second, it goes out as it is and does not count.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub reorder: Option<u64>,
    /// Stop doing anything, so many seconds after the first message.
    #[arg(long, value_name = "S", value_parser = not_negative, requires = "stall_for")]
    pub stall_at: Option<f64>,
    /// How long each stall lasts, in milliseconds.
    #[arg(long, value_name = "MS", value_parser = positive)]
    pub stall_for: Option<f64>,
    /// Stall again every so many seconds, from begin to begin.
    #[arg(long, value_name = "S", value_parser = positive, requires = "stall_for")]
    pub stall_every: Option<f64>,
    /// Close a connection once so many deliveries were meant for it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub close_after: Option<u64>,
    /// How many connections are closed so, at most.
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub close_count: u64,
    /// With which code.
    #[arg(long, value_name = "CODE", default_value_t = 1011, value_parser = close_code)]
    pub close_code: u16,
    /// With which reason; {seq} and {topic} stand for those of the last delivery.
    #[arg(long, value_name = "TEXT", default_value = "injected")]
    pub close_reason: String,
    /// Answer so many of 100 handshakes with 503, drawn.
    #[arg(long, default_value_t = 0.0, value_name = "P", value_parser = percent)]
    pub refuse_percent: f64,
    /// Send a ping behind the answer to every subscribe.
    #[arg(long)]
    pub ping: bool,
}

const EXAMPLES: &str = "\
A small server of altavoz.v1.json and altavoz.v1.bin at /ws (no wildcards, no options) and of raw
echo at /echo. One thread, one write for each connection and turn: without faults it is the floor
under what a broker can do here, and with faults it shows whether a load generator finds them.

Deliveries are counted from 1 over all connections, in the order they are made; each suffers one
fault at most, the first that applies in the order of this help. Every fault is counted, and on
SIGTERM or the interrupt key the sink prints what it did and ends.

Examples:
  The fastest server there is to compare with:
      loadgen sink &
      loadgen fanout --url ws://127.0.0.1:8081/ws

  Is a loss found, to the message? `lost` of the one must be `dropped` of the other:
      loadgen sink --drop 1000 &
      loadgen fanout --url ws://127.0.0.1:8081/ws; kill -TERM %1

  Half a second of silence every five seconds, for a latency that is known beforehand:
      loadgen sink --stall-every 5 --stall-for 500

  Closing a slow reader as a broker does:
      loadgen sink --close-after 100 --close-code 4408 \\
          --close-reason 'too slow, last seq {seq} of {topic}'";

impl SinkFlags {
    /// What no single flag can tell.
    ///
    /// # Errors
    ///
    /// A sentence for the user.
    pub fn check(&self) -> Result<(), String> {
        if self.gap && self.drop.is_none() && self.drop_percent.is_none() {
            return Err("--gap needs --drop or --drop-percent: it tells what is left out".into());
        }
        if self.stall_for.is_some() && self.stall_at.is_none() && self.stall_every.is_none() {
            return Err("--stall-for needs --stall-at or --stall-every".into());
        }
        Ok(())
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=100.0).contains(&number) => Ok(number),
        _ => Err("not a number from 0 to 100".into()),
    }
}

fn close_code(text: &str) -> Result<u16, String> {
    let code = text.parse::<u16>().ok().filter(|&code| CloseCode::new(code).may_be_received());
    code.ok_or_else(|| "not a code of RFC 6455 §7.4 that may be sent".into())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::options::{Command, Options};

    fn sink(flags: &str) -> Result<SinkFlags, String> {
        let all = ["loadgen", "sink"].into_iter().chain(flags.split_whitespace());
        match Options::try_parse_from(all).map_err(|error| error.to_string())?.command {
            Command::Sink(flags) => flags.check().map(|()| flags),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_would_do_nothing_or_cannot_be_done_is_refused() {
        assert!(sink("").is_ok());
        assert!(sink("--drop 3 --gap --stall-at 1 --stall-for 500").is_ok());
        for wrong in ["--gap", "--stall-for 5", "--stall-at 5", "--drop 0", "--close-code 1005"] {
            assert!(sink(wrong).is_err(), "{wrong}");
        }
        assert!(sink("--drop 3 --drop-percent 3").is_err());
        assert!(sink("--refuse-percent 101").is_err());
    }
}
