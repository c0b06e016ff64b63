//! The broker is killed at random moments while several clients publish, many messages ahead of
//! the answers. Every message that was answered must be there afterwards, once, with the seq of
//! its answer, and nothing may stand between them.

use std::collections::HashMap;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use broker_proto::ws::{Opcode, encode_masked_frame};
use serde_json::Value;

use super::support::ws_client::{Received, WsClient};
use super::{Place, feed, is_end, json, kill, recover};

const PUBLISHERS: u64 = 3;
/// Messages that a publisher is ahead of the answers.
const AHEAD: u64 = 256;
const BURST: u64 = 32;
/// Longest time from the first answer to the end, in microseconds.
const LIFE_US: u64 = 60_000;

/// What a publisher was answered: the number of a message, and the seq that it got.
type Answered = Vec<(u64, u64)>;

#[test]
fn x_04_what_was_answered_is_there_after_a_kill_at_any_moment() {
    rounds(20);
}

/// `cargo test -p broker --test durable -- --ignored two_hundred`
#[test]
#[ignore = "takes minutes"]
fn x_04_two_hundred_kills() {
    rounds(200);
}

fn rounds(count: u64) {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    // All of it is asked for at the end, so none of it may be left out for want of room.
    let place =
        Place::new().with("history_total_bytes_max = 8589934592\nstore_bytes_max = 34359738368\n");
    let mut topics: HashMap<String, Known> = HashMap::new();
    let (mut answered, mut unanswered) = (0, 0);
    for round in 0..count {
        let broker = place.start();
        for (name, known) in &mut topics {
            known.check(&broker, name);
        }
        let (begun, first) = mpsc::channel();
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|number| {
                let (client, begun) = (feed::connect(broker.address()), begun.clone());
                let first = (round * PUBLISHERS + number) << 32;
                // Two of the three publish on one topic.
                let topic = format!("d/{}", number / 2);
                thread::spawn(move || (topic.clone(), publish_on(client, &topic, first, &begun)))
            })
            .collect();
        first.recv_timeout(Duration::from_secs(20)).expect("something is answered");
        thread::sleep(Duration::from_micros(random.u64(..LIFE_US)));
        kill(broker);
        for publisher in publishers {
            let (topic, (epoch, done, sent)) = publisher.join().expect("it ends with the broker");
            answered += done.len() as u64;
            unanswered += sent - done.len() as u64;
            if let Some(epoch) = epoch {
                topics.entry(topic).or_default().expect(&epoch, done);
            }
        }
    }
    let broker = place.start();
    let mut stored = 0;
    for (name, known) in &mut topics {
        known.check(&broker, name);
        stored += known.messages.len() as u64;
        known.check_whole(&broker, name);
    }
    assert_eq!(broker.metrics("altavoz_store_damaged_bytes_total"), 0.0);
    eprintln!("{count} kills: {answered} answered, {stored} there, {unanswered} without an answer");
    assert!(answered > count, "hardly anything was published");
}

/// Publishes numbers from `first` on until the connection ends. The epoch, what was answered, and
/// how many were sent.
fn publish_on(
    mut client: WsClient,
    topic: &str,
    first: u64,
    begun: &mpsc::Sender<()>,
) -> (Option<String>, Answered, u64) {
    let (mut epoch, mut done, mut sent) = (None, Answered::new(), 0);
    loop {
        while sent < done.len() as u64 + AHEAD {
            let mut burst = Vec::new();
            for number in sent..sent + BURST {
                let data = first + number;
                let text =
                    format!(r#"{{"id":{data},"op":"publish","topic":"{topic}","data":{data}}}"#);
                encode_masked_frame(&mut burst, Opcode::Text, text.as_bytes(), [1, 2, 3, 4]);
            }
            sent += BURST;
            if client.send_raw(&burst).is_err() {
                // What was answered before may still be on its way.
                while let Some(entry) = next_answer(&mut client, &mut epoch) {
                    done.push(entry);
                }
                return (epoch, done, sent);
            }
        }
        let Some(entry) = next_answer(&mut client, &mut epoch) else { return (epoch, done, sent) };
        done.push(entry);
        // Fails when the test has seen the first.
        let _ = begun.send(());
    }
}

/// The next answer; `None` at the end of the connection.
fn next_answer(client: &mut WsClient, epoch: &mut Option<String>) -> Option<(u64, u64)> {
    loop {
        let received = client.receive(Duration::from_secs(20));
        if is_end(received.as_ref()) {
            return None;
        }
        let Some(Received::Text(text)) = received else { continue };
        let answer = json(&text);
        let ok = &answer["ok"];
        assert_eq!(ok["level"], "durable", "{text}");
        let named = ok["epoch"].as_str().expect("it has an epoch");
        assert_eq!(epoch.get_or_insert_with(|| named.to_owned()), named, "it stays the same");
        return Some((answer["id"].as_u64()?, ok["seq"].as_u64()?));
    }
}

/// What is known of a topic.
#[derive(Default)]
struct Known {
    epoch: String,
    /// All that was found in the store, by seq from 1.
    messages: Vec<u64>,
    /// What was answered since it was looked at.
    answered: Answered,
}

impl Known {
    fn expect(&mut self, epoch: &str, answered: Answered) {
        assert!(self.epoch.is_empty() || self.epoch == epoch, "{} became {epoch}", self.epoch);
        epoch.clone_into(&mut self.epoch);
        self.answered.extend(answered);
    }

    /// Looks at what came to be since the last time.
    fn check(&mut self, broker: &super::Broker, name: &str) {
        let have = self.messages.len() as u64;
        let (answer, new) = recover(broker, name, &self.epoch, have);
        assert_eq!(
            (&answer["recovered"], &answer["epoch"]),
            (&true.into(), &self.epoch[..].into())
        );
        for (seq, data) in new {
            assert_eq!(seq, self.messages.len() as u64 + 1, "no hole and no repeat in {name}");
            self.messages.push(data.as_u64().expect("it is a number"));
        }
        for (number, seq) in self.answered.drain(..) {
            let there = seq.checked_sub(1).and_then(|at| self.messages.get(at as usize));
            assert_eq!(there, Some(&number), "{name}: answered with seq {seq}");
        }
    }

    /// Reads all of it once more: nothing has changed, and nothing is there twice.
    fn check_whole(&self, broker: &super::Broker, name: &str) {
        let (_, all) = recover(broker, name, &self.epoch, 0);
        let all: Vec<u64> =
            all.iter().filter_map(|(_, data): &(u64, Value)| data.as_u64()).collect();
        assert_eq!(all, self.messages, "{name}");
        let mut numbers = all.clone();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all.len(), "{name}: a message is there twice");
        // Of one publisher the messages stand in the order in which they were sent.
        let mut last: HashMap<u64, u64> = HashMap::new();
        for number in all {
            let before = last.insert(number >> 32, number);
            assert!(before.is_none_or(|before| before < number), "{name}: {before:?}, {number}");
        }
    }
}
