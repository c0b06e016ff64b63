//! Conformance by the Autobahn cases, which the `kosoku` suite runs against both roles: the
//! broker's `/echo`, and the client codec that the load generator uses. What these cases do not
//! see (bad handshakes, limits, deadlines, slow readers) is in `attacks`.

#[path = "support/support.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use broker_proto::ws::{CloseCode, Opcode};
use serde::Deserialize;
use support::broker::Broker;
use support::process::{Running, run};
use support::tools;
use support::ws_client::{PATIENCE, Received, WsClient};

/// Room for the 16 MiB messages of section 9, and no deadline on the first command.
const ECHO_SETTINGS: [&str; 9] = [
    "--echo",
    "--message-bytes-max",
    "16777216",
    "--backlog-bytes-max",
    "33554432",
    "--mailbox-bytes-max",
    "33554432",
    "--first-command-timeout-ms",
    "0",
];
/// Sections 1–7 and 10: framing, control frames, fragments, UTF-8, closing.
const BASE_CASES: usize = 247;
/// Section 9: sizes up to 16 MiB, many fragments, many messages.
const LIMIT_CASES: usize = 54;
const BASE: [&str; 6] = ["-x", "9.*", "-x", "12.*", "-x", "13.*"];
const SUITE_LIMIT: Duration = Duration::from_secs(300);
const AGENT: &str = "altavoz";

/// One line of the suite's `index.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    behavior: String,
    behavior_close: String,
}

#[test]
fn the_broker_conforms_in_framing_utf8_and_closing() {
    let Some(reports) = test_echo("base", &[&["-p", "8"], &BASE[..]].concat()) else { return };
    demand_conformance(&reports, BASE_CASES);
}

#[test]
fn the_broker_conforms_with_large_and_many_messages() {
    let Some(reports) = test_echo("limits", &["-i", "9.*"]) else { return };
    demand_conformance(&reports, LIMIT_CASES);
}

#[test]
fn the_client_conforms_in_framing_utf8_and_closing() {
    let Some(python) = tools::python() else { return };
    let address = free_address();
    let reports = fresh_reports("client");
    let mut server = Running::start(
        Command::new(python.kosoku())
            .args(["-m", "fuzzingserver"])
            .args(BASE)
            .arg("-o")
            .arg(&reports)
            .arg(address.to_string()),
    )
    .expect("kosoku can be run");
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        assert!(server.wait(Duration::ZERO).is_none(), "it ended: {}", server.stderr.text());
        assert!(Instant::now() < deadline, "it does not listen on {address}");
        thread::sleep(Duration::from_millis(20));
    }

    let cases: usize = ask_case_count(address);
    for case in 1..=cases {
        let path = format!("/runCase?case={case}&agent={AGENT}");
        echo_until_closed(WsClient::connect(address, &path, &[]).expect("the suite listens"));
    }
    let path = format!("/updateReports?agent={AGENT}");
    echo_until_closed(WsClient::connect(address, &path, &[]).expect("the suite listens"));

    // The suite writes after it has hung up.
    let deadline = Instant::now() + PATIENCE;
    let index = reports.join("index.json");
    while !fs::read(&index).is_ok_and(|index| read_index(&index).is_ok()) {
        assert!(Instant::now() < deadline, "no reports: {}", server.stdout.text());
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(cases, BASE_CASES);
    demand_conformance(&reports, BASE_CASES);
}

/// Runs the suite's client against a broker of its own; where its reports are.
fn test_echo(name: &str, selection: &[&str]) -> Option<PathBuf> {
    let python = tools::python()?;
    let broker = Broker::start(&ECHO_SETTINGS);
    let reports = fresh_reports(name);
    run(
        Command::new(python.kosoku())
            .args(selection)
            .arg("-o")
            .arg(&reports)
            .arg(broker.ws_url("/echo")),
        SUITE_LIMIT,
    )
    .expect("kosoku runs to its end");
    Some(reports)
}

/// What a well-behaved client does: echo messages, answer pings and the closing handshake, close
/// with the fitting code on what breaks the protocol.
fn echo_until_closed(mut client: WsClient) {
    // A write fails where the suite has hung up already, which is its right: it has its verdict.
    loop {
        let _ = match client.receive(PATIENCE) {
            Some(Received::Text(text)) => client.send_text(&text),
            Some(Received::Binary(bytes)) => client.send_frame(Opcode::Binary, &bytes),
            Some(Received::Ping(payload)) => client.send_frame(Opcode::Pong, &payload),
            Some(Received::Pong(_)) => Ok(()),
            Some(Received::Close(close)) => {
                let code = close.map_or(CloseCode::NORMAL, |(code, _)| CloseCode::new(code));
                client.send_close(code, "")
            }
            Some(Received::Broken(error)) => {
                client.send_close(error.close_code(), "").and_then(|()| client.shutdown())
            }
            Some(Received::End | Received::Reset) => return,
            None => panic!("the suite fell silent"),
        };
    }
}

fn ask_case_count(address: SocketAddr) -> usize {
    let mut client = WsClient::connect(address, "/getCaseCount", &[]).expect("the suite listens");
    let count = client.receive_text();
    echo_until_closed(client);
    count.parse().expect("a number")
}

/// Exactly one agent, exactly this many cases, and every one of them strictly right, in its
/// messages and in its closing.
fn demand_conformance(reports: &Path, cases: usize) {
    let index = fs::read(reports.join("index.json")).expect("the suite wrote its reports");
    let agents = read_index(&index).expect("the index is as it always was");
    assert_eq!(agents.len(), 1, "one agent was tested");
    let verdicts = agents.values().next().expect("there is one");
    assert_eq!(verdicts.len(), cases, "every case ran");
    let is_right = |verdict: &str| matches!(verdict, "OK" | "INFORMATIONAL");
    let wrong: Vec<_> = verdicts
        .iter()
        .filter(|(_, case)| !is_right(&case.behavior) || !is_right(&case.behavior_close))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}\nreports: {}", reports.display());
}

/// By agent and case.
fn read_index(index: &[u8]) -> serde_json::Result<BTreeMap<String, BTreeMap<String, Verdict>>> {
    serde_json::from_slice(index)
}

fn fresh_reports(name: &str) -> PathBuf {
    let reports = tools::target_directory().join("autobahn").join(name);
    if reports.exists() {
        fs::remove_dir_all(&reports).expect("it is ours");
    }
    reports
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    listener.local_addr().expect("it is bound")
}
