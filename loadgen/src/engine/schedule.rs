//! When which message is due, fixed before the run, whatever the server does (open loop): at a
//! constant rate on all topics in turn, or drawn at random. Sends nothing and reads no clock; read
//! by the publishers of all workers alike.

mod drawn;

use std::sync::Arc;

use drawn::Drawn;
pub use drawn::{Arrivals, DRAWN_MAX, Popularity};
use serde::{Deserialize, Serialize};

/// The whole run's messages. With a constant rate, number k is due k / rate seconds after the
/// start, on topic k modulo the topics.
///
/// ```
/// use loadgen::engine::Schedule;
///
/// let schedule = Schedule::new(100.0, 1.0, 10.0, 3);
/// assert_eq!((schedule.messages(), schedule.warmup_messages()), (1100, 100));
/// assert_eq!(schedule.due_after_ns(100), 1_000_000_000);
/// assert_eq!(schedule.messages_of(1), 367);
/// ```
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Schedule {
    rate: f64,
    topics: u32,
    /// So many in a row are due at the time of the first of them.
    burst: u64,
    messages: u64,
    warmup_messages: u64,
    measured_after_ns: u64,
    duration_ns: u64,
    drawn: Option<Arc<Drawn>>,
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

/// What one publisher has still to send: the messages of every topic whose number is its own
/// modulo the publishers.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    publisher: u32,
    publishers: u32,
    topic: u32,
    round: u64,
    /// Where in a drawn schedule its next message stands.
    at: usize,
}

impl Schedule {
    /// `rate` messages a second for `warmup_s` and then `measured_s` seconds, over `topics` topics.
    /// There is always at least one message to measure.
    #[must_use]
    pub fn new(rate: f64, warmup_s: f64, measured_s: f64, topics: u32) -> Self {
        let warmup_messages = (warmup_s * rate).round() as u64;
        let measured = (measured_s * rate).round().max(1.0) as u64;
        let messages = warmup_messages + measured;
        Self {
            rate,
            topics,
            burst: 1,
            messages,
            warmup_messages,
            measured_after_ns: due_after_ns(rate, warmup_messages),
            duration_ns: due_after_ns(rate, messages),
            drawn: None,
        }
    }

    /// No messages, for so long.
    #[must_use]
    pub fn idle(seconds: f64) -> Self {
        let duration_ns = (seconds * 1e9) as u64;
        let nothing = Self::new(1.0, 0.0, 1.0, 0);
        Self { rate: 0.0, messages: 0, duration_ns, ..nothing }
    }

    /// `rate` messages a second on average for `warmup_s` and then `measured_s` seconds, at times
    /// and on topics that are drawn at random; the same for the same `seed`. All of it is kept in
    /// memory, 16 bytes a message, at most [`DRAWN_MAX`]. There is always at least one message to
    /// measure.
    #[must_use]
    pub fn drawn(
        rate: f64,
        [warmup_s, measured_s]: [f64; 2],
        arrivals: Arrivals,
        popularity: Popularity,
        seed: u64,
    ) -> Self {
        let measured_after_ns = (warmup_s * 1e9) as u64;
        let duration_ns = measured_after_ns + (measured_s * 1e9) as u64;
        let times = [measured_after_ns, duration_ns];
        let drawn = Drawn::new(rate, times, arrivals, popularity, seed);
        Self::of(rate, popularity.topics, times, drawn)
    }

    /// As [`drawn`](Self::drawn), at random times, on each topic in proportion to its weight. In
    /// the first half of the warm-up each topic gets its first message, and nothing else.
    #[must_use]
    pub fn weighted(
        rate: f64,
        [warmup_s, measured_s]: [f64; 2],
        weights: &[f64],
        seed: u64,
    ) -> Self {
        let measured_after_ns = (warmup_s * 1e9) as u64;
        let times = [measured_after_ns, measured_after_ns + (measured_s * 1e9) as u64];
        let drawn = Drawn::weighted(rate, times, weights, seed);
        Self::of(rate, weights.len() as u32, times, drawn)
    }

    fn of(
        rate: f64,
        topics: u32,
        [measured_after_ns, duration_ns]: [u64; 2],
        drawn: Drawn,
    ) -> Self {
        Self {
            rate,
            topics,
            burst: 1,
            messages: drawn.messages.len() as u64,
            warmup_messages: drawn.messages_before(measured_after_ns),
            measured_after_ns,
            duration_ns,
            drawn: Some(Arc::new(drawn)),
        }
    }

    /// The same number of messages, `burst` at a time: they are due together, when the first of
    /// them was. The rate, over all, stays. For constant rates; a warm-up that would end within a
    /// burst ends before it.
    ///
    /// ```
    /// use loadgen::engine::Schedule;
    ///
    /// let schedule = Schedule::new(100.0, 1.0, 10.0, 1).in_bursts(20);
    /// assert_eq!((schedule.due_after_ns(19), schedule.due_after_ns(20)), (0, 200_000_000));
    /// ```
    #[must_use]
    pub fn in_bursts(self, burst: u32) -> Self {
        let burst = u64::from(burst.max(1));
        let warmup_messages = self.warmup_messages - self.warmup_messages % burst;
        let measured_after_ns = due_after_ns(self.rate, warmup_messages);
        Self { burst, warmup_messages, measured_after_ns, ..self }
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
        if let Some(drawn) = &self.drawn {
            return drawn.messages_of(topic);
        }
        let topics = u64::from(self.topics);
        (self.messages + topics - 1 - u64::from(topic)) / topics
    }

    /// Whether a topic has a message of this number, from 1.
    #[must_use]
    pub fn has(&self, topic: u32, seq: u64) -> bool {
        let is_there = match &self.drawn {
            Some(drawn) => seq <= drawn.messages_of(topic),
            // As messages_of, without a division: it is asked of every delivery.
            None => {
                let places = self.messages + u64::from(self.topics) - 1 - u64::from(topic);
                seq.checked_mul(self.topics.into()).is_some_and(|place| place <= places)
            }
        };
        seq > 0 && is_there
    }

    /// Whether it is made for so many topics.
    #[must_use]
    pub fn fits(&self, topics: u32) -> bool {
        let is_drawn_for = |drawn: &Arc<Drawn>| drawn.fits(topics);
        self.topics == topics && self.drawn.as_ref().is_none_or(is_drawn_for)
    }

    /// When message `k` is due, in nanoseconds after the start. Exact to the nanosecond for runs
    /// of up to 100 days.
    #[must_use]
    pub fn due_after_ns(&self, k: u64) -> u64 {
        match &self.drawn {
            Some(drawn) => drawn.messages.get(k as usize).map_or(self.duration_ns, |m| m.after_ns),
            None => due_after_ns(self.rate, k - k % self.burst),
        }
    }

    /// How many messages are due within so long of the start.
    ///
    /// ```
    /// use loadgen::engine::Schedule;
    ///
    /// let schedule = Schedule::new(100.0, 1.0, 10.0, 1);
    /// assert_eq!((schedule.due_by(0), schedule.due_by(999_999_999)), (1, 100));
    /// assert_eq!(schedule.due_by(u64::MAX), 1100);
    /// ```
    #[must_use]
    pub fn due_by(&self, after_ns: u64) -> u64 {
        let (mut due, mut later) = (0, self.messages);
        while due < later {
            let middle = due.midpoint(later);
            match self.due_after_ns(middle) <= after_ns {
                true => due = middle + 1,
                false => later = middle,
            }
        }
        due
    }

    /// How long publishing takes, from the start to the end of the last message's turn.
    #[must_use]
    pub fn duration_ns(&self) -> u64 {
        self.duration_ns
    }

    /// When measuring begins, in nanoseconds after the start.
    #[must_use]
    pub fn measured_after_ns(&self) -> u64 {
        self.measured_after_ns
    }
}

impl Queue {
    /// Everything that `publisher`, one of `publishers`, has to send. Needs at least as many
    /// topics as publishers.
    #[must_use]
    pub fn new(publisher: u32, publishers: u32, schedule: &Schedule) -> Self {
        let mut queue = Self { publisher, publishers, topic: publisher, round: 0, at: 0 };
        if let Some(drawn) = &schedule.drawn {
            queue.at = queue.own_from(0, drawn);
        }
        queue
    }

    /// The next message, or none if all are sent.
    #[must_use]
    pub fn peek(&self, schedule: &Schedule) -> Option<Due> {
        if let Some(drawn) = &schedule.drawn {
            let message = drawn.messages.get(self.at)?;
            return Some(Due {
                topic: message.topic,
                seq: u64::from(message.seq),
                after_ns: message.after_ns,
                is_measured: message.after_ns >= schedule.measured_after_ns,
            });
        }
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
        if let Some(drawn) = &schedule.drawn {
            self.at = self.own_from(self.at + 1, drawn);
            return;
        }
        self.topic += self.publishers;
        if self.topic >= schedule.topics {
            self.topic = self.publisher;
            self.round += 1;
        }
    }

    /// Where the first of its own messages stands, from this place on.
    fn own_from(&self, at: usize, drawn: &Drawn) -> usize {
        let is_own = |topic: u32| topic % self.publishers == self.publisher;
        let rest = drawn.messages.get(at..).unwrap_or_default();
        let skipped = rest.iter().position(|message| is_own(message.topic));
        skipped.map_or(drawn.messages.len(), |skipped| at + skipped)
    }
}

fn due_after_ns(rate: f64, k: u64) -> u64 {
    (k as f64 * 1e9 / rate).round() as u64
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
            let queues = (0..publishers).map(|p| Queue::new(p, publishers, &schedule));
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
    fn a_drawn_schedule_is_shared_out_among_the_publishers_too() {
        let popularity = Popularity { topics: 20, zipf: 1.0 };
        let schedule = Schedule::drawn(500.0, [1.0, 2.0], Arrivals::Poisson, popularity, 7);
        let queues = (0..3).map(|publisher| Queue::new(publisher, 3, &schedule));
        let mut all: Vec<_> = queues.flat_map(|queue| drained(queue, &schedule)).collect();
        all.sort_by_key(|due| due.after_ns);
        assert_eq!(all.len() as u64, schedule.messages());
        for topic in 0..20 {
            let seqs = all.iter().filter(|due| due.topic == topic).map(|due| due.seq);
            assert!(seqs.eq(1..=schedule.messages_of(topic)), "topic {topic}");
        }
        let warmup = all.iter().filter(|due| !due.is_measured).count() as u64;
        assert_eq!(warmup, schedule.warmup_messages());
        assert_eq!(schedule.duration_ns() - schedule.measured_after_ns(), 2_000_000_000);
    }

    #[test]
    fn a_burst_is_due_at_once_and_is_measured_as_a_whole() {
        let schedule = Schedule::new(10.0, 0.5, 2.0, 2).in_bursts(3);
        let queues = (0..2).map(|publisher| Queue::new(publisher, 2, &schedule));
        let mut all: Vec<_> = queues.flat_map(|queue| drained(queue, &schedule)).collect();
        all.sort_by_key(|due| (due.seq, due.topic));
        assert_eq!(all.len(), 25);
        for (k, due) in (0_u64..).zip(&all) {
            assert_eq!(due.after_ns, k / 3 * 300_000_000, "message {k}");
            assert_eq!(due.is_measured, due.after_ns >= schedule.measured_after_ns());
        }
        assert_eq!((schedule.warmup_messages(), schedule.messages()), (3, 25));
    }

    #[test]
    fn a_topic_has_as_many_messages_as_it_has_places() {
        for (messages, topics) in [(1.0, 1), (10.0, 3), (9.0, 3), (2.0, 5), (100.0, 7)] {
            let schedule = Schedule::new(messages, 0.0, 1.0, topics);
            for topic in 0..topics {
                let last = schedule.messages_of(topic);
                for seq in [0, 1, last, last + 1, u64::MAX] {
                    let is_there = (1..=last).contains(&seq);
                    assert_eq!(schedule.has(topic, seq), is_there, "{seq} of {topic} in {topics}");
                }
            }
        }
    }

    #[test]
    fn an_idle_schedule_takes_its_time_and_sends_nothing() {
        let schedule = Schedule::idle(2.5);
        assert_eq!((schedule.messages(), schedule.duration_ns()), (0, 2_500_000_000));
    }

    #[test]
    fn a_fraction_of_a_message_is_still_one_message() {
        let schedule = Schedule::new(0.1, 0.0, 1.0, 1);
        assert_eq!((schedule.messages(), schedule.warmup_messages()), (1, 0));
    }
}
