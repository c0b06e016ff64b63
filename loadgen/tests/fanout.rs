//! `loadgen fanout` from outside: the built binary with flags right and wrong, and what becomes of
//! a run that is interrupted. What it finds of a server's faults is in `faults`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "a run and a sink tell more than is needed here")]

#[path = "support/run.rs"]
mod run;
#[path = "support/sink.rs"]
mod sink;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use run::fanout;
use sink::Sink;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

#[test]
fn topics_are_shared_out_and_the_warm_up_is_accounted_for_but_not_timed() {
    let sink = Sink::start("");
    let run = fanout(&sink.url(), "--topics 7 --publishers 3 --warmup 0.2 --size 1000");
    assert_eq!(run.code, 0);
    // Messages 0 to 29 over 7 topics; topics 0 to 3 have 29 subscribers, the others 28.
    let subscribers = |topic: u64| if topic < 4 { 29 } else { 28 };
    let expected: u64 = (0..30).map(|k| subscribers(k % 7)).sum();
    let timed: u64 = (10..30).map(|k| subscribers(k % 7)).sum();
    assert_eq!(run.account(), [expected, expected, 0, 0, 0]);
    assert_eq!(run.number("/latency_us/count"), timed);
    assert_eq!((run.number("/messages/sent"), run.number("/messages/sent_measured")), (30, 20));
}

#[test]
fn a_target_that_is_not_there_is_reported_as_unreachable() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = fanout(&format!("ws://{closed}/ws"), "");
    assert_eq!(run.code, 3);
    assert!(
        run.last_line().starts_with("FAILED: 0 of 201 connections reached: Connection refused")
    );
}

#[test]
fn a_limit_of_open_files_that_is_too_low_is_named_before_anything_is_opened() {
    let script = format!("ulimit -n 150; exec {LOADGEN} fanout --subscribers 200 --threads 1");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("FAILED: 114 of 201 connections are possible"), "{text}");
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_code_2() {
    for flags in
        ["--publishers 2", "--size 10", "--rate 0", "--no-such-flag", "--json /no/such/file"]
    {
        let output =
            Command::new(LOADGEN).arg("fanout").args(flags.split_whitespace()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags}");
        assert!(!output.stderr.is_empty(), "{flags}");
    }
    let wrong_url = Command::new(LOADGEN).args(["fanout", "--url", "http://h/"]).output().unwrap();
    assert_eq!(wrong_url.status.code(), Some(2));
}

#[test]
fn quiet_prints_the_verdict_alone() {
    let sink = Sink::start("");
    let output = Command::new(LOADGEN)
        .args([
            "fanout",
            "--allow-invalid",
            "--quiet",
            "--subscribers",
            "3",
            "--seconds",
            "0.1",
            "--warmup",
            "0",
        ])
        .args(["--url", &sink.url()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("OK: 3 subscribers × 10 messages = 30 delivered"), "{text}");
    assert_eq!((text.lines().count(), output.stderr.len()), (1, 0));
}

#[test]
fn an_interrupted_run_reports_what_was_sent_until_then() {
    let sink = Sink::start("");
    let mut child = Command::new(LOADGEN)
        .args(["fanout", "--url", &sink.url()])
        .args(["--subscribers", "20", "--rate", "50", "--seconds", "600", "--warmup", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let progress = BufReader::new(child.stderr.take().unwrap());
    let mut lines = progress.lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("s left:")), "measuring was never announced");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    lines.for_each(drop);
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let verdict = out.lines().last().unwrap();
    assert!(verdict.starts_with("INTERRUPTED: "), "{verdict}");
    assert!(verdict.ends_with("delivered, 0 lost, 0 duplicated, 0 out of order"), "{verdict}");
}
