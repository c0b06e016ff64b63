//! This node's copy of what the streams hold: reads all of them, offers what is published here,
//! and says, in the streams' order, what is published with that.
//!
//! Knows nothing of the hub: whoever publishes gives it something to know the publish by again, `P`.
//! [`Replica::next`] must be called again and again, for nothing happens but there.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use broker_proto::command::{Epoch, Level, Payload};
use broker_proto::topic::Topic;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::identities::Times;
use super::offer::offer;
use super::order::{GivenUp, Limits, Refusal, Repeat, Seen};
use super::plan::Plan;
use super::reader::{Read, Reader};
use super::record::{Message, Record};
use super::sequencer::{Effect, Outcome, Sequencer, Settings};
use crate::cluster::Bus;
use crate::cluster::envelope::checked;
use crate::cluster::trouble::Trouble;
use crate::config::Config;
use crate::hub::history::Budget;
use crate::metrics::stream::StreamMetrics;

/// How long a publish may take until it is given up.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long JetStream may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(25);
/// Records that wait to be taken from the readers; beyond, these wait.
const READS_MAX: usize = 512;
/// Most bytes of a record with several messages.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// What a record's headers and subject take at most.
const HEADERS_BYTES: usize = 4 * 1024;
/// What NATS takes before it has said what it does.
const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

/// What has happened.
#[derive(Debug)]
pub enum Event<P> {
    /// These messages are published.
    Commit(Commit<P>),
    /// These publishes are given up.
    GivenUp(Vec<P>, GivenUp),
    /// This publish came before, and is as safe as that.
    Repeat(P, Repeat, Level),
    /// JetStream is there, and all that it held has been told: publishes may come.
    Ready,
    /// JetStream is away: publishes would be given up.
    Away,
    /// It can't be used though NATS is there; none: it can, again.
    Trouble(Option<Trouble>),
}

/// The messages of one record.
#[derive(Debug)]
pub struct Commit<P> {
    /// The topic.
    pub topic: String,
    /// When they were stored, in ms since 1970.
    pub unix_ms: u64,
    /// How safe they are.
    pub level: Level,
    /// Those who published them here, one for each message; none if another node did.
    pub waiters: Vec<P>,
    record: Bytes,
    skip: usize,
}

/// This node's copy.
pub struct Replica<P> {
    bus: Bus,
    context: Context,
    plan: Arc<Plan>,
    sequencer: Sequencer<P>,
    streams: Vec<StreamState>,
    reads: mpsc::Receiver<Read>,
    readers: JoinSet<()>,
    offers: FuturesUnordered<Offer>,
    events: VecDeque<Event<P>>,
    tick: Interval,
    started: Instant,
    is_ready: bool,
    /// There is no room for what is read.
    is_paused: bool,
    trouble: Option<Trouble>,
    is_synced: bool,
}

type Offer = Pin<Box<dyn Future<Output = (u32, u64, Outcome)> + Send>>;

#[derive(Clone, Copy, Debug, Default)]
struct StreamState {
    /// On how many servers it is.
    replicas: usize,
    /// The connection on which all was read that was there.
    caught_up: u64,
    /// Records that are still to be read.
    lag: u64,
    /// Why it can't be used.
    trouble: Option<Trouble>,
}

impl<P> Replica<P> {
    /// Begins to read. What is remembered of publishes that may come again counts into the budget.
    /// Must be called within a runtime.
    pub fn new(bus: Bus, config: &Config, budget: Arc<Budget>) -> Self {
        let plan = Arc::new(Plan::new(config));
        let context = ContextBuilder::new().timeout(ANSWER_TIMEOUT).build(bus.client.clone());
        let (into, reads) = mpsc::channel(READS_MAX);
        let mut readers = JoinSet::new();
        for (place, stream) in plan.streams().iter().enumerate() {
            let stream = (place, stream.clone());
            let reader = Reader::new(bus.clone(), context.clone(), stream, into.clone());
            readers.spawn(reader.run());
        }
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let settings = Settings {
            node: bus.names.run,
            unix_ms: unix_ms.as_millis() as u64,
            timeout_ms: PUBLISH_TIMEOUT.as_millis() as u64,
            topics_max: config.topics_max as usize,
            limits: limits(PAYLOAD_BYTES_MAX),
        };
        let mut sequencer = Sequencer::new(settings, plan.streams().len(), budget);
        sequencer.handle_away();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            context,
            sequencer,
            streams: vec![StreamState::default(); plan.streams().len()],
            plan,
            reads,
            readers,
            offers: FuturesUnordered::new(),
            events: VecDeque::new(),
            tick,
            started: Instant::now(),
            is_ready: false,
            is_paused: false,
            trouble: None,
            is_synced: config.backplane.nats_synced,
            bus,
        }
    }

    /// How many streams there are: rules that keep something.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Takes a message to be published; an event will tell what became of it. Given back if nothing
    /// is kept of the topic.
    ///
    /// # Errors
    /// No stream holds the topic.
    pub fn submit(
        &mut self,
        topic: Topic<'_>,
        waiter: P,
        message: impl Fn(&P) -> Message<'_>,
    ) -> Result<(), P> {
        let Some(stream) = self.plan.stream_of(topic) else { return Err(waiter) };
        let now_ms = self.now_ms();
        self.sequencer.submit(topic.as_str(), stream, waiter, message, now_ms);
        if !self.is_ready {
            self.sequencer.handle_away();
        }
        Ok(())
    }

    /// Nothing is kept of the topic here any more.
    pub fn forget(&mut self, topic: Topic<'_>) {
        self.sequencer.forget(topic.as_str());
    }

    /// Whether to leave unread what JetStream holds, because there is no room for it here.
    pub fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// What happens next. May be dropped before it is done.
    pub async fn next(&mut self) -> Event<P> {
        loop {
            self.act();
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            tokio::select! {
                Some(read) = self.reads.recv(), if !self.is_paused => self.handle_read(read),
                Some((key, nonce, outcome)) = self.offers.next(), if !self.offers.is_empty() => {
                    self.count(outcome);
                    let now_ms = self.now_ms();
                    self.sequencer.handle_outcome(key, nonce, outcome, now_ms);
                }
                _ = self.tick.tick() => {
                    let now_ms = self.now_ms();
                    self.sequencer.handle_time(now_ms);
                }
                // An error means that the connection is gone for good, which the tick sees too.
                _ = self.bus.standing.changed() => {}
            }
            self.look_at_connection();
        }
    }

    /// Carries out what is to be done.
    fn act(&mut self) {
        let now_ms = self.now_ms();
        while let Some(effect) = self.sequencer.poll_effect(now_ms) {
            match effect {
                Effect::GiveUp(waiters, why) => {
                    self.metrics().given_up.fetch_add(waiters.len() as u64, Ordering::Relaxed);
                    self.events.push_back(Event::GivenUp(waiters, why));
                }
                Effect::Repeat(waiter, repeat, stream) => {
                    self.metrics().retries.fetch_add(1, Ordering::Relaxed);
                    let level = self.level(stream);
                    self.events.push_back(Event::Repeat(waiter, repeat, level));
                }
                Effect::Send { key, topic, stream, attempt } => {
                    let Ok(topic) = Topic::new(&topic) else { continue };
                    let stream = &self.plan.streams()[stream];
                    let (name, subject) = (stream.name.clone(), stream.subject_of(topic));
                    let (context, nonce) = (self.context.clone(), attempt.origin.nonce);
                    self.metrics().offered.fetch_add(1, Ordering::Relaxed);
                    self.offers.push(Box::pin(async move {
                        let (outcome, error) = offer(&context, &name, subject, attempt).await;
                        if let Some(error) = error {
                            tracing::debug!(stream = name, %error, ?outcome, "not stored");
                        }
                        (key, nonce, outcome)
                    }));
                }
            }
        }
        let in_flight = self.sequencer.attempts() as u64;
        self.metrics().in_flight.store(in_flight, Ordering::Relaxed);
    }

    fn handle_read(&mut self, read: Read) {
        match read {
            Read::Opened { stream, replicas } => {
                let state = &mut self.streams[stream];
                (state.replicas, state.trouble) = (replicas, None);
            }
            Read::Barred { stream, trouble } => self.streams[stream].trouble = Some(trouble),
            Read::Truncated { stream, number } => self.sequencer.handle_truncated(stream, number),
            Read::CaughtUp { stream, number, connects } => {
                self.sequencer.handle_passed(stream, number);
                self.streams[stream].caught_up = connects;
            }
            Read::Record { stream, number, subject, record, unix_ms, pending } => {
                self.streams[stream].lag = pending;
                let lag = self.streams.iter().map(|stream| stream.lag).sum();
                self.metrics().lag.store(lag, Ordering::Relaxed);
                if !self.handle_record((stream, number), &subject, record, unix_ms) {
                    self.metrics().garbage.fetch_add(1, Ordering::Relaxed);
                    self.sequencer.handle_passed(stream, number);
                }
            }
        }
    }

    /// Publishes what is in a record; false if it is none, or of a topic that is not in the stream.
    fn handle_record(
        &mut self,
        (stream, number): (usize, u64),
        subject: &str,
        bytes: Bytes,
        unix_ms: u64,
    ) -> bool {
        let Ok(record) = Record::decode(&bytes) else { return false };
        let Some(topic) = self.plan.streams()[stream].topic_of(subject) else { return false };
        let is_of_stream =
            Topic::new(&topic).is_ok_and(|name| self.plan.stream_of(name) == Some(stream));
        if !is_of_stream {
            return false;
        }
        let metrics = &self.bus.metrics.stream;
        metrics.records.fetch_add(1, Ordering::Relaxed);
        metrics.messages.fetch_add(record.count.into(), Ordering::Relaxed);
        let times = Times { unix_ms, now_ms: self.now_ms() };
        let seen = self.sequencer.handle_record(stream, number, &topic, &record, times);
        let metrics = &self.bus.metrics.stream;
        let (skip, waiters) = match seen {
            Seen::Old => return true,
            Seen::Own(waiters) => (0, waiters),
            Seen::Foreign { skip, lost } => {
                if !lost.is_empty() {
                    self.events.push_back(Event::GivenUp(lost, GivenUp::Unsure));
                }
                metrics.repeated.fetch_add(skip, Ordering::Relaxed);
                (skip as usize, Vec::new())
            }
        };
        if skip < usize::from(record.count) {
            let level = self.level(stream);
            let commit = Commit { topic, unix_ms, level, waiters, record: bytes, skip };
            self.events.push_back(Event::Commit(commit));
        }
        true
    }

    /// What JetStream's word is worth.
    fn level(&self, stream: usize) -> Level {
        match self.streams[stream].replicas {
            _ if self.is_synced => Level::Durable,
            3.. => Level::Replicated,
            _ => Level::Accepted,
        }
    }

    fn look_at_connection(&mut self) {
        let standing = *self.bus.standing.borrow();
        if !standing.is_up {
            self.streams.iter_mut().for_each(|stream| stream.trouble = None);
        }
        let trouble = self.streams.iter().filter_map(|stream| stream.trouble).min();
        if std::mem::replace(&mut self.trouble, trouble) != trouble {
            self.events.push_back(Event::Trouble(trouble));
        }
        let is_read = |stream: &StreamState| stream.caught_up == standing.connects;
        let is_there = standing.is_up && self.streams.iter().all(is_read);
        // Where nothing is kept there is nothing to wait for.
        let is_ready = is_there || self.streams.is_empty();
        if is_ready == self.is_ready {
            return;
        }
        self.is_ready = is_ready;
        self.metrics().is_ready.store(is_ready.into(), Ordering::Relaxed);
        if is_ready {
            self.sequencer.set_limits(limits(self.bus.client.server_info().max_payload));
            self.sequencer.handle_back();
            self.events.push_back(Event::Ready);
        } else {
            self.sequencer.handle_away();
            self.events.push_back(Event::Away);
        }
    }

    fn count(&self, outcome: Outcome) {
        let metrics = self.metrics();
        let counter = match outcome {
            Outcome::Stored => &metrics.stored,
            Outcome::Refused(Refusal::Conflict(_)) => &metrics.conflicts,
            Outcome::Refused(Refusal::Failed) => &metrics.failures,
            Outcome::Unknown => &metrics.unknown,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn metrics(&self) -> &StreamMetrics {
        &self.bus.metrics.stream
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

impl<P> fmt::Debug for Replica<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("is_ready", &self.is_ready)
            .field("readers", &self.readers.len())
            .finish_non_exhaustive()
    }
}

impl<P> Commit<P> {
    /// The numbering that the messages belong to.
    pub fn epoch(&self) -> Epoch {
        self.read().map_or(Epoch::new(0), |record| record.first.epoch)
    }

    /// The messages with their seqs. Of another node, what says that it is JSON and is not comes as
    /// bytes: nobody may write into our clients' frames.
    pub fn messages(&self) -> impl Iterator<Item = (u64, Payload<'_>)> {
        let is_own = !self.waiters.is_empty();
        let record = self.read();
        let first = record.map_or(0, |record| record.first.seq);
        let payloads = record.into_iter().flat_map(|record| record.messages());
        let checked = payloads.map(move |message| match message.payload {
            payload if is_own => payload,
            payload => checked(payload),
        });
        (first..).zip(checked).skip(self.skip)
    }

    fn read(&self) -> Option<Record<'_>> {
        // It was read before, when it came.
        Record::decode(&self.record).ok()
    }
}

fn limits(payload_bytes_max: usize) -> Limits {
    let record_bytes_max = payload_bytes_max.saturating_sub(HEADERS_BYTES);
    Limits { batch_bytes_max: BATCH_BYTES_MAX.min(record_bytes_max), record_bytes_max }
}
