//! Attacks through publish and subscribe, rows P of the list: what a client may name, what it may
//! forge, and what it gets before, during and after a subscription. What names cost is in
//! `topics`, what floods and slow readers do in `flow`.

#[path = "../support/feed.rs"]
pub(crate) mod feed;
#[path = "publish/flow.rs"]
mod flow;
#[path = "publish/topics.rs"]
mod topics;

use std::thread;

use broker_proto::ws::{CloseCode, Opcode};

use crate::guard::{attack, attack_alone, beside_others, closed};
use crate::support::broker::Broker;
use crate::support::ws_client::{PATIENCE, Received, WsClient};
use feed::{Ledger, Message, await_metric, connect, publish, subscribe, subscriber, sync};

/// The code of an answer that must be an error with this id.
fn error_code(answer: &str, id: u32) -> String {
    let start = format!(r#"{{"id":{id},"error":{{"code":""#);
    let rest = answer.strip_prefix(&start).unwrap_or_else(|| panic!("{id}: {answer}"));
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// Publishes a last message on `topic` and demands that it is the very next thing that `watcher`
/// receives: nothing of what was tried before has reached it.
fn demand_nothing_came(broker: &Broker, watcher: &mut WsClient, topic: &str) {
    let seq = publish(&mut connect(broker.address()), topic, "\"last\"");
    let message = format!(r#"{{"topic":"{topic}","seq":{seq},"data":"last"}}"#);
    assert_eq!(watcher.receive_text(), message);
}

/// There are no grants yet, so every filter is allowed; what no filter that begins with a wildcard
/// may see are the broker's own topics, and nobody else publishes there.
#[test]
fn p_04_a_leading_wildcard_sees_no_system_topic_and_nobody_publishes_there() {
    // Without a canary, whose messages these filters match.
    let _room = beside_others();
    let broker = Broker::start(&["--workers", "2"]);
    let mut all = subscriber(broker.address(), "#");
    subscribe(&mut all, "+/broker");
    subscribe(&mut all, "a/+/#");
    let mut system = subscriber(broker.address(), "$SYS/#");
    for _ in 0..3 {
        assert!(system.receive_text().starts_with(r#"{"topic":"$SYS/broker","seq":"#));
    }

    let mut forger = connect(broker.address());
    for topic in ["$SYS/broker", "$SYS", "$SYS/", "$SYS/a/b"] {
        let command = format!(r#"{{"id":7,"op":"publish","topic":"{topic}","data":0}}"#);
        assert_eq!(error_code(&forger.command(&command), 7), "forbidden", "{topic}");
    }
    demand_nothing_came(&broker, &mut all, "a/b/c");
    let genuine = system.receive_text();
    let genuine = Message::parse(&genuine).expect("a message");
    assert!(genuine.topic == "$SYS/broker" && genuine.data.len() > 1, "{genuine:?}");
}

#[test]
fn p_05_a_wildcard_in_a_published_topic_is_an_error() {
    attack(&[], |broker| {
        let mut watcher = subscriber(broker.address(), "a/#");
        let mut client = connect(broker.address());
        for topic in ["a/#", "#", "+", "a/+", "a/+/b", "a/b+", "a/#/b"] {
            let command = format!(r#"{{"id":7,"op":"publish","topic":"{topic}","data":0}}"#);
            assert_eq!(error_code(&client.command(&command), 7), "bad_topic", "{topic}");
        }
        demand_nothing_came(broker, &mut watcher, "a/b");
        drop((client, watcher));
        []
    });
}

#[test]
fn p_07_a_message_that_several_subscriptions_match_comes_once() {
    let _room = beside_others();
    let broker = Broker::start(&["--workers", "2"]);
    let mut client = connect(broker.address());
    for filter in ["a/b", "a/b", "a/+", "a/#", "#", "+/b", "a/+"] {
        subscribe(&mut client, filter);
    }
    let mut publisher = connect(broker.address());
    for seq in 1..=100 {
        assert_eq!(publish(&mut publisher, "a/b", "0"), seq);
    }
    // A message that only some of them match, to show that each is in force.
    publish(&mut publisher, "x/b", "0");
    let mut ledger = Ledger::default();
    ledger.read(&mut client, 101);
    assert_eq!((ledger.last("a/b"), ledger.last("x/b")), (100, 1));
    let stats = client.command(r#"{"id":3,"op":"stats"}"#);
    assert!(stats.starts_with(r#"{"id":3,"ok":{"subscriptions":5,"#), "{stats}");
    assert!(stats.contains(r#""sent":101,"#), "{stats}");

    for filter in ["a/b", "a/+", "#", "+/b"] {
        let command = format!(r#"{{"id":4,"op":"unsubscribe","topic":"{filter}"}}"#);
        assert!(client.command(&command).starts_with(r#"{"id":4,"ok":"#));
        publish(&mut publisher, "a/b", "0");
        ledger.read(&mut client, ledger.count() + 1);
    }
    assert!(client.command(r#"{"id":5,"op":"unsubscribe","topic":"a/#"}"#).contains("ok"));
    publish(&mut publisher, "a/b", "0");
    assert_eq!(client.command(r#"{"id":6,"op":"ping"}"#), r#"{"id":6,"ok":{}}"#);
}

#[test]
fn p_08_one_subscription_more_than_allowed_is_an_error_and_one_less_makes_room() {
    attack(&["--subscriptions-max", "3"], |broker| {
        let mut client = connect(broker.address());
        for filter in ["a", "b/+", "c"] {
            subscribe(&mut client, filter);
        }
        for filter in ["d", "d/#"] {
            let answer =
                client.command(&format!(r#"{{"id":7,"op":"subscribe","topic":"{filter}"}}"#));
            assert_eq!(error_code(&answer, 7), "too_many_subscriptions");
        }
        // What it has already is not one more.
        subscribe(&mut client, "b/+");
        assert!(client.command(r#"{"id":8,"op":"unsubscribe","topic":"a"}"#).contains("ok"));
        subscribe(&mut client, "d");
        // One of them is the canary's.
        assert_eq!(broker.metrics("altavoz_subscriptions"), 4.0);
        let mut publisher = connect(broker.address());
        for topic in ["a", "d/x", "d"] {
            publish(&mut publisher, topic, "0");
        }
        assert_eq!(client.receive_text(), r#"{"topic":"d","seq":1,"data":0}"#);
        []
    });
}

#[test]
fn p_08_a_flood_of_commands_closes_with_1008_after_the_allowance() {
    const SENT: usize = 50_000;
    attack(&["--commands-per-second-max", "100"], |broker| {
        let mut client = connect(broker.address());
        let mut flood = Vec::new();
        for number in 0..SENT {
            let command =
                format!(r#"{{"id":{number},"op":"subscribe","topic":"t{}"}}"#, number % 900);
            let frame = &mut Vec::new();
            let key = [9, 9, 9, 9];
            broker_proto::ws::encode_masked_frame(frame, Opcode::Text, command.as_bytes(), key);
            flood.append(frame);
        }
        // The broker may close while we still write.
        let _ = client.send_raw(&flood);
        let mut answers = 0;
        let (code, reason) = loop {
            match client.receive(PATIENCE) {
                Some(Received::Text(text)) => {
                    assert!(text.starts_with(&format!(r#"{{"id":{answers},"ok":"#)), "{text}");
                    answers += 1;
                }
                Some(Received::Close(Some(close))) => break close,
                other => panic!("after {answers} answers came {other:?}"),
            }
        };
        assert_eq!(code, 1008);
        assert!(reason.contains("commands_per_second_max"), "{reason}");
        assert!(answers >= 200, "a burst of twice the rate is allowed, {answers} were answered");
        assert!(answers < SENT / 10, "{answers} of {SENT} were answered");
        drop(client);
        [closed("rate_limited", 1008, 1)]
    });
}

#[test]
fn p_18_what_only_the_broker_says_of_a_message_cannot_be_forged() {
    attack(&[], |broker| {
        let mut watcher = subscriber(broker.address(), "+");
        let mut forger = connect(broker.address());
        for member in ["seq", "from", "user", "offset", "epoch", "level", "ts"] {
            let command =
                format!(r#"{{"id":7,"op":"publish","topic":"t","data":1,"{member}":"9"}}"#);
            assert_eq!(error_code(&forger.command(&command), 7), "bad_request", "{member}");
        }
        // Written twice, or behind what looks like the end, a member is no way round.
        for members in [r#""data":1,"topic":"u""#, r#""data":1,"data":2,"seq":7"#] {
            let command = format!(r#"{{"id":7,"op":"publish","topic":"t",{members}}}"#);
            assert_eq!(error_code(&forger.command(&command), 7), "bad_request", "{members}");
        }
        demand_nothing_came(broker, &mut watcher, "t");

        // Inside the data they are the publisher's business, and stay inside.
        let data = r#"{"topic":"u","seq":99,"epoch":"zz","from":"root","data":"}"}"#;
        assert_eq!(publish(&mut forger, "t", data), 2);
        assert_eq!(watcher.receive_text(), format!(r#"{{"topic":"t","seq":2,"data":{data}}}"#));
        []
    });
}

/// Publishers on all workers never pause while one client subscribes and unsubscribes again and
/// again: between an unsubscribe's answer and the next subscribe's there is not one message, and
/// within each subscription there is no hole, not even behind the seq that was answered.
#[test]
fn p_24_nothing_comes_after_the_answer_to_an_unsubscribe() {
    const ROUNDS: usize = 300;
    attack_alone(&["--commands-per-second-max", "1000000"], |broker, _| {
        let flood = Flood::start(broker, "hot/a", 4);
        let mut client = connect(broker.address());
        let mut messages = 0;
        for round in 0..ROUNDS {
            let filter = ["hot/a", "hot/+", "#"][round % 3];
            messages += subscribe_for_a_while(&mut client, filter);
        }
        println!("{messages} messages within {ROUNDS} subscriptions");
        assert!(messages > ROUNDS as u64, "the subscriptions were in force");
        flood.stop();
        drop(client);
        []
    });
}

/// One filter takes the place of another in the same batch, while the topic is published on from
/// all sides: the seqs go on as if it had been one subscription.
#[test]
fn p_24_changing_one_filter_for_another_loses_and_repeats_nothing() {
    const ROUNDS: usize = 600;
    attack_alone(&["--commands-per-second-max", "1000000"], |broker, _| {
        let flood = Flood::start(broker, "hot/a", 4);
        let mut client = connect(broker.address());
        client
            .send_text(r#"{"op":"subscribe","topic":"hot/a"}"#)
            .expect("the broker reads commands");
        let mut ledger = Ledger::default();
        let filters = ["hot/a", "hot/+", "hot/#", "+/a"];
        for round in 0..ROUNDS {
            let (before, now) = (filters[round % 4], filters[(round + 1) % 4]);
            let change = format!(
                r#"[{{"op":"subscribe","topic":"{now}"}},{{"op":"unsubscribe","topic":"{before}"}}]"#
            );
            client.send_text(&change).expect("the broker reads commands");
            ledger.read(&mut client, ledger.count() + 5);
        }
        flood.stop();
        drop(client);
        []
    });
}

/// Subscribes, takes some messages, unsubscribes, and asks once more; how many messages came.
fn subscribe_for_a_while(client: &mut WsClient, filter: &str) -> u64 {
    let answer = client.command(&format!(r#"{{"id":1,"op":"subscribe","topic":"{filter}"}}"#));
    assert!(answer.starts_with(r#"{"id":1,"ok":"#), "not the answer to a subscribe: {answer}");
    let position = answer.split_once(r#""seq":"#).and_then(|(_, rest)| rest.split_once('}'));
    let position: Option<u64> = position.map(|(seq, _)| seq.parse().expect("a number"));
    let mut ledger = Ledger::default();
    let mut first = position;
    let mut take = |text: &str, ledger: &mut Ledger| -> bool {
        let Some(message) = ledger.enter(text) else { return false };
        if message.topic == "hot/a"
            && let Some(position) = first.take()
        {
            assert_eq!(message.seq, position + 1, "{answer} was answered");
        }
        true
    };
    for _ in 0..3 {
        let text = client.receive_text();
        assert!(take(&text, &mut ledger), "{text}");
    }
    client
        .send_text(&format!(r#"{{"id":2,"op":"unsubscribe","topic":"{filter}"}}"#))
        .expect("the broker reads commands");
    loop {
        let text = client.receive_text();
        if !take(&text, &mut ledger) {
            assert!(text.starts_with(r#"{"id":2,"ok":"#), "{text}");
            break;
        }
    }
    assert_eq!(client.command(r#"{"id":3,"op":"ping"}"#), r#"{"id":3,"ok":{}}"#);
    ledger.count()
}

/// Connections that publish on one topic until they are told to stop.
struct Flood {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Flood {
    fn start(broker: &Broker, topic: &str, connections: usize) -> Self {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let threads = (0..connections).map(|_| {
            let (stop, address, topic) = (stop.clone(), broker.address(), topic.to_owned());
            thread::spawn(move || {
                let mut client = connect(address);
                let burst = feed::publish_frame(&topic, "0").repeat(20);
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    client.send_raw(&burst).expect("the broker reads publishes");
                    sync(&mut client);
                }
                client.send_close(CloseCode::NORMAL, "").expect("it is open");
            })
        });
        let threads = threads.collect();
        await_metric(broker, "altavoz_publishes_total", |publishes| publishes > 100.0);
        Self { stop, threads }
    }

    fn stop(self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("the publishers have not failed");
        }
    }
}
