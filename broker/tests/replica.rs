//! Copies of the streams of one real nats-server, as several nodes have them: all publish at once,
//! on the same topics, and see one order, whatever happens to the server.

#[path = "support/nats.rs"]
mod nats;
#[path = "support/support.rs"]
mod support;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{ConnectOptions, Event as Connection};
use broker::cluster::stream::order::GivenUp;
use broker::cluster::stream::replica::{Event, Replica};
use broker::cluster::{Bus, Names, Standing};
use broker::config::Config;
use broker::hub::history::Budget;
use broker::metrics::Metrics;
use broker_proto::command::Payload;
use broker_proto::topic::Topic;
use nats::NatsServer;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

const TOPICS: [&str; 3] = ["orders/1", "orders/2", "a b/*"];
const PATIENCE: Duration = Duration::from_secs(60);
/// Publishes of a node that wait for an answer.
const OPEN_MAX: usize = 64;

/// What one node was told.
#[derive(Default)]
struct Told {
    is_ready: bool,
    /// Messages as they were published here: topic, epoch, seq, and what was in it.
    log: Vec<(String, u64, u64, u64)>,
    published: HashSet<u64>,
    not: HashSet<u64>,
    unsure: HashSet<u64>,
}

/// A node that publishes so many messages, each with a number of its own.
struct Node {
    told: Arc<Mutex<Told>>,
    metrics: Arc<Metrics>,
    to_publish: u64,
}

impl Node {
    fn start(runtime: &Runtime, url: &str, number: u64, to_publish: u64) -> Self {
        let told = Arc::new(Mutex::new(Told::default()));
        let metrics = Arc::new(Metrics::new(1));
        let work = run(url.to_owned(), number, to_publish, told.clone(), metrics.clone());
        runtime.spawn(work);
        Self { told, metrics, to_publish }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settled(&self) -> u64 {
        let told = self.told();
        (told.published.len() + told.not.len() + told.unsure.len()) as u64
    }
}

async fn run(
    url: String,
    number: u64,
    to_publish: u64,
    told: Arc<Mutex<Told>>,
    metrics: Arc<Metrics>,
) {
    let bus = join(&url, number, metrics).await;
    let budget = Arc::new(Budget::new(1 << 30));
    let mut replica: Replica<String> = Replica::new(bus, &Config::default(), budget);
    let mut open = 0;
    let mut ids = (0..to_publish).map(|at| number * 1_000_000 + at);
    loop {
        let is_ready = told.lock().expect("nobody panics with it").is_ready;
        while is_ready && open < OPEN_MAX {
            let Some(id) = ids.next() else { break };
            let topic = Topic::new(TOPICS[id as usize % TOPICS.len()]).expect("a topic");
            let submitted =
                replica.submit(topic, id.to_string(), |id| Payload::Json(id.as_bytes()).into());
            submitted.expect("the topic is kept");
            open += 1;
        }
        let event = replica.next().await;
        let mut told = told.lock().expect("nobody panics with it");
        match event {
            Event::Ready => told.is_ready = true,
            Event::Away => told.is_ready = false,
            Event::Trouble(trouble) => assert_eq!(trouble, None),
            Event::GivenUp(ids, why) => {
                open -= ids.len();
                let ids = ids.iter().map(|text| id_of(text.as_bytes()));
                match why {
                    GivenUp::Unsure => told.unsure.extend(ids),
                    GivenUp::NotPublished => told.not.extend(ids),
                    GivenUp::TooLarge | GivenUp::NoRoom => panic!("they are short"),
                }
            }
            Event::Repeat(id, ..) => panic!("{id} has no identity"),
            Event::Commit(commit) => {
                let epoch = commit.epoch().value();
                for (seq, payload) in commit.messages() {
                    let id = id_of(payload.bytes());
                    told.log.push((commit.topic.clone(), epoch, seq, id));
                }
                open -= commit.waiters.len();
                told.published.extend(commit.waiters.iter().map(|text| id_of(text.as_bytes())));
            }
        }
    }
}

fn id_of(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).expect("digits").parse().expect("digits")
}

async fn join(url: &str, number: u64, metrics: Arc<Metrics>) -> Bus {
    let (sender, standing) = watch::channel(Standing::default());
    let client = ConnectOptions::new()
        .retry_on_initial_connect()
        .reconnect_delay_callback(|_| Duration::from_millis(50))
        .event_callback(move |event| {
            match event {
                Connection::Connected => sender.send_modify(|now| {
                    now.is_up = true;
                    now.connects += 1;
                }),
                Connection::Disconnected => sender.send_modify(|now| now.is_up = false),
                _ => {}
            }
            std::future::ready(())
        })
        .connect(url)
        .await
        .expect("it is tried again");
    let names = Names { cluster: "altavoz".into(), node: number.to_string(), run: number };
    Bus { client, names: Arc::new(names), standing, metrics }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Waits until all nodes have been told about all they published, and have seen the same.
fn wait_for_all(nodes: &[Node]) {
    let deadline = Instant::now() + PATIENCE;
    wait_until(deadline, || {
        if Instant::now() + Duration::from_millis(100) > deadline {
            nodes.iter().for_each(|node| eprintln!("{} {:?}", node.settled(), node.metrics.stream));
        }
        nodes.iter().all(|node| node.settled() == node.to_publish)
    });
    let mut before = Vec::new();
    wait_until(deadline, || {
        std::thread::sleep(Duration::from_millis(300));
        let now: Vec<usize> = nodes.iter().map(|node| node.told().log.len()).collect();
        let is_still = now == before && now.iter().all(|count| *count == now[0]);
        before = now;
        is_still
    });
}

fn wait_until(deadline: Instant, mut is_done: impl FnMut() -> bool) {
    while !is_done() {
        assert!(Instant::now() < deadline, "it does not come to an end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One order everywhere, without holes; what was promised is there, once; what was denied is not.
fn check(nodes: &[Node]) {
    let by_topic = |node: &Node| {
        let mut logs: BTreeMap<String, Vec<(u64, u64, u64)>> = BTreeMap::new();
        for (topic, epoch, seq, id) in node.told().log.iter().cloned() {
            logs.entry(topic).or_default().push((epoch, seq, id));
        }
        logs
    };
    let first = by_topic(&nodes[0]);
    let mut places: HashMap<u64, u32> = HashMap::new();
    for log in first.values() {
        for (before, after) in log.iter().zip(&log[1..]) {
            let follows = before.0 == after.0 && after.1 == before.1 + 1;
            assert!(follows || (before.0 != after.0 && after.1 == 1), "{before:?} {after:?}");
        }
        log.iter().for_each(|(_, _, id)| *places.entry(*id).or_default() += 1);
    }
    assert!(places.values().all(|count| *count == 1), "a message was published twice");
    for node in nodes {
        assert_eq!(by_topic(node), first, "the nodes see different orders");
        let told = node.told();
        let lost = told.published.iter().filter(|id| !places.contains_key(id)).count();
        assert_eq!(lost, 0, "acknowledged messages are not there");
        let there = told.not.iter().filter(|id| places.contains_key(id)).count();
        assert_eq!(there, 0, "messages are there that were said not to be published");
    }
}

#[test]
fn nodes_that_publish_at_once_see_one_order_and_one_that_comes_later_the_same() {
    let Some(server) = NatsServer::start() else { return };
    let runtime = runtime();
    let mut nodes: Vec<Node> =
        (1..=3).map(|number| Node::start(&runtime, &server.url(), number, 2_000)).collect();
    wait_for_all(&nodes);
    let conflicts = nodes
        .iter()
        .map(|node| node.metrics.stream.conflicts.load(std::sync::atomic::Ordering::Relaxed));
    assert!(conflicts.sum::<u64>() > 0, "the nodes did not meet");
    for node in &nodes {
        let told = node.told();
        assert_eq!(told.published.len(), 2_000, "nothing went wrong: {:?}", told.not);
    }
    nodes.push(Node::start(&runtime, &server.url(), 4, 0));
    wait_until(Instant::now() + PATIENCE, || nodes[3].told().is_ready);
    wait_for_all(&nodes);
    check(&nodes);
}

#[test]
fn a_server_that_is_killed_twice_costs_no_acknowledged_message_and_no_order() {
    let Some(mut server) = NatsServer::start() else { return };
    let runtime = runtime();
    let nodes: Vec<Node> =
        (1..=3).map(|number| Node::start(&runtime, &server.url(), number, 4_000)).collect();
    for part in [1_000, 4_000] {
        let settled = || nodes.iter().map(Node::settled).sum::<u64>();
        wait_until(Instant::now() + PATIENCE, || settled() >= part);
        server.kill();
        std::thread::sleep(Duration::from_millis(300));
        server.resume();
    }
    wait_for_all(&nodes);
    check(&nodes);
}
