//! Topics whose order is made elsewhere, over two hubs in virtual time: nobody sees a message
//! before its log has given it a place, and what other nodes say of a topic comes to everybody.

#[path = "support/world.rs"]
mod world;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use broker::config::Config;
use broker::hub::Shared;
use broker::hub::commits::Restored;
use broker::hub::desk::Desk;
use broker::hub::log::{Entry, Log, Pending, Work};
use broker::hub::topic::Topic;
use broker::hub::uplink::{Uplink, Upward};
use broker::hub::ways::Ways;
use broker_proto::command::{CommandError, Epoch, ErrorCode, Level, Payload};
use broker_proto::topic::Topic as TopicName;

use self::world::World;

/// `safe/#` is on disk before anyone sees it, `soon/#` afterwards, and of `plain/#` nothing is kept.
fn world(ways: Ways) -> (World, Desk) {
    let rule = |text: &str| toml::from_str(text).expect("a rule");
    let topic = vec![
        rule("filter = \"safe/#\"\nstore = \"durable\"\nhistory_messages = 5"),
        rule("filter = \"soon/#\"\nstore = \"accepted\"\nhistory_messages = 5"),
        rule("filter = \"plain/#\"\nhistory_messages = 0\nlast_ms = 0"),
    ];
    let config = Config { topic, ..Config::default() };
    let shared = Shared::new(2, &config, 0).with_ways(ways);
    let world = World::new(config, shared);
    let desk = Desk::new(world.shared.clone(), |_| {});
    (world, desk)
}

fn on_disk() -> (World, Desk) {
    world(Ways { disk: Some(Log::new(10_000, || {})), ..Ways::default() })
}

fn waiting(world: &World) -> Vec<(Arc<Topic>, Pending)> {
    let mut entries = VecDeque::new();
    world.shared.ways().disk.as_ref().expect("a disk").take(&mut entries);
    let pending = |entry: Entry| match entry.work {
        Work::Publish(pending) => Some((entry.topic, pending)),
        Work::Written(_) | Work::Forgotten => None,
    };
    entries.into_iter().filter_map(pending).collect()
}

fn name(text: &str) -> TopicName<'_> {
    TopicName::new(text).expect("a topic")
}

#[test]
fn nobody_sees_a_message_before_its_log_has_given_it_a_place() {
    let (mut world, desk) = on_disk();
    world.subscribe(0, 0, "safe/a");
    world.subscribe(1, 1, "safe/+");
    let publish = r#"{"id":"x","op":"publish","topic":"safe/a","data":1,"count":true}"#;
    assert_eq!(world.say(1, 2, publish), [""; 0], "no answer yet");
    assert_eq!(world.pass(1_000), [], "and nothing to see");
    for (topic, pending) in waiting(&world) {
        assert_eq!(pending.payload(), Payload::Json(b"1"));
        desk.commit_at(1_000).commit(&topic, topic.epoch(), 1, pending, Level::Durable);
    }
    let sent = world.pass(0);
    let message = r#"{"topic":"safe/a","seq":1,"data":1}"#;
    let epoch = world.shared.directory.find(name("safe/a")).expect("made").epoch();
    let answer = format!(
        r#"{{"id":"x","ok":{{"epoch":"{epoch}","seq":1,"level":"durable","subscribers":2}}}}"#
    );
    let expected = [(0, 0, message), (1, 1, message), (1, 2, answer.as_str())];
    assert_eq!(sent, expected.map(|(worker, slot, text)| (worker, slot, text.to_owned())));
}

#[test]
fn a_message_that_a_log_refuses_takes_no_place_and_its_publisher_is_told() {
    let (mut world, desk) = on_disk();
    world.subscribe(0, 0, "safe/a");
    world.say(0, 2, r#"{"op":"publish","topic":"safe/a","data":1}"#);
    for (topic, pending) in waiting(&world) {
        let error = CommandError::new(ErrorCode::Unavailable, "the disk is full");
        desk.commit_at(0).fail(&topic, pending, error);
        let state = topic.look();
        assert_eq!((state.seq, state.pending()), (0, 0));
    }
    let told = r#"{"id":null,"error":{"code":"unavailable","message":"the disk is full"}}"#;
    assert_eq!(world.pass(0), [(0, 2, told.to_owned())]);
    world.shared.ways().disk.as_ref().expect("a disk").refuse_all("it is gone");
    let answers = world.say(0, 2, r#"{"id":2,"op":"publish","topic":"safe/a","data":1}"#);
    assert!(answers[0].contains("it is gone"), "{answers:?}");
    let answers = world.say(0, 2, r#"{"id":3,"op":"publish","topic":"soon/a","data":1}"#);
    assert!(answers[0].contains("it is gone"), "{answers:?}");
    world.shared.ways().disk.as_ref().expect("a disk").accept_again();
    let answers = world.say(0, 2, r#"{"id":4,"op":"publish","topic":"soon/a","data":1}"#);
    assert!(answers[0].contains(r#""seq":1,"level":"accepted""#), "{answers:?}");
}

#[test]
fn a_publisher_waits_while_its_log_is_full() {
    let (mut world, _desk) = on_disk();
    let data = "1".repeat(6_000);
    let publish = format!(r#"{{"op":"publish","topic":"safe/a","data":"{data}"}}"#);
    world.say(0, 2, &publish);
    assert!(!world.hubs[0].is_blocked());
    world.say(0, 2, &publish);
    assert!(world.hubs[0].is_blocked(), "above its limit");
    world.say(0, 3, &publish);
    assert!(world.say(0, 3, &publish)[0].contains("unavailable"), "above twice its limit");
    assert_eq!(waiting(&world).len(), 3);
    assert!(!world.hubs[0].is_blocked());
}

#[test]
fn messages_of_other_nodes_keep_their_place_and_holes_are_announced() {
    let (mut world, desk) = world(Ways::default());
    world.subscribe(0, 0, "safe/a");
    world.subscribe(1, 1, "safe/#");
    let epoch = Epoch::new(1 << 50);
    let mut commits = desk.commit_at(0);
    for seq in [1, 2, 2, 1, 5, 6] {
        let data = seq.to_string();
        let payload = Payload::Json(data.as_bytes());
        commits.commit_foreign(name("safe/a"), epoch, seq, payload).expect("room");
    }
    drop(commits);
    let sent = world.pass(0);
    let to = |worker, slot| {
        let is_to = move |sent: &&(usize, u32, String)| (sent.0, sent.1) == (worker, slot);
        sent.iter().filter(is_to).map(|(_, _, text)| text.as_str()).collect::<Vec<_>>()
    };
    let begun = format!(r#"{{"epoch":{{"topic":"safe/a","epoch":"{epoch}"}}}}"#);
    let expected = [
        begun.as_str(),
        r#"{"topic":"safe/a","seq":1,"data":1}"#,
        r#"{"topic":"safe/a","seq":2,"data":2}"#,
        r#"{"gap":{"topic":"safe/a","from":3,"to":4,"reason":"backplane"}}"#,
        r#"{"topic":"safe/a","seq":5,"data":5}"#,
        r#"{"topic":"safe/a","seq":6,"data":6}"#,
    ];
    assert_eq!(to(0, 0), expected);
    assert_eq!(to(1, 1), expected[1..], "positions under a filter are of its own epoch");
    for (since, recovered, first) in [(4, true, 5), (5, true, 6), (2, false, 3)] {
        let text = format!(
            r#"{{"id":1,"op":"subscribe","topic":"safe/a","since":{{"epoch":"{epoch}","seq":{since}}}}}"#
        );
        let sent = world.say(1, 2, &text);
        assert!(sent[0].contains(&format!(r#""recovered":{recovered}"#)), "{sent:?}");
        let wanted = match recovered {
            true => format!(r#""seq":{first},"#),
            false => r#"{"gap":{"topic":"safe/a","from":3,"to":4,"#.to_owned(),
        };
        assert!(sent[1].contains(&wanted), "{sent:?}");
        world.say(1, 2, r#"{"op":"unsubscribe","topic":"safe/a"}"#);
    }
}

#[test]
fn what_every_node_numbers_for_itself_goes_up_once_and_is_asked_for() {
    let wakes = Arc::new(AtomicU32::new(0));
    let counted = wakes.clone();
    let wake = move || {
        counted.fetch_add(1, Ordering::Relaxed);
    };
    let (mut world, desk) =
        world(Ways { uplink: Some(Uplink::new(10_000, wake)), ..Ways::default() });
    let up = |world: &World| {
        let mut mail = VecDeque::new();
        let uplink = world.shared.ways().uplink.as_ref().expect("an uplink");
        uplink.take(&mut mail);
        assert!(uplink.park());
        let text = |mail: &Upward| match mail {
            Upward::Wanted { filter, wanted } => format!("{filter} {wanted}"),
            Upward::Message(message) => format!("{} {}", message.topic().as_str(), message.seq()),
            other => format!("{other:?}"),
        };
        mail.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(up(&world), [""; 0]);
    world.subscribe(0, 0, "plain/a");
    world.subscribe(1, 0, "plain/a");
    world.subscribe(1, 1, "plain/+");
    assert_eq!(wakes.load(Ordering::Relaxed), 1, "woken once");
    assert_eq!(up(&world), ["plain/a true", "plain/+ true"]);
    world.publish(0, "plain/a");
    let mut commits = desk.commit_at(0);
    commits.receive(name("plain/a"), Payload::Json(b"7")).expect("room");
    assert!(!commits.receive(name("$SYS/a"), Payload::Json(b"9")).expect("room"), "this node's");
    commits.skip(name("plain/a"), 3);
    commits.receive(name("plain/a"), Payload::Json(b"8")).expect("room");
    drop(commits);
    assert_eq!(up(&world), ["plain/a 1"], "what came from above does not go up again");
    let sent = world.pass(0);
    let to_first = sent.iter().filter(|sent| (sent.0, sent.1) == (0, 0));
    let texts: Vec<&str> = to_first.map(|sent| sent.2.as_str()).collect();
    let expected = [
        r#"{"topic":"plain/a","seq":1,"data":0}"#,
        r#"{"topic":"plain/a","seq":2,"data":7}"#,
        r#"{"gap":{"topic":"plain/a","from":3,"to":5,"reason":"backplane"}}"#,
        r#"{"topic":"plain/a","seq":6,"data":8}"#,
    ];
    assert_eq!(texts, expected);
    assert_eq!(sent.len(), 3 * expected.len());
    world.say(0, 0, r#"{"op":"unsubscribe","topic":"plain/a"}"#);
    world.say(1, 0, r#"{"op":"unsubscribe","topic":"plain/a"}"#);
    assert_eq!(up(&world), ["plain/a false"]);
}

#[test]
fn what_was_kept_is_put_back_with_its_epoch_and_seq() {
    let (mut world, _desk) = on_disk();
    let epoch = Epoch::new(7);
    let data: Vec<String> = (40..=42).map(|seq| seq.to_string()).collect();
    let kept = data.iter().zip(40..).map(|(data, seq)| {
        let payload = Payload::Json(data.as_bytes());
        Restored { seq, payload, age_ms: 0 }
    });
    world.shared.restore(name("safe/a"), epoch, 42, kept, world.now_ms).expect("room");
    let since = format!(r#"{{"epoch":"{epoch}","seq":41}}"#);
    let text = format!(r#"{{"id":1,"op":"subscribe","topic":"safe/a","since":{since}}}"#);
    let sent = world.say(0, 0, &text);
    assert!(sent[0].contains(r#""seq":42,"recovered":true"#), "{sent:?}");
    assert_eq!(sent[1..], [r#"{"topic":"safe/a","seq":42,"data":42}"#.to_owned()]);
}
