//! `loadgen dashboard` and `loadgen chat` from outside: groups of subscriptions are closed and opened
//! again while messages flow, and the accounts close all the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "the broker can do more than is needed here")]

#[path = "support/broker.rs"]
mod broker;

use std::process::Command;

use broker::{Faults, TestBroker};
use serde_json::Value;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// Exit code, standard output, and the result.
fn run(broker: &TestBroker, flags: &str) -> (i32, String, Value) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new(LOADGEN)
        .args(flags.split_whitespace())
        .args("--warmup 0.4 --seconds 1 --drain 2 --threads 2 --allow-invalid".split(' '))
        .args(["--url", &broker.url(), "--json"])
        .arg(file.path())
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    eprintln!("{out}{}", String::from_utf8_lossy(&output.stderr));
    let result = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap_or_default();
    (output.status.code().unwrap(), out, result)
}

fn number(result: &Value, pointer: &str) -> u64 {
    let value = result.pointer(pointer).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("no number at {pointer} in {result:#}"))
}

const DASHBOARD: &str = "dashboard --users 10 --hosts 5 --list 3 --rate 300 --flips 40 --away 0.1 \
                         --latest-share 0";

#[test]
fn panels_that_are_opened_again_begin_with_all_current_values_and_the_account_closes() {
    for protocol in ["json", "bin"] {
        let broker = TestBroker::start(Faults::default());
        let (code, _, result) = run(&broker, &format!("{DASHBOARD} --protocol {protocol}"));
        assert_eq!(code, 0, "{protocol}");
        let of = |name: &str| number(&result, &format!("/deliveries/{name}"));
        let missed = of("missed_while_disconnected");
        assert!(missed > 0, "{protocol}");
        assert_eq!(of("delivered") + missed, of("expected"), "{protocol}");
        let groups = |name: &str| number(&result, &format!("/groups/{name}"));
        assert_eq!(groups("count"), 60);
        assert!(groups("closed") > 20, "{protocol}");
        assert_eq!(groups("opened"), groups("closed"), "{protocol}");
        assert_eq!(number(&result, "/groups/snapshot_us/count"), groups("opened"));
        assert_eq!((groups("without_value"), groups("after_end")), (0, 0), "{protocol}");
    }
}

#[test]
fn a_panel_that_does_not_begin_with_its_values_is_a_fault() {
    let broker = TestBroker::start(Faults { without_last: true, ..Faults::default() });
    let (code, out, result) = run(&broker, DASHBOARD);
    assert_eq!(code, 5);
    assert!(number(&result, "/groups/without_value") > 0);
    assert!(out.contains("without their current value"), "{out}");
}

#[test]
fn panels_of_the_newest_alone_are_conflated_and_timed_apart() {
    let broker = TestBroker::start(Faults { newest_of: 1, ..Faults::default() });
    let (code, _, result) = run(&broker, &DASHBOARD.replace("share 0", "share 50"));
    assert_eq!(code, 0);
    assert!(number(&result, "/groups/newest_latency_us/count") > 0);
    assert!(number(&result, "/latency_us/count") > 0);
}

const CHAT: &str = "chat --users 40 --rooms 8 --member-of 2 --rate 100 --movers 25 --leaves 30 \
                    --away 0.2";

#[test]
fn members_come_and_go_and_are_seen_by_all_who_stay() {
    let broker = TestBroker::start(Faults::default());
    let (code, out, result) = run(&broker, CHAT);
    assert_eq!(code, 0);
    let of = |name: &str| number(&result, &format!("/deliveries/{name}"));
    assert_eq!(of("delivered") + of("missed_while_disconnected"), of("expected"));
    for what in ["joins", "leaves"] {
        let seen = |name: &str| number(&result, &format!("/presence/{what}/{name}"));
        assert!(seen("happened") > 15 && seen("expected") > seen("happened"), "{out}");
        assert_eq!(seen("seen"), seen("expected"), "{what}");
        assert_eq!(number(&result, &format!("/presence/{what}/latency_us/count")), seen("seen"));
    }
}

#[test]
fn comings_and_goings_that_are_not_told_are_missing_from_those_seen() {
    let broker = TestBroker::start(Faults { untold: 4, ..Faults::default() });
    let (code, _, result) = run(&broker, CHAT);
    assert_eq!(code, 0);
    let sum = |name: &str| {
        let of = |what| number(&result, &format!("/presence/{what}/{name}"));
        of("joins") + of("leaves")
    };
    assert!(sum("seen") > 0 && sum("seen") < sum("expected"));
}

#[test]
fn what_does_not_fit_together_is_refused_in_a_sentence() {
    for (flags, expected) in [
        ("dashboard --panels 7", "--panels 7 needs as many --metrics"),
        ("dashboard --warmup 0", "--warmup must be more than 0"),
        ("chat --protocol mqtt", "chat asks for what mqtt has no words for"),
        ("chat --member-of 5 --rooms 4", "--member-of 5 needs as many --rooms"),
    ] {
        let output = Command::new(LOADGEN).args(flags.split_whitespace()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(expected), "{flags}: {text}");
    }
}
