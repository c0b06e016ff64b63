//! Nodes that publish on the same topics through one stream, in virtual time, from a seed: whatever
//! is delayed, lost, sent twice or forgotten, all nodes deliver one order, nothing twice, and tell
//! the truth to those who published. Many publishes are repeated, on any node and at any time: each is
//! one message.
//!
//! A failure prints its seed and step; `ALTAVOZ_SEED=n cargo test --test stream_simulation` replays
//! it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use broker::cluster::stream::identities::Times;
use broker::cluster::stream::order::{Attempt, GivenUp, Limits, Refusal, Repeat, Seen};
use broker::cluster::stream::record::{Identity, Message, Origin, Record};
use broker::cluster::stream::sequencer::{Effect, Outcome, Sequencer, Settings};
use broker::hub::history::Budget;
use broker_proto::command::{Payload, Position};

const NODES: usize = 3;
/// Publishes on the last of them have no identity.
const TOPICS: [&str; 3] = ["a", "b", "c"];
/// Publishes that may be repeated, of the newest.
const REPEATED: usize = 40;
const STEPS: usize = 20_000;
const TIMEOUT_MS: u64 = 2_000;

/// What stands between a node and the server, and the server and a node.
enum Packet {
    Request { node: usize, run: u64, key: u32, topic: String, attempt: Attempt },
    Answer { node: usize, run: u64, key: u32, nonce: u64, outcome: Outcome },
}

/// The server: one stream.
#[derive(Default)]
struct Server {
    newest: u64,
    records: BTreeMap<u64, (String, Vec<u8>)>,
    /// How often all records of a topic got too old, and how often that was when one was stored.
    expired: HashMap<String, u64>,
    generations: HashMap<u64, u64>,
    last_of: HashMap<String, u64>,
    known: HashMap<Origin, u64>,
    is_down: bool,
}

/// A publish, and which message it is of.
struct Publish {
    at: usize,
    text: String,
    identity: Option<Identity>,
}

/// What became of a publish, as its publisher was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waits,
    Published,
    /// It came before.
    Repeated,
    Not,
    Unsure,
}

struct Node {
    run: u64,
    sequencer: Sequencer<Publish>,
    read_to: u64,
    is_cut_off: bool,
    /// Attempts without an answer: until when they are waited for.
    open: BTreeMap<(u32, u64), u64>,
    /// The newest message delivered, by topic.
    places: HashMap<String, Position>,
    delivered: HashSet<(u64, u64)>,
}

struct World {
    rng: fastrand::Rng,
    now_ms: u64,
    server: Server,
    nodes: Vec<Node>,
    packets: Vec<(u64, Packet)>,
    /// Of each publish.
    fates: Vec<Fate>,
    messages: u64,
    /// The publish of each message that has no identity.
    nameless: HashMap<u64, usize>,
    /// Messages with an identity.
    named: Vec<(u64, &'static str)>,
    /// Where each of them stands, by topic and how often that has expired.
    places: HashMap<(String, u64, u64), (u64, u64)>,
    /// The message at each place: the same on every node.
    order: HashMap<(String, u64, u64), u64>,
    runs: u64,
    conflicts: u64,
    epochs: HashSet<u64>,
}

#[test]
fn all_nodes_deliver_one_order_and_publishers_are_told_the_truth() {
    let seeds = match std::env::var("ALTAVOZ_SEED") {
        Ok(seed) => vec![seed.parse().expect("ALTAVOZ_SEED is a number")],
        Err(_) => (1..=20).collect(),
    };
    let (mut unsure, mut refused, mut epochs, mut repeated) = (0, 0, 0, 0);
    for seed in seeds {
        let mut world = World::new(seed);
        for step in 0..STEPS {
            let run = std::panic::AssertUnwindSafe(|| world.step());
            if let Err(panic) = std::panic::catch_unwind(run) {
                eprintln!("seed {seed}, step {step}");
                std::panic::resume_unwind(panic);
            }
        }
        world.end(seed);
        let count = |fate| world.fates.iter().filter(|&&told| told == fate).count();
        let taken = count(Fate::Published) + count(Fate::Repeated);
        assert!(taken > 300, "seed {seed}: nothing happened");
        assert!(world.conflicts > 20, "seed {seed}: the nodes did not meet");
        unsure += count(Fate::Unsure);
        repeated += count(Fate::Repeated);
        refused += count(Fate::Not);
        epochs += world.epochs.len() - TOPICS.len();
    }
    assert!(unsure > 0 && refused > 0, "no publish was given up");
    assert!(epochs > 0, "no topic began anew");
    assert!(repeated > 2_000, "only {repeated} publishes came again");
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            rng: fastrand::Rng::with_seed(seed),
            now_ms: 1,
            server: Server::default(),
            nodes: Vec::new(),
            packets: Vec::new(),
            fates: Vec::new(),
            messages: 0,
            nameless: HashMap::new(),
            named: Vec::new(),
            places: HashMap::new(),
            order: HashMap::new(),
            runs: 0,
            conflicts: 0,
            epochs: HashSet::new(),
        };
        for _ in 0..NODES {
            let node = world.fresh_node();
            world.nodes.push(node);
        }
        world
    }

    fn fresh_node(&mut self) -> Node {
        self.runs += 1;
        let settings = Settings {
            node: self.rng.u64(..),
            unix_ms: 1_700_000_000_000,
            timeout_ms: TIMEOUT_MS,
            topics_max: 100,
            limits: Limits { batch_bytes_max: 120, record_bytes_max: 200 },
        };
        Node {
            run: self.runs,
            sequencer: Sequencer::new(settings, 1, Arc::new(Budget::new(1 << 40))),
            read_to: 0,
            is_cut_off: false,
            open: BTreeMap::new(),
            places: HashMap::new(),
            delivered: HashSet::new(),
        }
    }

    fn step(&mut self) {
        let node = self.rng.usize(..NODES);
        match self.rng.u32(..1_000) {
            0..300 => self.publish(node),
            300..600 => self.read(node),
            600..602 => self.nodes[node].is_cut_off ^= true,
            602..604 => self.server.is_down ^= self.rng.bool(),
            604..606 => self.forget(node),
            606 => self.restart(node),
            607..612 => self.expire(),
            612..614 => self.now_ms += self.rng.u64(..1_000),
            614..750 => self.now_ms += self.rng.u64(..20),
            _ => self.deliver_packet(),
        }
        self.act(node);
    }

    fn publish(&mut self, node: usize) {
        let again = self.named.len().saturating_sub(1 + self.rng.usize(..REPEATED));
        let (id, topic) = match self.named.get(again).filter(|_| self.rng.u32(..3) == 0) {
            Some(again) => *again,
            None => {
                let at = self.rng.usize(..TOPICS.len());
                self.messages += 1;
                let new = (self.messages, TOPICS[at]);
                self.named.extend((at + 1 < TOPICS.len()).then_some(new));
                new
            }
        };
        let at = self.fates.len();
        self.fates.push(Fate::Waits);
        let is_named = topic != TOPICS[TOPICS.len() - 1];
        if !is_named {
            self.nameless.insert(id, at);
        }
        let publish = Publish { at, text: id.to_string(), identity: is_named.then(|| named(id)) };
        let (sequencer, now_ms) = (&mut self.nodes[node].sequencer, self.now_ms);
        sequencer.submit(topic, 0, publish, Publish::message, now_ms);
    }

    /// Carries out what a node wants, and its deadlines.
    fn act(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let late: Vec<_> = node.open.iter().filter(|(_, ms)| **ms <= self.now_ms).collect();
        for (key, nonce) in late.into_iter().map(|(attempt, _)| *attempt).collect::<Vec<_>>() {
            node.open.remove(&(key, nonce));
            node.sequencer.handle_outcome(key, nonce, Outcome::Unknown, self.now_ms);
        }
        node.sequencer.handle_time(self.now_ms);
        while let Some(effect) = self.nodes[at].sequencer.poll_effect(self.now_ms) {
            match effect {
                Effect::GiveUp(publishes, why) => self.give_up(&publishes, why),
                Effect::Repeat(publish, repeat, _) => self.repeat(&publish, repeat),
                Effect::Send { key, topic, attempt, .. } => {
                    let node = &mut self.nodes[at];
                    node.open.insert((key, attempt.origin.nonce), self.now_ms + 500);
                    let (topic, run) = (topic.to_string(), node.run);
                    self.post(Packet::Request { node: at, run, key, topic, attempt });
                }
            }
        }
    }

    fn give_up(&mut self, publishes: &[Publish], why: GivenUp) {
        for publish in publishes {
            self.settle(
                publish.at,
                match why {
                    GivenUp::NotPublished => Fate::Not,
                    GivenUp::Unsure => Fate::Unsure,
                    GivenUp::TooLarge | GivenUp::NoRoom => panic!("{} is short", publish.text),
                },
            );
        }
    }

    fn repeat(&mut self, publish: &Publish, repeat: Repeat) {
        self.settle(publish.at, Fate::Repeated);
        let Repeat::At(Position { epoch, seq }) = repeat else { panic!("{repeat:?}") };
        let id = id_of(publish.text.as_bytes());
        let stands = |topic: &&str| {
            self.order.get(&((*topic).to_owned(), epoch.value(), seq)).is_some_and(|at| *at == id)
        };
        assert!(TOPICS.iter().any(stands), "{id} has not the place {seq} of {epoch:?}");
    }

    fn settle(&mut self, publish: usize, fate: Fate) {
        assert_eq!(self.fates[publish], Fate::Waits, "{publish} was answered twice");
        self.fates[publish] = fate;
    }

    /// On its way, maybe for long, or lost.
    fn post(&mut self, packet: Packet) {
        if self.rng.u32(..100) < 3 {
            return;
        }
        let delay_ms = if self.rng.u32(..100) < 5 { 3_000 } else { 30 };
        let at_ms = self.now_ms + self.rng.u64(..delay_ms);
        self.packets.push((at_ms, packet));
    }

    fn deliver_packet(&mut self) {
        let due = (0..self.packets.len()).find(|&at| self.packets[at].0 <= self.now_ms);
        let Some(at) = due else { return self.now_ms += 1 };
        match self.packets.swap_remove(at).1 {
            Packet::Request { node, run, key, topic, attempt } => {
                if self.server.is_down || self.nodes[node].is_cut_off {
                    return;
                }
                let outcome = self.server.store(&topic, &attempt);
                self.conflicts += u64::from(matches!(outcome, Outcome::Refused(_)));
                let nonce = attempt.origin.nonce;
                self.post(Packet::Answer { node, run, key, nonce, outcome });
            }
            Packet::Answer { node, run, key, nonce, outcome } => {
                let node = &mut self.nodes[node];
                if node.run == run && !node.is_cut_off && node.open.remove(&(key, nonce)).is_some()
                {
                    node.sequencer.handle_outcome(key, nonce, outcome, self.now_ms);
                }
            }
        }
    }

    /// A node's reader takes the next records.
    fn read(&mut self, at: usize) {
        if self.nodes[at].is_cut_off || self.server.is_down {
            return;
        }
        for _ in 0..self.rng.u32(1..6) {
            let next = self.server.records.range(self.nodes[at].read_to + 1..).next();
            let Some((&number, (topic, bytes))) = next else { return };
            let (topic, bytes) = (topic.clone(), bytes.clone());
            self.take(at, number, &topic, &bytes);
        }
    }

    fn take(&mut self, at: usize, number: u64, topic: &str, bytes: &[u8]) {
        let record = Record::decode(bytes).expect("only records are stored");
        let id = |message: Message<'_>| id_of(message.payload.bytes());
        let ids: Vec<u64> = record.messages().map(id).collect();
        let generation = self.server.generations.get(&number).copied().unwrap_or(0);
        let node = &mut self.nodes[at];
        node.read_to = number;
        let times = Times { unix_ms: 1_700_000_000_000, now_ms: self.now_ms };
        match node.sequencer.handle_record(0, number, topic, &record, times) {
            Seen::Old => panic!("record {number} is read once"),
            Seen::Foreign { skip: 0, lost } => assert!(lost.is_empty(), "nothing was dropped"),
            Seen::Foreign { skip, .. } => panic!("{skip} numbers were taken twice"),
            Seen::Own(publishes) => {
                let of = |publish: &Publish| id_of(publish.text.as_bytes());
                let told: Vec<u64> = publishes.iter().map(of).collect();
                assert_eq!(told, ids, "the answers go to those who asked");
                publishes.iter().for_each(|publish| self.settle(publish.at, Fate::Published));
            }
        }
        let node = &mut self.nodes[at];
        for (seq, id) in (record.first.seq..).zip(ids) {
            let is_new = node.delivered.insert((record.first.epoch.value(), id));
            assert!(is_new, "{id} was delivered twice");
            let place = Position { seq, ..record.first };
            if let Some(before) = node.places.insert(topic.to_owned(), place) {
                let follows = before.epoch != place.epoch && seq == 1 || seq == before.seq + 1;
                assert!(follows, "{before:?}, then {place:?}");
            }
            let epoch = place.epoch.value();
            self.epochs.insert(epoch);
            let first = *self.order.entry((topic.to_owned(), epoch, seq)).or_insert(id);
            assert_eq!(first, id, "two messages are {topic} {place:?}");
            let told = self.nameless.get(&id).map(|at| self.fates[*at]);
            assert_ne!(told, Some(Fate::Not), "{id} was said not to be published");
            let of_topic = (topic.to_owned(), generation, id);
            let only = *self.places.entry(of_topic).or_insert((epoch, seq));
            assert_eq!(only, (epoch, seq), "{id} is two messages of {topic}");
        }
    }

    /// The node dies and comes back; it knows nothing and reads all that is kept.
    fn restart(&mut self, at: usize) {
        let node = self.fresh_node();
        self.nodes[at] = node;
    }

    /// What all nodes have read of a topic gets too old, if nobody is publishing on it.
    fn expire(&mut self) {
        let topic = TOPICS[self.rng.usize(..TOPICS.len())];
        let is_quiet = !self
            .packets
            .iter()
            .any(|(_, packet)| matches!(packet, Packet::Request { topic: on, .. } if on == topic));
        let read_by_all = self.nodes.iter().map(|node| node.read_to).min().unwrap_or(0);
        if is_quiet && self.server.last_of.get(topic).is_some_and(|last| *last <= read_by_all) {
            self.server.records.retain(|_, (on, _)| on != topic);
            self.server.last_of.remove(topic);
            *self.server.expired.entry(topic.to_owned()).or_insert(0) += 1;
        }
    }

    fn forget(&mut self, at: usize) {
        let topic = TOPICS[self.rng.usize(..TOPICS.len())];
        self.nodes[at].sequencer.forget(topic);
    }

    /// Everything works again, and time passes: all have read the same, nobody waits.
    fn end(&mut self, seed: u64) {
        self.server.is_down = false;
        self.nodes.iter_mut().for_each(|node| node.is_cut_off = false);
        for _ in 0..2_000 {
            self.now_ms += 5;
            for at in 0..NODES {
                self.read(at);
                self.act(at);
            }
            for _ in 0..10 {
                self.deliver_packet();
            }
        }
        let places = |node: &Node| -> BTreeMap<String, (u64, u64)> {
            let flat =
                |(topic, at): (&String, &Position)| (topic.clone(), (at.epoch.value(), at.seq));
            node.places.iter().map(flat).collect()
        };
        for node in &self.nodes {
            assert_eq!(node.read_to, self.server.newest, "seed {seed}");
            for (topic, place) in places(node) {
                assert_eq!(places(&self.nodes[0]).get(&topic), Some(&place), "seed {seed}");
            }
            assert_eq!(node.sequencer.attempts(), 0, "seed {seed}");
        }
    }
}

impl Publish {
    fn message(&self) -> Message<'_> {
        Message { payload: Payload::Json(self.text.as_bytes()), identity: self.identity }
    }
}

fn named(number: u64) -> Identity {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Identity { id, request: 0, kept_ms: 3_600_000 }
}

fn id_of(bytes: &[u8]) -> u64 {
    let text = std::str::from_utf8(bytes).expect("digits");
    text.parse().expect("digits")
}

impl Server {
    fn store(&mut self, topic: &str, attempt: &Attempt) -> Outcome {
        if self.known.contains_key(&attempt.origin) {
            return Outcome::Stored;
        }
        let last = self.last_of.get(topic).copied().unwrap_or(0);
        if last != attempt.expected {
            return Outcome::Refused(Refusal::Conflict(Some(last)));
        }
        self.newest += 1;
        self.known.insert(attempt.origin, self.newest);
        let generation = self.expired.get(topic).copied().unwrap_or(0);
        self.generations.insert(self.newest, generation);
        self.last_of.insert(topic.to_owned(), self.newest);
        self.records.insert(self.newest, (topic.to_owned(), attempt.record.to_vec()));
        Outcome::Stored
    }
}
