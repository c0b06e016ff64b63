//! A connection that keeps apart what it was told and what it asked for, publishers that never
//! pause, and brokers with rules by topic. Holds no tests.

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use broker_proto::ws::Opcode;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::feed;
use crate::support::broker::Broker;
use crate::support::ws_client::{PATIENCE, Received, WsClient};

/// A broker with this settings file, and `arguments` besides.
pub(crate) fn broker_with(settings: &str, arguments: &[&str]) -> Broker {
    let mut file = NamedTempFile::new().expect("a file can be made");
    file.write_all(settings.as_bytes()).expect("it can be written");
    let path = file.path().to_str().expect("the path is UTF-8");
    // It is read before the broker listens, and not needed any more then.
    Broker::start(&[&["--config", path], arguments].concat())
}

/// A JSON connection.
pub(crate) struct Viewer {
    client: WsClient,
    /// Came before an answer that was waited for.
    early: VecDeque<String>,
}

impl Viewer {
    pub(crate) fn connect(broker: &Broker) -> Self {
        Self::connect_to(broker.address())
    }

    pub(crate) fn connect_to(address: SocketAddr) -> Self {
        Self { client: feed::connect(address), early: VecDeque::new() }
    }

    pub(crate) fn into_client(self) -> WsClient {
        self.client
    }

    /// Connects with this subscribe command, whose id must be 1; its answer besides.
    pub(crate) fn subscribe(broker: &Broker, command: &str) -> (Self, String) {
        let mut viewer = Self::connect(broker);
        let answer = viewer.answer(command);
        assert!(answer.starts_with(r#"{"id":1,"ok":{"topic":""#), "{command}: {answer}");
        (viewer, answer)
    }

    pub(crate) fn client(&mut self) -> &mut WsClient {
        &mut self.client
    }

    /// The next text, whatever it is.
    pub(crate) fn next(&mut self) -> String {
        match self.early.pop_front() {
            Some(text) => text,
            None => self.receive(),
        }
    }

    /// Sends a command that has an id; its answer. What comes before that is kept for later.
    pub(crate) fn answer(&mut self, command: &str) -> String {
        self.client.send_text(command).expect("the broker reads commands");
        loop {
            let text = self.receive();
            if text.starts_with(r#"{"id":"#) {
                return text;
            }
            self.early.push_back(text);
        }
    }

    /// What has come and was not looked at.
    pub(crate) fn early(&mut self) -> Vec<String> {
        self.early.drain(..).collect()
    }

    /// This connection's account.
    pub(crate) fn stats(&mut self) -> Stats {
        Stats::parse(&self.answer(r#"{"id":"stats","op":"stats"}"#))
    }

    fn receive(&mut self) -> String {
        loop {
            match self.client.receive(PATIENCE) {
                Some(Received::Text(text)) => return text,
                Some(Received::Ping(payload)) => {
                    self.client.send_frame(Opcode::Pong, &payload).expect("the connection lives");
                }
                other => panic!("expected a text, got {other:?}"),
            }
        }
    }
}

/// What a broker says became of the messages for a connection.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(crate) matched: u64,
    pub(crate) sent: u64,
    pub(crate) conflated: u64,
    pub(crate) filtered: u64,
    pub(crate) dropped: u64,
    pub(crate) skipped: u64,
    pub(crate) pending: u64,
}

impl Stats {
    /// Fails unless the account closes.
    fn parse(answer: &str) -> Self {
        let value: Value = serde_json::from_str(answer).expect("answers are JSON");
        let number = |name: &str| {
            value["ok"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {answer}"))
        };
        let stats = Self {
            matched: number("matched"),
            sent: number("sent"),
            conflated: number("conflated"),
            filtered: number("filtered"),
            dropped: number("dropped"),
            skipped: number("skipped"),
            pending: number("pending"),
        };
        let Self { sent, conflated, filtered, dropped, skipped, pending, .. } = stats;
        let sum = sent + conflated + filtered + dropped + skipped + pending;
        assert_eq!(sum, stats.matched, "the sum of its parts: {answer}");
        stats
    }
}

/// The text of a member of an answer's `ok`, such as its epoch.
pub(crate) fn member(answer: &str, name: &str) -> String {
    let value: Value = serde_json::from_str(answer).expect("answers are JSON");
    let text = value["ok"][name].as_str();
    text.unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned()
}

/// Publishes on one topic without a pause until it is told to stop.
pub(crate) struct LiveFeed {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl LiveFeed {
    pub(crate) fn start(broker: &Broker, topic: &'static str, every: Duration) -> Self {
        let mut client = feed::connect(broker.address());
        let is_over = Arc::new(AtomicBool::new(false));
        let until = is_over.clone();
        let thread = thread::spawn(move || {
            let mut seq = 0;
            while !until.load(Ordering::Relaxed) {
                seq = feed::publish(&mut client, topic, &seq.to_string());
                thread::sleep(every);
            }
            seq
        });
        Self { is_over, thread }
    }

    /// Ends it; the seq of its last message.
    pub(crate) fn stop(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("every publish was answered")
    }
}

/// Publishes `data` for each of these numbers, and waits until all are taken.
pub(crate) fn publish_all(
    client: &mut WsClient,
    topic: &str,
    numbers: impl IntoIterator<Item = u64>,
) {
    let burst: Vec<u8> = numbers
        .into_iter()
        .flat_map(|number| feed::publish_frame(topic, &number.to_string()))
        .collect();
    client.send_raw(&burst).expect("the broker reads publishes");
    feed::sync(client);
}
