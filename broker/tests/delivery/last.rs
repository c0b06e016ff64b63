//! The last value: of one topic, of many under a filter, by key, and of bytes in both protocols.

use std::collections::HashMap;

use broker_proto::ws::Opcode;

use crate::feed::{self, Message, publish};
use crate::support::broker::Broker;
use crate::support::ws_client::{PATIENCE, Received, WsClient};
use crate::viewer::{Viewer, publish_all};

const LAST: &str = r#"{"id":1,"op":"subscribe","topic":"t","last":true}"#;

fn binary_client(broker: &Broker) -> WsClient {
    WsClient::connect(broker.address(), "/ws", &["altavoz.v1.bin"])
        .expect("the broker takes a handshake")
}

fn receive_binary(client: &mut WsClient) -> Vec<u8> {
    match client.receive(PATIENCE) {
        Some(Received::Binary(bytes)) => bytes,
        other => panic!("expected a binary message, got {other:?}"),
    }
}

#[test]
fn a_subscription_begins_with_the_last_value() {
    let broker = Broker::start(&["--workers", "1", "--history-messages", "0"]);
    let mut publisher = feed::connect(broker.address());
    // A topic without a value begins with nothing.
    let (mut early, _) = Viewer::subscribe(&broker, LAST);
    publish_all(&mut publisher, "t", 1..=3);
    assert_eq!(early.next(), r#"{"topic":"t","seq":1,"data":1}"#);
    let (mut viewer, answer) = Viewer::subscribe(&broker, LAST);
    assert!(answer.ends_with(r#","seq":3}}"#), "{answer}");
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":3,"data":3}"#);
    publish(&mut publisher, "t", "4");
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":4,"data":4}"#);
    // Who did not ask begins with what is live.
    let (mut other, _) =
        Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"t","last":false}"#);
    publish(&mut publisher, "t", "5");
    assert_eq!(other.next(), r#"{"topic":"t","seq":5,"data":5}"#);
}

#[test]
fn where_no_last_value_is_kept_none_comes() {
    let broker = Broker::start(&["--workers", "1", "--history-messages", "0", "--last-ms", "0"]);
    let (_witness, _) = Viewer::subscribe(&broker, LAST);
    let mut publisher = feed::connect(broker.address());
    publish_all(&mut publisher, "t", 1..=3);
    let (mut viewer, _) = Viewer::subscribe(&broker, LAST);
    publish(&mut publisher, "t", "4");
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":4,"data":4}"#);
}

/// Live messages come in between, but never an older one after a newer.
#[test]
fn a_filter_begins_with_the_last_value_of_every_topic() {
    const TOPICS: u64 = 300;
    for workers in ["1", "2"] {
        let broker = Broker::start(&["--workers", workers, "--pin", "false"]);
        let mut publisher = feed::connect(broker.address());
        for topic in 0..TOPICS {
            publish_all(&mut publisher, &format!("p/{topic}"), 1..=2);
        }
        publish_all(&mut publisher, "elsewhere", 1..=2);
        let (mut viewer, answer) =
            Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"p/+","last":true}"#);
        assert!(answer.starts_with(r#"{"id":1,"ok":{"topic":"p/+","epoch":""#), "{answer}");
        for topic in (0..TOPICS).step_by(10) {
            publish_all(&mut publisher, &format!("p/{topic}"), 3..=4);
        }
        let wanted = |topic: u64| if topic.is_multiple_of(10) { 4 } else { 2 };
        let mut seen: HashMap<String, u64> = HashMap::new();
        while (0..TOPICS).any(|topic| seen.get(&format!("p/{topic}")) != Some(&wanted(topic))) {
            let text = viewer.next();
            let message = Message::parse(&text).expect("only messages come");
            assert_eq!(message.data, message.seq.to_string(), "{text}");
            assert!(message.seq >= 2, "not the last: {text}");
            if let Some(before) = seen.insert(message.topic.to_owned(), message.seq) {
                assert_eq!(message.seq, before + 1, "{text}");
            }
        }
        assert_eq!(seen.len() as u64, TOPICS);
    }
}

#[test]
fn with_a_key_the_last_value_of_each_comes() {
    let broker = Broker::start(&["--workers", "1"]);
    let mut publisher = feed::connect(broker.address());
    for (symbol, price) in [("A", 1), ("B", 2), ("A", 3), ("C", 4), ("A", 5)] {
        publish(&mut publisher, "t", &format!(r#"{{"symbol":"{symbol}","price":{price}}}"#));
    }
    let (mut viewer, _) = Viewer::subscribe(
        &broker,
        r#"{"id":1,"op":"subscribe","topic":"t","last":true,"mode":"latest","key":"/symbol"}"#,
    );
    for expected in [
        r#"{"topic":"t","seq":2,"data":{"symbol":"B","price":2}}"#,
        r#"{"topic":"t","seq":4,"data":{"symbol":"C","price":4}}"#,
        r#"{"topic":"t","seq":5,"data":{"symbol":"A","price":5}}"#,
    ] {
        assert_eq!(viewer.next(), expected);
    }
    publish(&mut publisher, "t", r#"{"symbol":"C","price":6}"#);
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":6,"data":{"symbol":"C","price":6}}"#);
}

/// Bytes are bytes, live and kept, whoever publishes them and whoever asks.
#[test]
fn bytes_arrive_as_bytes_from_either_protocol() {
    let broker = Broker::start(&["--workers", "1"]);
    let mut raw = binary_client(&broker);
    raw.send_frame(Opcode::Binary, b"\x82\x01\x01t").expect("it is open");
    assert!(receive_binary(&mut raw).starts_with(b"\x82\x01\x02\x01t\x01"));
    let (mut json, _) = Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"t"}"#);

    let answer = json.answer(r#"{"id":2,"op":"publish","topic":"t","base64":"/9j/4AAQ"}"#);
    assert!(answer.ends_with(r#","seq":1,"level":"accepted"}}"#), "{answer}");
    let from_json = b"\x01\x01t\x01\xff\xd8\xff\xe0\x00\x10";
    assert_eq!(receive_binary(&mut raw), from_json);
    let text = r#"{"topic":"t","seq":1,"data":null,"base64":"/9j/4AAQ"}"#;
    assert_eq!(json.next(), text);

    let mut late = binary_client(&broker);
    late.send_frame(Opcode::Binary, b"\x82\x01\x01t{\"last\":true}").expect("it is open");
    assert!(receive_binary(&mut late).starts_with(b"\x82\x01\x02\x01t\x01"));
    assert_eq!(receive_binary(&mut late), from_json);

    raw.send_frame(Opcode::Binary, b"\x01\x01t\x00\xfe\"").expect("it is open");
    let from_raw = r#"{"topic":"t","seq":2,"data":null,"base64":"AP4i"}"#;
    assert_eq!(json.next(), from_raw);
    for client in [&mut raw, &mut late] {
        assert_eq!(receive_binary(client), b"\x01\x01t\x02\x00\xfe\"");
    }
    let (mut late_json, _) = Viewer::subscribe(&broker, LAST);
    assert_eq!(late_json.next(), from_raw);

    let kept = json.answer(r#"{"id":3,"op":"history","topic":"t"}"#);
    let messages = concat!(
        r#""messages":[{"seq":1,"data":null,"base64":"/9j/4AAQ"},"#,
        r#"{"seq":2,"data":null,"base64":"AP4i"}]}}"#
    );
    assert!(kept.ends_with(messages), "{kept}");
    raw.send_frame(Opcode::Binary, b"\x88\x09\x01t\x00").expect("it is open");
    let kept = receive_binary(&mut raw);
    assert!(kept.starts_with(b"\x82\x09\x08\x01t"), "{kept:02x?}");
    let messages = b"\x02\x02\x01\x00\x06\xff\xd8\xff\xe0\x00\x10\x02\x00\x03\x00\xfe\"";
    assert!(kept.ends_with(messages), "{kept:02x?}");
}
