//! Messages that wait a little so that they go out together: those of topics whose rule has a flush
//! delay. One queue per worker, in the order of the mailbox; what waits goes all at once, when the
//! first of it is due, so that a socket is written to once for all of it.
//!
//! Bounded in bytes: a full queue is due at once. Reads no clock; knows nothing of subscribers.

use std::collections::VecDeque;
use std::sync::Arc;

use super::message::Message;

/// Bytes of messages that may wait.
const BYTES_MAX: usize = 1024 * 1024;
/// Places kept from time to time; what a burst needed above it is given back.
const PLACES_KEPT: usize = 4 * 1024;

/// The messages that wait, with their numbers among the worker's mail.
#[derive(Debug, Default)]
pub struct Delayed {
    queue: VecDeque<(u64, Arc<Message>)>,
    bytes: usize,
    /// When all of it goes; of no meaning while nothing waits.
    due_ms: u64,
    /// It is going already: whatever waits is due.
    released: bool,
}

impl Delayed {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Puts a message last that may wait until `due_ms`, and no longer.
    pub fn push(&mut self, number: u64, message: Arc<Message>, due_ms: u64) {
        self.due_ms = if self.queue.is_empty() { due_ms } else { self.due_ms.min(due_ms) };
        self.bytes += message.held_bytes();
        self.queue.push_back((number, message));
        self.released |= self.bytes > BYTES_MAX;
    }

    /// Nothing waits any longer.
    pub fn release(&mut self) {
        self.released = !self.queue.is_empty();
    }

    /// The next message that is to go by `now_ms`, with its number.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<(u64, Arc<Message>)> {
        self.released |= !self.queue.is_empty() && self.due_ms <= now_ms;
        if !self.released {
            return None;
        }
        let next = self.queue.pop_front();
        match &next {
            Some((_, message)) => self.bytes -= message.held_bytes(),
            None => {
                self.released = false;
                self.queue.shrink_to(PLACES_KEPT);
            }
        }
        next
    }

    /// When something is due, if anything waits; 0 for at once.
    pub fn due_ms(&self) -> Option<u64> {
        (!self.queue.is_empty()).then_some(if self.released { 0 } else { self.due_ms })
    }

    /// The number of the first message that waits.
    pub fn first(&self) -> Option<u64> {
        self.queue.front().map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use broker_proto::command::{Epoch, Payload};
    use broker_proto::topic::Topic as TopicName;

    use super::*;
    use crate::config::Config;
    use crate::config::rules::Rules;
    use crate::hub::protocol::Protocol;
    use crate::hub::topic::Topic;

    fn message(payload: &str) -> Arc<Message> {
        let name = TopicName::new("t").unwrap();
        let rule = Rules::new(&Config::default()).of(name);
        let topic = Arc::new(Topic::new(name, Epoch::new(1), rule, 0));
        let payload = Payload::Json(payload.as_bytes());
        Arc::new(Message::new(topic, name, 1, payload, Protocol::Json))
    }

    fn numbers(delayed: &mut Delayed, now_ms: u64) -> Vec<u64> {
        std::iter::from_fn(|| Some(delayed.pop_due(now_ms)?.0)).collect()
    }

    #[test]
    fn what_waits_goes_together_when_the_first_of_it_is_due() {
        let mut delayed = Delayed::default();
        delayed.push(1, message("1"), 120);
        delayed.push(2, message("2"), 105);
        delayed.push(3, message("3"), 140);
        assert_eq!((delayed.due_ms(), delayed.first()), (Some(105), Some(1)));
        assert!(numbers(&mut delayed, 104).is_empty());
        assert_eq!(numbers(&mut delayed, 105), [1, 2, 3]);
        assert_eq!((delayed.due_ms(), delayed.first()), (None, None));
        delayed.push(4, message("4"), 160);
        assert!(numbers(&mut delayed, 159).is_empty(), "the next one waits again");
    }

    #[test]
    fn too_many_bytes_do_not_wait() {
        let mut delayed = Delayed::default();
        let long = format!("\"{}\"", "x".repeat(BYTES_MAX / 4));
        for number in 1..4 {
            delayed.push(number, message(&long), 1_000);
            assert_eq!(delayed.due_ms(), Some(1_000));
        }
        delayed.push(4, message(&long), 1_000);
        assert_eq!(delayed.due_ms(), Some(0));
        assert_eq!(numbers(&mut delayed, 0), [1, 2, 3, 4]);
    }
}
