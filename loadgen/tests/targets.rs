//! A run spread over several servers, from outside: one account over all of them, which closes where
//! they are one broker and does not where they know nothing of each other.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "a broker and a sink tell more than is needed here")]

#[path = "support/real.rs"]
mod real;
#[path = "support/sink.rs"]
mod sink;

use std::process::Command;

use real::RealBroker;
use serde_json::Value;
use sink::Sink;

/// The exit code, the output and the result of a run with these flags.
fn run(flags: &str) -> (i32, String, Value) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(flags.split_whitespace())
        .args(["--allow-invalid", "--threads", "2", "--drain", "1", "--json"])
        .arg(file.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let json = std::fs::read(file.path()).unwrap();
    eprintln!("{text}");
    (output.status.code().unwrap(), text, serde_json::from_slice(&json).unwrap_or_default())
}

fn number(result: &Value, pointer: &str) -> u64 {
    let value = result.pointer(pointer).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("no number at {pointer} in {result:#}"))
}

#[test]
fn everything_reaches_everybody_over_all_addresses_of_one_broker() {
    let broker = RealBroker::start(&["--workers", "2"]);
    // Three servers, as far as a client can tell.
    let urls = [broker.url(), broker.url() + "?b", broker.url() + "?c"].join(",");
    for scenario in [
        "fanout --subscribers 30 --topics 4 --publishers 4 --rate 200",
        "fanout --subscribers 30 --rate 200 --processes 2",
        "notify --users 30 --publishers 3 --rate 200",
        "ticker --clients 30 --symbols 12 --watch 4 --publishers 3 --rate 200",
    ] {
        let flags = format!("{scenario} --warmup 0.2 --seconds 0.5 --targets {urls}");
        let (code, text, result) = run(&flags);
        assert_eq!(code, 0, "{scenario}\n{text}");
        let of = |name: &str| number(&result, &format!("/deliveries/{name}"));
        assert_eq!((of("delivered"), of("lost")), (of("expected"), 0), "{scenario}");
        let servers: Vec<_> = (0..3)
            .map(|at| number(&result, &format!("/target/servers/{at}/subscribers")))
            .collect();
        assert_eq!(servers, [10, 10, 10], "{scenario}");
        let delivered =
            (0..3).map(|at| number(&result, &format!("/target/servers/{at}/delivered")));
        assert_eq!(delivered.sum::<u64>(), of("delivered"), "{scenario}");
    }
}

#[test]
fn servers_that_know_nothing_of_each_other_are_found_out_and_named() {
    let [one, other] = ["", ""].map(Sink::start);
    let urls = format!("{},{}", one.url(), other.url());
    let usual = "fanout --subscribers 9 --rate 100 --warmup 0 --seconds 0.2";
    let (code, text, result) = run(&format!("{usual} --targets {urls}"));
    assert_eq!(code, 5);
    // The publisher is on the first, with the subscribers 0, 2, 4, 6 and 8.
    let of =
        |server: usize, name: &str| number(&result, &format!("/target/servers/{server}/{name}"));
    assert_eq!((of(0, "subscribers"), of(0, "delivered"), of(0, "lost")), (5, 100, 0));
    assert_eq!((of(1, "subscribers"), of(1, "delivered"), of(1, "lost")), (4, 0, 80));
    let line = format!("{}: 4 subscribers, 0 of 80 delivered, 80 lost", other.url());
    assert!(text.contains(&line), "{text}");

    let (code, _, result) = run(&format!("{usual} --targets {urls} --publish-to {}", other.url()));
    assert_eq!((code, number(&result, "/deliveries/lost")), (5, 100));
    let lost = result.pointer("/target/servers/0/lost").and_then(Value::as_u64);
    assert_eq!(lost, Some(100));
}

#[test]
fn servers_that_cannot_be_together_are_refused() {
    let together = "fanout --targets ws://127.0.0.1:1/ws,wss://127.0.0.1:2/ws";
    let (code, text, _) = run(together);
    assert!(text.contains("all are ws:// or all are wss://"), "{text}");
    assert_eq!(code, 2);
}

#[test]
fn a_server_for_publishers_is_refused_where_there_are_none() {
    let (code, text, _) = run("echo --publish-to ws://127.0.0.1:1/ws");
    assert!(text.contains("--publish-to is for scenarios that have publishers"), "{text}");
    assert_eq!(code, 2);
}
