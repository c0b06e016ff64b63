//! All topics whose order the stream makes: what their publishers wait for, which attempts are on
//! their way, and what is to be done next. Many topics have a record on its way at once, each topic
//! one.
//!
//! Sans-IO: what happens comes in by `handle_*`, what is to be done is taken with
//! [`poll_effect`](Sequencer::poll_effect), and the time is passed in. Used by
//! [`Replica`](super::replica::Replica) alone, and by simulations.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use broker_proto::command::Epoch;

use slab::Slab;

use super::identities::Times;
use super::order::{Attempt, GivenUp, Limits, Order, Refusal, Repeat, Seen, Stamp, Told};
use super::record::{Message, Origin, Record};
use crate::hub::history::Budget;

/// Most attempts that the server has not answered.
const ATTEMPTS_MAX: usize = 512;
/// Low bits of an epoch, chosen at random; above them stands the time in milliseconds.
const EPOCH_RANDOM_BITS: u32 = 20;
/// Topics of which what is too old is forgotten at once, of those that remember retries.
const TRIMMED_AT_ONCE: usize = 64;

/// Every topic's [`Order`], with those who wait for an answer as `P`.
#[derive(Debug)]
pub struct Sequencer<P> {
    settings: Settings,
    rng: fastrand::Rng,
    nonce: u64,
    keys: HashMap<Arc<str>, u32>,
    entries: Slab<Entry<P>>,
    /// The record that the reader has come to, by stream.
    read_to: Vec<u64>,
    /// Topics with something to send.
    due: VecDeque<u32>,
    /// Topics with a deadline.
    busy: Vec<u32>,
    /// Topics that remember publishes which may come again, in the order in which they are trimmed.
    remembering: VecDeque<u32>,
    /// What they remember counts here.
    budget: Arc<Budget>,
    /// Attempts that the server has not answered.
    attempts: usize,
    /// The server can't be reached.
    is_away: bool,
    effects: VecDeque<Effect<P>>,
}

/// What holds for all topics.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// This run of this node: a number chosen at random.
    pub node: u64,
    /// The time of day at 0 ms of the clock, in ms since 1970.
    pub unix_ms: u64,
    /// How long a publish may take until it is given up, in milliseconds.
    pub timeout_ms: u64,
    /// Most topics that are remembered. One that is forgotten begins a new epoch when it is
    /// published on again.
    pub topics_max: usize,
    /// How large records may become.
    pub limits: Limits,
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect<P> {
    /// Offer this record to the server, and tell what became of it with the same key.
    Send {
        /// Names the topic until then.
        key: u32,
        /// The topic.
        topic: Arc<str>,
        /// The stream that it belongs to.
        stream: usize,
        /// The record.
        attempt: Attempt,
    },
    /// Tell these that their publish is given up.
    GiveUp(Vec<P>, GivenUp),
    /// Tell this one that his publish came before, on a topic of that stream.
    Repeat(P, Repeat, usize),
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was stored, now or when it was sent before.
    Stored,
    /// It was not.
    Refused(Refusal),
    /// Nobody knows.
    Unknown,
}

#[derive(Debug)]
struct Entry<P> {
    topic: Arc<str>,
    stream: usize,
    order: Order<P>,
    is_due: bool,
    is_busy: bool,
    /// It is among those that are trimmed.
    is_remembering: bool,
}

impl<P> Sequencer<P> {
    /// Knows of no topic yet, in so many streams. What it remembers counts into the budget.
    pub fn new(settings: Settings, streams: usize, budget: Arc<Budget>) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(settings.node),
            settings,
            nonce: 0,
            keys: HashMap::new(),
            entries: Slab::new(),
            read_to: vec![0; streams],
            due: VecDeque::new(),
            busy: Vec::new(),
            remembering: VecDeque::new(),
            budget,
            attempts: 0,
            is_away: false,
            effects: VecDeque::new(),
        }
    }

    /// Changes how large records may become, for messages to come.
    pub fn set_limits(&mut self, limits: Limits) {
        self.settings.limits = limits;
    }

    /// Takes a message of a topic, which belongs to that stream, to be published.
    pub fn submit(
        &mut self,
        topic: &str,
        stream: usize,
        waiter: P,
        message: impl Fn(&P) -> Message<'_>,
        now_ms: u64,
    ) {
        let is_unread = !self.has_room_for(topic);
        if is_unread && message(&waiter).identity.is_some() {
            // What is in the stream was not remembered, for the same reason.
            self.effects.push_back(Effect::GiveUp(vec![waiter], GivenUp::NoRoom));
            return;
        }
        let key = self.key_of(topic, stream);
        let deadline_ms = now_ms + self.settings.timeout_ms;
        let entry = &mut self.entries[key as usize];
        match entry.order.push(waiter, message, deadline_ms, &self.settings.limits) {
            Ok(()) => self.look_at(key),
            Err(waiter) => {
                self.effects.push_back(Effect::GiveUp(vec![waiter], GivenUp::TooLarge));
            }
        }
    }

    /// What became of the attempt of that topic and nonce.
    pub fn handle_outcome(&mut self, key: u32, nonce: u64, outcome: Outcome, now_ms: u64) {
        self.attempts = self.attempts.saturating_sub(1);
        let Some(Entry { order, stream, .. }) = self.entries.get_mut(key as usize) else { return };
        match outcome {
            Outcome::Stored => order.handle_stored(nonce),
            Outcome::Unknown => order.handle_unknown(nonce, now_ms),
            Outcome::Refused(refusal) => {
                let read_to = self.read_to[*stream];
                let given_up = order.handle_refused(nonce, refusal, (read_to, now_ms));
                self.effects.extend(given_up.map(|(waiters, why)| Effect::GiveUp(waiters, why)));
            }
        }
        self.look_at(key);
    }

    /// The reader of a stream has come to a record of a topic, with that number in the stream.
    pub fn handle_record(
        &mut self,
        stream: usize,
        number: u64,
        topic: &str,
        record: &Record<'_>,
        times: Times,
    ) -> Seen<P> {
        self.read_to[stream] = number;
        if !self.has_room_for(topic) {
            return Seen::Foreign { skip: 0, lost: Vec::new() };
        }
        let key = self.key_of(topic, stream);
        let Entry { order, is_remembering, .. } = &mut self.entries[key as usize];
        let seen = order.handle_record((number, record), self.settings.node, times, &self.budget);
        if order.remembers() && !*is_remembering {
            *is_remembering = true;
            self.remembering.push_back(key);
        }
        self.look_at(key);
        seen
    }

    fn has_room_for(&self, topic: &str) -> bool {
        self.entries.len() < self.settings.topics_max || self.keys.contains_key(topic)
    }

    /// There is nothing for the reader up to that number, or what is no record.
    pub fn handle_passed(&mut self, stream: usize, number: u64) {
        self.read_to[stream] = self.read_to[stream].max(number);
    }

    /// The stream ends with that record now, before the one that the reader had come to: it lost
    /// its end, or is another one.
    pub fn handle_truncated(&mut self, stream: usize, number: u64) {
        self.read_to[stream] = number;
        let entries = self.entries.iter_mut().filter(|(_, entry)| entry.stream == stream);
        entries.for_each(|(_, entry)| entry.order.handle_truncated(number, &self.budget));
    }

    /// The server can't be reached: what was not sent yet is given up. What was is waited for.
    pub fn handle_away(&mut self) {
        self.is_away = true;
        for &key in &self.busy {
            let waiters = self.entries[key as usize].order.take_waiting();
            if !waiters.is_empty() {
                self.effects.push_back(Effect::GiveUp(waiters, GivenUp::NotPublished));
            }
        }
    }

    /// The server is there.
    pub fn handle_back(&mut self) {
        self.is_away = false;
    }

    /// Looks at the deadlines, and forgets what is too old.
    pub fn handle_time(&mut self, now_ms: u64) {
        for _ in 0..self.remembering.len().min(TRIMMED_AT_ONCE) {
            let Some(key) = self.remembering.pop_front() else { break };
            let Entry { order, is_remembering, .. } = &mut self.entries[key as usize];
            *is_remembering = order.trim(now_ms, &self.budget);
            self.remembering.extend(is_remembering.then_some(key));
        }
        let mut busy = std::mem::take(&mut self.busy);
        busy.retain(|&key| {
            let Some(entry) = self.entries.get_mut(key as usize) else { return false };
            let effects = &mut self.effects;
            entry.order.handle_time(now_ms, |waiters, why| {
                effects.push_back(Effect::GiveUp(waiters, why));
            });
            entry.is_busy = !entry.order.is_idle();
            if entry.order.is_due() && !entry.is_due {
                entry.is_due = true;
                self.due.push_back(key);
            }
            entry.is_busy
        });
        self.busy = busy;
    }

    /// Nothing is kept of the topic any more: it need not be remembered. It is nevertheless while a
    /// publish on it might come again.
    pub fn forget(&mut self, topic: &str) {
        let Some(&key) = self.keys.get(topic) else { return };
        let entry = &self.entries[key as usize];
        if !entry.is_busy && !entry.is_due && !entry.is_remembering {
            self.keys.remove(topic);
            self.entries.remove(key as usize);
        }
    }

    /// What is to be done next, if anything is.
    pub fn poll_effect(&mut self, now_ms: u64) -> Option<Effect<P>> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        while self.attempts < ATTEMPTS_MAX && !self.is_away {
            let key = self.due.pop_front()?;
            let stamp = self.stamp(now_ms);
            let Entry { topic, stream, order, is_due, .. } = &mut self.entries[key as usize];
            *is_due = false;
            let (effects, stream) = (&mut self.effects, *stream);
            let attempt = order.poll_attempt(stamp, (now_ms, &self.budget), |waiter, told| {
                effects.push_back(match told {
                    Told::Repeat(repeat) => Effect::Repeat(waiter, repeat, stream),
                    Told::GivenUp(why) => Effect::GiveUp(vec![waiter], why),
                });
            });
            if let Some(attempt) = attempt {
                self.attempts += 1;
                let topic = topic.clone();
                effects.push_back(Effect::Send { key, topic, stream, attempt });
            }
            if let Some(effect) = self.effects.pop_front() {
                return Some(effect);
            }
        }
        None
    }

    /// Attempts that the server has not answered.
    pub fn attempts(&self) -> usize {
        self.attempts
    }

    fn stamp(&mut self, now_ms: u64) -> Stamp {
        self.nonce += 1;
        let time = (self.settings.unix_ms + now_ms) << EPOCH_RANDOM_BITS;
        let fresh = Epoch::new(time | self.rng.u64(..1 << EPOCH_RANDOM_BITS));
        Stamp { origin: Origin { node: self.settings.node, nonce: self.nonce }, fresh }
    }

    fn key_of(&mut self, topic: &str, stream: usize) -> u32 {
        if let Some(&key) = self.keys.get(topic) {
            return key;
        }
        let topic: Arc<str> = topic.into();
        let order = Order::default();
        let (is_due, is_busy, is_remembering) = (false, false, false);
        let entry = Entry { topic: topic.clone(), stream, order, is_due, is_busy, is_remembering };
        let key = self.entries.insert(entry) as u32;
        self.keys.insert(topic, key);
        key
    }

    /// Remembers that a topic has something to send, or a deadline.
    fn look_at(&mut self, key: u32) {
        let entry = &mut self.entries[key as usize];
        if !entry.is_busy && !entry.order.is_idle() {
            entry.is_busy = true;
            self.busy.push(key);
        }
        if !entry.is_due && entry.order.is_due() {
            entry.is_due = true;
            self.due.push_back(key);
        }
    }
}
