//! What clients of a cluster saw and were told, and whether that can be true: acknowledged messages
//! are there, nothing comes twice, nothing is missing without a notice, and all saw one order.
//!
//! A file that needs it takes it in with `#[path = "support/ledger.rs"] mod ledger;` beside
//! `support`.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use broker_proto::ws::Opcode;
use serde_json::Value;

use crate::support::ws_client::{Received, WsClient};

/// How long a reader waits before it looks whether it should end.
const GLANCE: Duration = Duration::from_millis(100);

/// Silence after which a reader that should end takes it that nothing more comes: longer than a node
/// takes to find that NATS sends it nothing, and to ask again.
const QUIET: Duration = Duration::from_secs(4);
/// How often a publisher that takes its time publishes, at most.
const PACE: Duration = Duration::from_millis(2);

/// What a subscriber saw of one topic.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Messages: epoch, seq, and the number in it.
    pub(crate) messages: Vec<(String, u64, u64)>,
    /// Announced as missing: epoch, and the first and last seq.
    pub(crate) gaps: Vec<(String, u64, u64)>,
}

/// What a publisher was told of its messages, by the number in them.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Acknowledged, with epoch and seq.
    pub(crate) done: HashMap<u64, (String, u64)>,
    /// Refused, with the message.
    pub(crate) refused: HashMap<u64, String>,
    /// Never answered: the connection ended first.
    pub(crate) open: HashSet<u64>,
}

/// Subscribes to a topic in a thread of its own until `stop` is set and nothing more comes.
pub(crate) fn subscribe(
    address: SocketAddr,
    topic: &str,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<Seen> {
    let mut client = WsClient::connect(address, "/ws", &[]).expect("the broker listens");
    let command = format!(r#"{{"id":0,"op":"subscribe","topic":"{topic}"}}"#);
    let answer: Value = serde_json::from_str(&client.command(&command)).expect("JSON");
    let mut epoch = text_of(&answer["ok"]["epoch"]);
    let (stop, mut seen) = (stop.clone(), Seen::default());
    let mut heard = Instant::now();
    thread::spawn(move || {
        loop {
            match client.receive(GLANCE) {
                Some(Received::Text(text)) => {
                    heard = Instant::now();
                    seen.take(&text, &mut epoch);
                }
                None if stop.load(Ordering::Relaxed) && heard.elapsed() > QUIET => return seen,
                // Who never answers is sent away after a while. Fails only if the broker is gone.
                Some(Received::Ping(payload)) => {
                    let _ = client.send_frame(Opcode::Pong, &payload);
                }
                None => {}
                // Its broker is gone.
                Some(_) => return seen,
            }
        }
    })
}

/// Publishes so many messages on a topic in a thread of its own, at most `window` at once without an
/// answer; their numbers begin with `first`.
pub(crate) fn publish(
    address: SocketAddr,
    topic: &str,
    (first, count, window): (u64, u64, usize),
) -> JoinHandle<Told> {
    let mut client = WsClient::connect(address, "/ws", &[]).expect("the broker listens");
    let topic = topic.to_owned();
    thread::spawn(move || {
        let mut told = Told::default();
        let mut next = first;
        let deadline = Instant::now() + Duration::from_secs(60);
        while next < first + count || !told.open.is_empty() {
            while next < first + count && told.open.len() < window {
                let command =
                    format!(r#"{{"id":{next},"op":"publish","topic":"{topic}","data":{next}}}"#);
                if client.send_text(&command).is_err() {
                    return told;
                }
                told.open.insert(next);
                next += 1;
            }
            match client.receive(GLANCE) {
                Some(Received::Text(text)) => told.take(&text),
                Some(Received::Ping(_)) => {}
                None => assert!(Instant::now() < deadline, "{} without answer", told.open.len()),
                Some(_) => return told,
            }
        }
        told
    })
}

/// Publishes on a topic in a thread of its own, one message after the other, until `stop` is set and
/// all are answered; their numbers begin with `first`.
pub(crate) fn publish_until(
    address: SocketAddr,
    topic: &str,
    first: u64,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<Told> {
    let mut client = WsClient::connect(address, "/ws", &[]).expect("the broker listens");
    let (topic, stop) = (topic.to_owned(), stop.clone());
    thread::spawn(move || {
        let mut told = Told::default();
        for next in first.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let command =
                format!(r#"{{"id":{next},"op":"publish","topic":"{topic}","data":{next}}}"#);
            if client.send_text(&command).is_err() {
                return told;
            }
            told.open.insert(next);
            if !told.read(&mut client, PACE) {
                return told;
            }
            thread::sleep(PACE);
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while !told.open.is_empty() && told.read(&mut client, GLANCE) {
            assert!(Instant::now() < deadline, "{} without answer", told.open.len());
        }
        told
    })
}

impl Seen {
    fn take(&mut self, text: &str, epoch: &mut String) {
        let message: Value = serde_json::from_str(text).expect("JSON");
        if let Some(seq) = message["seq"].as_u64() {
            let number = message["data"].as_u64().expect("a number");
            self.messages.push((epoch.clone(), seq, number));
        } else if message["gap"].is_object() {
            let at = |name: &str| message["gap"][name].as_u64().expect("a seq");
            self.gaps.push((epoch.clone(), at("from"), at("to")));
        } else if message["epoch"].is_object() {
            *epoch = text_of(&message["epoch"]["epoch"]);
        }
    }
}

impl Told {
    /// Takes an answer, if one comes in time; false: the connection has ended.
    fn read(&mut self, client: &mut WsClient, limit: Duration) -> bool {
        match client.receive(limit) {
            Some(Received::Text(text)) => self.take(&text),
            Some(Received::Ping(_)) | None => {}
            Some(_) => return false,
        }
        true
    }

    fn take(&mut self, text: &str) {
        let answer: Value = serde_json::from_str(text).expect("JSON");
        let Some(id) = answer["id"].as_u64() else { panic!("no answer of ours: {text}") };
        assert!(self.open.remove(&id), "{id} was answered twice");
        match answer["ok"]["seq"].as_u64() {
            Some(seq) => drop(self.done.insert(id, (text_of(&answer["ok"]["epoch"]), seq))),
            None => drop(self.refused.insert(id, text_of(&answer["error"]["message"]))),
        }
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Whether what these saw of one topic, and what those were told who published on it, can be true.
/// With `is_whole`, the subscribers were there all the time and missed nothing.
pub(crate) fn check(seen: &[Seen], told: &[Told], is_whole: bool) {
    let mut order: BTreeMap<(String, u64), u64> = BTreeMap::new();
    let mut place_of: HashMap<u64, (String, u64)> = HashMap::new();
    for log in seen {
        let mut numbers = HashSet::new();
        for (epoch, seq, number) in &log.messages {
            assert!(numbers.insert(number), "{number} came twice to one subscriber");
            let place = (epoch.clone(), *seq);
            let first = *order.entry(place.clone()).or_insert(*number);
            assert_eq!(first, *number, "two messages are {place:?}");
            let before = place_of.entry(*number).or_insert_with(|| place.clone());
            assert_eq!(*before, place, "{number} has two places");
        }
        check_holes(log);
    }
    for told in told {
        for (number, place) in &told.done {
            match place_of.get(number) {
                Some(seen) => assert_eq!(seen, place, "{number} was acknowledged elsewhere"),
                None => assert!(!is_whole, "{number} was acknowledged and nobody saw it"),
            }
        }
        for (number, why) in &told.refused {
            let may_be_there = !why.starts_with("not published");
            assert!(may_be_there || !place_of.contains_key(number), "{number} is there: {why}");
        }
    }
    if is_whole {
        for (at, log) in seen.iter().enumerate() {
            let saw: HashSet<_> = log.messages.iter().map(|(epoch, seq, _)| (epoch, seq)).collect();
            let missed: Vec<_> =
                order.keys().filter(|(epoch, seq)| !saw.contains(&(epoch, seq))).collect();
            let (last, gaps) = (log.messages.last(), &log.gaps);
            assert!(missed.is_empty(), "subscriber {at}: {missed:?}, gaps {gaps:?}, last {last:?}");
        }
    }
}

/// Every seq between two messages of an epoch came or was announced as missing.
fn check_holes(log: &Seen) {
    for (before, after) in log.messages.iter().zip(log.messages.iter().skip(1)) {
        if before.0 != after.0 {
            continue;
        }
        assert!(after.1 > before.1, "{after:?} came after {before:?}");
        let is_known = |seq: u64| {
            let holds =
                |gap: &(String, u64, u64)| gap.0 == before.0 && (gap.1..=gap.2).contains(&seq);
            log.gaps.iter().any(holds)
        };
        let missing = (before.1 + 1..after.1).find(|seq| !is_known(*seq));
        assert_eq!(missing, None, "no notice told of a hole between {before:?} and {after:?}");
    }
}
