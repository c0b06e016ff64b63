//! A flush delay: fewer writes for the same messages, and never another order.

use crate::account::Account;
use crate::feed::{self, publish};
use crate::support::ws_client::{PATIENCE, Received};
use crate::viewer::{Viewer, broker_with};

const RULE: &str = "[[topic]]\nfilter = \"slow/#\"\nflush_ms = 400\n";

#[test]
fn messages_of_a_topic_with_a_flush_delay_go_out_in_few_writes() {
    let broker = broker_with(RULE, &["--workers", "1"]);
    let mut viewers: Vec<Viewer> = (0..20)
        .map(|_| Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"slow/a"}"#).0)
        .collect();
    let mut publisher = feed::connect(broker.address());
    let sends = broker.metrics("altavoz_sends_total");
    for number in 1..=50 {
        assert_eq!(publish(&mut publisher, "slow/a", &number.to_string()), number);
    }
    for viewer in &mut viewers {
        let mut account = Account::after("slow/a", 0);
        (0..50).for_each(|_| account.enter(&viewer.next()));
    }
    // One for each answer; without the delay there were a thousand to the viewers.
    let to_viewers = broker.metrics("altavoz_sends_total") - sends - 50.0;
    assert!((20.0..=400.0).contains(&to_viewers), "{to_viewers} sends for 1,000 deliveries");
}

#[test]
fn others_do_not_wait_and_whoever_subscribes_meanwhile_gets_what_is_new_only() {
    let broker = broker_with(RULE, &["--workers", "1"]);
    let (mut viewer, _) = Viewer::subscribe(&broker, r##"{"id":1,"op":"subscribe","topic":"#"}"##);
    let mut publisher = feed::connect(broker.address());
    publish(&mut publisher, "slow/a", "1");
    publish(&mut publisher, "fast", "1");
    assert_eq!(viewer.next(), r#"{"topic":"fast","seq":1,"data":1}"#);
    assert_eq!(viewer.next(), r#"{"topic":"slow/a","seq":1,"data":1}"#);

    publish(&mut publisher, "slow/a", "2");
    let command = r#"{"id":1,"op":"subscribe","topic":"slow/a"}"#;
    let (mut late, answer) = Viewer::subscribe(&broker, command);
    assert!(answer.contains(r#""seq":2"#), "{answer}");
    publish(&mut publisher, "slow/a", "3");
    assert_eq!(late.next(), r#"{"topic":"slow/a","seq":3,"data":3}"#);
    for seq in [2, 3] {
        assert_eq!(viewer.next(), format!(r#"{{"topic":"slow/a","seq":{seq},"data":{seq}}}"#));
    }
}

#[test]
fn what_waits_is_sent_before_the_broker_says_goodbye() {
    let broker = broker_with("flush_ms = 1000\n", &["--workers", "2"]);
    let (mut viewer, _) = Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    let mut publisher = feed::connect(broker.address());
    for number in 1..=5 {
        publish(&mut publisher, "t", &number.to_string());
    }
    broker.send_sigterm();
    (1..=5).for_each(|seq| assert!(viewer.next().contains(&format!(r#""seq":{seq},"#))));
    let goodbye = viewer.client().receive(PATIENCE);
    assert!(matches!(&goodbye, Some(Received::Close(Some((1001, _))))), "{goodbye:?}");
}
