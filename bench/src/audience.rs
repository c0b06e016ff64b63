//! A hub with subscribers, driven as a worker drives it but without sockets: publish, deliver,
//! flush. For the benchmarks and the test of allocations; measures nothing itself.

use std::hint::black_box;
use std::sync::Arc;

use broker::config::Config;
use broker::hub::outbox::{FrameId, NodeId};
use broker::hub::protocol::Protocol;
use broker::hub::{Hub, MailStep, Shared};
use broker::metrics::Metrics;
use broker_proto::json::Parser;

const PUBLISHER: u32 = 0;
const MAILBOX_BYTES_MAX: u64 = 64 << 20;
const TOPICS_MAX: u32 = 1_000_000;

/// One worker's publisher and subscribers.
pub struct Audience {
    hub: Hub,
    parser: Parser,
    touched: Vec<u32>,
    list: Vec<FrameId>,
    staged: Vec<u8>,
}

/// What a flush has written, were there sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Writes: one for each subscriber that gets something.
    pub writes: u64,
    /// Frames in them.
    pub frames: u64,
    /// Bytes in them.
    pub bytes: u64,
}

impl Audience {
    /// So many subscribers, each to every one of `filters`. Nothing is kept of the messages.
    #[must_use]
    pub fn new(subscribers: u32, filters: &[&str]) -> Self {
        Self::of_workers(1, subscribers, filters).pop().expect("there is one for each worker")
    }

    /// Of so many workers of one broker, each with so many subscribers. What any of them publishes
    /// comes to all.
    #[must_use]
    pub fn of_workers(workers: usize, subscribers: u32, filters: &[&str]) -> Vec<Self> {
        let config = Arc::new(Config {
            commands_per_second_max: 0,
            mailbox_bytes_max: MAILBOX_BYTES_MAX,
            topics_max: TOPICS_MAX,
            subscriptions_max: TOPICS_MAX,
            history_messages: 0,
            last_ms: 0,
            ..Config::default()
        });
        let shared = Arc::new(Shared::new(workers, &config, 0));
        let metrics = Arc::new(Metrics::new(workers));
        let audience = |worker| {
            let hub = Hub::new(worker, shared.clone(), config.clone(), metrics.clone());
            let (touched, list, staged) = (Vec::new(), Vec::new(), Vec::new());
            let mut audience = Self { hub, parser: Parser::new(), touched, list, staged };
            for slot in PUBLISHER..=PUBLISHER + subscribers {
                let id = ((worker as u64) << 32) | u64::from(slot);
                audience.hub.open(slot, id, Protocol::Json);
            }
            for number in 0..subscribers {
                filters.iter().for_each(|filter| audience.subscribe(number, filter));
            }
            audience
        };
        (0..workers).map(audience).collect()
    }

    /// One more subscription of subscriber `number`, from 0.
    pub fn subscribe(&mut self, number: u32, filter: &str) {
        let text = format!(r#"{{"op":"subscribe","topic":"{filter}"}}"#);
        self.request(PUBLISHER + 1 + number, &text);
    }

    /// One subscription less.
    pub fn unsubscribe(&mut self, number: u32, filter: &str) {
        let text = format!(r#"{{"op":"unsubscribe","topic":"{filter}"}}"#);
        self.request(PUBLISHER + 1 + number, &text);
    }

    /// The publisher sends a command.
    pub fn publish(&mut self, text: &str) {
        self.request(PUBLISHER, text);
    }

    /// Takes what was published to the pending lists of its subscribers.
    pub fn deliver(&mut self) {
        let step = self.hub.handle_mail();
        assert_eq!(step, MailStep::Done, "so much is not published between two flushes");
    }

    /// Puts together what goes to each subscriber and ends the turn. Equal lists are put together
    /// once, a list of one frame not at all.
    pub fn flush(&mut self) -> Flushed {
        let mut flushed = Flushed::default();
        let mut last: Option<NodeId> = None;
        self.hub.outbox.take_touched(&mut self.touched);
        for &slot in &self.touched {
            let Some((pending, protocol)) = self.hub.take_pending(slot) else { continue };
            let outbox = &self.hub.outbox;
            if last != Some(pending) {
                last = Some(pending);
                outbox.list(pending, &mut self.list);
                self.staged.clear();
                if self.list.len() > 1 {
                    for &frame in &self.list {
                        self.staged.extend_from_slice(outbox.bytes_of(frame, protocol));
                    }
                }
            }
            let bytes = match self.list[..] {
                [frame] => outbox.bytes_of(frame, protocol),
                _ => &self.staged,
            };
            flushed.writes += 1;
            flushed.frames += self.list.len() as u64;
            flushed.bytes += black_box(bytes).len() as u64;
        }
        self.hub.outbox.clear();
        flushed
    }

    /// All three.
    pub fn turn(&mut self, text: &str) -> Flushed {
        self.publish(text);
        self.deliver();
        self.flush()
    }

    fn request(&mut self, slot: u32, text: &str) {
        let hub = &mut self.hub;
        self.parser.parse(text, |request| {
            hub.handle_request(slot, &request, 1).expect("no limit is set");
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::{PUBLISH, TOPIC};

    #[test]
    fn every_subscriber_gets_every_message_once() {
        let mut audience = Audience::new(3, &[TOPIC, "ticker/+"]);
        audience.publish(PUBLISH);
        audience.publish(PUBLISH);
        audience.deliver();
        let flushed = audience.flush();
        assert_eq!((flushed.writes, flushed.frames), (3, 6));
        let message = r#"{"topic":"ticker/ACME","seq":1,"data":}"#.len() + 39;
        assert_eq!(flushed.bytes, 6 * (message as u64 + 2));
        assert_eq!(audience.flush(), Flushed::default());
    }

    #[test]
    fn what_one_worker_publishes_comes_to_the_subscribers_of_all() {
        let mut workers = Audience::of_workers(3, 5, &[TOPIC]);
        workers[1].publish(PUBLISH);
        for audience in &mut workers {
            audience.deliver();
            let flushed = audience.flush();
            assert_eq!((flushed.writes, flushed.frames), (5, 5));
        }
    }
}
