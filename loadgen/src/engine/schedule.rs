//! When which message is due: a constant rate, fixed before the run, whatever the server does
//! (open loop). Pure arithmetic; read by the publishers of all workers alike.

/// The whole run's messages. Number k is due k / rate seconds after the start, on topic k modulo
/// the topics.
///
/// ```
/// use loadgen::engine::Schedule;
///
/// let schedule = Schedule::new(100.0, 1.0, 10.0, 3);
/// assert_eq!((schedule.messages(), schedule.warmup_messages()), (1100, 100));
/// assert_eq!(schedule.due_after_ns(100), 1_000_000_000);
/// assert_eq!(schedule.messages_of(1), 367);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    rate: f64,
    topics: u32,
    messages: u64,
    warmup_messages: u64,
}

/// One message of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The topic's number.
    pub topic: u32,
    /// Its number within the topic, from 1.
    pub seq: u64,
    /// Nanoseconds after the start of the run.
    pub after_ns: u64,
    /// Whether it comes after the warm-up.
    pub is_measured: bool,
}

/// What one publisher has still to send: every topic whose number is its own modulo the
/// publishers, in turn.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    publisher: u32,
    publishers: u32,
    topic: u32,
    round: u64,
}

impl Schedule {
    /// `rate` messages a second for `warmup_s` and then `measured_s` seconds, over `topics` topics.
    /// There is always at least one message to measure.
    #[must_use]
    pub fn new(rate: f64, warmup_s: f64, measured_s: f64, topics: u32) -> Self {
        let warmup_messages = (warmup_s * rate).round() as u64;
        let measured = (measured_s * rate).round().max(1.0) as u64;
        Self { rate, topics, messages: warmup_messages + measured, warmup_messages }
    }

    /// Messages a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// All messages, the warm-up's included.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// The messages before those that are timed.
    #[must_use]
    pub fn warmup_messages(&self) -> u64 {
        self.warmup_messages
    }

    /// How many of them go to one topic.
    #[must_use]
    pub fn messages_of(&self, topic: u32) -> u64 {
        let topics = u64::from(self.topics);
        (self.messages + topics - 1 - u64::from(topic)) / topics
    }

    /// When message `k` is due, in nanoseconds after the start. Exact to the nanosecond for runs
    /// of up to 100 days.
    #[must_use]
    pub fn due_after_ns(&self, k: u64) -> u64 {
        (k as f64 * 1e9 / self.rate).round() as u64
    }

    /// How long publishing takes, from the start to the end of the last message's turn.
    #[must_use]
    pub fn duration_ns(&self) -> u64 {
        self.due_after_ns(self.messages)
    }

    /// When measuring begins, in nanoseconds after the start.
    #[must_use]
    pub fn measured_after_ns(&self) -> u64 {
        self.due_after_ns(self.warmup_messages)
    }
}

impl Queue {
    /// Everything that `publisher`, one of `publishers`, has to send. Needs at least as many
    /// topics as publishers.
    #[must_use]
    pub fn new(publisher: u32, publishers: u32) -> Self {
        Self { publisher, publishers, topic: publisher, round: 0 }
    }

    /// The next message, or none if all are sent.
    #[must_use]
    pub fn peek(&self, schedule: &Schedule) -> Option<Due> {
        let k = self.round * u64::from(schedule.topics) + u64::from(self.topic);
        (k < schedule.messages).then(|| Due {
            topic: self.topic,
            seq: self.round + 1,
            after_ns: schedule.due_after_ns(k),
            is_measured: k >= schedule.warmup_messages,
        })
    }

    /// The next message was sent.
    pub fn advance(&mut self, schedule: &Schedule) {
        self.topic += self.publishers;
        if self.topic >= schedule.topics {
            self.topic = self.publisher;
            self.round += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(mut queue: Queue, schedule: &Schedule) -> Vec<Due> {
        let mut all = Vec::new();
        while let Some(due) = queue.peek(schedule) {
            all.push(due);
            queue.advance(schedule);
        }
        all
    }

    #[test]
    fn the_publishers_together_send_every_message_once_at_its_time() {
        for (topics, publishers) in [(1, 1), (5, 2), (7, 7), (3, 1)] {
            let schedule = Schedule::new(10.0, 0.5, 2.0, topics);
            let queues = (0..publishers).map(|p| Queue::new(p, publishers));
            let mut all: Vec<_> = queues.flat_map(|queue| drained(queue, &schedule)).collect();
            all.sort_by_key(|due| due.after_ns);
            assert_eq!(all.len(), 25);
            for (k, due) in (0_u64..).zip(&all) {
                let expected = Due {
                    topic: (k % u64::from(topics)) as u32,
                    seq: k / u64::from(topics) + 1,
                    after_ns: k * 100_000_000,
                    is_measured: k >= 5,
                };
                assert_eq!(*due, expected, "{topics} topics, {publishers} publishers");
            }
            let sum: u64 = (0..topics).map(|topic| schedule.messages_of(topic)).sum();
            assert_eq!(sum, 25);
        }
    }

    #[test]
    fn a_fraction_of_a_message_is_still_one_message() {
        let schedule = Schedule::new(0.1, 0.0, 1.0, 1);
        assert_eq!((schedule.messages(), schedule.warmup_messages()), (1, 0));
    }
}
