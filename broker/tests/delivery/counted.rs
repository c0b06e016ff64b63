//! What a publisher is told of its audience, and what became of the messages of each subscription.

use serde_json::Value;

use crate::feed;
use crate::support::broker::Broker;
use crate::support::ws_client::PATIENCE;
use crate::viewer::{Viewer, publish_all};

/// The account of a subscription; fails unless it closes.
fn account(viewer: &mut Viewer, filter: &str) -> [u64; 7] {
    let answer = viewer.answer(&format!(r#"{{"id":9,"op":"stats","topic":"{filter}"}}"#));
    let value: Value = serde_json::from_str(&answer).expect("answers are JSON");
    let names = ["matched", "sent", "conflated", "filtered", "dropped", "skipped", "pending"];
    let numbers = names.map(|name| value["ok"][name].as_u64().expect("a number"));
    assert_eq!(numbers[0], numbers[1..].iter().sum::<u64>(), "{answer}");
    numbers
}

#[test]
fn a_publish_that_asks_is_told_how_many_subscriptions_it_matched() {
    let broker = Broker::start(&["--workers", "2"]);
    let mut viewers: Vec<Viewer> = (0..6).map(|_| Viewer::connect(&broker)).collect();
    for (at, filter) in [(0, "a/x"), (1, "a/x"), (2, "a/+"), (3, "#"), (4, "a/y"), (5, "b/+")] {
        viewers[at].answer(&format!(r#"{{"id":1,"op":"subscribe","topic":"{filter}"}}"#));
    }
    // A second one of the same connection counts, and so does one that is paused.
    viewers[3].answer(r#"{"id":2,"op":"subscribe","topic":"a/x"}"#);
    viewers[1].answer(r#"{"id":2,"op":"pause","topic":"a/x"}"#);
    let mut publisher = Viewer::connect(&broker);
    let mut count = |topic: &str| {
        let command =
            format!(r#"{{"id":3,"op":"publish","topic":"{topic}","data":1,"count":true}}"#);
        let answer = publisher.answer(&command);
        let count = answer.split_once(r#""level":"accepted","subscribers":"#).expect("a count").1;
        count.trim_end_matches('}').parse::<u64>().expect("a number")
    };
    assert_eq!(count("a/x"), 5);
    assert_eq!(count("a/y"), 3);
    assert_eq!(count("nobody/else"), 1);
    viewers[3].answer(r#"{"id":4,"op":"unsubscribe","topic":"a/x"}"#);
    assert_eq!(count("a/x"), 4);
    drop(viewers);
    broker.wait_for_metric("altavoz_subscriptions", 0.0, PATIENCE);
    assert_eq!(count("a/x"), 0);
}

#[test]
fn every_subscription_has_its_own_account() {
    let broker = Broker::start(&["--workers", "1"]);
    let mut publisher = feed::connect(broker.address());
    publish_all(&mut publisher, "b", 1..=2);
    let mut viewer = Viewer::connect(&broker);
    viewer.answer(r#"{"id":1,"op":"subscribe","topic":"c","mode":"latest","max_rate":0.01}"#);
    viewer.answer(r#"{"id":1,"op":"subscribe","topic":"a"}"#);
    viewer.answer(r#"{"id":1,"op":"subscribe","topic":"b","last":true}"#);
    viewer.answer(r#"{"id":1,"op":"subscribe","topic":"+"}"#);
    publish_all(&mut publisher, "a", 1..=10);
    viewer.answer(r#"{"id":2,"op":"unsubscribe","topic":"+"}"#);
    viewer.answer(r#"{"id":2,"op":"pause","topic":"a"}"#);
    publish_all(&mut publisher, "a", 1..=5);
    publish_all(&mut publisher, "b", 1..=3);
    publish_all(&mut publisher, "c", 1..=4);
    // matched, sent, conflated, filtered, dropped, skipped, pending
    assert_eq!(account(&mut viewer, "a"), [15, 10, 0, 0, 0, 5, 0]);
    assert_eq!(account(&mut viewer, "b"), [4, 4, 0, 0, 0, 0, 0]);
    assert_eq!(account(&mut viewer, "c"), [4, 1, 2, 0, 0, 0, 1]);
    let answer = viewer.answer(r#"{"id":3,"op":"stats","topic":"+"}"#);
    assert!(answer.contains("bad_request"), "{answer}");
    let stats = viewer.stats();
    assert_eq!((stats.sent, stats.conflated, stats.skipped, stats.pending), (15, 2, 5, 1));
    let messages = viewer.early().iter().filter(|text| text.starts_with(r#"{"topic""#)).count();
    assert_eq!(messages, 15);
}

#[test]
fn what_two_subscriptions_match_is_sent_by_one_and_filtered_in_the_other() {
    let broker = Broker::start(&["--workers", "1"]);
    let mut publisher = feed::connect(broker.address());
    let mut viewer = Viewer::connect(&broker);
    viewer.answer(r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    viewer.answer(r#"{"id":1,"op":"subscribe","topic":"+"}"#);
    viewer.answer(r##"{"id":1,"op":"subscribe","topic":"#","mode":"latest"}"##);
    publish_all(&mut publisher, "t", 1..=20);
    let accounts = ["t", "+", "#"].map(|filter| account(&mut viewer, filter));
    let (sent, filtered) = accounts.iter().fold((0, 0), |(sent, filtered), account| {
        assert_eq!(account[0], 20);
        (sent + account[1], filtered + account[3])
    });
    assert_eq!((sent, filtered), (20, 40));
    assert_eq!(viewer.stats().sent, 20);
}
