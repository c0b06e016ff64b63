//! One topic of the directory: its order (epoch and seq) and the workers that want its messages.
//!
//! Whoever holds the topic's lock decides the order: a seq is taken and the message is put into
//! the mailboxes of all interested workers before the lock is let go, so every worker sees the
//! messages of a topic in one order, without holes.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker_proto::command::{Epoch, Level};
use broker_proto::topic::Topic as TopicName;
use compact_str::CompactString;

use super::history::{Budget, History};
use super::interest::Interest;
use super::message::Message;
use super::presence::Members;
use super::retries::{Attempt, CannotRemember, Named, Retries};
use super::silence::{Liveness, Watch};
use super::workers::WorkerSet;
use crate::config::rules::{Presence, Rule};

/// A topic that someone subscribes to, or has lately published on.
#[derive(Debug)]
pub struct Topic {
    /// Up to 24 bytes of it take no memory of their own.
    name: CompactString,
    id: u64,
    epoch: AtomicU64,
    /// The rule's, to be read without the lock by every worker that delivers.
    flush_ms: AtomicU16,
    may_compress: AtomicBool,
    /// Messages of it had seqs of an earlier epoch.
    is_renumbered: AtomicBool,
    /// Its place in the directory's order, where there is no other for as long as it is there.
    place: AtomicU32,
    /// Subscriptions to exactly this topic, of all workers.
    pub(super) subscribers: AtomicU32,
    /// A [`Used`], read and changed under the lock alone. It stands here for the sake of the size.
    used: AtomicU32,
    state: Mutex<TopicState>,
}

/// What the topic's lock guards.
#[derive(Debug)]
pub struct TopicState {
    rule: Arc<Rule>,
    /// The seq of the newest message; 0 before the first.
    pub seq: u64,
    /// Workers with a subscriber to exactly this topic.
    exact: WorkerSet,
    /// Workers with a matching wildcard filter, as of `wild_generation`.
    wild: WorkerSet,
    wild_generation: u64,
    /// What is kept of it beside; nothing is put aside for that before there is any.
    extra: Option<Box<Extra>>,
}

/// What is kept of a topic that has messages, or needs more than most.
#[derive(Debug, Default)]
struct Extra {
    /// Its newest messages.
    history: History,
    /// What few topics need.
    by_rule: Option<Box<ByRule>>,
}

/// When someone last published on a topic or subscribed to it, in steps of the broker's clock;
/// there may be millions of topics, so it is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used(u32);

impl Used {
    /// A subscriber has left since the topic was last looked at: it lingers from the next look on.
    const UNTIL_NOW: Self = Self(u32::MAX);
    /// The topic was removed from the directory: whoever still holds it must look the name up again.
    const RETIRED: Self = Self(u32::MAX - 1);
    /// Fine enough for times to linger, and wide enough for seventeen years.
    const STEP_MS: u64 = 128;

    fn at(now_ms: u64) -> Self {
        Self(now_ms.div_ceil(Self::STEP_MS).min(u64::from(u32::MAX - 2)) as u32)
    }

    /// Never more than it is, and at most a step less.
    fn age_ms(self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(u64::from(self.0) * Self::STEP_MS)
    }
}

/// What is known of a topic because its rule or its publishers ask for it.
#[derive(Debug, Default)]
struct ByRule {
    /// Who is subscribed, where the rule lets that be known.
    members: Option<Members>,
    watch: Watch,
    /// Messages that are on their way through a log, and have no seq yet.
    pending: u32,
    /// Publishes that may come again, where publishers name them.
    retries: Option<Box<Retries>>,
}

impl Extra {
    /// Drops what is too old or too much; whether messages are left, and publishes that may come
    /// again.
    fn trim(&mut self, now_ms: u64, rule: &Rule, budget: &Budget) -> (bool, bool) {
        self.history.trim(now_ms, rule, budget);
        let retries = self.by_rule.as_deref_mut().and_then(|held| held.retries.as_deref_mut());
        let remembers = retries.is_some_and(|retries| {
            retries.trim(now_ms, rule.retry_ms, budget);
            !retries.is_empty()
        });
        (!self.history.is_empty(), remembers)
    }
}

/// A delay of a rule, which is at most a second, as topics hold it.
fn short(flush_ms: u32) -> u16 {
    flush_ms.try_into().unwrap_or(u16::MAX)
}

/// The topic was removed from the directory in the meantime; look it up again.
#[derive(Debug, PartialEq, Eq)]
pub struct Retired;

impl Topic {
    /// A topic nobody uses yet. `epoch` is never used twice in a process, and its number is the
    /// topic's too.
    pub fn new(name: TopicName<'_>, epoch: Epoch, rule: Arc<Rule>, now_ms: u64) -> Self {
        let (presence, flush_ms) = (rule.presence, short(rule.flush_ms).into());
        let may_compress = rule.compress.into();
        let mut state =
            TopicState { rule, seq: 0, exact: 0, wild: 0, wild_generation: 0, extra: None };
        if presence == Presence::Members {
            let members = Some(Members::default());
            state.by_rule().members = members;
        }
        let (subscribers, place) = (AtomicU32::new(0), AtomicU32::new(0));
        let (used, state) = (AtomicU32::new(Used::at(now_ms).0), Mutex::new(state));
        let (id, epoch) = (epoch.value(), AtomicU64::new(epoch.value()));
        let (name, is_renumbered) = (name.as_str().into(), false.into());
        Self {
            name,
            id,
            epoch,
            flush_ms,
            may_compress,
            is_renumbered,
            place,
            subscribers,
            used,
            state,
        }
    }

    /// Its number, unique in this process: a name that was forgotten and came back has a new one,
    /// as it has a new epoch.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its place in the directory: no other topic that is in use has the same.
    pub fn place(&self) -> usize {
        self.place.load(Ordering::Acquire) as usize
    }

    /// The directory has put it there.
    pub(super) fn set_place(&self, place: usize) {
        self.place.store(place as u32, Ordering::Release);
    }

    /// Its name.
    pub fn name(&self) -> TopicName<'_> {
        TopicName::new(&self.name).expect("was checked when the topic was made")
    }

    /// Its name as plain text.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Within which its seqs count.
    pub fn epoch(&self) -> Epoch {
        Epoch::new(self.epoch.load(Ordering::Acquire))
    }

    /// Its seqs count within another epoch from here on; called under its lock.
    pub(super) fn renumber(&self, epoch: Epoch, state: &mut TopicState) {
        if std::mem::take(&mut state.seq) > 0 {
            self.is_renumbered.store(true, Ordering::Release);
        }
        self.epoch.store(epoch.value(), Ordering::Release);
    }

    /// Whether messages of it had seqs of an earlier epoch, which somebody may know.
    pub(super) fn is_renumbered(&self) -> bool {
        self.is_renumbered.load(Ordering::Acquire)
    }

    /// Whether its epoch was made by another process.
    pub fn is_numbered_elsewhere(&self) -> bool {
        self.epoch().value() != self.id
    }

    /// What holds for it. Takes the lock: who has it asks [`TopicState::rule`].
    pub fn rule(&self) -> Arc<Rule> {
        self.lock().rule.clone()
    }

    /// Whether its messages may be compressed.
    pub fn may_compress(&self) -> bool {
        self.may_compress.load(Ordering::Acquire)
    }

    /// How long its messages may wait so that more go out with them, in milliseconds.
    pub fn flush_ms(&self) -> u32 {
        self.flush_ms.load(Ordering::Acquire).into()
    }

    /// Another rule holds from here on: for what is published, kept and subscribed to afterwards.
    /// Who is there is no longer known at once if the rule says so; to be known it needs a topic
    /// that begins anew, because nobody has counted those who are there already. So does a `store`
    /// that promises less: what is on disk would not say that more was seen than is there.
    pub fn take_rule(&self, rule: Arc<Rule>) {
        let mut state = self.lock();
        if *rule == *state.rule {
            return;
        }
        self.flush_ms.store(short(rule.flush_ms), Ordering::Release);
        self.may_compress.store(rule.compress, Ordering::Release);
        if rule.presence == Presence::None {
            state.held_by_rule_mut().into_iter().for_each(|held| held.members = None);
        }
        let keeps_secret = rule.presence == Presence::Members && state.members().is_none();
        let presence = if keeps_secret { Presence::None } else { rule.presence };
        let store = rule.store.max(state.rule.store);
        state.rule = match (presence, store) == (rule.presence, rule.store) {
            true => rule,
            false => Arc::new(Rule { presence, store, ..Rule::clone(&rule) }),
        };
    }

    /// Takes the topic's lock to look at it, which does not keep it alive.
    pub fn look(&self) -> MutexGuard<'_, TopicState> {
        self.lock()
    }

    /// Takes the topic's lock to use it: publishing and subscribing keep it alive.
    pub fn use_at(&self, now_ms: u64) -> Result<MutexGuard<'_, TopicState>, Retired> {
        let state = self.lock();
        if self.is_retired() {
            return Err(Retired);
        }
        self.set_used(Used::at(now_ms));
        Ok(state)
    }

    /// Takes `worker` out of the set of workers with a subscriber to exactly this topic; `tell` is
    /// called under the lock if it was the last.
    pub fn leave(&self, worker: usize, tell: impl FnOnce(&TopicState)) {
        let mut state = self.lock();
        state.exact &= !(1 << worker);
        self.set_used(Used::UNTIL_NOW);
        if state.exact == 0 {
            tell(&state);
        }
    }

    /// Drops what is kept beyond the rule and the budget.
    pub fn trim(&self, now_ms: u64, budget: &Budget) {
        let TopicState { extra, rule, .. } = &mut *self.lock();
        if let Some(extra) = extra {
            extra.history.trim(now_ms, rule, budget);
        }
    }

    /// Marks the topic as removed, if nobody watches it, nobody used it for `linger_ms`, and it
    /// keeps no message and remembers no publish that may come again. With `is_crowded` there are too
    /// many topics, and all of that is given up; where memory is short, messages are.
    /// `remove` is called under the lock, so that the name is free before anyone sees it retired.
    pub fn retire_if_idle(
        &self,
        interest: &Interest,
        budget: &Budget,
        (now_ms, linger_ms): (u64, u64),
        is_crowded: bool,
        remove: impl FnOnce(&Self, &TopicState),
    ) -> bool {
        let mut state = self.lock();
        let TopicState { extra, rule, .. } = &mut *state;
        let trimmed = extra.as_deref_mut().map(|extra| extra.trim(now_ms, rule, budget));
        let (keeps, remembers) = trimmed.unwrap_or_default();
        if self.used() == Used::UNTIL_NOW {
            self.set_used(Used::at(now_ms));
            return false;
        }
        let idle = self.used().age_ms(now_ms) >= linger_ms;
        // Whoever comes next would be told another numbering than the other nodes'.
        let keeps = (keeps || self.is_numbered_elsewhere()) && !budget.is_spent();
        let keeps = (keeps || remembers) && !is_crowded;
        if !idle || keeps || state.pending() > 0 || state.watchers(self, interest) != 0 {
            return false;
        }
        state.drop_history(budget);
        state.forget_retries(budget);
        remove(self, &state);
        self.set_used(Used::RETIRED);
        true
    }

    /// Whether it was removed from the directory; asked under its lock.
    pub(super) fn is_retired(&self) -> bool {
        self.used() == Used::RETIRED
    }

    fn used(&self) -> Used {
        Used(self.used.load(Ordering::Relaxed))
    }

    fn set_used(&self, used: Used) {
        self.used.store(used.0, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, TopicState> {
        // A panic while the lock is held leaves whole values behind: each field is set at once.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TopicState {
    /// What holds for the topic.
    pub fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    /// What is kept of its messages, once there were any.
    pub fn history(&self) -> Option<&History> {
        self.extra.as_deref().map(|extra| &extra.history)
    }

    fn held_by_rule(&self) -> Option<&ByRule> {
        self.extra.as_deref()?.by_rule.as_deref()
    }

    fn held_by_rule_mut(&mut self) -> Option<&mut ByRule> {
        self.extra.as_deref_mut()?.by_rule.as_deref_mut()
    }

    fn by_rule(&mut self) -> &mut ByRule {
        self.extra.get_or_insert_default().by_rule.get_or_insert_default()
    }

    /// Who is subscribed, where the rule lets that be known.
    pub fn members(&self) -> Option<&Members> {
        self.held_by_rule()?.members.as_ref()
    }

    /// The same, to be changed.
    pub fn members_mut(&mut self) -> Option<&mut Members> {
        self.held_by_rule_mut()?.members.as_mut()
    }

    /// What is known of its silence.
    pub fn watch(&self) -> Watch {
        self.held_by_rule().map_or_else(Watch::default, |held| held.watch)
    }

    /// The same, to be changed: from here on it is watched.
    pub fn watch_mut(&mut self) -> &mut Watch {
        &mut self.by_rule().watch
    }

    /// Whether its silence would be noticed.
    pub fn is_watched(&self) -> bool {
        self.rule.expect_every_ms > 0 || self.watch().liveness != Liveness::Unwatched
    }

    /// Whether a publish came before, and can be remembered if not.
    pub(super) fn find(
        &mut self,
        attempt: Attempt<'_>,
        now_ms: u64,
        budget: &Budget,
    ) -> Result<Named, CannotRemember> {
        let times = (now_ms, self.rule.retry_ms);
        self.retries().find(attempt, times, budget)
    }

    /// Remembers a publish that has this place, or will be given one.
    pub(super) fn remember(
        &mut self,
        id: Arc<str>,
        place: Option<(u64, Level)>,
        now_ms: u64,
        budget: &Budget,
    ) {
        self.retries().remember(id, place, now_ms, budget);
    }

    /// A publish that is remembered was given its place.
    pub(super) fn place_named(&mut self, id: &str, seq: u64, level: Level) {
        self.retries().place(id, (seq, level));
    }

    /// A publish that is remembered has failed.
    pub(super) fn forget_named(&mut self, id: &str, budget: &Budget) {
        self.retries().forget(id, budget);
    }

    fn retries(&mut self) -> &mut Retries {
        self.by_rule().retries.get_or_insert_default()
    }

    /// Keeps a message, which must be the newest, as the rule says.
    pub fn keep(&mut self, message: Arc<Message>, now_ms: u64, budget: &Budget) {
        let extra = self.extra.get_or_insert_default();
        extra.history.push(message, now_ms, &self.rule, budget);
    }

    /// Gives up what is kept.
    pub(super) fn drop_history(&mut self, budget: &Budget) {
        if let Some(extra) = &mut self.extra {
            extra.history.clear(budget);
        }
    }

    /// Gives up which publishes came before: their places are of another epoch.
    pub(super) fn forget_retries(&mut self, budget: &Budget) {
        let retries = self.held_by_rule_mut().and_then(|held| held.retries.as_deref_mut());
        retries.into_iter().for_each(|retries| retries.clear(budget));
    }

    /// Messages that are on their way through a log.
    pub fn pending(&self) -> u32 {
        self.held_by_rule().map_or(0, |held| held.pending)
    }

    /// A message goes into a log.
    pub(super) fn wait_for_one(&mut self) {
        self.by_rule().pending += 1;
    }

    /// One came back from it, or will not come.
    pub(super) fn settle_one(&mut self) {
        if let Some(held) = self.held_by_rule_mut() {
            held.pending = held.pending.saturating_sub(1);
        }
    }

    /// Adds `worker` to the workers with a subscriber to exactly this topic; true if it is the
    /// first.
    pub fn join(&mut self, worker: usize) -> bool {
        let is_first = self.exact == 0;
        self.exact |= 1 << worker;
        is_first
    }

    /// The workers that want the messages of `topic`, whose state this is.
    pub fn watchers(&mut self, topic: &Topic, interest: &Interest) -> WorkerSet {
        let generation = interest.generation();
        if self.wild_generation != generation {
            self.wild = interest.watchers(topic.name());
            self.wild_generation = generation;
        }
        self.exact | self.wild
    }
}
