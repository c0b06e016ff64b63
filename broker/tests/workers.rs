//! Several workers: whoever publishes where, every subscriber of a topic sees the same messages in
//! the same order, and a burst costs fewer writes than it has messages.

#[path = "support/feed.rs"]
mod feed;
#[path = "support/support.rs"]
mod support;

use std::collections::HashMap;
use std::sync::{Arc, Barrier};
use std::thread;

use feed::{Ledger, await_metric, connect, publish_frame, subscriber, sync};
use support::broker::Broker;
use support::ws_client::{PATIENCE, Received, WsClient};

const UNLIMITED: [&str; 2] = ["--commands-per-second-max", "1000000"];

/// Connections by worker, at least `each` on every one; the kernel chooses.
fn connect_to_all(broker: &Broker, workers: usize, each: usize) -> Vec<Vec<WsClient>> {
    let counts = || -> Vec<f64> {
        let sample = |worker| format!("altavoz_handshakes_total{{worker=\"{worker}\"}}");
        (0..workers).map(|worker| broker.metrics(&sample(worker))).collect()
    };
    let mut clients: Vec<Vec<WsClient>> = (0..workers).map(|_| Vec::new()).collect();
    let mut before = counts();
    while clients.iter().any(|there| there.len() < each) {
        let client = connect(broker.address());
        let after = counts();
        let worker = (0..workers).find(|&worker| after[worker] > before[worker]);
        clients[worker.expect("one of them counts it")].push(client);
        before = after;
    }
    for there in &mut clients {
        there.truncate(each);
    }
    let total = (workers * each) as f64;
    await_metric(broker, "altavoz_connections", |count| count == total);
    for worker in 0..workers {
        let sample = format!("altavoz_connections{{worker=\"{worker}\"}}");
        assert_eq!(broker.metrics(&sample), each as f64);
    }
    clients
}

/// What a subscriber saw: for every topic the data in the order in which it came.
type Seen = HashMap<String, Vec<String>>;

/// Reads so many messages, each of which must be the next of its topic.
fn watch(mut client: WsClient, count: u64) -> thread::JoinHandle<Seen> {
    thread::spawn(move || {
        let (mut ledger, mut seen) = (Ledger::default(), Seen::new());
        while ledger.count() < count {
            match client.receive(PATIENCE) {
                Some(Received::Text(text)) => {
                    let message = ledger.enter(&text).expect("only messages are on their way");
                    assert!(message.seq > 1 || !seen.contains_key(message.topic), "{text}");
                    let data = message.data.to_owned();
                    seen.entry(message.topic.to_owned()).or_default().push(data);
                }
                other => panic!("after {} of {count} messages came {other:?}", ledger.count()),
            }
        }
        for (topic, data) in &seen {
            assert_eq!(ledger.last(topic), data.len() as u64, "{topic} began at its first");
        }
        seen
    })
}

/// Publishes on every topic in turn; the data says who published it, and as which of its own.
fn publish_on_all(client: &mut WsClient, name: &str, topics: usize, rounds: usize) {
    for round in 0..rounds {
        let mut burst = Vec::new();
        for topic in 0..topics {
            burst.extend(publish_frame(&format!("t/{topic}"), &format!("[\"{name}\",{round}]")));
        }
        client.send_raw(&burst).expect("the broker reads publishes");
    }
    sync(client);
}

/// Publishers on every worker publish on the same topics at once, to subscribers on every worker,
/// some of them by filters.
fn demand_one_order(workers: usize, topics: usize, rounds: usize) {
    let _alone = feed::alone();
    let arguments = ["--workers", &workers.to_string(), "--pin", "false"];
    let broker = Broker::start(&[&arguments[..], &UNLIMITED].concat());
    let mut clients = connect_to_all(&broker, workers, 5);

    let publishers: Vec<WsClient> = clients.iter_mut().flat_map(|there| there.drain(..2)).collect();
    let expected = (publishers.len() * topics * rounds) as u64;
    let mut watchers = Vec::new();
    for there in clients {
        for (mut client, filters) in there.into_iter().zip([
            (0..topics).map(|topic| format!("t/{topic}")).collect(),
            vec!["t/+".to_owned(), "t/0".to_owned()],
            vec!["#".to_owned(), "t/#".to_owned(), "t/1".to_owned()],
        ]) {
            for filter in filters {
                feed::subscribe(&mut client, &filter);
            }
            watchers.push(watch(client, expected));
        }
    }

    let start = Arc::new(Barrier::new(publishers.len()));
    let publishing: Vec<_> = (0..)
        .zip(publishers)
        .map(|(number, mut client)| {
            let start = start.clone();
            thread::spawn(move || {
                start.wait();
                publish_on_all(&mut client, &format!("p{number}"), topics, rounds);
            })
        })
        .collect();
    let count = publishing.len();
    for publisher in publishing {
        publisher.join().expect("it was not closed");
    }
    let seen: Vec<Seen> =
        watchers.into_iter().map(|watcher| watcher.join().expect("it missed nothing")).collect();
    let (first, others) = seen.split_first().expect("there are watchers");
    for other in others {
        assert_eq!(other, first, "all see every topic in the same order");
    }
    demand_every_publisher_in_order(first, topics, count, rounds);
}

/// Each topic has the messages of every publisher, in that publisher's order. Also demands that the
/// publishers did get in each other's way, or the test would show nothing.
fn demand_every_publisher_in_order(seen: &Seen, topics: usize, publishers: usize, rounds: usize) {
    assert_eq!(seen.len(), topics);
    let mut mixed = 0;
    for (topic, data) in seen {
        for publisher in 0..publishers {
            let start = format!("[\"p{publisher}\",");
            let own: Vec<&String> = data.iter().filter(|data| data.starts_with(&start)).collect();
            let expected: Vec<String> =
                (0..rounds).map(|round| format!("{start}{round}]")).collect();
            assert!(own.into_iter().eq(&expected), "publisher {publisher} on {topic}: {data:?}");
        }
        let author = |data: &String| data.split(',').next().map(str::to_owned);
        let changes = data.windows(2).filter(|pair| author(&pair[0]) != author(&pair[1])).count();
        mixed += usize::from(changes >= publishers);
    }
    eprintln!("on {mixed} of {topics} topics the publishers took turns");
    assert!(mixed > 0, "the publishers came one after the other");
}

#[test]
fn two_workers_give_every_subscriber_the_same_order() {
    demand_one_order(2, 200, 100);
}

#[test]
fn four_workers_give_every_subscriber_the_same_order() {
    demand_one_order(4, 200, 25);
}

/// Subscriptions begin and end on one worker while another publishes: what is answered to the
/// subscribe is where the messages go on, and nothing follows the answer to the unsubscribe.
#[test]
fn a_subscription_begins_and_ends_exactly_where_its_answers_say() {
    let _alone = feed::alone();
    let broker = Broker::start(&[&["--workers", "2", "--pin", "false"], &UNLIMITED[..]].concat());
    let mut clients = connect_to_all(&broker, 2, 2).into_iter();
    let mut next = || clients.next().expect("there are two workers").into_iter();
    let (mut here, mut there) = (next(), next());
    let mut subscriber = here.next().expect("there are two");
    let mut publisher = there.next().expect("there are two");
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let publishing = thread::spawn(move || {
        let burst = publish_frame("t", "0").repeat(10);
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            publisher.send_raw(&burst).expect("the broker reads publishes");
            sync(&mut publisher);
        }
    });
    let mut reached = 0;
    for _ in 0..500 {
        let answer = subscriber.command(r#"{"id":1,"op":"subscribe","topic":"t"}"#);
        let (_, seq) = answer.rsplit_once(r#""seq":"#).expect("the answer says where it stands");
        let position: u64 = seq.trim_end_matches('}').parse().expect("a number");
        assert!(position >= reached, "{answer}, but {reached} was reached before");
        let first = subscriber.receive_text();
        assert!(first.starts_with(&format!(r#"{{"topic":"t","seq":{},"#, position + 1)), "{first}");
        let mut ledger = Ledger::default();
        ledger.enter(&first);
        subscriber.send_text(r#"{"id":2,"op":"unsubscribe","topic":"t"}"#).expect("it is open");
        while ledger.enter(&subscriber.receive_text()).is_some() {}
        reached = ledger.last("t");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    publishing.join().expect("it was not closed");
}

/// A hundred messages that come in at once go out to each subscriber in a few writes.
#[test]
fn a_burst_is_sent_in_fewer_writes_than_it_has_messages() {
    const SUBSCRIBERS: usize = 50;
    const BURST: usize = 100;
    let _alone = feed::alone();
    let broker = Broker::start(&["--workers", "2", "--pin", "false"]);
    let mut clients: Vec<WsClient> =
        (0..SUBSCRIBERS).map(|_| subscriber(broker.address(), "burst/+")).collect();
    let mut publisher = connect(broker.address());
    sync(&mut publisher);
    let before = |sample: &str| broker.metrics(sample);
    let (sends, deliveries) = (before("altavoz_sends_total"), before("altavoz_deliveries_total"));
    let commands: Vec<String> = (0..BURST)
        .map(|number| {
            format!(r#"{{"op":"publish","topic":"burst/{}","data":{number}}}"#, number % 7)
        })
        .collect();
    publisher.send_text(&format!("[{}]", commands.join(","))).expect("it is open");
    for client in &mut clients {
        let mut ledger = Ledger::default();
        ledger.read(client, BURST as u64);
    }
    let sends = broker.metrics("altavoz_sends_total") - sends;
    let deliveries = broker.metrics("altavoz_deliveries_total") - deliveries;
    println!("{sends} writes for {deliveries} deliveries");
    assert_eq!(deliveries, (SUBSCRIBERS * BURST) as f64);
    assert!(sends < deliveries / 10.0, "{sends} writes for {deliveries} deliveries");
    assert!(sends >= SUBSCRIBERS as f64, "one write each at least, or the count is wrong");
}

/// A worker that was asleep and publishes to its own subscribers delivers in the same turn: it does
/// not also wake itself, which would be a write, a turn and a look for events more each time.
#[test]
fn a_worker_alone_never_wakes_itself() {
    const MESSAGES: u64 = 200;
    let _alone = feed::alone();
    let broker = Broker::start(&["--workers", "1"]);
    let mut client = subscriber(broker.address(), "t");
    let mut publisher = connect(broker.address());
    sync(&mut publisher);
    let count = |sample: &str| broker.metrics(sample);
    let (wakes, turns) = (count("altavoz_wakes_total"), count("altavoz_turns_total"));
    let mut ledger = Ledger::default();
    for number in 1..=MESSAGES {
        // By the time the subscriber has it, the worker sleeps again or is about to.
        publisher.send_raw(&publish_frame("t", "0")).expect("it is open");
        ledger.read(&mut client, number);
    }
    let (wakes, turns) =
        (count("altavoz_wakes_total") - wakes, count("altavoz_turns_total") - turns);
    println!("{wakes} wakes, {turns} turns for {MESSAGES} messages");
    assert!(turns >= MESSAGES as f64, "each message had a turn, or the test shows nothing");
    assert!(wakes < MESSAGES as f64 / 10.0, "{wakes} wakes for {MESSAGES} messages");
}
