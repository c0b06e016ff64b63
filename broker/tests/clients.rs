//! Other people's WebSocket clients, with nothing of ours on their side, subscribe and publish
//! through the broker: Python's `websockets`, Tornado, pywebsocket3 and Node's `ws`.
//!
//! Each script in `clients/` subscribes to a topic, publishes the given values to it and prints
//! what comes; one of our own connections watches that the same reaches others.

#[path = "support/support.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::broker::Broker;
use support::process::run;
use support::tools;
use support::ws_client::WsClient;

const SCRIPT_LIMIT: Duration = Duration::from_secs(60);
const SUBPROTOCOL: &str = "subprotocol altavoz.v1.json";
/// Values whose very spelling has to survive.
const VALUES: [&str; 3] =
    [r#"{"price":101.50, "to":"¡todos!"}"#, r#"[1,2.0e1,"\u00e9"]"#, r#""just text""#];

#[test]
fn python_websockets_subscribes_and_publishes() {
    let Some(python) = tools::python() else { return };
    let script = script("websockets_client.py");
    exchange_values(Command::new(python.interpreter()).arg(script), Some(SUBPROTOCOL));
}

#[test]
fn tornado_subscribes_and_publishes() {
    let Some(python) = tools::python() else { return };
    let script = script("tornado_client.py");
    exchange_values(Command::new(python.interpreter()).arg(script), Some(SUBPROTOCOL));
}

#[test]
fn pywebsocket_subscribes_and_publishes() {
    let Some(python) = tools::python() else { return };
    let mut command = Command::new(python.interpreter());
    command.arg(script("pywebsocket_client.py"));
    command.env("PYWEBSOCKET_EXAMPLES", python.pywebsocket_examples());
    exchange_values(&mut command, None);
}

#[test]
fn node_ws_subscribes_and_publishes() {
    let Some(node) = tools::node() else { return };
    let mut command = Command::new("node");
    command.arg(script("ws_client.mjs")).env("NODE_TOOLS", node);
    exchange_values(&mut command, Some(SUBPROTOCOL));
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// Runs a script against a fresh broker and checks all that it printed, and that another
/// subscriber received the very same messages.
fn exchange_values(command: &mut Command, subprotocol: Option<&str>) {
    let broker = Broker::start(&["--workers", "2"]);
    let mut watcher =
        WsClient::connect(broker.address(), "/ws", &["altavoz.v1.json"]).expect("it upgrades");
    let answer = watcher.command(r#"{"id":1,"op":"subscribe","topic":"market/+"}"#);
    assert!(answer.starts_with(r#"{"id":1,"ok":{"topic":"market/+""#), "{answer}");

    command.arg(broker.ws_url("/ws")).arg("market/ACME").args(VALUES);
    let output = run(command, SCRIPT_LIMIT).expect("the script succeeds");

    let mut lines = output.lines();
    if let Some(subprotocol) = subprotocol {
        assert_eq!(lines.next(), Some(subprotocol));
    }
    let subscribed = lines.next().unwrap_or_default();
    assert!(subscribed.starts_with(r#"{"id":"sub","ok":{"topic":"market/ACME","#), "{output}");
    let (messages, rest): (Vec<_>, Vec<_>) =
        lines.partition(|line| line.starts_with(r#"{"topic":"#));
    let expected: Vec<String> = (1..)
        .zip(VALUES)
        .map(|(seq, value)| format!(r#"{{"topic":"market/ACME","seq":{seq},"data":{value}}}"#))
        .collect();
    assert_eq!(messages, expected);
    let (answers, rest): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|line| line.starts_with(r#"{"id":"pub","ok":"#));
    assert_eq!(answers.len(), VALUES.len(), "{output}");
    assert_eq!(rest, ["closed 1000"]);

    for message in expected {
        assert_eq!(watcher.receive_text(), message);
    }
}
