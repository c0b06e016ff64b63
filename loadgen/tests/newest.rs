//! `loadgen ticker --latest` from outside: what is left out by request is no loss, and the last value
//! of every topic must come.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "the broker can do more than is needed here")]

#[path = "support/broker.rs"]
mod broker;

use std::process::Command;

use broker::{Faults, TestBroker};
use serde_json::Value;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// One symbol, 20 clients, 200 updates, of which this broker delivers one of `newest_of`.
fn ticker(newest_of: u64, flags: &str) -> (i32, String, Value) {
    let broker = TestBroker::start(Faults { newest_of, ..Faults::default() });
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new(LOADGEN)
        .args("ticker --clients 20 --symbols 1 --watch 1 --publishers 1 --rate 400".split(' '))
        .args("--arrivals constant --seconds 0.5 --warmup 0 --drain 1 --threads 2".split(' '))
        .args("--allow-invalid --latest".split(' '))
        .args(flags.split_whitespace())
        .args(["--url", &broker.url(), "--json"])
        .arg(file.path())
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    eprintln!("{out}{}", String::from_utf8_lossy(&output.stderr));
    let result = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap_or_default();
    (output.status.code().unwrap(), out, result)
}

#[test]
fn what_is_left_out_by_request_is_conflated_and_the_account_closes() {
    for protocol in ["json", "bin"] {
        let (code, out, result) = ticker(4, &format!("--protocol {protocol}"));
        assert_eq!(code, 0, "{protocol}");
        let of = |name: &str| result["deliveries"][name].as_u64().unwrap();
        assert_eq!((of("expected"), of("delivered"), of("conflated")), (4000, 1000, 3000));
        assert!(out.contains("1,000 delivered, 3,000 conflated by request, 0 lost"), "{out}");
    }
}

#[test]
fn a_last_value_that_never_comes_is_lost() {
    let (code, _, result) = ticker(3, "");
    assert_eq!(code, 5);
    // Of 200 the 198th came last.
    assert_eq!(result["deliveries"]["lost"], 40);
    assert_eq!(result["deliveries"]["conflated"], 20 * (198 - 66));
}

#[test]
fn more_than_the_rate_asked_for_is_a_fault() {
    let (code, out, result) = ticker(1, "--max-rate 20");
    assert_eq!(code, 5);
    assert!(result["latest"]["over_rate"].as_u64().unwrap() > 0);
    // 200 messages in half a second.
    let peak = result["latest"]["peak_per_second"].as_u64().unwrap();
    assert!((21..=200).contains(&peak), "{peak}");
    assert_eq!(result["latest"]["max_per_second"], 20.0);
    assert!(out.contains("deliveries above the rate"), "{out}");
}
