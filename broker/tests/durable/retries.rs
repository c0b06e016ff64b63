//! Publishes that come again, by their `msg_id`, on topics where a publisher waits for the disk.

use std::collections::HashMap;

use serde_json::Value;

use super::http::post;
use super::support::ws_client::WsClient;
use super::{Place, feed, json, kill, recover};

const AGAIN: &str = r#""op":"publish","topic":"d/r","data":7,"msg_id":"once""#;

/// Publishes the same so often without waiting in between; the answers, by their ids.
fn publish_at_once(client: &mut WsClient, count: u64) -> HashMap<u64, Value> {
    let commands: Vec<String> = (1..=count).map(|id| format!(r#"{{"id":{id},{AGAIN}}}"#)).collect();
    client.send_text(&format!("[{}]", commands.join(","))).expect("the broker reads");
    let answers = (0..count).map(|_| json(&client.receive_text()));
    answers.map(|answer| (answer["id"].as_u64().expect("it has an id"), answer)).collect()
}

#[test]
fn a_retry_gets_the_place_of_the_first_or_is_told_to_ask_again_until_the_broker_ends() {
    let place = Place::new();
    let broker = place.start();
    let mut client = feed::connect(broker.address());
    let answers = publish_at_once(&mut client, 20);
    let first = &answers[&1]["ok"];
    assert_eq!((&first["seq"], &first["level"]), (&1.into(), &"durable".into()), "{answers:?}");
    for answer in answers.values() {
        // Those that came before the first was on disk can't be told its place.
        let is_told = &answer["ok"] == first || answer["error"]["code"] == "unavailable";
        assert!(is_told, "{answer}");
    }
    let mut other = feed::connect(broker.address());
    for client in [&mut client, &mut other] {
        assert_eq!(&publish_at_once(client, 1)[&1]["ok"], first);
    }
    let body = r#"{"topic":"d/r","data":7,"msg_id":"once"}"#;
    let told = json(&post(&broker, "", body).text());
    assert_eq!((&told["seq"], &told["level"]), (&1.into(), &"durable".into()), "{told}");
    let epoch = first["epoch"].as_str().expect("an epoch is text").to_owned();
    kill(broker);

    // The messages are on disk, the ids are not.
    let broker = place.start();
    assert_eq!(recover(&broker, "d/r", &epoch, 0).1, [(1, 7.into())]);
    let mut client = feed::connect(broker.address());
    assert_eq!(publish_at_once(&mut client, 1)[&1]["ok"]["seq"], 2);
}
