//! Whose part of the latency is whose, from outside: what a broker holds back must show in the
//! network's part, what the load generator leaves lying in its own. Only what must hold however
//! busy the machine is: times are compared with what was slept, from below.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "the broker can do more wrong than is needed here")]

#[path = "support/broker.rs"]
mod broker;
#[path = "support/tls.rs"]
mod tls;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use broker::{Fault, Faults, TestBroker};
use rustix::process::{Pid, Signal, kill_process};
use rustls::ALL_VERSIONS;
use serde_json::Value;
use tls::{Certificate, TlsFront};

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// 20 subscribers and 20 messages in 0.4 s.
const SMALL: [&str; 13] = [
    "--allow-invalid",
    "--subscribers",
    "20",
    "--rate",
    "50",
    "--seconds",
    "0.4",
    "--warmup",
    "0",
    "--threads",
    "2",
    "--drain",
    "30",
];

/// Runs with these flags to this exit code; `in_between` is called with the process once
/// everything is sent.
fn fanout(url: &str, flags: &[&str], code: i32, in_between: impl FnOnce(Pid)) -> (Value, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut child = Command::new(LOADGEN)
        .args(["fanout", "--url", url])
        .args(SMALL)
        .args(flags)
        .arg("--json")
        .arg(file.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "draining"), "draining was never announced");
    in_between(Pid::from_child(&child));
    lines.for_each(drop);
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    eprintln!("{out}");
    assert_eq!(child.wait().unwrap().code(), Some(code));
    let result: Value = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
    (result, out)
}

/// Stops a process; returns once each of its threads stands still.
fn stop(pid: Pid) {
    kill_process(pid, Signal::STOP).unwrap();
    let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
    let is_stopped = |task: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
    };
    while !std::fs::read_dir(&tasks).unwrap().all(is_stopped) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// A time of the result in milliseconds.
fn ms(result: &Value, pointer: &str) -> f64 {
    let value = result.pointer(pointer).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("no number at {pointer} in {result:#}")) / 1e3
}

#[test]
fn what_lies_in_the_socket_while_the_generator_is_stopped_is_its_own_lag_and_not_the_networks() {
    let broker = TestBroker::start(Faults { is_held: true, ..Faults::default() });
    let (result, _) = fanout(&broker.url(), &[], 0, |pid| {
        stop(pid);
        broker.release(20);
        thread::sleep(Duration::from_millis(500));
        kill_process(pid, Signal::CONT).unwrap();
    });
    // All 400 deliveries waited for half a second, in 20 sockets with 20 in each.
    assert_eq!(result["own_lag_us"]["count"], 400);
    assert!(ms(&result, "/own_lag_us/p50") >= 500.0);
    assert!(ms(&result, "/net_us/max") <= ms(&result, "/latency_us/max") - 499.0);
    // Of each socket's last one at least, the network's part is known.
    assert!(result["net_us"]["count"].as_u64() >= Some(20));
    let verdict = result["verdict"]["reasons"].to_string();
    assert!(result["verdict"]["measurement"] != "VALID", "{verdict}");
}

#[test]
fn through_tls_what_lies_in_the_socket_is_the_generators_lag_too() {
    let broker = TestBroker::start(Faults { is_held: true, ..Faults::default() });
    let certificate = Certificate::new(&["localhost"]);
    let front = TlsFront::start(broker.address(), &certificate, ALL_VERSIONS);
    let ca = certificate.file.path().display().to_string();
    let (result, _) = fanout(&front.url("localhost"), &["--ca", &ca], 0, |pid| {
        stop(pid);
        broker.release(20);
        // Half of it for the way through the front.
        thread::sleep(Duration::from_secs(1));
        kill_process(pid, Signal::CONT).unwrap();
    });
    assert_eq!(result["own_lag_us"]["count"], 400);
    assert!(ms(&result, "/own_lag_us/p50") >= 500.0);
    assert!(ms(&result, "/net_us/max") <= ms(&result, "/latency_us/max") - 499.0);
}

#[test]
fn what_the_broker_holds_back_is_the_networks_part() {
    // The last message, so that no later one can hide it in a socket.
    let stall = Some((20, Duration::from_millis(400)));
    let broker = TestBroker::start(Faults { stall, ..Faults::default() });
    let (result, out) = fanout(&broker.url(), &[], 0, |_| {});
    assert_eq!(result["own_lag_us"]["count"], 400);
    assert!(ms(&result, "/net_us/max") >= 400.0);
    assert!(ms(&result, "/own_lag_us/max") <= ms(&result, "/latency_us/max"));
    assert!(out.contains("\n         net  p50 ") && out.contains("\n     own lag  p50 "), "{out}");
    let series = result["series"].as_array().unwrap();
    assert!(series.iter().all(|row| row.get("net_p99_us").is_some()));
}

#[test]
fn without_the_kernels_times_there_are_no_numbers_and_no_demand_on_them_is_met() {
    let broker = TestBroker::start(Faults::default());
    let (result, out) = fanout(&broker.url(), &["--kernel-timestamps", "false"], 0, |_| {});
    assert!(out.contains("net  not available: switched off by --kernel-timestamps\n"), "{out}");
    assert!(!out.contains("own lag"), "{out}");
    assert!(result["net_us"].is_null() && result["own_lag_us"].is_null());
    assert_eq!(result["latency_us"]["count"], 400);
}

#[test]
fn a_subscriber_that_the_broker_keeps_waiting_shows_between_the_first_and_the_last_delivery() {
    let pause_before = Some((19, Duration::from_millis(30)));
    let broker = TestBroker::start(Faults { pause_before, ..Faults::default() });
    let demand = ["--threshold", "first.p50<1ns", "--threshold", "last.p50>=30ms"];
    let (result, out) = fanout(&broker.url(), &demand, 1, |_| {});
    for name in ["to_first_us", "to_last_us"] {
        assert_eq!(result[name]["count"], 20, "{name}");
    }
    assert_eq!(result["messages_not_followed"], 0);
    assert!(ms(&result, "/to_last_us/p50") >= 30.0);
    assert!(ms(&result, "/to_first_us/p50") < ms(&result, "/to_last_us/p50"));
    assert_eq!(ms(&result, "/to_last_us/max"), ms(&result, "/latency_us/max"));
    assert_eq!(result["thresholds"][1]["met"], true);
    assert!(out.contains("\nto the first  p50 ") && out.contains("\n to the last  p50 "), "{out}");
}

#[test]
fn a_message_that_somebody_never_got_is_not_followed_and_said_to_be_so() {
    let by_message = [((3, 7), Fault::Drop)].into_iter().collect();
    let broker = TestBroker::start(Faults { by_message, ..Faults::default() });
    let (result, out) = fanout(&broker.url(), &["--drain", "0"], 5, |_| {});
    assert_eq!(
        (&result["to_last_us"]["count"], &result["messages_not_followed"]),
        (&19.into(), &1.into())
    );
    assert!(out.contains("; 1 message not followed to the last delivery\n"), "{out}");
}
