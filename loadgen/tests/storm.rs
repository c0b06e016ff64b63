//! `loadgen storm` from outside: who is cut off comes back, what was missed meanwhile is asked for,
//! and the account tells what became of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "the brokers can do more than is needed here")]

#[path = "support/broker.rs"]
mod broker;
#[path = "support/real.rs"]
mod real;

use std::process::Command;

use broker::{Faults, Recovery, TestBroker};
use real::RealBroker;
use serde_json::Value;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// Two storms over 60 subscribers in 0.8 s, each back within 100 ms. Exit code, standard output,
/// and the result.
fn storm(url: &str, flags: &str) -> (i32, String, Value) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new(LOADGEN)
        .args("storm --subscribers 60 --spread 100 --rate 200 --warmup 0.1".split(' '))
        .args("--seconds 0.8 --drain 2 --threads 2 --allow-invalid".split(' '))
        .args(flags.split_whitespace())
        .args(["--url", url])
        .arg("--json")
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

/// That all came back from both storms, and the account closes without a loss; returns what was
/// missed.
fn missed_in_good_order(result: &Value, subscribers: u64) -> u64 {
    let storm = |name: &str| number(result, &format!("/storm/{name}"));
    assert_eq!((storm("cut"), storm("back"), storm("not_back")), (120, 120, 0));
    let of = |name: &str| number(result, &format!("/deliveries/{name}"));
    assert_eq!((of("expected"), of("lost")), (subscribers * 180, 0));
    let missed = of("missed_while_disconnected");
    assert_eq!(of("delivered") + missed, of("expected"));
    missed
}

#[test]
fn what_a_target_recovers_is_not_missed_and_comes_late() {
    for protocol in ["json", "bin"] {
        let recovery = Recovery::Last(1000);
        let broker = TestBroker::start(Faults { recovery, ..Faults::default() });
        let (code, out, result) = storm(&broker.url(), &format!("--protocol {protocol}"));
        assert_eq!(code, 0, "{protocol}");
        assert_eq!(missed_in_good_order(&result, 60), 0, "{protocol}");
        assert_eq!(number(&result, "/storm/recovered"), 120);
        assert!(number(&result, "/storm/delivered_late") > 0);
        assert_eq!(result["storm"]["all_back_after_s"].as_array().unwrap().len(), 2);
        assert!(out.contains("120 subscriptions recovered, 0 in part or not"), "{out}");
    }
}

#[test]
fn what_a_target_says_is_gone_is_missed_and_not_lost() {
    let broker = TestBroker::start(Faults { recovery: Recovery::Last(3), ..Faults::default() });
    let (code, _, result) = storm(&broker.url(), "--topics 3");
    assert_eq!(code, 0);
    assert!(missed_in_good_order(&result, 20) > 0);
    let storm = |name: &str| number(&result, &format!("/storm/{name}"));
    assert!(storm("not_recovered") > 0);
    assert_eq!(storm("recovered") + storm("not_recovered"), 120);
    assert_eq!(number(&result, "/deliveries/gap_notices"), 0);
}

#[test]
fn what_a_target_says_to_recover_and_does_not_is_lost() {
    let broker = TestBroker::start(Faults { recovery: Recovery::Lies, ..Faults::default() });
    let (code, _, result) = storm(&broker.url(), "");
    assert_eq!(code, 5);
    assert!(number(&result, "/deliveries/lost") > 0);
    assert_eq!(number(&result, "/deliveries/missed_while_disconnected"), 0);
}

#[test]
fn a_target_without_recovery_is_subscribed_to_anew_and_that_is_said() {
    for (flags, is_asked) in [("", true), ("--forget", false)] {
        let broker = TestBroker::start(Faults::default());
        let (code, out, result) = storm(&broker.url(), flags);
        assert_eq!(code, 0);
        assert!(missed_in_good_order(&result, 60) > 0);
        assert_eq!(number(&result, "/storm/refused") > 0, is_asked);
        let text = "the target has no recovery, subscribed anew without;";
        assert_eq!(out.contains(text), is_asked, "{out}");
    }
}

#[test]
fn the_account_of_a_storm_over_the_broker_closes() {
    // What is kept of a topic, and whether that is everything.
    for (kept, is_whole) in [("--history-messages=1000", true), ("--history-messages=3", false)] {
        let broker = RealBroker::start(&[kept]);
        for protocol in ["json", "bin"] {
            let (code, _, result) = storm(&broker.url(), &format!("--protocol {protocol}"));
            assert_eq!(code, 0, "{protocol}, {kept}");
            let missed = missed_in_good_order(&result, 60);
            let of = |name: &str| number(&result, &format!("/storm/{name}"));
            assert_eq!((of("refused"), of("recovered") + of("not_recovered")), (0, 120));
            assert_eq!((missed == 0, of("not_recovered") == 0), (is_whole, is_whole), "{kept}");
        }
    }
}

#[test]
fn a_protocol_without_options_is_refused_in_a_sentence() {
    let output = Command::new(LOADGEN).args(["storm", "--protocol", "mqtt"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("storm asks for what mqtt has no words for"), "{text}");
}
