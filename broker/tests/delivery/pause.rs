//! A pause: nothing comes, nothing is kept for later, and afterwards it goes on with the newest.

use std::thread;
use std::time::Duration;

use crate::feed::{self, publish};
use crate::support::broker::Broker;
use crate::viewer::{Viewer, publish_all};

#[test]
fn a_topic_goes_on_with_its_newest_after_a_pause() {
    let broker = Broker::start(&["--workers", "1"]);
    let (mut viewer, _) = Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    let mut publisher = feed::connect(broker.address());
    publish_all(&mut publisher, "t", 1..=3);
    for seq in 1..=3 {
        assert_eq!(viewer.next(), format!(r#"{{"topic":"t","seq":{seq},"data":{seq}}}"#));
    }
    let answer = viewer.answer(r#"{"id":2,"op":"pause","topic":"t"}"#);
    assert_eq!(answer, r#"{"id":2,"ok":{"topic":"t"}}"#);
    publish_all(&mut publisher, "t", 4..=503);
    let answer = viewer.answer(r#"{"id":3,"op":"resume","topic":"t"}"#);
    assert_eq!(answer, r#"{"id":3,"ok":{"topic":"t","skipped":500}}"#);
    assert_eq!(viewer.early(), Vec::<String>::new());
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":503,"data":503}"#);
    publish_all(&mut publisher, "t", 504..=510);
    for seq in 504..=510 {
        assert_eq!(viewer.next(), format!(r#"{{"topic":"t","seq":{seq},"data":{seq}}}"#));
    }
    // The newest counts twice: as skipped, and as sent when it was over.
    let stats = viewer.stats();
    assert_eq!((stats.sent, stats.skipped, stats.pending), (3 + 1 + 7, 500, 0));
}

#[test]
fn a_pause_in_which_nothing_happened_has_no_trace() {
    let broker = Broker::start(&["--workers", "1"]);
    let (mut viewer, _) = Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    let mut publisher = feed::connect(broker.address());
    publish(&mut publisher, "t", "1");
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":1,"data":1}"#);
    viewer.answer(r#"{"id":2,"op":"pause","topic":"t"}"#);
    let answer = viewer.answer(r#"{"id":3,"op":"resume","topic":"t"}"#);
    assert_eq!(answer, r#"{"id":3,"ok":{"topic":"t","skipped":0}}"#);
    publish(&mut publisher, "t", "2");
    assert_eq!(viewer.next(), r#"{"topic":"t","seq":2,"data":2}"#);
}

#[test]
fn under_a_filter_only_the_topics_that_had_messages_go_on_with_their_newest() {
    for workers in ["1", "2"] {
        let broker = Broker::start(&["--workers", workers, "--pin", "false"]);
        let (mut viewer, _) =
            Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"p/+"}"#);
        let mut publisher = feed::connect(broker.address());
        for topic in ["p/a", "p/b", "p/silent"] {
            publish(&mut publisher, topic, "1");
            assert_eq!(viewer.next(), format!(r#"{{"topic":"{topic}","seq":1,"data":1}}"#));
        }
        // The pause begins in a later millisecond than what came before it.
        thread::sleep(Duration::from_millis(20));
        viewer.answer(r#"{"id":2,"op":"pause","topic":"p/+"}"#);
        publish_all(&mut publisher, "p/a", 2..=5);
        publish_all(&mut publisher, "p/b", 2..=3);
        publish_all(&mut publisher, "p/new", 1..=2);
        publish_all(&mut publisher, "elsewhere", 1..=9);
        // On another worker the last of them may be on its way still.
        let skipped = |answer: &str| -> u64 {
            let (_, rest) = answer.split_once(r#""skipped":"#).expect("it says so");
            rest.trim_end_matches('}').parse().expect("a number")
        };
        let skipped = skipped(&viewer.answer(r#"{"id":3,"op":"resume","topic":"p/+"}"#));
        assert!(skipped <= 8, "{skipped}");
        if workers == "1" {
            assert_eq!(skipped, 8);
        }
        let mut newest = [viewer.next(), viewer.next(), viewer.next()];
        newest.sort();
        if workers == "1" {
            let expected = [
                r#"{"topic":"p/a","seq":5,"data":5}"#,
                r#"{"topic":"p/b","seq":3,"data":3}"#,
                r#"{"topic":"p/new","seq":2,"data":2}"#,
            ];
            assert_eq!(newest, expected);
        }
        // And all of them go on from there.
        publish_all(&mut publisher, "p/silent", 2..=2);
        let mut text = viewer.next();
        while workers == "2" && !text.contains("silent") {
            text = viewer.next();
        }
        assert_eq!(text, r#"{"topic":"p/silent","seq":2,"data":2}"#);
        publish_all(&mut publisher, "p/a", 6..=7);
        assert_eq!(viewer.next(), r#"{"topic":"p/a","seq":6,"data":6}"#);
        assert_eq!(viewer.next(), r#"{"topic":"p/a","seq":7,"data":7}"#);
    }
}

#[test]
fn only_what_is_subscribed_to_can_be_paused() {
    let broker = Broker::start(&["--workers", "1"]);
    let mut viewer = Viewer::connect(&broker);
    for op in ["pause", "resume"] {
        let answer = viewer.answer(&format!(r#"{{"id":1,"op":"{op}","topic":"t"}}"#));
        assert!(answer.starts_with(r#"{"id":1,"error":{"code":""#), "{answer}");
    }
}

#[test]
fn a_topic_that_was_silent_in_a_pause_has_no_second_newest() {
    let broker = Broker::start(&["--workers", "1"]);
    let (mut viewer, _) = Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"p/+"}"#);
    let mut publisher = feed::connect(broker.address());
    for topic in ["p/a", "p/silent"] {
        publish(&mut publisher, topic, "1");
        assert_eq!(viewer.next(), format!(r#"{{"topic":"{topic}","seq":1,"data":1}}"#));
    }
    viewer.answer(r#"{"id":2,"op":"pause","topic":"p/+"}"#);
    publish(&mut publisher, "p/a", "2");
    viewer.answer(r#"{"id":3,"op":"resume","topic":"p/+"}"#);
    assert_eq!(viewer.next(), r#"{"topic":"p/a","seq":2,"data":2}"#);
    publish(&mut publisher, "p/silent", "2");
    assert_eq!(viewer.next(), r#"{"topic":"p/silent","seq":2,"data":2}"#);
}
