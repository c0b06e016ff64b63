//! Messages on disk, from outside: what was answered is there after the process has ended, however
//! it ended; what could not be kept was never answered.

#[path = "support/feed.rs"]
mod feed;
#[path = "support/support.rs"]
mod support;

#[path = "durable/disk.rs"]
mod disk;
#[path = "durable/http.rs"]
mod http;
#[path = "durable/killed.rs"]
mod killed;
#[path = "durable/retries.rs"]
mod retries;
#[path = "durable/rules.rs"]
mod rules;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::broker::Broker;
use support::process::run;
use support::ws_client::{PATIENCE, Received, WsClient};
use tempfile::TempDir;

/// Most of what a durable topic keeps in these tests.
const RULES: &str = r#"
[[topic]]
filter = "d/#"
store = "durable"
history_messages = 100000000
history_ms = 3600000
history_bytes = 4000000000
[[topic]]
filter = "a/#"
store = "accepted"
history_messages = 1000
history_ms = 3600000
"#;

/// A folder with the settings of a broker that stores, and the store.
struct Place {
    folder: TempDir,
    store: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let store = folder.path().join("store");
        Self { folder, store }.with("")
    }

    /// With further settings.
    fn with(self, settings: &str) -> Self {
        let store = self.store.display();
        let text =
            format!("store_dir = \"{store}\"\nworkers = 2\npin = false\n{settings}\n{RULES}");
        fs::write(self.settings(), text).expect("the settings can be written");
        self
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("altavoz.toml")
    }

    fn start(&self) -> Broker {
        let settings = self.settings();
        Broker::start(&["--config", settings.to_str().expect("the path is UTF-8")])
    }

    /// The files of the log, oldest first.
    fn segments(&self) -> Vec<PathBuf> {
        segments(&self.store)
    }
}

fn segments(store: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(store).expect("the store is there");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|suffix| suffix == "log")).collect();
    paths.sort();
    paths
}

/// Ends a broker as the kernel does when memory is short.
fn kill(broker: Broker) {
    drop(broker);
}

/// The answer to a publish with an id, whatever it is.
fn publish(client: &mut WsClient, topic: &str, data: &str) -> Value {
    let command = format!(r#"{{"id":1,"op":"publish","topic":"{topic}","data":{data}}}"#);
    client.send_text(&command).expect("the broker reads commands");
    loop {
        let value = json(&client.receive_text());
        if value["id"] == 1 {
            return value;
        }
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"))
}

/// What a subscribe with this position is answered with, and the messages that come before the
/// newest one: seq and data.
fn recover(broker: &Broker, topic: &str, epoch: &str, seq: u64) -> (Value, Vec<(u64, Value)>) {
    let mut client = feed::connect(broker.address());
    let since = format!(r#"{{"epoch":"{epoch}","seq":{seq}}}"#);
    let answer = json(
        &client
            .command(&format!(r#"{{"id":1,"op":"subscribe","topic":"{topic}","since":{since}}}"#)),
    );
    let newest = answer["ok"]["seq"].as_u64().unwrap_or_else(|| panic!("{answer}"));
    let mut messages: Vec<(u64, Value)> = Vec::new();
    let first = if answer["ok"]["recovered"] == true { seq } else { 0 };
    while first < newest && messages.last().is_none_or(|(seq, _)| *seq < newest) {
        let message = json(&client.receive_text());
        if let (Some(seq), data) = (message["seq"].as_u64(), &message["data"]) {
            messages.push((seq, data.clone()));
        }
    }
    (answer["ok"].clone(), messages)
}

#[test]
fn a_restart_keeps_epoch_seq_and_history_and_nobody_notices_but_for_the_pause() {
    let place = Place::new();
    let mut broker = place.start();
    let mut client = feed::connect(broker.address());
    let mut epoch = Value::Null;
    for number in 1..=20 {
        let answer = publish(&mut client, "d/1", &number.to_string());
        assert_eq!(
            (&answer["ok"]["seq"], &answer["ok"]["level"]),
            (&number.into(), &"durable".into())
        );
        epoch = answer["ok"]["epoch"].clone();
    }
    let bytes = client.command(r#"{"id":1,"op":"publish","topic":"d/1","base64":"AP8="}"#);
    assert!(bytes.contains(r#""seq":21"#), "{bytes}");
    assert!(broker.terminate(PATIENCE).success());

    let broker = place.start();
    let epoch = epoch.as_str().expect("an epoch is text");
    let (answer, messages) = recover(&broker, "d/1", epoch, 5);
    assert_eq!((&answer["recovered"], &answer["epoch"]), (&true.into(), &epoch.into()));
    let seqs: Vec<u64> = messages.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, (6..=21).collect::<Vec<u64>>());
    assert_eq!((&messages[0].1, &messages[15].1), (&6.into(), &Value::Null), "bytes are no data");
    assert_eq!(recover(&broker, "d/1", epoch, 21).0["recovered"], true);
    let mut client = feed::connect(broker.address());
    assert_eq!(publish(&mut client, "d/1", "22")["ok"]["seq"], 22);
    assert_eq!(broker.metrics("altavoz_store_recovered_total"), 21.0);
}

#[test]
fn the_answer_says_how_safe_a_message_is_and_subscribers_get_it_when_it_is() {
    let place = Place::new();
    let broker = place.start();
    let mut subscriber = feed::subscriber(broker.address(), "#");
    let mut client = feed::connect(broker.address());
    for (topic, level) in [("d/x", "durable"), ("a/x", "accepted"), ("m/x", "accepted")] {
        let answer = publish(&mut client, topic, "7");
        assert_eq!((&answer["ok"]["seq"], &answer["ok"]["level"]), (&1.into(), &level.into()));
        assert_eq!(subscriber.receive_text(), format!(r#"{{"topic":"{topic}","seq":1,"data":7}}"#));
    }
    assert!(broker.metrics("altavoz_store_syncs_total") >= 1.0);
}

#[test]
fn accepted_topics_go_on_after_a_clean_end_and_begin_an_epoch_after_another() {
    let place = Place::new();
    let mut broker = place.start();
    let mut client = feed::connect(broker.address());
    let first = publish(&mut client, "a/1", "1")["ok"]["epoch"].clone();
    let first = first.as_str().expect("an epoch is text");
    assert!(broker.terminate(PATIENCE).success());

    let broker = place.start();
    let (answer, _) = recover(&broker, "a/1", first, 1);
    assert_eq!((&answer["recovered"], &answer["epoch"]), (&true.into(), &first.into()));
    let mut client = feed::connect(broker.address());
    assert_eq!(publish(&mut client, "a/1", "2")["ok"]["seq"], 2);
    feed::await_metric(&broker, "altavoz_store_messages_total", |count| count >= 1.0);
    kill(broker);

    let broker = place.start();
    let (answer, messages) = recover(&broker, "a/1", first, 2);
    assert_eq!(answer["recovered"], false);
    assert_ne!(answer["epoch"], first);
    assert_eq!(messages, [(1, 1.into()), (2, 2.into())], "what was written is kept");
    let second = answer["epoch"].as_str().expect("an epoch is text").to_owned();
    kill(broker);
    // The new epoch was on disk before anybody heard of it, and is not used twice.
    let broker = place.start();
    let (answer, _) = recover(&broker, "a/1", &second, 2);
    assert_eq!(answer["recovered"], false);
    assert!(answer["epoch"] != first && answer["epoch"] != second.as_str());
}

#[test]
fn a_second_signal_ends_at_once_and_what_was_accepted_is_written() {
    let place = Place::new().with("drain_timeout_ms = 20000\nclose_timeout_ms = 10000");
    let mut broker = place.start();
    let mut stubborn = feed::subscriber(broker.address(), "t");
    let mut client = feed::connect(broker.address());
    for number in 1..=50 {
        publish(&mut client, "a/1", &number.to_string());
    }
    broker.send_sigterm();
    assert_eq!(stubborn.receive_close().0, 1001);
    broker.send_sigterm();
    assert_eq!(broker.wait(PATIENCE).and_then(|status| status.code()), Some(130));
    let broker = place.start();
    assert_eq!(recover(&broker, "a/1", "0", 0).1.len(), 50);
}

#[test]
fn what_can_not_work_is_said_at_the_start() {
    let place = Place::new();
    let _running = place.start();
    let settings = place.settings();
    let binary = || Command::new(env!("CARGO_BIN_EXE_broker"));
    let limit = Duration::from_secs(20);
    let mut second = binary();
    second.args(["--listen", "127.0.0.1:0", "--config"]).arg(&settings);
    let error = run(&mut second, limit).expect_err("the folder is taken").to_string();
    assert!(error.contains("another broker uses it"), "{error}");
    fs::write(&settings, RULES).expect("the settings can be written");
    let mut without = binary();
    without.args(["--listen", "127.0.0.1:0", "--config"]).arg(&settings);
    let error = run(&mut without, limit).expect_err("there is no folder").to_string();
    assert!(error.contains("store_dir") && error.contains("d/#"), "{error}");
}

/// Whether what came is the end of the connection.
fn is_end(received: Option<&Received>) -> bool {
    matches!(received, None | Some(Received::End | Received::Reset | Received::Close(_)))
}
