//! The feeds of the demos: a thread that publishes what the pages under `/demo` show, for as long
//! as the broker runs with the setting `demo`.
//!
//! Knows topics and payloads and how to publish, and nothing of who does it: the way into the
//! broker is a function, given by `server`, which starts and stops it. The walk of the prices is
//! the same on every run; what the machine does is read from the machine.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

mod firehose;
mod machine;
mod market;
mod notices;
mod pen;

/// How often the feeds are asked for what is due.
const TICK: Duration = Duration::from_millis(20);
/// Time that is made up for at most after the thread was held up; the rest of it is skipped.
const LAG_MAX: Duration = Duration::from_millis(500);
const SEED: u64 = 0xA17A_4022;

/// Publishes a payload, which is JSON, on a topic.
pub type Publish<'a> = dyn FnMut(&str, &[u8]) + Send + 'a;

/// The running feeds. Dropped without [`stop`](Self::stop), they end by themselves.
#[derive(Debug)]
pub struct Demo {
    thread: JoinHandle<()>,
    stop: mpsc::Sender<()>,
}

impl Demo {
    /// Starts the thread, named `demo`, with that many price updates a second.
    ///
    /// # Errors
    ///
    /// What the system says when it gives no thread.
    pub fn start(updates_per_second: u32, publish: Box<Publish<'static>>) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let feeds = Feeds::new(updates_per_second);
        let thread = std::thread::Builder::new()
            .name("demo".into())
            .spawn(move || run(feeds, publish, &stopped))?;
        Ok(Self { thread, stop })
    }

    /// Ends the feeds and waits for the thread.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the feeds of the demos panicked");
        }
    }
}

/// Moments, as the feeds need them.
#[derive(Clone, Copy, Debug)]
struct Now {
    /// Since the feeds began.
    running_ms: u64,
    /// Since 1970, for people to read.
    unix_ms: u64,
}

struct Feeds {
    market: market::Market,
    machine: machine::Machine,
    notices: notices::Notices,
    pen: pen::Pen,
    firehose: firehose::Firehose,
}

impl Feeds {
    fn new(updates_per_second: u32) -> Self {
        Self {
            market: market::Market::new(updates_per_second, SEED),
            machine: machine::Machine::default(),
            notices: notices::Notices::new(SEED),
            pen: pen::Pen::default(),
            firehose: firehose::Firehose::default(),
        }
    }

    /// Publishes what is due.
    fn advance(&mut self, now: Now, publish: &mut Publish<'_>) {
        self.market.advance(now, publish);
        self.machine.advance(now, publish);
        self.notices.advance(now, publish);
        self.pen.advance(now, publish);
        self.firehose.advance(now, publish);
    }
}

fn run(mut feeds: Feeds, mut publish: Box<Publish<'static>>, stopped: &mpsc::Receiver<()>) {
    let mut began = Instant::now();
    let mut before = began;
    while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        let now = Instant::now();
        let late = now.duration_since(before).saturating_sub(LAG_MAX);
        // A machine that slept is not to be met by all that it slept through.
        began += late;
        before = now;
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let running_ms = now.duration_since(began).as_millis() as u64;
        feeds.advance(Now { running_ms, unix_ms: unix.as_millis() as u64 }, &mut *publish);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use broker_proto::topic::Topic;

    use super::*;

    fn published(updates_per_second: u32, seconds: u64) -> BTreeMap<String, Vec<String>> {
        let mut feeds = Feeds::new(updates_per_second);
        let mut published: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut publish = |topic: &str, payload: &[u8]| {
            let payload = std::str::from_utf8(payload).unwrap().to_owned();
            published.entry(topic.to_owned()).or_default().push(payload);
        };
        for tick in 0..seconds * 50 {
            let now = Now { running_ms: tick * 20, unix_ms: 1_800_000_000_000 + tick * 20 };
            feeds.advance(now, &mut publish);
        }
        published
    }

    #[test]
    fn every_feed_publishes_json_on_topics_of_its_own() {
        let published = published(500, 60);
        for (topic, payloads) in &published {
            assert!(Topic::new(topic).is_ok() && topic.starts_with("demo/"), "{topic}");
            for payload in payloads {
                assert!(serde_json::from_str::<serde_json::Value>(payload).is_ok(), "{payload}");
            }
        }
        let under = |start: &str| published.keys().filter(|topic| topic.starts_with(start)).count();
        assert_eq!(under("demo/ticker/"), market::SYMBOLS);
        assert_eq!(under("demo/candles/"), market::SYMBOLS);
        assert_eq!(under("demo/notices/"), 4);
        assert_eq!(under("demo/board/lines"), 1);
        assert_eq!(under("demo/firehose"), 1);
        assert!(under("demo/machine") == 1 || !cfg!(target_os = "linux"));
        assert!(under("demo/chat/lobby") == 1);
    }

    #[test]
    fn prices_come_at_the_rate_that_was_asked_for_and_walk_the_same_way_each_time() {
        let prices = |published: BTreeMap<String, Vec<String>>| -> Vec<(String, Vec<String>)> {
            published.into_iter().filter(|(topic, _)| topic.starts_with("demo/ticker/")).collect()
        };
        let once = prices(published(1_000, 10));
        let updates: usize = once.iter().map(|(_, payloads)| payloads.len()).sum();
        // One of each symbol at the start, and the last tick is at 9.98 s.
        assert_eq!(updates, market::SYMBOLS + 9_980);
        assert!(once == prices(published(1_000, 10)));
    }
}
