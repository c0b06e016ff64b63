//! Recovery under a filter without asking for histories: the answer and the notices tell all epochs
//! that a client needs to come back.

use crate::feed::{self, publish};
use crate::support::broker::Broker;
use crate::viewer::{Viewer, member};

#[test]
fn topics_that_began_before_and_after_the_subscription_can_be_gone_on_with() {
    let broker = Broker::start(&["--workers", "2"]);
    let mut publisher = feed::connect(broker.address());
    publish(&mut publisher, "o/old", "1");
    let watch = r#"{"id":1,"op":"subscribe","topic":"o/+","epochs":true}"#;
    let (mut viewer, answer) = Viewer::subscribe(&broker, watch);
    let epoch = member(&answer, "epoch");
    publish(&mut publisher, "o/old", "2");
    assert_eq!(viewer.next(), r#"{"topic":"o/old","seq":2,"data":2}"#);
    publish(&mut publisher, "o/new", "3");
    let notice = viewer.next();
    let told = notice.strip_prefix(r#"{"epoch":{"topic":"o/new","epoch":""#);
    let told = told.and_then(|rest| rest.strip_suffix("\"}}")).expect("the epoch comes first");
    assert_ne!(told, epoch);
    assert_eq!(viewer.next(), r#"{"topic":"o/new","seq":1,"data":3}"#);
    publish(&mut publisher, "o/new", "4");
    assert_eq!(viewer.next(), r#"{"topic":"o/new","seq":2,"data":4}"#, "it is told once");
    drop(viewer);
    publish(&mut publisher, "o/old", "5");
    publish(&mut publisher, "o/new", "6");
    let since = |new: &str| {
        format!(
            r#"{{"id":1,"op":"subscribe","topic":"o/+","since":{{"o/new":{{"epoch":"{new}","seq":2}},"o/old":{{"epoch":"{epoch}","seq":2}}}}}}"#
        )
    };
    let (mut viewer, answer) = Viewer::subscribe(&broker, &since(told));
    assert!(answer.contains(r#""recovered":true"#), "{answer}");
    let mut texts = [viewer.next(), viewer.next()];
    texts.sort();
    let missed = [r#"{"topic":"o/new","seq":3,"data":6}"#, r#"{"topic":"o/old","seq":3,"data":5}"#];
    assert_eq!(texts, missed);
    // An epoch from before the topic began says nothing about it.
    let (_, answer) = Viewer::subscribe(&broker, &since(&epoch));
    assert!(answer.contains(r#""recovered":false"#), "{answer}");
}

#[test]
fn whoever_does_not_ask_is_not_told() {
    let broker = Broker::start(&["--workers", "1"]);
    let mut publisher = feed::connect(broker.address());
    let (mut viewer, _) = Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"o/+"}"#);
    publish(&mut publisher, "o/a", "1");
    assert_eq!(viewer.next(), r#"{"topic":"o/a","seq":1,"data":1}"#);
}

#[test]
fn a_pause_hides_messages_but_no_beginning() {
    let broker = Broker::start(&["--workers", "1"]);
    let mut publisher = feed::connect(broker.address());
    let watch = r#"{"id":1,"op":"subscribe","topic":"o/+","epochs":true,"mode":"latest"}"#;
    let (mut viewer, _) = Viewer::subscribe(&broker, watch);
    viewer.answer(r#"{"id":2,"op":"pause","topic":"o/+"}"#);
    publish(&mut publisher, "o/a", "1");
    let notice = viewer.next();
    assert!(notice.starts_with(r#"{"epoch":{"topic":"o/a","epoch":""#), "{notice}");
    let answer = viewer.answer(r#"{"id":3,"op":"resume","topic":"o/+"}"#);
    assert_eq!(answer, r#"{"id":3,"ok":{"topic":"o/+","skipped":1}}"#);
    assert_eq!(viewer.next(), notice, "with the topic's first message it comes once more");
    assert_eq!(viewer.next(), r#"{"topic":"o/a","seq":1,"data":1}"#);
}
