//! The pages in a real browser: Chromium opens them, they connect over their own WebSocket, their
//! numbers move and their knobs do what they say. Leaves screenshots in cargo's target directory.

#[path = "support/nats.rs"]
mod nats;
#[path = "support/support.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nats::NatsServer;
use serde::Deserialize;
use support::broker::Broker;
use support::process::run;
use support::tools;

const BROWSER_LIMIT: Duration = Duration::from_secs(240);

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

#[test]
fn every_demo_opens_without_complaint_in_light_in_dark_and_on_a_phone() {
    play("every page", &[]);
}

#[test]
fn the_board_moves_filters_and_follows_the_rate() {
    play("ticker", &[]);
}

#[test]
fn a_pause_stops_what_comes_and_its_end_tells_what_passed_by() {
    play("pause", &[]);
}

#[test]
fn who_is_slow_is_seen_going_down_the_ladder_and_up_again() {
    play("slow", &[]);
}

#[test]
fn a_cut_of_the_network_ends_with_everything_that_was_missed() {
    play("cut", &[]);
    play("cut for real", &[]);
}

#[test]
fn what_one_says_or_draws_the_other_sees() {
    play("together", &[]);
    play("board", &[]);
}

#[test]
fn notices_are_filtered_and_marked_as_read() {
    play("notices", &[]);
}

#[test]
fn no_page_makes_its_reader_fetch_much() {
    if let Some(sizes) = run_script("sizes.mjs", &["--demo"], &[]) {
        eprintln!("{sizes}");
    }
}

#[test]
fn the_pages_of_the_quick_start_work_as_they_stand() {
    play("quick start", &[]);
}

#[test]
fn the_console_shows_the_broker_and_acts_on_it() {
    let settings = ["--demo", "--reconnect-spread-ms", "200"];
    run_script("console.mjs", &settings, &[]);
}

#[test]
fn the_console_finds_one_of_a_hundred_thousand_topics_with_a_few_requests() {
    run_script("console_many.mjs", &[], &[]);
}

#[test]
fn the_console_shows_every_node_and_what_is_on_it() {
    let Some(server) = NatsServer::start() else { return };
    let url = server.url();
    let nats = ["--backplane", "nats", "--nats-url", &url, "--reconnect-spread-ms", "200"];
    let other = Broker::start(&[&nats[..], &["--node", "b", "--demo"]].concat());
    let its_url = format!("http://{}/", other.address());
    let its_id = other.process_id().to_string();
    let settings = [&nats[..], &["--node", "a"]].concat();
    run_script("console_cluster.mjs", &settings, &[&its_url, &its_id]);
}

#[test]
fn the_console_asks_for_a_key_where_one_is_needed() {
    let key = "a-key-for-those-who-look-after-it";
    let file = tempfile::NamedTempFile::new().expect("a file can be made");
    fs::write(file.path(), key).expect("it can be written");
    let settings = format!(
        "[[api_key]]\nname = \"console\"\nkey_file = {:?}\nscopes = [\"read\", \"admin\"]\n",
        file.path()
    );
    let config = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file can be made");
    fs::write(config.path(), settings).expect("it can be written");
    let path = config.path().to_str().expect("a path of ASCII");
    run_script("console.mjs", &["--demo", "--config", path], &[key]);
}

/// `cargo test --release -p broker --test browser -- --ignored --nocapture frames`
#[test]
#[ignore = "a measurement, for a machine that does nothing else"]
fn frames_a_second_with_5000_updates() {
    let Some(measured) = play("frames", &["--demo-updates-per-second", "5000"]) else { return };
    eprintln!("{measured}");
}

/// Plays a scene of `demos.mjs`, which asserts what it sees, on a broker of its own; what it
/// printed, unless there is no browser.
fn play(scene: &str, settings: &[&str]) -> Option<String> {
    run_script("demos.mjs", &[&["--demo"], settings].concat(), &[scene])
}

/// Runs a script with a broker of its own: its URL, the folder for screenshots, the arguments.
fn run_script(script: &str, settings: &[&str], arguments: &[&str]) -> Option<String> {
    let chromium = tools::chromium()?;
    let node = tools::node()?;
    let broker = Broker::start(settings);
    let screenshots = tools::target_directory().join("screenshots");
    fs::create_dir_all(&screenshots).expect("a folder can be made");
    let ran = run(
        Command::new("node")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script))
            .arg(format!("http://{}/", broker.address()))
            .arg(&screenshots)
            .args(arguments)
            .env("NODE_TOOLS", node)
            .env("CHROMIUM", chromium),
        BROWSER_LIMIT,
    );
    Some(ran.unwrap_or_else(|error| panic!("{script} {arguments:?}: {error}")))
}
