//! `loadgen find` from outside: what it finds where the edge is known, and what it leaves behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "the brokers can do more than is needed here")]

#[path = "support/broker.rs"]
mod broker;
#[path = "support/real.rs"]
mod real;

use std::fs;
use std::process::Command;
use std::time::Duration;

use broker::{Faults, TestBroker};
use real::RealBroker;
use serde_json::Value;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// Exit code, standard output and standard error.
fn find(flags: &str) -> (i32, String, String) {
    let output = Command::new(LOADGEN).arg("find").args(flags.split_whitespace()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, complaint) = (text(output.stdout), text(output.stderr));
    eprintln!("{out}{complaint}");
    (output.status.code().unwrap(), out, complaint)
}

#[test]
fn the_edge_is_found_between_a_rate_that_holds_and_one_that_does_not() {
    // The 80th message of a topic is held up: that is due only above 266 messages a second.
    let stall = Some((80, Duration::from_millis(900)));
    let broker = TestBroker::start(Faults { stall, ..Faults::default() });
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (code, out, _) = find(&format!(
        "fanout --latency max<800ms --from 200 --precision 100 --subscribers 5 --seconds 0.3 \
         --warmup 0 --drain 1 --allow-invalid --url {} --json {} --csv {} --html {}",
        broker.url(),
        path("json"),
        path("csv"),
        path("html")
    ));
    assert_eq!(code, 0);
    let last = out.lines().last().unwrap();
    assert!(
        last.starts_with("FOUND: 200 messages/s hold max<800ms; 400 do not: max<800ms missed: "),
        "{last}"
    );
    let result: Value = serde_json::from_slice(&fs::read(path("json")).unwrap()).unwrap();
    assert_eq!(result["find"]["holds_per_second"], 200.0);
    assert_eq!(result["find"]["is_lower_bound"], false);
    let steps = result["steps"].as_array().unwrap();
    let ends = steps.iter().map(|step| step["judgement"].as_str().unwrap());
    assert!(ends.rev().take(3).eq(["fails", "fails", "holds"]), "{steps:?}");
    assert!(steps.iter().all(|step| step["result"]["deliveries"]["lost"] == 0));
    assert_eq!(fs::read_to_string(path("csv")).unwrap().lines().count(), steps.len() + 1);
    assert!(fs::read_to_string(path("html")).unwrap().contains(r#""name":"400/s, again""#));
}

#[test]
fn where_the_highest_rate_that_may_be_tried_holds_the_answer_is_a_lower_bound() {
    let broker = RealBroker::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    let text = "scenario = \"notify\"\nusers = 50\nseconds = 0.5\nwarmup = 0\nlatency = \
                \"p50<5s\"\nfrom = 200\nallow-invalid = true\n";
    fs::write(&file, text).unwrap();
    let flags = format!("{} --to 300 --url {}", file.display(), broker.url());
    let (code, out, _) = find(&flags);
    assert_eq!(code, 0);
    let last = out.lines().last().unwrap();
    assert_eq!(last, "AT LEAST: 300 messages/s hold p50<5s; nothing higher was tried");
}

#[test]
fn a_file_of_a_search_can_be_run_as_that_of_any_scenario_and_found_with() {
    let broker = TestBroker::start(Faults::default());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    let text = format!(
        "scenario = \"find\"\nload = \"fanout\"\nsubscribers = 20\nseconds = 0.3\nwarmup = 0\n\
         drain = 1\nlatency = [\"p50<5s\", \"max<9s\"]\nfrom = 100\nto = 150\n\
         allow-invalid = true\nurl = \"{}\"\n",
        broker.url()
    );
    fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    for (command, to) in [("run", 150), ("find", 120)] {
        let output = Command::new(LOADGEN).args([command, path, "--to", &to.to_string()]).output();
        let output = output.unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let last = out.lines().last().unwrap();
        let expected =
            format!("AT LEAST: {to} messages/s hold p50<5s, max<9s; nothing higher was tried");
        assert_eq!((output.status.code(), last), (Some(0), expected.as_str()), "{command}");
    }
}

#[test]
fn what_cannot_be_searched_is_refused_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    fs::write(&file, "scenario = \"connect\"\n").unwrap();
    let cases = [
        ("fanout --from 10 --to 5".to_owned(), "--to 5 is less than --from 10"),
        (file.display().to_string(), "its scenario has no rate"),
        ("nothing.toml".to_owned(), "nothing.toml: No such file"),
        ("fanout --latency p98<1ms".to_owned(), "unknown name p98"),
    ];
    for (flags, expected) in cases {
        let (code, _, complaint) = find(&flags);
        assert_eq!(code, 2, "{flags}");
        assert!(complaint.contains(expected), "{flags}: {complaint}");
    }
}

#[test]
fn too_few_deliveries_to_tell_are_named_and_end_the_search() {
    let broker = TestBroker::start(Faults::default());
    let (code, out, _) = find(&format!(
        "fanout --from 20 --subscribers 2 --seconds 0.3 --warmup 0 --allow-invalid --url {}",
        broker.url()
    ));
    assert_eq!(code, 2);
    let last = out.lines().last().unwrap();
    assert!(
        last.starts_with("FAILED: too few deliveries to tell whether p99<20ms: give"),
        "{last}"
    );
}
