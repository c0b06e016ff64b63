//! A cohort in virtual time: what it lets through when, and that its counts close.

use broker_proto::command::{Delta, Epoch};
use broker_proto::topic::Topic as TopicName;

use super::*;
use crate::config::Config;
use crate::config::rules::Rules;
use crate::hub::protocol::Protocol;
use crate::hub::topic::Topic;
use crate::hub::wanted::Band;

struct Feed {
    topics: Vec<Arc<Topic>>,
    seq: u64,
}

impl Feed {
    fn new(topics: usize) -> Self {
        let rules = Rules::new(&Config::default());
        let topic = |id: usize| {
            let text = format!("t/{id}");
            let name = TopicName::new(&text).unwrap();
            Arc::new(Topic::new(name, Epoch::new(id as u64), rules.of(name), 0))
        };
        Self { topics: (0..topics).map(topic).collect(), seq: 0 }
    }

    fn message(&mut self, topic: usize, data: &str) -> Arc<Message> {
        self.seq += 1;
        let topic = self.topics[topic].clone();
        let payload = Payload::Json(data.as_bytes());
        Arc::new(Message::new(topic.clone(), topic.name(), self.seq, payload, Protocol::Json))
    }
}

fn latest(interval_ms: u32) -> Wanted {
    Wanted { latest: true, interval_ms, ..Wanted::default() }
}

fn sent(emission: Option<Emission>) -> Option<String> {
    let emission = emission?;
    let Payload::Json(payload) = emission.message.payload() else { panic!("JSON") };
    Some(String::from_utf8(payload.to_vec()).unwrap())
}

fn handle(cohort: &mut Cohort, message: &Arc<Message>, now_ms: u64) -> Option<String> {
    sent(cohort.handle_message(message, &mut Reading::default(), now_ms))
}

#[test]
fn a_rate_lets_the_first_through_and_then_the_newest_at_the_end_of_each_interval() {
    let (mut feed, mut cohort) = (Feed::new(2), Cohort::new(latest(500).into(), 0));
    assert_eq!(handle(&mut cohort, &feed.message(0, "1"), 1_000), Some("1".into()));
    assert_eq!(handle(&mut cohort, &feed.message(0, "2"), 1_001), None);
    assert_eq!(handle(&mut cohort, &feed.message(0, "3"), 1_499), None);
    assert_eq!(handle(&mut cohort, &feed.message(1, "x"), 1_499), Some("x".into()));
    assert_eq!((cohort.next_due_ms(), cohort.waiting()), (Some(1_500), 1));
    assert_eq!(sent(cohort.take_due(1_499)), None);
    assert_eq!(sent(cohort.take_due(1_500)), Some("3".into()));
    assert_eq!(sent(cohort.take_due(9_000)), None);
    assert_eq!(handle(&mut cohort, &feed.message(0, "4"), 1_600), None);
    assert_eq!(cohort.next_due_ms(), Some(2_000));
    let counts = Counts { matched: 5, emitted: 3, conflated: 1, filtered: 0 };
    assert_eq!((cohort.counts(), cohort.waiting()), (counts, 1));
}

#[test]
fn a_key_tells_the_values_of_one_topic_apart() {
    let wanted = Wanted { key: Some("/s".into()), ..latest(100) };
    let (mut feed, mut cohort) = (Feed::new(1), Cohort::new(wanted.into(), 0));
    for data in [r#"{"s":"A","p":1}"#, r#"{"s":"B","p":1}"#, r#"{"p":0}"#] {
        assert_eq!(handle(&mut cohort, &feed.message(0, data), 1_000), Some(data.into()));
    }
    assert_eq!(handle(&mut cohort, &feed.message(0, r#"{"s":"A","p":2}"#), 1_010), None);
    assert_eq!(handle(&mut cohort, &feed.message(0, r#"{"s":"B","p":2}"#), 1_010), None);
    assert_eq!(handle(&mut cohort, &feed.message(0, r#"{"s":"A","p":3}"#), 1_020), None);
    let mut due = Vec::from_iter(std::iter::from_fn(|| sent(cohort.take_due(2_000))));
    due.sort();
    assert_eq!(due, [r#"{"s":"A","p":3}"#, r#"{"s":"B","p":2}"#]);
    assert_eq!(cohort.counts().conflated, 1);
}

#[test]
fn a_dead_band_holds_back_what_moved_too_little_until_the_silence_is_too_long() {
    let band = Band { field: "p".into(), delta: Delta::Absolute(1.0), max_silence_ms: 5_000 };
    let wanted = Wanted { deadband: Some(band), ..Wanted::default() };
    let (mut feed, mut cohort) = (Feed::new(1), Cohort::new(wanted.into(), 0));
    assert!(handle(&mut cohort, &feed.message(0, r#"{"p":10}"#), 0).is_some());
    assert!(handle(&mut cohort, &feed.message(0, r#"{"p":10.5}"#), 100).is_none());
    assert!(handle(&mut cohort, &feed.message(0, r#"{"p":9.2}"#), 200).is_none());
    assert!(handle(&mut cohort, &feed.message(0, r#"{"p":8.9}"#), 300).is_some());
    assert_eq!(cohort.counts().filtered, 2);
    assert!(handle(&mut cohort, &feed.message(0, r#"{"p":8.8}"#), 400).is_none());
    assert_eq!(sent(cohort.take_due(5_299)), None);
    assert_eq!(sent(cohort.take_due(5_300)), Some(r#"{"p":8.8}"#.into()));
    assert!(handle(&mut cohort, &feed.message(0, r#""no object""#), 5_301).is_some());
    assert_eq!(cohort.waiting(), 0);
}

#[test]
fn fields_cut_a_message_down_and_a_snapshot_is_what_later_messages_are_held_against() {
    let band = Band { field: "p".into(), delta: Delta::Percent(10.0), max_silence_ms: 0 };
    let fields = vec!["p".into()].into_boxed_slice();
    let wanted = Wanted { deadband: Some(band), fields, ..Wanted::default() };
    let (mut feed, mut cohort) = (Feed::new(1), Cohort::new(wanted.into(), 0));
    let first = feed.message(0, r#"{"p":100,"v":1}"#);
    assert_eq!(handle(&mut cohort, &first, 0), Some(r#"{"p":100}"#.into()));
    let second = feed.message(0, r#"{"p":105,"v":2}"#);
    assert_eq!(handle(&mut cohort, &second, 1), None);
    assert_eq!(cohort.snapshot(&second, 0).seq(), 1);
    let snapshot = cohort.snapshot(&second, 0);
    assert_eq!(snapshot.payload(), Payload::Json(br#"{"p":100}"#));
}

#[test]
fn with_too_many_keys_those_of_which_nothing_waits_are_forgotten() {
    let wanted = Wanted { key: Some("/s".into()), ..latest(1_000) };
    let (mut feed, mut cohort) = (Feed::new(1), Cohort::new(wanted.into(), 0));
    for key in 0..VALUES_MAX {
        let message = feed.message(0, &format!(r#"{{"s":{key}}}"#));
        assert!(handle(&mut cohort, &message, 0).is_some());
    }
    // None waits, but all are within their interval: the next is sent at once, unremembered.
    let extra = feed.message(0, r#"{"s":"x"}"#);
    assert!(handle(&mut cohort, &extra, 10).is_some() && handle(&mut cohort, &extra, 10).is_some());
    assert!(
        handle(&mut cohort, &extra, 5_000).is_some()
            && handle(&mut cohort, &extra, 5_001).is_none()
    );
    assert_eq!(cohort.values.len(), 1);
}
