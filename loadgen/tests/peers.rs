//! The scenarios against servers that are not ours, in their own protocols, and round trips: nothing
//! may be lost, and the verdict must say so.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/peers.rs"]
mod peers;
#[allow(dead_code, reason = "shared with the broker's tests, which use all of it")]
#[path = "../../broker/tests/support/process.rs"]
mod process;
#[allow(dead_code, reason = "the same instance runs in other tests too")]
#[path = "support/real.rs"]
mod real;
#[allow(dead_code, reason = "shared with the broker's tests, which need other tools")]
#[path = "../../broker/tests/support/tools.rs"]
mod tools;

use std::process::Command;

use peers::{Peer, TOKEN};
use real::RealBroker;
use serde_json::Value;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// A second of publishing.
const SECOND: &str = "--warmup 0.3 --seconds 0.7";

/// Exit code, standard output, standard error, and the result if there is one.
fn loadgen(flags: &str, token: Option<&str>) -> (i32, String, String, Value) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(LOADGEN);
    command.args(flags.split_whitespace()).arg("--json").arg(file.path());
    command.env_remove("LOADGEN_TOKEN");
    if let Some(token) = token {
        command.env("LOADGEN_TOKEN", token);
    }
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let result = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap_or_default();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr), result)
}

/// Runs a scenario that must go well, and returns its last line and its result.
fn run(flags: &str, token: Option<&str>) -> (String, Value) {
    // Delivery is what is tested, whatever else the machine has to do.
    let flags = format!("{flags} --threads 2 --allow-invalid");
    let (code, out, complaints, result) = loadgen(&flags, token);
    assert_eq!(code, 0, "{flags}\n{out}{complaints}");
    for text in [&out, &complaints, &result.to_string()] {
        assert!(token.is_none_or(|token| !text.contains(token)), "a token is shown: {text}");
    }
    (out.lines().last().unwrap().to_owned(), result)
}

/// Both kinds of load through a server that speaks `protocol` and wants a token.
fn check(peer: &Peer, protocol: &str) {
    let target = format!("--protocol {protocol} --url {}", peer.url);
    // 300 messages, each to the 75 subscribers of its topic.
    let flags =
        format!("fanout --subscribers 150 --topics 2 --publishers 2 --rate 300 {SECOND} {target}");
    let (verdict, result) = run(&flags, Some(TOKEN));
    let expected = "OK: 150 subscribers, 300 messages over 2 topics = 22,500 delivered, 0 lost, \
                    0 duplicated, 0 out of order";
    assert_eq!(verdict, expected);
    assert_eq!(result["target"]["protocol"], protocol);
    assert_eq!(result["deliveries"]["strange"], 0);
    assert_eq!(result["latency_us"]["count"], 210 * 75);

    let flags = "ticker --clients 60 --symbols 20 --watch 5 --publishers 3 --rate 300";
    let (verdict, result) = run(&format!("{flags} {SECOND} {target}"), Some(TOKEN));
    assert!(verdict.starts_with("OK: 60 subscribers, "), "{verdict}");
    let of = |pointer: &str| result.pointer(pointer).and_then(Value::as_u64).unwrap();
    assert!(of("/messages/sent") > 0);
    assert_eq!(of("/deliveries/delivered"), 15 * of("/messages/sent"));

    let (verdict, _) =
        run(&format!("echo --connections 30 --rate 300 {SECOND} {target}"), Some(TOKEN));
    assert_eq!(
        verdict,
        "OK: 30 connections, 300 messages = 300 returned, 0 lost, 0 duplicated, 0 out of order"
    );

    let (verdict, _) =
        run(&format!("connect --connections 50 --seconds 0.2 {target}"), Some(TOKEN));
    assert_eq!(verdict, "OK: 50 connections opened and held, none lost");
}

/// A wrong token is a reason that is given, with everything but the token.
fn check_refusal(peer: &Peer, protocol: &str, reason: &str) {
    let flags = format!("fanout --subscribers 3 --protocol {protocol} --url {}", peer.url);
    let (code, out, complaints, _) = loadgen(&flags, Some("wrong-token"));
    assert_eq!(code, 3, "{out}");
    assert!(out.contains(reason), "{out}");
    assert!(
        !out.contains("wrong-token") && !complaints.contains("wrong-token"),
        "{out}{complaints}"
    );
}

#[test]
fn everything_arrives_through_nats_server() {
    let Some(peer) = peers::nats() else { return };
    check(&peer, "nats");
    check_refusal(&peer, "nats", "-ERR 'Authorization Violation'");
}

#[test]
fn everything_arrives_through_mosquitto() {
    let Some(peer) = peers::mosquitto() else { return };
    check(&peer, "mqtt");
    check_refusal(&peer, "mqtt", "CONNACK 5: not authorized");
}

#[test]
fn everything_arrives_through_private_channels_and_a_wrong_secret_is_told() {
    let Some(peer) = peers::channels("app") else { return };
    let target = format!(
        "--protocol pusher --app-key app --url {}/app/app?protocol=7&client=loadgen",
        peer.url
    );
    let flags = format!(
        "fanout --subscribers 60 --topics 3 --publishers 2 --rate 200 {SECOND} {target} \
         --app-secret {TOKEN}"
    );
    let (verdict, result) = run(&flags, None);
    assert!(verdict.contains("200 messages over 3 topics = 4,000 delivered, 0 lost"), "{verdict}");
    assert_eq!(result["target"]["protocol"], "pusher");
    assert!(result["connections"]["pings_answered"].as_u64() >= Some(60), "{result}");
    assert!(!result.to_string().contains(TOKEN));

    let flags = format!(
        "ticker --clients 20 --symbols 10 --watch 5 --rate 200 {SECOND} {target} --app-secret {TOKEN}"
    );
    let (verdict, _) = run(&flags, None);
    assert!(verdict.starts_with("OK: 20 subscribers, "), "{verdict}");

    let flags = format!("fanout --subscribers 3 {target} --app-secret wrong-secret");
    let (code, out, _, _) = loadgen(&flags, None);
    assert_eq!(code, 3, "{out}");
    assert!(out.contains("pusher:subscription_error 401: wrong signature"), "{out}");
    assert!(!out.contains("wrong-secret"), "{out}");

    let flags = format!("echo --connections 20 --rate 200 {SECOND} --url {}/echo", peer.url);
    let (verdict, _) = run(&flags, None);
    assert!(verdict.starts_with("OK: 20 connections, 200 messages = 200 returned"), "{verdict}");
}

#[test]
fn everything_comes_back_from_the_brokers_echo() {
    let broker = RealBroker::start(&["--echo"]);
    let url = broker.url().replace("/ws", "/echo");
    let (verdict, result) =
        run(&format!("echo --connections 40 --rate 400 {SECOND} --url {url}"), None);
    assert_eq!(
        verdict,
        "OK: 40 connections, 400 messages = 400 returned, 0 lost, 0 duplicated, 0 out of order"
    );
    assert_eq!(result["connections"]["ready"], 40);
    assert_eq!(result["connections"]["closed_cleanly"], 40);
    assert_eq!(result["latency_us"]["count"], 280);
    let flags = format!("echo --connections 40 --rate 400 --processes 2 {SECOND} --url {url}");
    assert_eq!(run(&flags, None).0, verdict);
}

#[test]
fn everything_comes_back_through_topics_of_the_broker_with_a_token() {
    let broker = RealBroker::start(&[]);
    for protocol in ["json", "bin"] {
        let flags = format!(
            "echo --connections 20 --rate 200 {SECOND} --protocol {protocol} --url {} --header X-Run:1",
            broker.url()
        );
        let (verdict, _) = run(&flags, Some(TOKEN));
        assert!(
            verdict.starts_with("OK: 20 connections, 200 messages = 200 returned, "),
            "{verdict}"
        );
    }
}

#[test]
fn what_a_protocol_cannot_do_is_a_usage_error() {
    for (flags, why) in [
        (
            "fanout --protocol echo",
            "loadgen: echo has no topics: it can do the scenarios connect and echo\n",
        ),
        ("churn --protocol nats", "loadgen: nats does not number messages: "),
        ("fanout --protocol pusher", "loadgen: pusher needs --app-key and --app-secret "),
        ("fanout --header nonsense", "loadgen: --header is not of the form 'Name: value'\n"),
        ("fanout --user me", "loadgen: --user: altavoz.v1.json has no place for it\n"),
    ] {
        let (code, out, complaint, _) = loadgen(flags, None);
        assert_eq!((code, out.as_str()), (2, ""), "{flags}");
        assert!(complaint.starts_with(why), "{complaint}");
    }
}
