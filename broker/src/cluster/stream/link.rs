//! Between the hub and the streams: what lies in the hub's log is submitted, and what the streams
//! tell is committed. One task; the only one that gives replicated topics their seqs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use broker_proto::command::{CommandError, ErrorCode, Level};
use broker_proto::topic::Topic as TopicName;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::sleep;

use super::order::{GivenUp, Repeat};
use super::record::{Identity, KEPT_MS_MAX, Message};
use super::replica::{Commit, Event, Replica};
use crate::cluster::Bell;
use crate::cluster::trouble::Trouble;
use crate::hub::Shared;
use crate::hub::desk::Desk;
use crate::hub::log::{Came, Entry, Log, Pending, Placed, Work};
use crate::hub::retries::Name;
use crate::hub::topic::Topic;
use crate::metrics::Metrics;

/// Bytes of payloads that wait to be stored; beyond, the log is not emptied and slows publishers
/// down.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How often a node whose workers have more mail than they should looks whether that is over.
const FULL_PAUSE: Duration = Duration::from_millis(5);
const AWAY: &str = "not published: the topic's order is made by NATS, which is away";

/// The task between hub and streams.
#[derive(Debug)]
pub struct Link {
    /// The way to topics and workers.
    pub desk: Arc<Desk>,
    /// What holds the log.
    pub shared: Arc<Shared>,
    /// Rings when something comes into the log.
    pub bell: Bell,
    /// This node's copy of the streams.
    pub replica: Replica<Waiter>,
    /// All counters.
    pub metrics: Arc<Metrics>,
    /// When the broker's clock began.
    pub started: Instant,
    /// Bytes of payloads that wait to be stored.
    pub held_bytes: usize,
}

/// A publish that waits for its place.
#[derive(Debug)]
pub struct Waiter {
    topic: Arc<Topic>,
    pending: Pending,
    identity: Option<Identity>,
}

impl Link {
    /// Runs until the broker stops.
    pub async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let shared = self.shared.clone();
        let Some(log) = &shared.ways().replicated else { return };
        log.refuse_all(AWAY);
        loop {
            let is_full = self.desk.has_full_mailbox();
            self.replica.pause(is_full);
            tokio::select! {
                () = self.bell.rung(), if self.held_bytes < HELD_BYTES_MAX => self.take(log),
                event = self.replica.next() => self.handle(event, log),
                () = sleep(FULL_PAUSE), if is_full => {}
                // An error means that nobody can say stop any more, which is as good.
                _ = stopping.wait_for(|stop| *stop) => return log.refuse_all(AWAY),
            }
        }
    }

    /// Submits what lies in the log.
    fn take(&mut self, log: &Log) {
        let mut entries = VecDeque::new();
        let slowed = log.take(&mut entries);
        for Entry { topic, work } in entries {
            match work {
                Work::Publish(pending) => self.submit(topic, pending),
                Work::Forgotten => self.replica.forget(topic.name()),
                // Published already; only the log on disk is for these.
                Work::Written(_) => {}
            }
        }
        self.desk.commit_at(self.now_ms()).wake(slowed);
    }

    fn submit(&mut self, topic: Arc<Topic>, pending: Pending) {
        self.held_bytes += pending.payload().bytes().len();
        let name = topic.clone();
        let identity = pending.name().map(identity_of);
        let waiter = Waiter { topic, pending, identity };
        let submitted = self.replica.submit(name.name(), waiter, Waiter::message);
        if let Err(waiter) = submitted {
            // Its rule has changed since it was published.
            self.fail(vec![waiter], GivenUp::NotPublished);
        }
    }

    fn handle(&mut self, event: Event<Waiter>, log: &Log) {
        match event {
            Event::Commit(commit) => self.commit(commit),
            Event::GivenUp(waiters, why) => self.fail(waiters, why),
            Event::Repeat(waiter, repeat, level) => self.repeat(waiter, repeat, level),
            Event::Ready => {
                tracing::info!("all that JetStream holds has been read");
                self.metrics.stream.is_behind.store(0, Ordering::Relaxed);
                log.accept_again();
            }
            Event::Away => {
                tracing::warn!("JetStream is away: nothing is published on topics that it orders");
                log.refuse_all(AWAY);
            }
            Event::Trouble(trouble) => {
                Trouble::show(trouble, &self.metrics);
                let told = trouble.map_or(AWAY, Trouble::told);
                if let Some(trouble) = trouble {
                    tracing::error!("{}", trouble.advice());
                }
                if log.refuses().is_some() {
                    log.refuse_all(told);
                }
            }
        }
    }

    fn commit(&mut self, mut commit: Commit<Waiter>) {
        let Ok(name) = TopicName::new(&commit.topic) else { return };
        let epoch = commit.epoch();
        let mut commits = self.desk.commit_at(self.clock_at(commit.unix_ms));
        if commit.waiters.is_empty() {
            for (seq, payload) in commit.messages() {
                if commits.commit_foreign(name, epoch, seq, payload).is_err() {
                    tracing::warn!(topic = commit.topic, "no room for another node's topic");
                    return;
                }
            }
            return;
        }
        let first = commit.messages().next().map_or(0, |(seq, _)| seq);
        for (seq, waiter) in (first..).zip(std::mem::take(&mut commit.waiters)) {
            let Waiter { topic, pending, .. } = waiter;
            let bytes = pending.payload().bytes().len();
            self.held_bytes = self.held_bytes.saturating_sub(bytes);
            commits.commit(&topic, epoch, seq, pending, commit.level);
        }
    }

    fn fail(&mut self, waiters: Vec<Waiter>, why: GivenUp) {
        let mut commits = self.desk.commit_at(self.now_ms());
        for Waiter { topic, pending, .. } in waiters {
            let bytes = pending.payload().bytes().len();
            self.held_bytes = self.held_bytes.saturating_sub(bytes);
            commits.fail(&topic, pending, error_of(why));
        }
    }

    fn repeat(&mut self, waiter: Waiter, repeat: Repeat, level: Level) {
        let Waiter { topic, pending, .. } = waiter;
        let bytes = pending.payload().bytes().len();
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
        let (place, came) = match repeat {
            Repeat::At(place) => (place, Came::Again),
            Repeat::OtherRequest(place) => (place, Came::InOtherRequest),
        };
        let placed = Placed { epoch: place.epoch, seq: place.seq, level, came };
        self.desk.commit_at(self.now_ms()).repeat(&topic, pending, placed);
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// The broker's clock at a time of day; 0 for what was before the broker.
    fn clock_at(&self, unix_ms: u64) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age_ms = (now.as_millis() as u64).saturating_sub(unix_ms);
        self.now_ms().saturating_sub(age_ms)
    }
}

impl Waiter {
    fn message(&self) -> Message<'_> {
        Message { payload: self.pending.payload(), identity: self.identity }
    }
}

/// What stands in a record for a name: as short, whatever the name is, and nobody can make another
/// of the same.
fn identity_of(name: &Name) -> Identity {
    let mut id = [0; 16];
    id.copy_from_slice(&Sha256::digest(&name.text)[..16]);
    Identity { id, request: name.request, kept_ms: name.kept_ms.min(KEPT_MS_MAX) }
}

fn error_of(why: GivenUp) -> CommandError {
    let (code, message) = match why {
        GivenUp::NotPublished => {
            (ErrorCode::Unavailable, "not published: NATS took it not in time")
        }
        GivenUp::Unsure => (ErrorCode::Unavailable, "may have been published: NATS did not answer"),
        GivenUp::NoRoom => (
            ErrorCode::Unavailable,
            "not published: no room to know whether it is a retry (history_total_bytes_max)",
        ),
        GivenUp::TooLarge => (ErrorCode::TooLarge, "longer than the cluster's NATS takes"),
    };
    CommandError::new(code, message)
}
