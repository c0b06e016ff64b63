//! Recovery, last values, the mode latest, pauses and slow readers over several hubs, in one thread
//! and in virtual time, from a seed: whatever the interleaving, what a client gets of a topic is
//! contiguous or announced, never comes twice, is what was published, and the accounts close.
//!
//! This is attack P-22: live messages beside those that are caught up with.
//!
//! A failure prints its seed and step; `ALTAVOZ_SEED=n cargo test --test delivery_simulation`
//! replays it.

use std::collections::HashMap;
use std::sync::Arc;

use broker::config::Config;
use broker::hub::{Hub, MailStep, Shared};
use broker::metrics::Metrics;
use broker_proto::json::Parser;

#[path = "delivery_simulation/client.rs"]
mod client;
#[path = "delivery_simulation/reader.rs"]
mod reader;
#[path = "delivery_simulation/renumbered.rs"]
mod renumbered;

use client::{Client, Log};
use reader::Reader;

const WORKERS: usize = 2;
const SLOTS: u32 = 5;
const TOPICS: [&str; 4] = ["a/x", "a/y", "a/z", "b"];
const FILTER: &str = "a/+";
const STEPS: usize = 100_000;

struct World {
    rng: fastrand::Rng,
    hubs: Vec<Hub>,
    clients: HashMap<(usize, u32), Client>,
    readers: HashMap<(usize, u32), Reader>,
    stepping: Vec<(usize, u32)>,
    parser: Parser,
    now_ms: u64,
    next_id: u64,
    /// Who is being served, for the message of a failure.
    at: (usize, u32),
    log: Log,
}

#[test]
fn p_22_what_a_client_gets_is_contiguous_or_announced_and_never_twice() {
    let seeds = match std::env::var("ALTAVOZ_SEED") {
        Ok(seed) => vec![seed.parse().expect("ALTAVOZ_SEED is a number")],
        Err(_) => (1..=4).collect(),
    };
    for seed in seeds {
        let mut world = World::new(seed);
        for step in 0..STEPS {
            let run = std::panic::AssertUnwindSafe(|| world.step());
            if let Err(panic) = std::panic::catch_unwind(run) {
                let said = world.clients.get(&world.at).map(Client::said).unwrap_or_default();
                eprintln!("{said}seed {seed}, step {step}");
                std::panic::resume_unwind(panic);
            }
        }
        world.settle();
        world.end();
        let log = &world.log;
        let happened = [
            ("received", log.received),
            ("recovered", log.recovered),
            ("gaps", log.gaps),
            ("modes", log.modes),
            ("latest", log.latest),
            ("skipped", log.skipped),
            ("epochs", log.epochs),
            ("recovered_filters", log.recovered_filters),
        ];
        println!("seed {seed}: {happened:?}, {} hopeless", log.hopeless);
        assert!(happened.iter().all(|(_, count)| *count > 2), "seed {seed}: {happened:?}");
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let delayed = format!(r#"{{"filter":"{}","flush_ms":40}}"#, TOPICS[0]);
        let config = Arc::new(Config {
            topic_linger_ms: 200,
            commands_per_second_max: 0,
            mailbox_bytes_max: 1 << 20,
            backlog_bytes_max: 4_000,
            history_messages: 12,
            history_ms: 4_000,
            last_ms: 10_000,
            // In every other run messages wait a little, in every fourth all do.
            flush_ms: if seed % 4 == 3 { 15 } else { 0 },
            topic: match seed % 2 {
                0 => Vec::new(),
                _ => vec![serde_json::from_str(&delayed).expect("a rule")],
            },
            ..Config::default()
        });
        let shared = Arc::new(Shared::new(WORKERS, &config, 0));
        let metrics = Arc::new(Metrics::new(WORKERS));
        let hub = |at| Hub::new(at, shared.clone(), config.clone(), metrics.clone());
        Self {
            rng: fastrand::Rng::with_seed(seed),
            hubs: (0..WORKERS).map(hub).collect(),
            clients: HashMap::new(),
            readers: HashMap::new(),
            stepping: Vec::new(),
            parser: Parser::new(),
            now_ms: 1,
            next_id: 0,
            at: (0, 0),
            log: Log::default(),
        }
    }

    fn step(&mut self) {
        let who = (self.rng.usize(..WORKERS), self.rng.u32(..SLOTS));
        match self.rng.u32(..100) {
            0..35 => self.publish(),
            35..44 => self.subscribe(who),
            44..47 => self.command(who, "unsubscribe"),
            47..50 => self.command(who, "pause"),
            50..54 => self.command(who, "resume"),
            54..58 => self.open_or_close(who),
            58..61 => self.reader(who).is_stalled ^= true,
            61..70 => self.read(who),
            70..90 => self.turn(who.0),
            _ => {
                self.now_ms += self.rng.u64(..60);
                if self.rng.u32(..8) == 0 {
                    let now_ms = self.now_ms;
                    self.hubs[who.0].handle_tick(now_ms);
                    self.turn(who.0);
                }
            }
        }
    }

    /// Everybody reads, and everything that waits goes out.
    fn settle(&mut self) {
        for _ in 0..400 {
            self.now_ms += 50;
            for worker in 0..WORKERS {
                if self.now_ms % 1_000 < 50 {
                    let now_ms = self.now_ms;
                    self.hubs[worker].handle_tick(now_ms);
                }
                self.turn(worker);
                for slot in 0..SLOTS {
                    self.reader((worker, slot)).is_stalled = false;
                    self.read((worker, slot));
                }
            }
        }
    }

    /// Those who want the newest have it, and all accounts close.
    fn end(&mut self) {
        let keys: Vec<_> = self.clients.keys().copied().collect();
        for who in keys {
            self.clients[&who].check_newest(&self.log);
            self.send(who, "stats", String::new());
            self.turn(who.0);
            self.read(who);
        }
        for hub in &mut self.hubs {
            assert_eq!(hub.held_back_bytes(), 0, "nobody is slow any more");
        }
    }

    fn publish(&mut self) {
        // Now and then one that is new.
        let topic = match self.rng.u32(..12) {
            0 => format!("a/n{}", self.now_ms / 1_500),
            _ => TOPICS[self.rng.usize(..TOPICS.len())].to_owned(),
        };
        let worker = self.rng.usize(..WORKERS);
        let number = self.log.publish(&topic, self.now_ms);
        let padding = "x".repeat(self.rng.usize(..120));
        let text = format!(r#"{{"op":"publish","topic":"{topic}","data":[{number},"{padding}"]}}"#);
        // A slot that no client has.
        let (slot, now_ms) = (SLOTS, self.now_ms);
        let hub = &mut self.hubs[worker];
        if hub.session(slot).is_none() {
            hub.open(slot, u64::MAX, broker::hub::protocol::Protocol::Json);
        }
        self.parser.parse(&text, |request| {
            hub.handle_request(slot, &request, now_ms).expect("no limit is passed");
        });
    }

    fn subscribe(&mut self, who: (usize, u32)) {
        let rng = &mut self.rng;
        let Some(client) = self.clients.get_mut(&who).filter(|client| client.is_open) else {
            return;
        };
        let topic = client.topic.get_or_insert_with(|| match rng.bool() {
            true => FILTER.to_owned(),
            false => TOPICS[rng.usize(..TOPICS.len())].to_owned(),
        });
        let topic = topic.clone();
        let options = match rng.u32(..6) {
            0 => String::new(),
            1 => r#","last":true"#.to_owned(),
            2 => r#","mode":"latest","max_rate":10"#.to_owned(),
            3 => r#","mode":"latest","last":true"#.to_owned(),
            _ => client.since(&topic).unwrap_or_default(),
        };
        let epochs = if topic == FILTER { r#","epochs":true"# } else { "" };
        let options = options + epochs;
        self.send(who, "subscribe", options);
    }

    fn command(&mut self, who: (usize, u32), op: &'static str) {
        if self.clients.get(&who).is_some_and(Client::is_subscribed) {
            self.send(who, op, String::new());
        }
    }

    fn send(&mut self, (worker, slot): (usize, u32), op: &'static str, options: String) {
        // As in the event loop: nothing is read between a flush and what it has led to.
        self.step_down(worker);
        let Some(client) = self.clients.get_mut(&(worker, slot)) else { return };
        if !client.is_open {
            return;
        }
        self.next_id += 1;
        let text = client.request(self.next_id, op, options);
        let (hub, now_ms) = (&mut self.hubs[worker], self.now_ms);
        self.parser.parse(&text, |request| {
            hub.handle_request(slot, &request, now_ms).expect("no limit is passed");
        });
    }

    fn open_or_close(&mut self, (worker, slot): (usize, u32)) {
        let client = self.clients.entry((worker, slot)).or_default();
        if client.is_open {
            self.close((worker, slot));
        } else {
            client.is_open = true;
            self.next_id += 1;
            let protocol = broker::hub::protocol::Protocol::Json;
            self.hubs[worker].open(slot, self.next_id, protocol);
        }
    }

    fn close(&mut self, (worker, slot): (usize, u32)) {
        self.hubs[worker].close(slot);
        self.readers.remove(&(worker, slot));
        self.stepping.retain(|held| *held != (worker, slot));
        if let Some(client) = self.clients.get_mut(&(worker, slot)) {
            client.disconnect(self.now_ms);
        }
    }

    fn reader(&mut self, who: (usize, u32)) -> &mut Reader {
        self.readers.entry(who).or_default()
    }

    /// A client reads some of what waits for it.
    fn read(&mut self, (worker, slot): (usize, u32)) {
        let length = self.rng.usize(1..6_000);
        let Some(reader) = self.readers.get_mut(&(worker, slot)) else { return };
        let Some((messages, bytes)) = reader.read(length) else { return };
        let steps_down = self.hubs[worker].handle_backlog(slot, messages, bytes);
        if steps_down {
            self.stepping.push((worker, slot));
        }
        self.receive((worker, slot));
    }

    fn receive(&mut self, who: (usize, u32)) {
        self.at = who;
        let (Some(reader), Some(client)) = (self.readers.get_mut(&who), self.clients.get_mut(&who))
        else {
            return;
        };
        for text in reader.take_messages() {
            client.receive(&text, &mut self.log);
        }
    }

    /// One worker's turn, as its event loop takes it.
    fn turn(&mut self, worker: usize) {
        self.step_down(worker);
        let now_ms = self.now_ms;
        self.hubs[worker].handle_time(now_ms);
        loop {
            let step = self.hubs[worker].handle_mail();
            self.flush(worker);
            if step == MailStep::Done {
                break;
            }
        }
    }

    fn step_down(&mut self, worker: usize) {
        // In the event loop a turn begins when all that was said in the last one is out.
        self.flush(worker);
        for (at, slot) in std::mem::take(&mut self.stepping) {
            if at != worker {
                self.stepping.push((at, slot));
                continue;
            }
            let hub = &mut self.hubs[worker];
            let Some(reader) = self.readers.get_mut(&(worker, slot)) else { continue };
            let taken = reader.take_back(hub.may_hold_back(slot));
            let (messages, bytes) = reader.waiting();
            hub.handle_backlog(slot, messages, bytes);
            hub.take_back(slot, &taken);
        }
        for (slot, _) in self.hubs[worker].take_hopeless() {
            self.log.hopeless += 1;
            self.close((worker, slot));
        }
    }

    fn flush(&mut self, worker: usize) {
        let (mut touched, mut list) = (Vec::new(), Vec::new());
        self.hubs[worker].outbox.take_touched(&mut touched);
        for slot in touched {
            let hub = &mut self.hubs[worker];
            let Some((pending, _)) = hub.take_pending(slot) else { continue };
            hub.outbox.list(pending, &mut list);
            if slot == SLOTS {
                continue;
            }
            let reader = self.readers.entry((worker, slot)).or_default();
            let was_waiting = reader.waiting().1 > 0;
            for frame in &list {
                reader.push(hub.outbox.frame(*frame), &hub.outbox, *frame);
            }
            if !was_waiting && !reader.is_stalled {
                reader.read(usize::MAX);
            } else {
                let (messages, bytes) = reader.waiting();
                if hub.handle_backlog(slot, messages, bytes) {
                    self.stepping.push((worker, slot));
                }
            }
            self.receive((worker, slot));
        }
        self.hubs[worker].outbox.clear();
    }
}
