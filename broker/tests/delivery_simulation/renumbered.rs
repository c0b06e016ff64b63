//! A topic's numbering begins anew while a client does not keep up, is still catching up, or has the
//! newest already: of either numbering it gets all that comes, or is told what does not.

use std::sync::Arc;

use broker::config::Config;
use broker::hub::desk::Desk;
use broker::hub::protocol::Protocol;
use broker::hub::{Hub, MailStep, Shared};
use broker::metrics::Metrics;
use broker_proto::command::{Epoch, Payload};
use broker_proto::json::Parser;
use broker_proto::topic::Topic;
use serde_json::Value;

use super::reader::Reader;

/// One worker with one client, and another node that publishes.
struct World {
    hub: Hub,
    desk: Desk,
    metrics: Arc<Metrics>,
    reader: Reader,
    /// How many bytes the client reads whenever it is sent something.
    pace: usize,
    now_ms: u64,
}

impl World {
    fn new(backlog_bytes_max: u64) -> Self {
        let config = Arc::new(Config { backlog_bytes_max, ..Config::default() });
        let shared = Arc::new(Shared::new(1, &config, 0));
        let metrics = Arc::new(Metrics::new(1));
        let mut hub = Hub::new(0, shared.clone(), config, metrics.clone());
        hub.open(0, 1, Protocol::Json);
        let desk = Desk::new(shared, |_| {});
        Self { hub, desk, metrics, reader: Reader::default(), pace: usize::MAX, now_ms: 1 }
    }

    /// Messages of an epoch, each of so many bytes.
    fn publish(&mut self, topic: &str, epoch: u64, seqs: impl Iterator<Item = u64>, bytes: usize) {
        let (name, epoch) = (Topic::new(topic).expect("a name"), Epoch::new(epoch));
        let data = format!("\"{}\"", "x".repeat(bytes));
        for seq in seqs {
            let payload = Payload::Json(data.as_bytes());
            let mut commits = self.desk.commit_at(self.now_ms);
            commits.commit_foreign(name, epoch, seq, payload).expect("there is room");
        }
        self.turn();
    }

    fn send(&mut self, command: &str) {
        let (hub, now_ms) = (&mut self.hub, self.now_ms);
        Parser::new().parse(command, |request| {
            hub.handle_request(0, &request, now_ms).expect("no limit is passed");
        });
        self.turn();
    }

    /// A turn of the worker.
    fn turn(&mut self) {
        self.hub.handle_time(self.now_ms);
        loop {
            let step = self.hub.handle_mail();
            self.flush();
            if step == MailStep::Done {
                return;
            }
        }
    }

    fn flush(&mut self) {
        let mut list = Vec::new();
        if let Some((pending, _)) = self.hub.take_pending(0) {
            self.hub.outbox.list(pending, &mut list);
        }
        for frame in list {
            self.reader.push(self.hub.outbox.frame(frame), &self.hub.outbox, frame);
        }
        self.hub.outbox.take_touched(&mut Vec::new());
        self.hub.outbox.clear();
        self.reader.read(self.pace);
        let (messages, bytes) = self.reader.waiting();
        if self.hub.handle_backlog(0, messages, bytes) {
            let taken = self.reader.take_back(self.hub.may_hold_back(0));
            let (messages, bytes) = self.reader.waiting();
            self.hub.handle_backlog(0, messages, bytes);
            self.hub.take_back(0, &taken);
        }
    }

    /// Everything that waits is read.
    fn read(&mut self) -> Vec<Value> {
        self.pace = usize::MAX;
        for _ in 0..50 {
            self.now_ms += 50;
            self.turn();
        }
        let texts = self.reader.take_messages();
        texts.iter().map(|text| serde_json::from_str(text).expect("it is JSON")).collect()
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("it is a number")
}

/// Holds what came of a topic against what a client may expect: from where each numbering went to
/// where, by messages and gaps without a hole.
fn numberings(came: &[Value], topic: &str) -> Vec<(u64, u64)> {
    let mut runs = vec![(0, 0)];
    for value in came {
        let last = runs.last_mut().expect("there is one at first");
        let (from, to) = match value {
            value if value["epoch"]["topic"] == topic => {
                runs.push((0, 0));
                continue;
            }
            value if value["gap"]["topic"] == topic => {
                (number(&value["gap"]["from"]), number(&value["gap"]["to"]))
            }
            value if value["topic"] == topic => {
                let seq = number(&value["seq"]);
                (seq, seq)
            }
            _ => continue,
        };
        assert!(last.1 == 0 || from == last.1 + 1, "{from} after {last:?} in {came:?}");
        *last = (if last.1 == 0 { from } else { last.0 }, to);
    }
    runs
}

#[test]
fn what_is_put_aside_of_a_numbering_that_is_over_is_announced_and_no_later_message_is_lost() {
    for overload in ["conflate", "drop_oldest"] {
        for (old, new) in [(3, 2), (40, 1), (40, 2), (40, 60), (4, 40), (60, 3)] {
            let mut world = World::new(4_000);
            let rule = format!(r#"{{"filter":"t","overload":"{overload}"}}"#);
            let rule = vec![serde_json::from_str(&rule).unwrap()];
            let rules =
                broker::config::rules::Rules::new(&Config { topic: rule, ..Config::default() });
            world.hub.shared().directory.replace_rules(rules);
            world.send(r#"{"id":1,"op":"subscribe","topic":"t"}"#);
            world.publish("t", 1 << 40, 1..=2, 100);
            // Something always waits in the socket.
            world.pace = 1;
            world.publish("t", 1 << 40, 3..=old, 200);
            world.publish("t", 2 << 40, 1..=new, 200);
            let mut came = world.read();
            world.send(r#"{"id":2,"op":"stats","topic":"t"}"#);
            came.extend(world.read());
            // The first is what the topic was told to be when the client came.
            let runs = numberings(&came, "t");
            assert_eq!(runs[1..], [(1, old), (1, new)], "{overload}: {came:?}");
            let account = &came.iter().find(|value| value["id"] == 2).unwrap()["ok"];
            assert_eq!(
                (&account["matched"], &account["pending"]),
                (&(old + new).into(), &0.into())
            );
            let of = |name: &str| account[name].as_u64().unwrap();
            let sent = came.iter().filter(|value| value["topic"] == "t").count() as u64;
            assert_eq!(
                (of("sent"), of("sent") + of("conflated") + of("dropped")),
                (sent, old + new)
            );
            assert_eq!(world.hub.held_back_bytes(), 0);
        }
    }
}

#[test]
fn who_has_the_newest_of_a_numbering_gets_the_first_of_the_next() {
    let mut world = World::new(1 << 20);
    world.publish("t", 1 << 40, 1..=5, 10);
    world
        .send(r#"{"id":1,"op":"subscribe","topic":"t","mode":"latest","max_rate":20,"last":true}"#);
    world.publish("t", 1 << 40, 6..=7, 10);
    world.publish("t", 2 << 40, 1..=2, 10);
    let came = world.read();
    let last = came.iter().rfind(|value| value["topic"] == "t").unwrap();
    assert_eq!(last["seq"], 2, "{came:?}");
    let begins = came.iter().position(|value| value["epoch"]["topic"] == "t").unwrap();
    let later = came[begins..].iter().filter(|value| value["topic"] == "t");
    assert!(later.map(|value| value["seq"].as_u64().unwrap()).all(|seq| seq <= 2), "{came:?}");
}

#[test]
fn who_still_catches_up_gets_all_of_the_next_numbering() {
    for topic in ["a/1", "a/2", "a/3", "a/4"] {
        let mut world = World::new(16 << 20);
        for topic in ["a/1", "a/2", "a/3", "a/4"] {
            world.publish(topic, 1 << 40, 1..=5, 40_000);
        }
        world.pace = 1;
        world.send(r#"{"id":1,"op":"subscribe","topic":"a/+","epochs":true,"last":true}"#);
        world.publish(topic, 2 << 40, 1..=2, 10);
        let came = world.read();
        let last = *numberings(&came, topic).last().unwrap();
        assert_eq!(last, (1, 2), "{topic}: {came:?}");
    }
}

#[test]
fn who_catches_up_with_one_topic_is_told_what_will_not_come() {
    let mut world = World::new(16 << 20);
    world.publish("t", 1 << 40, 1..=9, 40_000);
    world.pace = 1;
    let epoch = Epoch::new(1 << 40);
    world.send(&format!(
        r#"{{"id":1,"op":"subscribe","topic":"t","since":{{"epoch":"{epoch}","seq":1}}}}"#
    ));
    world.publish("t", 2 << 40, 1..=3, 10);
    let came = world.read();
    assert_eq!(numberings(&came, "t"), [(2, 9), (1, 3)], "{came:?}");
    assert!(came.iter().any(|value| value["gap"]["reason"] == "expired"), "{came:?}");
}

#[test]
fn who_resumes_after_a_numbering_has_begun_gets_its_newest() {
    let mut world = World::new(1 << 20);
    world.send(r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    world.publish("t", 1 << 40, 1..=5, 10);
    world.send(r#"{"id":2,"op":"pause","topic":"t"}"#);
    world.publish("t", 1 << 40, 6..=9, 10);
    world.publish("t", 2 << 40, 1..=2, 10);
    world.send(r#"{"id":3,"op":"resume","topic":"t"}"#);
    let came = world.read();
    let last = came.iter().rfind(|value| value["topic"] == "t").unwrap();
    assert_eq!(last["seq"], 2, "{came:?}");
}

#[test]
fn what_was_lost_between_nodes_is_counted_for_each_who_was_told() {
    let mut world = World::new(1 << 20);
    world.send(r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    world.publish("t", 1 << 40, 1..=2, 10);
    world.publish("t", 1 << 40, 6..=6, 10);
    let came = world.read();
    let gap = came.iter().find(|value| value["gap"]["topic"] == "t").unwrap();
    assert_eq!(gap["gap"]["reason"], "backplane", "{came:?}");
    let gaps = world.metrics.workers[0].accounts.gaps.each_ref().map(broker::metrics::Counter::get);
    assert_eq!(gaps, [0, 0, 3]);
}
