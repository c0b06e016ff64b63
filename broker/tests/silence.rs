//! Topics that fall silent, over two hubs in virtual time: who is told what, in which order, and
//! that it costs one look at a topic in each of its intervals and none in between.

#[path = "support/world.rs"]
mod world;

use broker::config::Config;
use broker::hub::Shared;

use self::world::World;

/// A rule that expects a message in each second on `feed/#`.
fn expecting() -> World {
    let rule = "filter = \"feed/#\"\nexpect_every_ms = 1000\nlast_ms = 0\nhistory_messages = 0";
    let topic = vec![toml::from_str(rule).expect("a rule")];
    let config = Config { topic, topic_linger_ms: 3_000, ..Config::default() };
    let shared = Shared::new(2, &config, 0);
    World::new(config, shared)
}

fn told(worker: usize, slot: u32, text: &str) -> (usize, u32, String) {
    (worker, slot, text.to_owned())
}

#[test]
fn all_who_are_subscribed_hear_once_that_a_topic_is_stale_and_live_again() {
    let mut world = expecting();
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
    let mut world = expecting();
    world.subscribe(0, 0, "feed/a");
    world.publish(0, "feed/a");
    for _ in 0..30 {
        let sent = world.pass(100);
        assert!(sent.iter().all(|(_, _, text)| text.starts_with(r#"{"topic":"#)), "{sent:?}");
        world.publish(1, "feed/a");
    }
    let silence = &world.shared.silence;
    // The last look found a message 900 ms old or younger: the next is a whole second after that.
    let next_ms = silence.next_due_ms().expect("the next is awaited");
    assert!((world.now_ms..=world.now_ms + 1_000).contains(&next_ms), "{next_ms}");
    assert!(silence.take_due(next_ms).is_some());
    assert_eq!(silence.next_due_ms(), None, "a topic stands there once");
}

#[test]
fn a_new_subscriber_hears_of_what_is_stale_right_after_its_answer() {
    let mut world = expecting();
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
    let mut world = expecting();
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
    let mut world = expecting();
    world.publish(0, "feed/a");
    world.pass(1_000);
    for _ in 0..6 {
        world.now_ms += 1_000;
        let now_ms = world.now_ms;
        world.hubs.iter_mut().for_each(|hub| hub.handle_tick(now_ms));
    }
    assert!(world.shared.directory.is_empty());
    assert_eq!(world.subscribe(0, 0, "feed/+"), [""; 0]);
    world.publish(0, "feed/a");
    assert_eq!(world.pass(0), [told(0, 0, r#"{"topic":"feed/a","seq":1,"data":0}"#)]);
}
