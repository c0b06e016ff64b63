//! Many hubs and clients in one thread, in virtual time, from a seed: whatever the interleaving of
//! publishing, subscribing, leaving and handing over, every client sees each topic's messages
//! contiguous, once, and in one order.
//!
//! A failure prints its seed and step; `ALTAVOZ_SEED=n cargo test --test hub_simulation` replays it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use broker::config::Config;
use broker::config::rules::Rules;
use broker::hub::protocol::Protocol;
use broker::hub::{Hub, MailStep, Shared};
use broker::metrics::Metrics;
use broker_proto::json::Parser;
use broker_proto::topic::{Filter, Topic};
use serde_json::Value;

const WORKERS: usize = 3;
const SLOTS: u32 = 6;
const TOPICS: [&str; 4] = ["a/x", "a/y", "b/x", "$SYS/own"];
const FILTERS: [&str; 4] = ["a/+", "#", "+/x", "a/#"];
const STEPS: usize = 50_000;

/// What a client knows from what was sent to it.
#[derive(Default)]
struct Client {
    open: bool,
    /// Exact subscriptions that were answered, by topic: epoch and the next seq expected.
    exact: BTreeMap<String, (String, u64)>,
    filters: HashSet<String>,
    /// The last seq seen of each topic since it was last without a subscription to it.
    last: HashMap<String, u64>,
    sent: HashMap<u64, (&'static str, String)>,
    received: u64,
}

struct World {
    rng: fastrand::Rng,
    hubs: Vec<Hub>,
    clients: HashMap<(usize, u32), Client>,
    parser: Parser,
    now_ms: u64,
    next_id: u64,
    /// The payload of each message, by topic, epoch and seq: the same for everyone.
    order: HashMap<(String, u64), String>,
    published: u64,
}

#[test]
fn every_client_sees_every_topic_contiguous_and_in_one_order() {
    let seeds = match std::env::var("ALTAVOZ_SEED") {
        Ok(seed) => vec![seed.parse().expect("ALTAVOZ_SEED is a number")],
        Err(_) => (1..=10).collect(),
    };
    for seed in seeds {
        let mut world = World::new(seed);
        for step in 0..STEPS {
            let run = std::panic::AssertUnwindSafe(|| world.step());
            if let Err(panic) = std::panic::catch_unwind(run) {
                eprintln!("seed {seed}, step {step}");
                std::panic::resume_unwind(panic);
            }
        }
        world.end();
        let received: u64 = world.clients.values().map(|client| client.received).sum();
        assert!(world.published > 1_000 && received > 1_000, "seed {seed}: nothing happened");
    }
}

/// Settings by which messages of one topic wait for that long.
fn settings(flush_ms: u32) -> Config {
    let rule = format!(r#"{{"filter":"a/x","flush_ms":{flush_ms}}}"#);
    Config {
        topic_linger_ms: 50,
        commands_per_second_max: 0,
        mailbox_bytes_max: 4_000,
        history_ms: 30,
        last_ms: 40,
        topic: vec![
            serde_json::from_str(&rule).expect("a rule"),
            serde_json::from_str(r#"{"filter":"b/+","flush_ms":10}"#).expect("a rule"),
        ],
        ..Config::default()
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let config = Arc::new(settings(25));
        let shared = Arc::new(Shared::new(WORKERS, &config, 0));
        let metrics = Arc::new(Metrics::new(WORKERS));
        let hub = |at| Hub::new(at, shared.clone(), config.clone(), metrics.clone());
        Self {
            rng: fastrand::Rng::with_seed(seed),
            hubs: (0..WORKERS).map(hub).collect(),
            clients: HashMap::new(),
            parser: Parser::new(),
            now_ms: 1,
            next_id: 0,
            order: HashMap::new(),
            published: 0,
        }
    }

    fn step(&mut self) {
        let worker = self.rng.usize(..WORKERS);
        let slot = self.rng.u32(..SLOTS);
        match self.rng.u32(..100) {
            0..40 => self.publish(worker, slot),
            40..52 => self.subscribe(worker, slot),
            52..60 => self.unsubscribe(worker, slot),
            60..66 => self.open_or_close(worker, slot),
            66..90 => self.turn(worker),
            90 => {
                let rules = Rules::new(&settings([0, 25, 400][self.rng.usize(..3)]));
                self.hubs[0].shared().directory.replace_rules(rules);
            }
            _ => {
                self.now_ms += self.rng.u64(..40);
                let now_ms = self.now_ms;
                self.hubs[worker].handle_tick(now_ms);
            }
        }
    }

    fn end(&mut self) {
        self.now_ms += 1_000;
        for worker in 0..WORKERS {
            self.turn(worker);
            for slot in 0..SLOTS {
                self.hubs[worker].close(slot);
            }
        }
        self.now_ms += 10_000;
        for _ in 0..3 {
            self.now_ms += 10_000;
            let now_ms = self.now_ms;
            self.hubs.iter_mut().for_each(|hub| hub.handle_tick(now_ms));
        }
        assert_eq!(self.hubs[0].shared().directory.len(), 0, "every topic is forgotten");
    }

    fn open_or_close(&mut self, worker: usize, slot: u32) {
        let client = self.clients.entry((worker, slot)).or_default();
        if client.open {
            self.hubs[worker].close(slot);
            *client = Client { received: client.received, ..Client::default() };
        } else {
            client.open = true;
            self.next_id += 1;
            self.hubs[worker].open(slot, self.next_id, Protocol::Json);
        }
    }

    fn publish(&mut self, worker: usize, slot: u32) {
        let topic = TOPICS[self.rng.usize(..3)];
        self.published += 1;
        let text = format!(r#"{{"op":"publish","topic":"{topic}","data":{}}}"#, self.published);
        self.request(worker, slot, &text);
    }

    fn subscribe(&mut self, worker: usize, slot: u32) {
        let filter = match self.rng.bool() {
            true => TOPICS[self.rng.usize(..3)],
            false => FILTERS[self.rng.usize(..4)],
        };
        self.command(worker, slot, "subscribe", filter);
    }

    fn unsubscribe(&mut self, worker: usize, slot: u32) {
        let Some(client) = self.clients.get(&(worker, slot)) else { return };
        let mut held: Vec<_> = client.exact.keys().chain(&client.filters).cloned().collect();
        held.sort();
        if let Some(filter) = self.rng.choice(held) {
            self.command(worker, slot, "unsubscribe", &filter);
        }
    }

    fn command(&mut self, worker: usize, slot: u32, op: &'static str, filter: &str) {
        let Some(client) = self.clients.get_mut(&(worker, slot)).filter(|c| c.open) else { return };
        self.next_id += 1;
        client.sent.insert(self.next_id, (op, filter.to_owned()));
        let text = format!(r#"{{"id":{},"op":"{op}","topic":"{filter}"}}"#, self.next_id);
        self.request(worker, slot, &text);
    }

    fn request(&mut self, worker: usize, slot: u32, text: &str) {
        if !self.clients.get(&(worker, slot)).is_some_and(|client| client.open) {
            return;
        }
        let (hub, now_ms) = (&mut self.hubs[worker], self.now_ms);
        self.parser.parse(text, |request| {
            hub.handle_request(slot, &request, now_ms).expect("no limit is passed");
        });
    }

    /// One worker takes its mail, and everything it has goes out.
    fn turn(&mut self, worker: usize) {
        self.hubs[worker].handle_time(self.now_ms);
        loop {
            let step = self.hubs[worker].handle_mail();
            self.flush(worker);
            if step == MailStep::Done {
                break;
            }
        }
    }

    fn flush(&mut self, worker: usize) {
        let (mut touched, mut list) = (Vec::new(), Vec::new());
        self.hubs[worker].outbox.take_touched(&mut touched);
        for slot in touched {
            let Some((pending, protocol)) = self.hubs[worker].take_pending(slot) else { continue };
            let outbox = &self.hubs[worker].outbox;
            outbox.list(pending, &mut list);
            let client = self.clients.entry((worker, slot)).or_default();
            for frame in &list {
                let bytes = outbox.bytes_of(*frame, protocol);
                let at = if bytes[1] < 126 { 2 } else { 4 };
                let value: Value = serde_json::from_slice(&bytes[at..]).expect("JSON");
                client.receive(&value, &mut self.order);
            }
        }
        self.hubs[worker].outbox.clear();
    }
}

impl Client {
    fn receive(&mut self, value: &Value, order: &mut HashMap<(String, u64), String>) {
        if let Some(topic) = value["topic"].as_str() {
            let seq = value["seq"].as_u64().expect("a seq");
            self.receive_message(topic, seq, &value["data"], order);
            return;
        }
        let id = value["id"].as_u64().expect("an id");
        let (op, filter) = self.sent.remove(&id).expect("an answer to what was asked");
        let ok = &value["ok"];
        assert!(ok.is_object(), "{value}");
        match (op, ok["seq"].as_u64()) {
            ("subscribe", Some(seq)) => {
                let epoch = ok["epoch"].as_str().expect("an epoch").to_owned();
                if let Some((known, next)) = self.exact.get(&filter) {
                    assert_eq!((known, *next), (&epoch, seq + 1), "subscribed twice to {filter}");
                }
                self.exact.insert(filter, (epoch, seq + 1));
            }
            ("subscribe", None) => {
                self.filters.insert(filter);
            }
            _ => {
                self.exact.remove(&filter);
                self.filters.remove(&filter);
                let Self { last, filters, exact, .. } = self;
                last.retain(|topic, _| {
                    exact.contains_key(topic) || filters.iter().any(|filter| matches(filter, topic))
                });
            }
        }
    }

    fn receive_message(
        &mut self,
        topic: &str,
        seq: u64,
        data: &Value,
        order: &mut HashMap<(String, u64), String>,
    ) {
        self.received += 1;
        assert!(self.watches(topic), "{topic} {seq} came without a subscription");
        if let Some((_, next)) = self.exact.get_mut(topic) {
            assert!(seq <= *next, "{topic}: {seq} came before {next}");
            // What a wildcard filter still had coming may lie before the exact subscription.
            *next = (*next).max(seq + 1);
        }
        if let Some(last) = self.last.get(topic).copied() {
            assert!(seq == last + 1 || seq == 1, "{topic}: {seq} came after {last}");
        }
        self.last.insert(topic.to_owned(), seq);
        // Payloads are numbered in the order of publishing, so they tell the epochs apart.
        let key = (topic.to_owned(), seq);
        let text = data.to_string();
        let known = order.entry(key).or_insert_with(|| text.clone());
        if *known != text {
            assert!(number(known) < number(&text), "{topic} {seq}");
            *known = text;
        }
    }

    fn watches(&self, topic: &str) -> bool {
        self.exact.contains_key(topic) || self.filters.iter().any(|filter| matches(filter, topic))
    }
}

fn matches(filter: &str, topic: &str) -> bool {
    let topic = Topic::new(topic).expect("a topic");
    Filter::new(filter).expect("a filter").matches(topic)
}

fn number(text: &str) -> u64 {
    text.parse().expect("payloads are numbers")
}
