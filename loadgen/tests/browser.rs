//! The page of a result and that of a comparison in a real browser: Chromium opens both without a
//! network, and every plot is drawn. Leaves screenshots in cargo's target directory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "shared with the broker's tests, which use all of it")]
#[path = "../../broker/tests/support/process.rs"]
mod process;
#[allow(dead_code, reason = "shared with the broker's tests, which need other tools")]
#[path = "../../broker/tests/support/tools.rs"]
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use process::{Running, run};
use serde::Deserialize;
use serde_json::Value;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");
const BROWSER_LIMIT: Duration = Duration::from_secs(120);

/// Enough seconds for lines to be lines.
const RUN: &str =
    "fanout --subscribers 200 --warmup 0.5 --seconds 5 --threads 2 --allow-invalid --plain";

/// Fewer coloured pixels are no line across a plot.
const LINE_PIXELS: u64 = 200;

/// What the script saw of a page.
#[derive(Debug, Deserialize)]
struct Seen {
    name: String,
    look: String,
    title: String,
    cards: usize,
    rows: usize,
    ground: String,
    plots: Vec<Plot>,
    too_wide: u32,
    complaints: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Plot {
    name: String,
    series: u64,
    coloured: u64,
}

/// Runs with this rate, and leaves the result and its page in `folder`, without their endings.
fn measure(folder: &Path, name: &str, rate: u32) -> PathBuf {
    let (sink, url) = start_sink();
    let path = folder.join(name);
    let mut command = Command::new(LOADGEN);
    command.args(RUN.split_whitespace()).args(["--rate", &rate.to_string()]);
    command.args(["--url", &url, "--target-pid", &sink.id().to_string()]);
    command.arg("--json").arg(path.with_extension("json"));
    command.arg("--html").arg(path.with_extension("html"));
    run(&mut command, BROWSER_LIMIT).unwrap();
    path
}

/// A sound sink, and its URL.
fn start_sink() -> (Running, String) {
    let mut command = Command::new(LOADGEN);
    command.args(["sink", "--listen", "127.0.0.1:0", "--json"]);
    let mut sink = Running::start(&mut command).unwrap();
    let told = |out: &str| serde_json::from_str::<Value>(out.lines().next()?).ok();
    let address = sink.wait_for_output(BROWSER_LIMIT, told).unwrap();
    (sink, address["url"].as_str().unwrap().to_owned())
}

/// What Chromium shows of these pages; none where it can't be had.
fn browse(folder: &Path, pages: &[&Path]) -> Option<Vec<Seen>> {
    let (chromium, node) = (tools::chromium()?, tools::node()?);
    let mut command = Command::new("node");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/report.mjs"));
    command.arg(folder).args(pages).env("NODE_TOOLS", node).env("CHROMIUM", chromium);
    let lines = run(&mut command, BROWSER_LIMIT).unwrap();
    Some(lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn pages_are_drawn_without_a_network_in_every_look() {
    let folder = tools::target_directory().join("report");
    fs::create_dir_all(&folder).unwrap();
    let (before, after) = (measure(&folder, "before", 100), measure(&folder, "after", 150));
    let compared = folder.join("compared.html");
    let mut command = Command::new(LOADGEN);
    command.arg("compare").args([&before, &after].map(|path| path.with_extension("json")));
    run(command.arg("--html").arg(&compared), BROWSER_LIMIT).unwrap();

    let Some(seen) = browse(&folder, &[&before.with_extension("html"), &compared]) else { return };
    let looks: Vec<_> = seen.iter().map(|page| (&*page.name, &*page.look)).collect();
    let each = |name| ["light", "dark", "phone"].map(|look| (name, look));
    assert_eq!(looks, [each("before"), each("compared")].concat());
    for page in &seen {
        let runs = if page.name == "compared" { 2 } else { 1 };
        assert_eq!(page.complaints, [""; 0], "{page:?}");
        assert_eq!((page.cards, page.too_wide), (runs, 0), "{page:?}");
        assert!(page.rows > 20, "{page:?}");
        let names: Vec<_> = page.plots.iter().map(|plot| &*plot.name).collect();
        let wanted = ["latency", "curve", "parts", "delivered", "sent", "connections", "cpu"];
        assert_eq!(names, wanted, "{page:?}");
        for plot in &page.plots {
            assert!(plot.series >= runs as u64, "{plot:?}");
            assert!(plot.coloured > LINE_PIXELS, "{plot:?} of {} in {}", page.name, page.look);
        }
    }
    let [light, dark] = [&seen[0], &seen[1]];
    assert!(light.title.starts_with("fanout against ws://127.0.0.1:"), "{light:?}");
    assert!(seen[3].title == "2 runs side by side", "{:?}", seen[3]);
    assert_ne!(light.ground, dark.ground);
}
