//! Topics that fall silent, over two hubs in virtual time: who is told what, in which order, and
//! that it costs one look at a topic in each of its intervals and none in between.

use std::sync::Arc;

use broker::config::Config;
use broker::hub::protocol::Protocol;
use broker::hub::{Hub, MailStep, Shared};
use broker::metrics::Metrics;
use broker_proto::json::Parser;

/// Two workers, and a rule that expects a message in each second on `feed/#`.
struct World {
    hubs: Vec<Hub>,
    parser: Parser,
    now_ms: u64,
}

impl World {
    fn new() -> Self {
        let rule = "filter = \"feed/#\"\nexpect_every_ms = 1000\nlast_ms = 0\nhistory_messages = 0";
        let topic = vec![toml::from_str(rule).expect("a rule")];
        let config = Config { topic, topic_linger_ms: 3_000, ..Config::default() };
        let config = Arc::new(config);
        let (shared, metrics) = (Arc::new(Shared::new(2, &config, 0)), Arc::new(Metrics::new(2)));
        let hub = |at| Hub::new(at, shared.clone(), config.clone(), metrics.clone());
        let mut hubs: Vec<Hub> = (0..2).map(hub).collect();
        for hub in &mut hubs {
            (0..4).for_each(|slot| hub.open(slot, slot.into(), Protocol::Json));
        }
        Self { hubs, parser: Parser::new(), now_ms: 1 }
    }

    /// A client says something; what it gets at once.
    fn say(&mut self, worker: usize, slot: u32, text: &str) -> Vec<String> {
        let (hub, now_ms) = (&mut self.hubs[worker], self.now_ms);
        self.parser.parse(text, |request| {
            hub.handle_request(slot, &request, now_ms).expect("no limit is passed");
        });
        let sent = self.flush(worker);
        assert!(sent.iter().all(|(to, _)| *to == slot), "{sent:?}");
        sent.into_iter().map(|(_, text)| text).collect()
    }

    fn publish(&mut self, worker: usize, topic: &str) {
        let text = format!(r#"{{"op":"publish","topic":"{topic}","data":0}}"#);
        assert_eq!(self.say(worker, 3, &text), [""; 0]);
    }

    fn subscribe(&mut self, worker: usize, slot: u32, filter: &str) -> Vec<String> {
        let text = format!(r#"{{"id":1,"op":"subscribe","topic":"{filter}"}}"#);
        let mut sent = self.say(worker, slot, &text);
        assert!(sent.remove(0).starts_with(r#"{"id":1,"ok""#));
        sent
    }

    /// Time goes on; then each worker has its turn, the first of them first. What was sent: worker,
    /// slot and text.
    fn pass(&mut self, ms: u64) -> Vec<(usize, u32, String)> {
        self.now_ms += ms;
        let mut sent = Vec::new();
        for worker in 0..2 {
            let now_ms = self.now_ms;
            self.hubs[worker].handle_time(now_ms);
            while self.hubs[worker].handle_mail() != MailStep::Done {}
            let texts = self.flush(worker);
            sent.extend(texts.into_iter().map(|(slot, text)| (worker, slot, text)));
        }
        sent
    }

    fn flush(&mut self, worker: usize) -> Vec<(u32, String)> {
        let (mut touched, mut list, mut sent) = (Vec::new(), Vec::new(), Vec::new());
        let hub = &mut self.hubs[worker];
        hub.outbox.take_touched(&mut touched);
        touched.sort_unstable();
        for slot in touched {
            let Some((pending, protocol)) = hub.take_pending(slot) else { continue };
            hub.outbox.list(pending, &mut list);
            for frame in &list {
                let text = &hub.outbox.bytes_of(*frame, protocol)[2..];
                sent.push((slot, String::from_utf8(text.to_vec()).expect("UTF-8")));
            }
        }
        hub.outbox.clear();
        sent
    }
}

fn told(worker: usize, slot: u32, text: &str) -> (usize, u32, String) {
    (worker, slot, text.to_owned())
}

#[test]
fn all_who_are_subscribed_hear_once_that_a_topic_is_stale_and_live_again() {
    let mut world = World::new();
    for (worker, slot, filter) in
        [(0, 0, "feed/a"), (0, 0, "feed/+"), (1, 0, "feed/a"), (1, 1, "#"), (1, 2, "feed/b")]
    {
        assert_eq!(world.subscribe(worker, slot, filter), [""; 0], "nothing came yet");
    }
    assert_eq!(world.pass(5_000), [], "no message is missed before there was a first");
    world.publish(1, "feed/a");
    assert_eq!(world.pass(0).len(), 3);
    assert_eq!(world.pass(999), []);
    let stale = r#"{"stale":{"topic":"feed/a","seq":1,"silent_ms":1000}}"#;
    let all = [told(0, 0, stale), told(1, 0, stale), told(1, 1, stale)];
    assert_eq!(world.pass(1), all);
    assert_eq!(world.pass(10_000), [], "it is said once");
    world.publish(0, "feed/a");
    let (live, message) =
        (r#"{"live":{"topic":"feed/a","seq":2}}"#, r#"{"topic":"feed/a","seq":2,"data":0}"#);
    let sent = world.pass(0);
    let all = [(0, 0), (1, 0), (1, 1)];
    let all = all.map(|(worker, slot)| [told(worker, slot, live), told(worker, slot, message)]);
    assert_eq!(sent, all.concat());
}

#[test]
fn a_feed_that_is_in_time_is_looked_at_once_in_an_interval() {
    let mut world = World::new();
    world.subscribe(0, 0, "feed/a");
    world.publish(0, "feed/a");
    for _ in 0..30 {
        let sent = world.pass(100);
        assert!(sent.iter().all(|(_, _, text)| text.starts_with(r#"{"topic":"#)), "{sent:?}");
        world.publish(1, "feed/a");
    }
    let silence = &world.hubs[0].shared().silence;
    // The last look found a message 900 ms old or younger: the next is a whole second after that.
    let next_ms = silence.next_due_ms().expect("the next is awaited");
    assert!((world.now_ms..=world.now_ms + 1_000).contains(&next_ms), "{next_ms}");
    assert!(silence.take_due(next_ms).is_some());
    assert_eq!(silence.next_due_ms(), None, "a topic stands there once");
}

#[test]
fn a_new_subscriber_hears_of_what_is_stale_right_after_its_answer() {
    let mut world = World::new();
    world.publish(0, "feed/a");
    world.publish(1, "feed/b");
    world.publish(1, "other");
    world.pass(1_500);
    world.publish(0, "feed/b");
    world.pass(200);
    let stale = [r#"{"stale":{"topic":"feed/a","seq":1,"silent_ms":1700}}"#];
    assert_eq!(world.subscribe(0, 0, "feed/a"), stale);
    assert_eq!(world.subscribe(1, 0, "feed/+"), stale);
    assert_eq!(world.subscribe(1, 1, "#"), stale);
    assert_eq!(world.subscribe(1, 2, "feed/b"), [""; 0]);
    let resume = r#"[{"op":"pause","topic":"feed/a"},{"op":"resume","topic":"feed/a"}]"#;
    assert_eq!(world.say(0, 0, resume), stale, "what came while it was paused was not told");
}

#[test]
fn of_very_many_stale_topics_a_filter_is_told_of_each() {
    let mut world = World::new();
    let topics = 3_000;
    (0..topics).for_each(|at| world.publish(0, &format!("feed/{at}")));
    (0..4).for_each(|_| drop(world.pass(1_000)));
    let mut sent = world.subscribe(1, 0, "feed/+");
    assert!((1..topics).contains(&sent.len()), "{} at once", sent.len());
    for _ in 0..4 {
        sent.extend(world.pass(0).into_iter().map(|(_, _, text)| text));
    }
    let mut names: Vec<_> = sent.iter().map(|text| text.split('"').nth(5)).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), sent.len()), (topics, topics));
}

#[test]
fn a_topic_that_is_forgotten_is_not_stale_any_more() {
    let mut world = World::new();
    world.publish(0, "feed/a");
    world.pass(1_000);
    for _ in 0..6 {
        world.now_ms += 1_000;
        let now_ms = world.now_ms;
        world.hubs.iter_mut().for_each(|hub| hub.handle_tick(now_ms));
    }
    assert!(world.hubs[0].shared().directory.is_empty());
    assert_eq!(world.subscribe(0, 0, "feed/+"), [""; 0]);
    world.publish(0, "feed/a");
    assert_eq!(world.pass(0), [told(0, 0, r#"{"topic":"feed/a","seq":1,"data":0}"#)]);
}
