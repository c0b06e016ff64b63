//! `loadgen fanout` from outside: the built binary against a broker that does exactly the wrong
//! that it is told to. The report must show that, no more and no less, and the exit code with it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "the broker can do more wrong than is needed here")]

#[path = "support/broker.rs"]
mod broker;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use broker::{Fault, Faults, TestBroker};
use serde_json::Value;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// A finished run: exit code, standard output, and the result as JSON.
struct Run {
    code: i32,
    out: String,
    json: Value,
}

impl Run {
    fn last_line(&self) -> &str {
        self.out.lines().last().unwrap_or_default()
    }

    /// A number of the result by its JSON pointer.
    fn number(&self, pointer: &str) -> u64 {
        let value = self.json.pointer(pointer).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("no number at {pointer} in {:#}", self.json))
    }

    /// Expected, delivered, lost, duplicated, out of order.
    fn account(&self) -> [u64; 5] {
        ["expected", "delivered", "lost", "duplicated", "out_of_order"]
            .map(|name| self.number(&format!("/deliveries/{name}")))
    }
}

/// Runs against `url` with these flags: 200 subscribers and 20 messages in 0.4 s unless they say
/// otherwise.
fn fanout(url: &str, flags: &str) -> Run {
    let file = tempfile::NamedTempFile::new().unwrap();
    let usual = "--subscribers 200 --rate 50 --seconds 0.4 --warmup 0 --threads 2 --drain 1";
    let given: Vec<_> = flags.split_whitespace().collect();
    let mut command = Command::new(LOADGEN);
    // Deliveries are looked at here, on a machine that may be busy with other tests.
    command.args(["fanout", "--allow-invalid", "--url", url]).arg("--json").arg(file.path());
    for pair in usual.split_whitespace().collect::<Vec<_>>().chunks(2) {
        if !given.contains(&pair[0]) {
            command.args(pair);
        }
    }
    let Output { status, stdout, stderr } = command.args(given).output().unwrap();
    let json = std::fs::read(file.path()).unwrap();
    let run = Run {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        json: serde_json::from_slice(&json).unwrap_or_default(),
    };
    eprintln!("{}\n{}", String::from_utf8_lossy(&stderr), run.out);
    run
}

fn with_faults(faults: &[(usize, u64, Fault)]) -> TestBroker {
    let by_message = faults.iter().map(|&(who, seq, fault)| ((who, seq), fault)).collect();
    TestBroker::start(Faults { by_message, ..Faults::default() })
}

#[test]
fn a_sound_broker_is_found_sound_in_both_protocols() {
    for protocol in ["json", "bin"] {
        let broker = TestBroker::start(Faults::default());
        let run = fanout(&broker.url(), &format!("--protocol {protocol}"));
        assert_eq!(run.code, 0, "{protocol}");
        assert_eq!(
            run.last_line(),
            "OK: 200 subscribers × 20 messages = 4,000 delivered, 0 lost, 0 duplicated, \
             0 out of order"
        );
        assert_eq!(run.account(), [4000, 4000, 0, 0, 0]);
        assert_eq!(run.number("/latency_us/count"), 4000);
        assert_eq!(run.number("/connections/ready"), 201);
        assert_eq!(run.number("/connections/closed_cleanly"), 201);
        assert_eq!(broker.normal_closes(), 201);
    }
}

#[test]
fn topics_are_shared_out_and_the_warm_up_is_accounted_for_but_not_timed() {
    let broker = TestBroker::start(Faults::default());
    let run = fanout(&broker.url(), "--topics 7 --publishers 3 --warmup 0.2 --size 1000");
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
fn what_was_dropped_doubled_and_swapped_is_reported_to_the_message() {
    for protocol in ["json", "bin"] {
        let broker = with_faults(&[
            (0, 1, Fault::Drop),
            (0, 20, Fault::Drop),
            (17, 9, Fault::Drop),
            (17, 10, Fault::Drop),
            (18, 1, Fault::Twice),
            (19, 20, Fault::Twice),
            (199, 3, Fault::AfterNext),
        ]);
        let run = fanout(&broker.url(), &format!("--protocol {protocol}"));
        assert_eq!(run.code, 5, "{protocol}");
        assert_eq!(run.account(), [4000, 3996, 4, 2, 1], "{protocol}");
        // 17: one jump. 18: 1 again after 1. 19: 20 again. 199: 2, 4, 3, 5 are three breaks.
        assert_eq!(run.number("/deliveries/seq_breaks"), 6, "{protocol}");
        assert_eq!(run.number("/deliveries/strange"), 0);
        assert!(
            run.last_line().starts_with(
                "BROKEN: 3,996 of 4,000 delivered, 4 lost, 2 duplicated, 1 out of order"
            )
        );
    }
}

#[test]
fn a_loss_that_the_broker_announces_is_a_loss_without_a_break_in_its_seq() {
    for protocol in ["json", "bin"] {
        let broker = with_faults(&[(5, 7, Fault::Gap), (6, 1, Fault::Gap), (6, 2, Fault::Gap)]);
        let run = fanout(&broker.url(), &format!("--protocol {protocol}"));
        assert_eq!((run.code, run.account()), (5, [4000, 3997, 3, 0, 0]), "{protocol}");
        assert_eq!(run.number("/deliveries/seq_breaks"), 0);
        assert_eq!(run.number("/deliveries/gap_notices"), 3);
        assert_eq!(run.number("/deliveries/gap_messages"), 3);
    }
}

#[test]
fn damaged_and_misrouted_messages_are_strange_and_do_not_count_as_delivered() {
    let broker = with_faults(&[(5, 7, Fault::Damage), (6, 8, Fault::WrongTopic)]);
    let run = fanout(&broker.url(), "");
    assert_eq!((run.code, run.account()), (5, [4000, 3998, 2, 0, 0]));
    assert_eq!(run.number("/deliveries/strange"), 2);
}

#[test]
fn a_connection_closed_by_the_broker_is_counted_with_code_and_reason() {
    let broker = with_faults(&[(5, 11, Fault::Close), (6, 20, Fault::Close)]);
    let run = fanout(&broker.url(), "");
    assert_eq!((run.code, run.account()), (5, [4000, 3989, 11, 0, 0]));
    assert_eq!(run.number("/connections/closed_by_server/1011 boom"), 2);
    assert!(run.last_line().ends_with("2 connections closed by the server"));
}

#[test]
fn pings_are_answered() {
    let broker = TestBroker::start(Faults { pings: true, ..Faults::default() });
    let run = fanout(&broker.url(), "");
    assert_eq!((run.code, broker.pongs()), (0, 200));
    assert_eq!(run.number("/connections/pings_answered"), 200);
}

#[test]
fn a_stall_makes_every_message_late_that_was_due_during_it() {
    let stall = Some((11, Duration::from_millis(500)));
    let broker = TestBroker::start(Faults { stall, ..Faults::default() });
    let run = fanout(&broker.url(), "--rate 100 --seconds 1");
    assert_eq!((run.code, run.account()), (0, [20_000, 20_000, 0, 0, 0]));
    // Message 11 is 500 ms late, the next 490 ms, and so on: at least 25 of 100 wait 250 ms.
    // Had the generator waited for the broker, all but one would look fast.
    let latency_us = |name: &str| run.json["latency_us"][name].as_f64().unwrap();
    assert!(latency_us("max") >= 500_000.0);
    assert!(latency_us("p90") >= 390_000.0);
}

#[test]
fn a_target_that_takes_too_few_connections_is_reported_with_the_number_reached() {
    let faults = Faults { connections_max: Some(150), ..Faults::default() };
    let run = fanout(&TestBroker::start(faults).url(), "");
    assert_eq!(run.code, 3);
    assert_eq!(
        run.last_line(),
        "FAILED: 150 of 201 connections reached: the server answered 503, not 101"
    );
    assert_eq!(run.number("/connections/failed/the server answered 503, not 101"), 51);
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
    let broker = TestBroker::start(Faults::default());
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
        .args(["--url", &broker.url()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("OK: 3 subscribers × 10 messages = 30 delivered"), "{text}");
    assert_eq!((text.lines().count(), output.stderr.len()), (1, 0));
}

#[test]
fn an_interrupted_run_reports_what_was_sent_until_then() {
    let broker = TestBroker::start(Faults::default());
    let mut child = Command::new(LOADGEN)
        .args(["fanout", "--url", &broker.url()])
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
