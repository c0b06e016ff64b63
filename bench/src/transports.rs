//! One feed over WebSocket, server-sent events and polls: `bench transports`. Fills the table of
//! docs/WHY-WEBSOCKET.md. The broker runs alone on one core, afresh for each measurement, the load
//! generator on another; rounds go there and back. Measures nothing itself: `peers::round` does.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use crate::figures::{median, medians_of, notes};
use crate::machine::Machine;
use crate::page;
use crate::peers::round::Bench;
use crate::progress::note;

/// The flags of `bench transports`.
#[derive(Clone, Debug, Args)]
pub struct TransportsFlags {
    /// Subscribers, all of one topic.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=15_000))]
    pub subscribers: u32,
    /// Messages a second.
    #[arg(long, default_value_t = 5.0)]
    pub rate: f64,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(64..=65_536))]
    pub size: u32,
    /// How often each is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// How long each measurement takes, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Put the table into this page, in its place called `transports`: docs/WHY-WEBSOCKET.md.
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
    /// Write every measurement to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// A way to get messages: its name in the table, and the load generator's flags for it.
const WAYS: [(&str, &str); 5] = [
    ("WebSocket", "--transport ws"),
    ("server-sent events", "--transport sse"),
    ("polling, every 200 ms", "--transport poll --poll-ms 200"),
    ("polling, every second", "--transport poll --poll-ms 1000"),
    ("polling, every 5 s", "--transport poll --poll-ms 5000"),
];

/// What is taken from a result: its name, and where it stands.
const FIGURES: [(&str, &str); 6] = [
    ("cpu_us", "/target/process/cpu_us_per_delivery"),
    ("in_bytes", "/wire/traffic/received_bytes_per_delivery"),
    ("out_bytes", "/wire/traffic/sent_bytes_per_delivery"),
    ("p50_us", "/latency_us/p50"),
    ("p99_us", "/latency_us/p99"),
    ("connection_bytes", "/target/process/rss_bytes_per_connection"),
];

/// Measures all ways in turn and prints the table.
///
/// # Errors
/// If the broker or the load generator can't be built or started, or a file can't be written.
pub fn run(flags: &TransportsFlags) -> anyhow::Result<()> {
    let bench = Bench::prepare(flags.seconds, 0)?;
    let mut rows = Vec::new();
    for round in 1..=flags.rounds {
        let mut ways: Vec<_> = WAYS.iter().collect();
        if round.is_multiple_of(2) {
            ways.reverse();
        }
        for (name, transport) in ways {
            note(&format!("round {round} · {name}"));
            let row = measure(&bench, flags, transport)?;
            note(&format!("    {row}"));
            rows.push((*name, row));
        }
    }
    let table = table(flags, &Machine::here(), &rows);
    writeln!(io::stdout().lock(), "{table}").context("cannot write the table")?;
    if let Some(path) = &flags.page {
        page::put(path, "transports", &table)?;
    }
    if let Some(path) = &flags.json {
        let all: Vec<Value> =
            rows.iter().map(|(name, row)| json!({"way": name, "figures": row})).collect();
        fs::write(path, format!("{:#}\n", Value::Array(all)))?;
    }
    Ok(())
}

/// The figures of one run, or its fault.
fn measure(bench: &Bench, flags: &TransportsFlags, transport: &str) -> anyhow::Result<Value> {
    let mut broker = Command::new(bench.tools.own("broker"));
    broker.args(["--workers", "1", "--pin", "false", "--history-messages", "1000"]);
    let TransportsFlags { subscribers, rate, size, .. } = flags;
    let load = format!(
        "fanout --subscribers {subscribers} --rate {rate} --size {size} --warmup 2 {transport}"
    );
    let (result, idle_us) = bench.run_broker(&mut broker, &load)?;
    let number = |path: &str| result.pointer(path).and_then(Value::as_f64);
    let mut figures = serde_json::Map::new();
    for (name, path) in FIGURES {
        figures.insert(name.into(), json!(number(path)));
    }
    // What the broker uses anyway is no matter of the transport.
    let idle_each = number("/deliveries/per_second").map(|rate| idle_us / rate);
    let cpu_us = number(FIGURES[0].1).zip(idle_each).map(|(cpu_us, idle)| (cpu_us - idle).max(0.0));
    figures.insert("cpu_us".into(), json!(cpu_us));
    let is_whole = result["verdict"]["exit_code"] == 0;
    let fault = (!is_whole).then(|| result["verdict"]["text"].clone());
    figures.insert("fault".into(), fault.unwrap_or_default());
    Ok(figures.into())
}

/// The medians as a table in Markdown, with what they are of.
fn table(flags: &TransportsFlags, machine: &Machine, rows: &[(&str, Value)]) -> String {
    let mut out = String::new();
    let TransportsFlags { subscribers, rate, size, rounds, seconds, .. } = flags;
    let _ = writeln!(
        out,
        "{subscribers} subscribers of one topic, {rate} messages of {size} bytes a second; {}. \
         {machine}.\n",
        medians_of(*rounds, seconds)
    );
    out += "| | CPU, µs | bytes in | bytes out | p50, ms | p99, ms | memory, B | |\n";
    out += "|---|--:|--:|--:|--:|--:|--:|---|\n";
    for (name, _) in WAYS {
        let own: Vec<&Value> =
            rows.iter().filter(|(way, _)| *way == name).map(|(_, row)| row).collect();
        let show = |figure: &str, scale: f64, digits: usize| {
            let values = own.iter().filter_map(|row| row[figure].as_f64()).collect();
            median(values).map_or("–".to_owned(), |value| format!("{:.digits$}", value * scale))
        };
        let _ = writeln!(
            out,
            "| {name} | {} | {} | {} | {} | {} | {} | {} |",
            show("cpu_us", 1.0, 2),
            show("in_bytes", 1.0, 0),
            show("out_bytes", 1.0, 0),
            show("p50_us", 1e-3, 2),
            show("p99_us", 1e-3, 2),
            show("connection_bytes", 1.0, 0),
            notes(own.iter().filter_map(|row| row["fault"].as_str())),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use loadgen::options::Options;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        flags: TransportsFlags,
    }

    #[test]
    fn every_way_is_a_command_line_of_the_load_generator() {
        for (name, transport) in WAYS {
            let line = format!("loadgen fanout --subscribers 10 {transport}");
            assert!(Options::try_parse_from(line.split(' ')).is_ok(), "{name}");
        }
    }

    #[test]
    fn the_table_holds_medians_and_faults() {
        let flags = Line::parse_from(["transports"]).flags;
        let row = |cpu_us: f64| json!({"cpu_us": cpu_us, "in_bytes": 200.4, "fault": null});
        let mut rows =
            vec![("WebSocket", row(2.0)), ("WebSocket", row(9.0)), ("WebSocket", row(3.0))];
        rows.push(("server-sent events", json!({"fault": "BROKEN: 3 lost"})));
        let table = table(&flags, &Machine::here(), &rows);
        assert!(table.contains("| WebSocket | 3.00 | 200 | – | – | – | – |  |"), "{table}");
        assert!(table.contains("| server-sent events | – | – | – | – | – | – | BROKEN: 3 lost |"));
    }
}
