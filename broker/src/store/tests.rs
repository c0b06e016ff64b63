//! What is there again after a start, and how old it is.

use std::thread;

use broker_proto::command::Level;

use super::record::{MessageRecord, Record, TopicRecord};
use super::*;

/// The time of day, as these tests have it.
const UNIX_MS: u64 = 1_000_000;

fn settings(folder: &Path) -> Config {
    let rule = r#"{"filter":"d/#","store":"durable","history_messages":10,"history_ms":60000}"#;
    let store = crate::config::store::Store { dir: folder.to_owned(), ..Default::default() };
    let topic = vec![serde_json::from_str(rule).unwrap()];
    Config { store, topic, ..Config::default() }
}

/// A store with so many topics, `d/1` and so on, each with a message that is a second old.
fn stored(config: &Config, topics: u64) {
    let mut disk = Disk::new(Folder::open(&config.store.dir).unwrap(), u64::MAX).unwrap();
    let mut frame = Frame::new();
    for id in 1..=topics {
        let name = format!("d/{id}");
        let told = TopicRecord { id, epoch: id, seq: 0, level: Level::Durable, name: &name };
        frame.add(&Record::Topic(told));
        let (at_unix_ms, payload) = (UNIX_MS - 1_000, Payload::Json(b"1"));
        frame.add(&Record::Message(MessageRecord { id, seq: 1, at_unix_ms, payload }));
    }
    disk.append(&mut frame, disk.mark(), Room::Any).unwrap();
}

#[test]
fn messages_are_as_old_as_they_are_however_long_reading_takes() {
    let folder = tempfile::tempdir().unwrap();
    let config = settings(folder.path());
    stored(&config, 1);
    let metrics = Arc::new(Metrics::new(1));
    let before = Instant::now();
    let opened = Opened::open(&config, UNIX_MS, &metrics.store).unwrap();
    let started = before - opened.oldest_age();
    thread::sleep(Duration::from_millis(500));
    let shared = Arc::new(Shared::new(1, &config, opened.started_unix_ms()));
    let desk = Desk::new(shared.clone(), |_| {});
    let keeper = opened.start(Parts { shared: shared.clone(), desk, metrics, started }).unwrap();
    let topic = shared.directory.find(TopicName::new("d/1").unwrap()).unwrap();
    let at_ms = topic.look().history().unwrap().newest().unwrap().at_ms;
    let age_ms = started.elapsed().as_millis() as u64 - at_ms;
    assert!((1_450..).contains(&age_ms), "{age_ms} ms old after half a second of reading");
    keeper.stop();
}

#[test]
fn more_topics_than_there_may_be_are_no_start_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let config = settings(folder.path());
    stored(&config, 3);
    let metrics = Metrics::new(1);
    let few = Config { topics_max: 2, ..config.clone() };
    let error = Opened::open(&few, UNIX_MS, &metrics.store).unwrap_err().to_string();
    assert!(error.contains("3 topics") && error.contains("topics_max is 2"), "{error}");
    let enough = Config { topics_max: 3, ..config };
    let opened = Opened::open(&enough, UNIX_MS, &metrics.store).unwrap();
    assert_eq!((opened.topics.len(), metrics.store.recovered.get()), (3, 3));
}
