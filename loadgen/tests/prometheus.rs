//! `--prometheus`: the page is there while the run goes on, its counters only grow, and in the end
//! they are what the result says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "the broker can do more wrong than is needed here")]

#[path = "support/broker.rs"]
mod broker;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use broker::{Fault, Faults, TestBroker};
use serde_json::Value;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// The page at this address, head and body; none once nobody listens.
fn scrape(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut page = String::new();
    stream.read_to_string(&mut page).ok()?;
    page.ends_with("# EOF\n").then_some(page)
}

fn value(page: &str, metric: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ')?.parse().ok())
}

const COUNTERS: [&str; 5] = [
    "loadgen_connections_ready_total",
    "loadgen_messages_sent_total",
    "loadgen_deliveries_expected_total",
    "loadgen_deliveries_total",
    "loadgen_deliveries_duplicated_total",
];

#[test]
fn the_page_grows_with_the_run_and_ends_with_its_result() {
    let by_message = [((0, 30), Fault::Drop), ((1, 40), Fault::Twice)].into_iter().collect();
    let broker = TestBroker::start(Faults { by_message, ..Faults::default() });
    let file = tempfile::NamedTempFile::new().unwrap();
    // The lost message keeps it draining, with its last numbers on the page.
    let mut child = Command::new(LOADGEN)
        .args("fanout --subscribers 50 --rate 100 --seconds 2 --warmup 0.5".split(' '))
        .args("--drain 2 --threads 2 --prometheus 127.0.0.1:0".split(' '))
        .args(["--url", &broker.url(), "--json"])
        .arg(file.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let told = lines.find_map(|line| Some(line.strip_prefix("metrics at http://")?.to_owned()));
    let address = told.unwrap().strip_suffix("/metrics").unwrap().to_owned();
    let rest = thread::spawn(move || lines.for_each(drop));
    let mut pages = Vec::new();
    while let Some(page) = scrape(&address) {
        pages.push(page);
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(child.wait().unwrap().code(), Some(5));
    rest.join().unwrap();
    assert!(pages.len() > 10, "only {} pages", pages.len());
    let first = &pages[0];
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{first}");
    assert!(first.contains("content-type: application/openmetrics-text; version=1.0.0"), "{first}");
    for counter in COUNTERS {
        let values: Vec<f64> = pages.iter().filter_map(|page| value(page, counter)).collect();
        assert!(values.is_sorted(), "{counter}: {values:?}");
    }
    let stages = ["connecting", "measuring", "draining"].map(|stage| {
        let line = format!("loadgen_stage{{stage=\"{stage}\"}}");
        pages.iter().position(|page| value(page, &line) == Some(1.0))
    });
    assert!(stages[1].is_some() && stages[1] < stages[2], "{stages:?}");

    let result: Value = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
    let last = pages.last().unwrap();
    for (metric, pointer) in [
        ("loadgen_connections_ready_total", "/connections/ready"),
        ("loadgen_messages_sent_total", "/messages/sent"),
        ("loadgen_deliveries_expected_total", "/deliveries/expected"),
        ("loadgen_deliveries_total", "/deliveries/delivered"),
        ("loadgen_deliveries_missing", "/deliveries/lost"),
        ("loadgen_deliveries_duplicated_total", "/deliveries/duplicated"),
        ("loadgen_deliveries_out_of_order_total", "/deliveries/out_of_order"),
    ] {
        let counted = result.pointer(pointer).and_then(Value::as_f64);
        assert!(counted.is_some(), "no {pointer} in {result:#}");
        assert_eq!(value(last, metric), counted, "{metric}\n{last}");
    }
    // Known to 1 per cent, and the second that the warm-up ends in is the measured one's.
    let p50_us = result.pointer("/latency_us/p50").and_then(Value::as_f64).unwrap();
    let p50_s = value(last, "loadgen_latency_quantile_seconds{over=\"run\",quantile=\"0.5\"}");
    let ratio = p50_s.unwrap() * 1e6 / p50_us;
    assert!((0.9..1.1).contains(&ratio), "{p50_s:?} s, {p50_us} µs\n{last}");
    assert!(value(last, "loadgen_latency_seconds_count").unwrap() > 9_000.0, "{last}");
}

#[test]
fn an_address_that_is_taken_is_a_usage_error_before_anything_is_opened() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = Command::new(LOADGEN);
    let output =
        command.args(["fanout", "--url", "ws://127.0.0.1:1/", "--prometheus", &address]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.starts_with(&format!("loadgen: --prometheus {address}: ")), "{complaint}");
}
