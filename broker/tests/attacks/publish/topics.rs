//! Names: too long, too deep, forbidden characters, and very many of them.

use std::time::Duration;

use broker_proto::ws::{Opcode, encode_masked_frame};

use super::feed::{Ledger, await_metric, connect, publish, subscribe, subscriber, sync};
use super::{demand_nothing_came, error_code};
use crate::canary::Canary;
use crate::guard::{alone, attack};
use crate::support::broker::Broker;
use crate::support::ws_client::{PATIENCE, Received, WsClient};

const BIN: &str = "altavoz.v1.bin";
/// More than 64 KiB, so that a topic of that length arrives at all.
const LONG_MESSAGES: [&str; 2] = ["--message-bytes-max", "131072"];

/// Tries to subscribe to and to publish on a topic; the codes of both errors.
fn refused(client: &mut WsClient, topic: &str) -> [String; 2] {
    let subscribe = format!(r#"{{"id":7,"op":"subscribe","topic":"{topic}"}}"#);
    let publish = format!(r#"{{"id":8,"op":"publish","topic":"{topic}","data":0}}"#);
    [error_code(&client.command(&subscribe), 7), error_code(&client.command(&publish), 8)]
}

#[test]
fn p_01_a_topic_has_1_to_255_bytes() {
    attack(&LONG_MESSAGES, |broker| {
        let mut client = connect(broker.address());
        for topic in ["", &"x".repeat(256), &"é".repeat(128), &"x".repeat(64 * 1024)] {
            assert_eq!(refused(&mut client, topic), ["bad_topic"; 2], "{} bytes", topic.len());
        }
        for topic in ["x", &"x".repeat(255), &format!("{}x", "é".repeat(127))] {
            let mut watcher = subscriber(broker.address(), topic);
            assert_eq!(publish(&mut client, topic, "0"), 1, "{} bytes", topic.len());
            assert_eq!(
                watcher.receive_text(),
                format!(r#"{{"topic":"{topic}","seq":1,"data":0}}"#)
            );
        }
        drop(client);
        []
    });
}

#[test]
fn p_02_levels_without_end_are_an_error() {
    attack(&LONG_MESSAGES, |broker| {
        let mut client = connect(broker.address());
        for topic in [&"/".repeat(65_400), &"/".repeat(255), &"/".repeat(32), &"a/".repeat(32)] {
            assert_eq!(refused(&mut client, topic), ["bad_topic"; 2], "{} bytes", topic.len());
        }
        let answer = client
            .command(&format!(r#"{{"id":7,"op":"subscribe","topic":"{}+"}}"#, "+/".repeat(32)));
        assert_eq!(error_code(&answer, 7), "bad_topic");
        // As deep as may be, with every filter that could make a search branch at every level.
        let deepest = "/".repeat(31);
        let filters =
            [format!("{}+", "+/".repeat(31)), format!("{}#", "+/".repeat(31)), "#".into()];
        for filter in &filters {
            subscribe(&mut client, filter);
        }
        for seq in 1..=100 {
            assert_eq!(publish(&mut connect(broker.address()), &deepest, "0"), seq);
        }
        // `#` sees the canary too, if that began to publish after the subscription.
        while !client.receive_text().starts_with(&format!(r#"{{"topic":"{deepest}","seq":100,"#)) {}
        drop(client);
        []
    });
}

#[test]
fn p_03_what_a_topic_must_not_hold_reaches_nobody() {
    attack(&[], |broker| {
        let mut watcher = subscriber(broker.address(), "a/#");
        let mut client = connect(broker.address());
        let escaped = [
            "\\u0000",
            "\\u0001",
            "\\u001f",
            "\\u007f",
            "\\u0085",
            "\\u009f",
            "\\ufffe",
            "\\uffff",
            "\\ufdd0",
            "\\ud83f\\udffe",
            "\\u200e",
            "\\u200f",
            "\\u061c",
            "\\u202a",
            "\\u202e",
            "\\u2066",
            "\\u2069",
            "\\n",
            "\\t",
        ];
        for text in escaped {
            let topic = format!("a/b{text}");
            assert_eq!(refused(&mut client, &topic), ["bad_topic"; 2], "{text}");
        }
        // The same without an escape, where JSON lets it stand.
        for text in
            ["\u{7f}", "\u{85}", "\u{fffe}", "\u{fdd0}", "\u{1fffe}", "\u{202e}", "\u{2067}"]
        {
            let topic = format!("a/{text}");
            assert_eq!(refused(&mut client, &topic), ["bad_topic"; 2], "{topic:?}");
        }
        demand_nothing_came(broker, &mut watcher, "a/ok");
        drop((client, watcher));
        []
    });
}

#[test]
fn p_03_a_topic_that_is_not_utf_8_is_an_error_in_binary_and_closes_in_text() {
    attack(&[], |broker| {
        let mut watcher = subscriber(broker.address(), "+");
        let mut client = WsClient::connect(broker.address(), "/ws", &[BIN]).expect("it upgrades");
        // Publish and subscribe with id 7; topics "\xC0\xAF", "a\xFF", "\xED\xA0\x80", "\xE2\x82".
        for topic in [&b"\xC0\xAF"[..], b"a\xFF", b"\xED\xA0\x80", b"\xE2\x82"] {
            for kind in [0x81, 0x82] {
                let command = [&[kind, 7, topic.len() as u8], topic].concat();
                client.send_frame(Opcode::Binary, &command).expect("it is open");
                match client.receive(PATIENCE) {
                    // Error, id 7, code 5: bad_topic.
                    Some(Received::Binary(answer)) => assert_eq!(answer[..3], [0x83, 7, 5]),
                    other => panic!("{topic:x?}: {other:?}"),
                }
            }
        }
        // A length that goes past the end is no topic either: bad_request.
        client.send_frame(Opcode::Binary, &[0x81, 7, 200, b'a']).expect("it is open");
        let answer = client.receive(PATIENCE);
        assert!(
            matches!(&answer, Some(Received::Binary(a)) if a[..3] == [0x83, 7, 1]),
            "{answer:?}"
        );

        let mut client = connect(broker.address());
        let command = b"{\"id\":7,\"op\":\"publish\",\"topic\":\"a\xC0\xAF\",\"data\":0}";
        client.send_frame(Opcode::Text, command).expect("it is open");
        assert_eq!(client.receive_close().0, 1007);
        demand_nothing_came(broker, &mut watcher, "ok");
        []
    });
}

/// The row's million cycles, scaled down: three equal rounds, of which the last may not leave the
/// broker with more memory than the second.
#[test]
fn p_09_subscribing_and_unsubscribing_for_ever_leaves_nothing() {
    const CYCLES: usize = 50_000;
    let _room = alone();
    let settings = ["--topic-linger-ms", "2000", "--commands-per-second-max", "10000000"];
    let broker = Broker::start(&[&settings[..], &["--workers", "2"]].concat());
    let canary = Canary::start(&broker);
    // The canary's topic and the broker's own stay.
    broker.wait_for_metric("altavoz_topics", 2.0, PATIENCE);
    let mut allocated = Vec::new();
    for round in 0..3 {
        let mut client = connect(broker.address());
        churn(&mut client, round, CYCLES);
        assert!(broker.metrics("altavoz_subscriptions") <= 1.0, "only the canary's is left");
        drop(client);
        // The number is brought up to date once a second.
        await_metric(&broker, "altavoz_topics", |topics| topics > 2.0);
        broker.wait_for_metric("altavoz_topics", 2.0, PATIENCE);
        allocated.push(broker.metrics("altavoz_allocated_bytes"));
    }
    let commands = broker.metrics("altavoz_commands_total");
    assert!(commands >= (6 * CYCLES) as f64, "{commands} commands");
    println!("allocated after each round of {CYCLES} cycles: {allocated:?} bytes");
    let growth = allocated[2] - allocated[1];
    assert!(growth < 1024.0 * 1024.0, "{allocated:?}");
    canary.finish();
}

/// Subscribes to and unsubscribes from as many topics, some of them filters.
fn churn(client: &mut WsClient, round: usize, cycles: usize) {
    let mut frames = Vec::new();
    for cycle in 0..cycles {
        let topic = match cycle % 10 {
            0 => format!("churn/{round}/{cycle}/+"),
            1 => format!("churn/{cycle}/#"),
            _ => format!("churn/{round}/{cycle}"),
        };
        for op in ["subscribe", "unsubscribe"] {
            let command = format!(r#"{{"op":"{op}","topic":"{topic}"}}"#);
            encode_masked_frame(&mut frames, Opcode::Text, command.as_bytes(), [5, 6, 7, 8]);
        }
        if frames.len() > 64 * 1024 {
            client.send_raw(&frames).expect("the broker reads commands");
            frames.clear();
        }
    }
    client.send_raw(&frames).expect("the broker reads commands");
    sync(client);
}

/// The row's million topics, scaled down to a hundred thousand.
#[test]
fn p_10_very_many_topics_cost_little_and_are_given_back() {
    const CONNECTIONS: usize = 100;
    const TOPICS_EACH: usize = 1000;
    const TOPICS: f64 = (CONNECTIONS * TOPICS_EACH) as f64;
    let _room = alone();
    let broker = Broker::start(&[
        "--topic-linger-ms",
        "2000",
        "--commands-per-second-max",
        "10000000",
        "--workers",
        "2",
        "--history-messages",
        "0",
        "--last-ms",
        "0",
    ]);
    let canary = Canary::start(&broker);
    let mut clients: Vec<WsClient> = (0..CONNECTIONS).map(|_| connect(broker.address())).collect();
    clients.iter_mut().for_each(sync);
    let before = broker.metrics("altavoz_allocated_bytes");
    for (number, client) in clients.iter_mut().enumerate() {
        let mut frames = Vec::new();
        for topic in 0..TOPICS_EACH {
            let command =
                format!(r#"{{"op":"subscribe","topic":"sensor/{number}/{topic}/celsius"}}"#);
            encode_masked_frame(&mut frames, Opcode::Text, command.as_bytes(), [5, 6, 7, 8]);
        }
        client.send_raw(&frames).expect("the broker reads commands");
        sync(client);
    }
    broker.wait_for_metric("altavoz_topics", TOPICS + 2.0, PATIENCE);
    let held = broker.metrics("altavoz_allocated_bytes") - before;
    let each = held / TOPICS;
    println!("{each:.0} bytes for a topic with a subscriber, of {TOPICS} topics");
    assert!(each < 600.0, "{each} bytes a topic");

    // Every one of them works.
    let mut publisher = connect(broker.address());
    for (number, client) in clients.iter_mut().enumerate() {
        let topic = format!("sensor/{number}/{}/celsius", (number * 37) % TOPICS_EACH);
        assert_eq!(publish(&mut publisher, &topic, "21.5"), 1);
        Ledger::default().read(client, 1);
    }

    clients.clear();
    drop(publisher);
    broker.wait_for_metric("altavoz_subscriptions", 1.0, PATIENCE);
    broker.wait_for_metric("altavoz_topics", 2.0, Duration::from_secs(30));
    let left = broker.metrics("altavoz_allocated_bytes") - before;
    println!("{left:.0} of {held:.0} bytes are left when they are gone");
    assert!(left < held / 4.0, "{left} of {held} bytes are left");
    canary.finish();
}
