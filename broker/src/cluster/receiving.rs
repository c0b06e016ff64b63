//! The task that takes what other nodes send: messages to the desk, heartbeats to the list of nodes,
//! pleas to `sending`, rosters to the topics they are of. Holds the NATS subscriptions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::{Message, Subscriber};
use broker_proto::topic::{Filter, Topic};
use foldhash::fast::RandomState;
use futures_util::stream::{SelectAll, TakeUntil};
use futures_util::{FutureExt as _, StreamExt as _};
use hashbrown::{HashMap, HashSet};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::arrivals::{Arrival, Arrivals};
use super::asking::{Asked, Outgoing, Pending};
use super::connection::Bus;
use super::envelope::{self, Beat, Body, Envelope, People, Seal};
use super::members::Watches;
use super::nodes::{Nodes, Noted, Sign};
use super::wanted::Wanted;
use super::{Names, subject};
use crate::hub::commits::Commits;
use crate::hub::desk::Desk;
use crate::hub::presence::Roster;
use crate::hub::rosters;

/// How often holes, filters and nodes are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Messages that are taken before something else has its turn.
const BURST: usize = 512;
/// How long a subscription may wait for its place in the queue to NATS.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_millis(20);

/// Topics that the others are asked about in one tick.
const ASKED_EACH: usize = 64;

/// So many filters may wait for NATS that nobody wants any more.
const TIDY_FROM: u64 = 1_024;

/// A change of what is wanted.
#[derive(Debug)]
pub(super) enum Change {
    /// The messages of a filter are, or are not any more.
    Filter(Box<str>, bool),
    /// The members of a topic.
    Members(Box<str>, bool),
}

/// A NATS subscription that ends when its other half is dropped.
type Stream = TakeUntil<Subscriber, oneshot::Receiver<()>>;

/// What the task works with.
pub(super) struct Receiving {
    pub(super) bus: Bus,
    pub(super) desk: Arc<Desk>,
    pub(super) nodes: Arc<Nodes>,
    /// Who waits for answers.
    pub(super) pending: Arc<Pending>,
    /// Where questions go.
    pub(super) asked: mpsc::Sender<Asked>,
    /// Where their answers go.
    pub(super) replies: mpsc::Sender<Outgoing>,
    pub(super) seal: Arc<Seal>,
    pub(super) started: Instant,
    /// Where pleas go.
    pub(super) pleas: mpsc::Sender<()>,
}

/// What it knows.
#[derive(Default)]
struct State {
    arrivals: Arrivals,
    wanted: Wanted,
    watches: Watches,
    streams: SelectAll<Stream>,
    /// What ends the streams of a filter when it is dropped.
    ends: HashMap<Box<str>, Vec<oneshot::Sender<()>>, RandomState>,
    /// Filters that NATS is to be told of.
    to_subscribe: VecDeque<Box<str>>,
    /// The number of the last question of each run.
    questions: HashMap<u64, u64, RandomState>,
    /// When all that had come was looked at.
    drained_ms: u64,
}

impl State {
    /// Filters that nobody wants any more need not be told of, nor any one twice.
    fn tidy_queue(&mut self) {
        let Self { wanted, to_subscribe, .. } = self;
        if to_subscribe.len() as u64 <= 2 * wanted.count() + TIDY_FROM {
            return;
        }
        let mut seen = HashSet::<_, RandomState>::default();
        to_subscribe.retain(|text| {
            let is_known = Filter::new(text).is_ok_and(|filter| wanted.knows(filter));
            is_known && seen.insert(text.clone())
        });
    }
}

impl Receiving {
    /// Runs until `changes` is closed.
    pub(super) async fn run(
        self,
        mut changes: mpsc::Receiver<Change>,
        mut heard: SelectAll<Subscriber>,
    ) {
        let mut state = State::default();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                change = changes.recv() => match change {
                    Some(change) => self.note_change(&mut state, change),
                    None => return,
                },
                Some(message) = heard.next() => {
                    self.take(&mut state, &message, &mut self.desk.commit_at(self.now_ms()));
                }
                _ = ticks.tick() => self.tick(&mut state).await,
                Some(message) = state.streams.next(), if !self.desk.has_full_mailbox() => {
                    self.take_burst(&mut state, &message);
                }
            }
            self.subscribe(&mut state).await;
        }
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn note_change(&self, state: &mut State, change: Change) {
        let (text, is_wanted) = match change {
            Change::Members(topic, true) => return state.watches.watch(&topic),
            Change::Members(topic, false) => return state.watches.leave(&topic),
            Change::Filter(text, is_wanted) => (text, is_wanted),
        };
        let Ok(filter) = Filter::new(&text) else { return };
        if !is_wanted {
            state.wanted.leave(filter, self.now_ms());
        } else if state.wanted.want(filter) {
            state.to_subscribe.push_back(text);
        }
    }

    /// Tells NATS of new filters, as far as it takes them now.
    async fn subscribe(&self, state: &mut State) {
        while self.bus.is_up()
            && let Some(text) = state.to_subscribe.pop_front()
        {
            let Ok(filter) = Filter::new(&text) else { continue };
            if !state.wanted.knows(filter) {
                continue;
            }
            let (first, second) = subject::of_filter(&self.bus.names.cluster, filter);
            let subscribing = async {
                let mut streams = Vec::with_capacity(2);
                for subject in [Some(first), second].into_iter().flatten() {
                    streams.push(self.bus.client.subscribe(subject).await.ok()?);
                }
                Some(streams)
            };
            let Ok(Some(streams)) = timeout(SUBSCRIBE_TIMEOUT, subscribing).await else {
                state.to_subscribe.push_front(text);
                return;
            };
            let mut ends = Vec::with_capacity(streams.len());
            for stream in streams {
                let (end, ended) = oneshot::channel();
                state.streams.push(stream.take_until(ended));
                ends.push(end);
            }
            state.wanted.subscribed(filter, self.now_ms());
            state.ends.insert(text, ends);
        }
    }

    /// Asks the other nodes who is subscribed to topics, as far as NATS takes that now. Answers come
    /// as rosters do, so those are subscribed to before.
    async fn ask_who(&self, state: &mut State) {
        if state.watches.is_round_due(self.now_ms()) {
            state.watches.ask_all();
        }
        for _ in 0..ASKED_EACH {
            if !self.bus.is_up() {
                return;
            }
            let Some((text, is_heard)) = state.watches.next_to_ask() else { return };
            let Ok(topic) = Topic::new(&text) else { continue };
            let Names { cluster, run, .. } = &*self.bus.names;
            let questions = format!("{cluster}.q");
            let asking = async {
                let mut heard = None;
                if !is_heard {
                    let subject = subject::of_members(cluster, topic);
                    heard = Some(self.bus.client.subscribe(subject).await.ok()?);
                }
                let who = self.seal.close(&questions, envelope::who(*run, &text));
                self.bus.client.publish(questions.clone(), who.into()).await.ok()?;
                Some(heard)
            };
            let Ok(Some(heard)) = timeout(SUBSCRIBE_TIMEOUT, asking).await else {
                return state.watches.ask(&text);
            };
            if let Some(stream) = heard {
                let (end, ended) = oneshot::channel();
                state.streams.push(stream.take_until(ended));
                state.watches.heard(&text, self.now_ms(), end);
            }
        }
    }

    async fn tick(&self, state: &mut State) {
        self.ask_who(state).await;
        // While a worker has more mail than it should, what comes waits in the client, and what has
        // no room there is dropped and told as a gap.
        if !self.desk.has_full_mailbox() {
            match state.streams.next().now_or_never() {
                None | Some(None) => state.drained_ms = self.now_ms(),
                Some(Some(message)) => self.take_burst(state, &message),
            }
        }
        let now_ms = self.now_ms();
        let State { arrivals, drained_ms, .. } = state;
        let mut commits = self.desk.commit_at(now_ms);
        arrivals.expire(now_ms, *drained_ms, |arrival| self.hand(arrival, &mut commits));
        drop(commits);
        let mut has_less = false;
        while let Some(filter) = state.wanted.expire(now_ms) {
            state.ends.remove(&*filter);
            has_less = true;
        }
        if has_less {
            state.tidy_queue();
            let wanted = &state.wanted;
            let is_wanted = |topic: &Topic<'_>| wanted.heard_ms(*topic).is_some();
            state.arrivals.keep_topics(|topic| Topic::new(topic).ok().filter(is_wanted).is_some());
        }
        let counters = &self.bus.metrics.cluster;
        counters.wanted.store(state.wanted.count(), Ordering::Relaxed);
        let (gone, forgotten) = self.nodes.sweep(now_ms, self.bus.is_up());
        for (run, node) in gone {
            tracing::warn!(node, "the node is gone: no heartbeat for three seconds");
            self.lose_members(state, run);
        }
        for run in forgotten {
            state.arrivals.forget(run);
            state.questions.remove(&run);
        }
        state.arrivals.forget_strangers(now_ms, |run| self.nodes.knows(run));
        counters.nodes.store(self.nodes.alive().len() as u64, Ordering::Relaxed);
    }

    /// Takes a message, and those that wait behind it.
    fn take_burst(&self, state: &mut State, message: &Message) {
        let mut commits = self.desk.commit_at(self.now_ms());
        self.take(state, message, &mut commits);
        for _ in 0..BURST {
            if self.desk.has_full_mailbox() {
                return;
            }
            match state.streams.next().now_or_never() {
                Some(Some(message)) => self.take(state, &message, &mut commits),
                None | Some(None) => {
                    state.drained_ms = self.now_ms();
                    return;
                }
            }
        }
    }

    fn take(&self, state: &mut State, message: &Message, commits: &mut Commits<'_>) {
        let subject = message.subject.as_str();
        let opened = self.seal.open(subject, &message.payload);
        let Some(Envelope { run, body }) = opened.and_then(Envelope::decode) else {
            return self.count_garbage(subject);
        };
        if run == self.bus.names.run {
            return;
        }
        let now_ms = self.now_ms();
        match body {
            Body::Message { place, payload } => {
                let Some(text) = subject::to_topic(&self.bus.names.cluster, subject) else {
                    return self.count_garbage(subject);
                };
                let State { arrivals, wanted, .. } = state;
                let heard_ms = || wanted.heard_ms(Topic::new(&text).ok()?);
                arrivals.message((run, &text, place), payload, heard_ms, now_ms, |arrival| {
                    self.hand(arrival, commits);
                });
            }
            Body::Beat(beat) => self.take_beat(state, run, beat, now_ms),
            Body::Plea => {
                // Full only if one waits already, which is as good.
                let _ = self.pleas.try_send(());
                state.watches.ask_all();
            }
            Body::Who(topic) if self.nodes.is_alive(run) => self.desk.tell_members(topic),
            Body::Who(_) => {}
            Body::Roster { count, people } => {
                let Some(text) = subject::to_members(&self.bus.names.cluster, subject) else {
                    return self.count_garbage(subject);
                };
                self.take_roster(state, run, &text, (count, people));
            }
            Body::Question { number, json } => self.take_question(state, (run, number), json),
            Body::Answer { number, json } => self.pending.deliver(number, run, json),
        }
    }

    fn take_beat(&self, state: &mut State, run: u64, beat: Beat<'_>, now_ms: u64) {
        let Beat { beat: number, is_leaving, connections, node, .. } = beat;
        let sign = Sign { node, beat: number, is_leaving, connections };
        match self.nodes.note(run, sign, now_ms) {
            Noted::Joined => {
                tracing::info!(node, "a node is there");
                // It may have missed what was said meanwhile, and so may this one.
                let _ = self.pleas.try_send(());
                state.watches.ask_all();
            }
            Noted::Left => {
                tracing::info!(node, "a node has stopped");
                self.lose_members(state, run);
            }
            Noted::Again => {}
            Noted::Refused => return,
        }
        state.arrivals.beat(run, number, now_ms);
        for (topic, place) in beat.reached {
            if let Some(heard_ms) = state.wanted.heard_ms(topic) {
                state.arrivals.reached(run, topic.as_str(), place, heard_ms, now_ms);
            }
        }
    }

    /// A node tells who is subscribed there.
    fn take_roster(
        &self,
        state: &mut State,
        run: u64,
        text: &str,
        (count, people): (u64, People<'_>),
    ) {
        let Ok(topic) = Topic::new(text) else { return };
        let is_beginning = state.watches.is_beginning(text, self.now_ms());
        let Some(is_beginning) = is_beginning.filter(|_| self.nodes.is_alive(run)) else { return };
        let people = people.map(|(session, user)| rosters::person(session, user)).collect();
        if !self.desk.take_members(run, topic, Roster { count, people }, is_beginning) {
            state.watches.leave(text);
        }
    }

    /// Who was subscribed on a node is not there any more.
    fn lose_members(&self, state: &State, run: u64) {
        for topic in state.watches.topics().filter_map(|text| Topic::new(text).ok()) {
            self.desk.lose_members(run, topic);
        }
    }

    /// A question is taken once, from a node that is there.
    fn take_question(&self, state: &mut State, (run, number): (u64, u64), json: &[u8]) {
        let is_known = self.nodes.is_alive(run);
        let last = state.questions.get(&run).copied().unwrap_or(0);
        let Ok(question) = serde_json::from_slice(json) else { return self.count_garbage("q") };
        if !is_known || number <= last {
            return;
        }
        state.questions.insert(run, number);
        let replies = self.replies.clone();
        // Full: whoever asks finds that this node has not answered.
        let _ = self.asked.try_send(Asked { question, run, number, replies });
    }

    /// Hands what has come to the topics' subscribers here.
    fn hand(&self, arrival: Arrival<'_>, commits: &mut Commits<'_>) {
        let counters = &self.bus.metrics.cluster;
        match arrival {
            Arrival::Message { topic, payload } => {
                counters.received.fetch_add(1, Ordering::Relaxed);
                if let Ok(topic) = Topic::new(topic) {
                    // With the directory full, nobody here can be subscribed to a topic that is
                    // not in it, except by a filter; such a subscriber misses what it would on its
                    // own node too.
                    if let Ok(false) = commits.receive(topic, payload) {
                        // Another's rules, or a stranger's.
                        self.count_garbage(topic.as_str());
                    }
                }
            }
            Arrival::Lost { topic, count } => {
                counters.lost.fetch_add(count, Ordering::Relaxed);
                if let Ok(name) = Topic::new(topic)
                    && !commits.skip(name, count)
                {
                    self.count_garbage(topic);
                }
            }
            Arrival::Repeated => drop(counters.repeated.fetch_add(1, Ordering::Relaxed)),
        }
    }

    fn count_garbage(&self, subject: &str) {
        self.bus.metrics.cluster.garbage.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(subject, "what came is not of one of our nodes");
    }
}
