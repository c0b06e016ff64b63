//! A NATS that can't order topics, and one that is away: what is told of it, and what goes on.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::nats::NatsServer;
use crate::support::broker::Broker;
use crate::support::http::{self, Response};
use crate::{Cluster, PATIENCE, answer, client, node};

const EPHEMERAL: [&str; 4] = ["--history-messages", "0", "--last-ms", "0"];
/// Of topics below `pass/` nothing is kept.
const RULES: &str = "[[topic]]\nfilter = \"pass/#\"\nhistory_messages = 0\nlast_ms = 0\n";

fn ready(broker: &Broker) -> (u16, String) {
    let answer = http::get(broker.address(), "/readyz").expect("it answers");
    (answer.status, answer.text())
}

fn wait_until_ready_says(broker: &Broker, words: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !ready(broker).1.contains(words) {
        assert!(Instant::now() < deadline, "{:?}", ready(broker));
        sleep(Duration::from_millis(50));
    }
}

fn post(broker: &Broker, body: &str) -> Response {
    let address = broker.address();
    let request = format!(
        "POST /api/v1/publish HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    http::exchange(address, request.as_bytes(), PATIENCE).expect("it answers")
}

fn rules() -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file");
    std::fs::write(file.path(), RULES).expect("it can be written");
    file
}

#[test]
fn without_jetstream_a_node_says_what_to_do_and_is_ready_when_it_is_done() {
    let Some(mut server) = NatsServer::start_without_streams() else { return };
    let file = rules();
    let path = file.path().to_str().expect("UTF-8");
    let [a, b] = ["a", "b"].map(|name| node(&server.url(), name, &["--config", path]));
    for broker in [&a, &b] {
        wait_until_ready_says(broker, "nats-server --jetstream");
        assert_eq!(ready(broker).0, 503);
        assert_eq!(broker.metrics("altavoz_stream_trouble"), 1.0);
        assert!(broker.stderr().contains("NATS has no JetStream"), "{}", broker.stderr());
    }
    let refused = post(&a, r#"{"topic":"t","data":1}"#);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("JetStream, which the cluster's NATS has not"));
    // What is not kept goes to the other node all the same.
    let mut reader = client(&b);
    answer(&mut reader, r#"{"id":1,"op":"subscribe","topic":"pass/t"}"#);
    a.wait_for_metric("altavoz_cluster_nodes", 1.0, PATIENCE);
    b.wait_for_metric("altavoz_cluster_wanted", 1.0, PATIENCE);
    sleep(Duration::from_millis(300));
    assert_eq!(post(&a, r#"{"topic":"pass/t","data":1}"#).status, 200);
    assert_eq!(reader.receive_text(), r#"{"topic":"pass/t","seq":1,"data":1}"#);
    server.enable_streams();
    for broker in [&a, &b] {
        wait_until_ready_says(broker, "ready");
        broker.wait_for_metric("altavoz_stream_ready", 1.0, PATIENCE);
        assert_eq!(broker.metrics("altavoz_stream_trouble"), 0.0);
    }
    assert_eq!(post(&a, r#"{"topic":"t","data":1}"#).status, 200);
}

#[test]
fn where_nothing_is_kept_a_node_needs_no_jetstream_nor_any_nats_to_be_ready() {
    let Some(mut server) = NatsServer::start_without_streams() else { return };
    let a = node(&server.url(), "a", &EPHEMERAL);
    wait_until_ready_says(&a, "ready");
    server.kill();
    let b = node(&server.url(), "b", &EPHEMERAL);
    wait_until_ready_says(&b, "ready");
    assert_eq!(post(&b, r#"{"topic":"t","data":1}"#).status, 200);
}

#[test]
fn more_replicas_than_servers_are_refused_with_the_reason() {
    let Some(server) = NatsServer::start() else { return };
    let a = node(&server.url(), "a", &["--nats-replicas", "3"]);
    wait_until_ready_says(&a, "fewer servers than nats_replicas");
    assert_eq!(a.metrics("altavoz_stream_trouble"), 2.0);
    assert!(a.stderr().contains("replicas"), "{}", a.stderr());
}

#[test]
fn demos_are_each_nodes_own_and_need_no_jetstream() {
    let Some(server) = NatsServer::start_without_streams() else { return };
    let demo = ["--demo", "--demo-updates-per-second", "200"];
    let [a, b] =
        ["a", "b"].map(|name| node(&server.url(), name, &[&EPHEMERAL[..], &demo].concat()));
    for broker in [&a, &b] {
        wait_until_ready_says(broker, "ready");
        broker.wait_for_metric("altavoz_cluster_nodes", 1.0, PATIENCE);
    }
    let mut reader = client(&b);
    for topic in ["demo/ticker/+", "demo/candles/+"] {
        answer(&mut client(&b), &format!(r#"{{"id":1,"op":"subscribe","topic":"{topic}"}}"#));
    }
    answer(&mut reader, r#"{"id":1,"op":"subscribe","topic":"demo/ticker/+"}"#);
    assert!(reader.receive_text().contains("demo/ticker/"));
    assert_eq!(post(&a, r#"{"topic":"demo/chat/lobby","data":{"text":"hello"}}"#).status, 200);
    for broker in [&a, &b] {
        assert_eq!(broker.metrics("altavoz_cluster_sent_total"), 0.0);
        assert_eq!(broker.metrics("altavoz_stream_offered_total"), 0.0);
    }
}

#[test]
fn with_the_permissions_that_the_guide_names_nodes_work() {
    const GUIDE: &str = include_str!("../../../docs/CLUSTER.md");
    let allowed = ["altavoz.>", "$JS.API.>", "$JS.ACK.>"];
    assert!(allowed.iter().all(|subject| GUIDE.contains(&format!("`{subject}`"))));
    let folder = tempfile::tempdir().expect("a folder");
    let [settings, password] = ["nats.conf", "password"].map(|name| folder.path().join(name));
    let users = format!(
        "authorization {{ users = [{{ user: me, password: right, permissions: \
         {{ publish: {allowed:?}, subscribe: [\"altavoz.>\"] }} }}] }}"
    );
    std::fs::write(&settings, users).expect("it can be written");
    std::fs::write(&password, "right").expect("it can be written");
    let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let Some(server) = NatsServer::start_with(&["--config", &path(&settings)]) else { return };
    let password = path(&password);
    let me = ["--nats-user", "me", "--nats-password-file", &password];
    let urls = [server.url(), server.url(), server.url()];
    let cluster = Cluster::of(server, &urls, &me);
    let [a, b, _] = &cluster.brokers[..] else { panic!("three nodes") };
    let mut reader = client(b);
    answer(&mut reader, r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    assert_eq!(post(a, r#"{"topic":"t","data":1}"#).status, 200);
    while !reader.receive_text().contains(r#""data":1"#) {}
    for broker in [a, b] {
        broker.wait_for_metric("altavoz_cluster_nodes", 2.0, PATIENCE);
        assert!(!broker.stderr().contains("ermissions"), "{}", broker.stderr());
    }
}

/// W-13, X-08: NATS is away for a while.
#[test]
fn w_13_without_nats_what_is_kept_is_refused_and_the_rest_goes_on_with_a_stated_gap() {
    let Some(server) = NatsServer::start() else { return };
    let file = rules();
    let urls = [server.url(), server.url(), server.url()];
    let path = file.path().to_str().expect("UTF-8");
    let mut cluster = Cluster::of(server, &urls, &["--config", path]);
    let [a, b, _] = &cluster.brokers[..] else { panic!("three nodes") };
    let (mut here, mut there) = (client(a), client(b));
    for reader in [&mut here, &mut there] {
        answer(reader, r#"{"id":1,"op":"subscribe","topic":"pass/t"}"#);
    }
    // Longer than a subscription takes to be in force on the other nodes, with a heartbeat after it.
    sleep(Duration::from_millis(2_500));
    assert_eq!(post(a, r#"{"topic":"pass/t","data":1}"#).status, 200);
    for reader in [&mut here, &mut there] {
        assert_eq!(reader.receive_text(), r#"{"topic":"pass/t","seq":1,"data":1}"#);
    }
    cluster.server.kill();
    let [a, ..] = &cluster.brokers[..] else { panic!("three nodes") };
    a.wait_for_metric("altavoz_stream_ready", 0.0, PATIENCE);
    let refused = post(a, r#"{"topic":"kept","data":1}"#);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert!(refused.text().contains("not published"), "{}", refused.text());
    for _ in 0..3 {
        assert_eq!(post(a, r#"{"topic":"pass/t","data":2}"#).status, 200);
    }
    assert!(here.receive_text().contains(r#""seq":2"#), "its own node's");
    cluster.server.resume();
    let gap: Value = serde_json::from_str(&there.receive_text()).expect("JSON");
    let gap = &gap["gap"];
    assert_eq!(
        (&gap["from"], &gap["to"], &gap["reason"]),
        (&2.into(), &4.into(), &"backplane".into())
    );
    for broker in &cluster.brokers {
        broker.wait_for_metric("altavoz_stream_ready", 1.0, PATIENCE);
    }
    assert_eq!(post(&cluster.brokers[0], r#"{"topic":"kept","data":1}"#).status, 200);
}
