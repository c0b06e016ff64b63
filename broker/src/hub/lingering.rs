//! Topics that a hub made, in the order in which to look whether they are still in use. Those that
//! are due at about the same time share one entry of when: there may be a million of them, and
//! each costs a pointer here. Reads no clock; decides nothing about a topic.

use std::collections::VecDeque;
use std::sync::Arc;

use super::topic::Topic;

/// Times that differ by less are one.
const STEP_MS: u64 = 100;

/// A queue by time.
#[derive(Debug, Default)]
pub struct Lingering {
    topics: VecDeque<Arc<Topic>>,
    /// When how many of them are due.
    due: VecDeque<(u64, usize)>,
}

impl Lingering {
    /// Puts a topic last, to be looked at in `due_ms` at the earliest and soon after, or after
    /// those before it.
    pub fn push(&mut self, topic: Arc<Topic>, due_ms: u64) {
        let due_ms = due_ms.next_multiple_of(STEP_MS);
        self.topics.push_back(topic);
        match self.due.back_mut() {
            Some((last_ms, count)) if *last_ms >= due_ms => *count += 1,
            _ => self.due.push_back((due_ms, 1)),
        }
    }

    /// The first, if it is due.
    pub fn pop(&mut self, now_ms: u64) -> Option<Arc<Topic>> {
        let (due_ms, count) = self.due.front_mut()?;
        if *due_ms > now_ms {
            return None;
        }
        *count -= 1;
        if *count == 0 {
            self.due.pop_front();
        }
        self.topics.pop_front()
    }

    /// Gives back what a burst of topics needed.
    pub fn shrink(&mut self) {
        self.topics.shrink_to(self.topics.len() * 2);
        self.due.shrink_to(self.due.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use broker_proto::command::Epoch;
    use broker_proto::topic::Topic as TopicName;

    use super::*;
    use crate::config::Config;
    use crate::config::rules::Rules;

    fn topic(number: u64) -> Arc<Topic> {
        let name = TopicName::new("t").unwrap();
        let rule = Rules::new(&Config::default()).of(name);
        Arc::new(Topic::new(name, Epoch::new(number), rule, 0))
    }

    #[test]
    fn topics_come_in_their_order_and_none_before_its_time() {
        let mut lingering = Lingering::default();
        for (number, due_ms) in [(1, 150), (2, 200), (3, 180), (4, 1_000)] {
            lingering.push(topic(number), due_ms);
        }
        let mut due = |now_ms| -> Vec<u64> {
            std::iter::from_fn(|| lingering.pop(now_ms)).map(|topic| topic.id()).collect()
        };
        assert!(due(199).is_empty());
        assert_eq!(due(200), [1, 2, 3]);
        assert!(due(999).is_empty());
        assert_eq!(due(1_000), [4]);
        assert!(due(u64::MAX).is_empty());
    }
}
