//! Positions to come back to: forged ones, and those of a filter, one for each topic.

use std::time::Duration;

use crate::account::Account;
use crate::feed::{self, publish};
use crate::support::broker::Broker;
use crate::viewer::{LiveFeed, Viewer, member, publish_all};

/// Whatever the position, the answer is right and what comes is whole.
#[test]
fn p_20_a_forged_position_recovers_nothing_and_breaks_nothing() {
    let broker = Broker::start(&["--workers", "1", "--history-messages", "10"]);
    let mut publisher = feed::connect(broker.address());
    publish_all(&mut publisher, "t", 1..=30);
    let (_, answer) = Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    let epoch = member(&answer, "epoch");
    let foreign = if epoch == "zz" { "zy" } else { "zz" };
    let mut newest = 30;
    for (name, seq) in [
        (foreign, "29"),
        (foreign, "0"),
        (foreign, "18446744073709551615"),
        (&epoch, "1000"),
        (&epoch, "18446744073709551614"),
        (&epoch, "18446744073709551615"),
    ] {
        let position = format!(r#"{{"epoch":"{name}","seq":{seq}}}"#);
        let command = format!(r#"{{"id":1,"op":"subscribe","topic":"t","since":{position}}}"#);
        let (mut viewer, answer) = Viewer::subscribe(&broker, &command);
        let expected = format!(
            r#"{{"id":1,"ok":{{"topic":"t","epoch":"{epoch}","seq":{newest},"recovered":false}}}}"#
        );
        assert_eq!(answer, expected, "{position}");
        newest = publish(&mut publisher, "t", &(newest + 1).to_string());
        // What is kept, without a word about what is not, and then what is live.
        for seq in newest - 10..=newest {
            let expected = format!(r#"{{"topic":"t","seq":{seq},"data":{seq}}}"#);
            assert_eq!(viewer.next(), expected, "{position}");
        }
    }
}

#[test]
fn a_position_that_is_none_is_refused() {
    let broker = Broker::start(&["--workers", "1"]);
    let mut viewer = Viewer::connect(&broker);
    for since in [
        r#"{"epoch":"a1","seq":-1}"#,
        r#"{"epoch":"a1","seq":1.5}"#,
        r#"{"epoch":"a1","seq":18446744073709551616}"#,
        r#"{"epoch":"a1","seq":"1"}"#,
        r#"{"epoch":"A/","seq":1}"#,
        r#"{"epoch":"","seq":1}"#,
        r#"{"epoch":"zzzzzzzzzzzzzzzzzzzz","seq":1}"#,
        r#"{"epoch":"a1"}"#,
        r#"{"seq":1}"#,
        "7",
    ] {
        let command = format!(r#"{{"id":1,"op":"subscribe","topic":"t","since":{since}}}"#);
        let answer = viewer.answer(&command);
        let refused = answer.starts_with(r#"{"id":1,"error":{"code":"bad_request","#);
        assert!(refused, "{since}: {answer}");
    }
    assert_eq!(viewer.early(), Vec::<String>::new());
}

/// Three topics of which it knows where it was; one that it has never seen.
#[test]
fn under_a_filter_every_topic_has_its_position() {
    for workers in ["1", "2"] {
        let broker = Broker::start(&["--workers", workers, "--pin", "false"]);
        let mut publisher = feed::connect(broker.address());
        let mut positions = Vec::new();
        let mut account = Account::default();
        for topic in ["o/a", "o/b", "o/c"] {
            publish_all(&mut publisher, topic, 1..=3);
            let command = format!(r#"{{"id":1,"op":"subscribe","topic":"{topic}"}}"#);
            let epoch = member(&Viewer::subscribe(&broker, &command).1, "epoch");
            positions.push(format!(r#""{topic}":{{"epoch":"{epoch}","seq":3}}"#));
        }
        // Away: one topic goes on, one is silent, one goes on for long, and one begins.
        publish_all(&mut publisher, "o/a", 4..=5);
        publish_all(&mut publisher, "o/c", 4..=80);
        publish_all(&mut publisher, "o/new", 1..=70);
        publish_all(&mut publisher, "other", 1..=3);

        let since = positions.join(",");
        let command = format!(r#"{{"id":1,"op":"subscribe","topic":"o/+","since":{{{since}}}}}"#);
        let (mut viewer, answer) = Viewer::subscribe(&broker, &command);
        assert!(
            answer.contains(r#""topic":"o/+","#) && answer.contains(r#""recovered":true"#),
            "{answer}"
        );
        publish_all(&mut publisher, "o/c", 81..=90);
        publish_all(&mut publisher, "o/new", 71..=90);
        publish_all(&mut publisher, "o/b", 4..=4);
        let newest = [("o/a", 5), ("o/b", 4), ("o/c", 90), ("o/new", 90)];
        for (topic, _) in &newest[..3] {
            account = account.and_after(topic, 3);
        }
        account = account.and_after("o/new", 0);
        while newest.iter().any(|&(topic, last)| account.last(topic) < last) {
            account.enter(&viewer.next());
        }
        assert_eq!((account.delivered, account.passed_over), (2 + 1 + 87 + 90, 0));
    }
}

/// One of the topics has lost what is asked for; the others are whole.
#[test]
fn under_a_filter_a_loss_in_one_topic_is_told_of() {
    let broker = Broker::start(&["--workers", "1", "--history-messages", "5"]);
    let mut publisher = feed::connect(broker.address());
    let mut positions = Vec::new();
    for topic in ["o/a", "o/b"] {
        publish_all(&mut publisher, topic, 1..=2);
        let command = format!(r#"{{"id":1,"op":"subscribe","topic":"{topic}"}}"#);
        let epoch = member(&Viewer::subscribe(&broker, &command).1, "epoch");
        positions.push(format!(r#""{topic}":{{"epoch":"{epoch}","seq":2}}"#));
    }
    publish_all(&mut publisher, "o/a", 3..=20);
    publish_all(&mut publisher, "o/b", 3..=4);
    let since = positions.join(",");
    let command = format!(r#"{{"id":1,"op":"subscribe","topic":"o/#","since":{{{since}}}}}"#);
    let (mut viewer, answer) = Viewer::subscribe(&broker, &command);
    assert!(answer.contains(r#""recovered":false"#), "{answer}");
    let mut account = Account::after("o/a", 2).and_after("o/b", 2);
    account.read_to(&mut viewer, "o/a", 20);
    account.read_to(&mut viewer, "o/b", 4);
    assert_eq!((account.delivered, account.passed_over), (5 + 2, 13));
    assert_eq!(account.reasons, ["expired"]);
}

/// Topics that never pause, one that begins in every round, and someone who leaves and comes back
/// with the positions of all it has seen.
fn come_and_go(workers: &str) {
    const TOPICS: [&str; 3] = ["o/a", "o/b", "o/c"];
    const ROUNDS: u64 = 8;
    let broker = Broker::start(&[
        "--workers",
        workers,
        "--pin",
        "false",
        "--history-messages",
        "100000",
        "--history-bytes",
        "67108864",
    ]);
    let mut publisher = feed::connect(broker.address());
    let mut topics: Vec<String> = TOPICS.map(str::to_owned).into();
    let mut account = Account::default();
    for topic in TOPICS {
        publish(&mut publisher, topic, "0");
        account = account.and_after(topic, 1);
    }
    let every = Duration::from_millis(1);
    let live = TOPICS.map(|topic| (topic, LiveFeed::start(&broker, topic, every)));
    let mut begun = 0;
    for round in 0..ROUNDS {
        let positions: Vec<String> = topics
            .iter()
            .filter(|topic| account.last(topic) > 0)
            .map(|topic| {
                let command = format!(r#"{{"id":1,"op":"subscribe","topic":"{topic}"}}"#);
                let epoch = member(&Viewer::subscribe(&broker, &command).1, "epoch");
                let seq = account.last(topic);
                format!(r#""{topic}":{{"epoch":"{epoch}","seq":{seq}}}"#)
            })
            .collect();
        let since = positions.join(",");
        let (mut viewer, answer) = Viewer::subscribe(
            &broker,
            &format!(r#"{{"id":1,"op":"subscribe","topic":"o/+","since":{{{since}}}}}"#),
        );
        assert!(
            answer.contains(r#""topic":"o/+","#) && answer.contains(r#""recovered":true"#),
            "{answer}"
        );
        for topic in &topics[begun..] {
            let last = account.last(topic);
            account = account.and_after(topic, last);
        }
        begun = topics.len();
        let until = account.last("o/a") + 50;
        while account.last("o/a") < until
            || topics[TOPICS.len()..].iter().any(|topic| account.last(topic) < 3)
        {
            account.enter(&viewer.next());
        }
        drop(viewer);
        let new = format!("o/new{round}");
        publish_all(&mut publisher, &new, 1..=3);
        topics.push(new);
    }
    for (_, live) in live {
        live.stop();
    }
    assert_eq!(account.passed_over, 0);
}

#[test]
fn under_a_filter_whoever_comes_back_has_no_seam_in_any_topic() {
    come_and_go("1");
}

#[test]
fn nor_has_it_on_two_workers() {
    come_and_go("2");
}
