//! The delivery accounts in `/metrics`: the sums of what the subscribers' own accounts say.

use crate::feed::{self, publish};
use crate::slow;
use crate::support::broker::Broker;
use crate::support::ws_client::PATIENCE;
use crate::viewer::{Stats, Viewer, publish_all};

/// The counters are the sums of these accounts.
fn check(broker: &Broker, accounts: &[Stats]) {
    let sum = |part: fn(&Stats) -> u64| accounts.iter().map(part).sum::<u64>() as f64;
    for (metric, expected) in [
        ("altavoz_conflated_total", sum(|stats| stats.conflated)),
        ("altavoz_filtered_total", sum(|stats| stats.filtered)),
        ("altavoz_skipped_total", sum(|stats| stats.skipped)),
        ("altavoz_dropped_total", sum(|stats| stats.dropped)),
    ] {
        assert_eq!(broker.metrics(metric), expected, "{metric}: {accounts:?}");
    }
}

#[test]
fn what_is_not_sent_is_counted_by_what_became_of_it() {
    let broker = Broker::start(&["--workers", "1"]);
    let mut publisher = feed::connect(broker.address());
    let commands = [
        r#""topic":"t","mode":"latest","max_rate":0.01"#,
        r#""topic":"t","mode":"latest","max_rate":0.01"#,
        r#""topic":"+","mode":"latest","max_rate":0.02"#,
        r#""topic":"t","deadband":{"field":"x","abs":10}"#,
        r#""topic":"t""#,
        r#""topic":"+""#,
    ];
    let subscribe = |options: &&str| {
        Viewer::subscribe(&broker, &format!(r#"{{"id":1,"op":"subscribe",{options}}}"#)).0
    };
    let mut viewers: Vec<Viewer> = commands.iter().map(subscribe).collect();
    // Of the last but one a second subscription matches too; the last is paused.
    viewers[4].answer(r#"{"id":2,"op":"subscribe","topic":"+"}"#);
    viewers[5].answer(r#"{"id":2,"op":"pause","topic":"+"}"#);
    assert_eq!(broker.metrics("altavoz_paused_subscriptions"), 1.0);
    for x in 1..=7 {
        publish(&mut publisher, "t", &format!(r#"{{"x":{x}}}"#));
    }
    let accounts: Vec<Stats> = viewers.iter_mut().map(Viewer::stats).collect();
    let counted: Vec<_> = accounts.iter().map(|s| (s.conflated, s.filtered, s.skipped)).collect();
    let expected = [(5, 0, 0), (5, 0, 0), (5, 0, 0), (0, 5, 0), (0, 7, 0), (0, 0, 7)];
    assert_eq!(counted, expected);
    check(&broker, &accounts);
    // What waits when its subscription ends is dropped.
    viewers[0].answer(r#"{"id":3,"op":"unsubscribe","topic":"t"}"#);
    viewers[5].answer(r#"{"id":3,"op":"resume","topic":"+"}"#);
    publish(&mut publisher, "t", r#"{"x":8}"#);
    let accounts: Vec<Stats> = viewers.iter_mut().map(Viewer::stats).collect();
    check(&broker, &accounts);
    assert_eq!(broker.metrics("altavoz_dropped_total{reason=\"ended\"}"), 1.0);
    assert_eq!(broker.metrics("altavoz_paused_subscriptions"), 0.0);
}

#[test]
fn what_is_kept_and_what_comes_back_is_counted() {
    let broker = Broker::start(&["--workers", "1", "--history-messages", "10"]);
    let mut publisher = feed::connect(broker.address());
    publish_all(&mut publisher, "t", 1..=25);
    broker.wait_for_metric("altavoz_history_messages", 11.0, PATIENCE); // and $SYS/broker
    assert!(broker.metrics("altavoz_history_bytes") > 10.0 * 30.0);
    let (_, answer) = Viewer::subscribe(&broker, r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    let epoch = crate::viewer::member(&answer, "epoch");
    for (seq, past) in [(20, 5.0), (3, 15.0)] {
        let since = format!(r#"{{"epoch":"{epoch}","seq":{seq}}}"#);
        let command = format!(r#"{{"id":1,"op":"subscribe","topic":"t","since":{since}}}"#);
        let (mut viewer, _) = Viewer::subscribe(&broker, &command);
        viewer.stats();
        assert_eq!(broker.metrics("altavoz_past_messages_total"), past);
    }
    assert_eq!(broker.metrics("altavoz_recoveries_total{result=\"whole\"}"), 1.0);
    assert_eq!(broker.metrics("altavoz_recoveries_total{result=\"partial\"}"), 1.0);
    assert_eq!(broker.metrics("altavoz_gap_messages_total{reason=\"expired\"}"), 12.0);
}

#[test]
fn the_ladder_is_seen_from_outside() {
    let _alone = feed::alone();
    let broker = slow::broker();
    let (mut viewer, _publisher, mut account) = slow::come_through(&broker, "newest/t");
    while !account.modes.last().is_some_and(|mode| mode.contains(r#""now":"all""#)) {
        account.enter(&viewer.next());
    }
    let step = |direction: &str, to: &str| {
        let labels = format!(r#"direction="{direction}",to="{to}""#);
        broker.metrics(&format!("altavoz_ladder_steps_total{{{labels}}}"))
    };
    assert!(step("down", "latest") >= 1.0);
    assert_eq!(step("down", "latest"), step("up", "all"));
    assert_eq!(step("down", "slow"), step("up", "latest"));
    let gaps = broker.metrics("altavoz_gap_messages_total{reason=\"overflow\"}");
    assert_eq!(gaps, account.passed_over as f64);
    check(&broker, &[viewer.stats()]);
    broker.wait_for_metric("altavoz_slow_sessions", 0.0, PATIENCE);
    assert_eq!(broker.metrics("altavoz_held_back_bytes"), 0.0);
}

/// What is put aside for slow readers waits like what waits for their sockets: it is shown, it
/// counts towards what may wait for all, and whoever has most of it goes first.
#[test]
fn what_is_put_aside_for_slow_readers_counts_towards_the_limit() {
    const TOPICS: usize = 60;
    const CAP: f64 = 4.0 * 1024.0 * 1024.0;
    let _alone = feed::alone();
    let settings = ["--workers", "1", "--backlog-total-bytes-max", "4194304"];
    let broker = Broker::start(&[&settings[..], &["--history-messages", "0"]].concat());
    let mut readers: Vec<Viewer> = (0..8).map(|_| slow::slow_viewer(&broker, "newest/+")).collect();
    let mut publisher = feed::connect(broker.address());
    let data = feed::filler(15_000);
    let (mut most, mut held) = (0.0_f64, 0.0_f64);
    let closed = "altavoz_closes_total{reason=\"overloaded\"}";
    let mut rounds = 0;
    while broker.metrics(closed) < 2.0 {
        assert!(rounds < 200, "nobody is closed: {most} bytes waited");
        rounds += 1;
        for topic in 0..TOPICS {
            publish(&mut publisher, &format!("newest/{topic}"), &data);
            most = most.max(broker.metrics("altavoz_backlog_total_bytes"));
            held = held.max(broker.metrics("altavoz_held_back_bytes"));
        }
    }
    println!("{most} bytes waited at most, {held} of them put aside");
    assert!(held > 0.0 && held <= most);
    assert!(most <= CAP, "{most} bytes waited");
    readers.clear();
    broker.wait_for_metric("altavoz_backlog_total_bytes", 0.0, PATIENCE);
    assert_eq!(broker.metrics("altavoz_held_back_bytes"), 0.0);
}
