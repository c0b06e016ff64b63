//! Readers that are too slow: what becomes of their messages by the topic's rule, and that every
//! one of them is accounted for.

use crate::account::Account;
use crate::feed::{self, Ledger, await_metric, filler, publish};
use crate::support::broker::Broker;
use crate::support::ws_client::{PATIENCE, WsClient};
use crate::viewer::{Viewer, broker_with};

const RULES: &str = r#"
    [[topic]]
    filter = "newest/#"
    overload = "conflate"

    [[topic]]
    filter = "fresh/#"
    overload = "drop_oldest"

    [[topic]]
    filter = "strict/#"
    overload = "close"
"#;
const MESSAGE_BYTES: usize = 50_000;

pub(crate) fn broker() -> Broker {
    broker_with(
        RULES,
        &["--workers", "1", "--backlog-bytes-max", "524288", "--history-messages", "0"],
    )
}

/// A subscription of someone whose kernel holds little and who does not read.
pub(crate) fn slow_viewer(broker: &Broker, topic: &str) -> Viewer {
    let command = format!(r#"{{"id":1,"op":"subscribe","topic":"{topic}"}}"#);
    let (mut viewer, _) = Viewer::subscribe(broker, &command);
    let socket = socket2::SockRef::from(viewer.client().stream());
    socket.set_recv_buffer_size(16 * 1024).expect("the socket is open");
    viewer
}

/// Publishes until something waits for it in the broker, and then as many again as make it late.
fn overwhelm(broker: &Broker, publisher: &mut WsClient, topic: &str) -> u64 {
    let data = filler(MESSAGE_BYTES);
    let mut seq = 0;
    while broker.metrics("altavoz_backlog_total_bytes") == 0.0 {
        assert!(seq < 2_000, "the kernel takes everything");
        for _ in 0..10 {
            seq = publish(publisher, topic, &data);
        }
    }
    for _ in 0..60 {
        seq = publish(publisher, topic, &data);
    }
    seq
}

/// Overwhelms a subscriber of this topic, which then reads it all; its account, checked against
/// the broker's.
pub(crate) fn come_through(broker: &Broker, topic: &str) -> (Viewer, WsClient, Account) {
    let mut viewer = slow_viewer(broker, topic);
    let mut publisher = feed::connect(broker.address());
    let published = overwhelm(broker, &mut publisher, topic);
    let mut account = Account::after(topic, 0);
    account.read_to(&mut viewer, topic, published);
    assert!(account.passed_over > 0, "it was never late");
    assert!(account.reasons.iter().all(|reason| reason == "overflow"), "{:?}", account.reasons);
    let stats = viewer.stats();
    for text in viewer.early() {
        account.enter(&text);
    }
    assert_eq!(stats.matched, published);
    assert_eq!(stats.dropped + stats.conflated, account.passed_over, "{stats:?}");
    assert_eq!((stats.sent, stats.pending), (account.delivered, 0), "{stats:?}");
    (viewer, publisher, account)
}

/// From here on it gets everything, as if nothing had been.
fn demand_all(
    topic: &str,
    viewer: &mut Viewer,
    publisher: &mut WsClient,
    mut account: Account,
) -> Account {
    let before = account.passed_over;
    let mut published = 0;
    for _ in 0..20 {
        published = publish(publisher, topic, "1");
    }
    account.read_to(viewer, topic, published);
    assert_eq!(account.passed_over, before);
    assert_eq!(account.delivered + account.passed_over, published);
    assert_eq!(viewer.stats().matched, published);
    account
}

#[test]
fn who_reads_too_slowly_gets_the_newest_until_it_keeps_up() {
    let _alone = feed::alone();
    let broker = broker();
    let (mut viewer, mut publisher, mut account) = come_through(&broker, "newest/t");
    let down = r#"{"mode":{"topic":"newest/t","now":"latest","reason":"slow"}}"#;
    assert_eq!(account.modes.first().map(String::as_str), Some(down));
    let up = r#"{"mode":{"topic":"newest/t","now":"all","reason":"caught_up"}}"#;
    while account.modes.last().map(String::as_str) != Some(up) {
        account.enter(&viewer.next());
    }
    let modes = account.modes.len();
    let account = demand_all("newest/t", &mut viewer, &mut publisher, account);
    assert_eq!(account.modes.len(), modes, "{:?}", account.modes);
}

#[test]
fn where_the_oldest_are_dropped_the_rest_comes_in_order() {
    let _alone = feed::alone();
    let broker = broker();
    let (mut viewer, mut publisher, account) = come_through(&broker, "fresh/t");
    assert!(account.after_gap > 1, "only the newest came, though more had room");
    broker.wait_for_metric("altavoz_backlog_total_bytes", 0.0, PATIENCE);
    demand_all("fresh/t", &mut viewer, &mut publisher, account);
}

/// Of each topic the newest, and each of them accounted for.
#[test]
fn under_a_filter_every_topic_has_its_own_account() {
    const TOPICS: u64 = 5;
    let _alone = feed::alone();
    let broker = broker();
    let mut viewer = slow_viewer(&broker, "newest/+");
    let mut publisher = feed::connect(broker.address());
    let data = filler(MESSAGE_BYTES);
    let mut rounds = 0;
    let mut late_rounds = 0;
    while late_rounds < 12 {
        assert!(rounds < 400, "the kernel takes everything");
        for topic in 0..TOPICS {
            rounds = publish(&mut publisher, &format!("newest/{topic}"), &data);
        }
        let waiting = broker.metrics("altavoz_backlog_total_bytes");
        late_rounds += u64::from(waiting > 0.0);
    }
    let mut account = Account::default();
    for topic in 0..TOPICS {
        account = account.and_after(&format!("newest/{topic}"), 0);
    }
    for topic in 0..TOPICS {
        while account.last(&format!("newest/{topic}")) < rounds {
            account.enter(&viewer.next());
        }
    }
    assert!(account.passed_over > 0, "it was never late");
    assert_eq!(account.delivered + account.passed_over, rounds * TOPICS);
    let stats = viewer.stats();
    assert_eq!(stats.matched, rounds * TOPICS);
    assert_eq!((stats.sent, stats.pending), (account.delivered, 0), "{stats:?}");
    assert_eq!(
        account.modes.first().map(String::as_str),
        Some(r#"{"mode":{"topic":"newest/+","now":"latest","reason":"slow"}}"#)
    );
}

/// Nothing may be left out here, so whoever can't take it all must come back for it.
#[test]
fn where_nothing_may_be_dropped_the_connection_ends_with_its_last_seq() {
    let _alone = feed::alone();
    let broker = broker();
    let mut viewer = slow_viewer(&broker, "strict/t");
    let mut publisher = feed::connect(broker.address());
    let data = filler(MESSAGE_BYTES);
    let mut published = 0;
    while broker.metrics("altavoz_subscriptions") > 0.0 {
        assert!(published < 2_000, "it is never too slow");
        for _ in 0..10 {
            published = publish(&mut publisher, "strict/t", &data);
        }
    }
    let mut ledger = Ledger::default();
    let (code, reason) = ledger.read_to_close(viewer.client());
    let last = ledger.last("strict/t");
    assert_eq!((code, reason), (4408, format!("too slow, last seq {last} of strict/t")));
    assert_eq!(ledger.count(), last);
    assert!(last < published);
    await_metric(&broker, "altavoz_connections", |count| count == 1.0);
}

/// Less of each message, but of every one.
#[test]
fn who_asked_for_some_fields_is_told_of_every_message_as_well() {
    let _alone = feed::alone();
    let broker = broker();
    let mut viewer = Viewer::connect(&broker);
    let command = r#"{"id":1,"op":"subscribe","topic":"newest/t","fields":["x"]}"#;
    let answer = viewer.answer(command);
    assert!(answer.starts_with(r#"{"id":1,"ok":"#), "{answer}");
    let socket = socket2::SockRef::from(viewer.client().stream());
    socket.set_recv_buffer_size(16 * 1024).expect("the socket is open");
    let mut publisher = feed::connect(broker.address());
    let data = format!(r#"{{"x":{},"y":1}}"#, filler(MESSAGE_BYTES));
    let mut published = 0;
    while broker.metrics("altavoz_backlog_total_bytes") == 0.0 {
        assert!(published < 2_000, "the kernel takes everything");
        published = publish(&mut publisher, "newest/t", &data);
    }
    for _ in 0..60 {
        published = publish(&mut publisher, "newest/t", &data);
    }
    let mut account = Account::after("newest/t", 0);
    account.read_to(&mut viewer, "newest/t", published);
    assert!(account.passed_over > 0, "it was never late");
    let stats = viewer.stats();
    assert_eq!((stats.matched, stats.sent), (published, account.delivered), "{stats:?}");
}

/// Who asked for the newest gets the newest, and no notice.
#[test]
fn a_slow_reader_of_the_newest_is_told_nothing() {
    let _alone = feed::alone();
    let broker = broker();
    let command = r#"{"id":1,"op":"subscribe","topic":"newest/t","mode":"latest"}"#;
    let (mut viewer, _) = Viewer::subscribe(&broker, command);
    let socket = socket2::SockRef::from(viewer.client().stream());
    socket.set_recv_buffer_size(16 * 1024).expect("the socket is open");
    let mut publisher = feed::connect(broker.address());
    let published = overwhelm(&broker, &mut publisher, "newest/t");
    let (mut last, mut count) = (0, 0);
    while last < published {
        let text = viewer.next();
        let message = feed::Message::parse(&text).expect("only messages come");
        assert!(message.seq > last);
        last = message.seq;
        count += 1;
    }
    let stats = viewer.stats();
    assert_eq!((stats.matched, stats.sent), (published, count), "{stats:?}");
    assert_eq!((stats.conflated, stats.dropped), (published - count, 0), "{stats:?}");
    assert!(stats.conflated > 0, "it was never late");
}

/// A pause is the best a slow reader can do: what it skips is skipped, what it missed is told.
#[test]
fn a_slow_reader_can_pause() {
    let _alone = feed::alone();
    let broker = broker();
    let mut viewer = slow_viewer(&broker, "newest/t");
    let mut publisher = feed::connect(broker.address());
    let before = overwhelm(&broker, &mut publisher, "newest/t");
    let answer = viewer.answer(r#"{"id":2,"op":"pause","topic":"newest/t"}"#);
    assert_eq!(answer, r#"{"id":2,"ok":{"topic":"newest/t"}}"#);
    let mut last = before;
    for _ in 0..10 {
        last = publish(&mut publisher, "newest/t", "1");
    }
    let answer = viewer.answer(r#"{"id":3,"op":"resume","topic":"newest/t"}"#);
    assert_eq!(answer, r#"{"id":3,"ok":{"topic":"newest/t","skipped":10}}"#);
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        let text = viewer.next();
        if let Some(message) = feed::Message::parse(&text) {
            assert!(seen.last().is_none_or(|seq| *seq < message.seq), "{text}");
            seen.push(message.seq);
        }
    }
    let stats = viewer.stats();
    assert_eq!((stats.sent, stats.skipped, stats.pending), (seen.len() as u64, 10, 0), "{stats:?}");
}

/// What waited for it is accounted for as dropped, and nothing of it comes after the answer.
#[test]
fn a_slow_reader_that_unsubscribes_gets_no_more_after_the_answer() {
    let _alone = feed::alone();
    for topic in ["newest/t", "fresh/t"] {
        let broker = broker();
        let mut viewer = slow_viewer(&broker, topic);
        let mut publisher = feed::connect(broker.address());
        let published = overwhelm(&broker, &mut publisher, topic);
        let answer = viewer.answer(&format!(r#"{{"id":2,"op":"unsubscribe","topic":"{topic}"}}"#));
        assert_eq!(answer, format!(r#"{{"id":2,"ok":{{"topic":"{topic}"}}}}"#));
        let mut account = Account::after(topic, 0);
        for text in viewer.early() {
            account.enter(&text);
        }
        let stats = viewer.stats();
        assert_eq!(viewer.early(), Vec::<String>::new());
        assert_eq!(stats.matched, published);
        assert_eq!((stats.sent, stats.pending), (account.delivered, 0), "{stats:?}");
        publish(&mut publisher, topic, "1");
        let answer = viewer.answer(r#"{"id":3,"op":"ping"}"#);
        assert_eq!((answer.as_str(), viewer.early().len()), (r#"{"id":3,"ok":{}}"#, 0));
    }
}
