//! Scenarios as files, from outside: what is listed, shown and run, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "the broker can do wrong, which is not needed here")]

#[path = "support/broker.rs"]
mod broker;

use std::fs;
use std::process::Command;

use broker::{Fault, Faults, TestBroker};
use serde_json::Value;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// Exit code, standard output and standard error.
fn loadgen(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(LOADGEN).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn every_scenario_that_is_listed_can_be_shown_and_the_file_says_what_it_is() {
    let (code, list, _) = loadgen(&["list"]);
    assert_eq!((code, list.lines().count()), (0, 6));
    for line in list.lines() {
        let (name, about) = line.split_once(": ").unwrap();
        let (code, file, _) = loadgen(&["show", name]);
        assert_eq!(code, 0);
        assert!(file.starts_with(&format!("# {name}: {about}\n")), "{file}");
        assert!(file.contains(&format!("\nscenario = \"{name}\"\n")), "{file}");
    }
    let (code, _, complaint) = loadgen(&["show", "nothing"]);
    assert_eq!(code, 2);
    assert!(
        complaint.starts_with("loadgen: there is no scenario nothing; there are churn, connect, ")
    );
}

#[test]
fn a_file_is_run_and_flags_win_over_it() {
    let broker = TestBroker::start(Faults::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let text = "scenario = \"fanout\"\nsubscribers = 5\nrate = 50\nseconds = 600\nwarmup = 0\n\
                quiet = true\nallow-invalid = true\n";
    fs::write(&path, text).unwrap();
    let file = path.to_str().unwrap();
    let (code, out, _) = loadgen(&["run", file, "--seconds", "0.2", "--url", &broker.url()]);
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "OK: 5 subscribers × 10 messages = 50 delivered, 0 lost, 0 duplicated, 0 out of order\n"
    );
}

#[test]
fn a_file_with_a_key_that_is_no_flag_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    fs::write(&path, "scenario = \"ticker\"\nsymbol = 5\n").unwrap();
    let file = path.to_str().unwrap();
    let (code, out, complaint) = loadgen(&["run", file]);
    assert_eq!((code, out.as_str()), (2, ""));
    let expected = format!("loadgen: {file}: unknown key `symbol`; is `symbols` meant?\n");
    assert_eq!(complaint, expected);
    assert_eq!(loadgen(&["run", "/no/such/file.toml"]).0, 2);
}

#[test]
fn connections_are_opened_held_and_closed_with_no_subscription() {
    let broker = TestBroker::start(Faults::default());
    let flags = ["connect", "--connections", "30", "--seconds", "0.2", "--allow-invalid"];
    let (code, out, _) = loadgen(&[&flags[..], &["--url", &broker.url()]].concat());
    assert_eq!(code, 0);
    assert!(out.ends_with("OK: 30 connections opened and held, none lost\n"), "{out}");
    assert_eq!(broker.normal_closes(), 30);
}

#[test]
fn connections_that_are_refused_are_counted_by_their_reason() {
    let broker = TestBroker::start(Faults { connections_max: Some(10), ..Faults::default() });
    let flags = ["connect", "--connections", "30", "--seconds", "0.2", "--allow-invalid"];
    let (code, out, _) = loadgen(&[&flags[..], &["--url", &broker.url()]].concat());
    assert_eq!(code, 3);
    assert!(out.contains("failed  20 × the server answered 503, not 101\n"), "{out}");
    assert!(out.contains("FAILED: 10 of 30 connections reached: "), "{out}");
}

#[test]
fn what_is_lost_after_coming_back_is_told_from_what_was_missed_while_away() {
    // The only subscriber leaves once, after 1.4 s, and gets nothing when it is back.
    let by_message = (1..=200).map(|seq| ((1, seq), Fault::Drop)).collect();
    let broker = TestBroker::start(Faults { by_message, ..Faults::default() });
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let flags = "churn --subscribers 1 --leaves 0.7 --away 0.05 --rate 100 --seconds 2 --warmup 0 \
                 --drain 0.3 --allow-invalid";
    let flags: Vec<_> = flags.split_whitespace().chain(["--json", path, "--url"]).collect();
    let (code, out, _) = loadgen(&[&flags[..], &[&broker.url()]].concat());
    assert_eq!(code, 5, "{out}");
    let result: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let of = |name: &str| result["deliveries"][name].as_u64().unwrap();
    assert_eq!(result["connections"]["left"], 1);
    assert_eq!(result["connections"]["rejoined"], 1);
    assert!(of("lost") > 0 && of("missed_while_disconnected") > 0, "{out}");
    assert_eq!(of("delivered") + of("lost") + of("missed_while_disconnected"), 200, "{out}");
}

/// A run with one subscriber, a slow one, against a broker that does this to it; the exit code and
/// the result.
fn slow(faults: &[(u64, Fault)]) -> (i32, Value) {
    let by_message = faults.iter().map(|&(seq, fault)| ((0, seq), fault)).collect();
    let broker = TestBroker::start(Faults { by_message, ..Faults::default() });
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let flags = "slow --subscribers 1 --slow-share 100 --slow-bytes-per-second 1000 --rate 50 \
                 --seconds 0.4 --warmup 0 --drain 0.3 --allow-invalid";
    let flags: Vec<_> = flags.split_whitespace().chain(["--json", path, "--url"]).collect();
    let (code, out, _) = loadgen(&[&flags[..], &[&broker.url()]].concat());
    eprintln!("{out}");
    (code, serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
}

#[test]
fn a_slow_reader_that_is_not_closed_must_get_everything() {
    let (code, result) = slow(&[]);
    assert_eq!(code, 0);
    assert_eq!(result["slow"]["delivered"], 20);
    assert_eq!(result["slow"]["latency_us"]["count"], 20);
    assert_eq!(result["latency_us"]["count"], 0, "they are timed apart");
    assert_eq!(result["deliveries"]["expected"], 0, "they are accounted for apart");
    let (code, result) = slow(&[(20, Fault::Drop)]);
    assert_eq!((code, result["slow"]["lost"].as_u64()), (5, Some(1)));
}

#[test]
fn a_slow_reader_may_be_closed_if_what_it_got_is_whole_and_ends_where_the_reason_says() {
    let (code, result) = slow(&[(11, Fault::Cut { last_seq: 10 })]);
    assert_eq!(code, 0);
    let slow_ones = &result["slow"];
    assert_eq!((slow_ones["delivered"].as_u64(), slow_ones["lost"].as_u64()), (Some(10), Some(0)));
    assert_eq!(slow_ones["after_close"], 10);
    let reasons: Vec<_> = slow_ones["closed_by_server"].as_object().unwrap().keys().collect();
    assert!(reasons[0].starts_with("4408 too slow, last seq N of "), "{reasons:?}");

    let hole = [(5, Fault::Drop), (11, Fault::Cut { last_seq: 10 })];
    for faults in [&hole[..], &[(11, Fault::Cut { last_seq: 12 })], &[(11, Fault::Close)]] {
        assert_eq!(slow(faults).0, 5, "{faults:?}");
    }
}
