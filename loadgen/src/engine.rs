//! The engine: one thread per core, each with its own event loop and its share of the connections.
//! Knows connections, subscriptions, a schedule and phases; no scenario and no output. A scenario
//! makes a [`Plan`], starts the engine, moves it through its phases and takes the ledgers.

mod client;
mod ledger;
mod publisher;
mod schedule;
mod shared;
mod sources;
mod worker;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

pub use ledger::{Ledger, Tally};
pub use schedule::{Due, Queue, Schedule};
pub use shared::{Phase, Progress};
pub use sources::Sources;

pub(crate) use ledger::histogram;

use shared::Shared;
use worker::Worker;

use crate::sys;
use crate::target::Target;

/// The most connections under way at one time, from the first packet to the answered
/// subscription; shared evenly by the threads. No more than fit into the shortest accept queue in
/// common use: what overflows it comes back a second later, and would pass for a slow server.
pub const CONNECTING_MAX: usize = 128;

/// How long one connection may take until it is ready: 10 seconds.
pub const CONNECT_TIMEOUT_NS: u64 = 10_000_000_000;

/// Everything that a run will do, decided before it starts.
///
/// Subscriber i subscribes to topic i modulo the topics; topic t is published by publisher t
/// modulo the publishers, so that every topic has exactly one and its order is defined.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to.
    pub target: Target,
    /// Where from.
    pub sources: Sources,
    /// Marks this run's messages.
    pub run: u32,
    /// Connections that subscribe.
    pub subscribers: u32,
    /// Connections that publish; at most as many as topics.
    pub publishers: u32,
    /// The names of the topics: valid, and free of characters that JSON would escape.
    pub topics: Vec<String>,
    /// What is published when.
    pub schedule: Schedule,
    /// The size of every payload, at least what its stamp takes.
    pub payload_bytes: usize,
    /// Threads, at least one.
    pub threads: usize,
}

impl Plan {
    /// The topic that a subscriber subscribes to.
    #[must_use]
    pub fn topic_of(&self, subscriber: u32) -> u32 {
        subscriber % self.topics.len() as u32
    }

    /// The publisher of a topic.
    #[must_use]
    pub fn publisher_of(&self, topic: u32) -> u32 {
        topic % self.publishers
    }

    /// How many subscribe to a topic.
    #[must_use]
    pub fn subscribers_of(&self, topic: u32) -> u64 {
        let (subscribers, topics) = (u64::from(self.subscribers), self.topics.len() as u64);
        (subscribers + topics - 1 - u64::from(topic)) / topics
    }

    /// All connections.
    #[must_use]
    pub fn connections(&self) -> u64 {
        u64::from(self.subscribers) + u64::from(self.publishers)
    }

    fn subscribers_on(&self, worker: usize) -> impl Iterator<Item = u32> + use<> {
        (worker as u32..self.subscribers).step_by(self.threads)
    }

    fn publishers_on(&self, worker: usize) -> impl Iterator<Item = u32> + use<> {
        (worker as u32..self.publishers).step_by(self.threads)
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
        let shared = Arc::new(Shared::new(plan.threads));
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

    /// When the threads were started, and with them the connecting.
    #[must_use]
    pub fn begun_ns(&self) -> u64 {
        self.begun_ns
    }

    /// What is reached by now.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.shared.progress()
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
    fn every_connection_belongs_to_one_worker_and_every_subscriber_to_one_topic() {
        let target = Target::resolve("ws://127.0.0.1:1/", Protocol::Json).unwrap();
        let plan = Plan {
            sources: Sources::new(target.address, 14, 100),
            target,
            run: 1,
            subscribers: 11,
            publishers: 3,
            topics: (0..4).map(|topic| format!("t/{topic}")).collect(),
            schedule: Schedule::new(1.0, 0.0, 1.0, 4),
            payload_bytes: 64,
            threads: 2,
        };
        let mut all: Vec<_> = (0..2).flat_map(|worker| plan.subscribers_on(worker)).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..11));
        assert_eq!((plan.publishers_on(0).count(), plan.publishers_on(1).count()), (2, 1));
        for topic in 0..4 {
            let count = (0..11).filter(|&subscriber| plan.topic_of(subscriber) == topic).count();
            assert_eq!(plan.subscribers_of(topic), count as u64);
        }
        assert_eq!((plan.publisher_of(3), plan.connections()), (0, 14));
    }
}
