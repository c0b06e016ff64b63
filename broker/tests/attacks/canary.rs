//! Two bystanders of an attack: one publishes a hundred messages a second, the other is subscribed.
//! Whatever happens to the broker meanwhile, nothing may be lost or out of order.
//!
//! How long the messages took is printed. It is judged by a wide margin alone, since the machine
//! that runs the tests may be busy with something else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use broker_proto::ws::{CloseCode, Opcode};

use crate::support::broker::Broker;
use crate::support::ws_client::{PATIENCE, Received, WsClient};

const PERIOD: Duration = Duration::from_millis(10);
/// Messages before the attack, by which those during it are judged.
const QUIET_MESSAGES: usize = 40;
/// Messages that must come since then, however short the attack was.
const WATCHED_MESSAGES: usize = 20;
/// A 99th percentile this long is never held against the broker.
const SLOW_FLOOR: Duration = Duration::from_secs(1);
/// So many times the quiet 99th percentile is too slow.
const SLOW_FACTOR: u32 = 20;
/// What the last message says; all others say when they were sent.
const LAST: &str = "-1";

/// Bystanders at work.
pub(crate) struct Canary {
    stop: Arc<AtomicBool>,
    publisher: JoinHandle<Result<u64, String>>,
    subscriber: JoinHandle<Result<u64, String>>,
    delays: Receiver<Duration>,
    quiet: Duration,
}

impl Canary {
    /// Connects both, and returns when they have worked for a while undisturbed.
    pub(crate) fn start(broker: &Broker) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let topic = format!("canary/{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let connect = || {
            WsClient::connect(broker.address(), "/ws", &["altavoz.v1.json"]).expect("it upgrades")
        };
        let (publisher, mut subscriber) = (connect(), connect());
        let command = format!(r#"{{"id":1,"op":"subscribe","topic":"{topic}"}}"#);
        let answer = subscriber.command(&command);
        assert!(answer.contains(r#""seq":0"#), "{answer}");

        let stop = Arc::new(AtomicBool::new(false));
        let (sender, delays) = mpsc::channel();
        let began = Instant::now();
        let stopped = stop.clone();
        let publisher = thread::spawn(move || publish(publisher, &topic, began, &stopped));
        let subscriber = thread::spawn(move || watch(subscriber, began, &sender));
        let mut quiet: Vec<Duration> = delays.iter().take(QUIET_MESSAGES).collect();
        assert_eq!(quiet.len(), QUIET_MESSAGES, "the canary died before the attack");
        Self { stop, publisher, subscriber, delays, quiet: percentile_99(&mut quiet) }
    }

    /// Ends both. Fails if anything was lost or out of order, or if most of the patience that a
    /// busy machine deserves was used up.
    pub(crate) fn finish(self) {
        let mut delays: Vec<Duration> = self.delays.iter().take(WATCHED_MESSAGES).collect();
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.publisher.join().expect("it does not panic").expect("it could publish");
        let watched = self.subscriber.join().expect("it does not panic");
        let received = watched.expect("every message comes, in order");
        assert_eq!(received, sent, "messages lost");
        delays.extend(self.delays.iter());
        let (count, p99, quiet) = (delays.len(), percentile_99(&mut delays), self.quiet);
        let longest = delays.last().copied().unwrap_or_default();
        eprintln!("canary: {count} messages, p99 {p99:?}, longest {longest:?}, before {quiet:?}");
        let slow = SLOW_FLOOR.max(quiet * SLOW_FACTOR);
        assert!(p99 < slow, "messages of bystanders took {p99:?}, {quiet:?} before");
    }
}

fn publish(
    mut client: WsClient,
    topic: &str,
    began: Instant,
    stop: &AtomicBool,
) -> Result<u64, String> {
    let mut sent = 0;
    let mut send = |data: &str| {
        sent += 1;
        let command = format!(r#"{{"op":"publish","topic":"{topic}","data":{data}}}"#);
        client.send_text(&command).map_err(|error| error.to_string())
    };
    while !stop.load(Ordering::Relaxed) {
        send(&began.elapsed().as_micros().to_string())?;
        thread::sleep(PERIOD);
    }
    send(LAST)?;
    // Closed with a handshake, because a mere end could overtake the last message.
    client.send_close(CloseCode::NORMAL, "").map_err(|error| error.to_string())?;
    if client.ends_within(PATIENCE) { Ok(sent) } else { Err("the close was not answered".into()) }
}

/// Returns how many messages came, the last one included.
fn watch(mut client: WsClient, began: Instant, delays: &Sender<Duration>) -> Result<u64, String> {
    for seq in 1.. {
        let text = next_text(&mut client)?;
        let (head, data) = text.split_once(r#","data":"#).unwrap_or_default();
        if !head.ends_with(&format!(r#","seq":{seq}"#)) {
            return Err(format!("expected seq {seq}, got {text}"));
        }
        let data = data.trim_end_matches('}');
        if data == LAST {
            return Ok(seq);
        }
        let sent: u64 = data.parse().map_err(|error| format!("{text}: {error}"))?;
        // Nobody listens any more if the test has failed already.
        let _ = delays.send(began.elapsed().saturating_sub(Duration::from_micros(sent)));
    }
    Err("the last message never came".into())
}

fn next_text(client: &mut WsClient) -> Result<String, String> {
    loop {
        match client.receive(PATIENCE) {
            Some(Received::Text(text)) => return Ok(text),
            Some(Received::Ping(payload)) => {
                client.send_frame(Opcode::Pong, &payload).map_err(|error| error.to_string())?;
            }
            other => return Err(format!("expected a message, got {other:?}")),
        }
    }
}

fn percentile_99(delays: &mut [Duration]) -> Duration {
    delays.sort_unstable();
    let last = delays.len().saturating_sub(1);
    delays.get(last * 99 / 100).copied().unwrap_or_default()
}
