//! The page at `/` in a real browser: Chromium opens it, it connects over its own WebSocket, and
//! its numbers move. Leaves a screenshot in cargo's target directory.

#[path = "support/support.rs"]
mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use support::broker::Broker;
use support::process::run;
use support::tools;

const BROWSER_LIMIT: Duration = Duration::from_secs(120);

/// What the script saw of the page.
#[derive(Debug, Deserialize)]
struct Seen {
    status: u16,
    state: String,
    first: u64,
    second: u64,
    complaints: Vec<String>,
    foreign: Vec<String>,
}

#[test]
fn the_page_connects_and_its_numbers_move() {
    let Some(chromium) = tools::chromium() else { return };
    let Some(node) = tools::node() else { return };
    let broker = Broker::start(&[]);
    let screenshot = tools::target_directory().join("page.png");
    let output = run(
        Command::new("node")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/page.mjs"))
            .arg(format!("http://{}/", broker.address()))
            .arg(&screenshot)
            .env("NODE_TOOLS", node)
            .env("CHROMIUM", chromium),
        BROWSER_LIMIT,
    )
    .expect("the page becomes what the script waits for");
    let seen: Seen = serde_json::from_str(output.trim()).expect("one line of JSON");
    assert_eq!(seen.status, 200);
    assert_eq!(seen.state, "connected");
    assert!(0 < seen.first && seen.first + 40 < seen.second, "{seen:?}");
    assert!(seen.complaints.is_empty(), "{seen:?}");
    assert!(seen.foreign.is_empty(), "the page loads something from elsewhere: {seen:?}");
    assert!(screenshot.is_file());
}
