//! Publishing and subscribing in few words, for tests that count messages: a ledger that fails on
//! a hole, a repeat or a wrong order, and senders that write faster than a client would.
//!
//! A file that needs it takes it in with `#[path = "support/feed.rs"] mod feed;` beside `support`.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use broker_proto::ws::{Opcode, encode_masked_frame};

use crate::support::broker::Broker;
use crate::support::ws_client::{PATIENCE, Received, WsClient};

pub(crate) const JSON: &str = "altavoz.v1.json";

static HEAVY: Mutex<()> = Mutex::new(());

/// Held by tests that use much of the machine, so that only one of them runs at a time. Also
/// raises this process's limit on open files, which such tests need.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    broker::sys::raise_descriptor_limit();
    HEAVY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A message as the JSON protocol writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'t> {
    pub(crate) topic: &'t str,
    pub(crate) seq: u64,
    /// Everything after `"data":`, without the closing brace.
    pub(crate) data: &'t str,
}

impl<'t> Message<'t> {
    /// `None` if `text` is an answer.
    pub(crate) fn parse(text: &'t str) -> Option<Self> {
        let (topic, rest) = text.strip_prefix(r#"{"topic":""#)?.split_once(r#"","seq":"#)?;
        let (seq, data) = rest.strip_suffix('}')?.split_once(r#","data":"#)?;
        Some(Self { topic, seq: seq.parse().ok()?, data })
    }
}

/// What one connection has received, by topic.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    last: HashMap<String, u64>,
    count: u64,
}

impl Ledger {
    /// Enters `text` if it is a message; fails unless it is the next of its topic.
    pub(crate) fn enter<'t>(&mut self, text: &'t str) -> Option<Message<'t>> {
        let message = Message::parse(text)?;
        if let Some(last) = self.last.get_mut(message.topic) {
            assert_eq!(message.seq, *last + 1, "after seq {last} came {text}");
            *last = message.seq;
        } else {
            self.last.insert(message.topic.to_owned(), message.seq);
        }
        self.count += 1;
        Some(message)
    }

    /// The last seq of a topic; 0 if none came.
    pub(crate) fn last(&self, topic: &str) -> u64 {
        self.last.get(topic).copied().unwrap_or(0)
    }

    /// Messages of all topics.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Receives messages until there are `count`; answers to commands are passed over, pings are
    /// answered.
    pub(crate) fn read(&mut self, client: &mut WsClient, count: u64) {
        while self.count < count {
            match client.receive(PATIENCE) {
                Some(Received::Text(text)) => {
                    self.enter(&text);
                }
                Some(Received::Ping(payload)) => {
                    client.send_frame(Opcode::Pong, &payload).expect("the connection lives");
                }
                other => panic!("expected message {} of {count}, got {other:?}", self.count + 1),
            }
        }
    }

    /// Receives messages until the close frame; its code and reason.
    pub(crate) fn read_to_close(&mut self, client: &mut WsClient) -> (u16, String) {
        loop {
            match client.receive(PATIENCE) {
                Some(Received::Text(text)) => {
                    self.enter(&text);
                }
                Some(Received::Ping(_)) => {}
                Some(Received::Close(Some(close))) => return close,
                other => panic!("after {} messages came {other:?}", self.count),
            }
        }
    }
}

/// A connection on the JSON protocol.
pub(crate) fn connect(address: SocketAddr) -> WsClient {
    WsClient::connect(address, "/ws", &[JSON]).expect("the broker takes a handshake")
}

/// A connection with this subscription.
pub(crate) fn subscriber(address: SocketAddr, filter: &str) -> WsClient {
    let mut client = connect(address);
    subscribe(&mut client, filter);
    client
}

/// Subscribes; fails if that is refused. Nothing else may be on its way to the client.
pub(crate) fn subscribe(client: &mut WsClient, filter: &str) {
    let answer = client.command(&format!(r#"{{"id":1,"op":"subscribe","topic":"{filter}"}}"#));
    assert!(answer.starts_with(r#"{"id":1,"ok":"#), "{filter}: {answer}");
}

/// Publishes and waits for the answer; the message's seq. Nothing else may be on its way.
pub(crate) fn publish(client: &mut WsClient, topic: &str, data: &str) -> u64 {
    let command = format!(r#"{{"id":2,"op":"publish","topic":"{topic}","data":{data}}}"#);
    let answer = client.command(&command);
    let seq = answer.split_once(r#""seq":"#).and_then(|(_, rest)| rest.split_once(','));
    seq.and_then(|(seq, _)| seq.parse().ok()).unwrap_or_else(|| panic!("{command}: {answer}"))
}

/// Waits until the broker has taken all commands sent so far. Only answers may be on their way;
/// these are thrown away.
pub(crate) fn sync(client: &mut WsClient) {
    client.send_text(r#"{"id":"sync","op":"ping"}"#).expect("the broker reads commands");
    while client.receive_text() != r#"{"id":"sync","ok":{}}"# {}
}

/// The frame of a publish without an id, which succeeds silently.
pub(crate) fn publish_frame(topic: &str, data: &str) -> Vec<u8> {
    let command = format!(r#"{{"op":"publish","topic":"{topic}","data":{data}}}"#);
    let mut frame = Vec::new();
    encode_masked_frame(&mut frame, Opcode::Text, command.as_bytes(), [1, 2, 3, 4]);
    frame
}

/// A JSON text of so many bytes.
pub(crate) fn filler(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes - 2))
}

/// Fails the connection without a closing handshake, on both levels.
pub(crate) fn reset(client: WsClient) {
    let socket = socket2::SockRef::from(client.stream());
    socket.set_linger(Some(Duration::ZERO)).expect("the socket is open");
    drop(client);
}

/// Waits until a metric meets a condition; its value.
pub(crate) fn await_metric(broker: &Broker, sample: &str, is_met: impl Fn(f64) -> bool) -> f64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let value = broker.metrics(sample);
        if is_met(value) {
            return value;
        }
        assert!(Instant::now() < deadline, "{sample} stays at {value}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
