//! Several brokers on one NATS, clients that write down all they get, and the check of what they wrote
//! down: nothing twice, nothing out of order, and nothing missing that was not announced.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::feed::{self, Message};
use crate::nats::NatsServer;
use crate::support::broker::Broker;
use crate::support::ws_client::{Received, WsClient};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than a subscription takes to be in force on the other nodes, with a heartbeat after it.
pub(crate) const SETTLE: Duration = Duration::from_millis(2_500);

/// A node that is connected to NATS at that address. Keeps nothing of any topic.
pub(crate) fn node(url: &str, name: &str, more: &[&str]) -> Broker {
    let settings =
        ["--workers", "2", "--history-messages", "0", "--last-ms", "0", "--backplane", "nats"];
    let named = ["--nats-url", url, "--node", name];
    let broker = Broker::start(&[&settings[..], &named, more].concat());
    broker.wait_for_metric("altavoz_cluster_up", 1.0, PATIENCE);
    broker
}

/// Nodes that know of each other, with these names.
pub(crate) fn nodes<const N: usize>(server: &NatsServer, names: [&str; N]) -> [Broker; N] {
    let nodes = names.map(|name| node(&server.url(), name, &[]));
    for node in &nodes {
        node.wait_for_metric("altavoz_cluster_nodes", (N - 1) as f64, PATIENCE);
    }
    nodes
}

/// A client that writes down all it gets.
pub(crate) struct Reader {
    lines: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    pub(crate) fn start(broker: &Broker, filter: &str) -> Self {
        let client = feed::subscriber(broker.address(), filter);
        let (lines, is_over) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (sink, over) = (lines.clone(), is_over.clone());
        let thread = thread::spawn(move || read(client, &sink, &over));
        Self { lines, is_over, thread: Some(thread) }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no thread failed").clone()
    }

    /// Waits until what was written down accounts for all that was `sent`.
    pub(crate) fn account_for(&self, sent: &BTreeMap<String, u64>) -> Account {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let account = Account::of(&self.lines(), sent);
            if account.missing == account.announced {
                return account;
            }
            let text = format!("{account:?} of {sent:?}");
            assert!(Instant::now() < deadline, "{text}\n{:?}", self.lines().last());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the reader has failed");
        }
    }
}

fn read(mut client: WsClient, lines: &Mutex<Vec<String>>, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        match client.receive(Duration::from_millis(100)) {
            Some(Received::Text(text)) => lines.lock().expect("no thread failed").push(text),
            None | Some(Received::Ping(_)) => {}
            other => panic!("a reader got {other:?}"),
        }
    }
}

/// Publishes `{"f":NAME,"n":1}` and so on, one every so often, until it is told to stop.
pub(crate) struct Writer {
    is_over: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(broker: &Broker, topic: &'static str, name: &str, pause: Duration) -> Self {
        let (address, name) = (broker.address(), name.to_owned());
        let (is_over, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (over, counted) = (is_over.clone(), count.clone());
        let thread = thread::spawn(move || write(address, topic, &name, pause, &over, &counted));
        Self { is_over, count, thread: Some(thread) }
    }

    /// How many the broker has taken in the end.
    pub(crate) fn stop(mut self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().expect("it runs").join().expect("it writes to the end");
        self.count.load(Ordering::Relaxed)
    }
}

fn write(
    address: SocketAddr,
    topic: &str,
    name: &str,
    pause: Duration,
    is_over: &AtomicBool,
    count: &AtomicU64,
) {
    let mut client = feed::connect(address);
    while !is_over.load(Ordering::Relaxed) {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        feed::publish(&mut client, topic, &format!(r#"{{"f":"{name}","n":{number}}}"#));
        thread::sleep(pause);
    }
}

/// What a reader's lines come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) received: u64,
    /// Messages that were sent and did not come.
    pub(crate) missing: u64,
    /// Messages that gaps have announced as missing.
    pub(crate) announced: u64,
}

impl Account {
    /// Fails on what comes twice, out of order, or after a hole in the seqs that no gap tells of.
    /// `sent` is how many each writer has sent.
    pub(crate) fn of(lines: &[String], sent: &BTreeMap<String, u64>) -> Self {
        let mut account = Self::default();
        let mut next_seq = BTreeMap::new();
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for line in lines {
            if let Some(Message { topic, seq, data }) = Message::parse(line) {
                let next = next_seq.entry(topic.to_owned()).or_insert(seq);
                assert_eq!(seq, *next, "a hole before {line}");
                *next += 1;
                let data: Value = serde_json::from_str(data).expect("JSON");
                let name = data["f"].as_str().expect("a name").to_owned();
                let number = data["n"].as_u64().expect("a number");
                let last = last.entry(name).or_default();
                assert!(number > *last, "after {last} came {line}");
                *last = number;
                account.received += 1;
            } else if let Some(gap) = gap_in(line) {
                let (from, to) =
                    (gap["from"].as_u64().expect("a seq"), gap["to"].as_u64().expect("a seq"));
                assert_eq!(gap["reason"], "backplane", "{line}");
                let topic = gap["topic"].as_str().expect("a topic").to_owned();
                let next = next_seq.entry(topic).or_insert(from);
                assert_eq!(from, *next, "{line}");
                *next = to + 1;
                account.announced += to + 1 - from;
            }
        }
        let all: u64 = sent.values().sum();
        account.missing = all.saturating_sub(account.received);
        account
    }
}

fn gap_in(line: &str) -> Option<Value> {
    let mut value: Value = serde_json::from_str(line).ok()?;
    let gap = value.get_mut("gap")?.take();
    Some(gap)
}

/// How many each writer has sent.
pub(crate) fn stop_all<'a>(
    writers: impl IntoIterator<Item = (&'a str, Writer)>,
) -> BTreeMap<String, u64> {
    writers.into_iter().map(|(name, writer)| (name.to_owned(), writer.stop())).collect()
}
