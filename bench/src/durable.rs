//! Publishes a second that are answered, by what the topic's rule says of the disk: `bench durable`.
//! Fills a table of docs/BENCHMARKS.md. The broker runs on one core, afresh for each measurement,
//! the publishers on another; rounds go there and back. Beside it stands what the disk does alone,
//! since one publisher that waits for each answer can't be faster than that.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use loadgen::target_process::Usage;
use serde_json::{Value, json};

mod publishers;

use self::publishers::{Answers, Load};
use crate::figures::{grouped, median, medians_of};
use crate::machine::Machine;
use crate::page;
use crate::peers::round::Bench;
use crate::progress::note;

/// The flags of `bench durable`.
#[derive(Clone, Debug, Args)]
pub struct DurableFlags {
    /// How often each is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// How long each measurement takes, in seconds, after half a second that is not measured.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=32_768))]
    pub size: u32,
    /// Where to store: a folder of its own is made in this one and removed again. The disk it is on
    /// is what is measured. Default: cargo's target folder.
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// A fifth of a second each, once: shows that everything works, and measures nothing to build on.
    #[arg(long)]
    pub quick: bool,
    /// Put the table into this page, in its place called `durable`: docs/BENCHMARKS.md.
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
    /// Write every measurement to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What a rule says of the disk, and what the answer to a publish must say then.
const STORES: [(&str, &str); 3] =
    [("none", "accepted"), ("accepted", "accepted"), ("durable", "durable")];

/// Publishers, and how many publishes each has unanswered.
const PATTERNS: [(u32, u32); 4] = [(1, 1), (1, 100), (100, 1), (100, 100)];

/// How long the disk is tried alone.
const ALONE: Duration = Duration::from_secs(1);

/// One measurement.
#[derive(Clone, Debug)]
struct Row {
    store: &'static str,
    pattern: (u32, u32),
    answers_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    /// Processor time of the broker, in cores.
    cores: f64,
    /// Messages for each wait for the disk; none if it never waited.
    messages_per_sync: Option<f64>,
}

/// Measures everything in turn and prints the table.
///
/// # Errors
/// If the broker can't be built or started, a publish is refused, or a file can't be written.
pub fn run(flags: &DurableFlags) -> anyhow::Result<()> {
    let quick = DurableFlags { rounds: 1, seconds: 0.2, ..flags.clone() };
    let flags = if flags.quick { &quick } else { flags };
    let bench = if flags.quick { Bench::at_hand()? } else { Bench::prepare(1, 0)? };
    let parent = flags.folder.clone().unwrap_or_else(|| bench.tools.own(".."));
    let folder = parent.join(format!("bench-store-{}", std::process::id()));
    let done = measure_all(&bench, flags, &folder);
    let removed = fs::remove_dir_all(&folder);
    let (rows, alone) = done?;
    removed.with_context(|| folder.display().to_string())?;
    let table = table(flags, &Machine::here(), &rows, alone);
    writeln!(io::stdout().lock(), "{table}").context("cannot write the table")?;
    if let Some(path) = &flags.page {
        page::put(path, "durable", &table)?;
    }
    if let Some(path) = &flags.json {
        let all: Vec<Value> = rows.iter().map(Row::to_json).collect();
        let all = json!({"disk_alone_per_s": alone, "rows": all});
        fs::write(path, format!("{all:#}\n"))?;
    }
    Ok(())
}

/// All rounds, and how often a second the disk alone can be waited for.
fn measure_all(
    bench: &Bench,
    flags: &DurableFlags,
    folder: &Path,
) -> anyhow::Result<(Vec<Row>, f64)> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let (mut rows, mut alone) = (Vec::new(), Vec::new());
    for round in 1..=flags.rounds {
        alone.push(syncs_per_second(&folder.join("alone"))?);
        let mut cases: Vec<_> =
            PATTERNS.iter().flat_map(|&pattern| STORES.map(|store| (pattern, store))).collect();
        if round.is_multiple_of(2) {
            cases.reverse();
        }
        for (pattern, store) in cases {
            note(&format!("round {round} · store = {} · {}", store.0, named(pattern)));
            let row = measure(bench, flags, folder, pattern, store)?;
            note(&format!("    {}", row.to_json()));
            rows.push(row);
        }
    }
    Ok((rows, median(alone).unwrap_or(0.0)))
}

/// One broker with an empty store, under one pattern of publishers.
fn measure(
    bench: &Bench,
    flags: &DurableFlags,
    folder: &Path,
    pattern: (u32, u32),
    (store, level): (&'static str, &'static str),
) -> anyhow::Result<Row> {
    let (dir, settings) = (folder.join("store"), folder.join("altavoz.toml"));
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    let rule = format!("[[topic]]\nfilter = \"bench/#\"\nstore = \"{store}\"\n");
    fs::write(&settings, format!("store_dir = {dir:?}\n{rule}"))?;
    let mut broker = Command::new(bench.tools.own("broker"));
    broker.args(["--workers", "1", "--pin", "false", "--config"]).arg(&settings);
    let (broker, port) = bench.start_broker(&mut broker)?;
    let (publishers, unanswered) = pattern;
    let (size, seconds) = (flags.size as usize, flags.seconds);
    let load = Load { port, publishers, unanswered, size, seconds, level };
    let usage = || Usage::of(broker.id()).context("the broker has ended");
    let Answers { mut took_us, cpu_ns } = load.run(bench.generator_cores(), usage)?;
    took_us.sort_unstable();
    let quantile = |q: f64| {
        let at = (took_us.len() as f64 * q) as usize;
        took_us.get(at).map_or(f64::NAN, |&us| f64::from(us))
    };
    let page = metrics(port)?;
    let [messages, syncs] = ["altavoz_store_messages_total", "altavoz_store_syncs_total"]
        .map(|name| counter(&page, name).unwrap_or(0.0));
    Ok(Row {
        store,
        pattern,
        answers_per_s: took_us.len() as f64 / seconds,
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        cores: cpu_ns as f64 / 1e9 / seconds,
        messages_per_sync: (syncs > 0.0 && messages > 0.0).then(|| messages / syncs),
    })
}

/// How often a second a few hundred bytes can be appended to a file and waited for.
fn syncs_per_second(path: &Path) -> anyhow::Result<f64> {
    let mut file = File::create(path).with_context(|| path.display().to_string())?;
    let (begin, mut count) = (Instant::now(), 0);
    while begin.elapsed() < ALONE {
        file.write_all(&[b'x'; 256])?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / begin.elapsed().as_secs_f64())
}

/// The broker's `/metrics`.
fn metrics(port: u16) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// The value of a line that begins with `name` and has no labels.
fn counter(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn named((publishers, unanswered): (u32, u32)) -> String {
    let who =
        if publishers == 1 { "1 publisher".to_owned() } else { format!("{publishers} publishers") };
    match unanswered {
        1 => format!("{who}, each answer waited for"),
        _ => format!("{who}, {unanswered} of each unanswered"),
    }
}

impl Row {
    fn to_json(&self) -> Value {
        json!({
            "store": self.store,
            "publishers": self.pattern.0,
            "unanswered": self.pattern.1,
            "answers_per_s": self.answers_per_s,
            "p50_us": self.p50_us,
            "p99_us": self.p99_us,
            "cores": self.cores,
            "messages_per_sync": self.messages_per_sync,
        })
    }
}

/// The medians as a table in Markdown, with what they are of.
fn table(flags: &DurableFlags, machine: &Machine, rows: &[Row], alone: f64) -> String {
    let DurableFlags { rounds, seconds, size, .. } = flags;
    let mut out = format!(
        "Payloads of {size} bytes; {}. {machine}. The disk alone can be waited for {} times a \
         second.\n\n\
         | | `store` | answers a second | p50, ms | p99, ms | messages for each wait | the broker's \
         cores |\n|---|---|--:|--:|--:|--:|--:|\n",
        medians_of(*rounds, seconds),
        grouped(alone, 0)
    );
    for pattern in PATTERNS {
        for (store, _) in STORES {
            let own = rows.iter().filter(|row| row.pattern == pattern && row.store == store);
            let own: Vec<&Row> = own.collect();
            let show = |value: &dyn Fn(&Row) -> Option<f64>, scale: f64, digits: usize| {
                let values = own.iter().filter_map(|row| value(row)).collect();
                median(values).map_or("–".to_owned(), |value| grouped(value * scale, digits))
            };
            let _ = writeln!(
                out,
                "| {} | {store} | {} | {} | {} | {} | {} |",
                named(pattern),
                show(&|row| Some(row.answers_per_s), 1.0, 0),
                show(&|row| Some(row.p50_us), 1e-3, 2),
                show(&|row| Some(row.p99_us), 1e-3, 2),
                show(&|row| row.messages_per_sync, 1.0, 1),
                show(&|row| Some(row.cores), 1.0, 2),
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        flags: DurableFlags,
    }

    #[test]
    fn the_table_has_a_line_for_each_pattern_and_store() {
        let row = |answers_per_s| Row {
            store: "durable",
            pattern: (1, 1),
            answers_per_s,
            p50_us: 500.0,
            p99_us: 2_000.0,
            cores: 0.1,
            messages_per_sync: Some(1.0),
        };
        let flags = Line::parse_from(["durable"]).flags;
        let rows = [row(1_000.0), row(1_900.0), row(1_200.0)];
        let text = table(&flags, &Machine::here(), &rows, 2_345.6);
        assert!(text.contains("be waited for 2,346 times a second"), "{text}");
        let line =
            "| 1 publisher, each answer waited for | durable | 1,200 | 0.50 | 2.00 | 1.0 | 0.10 |";
        assert!(text.contains(line), "{text}");
        let none = "| 100 publishers, 100 of each unanswered | none | – | – | – | – | – |";
        assert!(text.contains(none), "{text}");
    }

    #[test]
    fn a_counter_is_read_by_its_whole_name() {
        let page = "# TYPE a_syncs counter\na_syncs_total_more 3\na_syncs_total 7\n";
        assert_eq!(counter(page, "a_syncs_total"), Some(7.0));
        assert_eq!(counter(page, "a_syncs"), None);
    }
}
