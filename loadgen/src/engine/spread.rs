//! When a message came to the first and to the last of its topic's subscribers. Each worker follows
//! the latest messages of every topic among its own subscribers; what is complete there is put
//! together with the other workers' part. No sockets and no clock: times are passed in. What could
//! not be followed to its end is counted, never guessed.

mod merge;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::Plan;
use super::ledger::histogram;
use crate::counts;
use crate::stamp::Stamp;

pub(super) use merge::Merge;

/// The most messages that a worker follows at a time, of all topics together, 32 bytes each.
const FOLLOWED_MAX: usize = 1 << 18;

/// The most of one topic. A message that is not complete when so many later ones have begun is
/// given up.
const FOLLOWED_EACH_MAX: usize = 1024;

/// The fewest of one topic: with more topics than that allows, the last ones are not followed.
const FOLLOWED_EACH_MIN: usize = 8;

/// The most messages that wait to be put together with the other workers' part.
const WAITING_MAX: usize = 4096;

/// First and last deliveries. Sums and histograms of one shape: those of all workers of a process
/// add up.
#[derive(Debug, Deserialize, Serialize)]
pub struct Spread {
    /// From the intended send of each message to its first delivery, in nanoseconds, after the
    /// warm-up. Only of topics with several subscribers, those who read slowly not counted.
    #[serde(with = "counts")]
    pub first: Histogram<u64>,
    /// To its last delivery.
    #[serde(with = "counts")]
    pub last: Histogram<u64>,
    /// Messages sent of which both should be known.
    pub due: u64,
    #[serde(skip)]
    follower: Follower,
}

/// What a worker keeps while messages are under way.
#[derive(Debug, Default)]
struct Follower {
    /// By topic; empty where nothing is followed.
    counts: Vec<Count>,
    slots: Slots,
    waiting: Vec<Seen>,
}

/// Subscribers of a topic.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// With this worker; 0 where the topic is not followed.
    here: u32,
    /// With all workers.
    all: u32,
}

/// How far a message has come.
#[derive(Clone, Copy, Debug)]
struct Seen {
    stamp: Stamp,
    first_ns: u64,
    last_ns: u64,
    /// To how many subscribers.
    count: u32,
    /// Of how many.
    all: u32,
}

/// The latest messages of every topic, each at the place that its seq has in its topic's ring.
#[derive(Debug, Default)]
struct Slots {
    slots: Vec<Slot>,
    /// The slots of one topic: a power of two.
    each: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// 0 while empty.
    seq: u64,
    first_ns: u64,
    last_ns: u64,
    count: u32,
}

impl Spread {
    /// Nothing is followed.
    pub(crate) fn new() -> Self {
        Self { first: histogram(), last: histogram(), due: 0, follower: Follower::default() }
    }

    /// Follows what comes to the subscribers of this worker. Not where a part of the run's
    /// subscribers belongs to another process, nor where not everybody wants every message.
    pub(super) fn follow(plan: &Plan, worker: usize) -> Self {
        let mut spread = Self::new();
        let topics = plan.topics.len() as u32;
        let is_whole = plan.part.workers == plan.threads && plan.latest.is_none();
        if !is_whole || (0..topics).all(|topic| plan.quick_subscribers_of(topic) < 2) {
            return spread;
        }
        let slots = Slots::new(plan.topics.len());
        let mut counts: Vec<Count> = (0..topics)
            .map(|topic| Count { here: 0, all: plan.quick_subscribers_of(topic) })
            .collect();
        for subscriber in plan.subscribers_on(worker).skip(plan.slow_on(worker)) {
            for topic in plan.topics_of(subscriber) {
                let count = &mut counts[topic as usize];
                count.here += u32::from(count.all > 1 && slots.has(topic));
            }
        }
        spread.follower = Follower { counts, slots, waiting: Vec::with_capacity(WAITING_MAX) };
        spread
    }

    /// A message of this topic was sent after the warm-up.
    pub(super) fn handle_send(&mut self, topic: u32) {
        let count = self.follower.counts.get(topic as usize);
        self.due += u64::from(count.is_some_and(|count| count.all > 1));
    }

    /// A message that was sent after the warm-up came to one more subscriber.
    pub(super) fn handle_delivery(&mut self, stamp: &Stamp, now_ns: u64) {
        let follower = &mut self.follower;
        let Some(&Count { here, all }) = follower.counts.get(stamp.topic as usize) else { return };
        if here == 0 {
            return;
        }
        let Some(slot) = follower.slots.slot_of(stamp, now_ns) else { return };
        slot.last_ns = now_ns;
        slot.count += 1;
        if slot.count == here {
            let Slot { first_ns, last_ns, count, .. } = *slot;
            let seen = Seen { stamp: *stamp, first_ns, last_ns, count, all };
            if here == all {
                self.record(&seen);
            } else if follower.waiting.len() < WAITING_MAX {
                follower.waiting.push(seen);
            }
        }
    }

    /// Puts together what is complete here with what is elsewhere. With somebody else at it, that
    /// can wait, unless it `must` be done.
    pub(super) fn merge(&mut self, with: &Merge, must: bool) {
        if self.follower.waiting.is_empty() {
            return;
        }
        let must = must || self.follower.waiting.len() > WAITING_MAX / 2;
        let Some(mut slots) = with.lock(must) else { return };
        let mut waiting = std::mem::take(&mut self.follower.waiting);
        for seen in waiting.drain(..) {
            if let Some(whole) = slots.add(&seen) {
                self.record(&whole);
            }
        }
        self.follower.waiting = waiting; // keeps its room
    }

    /// Adds those of another worker.
    pub(crate) fn add(&mut self, other: &Self) {
        self.first.add(&other.first).expect("all histograms have one shape");
        self.last.add(&other.last).expect("all histograms have one shape");
        self.due += other.due;
    }

    /// Messages of which the first and the last delivery are not known: somebody did not get them,
    /// or got them when too many later ones were under way.
    #[must_use]
    pub fn not_followed(&self) -> u64 {
        self.due.saturating_sub(self.first.len())
    }

    fn record(&mut self, seen: &Seen) {
        let intended_ns = seen.stamp.intended_ns;
        self.first.saturating_record(seen.first_ns.saturating_sub(intended_ns));
        self.last.saturating_record(seen.last_ns.saturating_sub(intended_ns));
    }
}

impl Slots {
    fn new(topics: usize) -> Self {
        let each = (FOLLOWED_MAX / topics.max(1)).clamp(FOLLOWED_EACH_MIN, FOLLOWED_EACH_MAX);
        let each = 1 << each.ilog2();
        Self { slots: vec![Slot::default(); (topics * each).min(FOLLOWED_MAX)], each }
    }

    /// Whether messages of this topic are followed.
    fn has(&self, topic: u32) -> bool {
        (topic as usize + 1) * self.each <= self.slots.len()
    }

    /// The slot of a message that came at `now_ns`: its own, or one that it takes from an earlier
    /// message; none where a later one has it.
    fn slot_of(&mut self, stamp: &Stamp, now_ns: u64) -> Option<&mut Slot> {
        let at = stamp.topic as usize * self.each + (stamp.seq as usize & (self.each - 1));
        let slot = &mut self.slots[at];
        if slot.seq != stamp.seq {
            if slot.seq > stamp.seq {
                return None;
            }
            *slot = Slot { seq: stamp.seq, first_ns: now_ns, last_ns: now_ns, count: 0 };
        }
        Some(slot)
    }
}

impl Plan {
    /// How many subscribe to a topic and read as fast as they can.
    fn quick_subscribers_of(&self, topic: u32) -> u32 {
        let slow = self.slow.map_or(0, |slow| u64::from(slow.subscribers));
        let topics = self.topics.len() as u64;
        let slow = (slow * u64::from(self.topics_each) + topics - 1 - u64::from(topic)) / topics;
        self.subscribers_of(topic).saturating_sub(slow) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Schedule, Slow};
    use crate::target::{Protocol, Target};

    const MS: u64 = 1_000_000;

    fn plan(subscribers: u32, topics: u32, threads: usize) -> Plan {
        let target = Target::resolve("ws://127.0.0.1:1/", Protocol::Json).unwrap();
        let schedule = Schedule::new(10.0, 0.0, 10.0, topics);
        Plan::new(target, [subscribers, 1, topics], schedule, 64, threads)
    }

    fn stamp(topic: u32, seq: u64) -> Stamp {
        Stamp { run: 0, publisher: 0, topic, seq, intended_ns: seq * 100 * MS }
    }

    /// Delivers message `seq` of topic 0 so many milliseconds after it was due.
    fn deliver(spread: &mut Spread, seq: u64, after_ms: &[u64]) {
        for after_ms in after_ms {
            let stamp = stamp(0, seq);
            spread.handle_delivery(&stamp, stamp.intended_ns + after_ms * MS);
        }
    }

    fn ms(histogram: &Histogram<u64>) -> (u64, u64) {
        ((histogram.min() + MS / 2) / MS, (histogram.max() + MS / 2) / MS)
    }

    #[test]
    fn first_and_last_are_known_once_everybody_has_it_whatever_comes_in_between() {
        let mut spread = Spread::follow(&plan(3, 1, 1), 0);
        spread.handle_send(0);
        spread.handle_send(0);
        deliver(&mut spread, 1, &[5, 9]);
        deliver(&mut spread, 2, &[2, 3]);
        assert_eq!((spread.first.len(), spread.not_followed()), (0, 2));
        deliver(&mut spread, 1, &[150]);
        deliver(&mut spread, 2, &[60]);
        assert_eq!((ms(&spread.first), ms(&spread.last)), ((2, 5), (60, 150)));
        assert_eq!(spread.not_followed(), 0);
    }

    #[test]
    fn the_parts_of_several_workers_are_put_together_in_any_order() {
        let plan = plan(5, 1, 2);
        let merge = Merge::new(&plan);
        let mut workers = [0, 1].map(|worker| Spread::follow(&plan, worker));
        workers[0].handle_send(0);
        deliver(&mut workers[1], 1, &[40, 50]);
        workers[1].merge(&merge, false);
        deliver(&mut workers[0], 1, &[7, 8, 30]);
        assert_eq!(workers[0].first.len() + workers[1].first.len(), 0);
        workers[0].merge(&merge, false);
        let mut all = Spread::new();
        workers.iter().for_each(|worker| all.add(worker));
        assert_eq!((ms(&all.first), ms(&all.last)), ((7, 7), (50, 50)));
        assert_eq!((all.first.len(), all.not_followed()), (1, 0));
    }

    #[test]
    fn what_somebody_never_got_and_what_came_after_too_many_others_is_counted() {
        let mut spread = Spread::follow(&plan(2, 1, 1), 0);
        let later = FOLLOWED_EACH_MAX as u64;
        for seq in 1..=later + 1 {
            spread.handle_send(0);
            deliver(&mut spread, seq, if seq > 2 { &[1, 2] } else { &[1] });
        }
        // The first one's place was taken; the second one is still waited for.
        deliver(&mut spread, 1, &[3]);
        deliver(&mut spread, 2, &[3]);
        assert_eq!((spread.first.len(), spread.not_followed()), (later, 1));
    }

    #[test]
    fn topics_of_one_subscriber_and_slow_readers_do_not_count() {
        let mut spread = Spread::follow(&plan(3, 2, 1), 0);
        for topic in [0, 1] {
            spread.handle_send(topic);
            spread.handle_delivery(&stamp(topic, 1), 101 * MS);
        }
        assert_eq!((spread.due, spread.first.len()), (1, 0));
        assert!(Spread::follow(&plan(3, 3, 1), 0).follower.counts.is_empty());
        let slow = Some(Slow { subscribers: 2, bytes_per_second: 0 });
        assert!(Spread::follow(&Plan { slow, ..plan(3, 1, 1) }, 0).follower.counts.is_empty());
        let slow = Some(Slow { subscribers: 1, bytes_per_second: 0 });
        let mut spread = Spread::follow(&Plan { slow, ..plan(3, 1, 1) }, 0);
        deliver(&mut spread, 1, &[4, 6]);
        assert_eq!((ms(&spread.first), ms(&spread.last)), ((4, 4), (6, 6)));
    }

    #[test]
    fn with_very_many_topics_the_memory_stays_and_the_last_ones_are_not_followed() {
        let topics = 2 * (FOLLOWED_MAX / FOLLOWED_EACH_MIN);
        let slots = Slots::new(topics);
        assert_eq!((slots.slots.len(), slots.each), (FOLLOWED_MAX, FOLLOWED_EACH_MIN));
        assert!(slots.has(topics as u32 / 2 - 1) && !slots.has(topics as u32 / 2));
        assert_eq!(Slots::new(3).slots.len(), 3 * FOLLOWED_EACH_MAX);
        assert_eq!(size_of::<Slot>(), 32);
    }
}
