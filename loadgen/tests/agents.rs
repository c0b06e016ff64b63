//! One run in several processes, from outside: the report is that of one process, whoever ends in
//! the midst of it is noticed, and nobody stays behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "the supports can do more than is needed here")]
#![cfg(target_os = "linux")]

#[path = "support/broker.rs"]
mod broker;
#[path = "support/listening.rs"]
mod listening;
#[path = "support/real.rs"]
mod real;
#[path = "support/run.rs"]
mod run;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use broker::{Fault, Faults, TestBroker};
use listening::{Listening, TOKEN};
use real::RealBroker;
use run::{Run, fanout, run};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// How long something may take that takes milliseconds, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(20);

/// A run under way with its agents, and everything it says from now on.
struct Running {
    child: Child,
    agents: Vec<u32>,
    result: tempfile::NamedTempFile,
}

impl Running {
    /// A fanout in three processes that is measuring and would be for a minute.
    fn start(url: &str) -> Self {
        let result = tempfile::NamedTempFile::new().unwrap();
        let mut child = Command::new(LOADGEN)
            .args("fanout --subscribers 60 --publishers 3 --topics 3 --rate 200".split(' '))
            .args("--warmup 0 --seconds 60 --drain 1 --processes 3 --url".split(' '))
            .args([url, "--json"])
            .arg(result.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        let mut lines = said.lines().map_while(Result::ok);
        assert!(lines.any(|line| line.starts_with("measuring")), "it ended before");
        // Nothing may wait for somebody to read what else it says.
        thread::spawn(move || lines.for_each(drop));
        let agents = children_of(child.id());
        assert_eq!(agents.len(), 3);
        Self { child, agents, result }
    }

    /// Its exit status, its last line and its result, once it has ended; no agent is left then.
    fn wait(mut self) -> (ExitStatus, String, Value) {
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        let status = self.child.wait().unwrap();
        self.agents.iter().for_each(|&agent| wait_gone(agent));
        eprintln!("{out}");
        let json = serde_json::from_slice(&fs::read(self.result.path()).unwrap());
        (status, out.lines().last().unwrap_or_default().to_owned(), json.unwrap_or_default())
    }
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

/// The parent of a process, or none if it is gone or only waits to be noticed.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let words: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if words[0] == "Z" { None } else { words[1].parse().ok() }
}

fn children_of(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| parent_of(pid) == Some(parent)).collect()
}

fn wait_gone(pid: u32) {
    let until = Instant::now() + PATIENCE;
    while parent_of(pid).is_some() {
        assert!(Instant::now() < until, "process {pid} is still there");
        thread::sleep(Duration::from_millis(5));
    }
}

/// What must not depend on the number of processes.
fn essence(run: &Run) -> Vec<Value> {
    let pointers = [
        "/plan",
        "/deliveries",
        "/messages/sent",
        "/messages/sent_measured",
        "/messages/unsent",
        "/connections/asked",
        "/connections/ready",
        "/connections/failed",
        "/connections/closed_by_server",
        "/connections/closed_cleanly",
        "/latency_us/count",
        "/send_lag_us/count",
        "/verdict/text",
    ];
    let value = |pointer| run.json.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"));
    pointers.map(|pointer| value(pointer).clone()).to_vec()
}

#[test]
fn the_report_of_three_processes_is_that_of_one_for_the_same_seed() {
    let broker = RealBroker::start(&[]);
    let usual = "--clients 60 --symbols 20 --watch 5 --publishers 4 --rate 300 --seed 7 \
                 --warmup 0.2 --seconds 0.8 --threads 3";
    let ticker = |flags| run("ticker", &broker.url(), usual, flags);
    let (one, three) = (ticker(""), ticker("--processes 3"));
    assert_eq!((one.code, three.code), (0, 0));
    assert_eq!(essence(&one), essence(&three));
    assert_eq!(three.number("/connections/ready"), 64);
    let agents = three.json.pointer("/generator/agents").unwrap().as_array().unwrap();
    let of = |name: &str| agents.iter().map(|agent| agent[name].as_u64().unwrap()).collect();
    let (connections, threads): (Vec<u64>, Vec<u64>) = (of("connections"), of("threads"));
    assert_eq!((connections, threads), (vec![22, 21, 21], vec![1, 1, 1]));
    assert!(agents.iter().all(|agent| agent["clock"].is_null()), "they have one clock");
}

#[test]
fn what_goes_wrong_in_any_process_is_in_the_one_account() {
    let faults = [(3, 1, Fault::Drop), (50, 20, Fault::Drop), (120, 7, Fault::Twice)];
    let by_message = faults.iter().map(|&(who, seq, fault)| ((who, seq), fault)).collect();
    let broker = TestBroker::start(Faults { by_message, ..Faults::default() });
    let run = fanout(&broker.url(), "--processes 4");
    assert_eq!((run.code, run.account()), (5, [4000, 3998, 2, 1, 0]));
    assert_eq!(run.number("/latency_us/count"), 3998);
    assert_eq!(broker.normal_closes(), 201);
}

#[test]
fn an_agent_that_is_killed_ends_the_run_with_its_reason_and_what_the_others_saw() {
    let broker = RealBroker::start(&[]);
    let running = Running::start(&broker.url());
    let victim = running.agents[1];
    signal(victim, Signal::KILL);
    let (status, last, result) = running.wait();
    assert_eq!(status.code(), Some(4));
    let why = format!(" (pid {victim}) ended: signal: 9 (SIGKILL); of what the others saw, ");
    assert!(last.starts_with("FAILED: process ") && last.contains(&why), "{last}");
    assert_eq!(result.pointer("/generator/agents").unwrap().as_array().unwrap().len(), 2);
    let of = |name: &str| result["deliveries"][name].as_u64().unwrap();
    assert!(of("delivered") > 0 && of("delivered") <= of("expected"), "{result:#}");
}

#[test]
fn the_interrupt_key_reaches_all_processes_and_the_report_is_of_all() {
    let broker = RealBroker::start(&[]);
    let running = Running::start(&broker.url());
    // As a terminal does it: everybody gets it.
    running.agents.iter().for_each(|&agent| signal(agent, Signal::INT));
    signal(running.child.id(), Signal::INT);
    let (status, last, result) = running.wait();
    assert_eq!(status.code(), Some(130), "{last}");
    assert!(last.starts_with("INTERRUPTED: "), "{last}");
    assert_eq!(result.pointer("/generator/agents").unwrap().as_array().unwrap().len(), 3);
    assert_eq!(result["deliveries"]["lost"], 0);
}

#[test]
fn no_agent_outlives_its_run() {
    let broker = RealBroker::start(&[]);
    let running = Running::start(&broker.url());
    signal(running.child.id(), Signal::KILL);
    assert_eq!(running.wait().0.code(), None);
}

#[test]
fn agents_that_listen_share_a_run_if_the_token_is_right_one_after_the_other() {
    let broker = RealBroker::start(&[]);
    let (one, other) = (Listening::start(&[]), Listening::start(&[]));
    let flags = format!("--agents {},{} --threads 2", one.address, other.address);
    for wrong in ["", " --agent-token wrong-horse"] {
        let refused = fanout(&broker.url(), &format!("{flags}{wrong}"));
        assert_eq!(refused.code, 3);
        let expected = format!("FAILED: agent {}: the token is wrong", one.address);
        assert_eq!(refused.last_line(), expected);
    }
    for _ in 0..2 {
        let run = fanout(&broker.url(), &format!("{flags} --agent-token {TOKEN}"));
        assert_eq!((run.code, run.account()), (0, [4000, 4000, 0, 0, 0]));
        assert_eq!(run.number("/plan/threads"), 4);
        assert_eq!(run.number("/connections/closed_cleanly"), 201);
    }
}

#[test]
fn strangers_are_hung_up_on_and_do_no_harm_to_an_agent() {
    let agent = Listening::start(&[]);
    for bytes in [&[0xff; 8][..], b"GET / HTTP/1.1\r\n\r\n", &[0, 0, 0, 2, 0x81, 0xa1]] {
        let mut stream = TcpStream::connect(&agent.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut greeting = Vec::new();
        // It greets and ends the connection, which may cut off what it did not read.
        let _ = stream.read_to_end(&mut greeting);
        assert!(greeting.len() < 200, "{greeting:?}");
    }
    let broker = RealBroker::start(&[]);
    let flags = format!("--agents {} --agent-token {TOKEN}", agent.address);
    assert_eq!(fanout(&broker.url(), &flags).code, 0);
}

#[test]
fn an_agent_whose_run_was_killed_closes_its_connections_and_takes_the_next() {
    let broker = RealBroker::start(&[]);
    let agent = Listening::start(&[]);
    let flags = format!("--agents {} --agent-token {TOKEN}", agent.address);
    let mut child = Command::new(LOADGEN)
        .args("fanout --subscribers 20 --seconds 60 --url".split(' '))
        .arg(broker.url())
        .args(flags.split(' '))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("measuring")), "it ended before");
    child.kill().unwrap();
    child.wait().unwrap();
    let run = fanout(&broker.url(), &flags);
    assert_eq!((run.code, run.account()), (0, [4000, 4000, 0, 0, 0]));
}

#[test]
fn an_agent_that_cannot_be_reached_or_is_none_is_named() {
    let broker = RealBroker::start(&[]);
    let run = fanout(&broker.url(), "--agents 127.0.0.1:1");
    assert_eq!(run.code, 3);
    assert!(run.last_line().starts_with("FAILED: cannot reach agent 127.0.0.1:1: "));
    let others = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = others.local_addr().unwrap();
    thread::spawn(move || others.accept().unwrap().0.write_all(b"SSH-2.0-x\r\n").unwrap());
    let run = fanout(&broker.url(), &format!("--agents {address}"));
    assert_eq!(run.code, 3);
    let expected = format!("FAILED: agent {address}: it is no agent: a frame of ");
    assert!(run.last_line().starts_with(&expected), "{}", run.last_line());
}

#[test]
fn an_agent_does_not_listen_to_everybody_without_a_token() {
    let output = Command::new(LOADGEN).args(["agent", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(why.contains("it needs a --token"), "{why}");
    let output = Command::new(LOADGEN).arg("agent").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_limit_of_open_files_is_named_and_auto_takes_the_processes_that_it_requires() {
    let broker = RealBroker::start(&[]);
    let connect = |flags: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let output = Command::new("sh")
            .args(["-c", "ulimit -n 100; exec \"$0\" \"$@\"", LOADGEN, "connect"])
            .args("--connections 150 --seconds 0.2 --threads 1 --allow-invalid".split(' '))
            .args(flags.split_whitespace())
            .args(["--url", &broker.url(), "--json"])
            .arg(file.path())
            .output()
            .unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let json = serde_json::from_slice(&fs::read(file.path()).unwrap()).unwrap_or_default();
        let err = String::from_utf8(output.stderr).unwrap();
        Run { code: output.status.code().unwrap(), out, err, json }
    };
    let refused = connect("");
    assert_eq!(refused.code, 3);
    let expected = "FAILED: 64 of 150 connections are possible in one process: the hard limit of \
                    open files is 100; add --processes auto, ";
    assert!(refused.last_line().starts_with(expected), "{}", refused.last_line());
    let run = connect("--processes auto");
    assert_eq!(run.code, 0, "{}", run.out);
    assert_eq!(run.last_line(), "OK: 150 connections opened and held, none lost");
    assert_eq!(run.json["generator"]["agents"].as_array().unwrap().len(), 3);
}

/// A time namespace is as good as another host: its clock is a day ahead.
#[test]
fn the_clock_of_another_host_is_found_out_and_latencies_are_right() {
    let ahead = ["unshare", "--time", "--monotonic", "86400"];
    let can = Command::new(ahead[0]).args(&ahead[1..]).arg("true").output();
    if !can.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no time namespace may be made here");
        return;
    }
    let broker = RealBroker::start(&[]);
    let (here, there) = (Listening::start(&[]), Listening::start(&ahead));
    let flags = format!(
        "--agents {},{} --agent-token {TOKEN} --threads 1 --publishers 2 --topics 2",
        here.address, there.address
    );
    let run = fanout(&broker.url(), &flags);
    assert_eq!((run.code, run.account()), (0, [2000, 2000, 0, 0, 0]));
    let clock = |agent| run.json.pointer(&format!("/generator/agents/{agent}/clock")).unwrap();
    assert!(clock(0).is_null());
    assert!(clock(1)["error_us"].as_f64().unwrap() > 0.0);
    // Not a day, in either direction: those that seem to arrive before they are sent count as 0.
    let most_us = run.json.pointer("/latency_us/max").and_then(Value::as_f64).unwrap();
    assert!(most_us < 60e6, "{most_us}");
    let quick = run.json.pointer("/latency_us/p50").and_then(Value::as_f64).unwrap();
    assert!(quick > 1.0, "{quick}");
    let connecting_s = run.json.pointer("/connections/connecting_s").and_then(Value::as_f64);
    assert!(connecting_s.unwrap() < 60.0);
}
