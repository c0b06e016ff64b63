//! Mode `latest`: the newest of a topic or key, at most so often, whatever is published.

use std::time::{Duration, Instant};

use crate::feed::{self, Message, publish};
use crate::support::broker::Broker;
use crate::viewer::{LiveFeed, Viewer, broker_with, publish_all};

/// Reads until the message with this data has come; how many came.
fn read_until(viewer: &mut Viewer, data: &str) -> u64 {
    let (mut count, mut last) = (0, 0);
    loop {
        let text = viewer.next();
        let message = Message::parse(&text).unwrap_or_else(|| panic!("{text}"));
        assert!(message.seq > last, "after {last} came {text}");
        last = message.seq;
        count += 1;
        if message.data == data {
            return count;
        }
    }
}

#[test]
fn of_a_fast_feed_few_come_but_always_the_newest() {
    const RATE: f64 = 5.0;
    let broker = Broker::start(&["--workers", "1"]);
    let command = r#"{"id":1,"op":"subscribe","topic":"t","mode":"latest","max_rate":5}"#;
    let (mut viewer, _) = Viewer::subscribe(&broker, command);
    let begin = Instant::now();
    let live = LiveFeed::start(&broker, "t", Duration::from_millis(1));
    std::thread::sleep(Duration::from_secs(2));
    let published = live.stop();
    let mut publisher = feed::connect(broker.address());
    let last = publish(&mut publisher, "t", "\"the end\"");
    assert_eq!(last, published + 1);
    let count = read_until(&mut viewer, "\"the end\"");
    let most = begin.elapsed().as_secs_f64() * RATE + 2.0;
    assert!((count as f64) < most, "{count} came, at most {most} may");
    assert!(count >= 2, "the first at once and the newest at last");
    assert!(last > count * 5, "the feed was not fast: nothing is shown");
    let stats = viewer.stats();
    assert_eq!((stats.matched, stats.sent, stats.pending), (last, count, 0));
    assert_eq!(stats.conflated, last - count);
}

/// The first goes out at once, and of what waits the newest when it may.
#[test]
fn another_rate_holds_from_the_next_subscribe_on() {
    let broker = Broker::start(&["--workers", "1"]);
    let at = |rate: &str| {
        format!(r#"{{"id":1,"op":"subscribe","topic":"t","mode":"latest","max_rate":{rate}}}"#)
    };
    // One in a quarter of an hour.
    let (mut viewer, _) = Viewer::subscribe(&broker, &at("0.001"));
    let mut publisher = feed::connect(broker.address());
    publish_all(&mut publisher, "t", 1..=10);
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":1,"data":1}"#);
    let stats = viewer.stats();
    assert_eq!((stats.sent, stats.conflated, stats.pending), (1, 8, 1));
    let answer = viewer.answer(&at("50"));
    assert!(answer.starts_with(r#"{"id":1,"ok":"#), "{answer}");
    publish_all(&mut publisher, "t", 11..=20);
    read_until(&mut viewer, "20");
    publish_all(&mut publisher, "t", 21..=30);
    read_until(&mut viewer, "30");
    let answer = viewer.answer(&at("0.001"));
    assert!(answer.starts_with(r#"{"id":1,"ok":"#), "{answer}");
    publish_all(&mut publisher, "t", 31..=40);
    // And from mode `latest` to all of them.
    let answer = viewer.answer(r#"{"id":1,"op":"subscribe","topic":"t","mode":"all"}"#);
    assert!(answer.ends_with(r#","seq":40}}"#), "{answer}");
    let before = viewer.early();
    assert!(before.len() <= 2, "{before:?}");
    publish_all(&mut publisher, "t", 41..=42);
    let mut text = viewer.next();
    if text == r#"{"topic":"t","seq":40,"data":40}"# {
        text = viewer.next(); // it waited
    }
    assert_eq!(text, r#"{"topic":"t","seq":41,"data":41}"#);
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":42,"data":42}"#);
    assert_eq!(viewer.stats().matched, 42);
}

#[test]
fn each_key_has_its_own_newest() {
    const ROUNDS: u64 = 50;
    let broker = Broker::start(&["--workers", "1"]);
    let command =
        r#"{"id":1,"op":"subscribe","topic":"t","mode":"latest","max_rate":4,"key":"/of/0"}"#;
    let (mut viewer, _) = Viewer::subscribe(&broker, command);
    let mut publisher = feed::connect(broker.address());
    let mut burst = Vec::new();
    for round in 1..=ROUNDS {
        for key in ["a", "b", "c"] {
            let data = format!(r#"{{"of":["{key}"],"n":{round}}}"#);
            burst.extend(feed::publish_frame("t", &data));
        }
    }
    publisher.send_raw(&burst).expect("it is open");
    let mut missing = vec!["a", "b", "c"];
    let mut count = 0;
    while !missing.is_empty() {
        let text = viewer.next();
        count += 1;
        missing.retain(|key| !text.ends_with(&format!(r#"{{"of":["{key}"],"n":{ROUNDS}}}}}"#)));
        if count <= 3 {
            assert!(text.ends_with(r#""n":1}}"#), "the first of each comes at once: {text}");
        }
    }
    assert!(count < 3 * ROUNDS / 2, "{count} came: nothing was conflated");
    let stats = viewer.stats();
    assert_eq!((stats.matched, stats.sent, stats.pending), (3 * ROUNDS, count, 0));
    assert_eq!(stats.conflated, 3 * ROUNDS - count);
}

#[test]
fn a_rule_can_make_it_the_mode_of_whoever_asks_for_none() {
    let broker = broker_with(
        r#"
        [[topic]]
        filter = "ticker/#"
        mode = "latest"
        max_rate = 0.001
        "#,
        &["--workers", "1"],
    );
    let subscribe = |rest: &str| format!(r#"{{"id":1,"op":"subscribe","topic":"ticker/A"{rest}}}"#);
    let (mut unasked, _) = Viewer::subscribe(&broker, &subscribe(""));
    let (mut all, _) = Viewer::subscribe(&broker, &subscribe(r#","mode":"all""#));
    let mut publisher = feed::connect(broker.address());
    publish_all(&mut publisher, "ticker/A", 1..=10);
    assert_eq!(unasked.next(), r#"{"topic":"ticker/A","seq":1,"data":1}"#);
    for seq in 1..=10 {
        assert_eq!(all.next(), format!(r#"{{"topic":"ticker/A","seq":{seq},"data":{seq}}}"#));
    }
    let stats = unasked.stats();
    assert_eq!((stats.sent, stats.conflated, stats.pending), (1, 8, 1));
}
