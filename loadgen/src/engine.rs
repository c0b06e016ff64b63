//! The engine: one thread per core, each with its own event loop and its share of the connections.
//! Knows connections, subscriptions, a schedule and phases; no scenario and no output. A scenario
//! makes a [`Plan`], starts the engine, moves it through its phases and takes the ledgers.

mod check;
mod churn;
mod client;
mod groups;
mod keepalive;
mod latest;
mod layout;
mod ledger;
#[cfg(test)]
mod merging;
mod part;
mod peak;
mod publisher;
mod pulse;
mod realtime;
mod receive;
mod schedule;
mod shared;
mod slow;
mod sources;
mod split;
mod spread;
mod storm;
mod traffic;
mod turns;
mod wire;
mod worker;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use serde::{Deserialize, Serialize};

pub use churn::Churn;
pub use groups::{GroupBook, Move, SIGHTINGS_MAX};
pub use keepalive::KEEPALIVE_NS;
pub use latest::Latest;
pub use layout::{Flips, Group, Layout};
pub use ledger::{HICCUP_NS, Hiccups, Ledger, Tally};
pub use part::Part;
pub use peak::Peak;
pub use pulse::{PULSE_EVERY_NS, Pulse};
pub use schedule::{Arrivals, DRAWN_MAX, Due, Popularity, Queue, Schedule};
pub use shared::{Phase, Progress};
pub use slow::{SLOW_BYTES_MAX, Slow, SlowBook};
pub use sources::Sources;
pub use split::Split;
pub use spread::Spread;
pub use storm::{STORMS_MAX, Storm, StormBook};
pub use traffic::Traffic;
pub use wire::{Amount, WireBook};

pub(crate) use ledger::histogram;

use shared::Shared;
use spread::Merge;
use worker::Worker;

use crate::payload::Body;
use crate::sys;
use crate::target::Target;

/// The most connections under way at one time, from the first packet to the answered
/// subscription; shared evenly by the threads. No more than fit into the shortest accept queue in
/// common use: what overflows it comes back a second later, and would pass for a slow server.
pub const CONNECTING_MAX: usize = 128;

/// How long one connection may take until it is ready: 10 seconds.
pub const CONNECT_TIMEOUT_NS: u64 = 10_000_000_000;

/// The most topics of one subscriber: what brokers let one connection subscribe to by default.
pub const TOPICS_EACH_MAX: u32 = 1000;

/// Everything that a run will do, decided before it starts.
///
/// The subscribers take the topics in turn, [`topics_each`](Self::topics_each) at a time, and begin
/// anew after the last; topic t is published by publisher t modulo the publishers, so that every
/// topic has exactly one and its order is defined.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Plan {
    /// Where to.
    pub target: Target,
    /// Where from.
    pub sources: Sources,
    /// Marks this run's messages.
    pub run: u32,
    /// Connections that subscribe.
    pub subscribers: u32,
    /// Topics that each subscriber subscribes to: no more than there are, at most
    /// [`TOPICS_EACH_MAX`]. With 0, connections are opened and held, nothing else.
    pub topics_each: u32,
    /// Connections that publish; at most as many as topics.
    pub publishers: u32,
    /// Subscriber i is publisher i as well, of its own topic: there are as many of each.
    pub is_round_trip: bool,
    /// The names of the topics, as the target's protocol has them: valid, and free of characters
    /// that JSON would escape.
    pub topics: Vec<String>,
    /// What is published when.
    pub schedule: Schedule,
    /// What a payload consists of.
    pub body: Body,
    /// The size of every payload, at least what its body takes.
    pub payload_bytes: usize,
    /// Threads, at least one.
    pub threads: usize,
    /// Which of the connections are this engine's.
    pub part: Part,
    /// Who leaves and comes back, and when.
    pub churn: Option<Churn>,
    /// Who reads slowly, and how slowly.
    pub slow: Option<Slow>,
    /// Whose connections are cut at once, and when.
    pub storm: Option<Storm>,
    /// Whether the kernel is asked when it received what the subscribers read.
    pub kernel_timestamps: bool,
    /// Subscriptions are to the newest of each topic alone.
    pub latest: Option<Latest>,
    /// Who subscribes to what, where that is no regular pattern.
    pub layout: Option<Layout>,
}

impl Plan {
    /// A run of these connections and messages under new topic names, with payloads as the
    /// target's protocol has them. What else there is can be changed afterwards.
    #[must_use]
    pub fn new(
        target: Target,
        [subscribers, publishers, topics]: [u32; 3],
        schedule: Schedule,
        payload_bytes: usize,
        threads: usize,
    ) -> Self {
        let run = fastrand::u32(..);
        let connections = u64::from(subscribers) + u64::from(publishers);
        Self {
            sources: Sources::new(
                target.servers.first().address,
                connections,
                sys::ports_per_source(),
            ),
            body: Body::Padded(target.protocol.shape()),
            topics: (0..topics)
                .map(|topic| target.protocol.topic(&format!("loadgen/{run:08x}/{topic}")))
                .collect(),
            target,
            run,
            subscribers,
            topics_each: 1,
            publishers,
            is_round_trip: false,
            schedule,
            payload_bytes,
            threads,
            part: Part::whole(threads),
            churn: None,
            slow: None,
            storm: None,
            kernel_timestamps: true,
            latest: None,
            layout: None,
        }
    }

    /// The topics that a subscriber subscribes to, in the order of its accounts.
    pub fn topics_of(&self, subscriber: u32) -> impl Iterator<Item = u32> + '_ {
        let (first, topics) = (self.first_topic_of(subscriber), self.topics.len() as u32);
        let listed = self.layout.as_ref().map_or(&[][..], |layout| layout.topics_of(subscriber));
        let in_turn = if self.layout.is_some() { 0 } else { self.topics_each };
        let in_turn = (0..in_turn).map(move |place| (first + place) % topics);
        listed.iter().copied().chain(in_turn)
    }

    /// How many topics a subscriber subscribes to.
    #[must_use]
    pub fn accounts_of(&self, subscriber: u32) -> u32 {
        match &self.layout {
            Some(layout) => layout.topics_of(subscriber).len() as u32,
            None => self.topics_each,
        }
    }

    /// Which of a subscriber's topics this is, from 0; none if it is not among them.
    #[must_use]
    pub fn place_of(&self, subscriber: u32, topic: u32) -> Option<u32> {
        if let Some(layout) = &self.layout {
            return layout.place_of(subscriber, topic);
        }
        let topics = self.topics.len() as u32;
        let place = (topic + topics).checked_sub(self.first_topic_of(subscriber))?;
        // Most times it is no more than once around, and to see that takes no division.
        let place = if place < topics { place } else { (place - topics) % topics };
        (place < self.topics_each).then_some(place)
    }

    fn first_topic_of(&self, subscriber: u32) -> u32 {
        match self.topics.len() as u64 {
            0 | 1 => 0,
            topics => {
                let subscriptions_before = u64::from(subscriber) * u64::from(self.topics_each);
                (subscriptions_before % topics) as u32
            }
        }
    }

    /// Whether connections are only opened and held.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.topics_each == 0
    }

    /// The publisher of a topic.
    #[must_use]
    pub fn publisher_of(&self, topic: u32) -> u32 {
        topic % self.publishers
    }

    /// How many subscribe to a topic.
    #[must_use]
    pub fn subscribers_of(&self, topic: u32) -> u64 {
        if let Some(layout) = &self.layout {
            return layout.subscribers_of(topic);
        }
        let subscriptions = u64::from(self.subscribers) * u64::from(self.topics_each);
        let topics = self.topics.len() as u64;
        (subscriptions + topics - 1 - u64::from(topic)) / topics
    }

    /// All connections.
    #[must_use]
    pub fn connections(&self) -> u64 {
        let publishers = if self.is_round_trip { 0 } else { self.publishers };
        u64::from(self.subscribers) + u64::from(publishers)
    }

    fn subscribers_on(&self, worker: usize) -> impl Iterator<Item = u32> + use<> {
        self.part.numbers(worker, self.subscribers)
    }

    /// How many of a worker's subscribers read slowly: its first so many.
    fn slow_on(&self, worker: usize) -> usize {
        let slow = self.slow.map_or(0, |slow| slow.subscribers);
        self.subscribers_on(worker).take_while(|&subscriber| subscriber < slow).count()
    }

    fn publishers_on(&self, worker: usize) -> impl Iterator<Item = u32> + use<> {
        self.part.numbers(worker, self.publishers)
    }
}

/// A run under way. To be moved on to [`Phase::Close`] and then [`finish`](Self::finish)ed.
#[derive(Debug)]
pub struct Engine {
    begun_ns: u64,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<Ledger>>>,
}

impl Engine {
    /// Starts the threads, which begin to connect.
    ///
    /// # Errors
    ///
    /// If the system gives no thread, poll or timer.
    pub fn start(plan: Plan) -> io::Result<Self> {
        let plan = Arc::new(plan);
        let shared = Arc::new(Shared::new(plan.threads, Merge::new(&plan)));
        let workers: Vec<_> = (0..plan.threads)
            .map(|index| Worker::new(index, Arc::clone(&plan), Arc::clone(&shared)))
            .collect::<io::Result<_>>()?;
        let mut engine = Self { begun_ns: sys::now_ns(), shared, threads: Vec::new() };
        for (index, worker) in workers.into_iter().enumerate() {
            let builder = thread::Builder::new().name(format!("load-{index}"));
            engine.threads.push(builder.spawn(|| worker.run())?);
        }
        Ok(engine)
    }

    /// How many threads there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.threads.len()
    }

    /// When the threads were started, and with them the connecting.
    #[must_use]
    pub fn begun_ns(&self) -> u64 {
        self.begun_ns
    }

    /// When message 0 is due, on the clock of [`now_ns`](crate::sys::now_ns); 0 while that is not
    /// decided.
    #[must_use]
    pub fn start_ns(&self) -> u64 {
        self.shared.start_ns()
    }

    /// What is reached by now.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.shared.progress()
    }

    /// Where the run stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.shared.phase()
    }

    /// What the workers last told, no more than [`PULSE_EVERY_NS`] and a turn ago, together. For
    /// those who look on a few times a second: it adds up histograms.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.shared.pulse()
    }

    /// Whether a thread has ended before it was told to.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Begins to publish: message 0 is due at `start_ns` of [`now_ns`](crate::sys::now_ns).
    pub fn publish(&self, start_ns: u64) {
        self.shared.set_start(start_ns);
        self.shared.set_phase(Phase::Publish);
    }

    /// Moves on to a later phase other than [`Phase::Publish`].
    pub fn enter(&self, phase: Phase) {
        self.shared.set_phase(phase);
    }

    /// Closes what is open and returns every worker's ledger.
    ///
    /// # Errors
    ///
    /// If a worker's poll failed, or the worker panicked.
    pub fn finish(self) -> io::Result<Vec<Ledger>> {
        self.shared.set_phase(Phase::Close);
        let join = |thread: JoinHandle<_>| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a worker thread panicked")))
        };
        self.threads.into_iter().map(join).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Protocol;

    #[test]
    fn every_connection_belongs_to_one_worker_and_every_subscriber_has_its_topics() {
        let target = Target::resolve("ws://127.0.0.1:1/", Protocol::Json).unwrap();
        let mut plan = Plan::new(target, [11, 3, 4], Schedule::new(1.0, 0.0, 1.0, 4), 64, 2);
        let mut all: Vec<_> = (0..2).flat_map(|worker| plan.subscribers_on(worker)).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..11));
        assert_eq!((plan.publishers_on(0).count(), plan.publishers_on(1).count()), (2, 1));
        for topics_each in [1, 3, 4] {
            plan.topics_each = topics_each;
            for topic in 0..4 {
                let places: Vec<_> = (0..11).filter_map(|who| plan.place_of(who, topic)).collect();
                assert_eq!(plan.subscribers_of(topic), places.len() as u64);
            }
            for subscriber in 0..11 {
                let topics: Vec<_> = plan.topics_of(subscriber).collect();
                for (place, &topic) in (0..).zip(&topics) {
                    assert_eq!(plan.place_of(subscriber, topic), Some(place));
                }
                assert_eq!(topics.len(), topics_each as usize);
            }
        }
        assert_eq!((plan.publisher_of(3), plan.connections()), (0, 14));
    }
}
