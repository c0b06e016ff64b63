//! What clients of any node find of topics that keep something: under filters, as the last message, in
//! the history, over HTTP, and after they come back elsewhere.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::http;
use crate::support::ws_client::{Received, WsClient};
use crate::{Cluster, PATIENCE, answer, client, node};

/// The next message, past notices of new epochs.
fn message(client: &mut WsClient) -> Value {
    loop {
        let text: Value = serde_json::from_str(&client.receive_text()).expect("JSON");
        if text["topic"].is_string() {
            return text;
        }
    }
}

#[test]
fn under_a_filter_each_message_of_any_node_comes_once() {
    let Some(cluster) = Cluster::start() else { return };
    let mut publishers: Vec<WsClient> = cluster.brokers.iter().map(client).collect();
    let mut readers: Vec<WsClient> = cluster.brokers.iter().map(client).collect();
    for reader in &mut readers {
        answer(reader, r#"{"id":1,"op":"subscribe","topic":"prices/+"}"#);
        answer(reader, r##"{"id":1,"op":"subscribe","topic":"prices/#"}"##);
    }
    for round in 0..10 {
        for (at, publisher) in publishers.iter_mut().enumerate() {
            let publish =
                format!(r#"{{"id":1,"op":"publish","topic":"prices/{at}","data":{round}}}"#);
            assert_eq!(answer(publisher, &publish)["ok"]["seq"], round + 1);
        }
    }
    for reader in &mut readers {
        let mut next = [0_u64; 3];
        for _ in 0..30 {
            let message = message(reader);
            let topic = message["topic"].as_str().expect("a topic");
            let at: usize = topic.trim_start_matches("prices/").parse().expect("a number");
            assert_eq!(message["data"], next[at], "{message}");
            next[at] += 1;
        }
        let more = reader.receive(Duration::from_millis(300));
        assert!(matches!(more, None | Some(Received::Ping(_))), "{more:?}");
    }
}

#[test]
fn the_last_message_and_the_history_are_the_same_on_all_nodes() {
    let Some(cluster) = Cluster::start() else { return };
    let mut publisher = client(&cluster.brokers[0]);
    let mut epoch = Value::Null;
    for number in 1..=5 {
        let publish = format!(r#"{{"id":1,"op":"publish","topic":"room/1","data":{number}}}"#);
        epoch = answer(&mut publisher, &publish)["ok"]["epoch"].take();
    }
    for broker in &cluster.brokers {
        broker.wait_for_metric("altavoz_stream_messages_total", 5.0, PATIENCE);
        let mut reader = client(broker);
        let told = answer(&mut reader, r#"{"id":1,"op":"subscribe","topic":"room/1","last":true}"#);
        assert_eq!((&told["ok"]["epoch"], &told["ok"]["seq"]), (&epoch, &Value::from(5)), "{told}");
        assert_eq!(message(&mut reader)["data"], 5);
        let path = "/api/v1/topics/room%2F1/history?limit=3";
        let page = http::get(broker.address(), path).expect("it answers");
        let page: Value = serde_json::from_str(&page.text()).expect("JSON");
        let kept: Vec<u64> = page["messages"]
            .as_array()
            .unwrap_or_else(|| panic!("{page}"))
            .iter()
            .map(|message| message["data"].as_u64().expect("a number"))
            .collect();
        assert_eq!((kept, &page["epoch"]), (vec![3, 4, 5], &epoch), "{page}");
    }
}

#[test]
fn what_a_killed_node_had_acknowledged_is_recovered_on_another_and_on_itself() {
    let Some(mut cluster) = Cluster::start() else { return };
    let mut publisher = client(&cluster.brokers[0]);
    let told = answer(&mut publisher, r#"{"id":1,"op":"publish","topic":"room/2","data":1}"#);
    let epoch = told["ok"]["epoch"].clone();
    for number in 2..=20 {
        let publish = format!(r#"{{"id":1,"op":"publish","topic":"room/2","data":{number}}}"#);
        assert_eq!(answer(&mut publisher, &publish)["ok"]["seq"], number);
    }
    drop(cluster.brokers.remove(0));
    let url = cluster.server.url();
    let again = node(&url, "a", &[]);
    again.wait_for_metric("altavoz_stream_ready", 1.0, PATIENCE);
    for broker in [&cluster.brokers[1], &again] {
        broker.wait_for_metric("altavoz_stream_messages_total", 20.0, PATIENCE);
        let mut reader = client(broker);
        let since = format!(r#"{{"epoch":{epoch},"seq":10}}"#);
        let recover = format!(r#"{{"id":1,"op":"subscribe","topic":"room/2","since":{since}}}"#);
        let told = answer(&mut reader, &recover);
        assert_eq!(told["ok"]["recovered"], true, "{told}");
        for number in 11..=20 {
            assert_eq!(message(&mut reader)["seq"], number);
        }
    }
}

#[test]
fn a_server_that_lost_its_disk_begins_a_new_epoch_of_which_clients_are_told() {
    let Some(mut cluster) = Cluster::start() else { return };
    let mut publisher = client(&cluster.brokers[0]);
    let mut reader = client(&cluster.brokers[1]);
    answer(&mut reader, r#"{"id":1,"op":"subscribe","topic":"room/3"}"#);
    let publish = r#"{"id":1,"op":"publish","topic":"room/3","data":7}"#;
    let first = answer(&mut publisher, publish);
    assert_eq!(answer(&mut publisher, publish)["ok"]["seq"], 2);
    assert_eq!(
        (message(&mut reader)["seq"].as_u64(), message(&mut reader)["seq"].as_u64()),
        (Some(1), Some(2))
    );
    cluster.server.lose_disk();
    for broker in &cluster.brokers {
        broker.wait_for_metric("altavoz_cluster_connects_total", 2.0, PATIENCE);
        broker.wait_for_metric("altavoz_stream_ready", 1.0, PATIENCE);
    }
    let again = answer(&mut publisher, publish);
    assert_eq!(again["ok"]["seq"], 1, "{again}");
    assert_ne!(again["ok"]["epoch"], first["ok"]["epoch"]);
    let told: Value = serde_json::from_str(&reader.receive_text()).expect("JSON");
    assert_eq!(told["epoch"]["epoch"], again["ok"]["epoch"], "{told}");
    assert_eq!(message(&mut reader)["seq"], 1);
}

/// What was published before it started is history, and not news.
#[test]
fn a_node_that_starts_lets_clients_in_when_it_has_read_what_there_is() {
    const MESSAGES: u64 = 3_000;
    let Some(mut cluster) = Cluster::start() else { return };
    let mut publisher = client(&cluster.brokers[0]);
    for number in 1..=MESSAGES {
        let publish = format!(r#"{{"id":1,"op":"publish","topic":"room/1","data":{number}}}"#);
        publisher.send_text(&publish).expect("it is open");
    }
    for number in 1..=MESSAGES {
        let answer: Value = serde_json::from_str(&publisher.receive_text()).expect("JSON");
        assert_eq!(answer["ok"]["seq"], number, "{answer}");
    }
    drop(cluster.brokers.pop());
    let late = node(&cluster.server.url(), "d", &[]);
    let deadline = Instant::now() + PATIENCE;
    let mut refused = 0;
    let mut early = loop {
        match WsClient::connect(late.address(), "/ws", &[]) {
            Ok(client) => break client,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        refused += 1;
    };
    let subscribed = answer(&mut early, r#"{"id":1,"op":"subscribe","topic":"room/1"}"#);
    assert_eq!(subscribed["ok"]["seq"], MESSAGES, "after {refused} refusals");
    let more = early.receive(Duration::from_millis(300));
    assert!(matches!(more, None | Some(Received::Ping(_))), "{more:?}");
}
