//! What all workers share: the directory, the wildcard interest and each other's mailboxes. Here
//! a publish gets its place in the topic's order.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker_proto::command::{CommandError, ErrorCode, Level, Payload};
use broker_proto::topic::Topic as TopicName;

use super::commands::full;
use super::directory::{Directory, DirectoryFull};
use super::history::Budget;
use super::interest::Interest;
use super::log::{Came, Entry, Log, Pending, Placed, Waiting, Work};
use super::mailbox::{Mail, Mailbox};
use super::message::Message;
use super::protocol::Protocol;
use super::rates::Users;
use super::retries::{CannotRemember, Named, Repeatable};
use super::silence::{Liveness, Silence};
use super::topic::{Topic, TopicState};
use super::uplink::Upward;
use super::ways::{Reach, Way, Ways};
use super::workers::{WorkerSet, members};
use crate::auth::Verifier;
use crate::config::Config;
use crate::config::rules::{Rules, Store};

/// The shared state of a broker.
#[derive(Debug)]
pub struct Shared {
    /// Every topic in use.
    pub directory: Directory,
    /// Who has which wildcard filters.
    pub interest: Interest,
    /// What the topics keep together.
    pub history: Arc<Budget>,
    /// How much each user may still ask for.
    pub users: Users,
    /// Checks tokens, and says what a client without one may do.
    pub verifier: Arc<Verifier>,
    /// Topics that must not fall silent.
    pub silence: Silence,
    mailboxes: Box<[Mailbox]>,
    ways: Ways,
}

/// Why a message was not published.
#[derive(Debug)]
pub enum PublishError {
    /// There are as many topics as there may be; answered `unavailable`.
    Full(DirectoryFull),
    /// It can't be put into the topic's log.
    Refused {
        /// Why.
        error: CommandError,
        /// The topic, if this publish made it.
        made: Option<Arc<Topic>>,
    },
    /// The payload is longer than this, the topic's limit; answered `too_large`.
    TooLarge {
        /// The limit in bytes.
        payload_bytes_max: u32,
        /// The topic, if this publish made it.
        made: Option<Arc<Topic>>,
    },
    /// It has a `msg_id` that can't be remembered; answered `unavailable`.
    CannotRemember {
        /// Why.
        why: CannotRemember,
        /// The topic, if this publish made it.
        made: Option<Arc<Topic>>,
    },
}

impl PublishError {
    /// What the publisher is told, and the topic if this publish made it.
    pub(super) fn explain(self, name: TopicName<'_>) -> (CommandError, Option<Arc<Topic>>) {
        match self {
            Self::Full(error) => (full(&error), None),
            Self::Refused { error, made } => (error, made),
            Self::TooLarge { payload_bytes_max, made } => {
                (too_large(name, payload_bytes_max), made)
            }
            Self::CannotRemember { why, made } => (not_remembered(name, why), made),
        }
    }
}

/// A payload is longer than its topic's rule allows.
pub(super) fn too_large(name: TopicName<'_>, payload_bytes_max: u32) -> CommandError {
    let message = format!("{}: payloads of at most {payload_bytes_max} bytes", name.as_str());
    CommandError::new(ErrorCode::TooLarge, message)
}

fn not_remembered(name: TopicName<'_>, why: CannotRemember) -> CommandError {
    let name = name.as_str();
    let message = match why {
        CannotRemember::ByRule => format!("{name}: a `msg_id` is not remembered (retry_ms)"),
        CannotRemember::NoRoom => {
            format!("{name}: no room to remember a `msg_id` (history_total_bytes_max)")
        }
        CannotRemember::Underway => {
            format!("{name}: the message of this `msg_id` is still on its way, ask again")
        }
    };
    CommandError::new(ErrorCode::Unavailable, message)
}

/// What came of a publish.
#[derive(Clone, Debug)]
pub struct Published {
    /// The topic's epoch, the message's seq in it and how safe it is. None: its log will tell.
    pub place: Option<Placed>,
    /// More is published than goes into a log or to the other nodes: the publisher should wait.
    pub is_slowed: bool,
    /// Workers that sleep and have mail now.
    pub wakes: WorkerSet,
    /// Workers whose mailbox is over its limit.
    pub full: WorkerSet,
    /// The topic, if this publish made it.
    pub made: Option<Arc<Topic>>,
}

/// A message on its way, which may be published.
struct Publishing<'p> {
    name: TopicName<'p>,
    topic: &'p Arc<Topic>,
    payload: Payload<'p>,
    native: Protocol,
    /// The publisher's worker, if it has one.
    from: Option<usize>,
    /// What a retry of it is known by.
    named: Option<Arc<str>>,
    now_ms: u64,
}

impl Published {
    /// Nothing but the place.
    fn at(place: Option<Placed>) -> Self {
        Self { place, is_slowed: false, wakes: 0, full: 0, made: None }
    }
}

/// What came of handing a message out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Handed {
    pub(super) wakes: WorkerSet,
    pub(super) full: WorkerSet,
}

impl Shared {
    /// The state of a broker with that many workers, where everybody may do everything.
    /// `started_unix_ms` makes epochs of different runs differ.
    pub fn new(workers: usize, config: &Config, started_unix_ms: u64) -> Self {
        let mailbox = |_| Mailbox::new(config.mailbox_bytes_max);
        let rules = Rules::new(config);
        Self {
            directory: Directory::new(config.topics_max.into(), started_unix_ms, rules),
            interest: Interest::default(),
            history: Arc::new(Budget::new(config.history_total_bytes_max)),
            users: Users::default(),
            verifier: Arc::new(Verifier::open()),
            silence: Silence::default(),
            mailboxes: (0..workers).map(mailbox).collect(),
            ways: Ways::default(),
        }
    }

    /// The same where messages go further ways.
    #[must_use]
    pub fn with_ways(self, ways: Ways) -> Self {
        Self { ways, ..self }
    }

    /// Where messages go besides to the subscribers here.
    pub fn ways(&self) -> &Ways {
        &self.ways
    }

    /// The same where tokens are checked by `verifier`.
    #[must_use]
    pub fn with_verifier(self, verifier: Arc<Verifier>) -> Self {
        Self { verifier, ..self }
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.mailboxes.len()
    }

    /// Whether a mailbox is over its limit, or one of the other ways: nobody should publish.
    pub fn is_full(&self) -> bool {
        self.mailboxes.iter().any(Mailbox::is_full) || self.is_slowed()
    }

    /// The mailbox of a worker.
    pub fn mailbox(&self, worker: usize) -> &Mailbox {
        &self.mailboxes[worker]
    }

    /// Gives a message its seq, hands it to every worker that has subscribers for it, and keeps
    /// it as the topic's rule says. `from` is the publisher's worker, if it has one, to be woken
    /// when a full mailbox is empty again. If the topic's order is made in a log, the message goes
    /// there, and whom `waiting` names is told what came of it. One that came before gets the place
    /// it had, and nothing else happens.
    pub fn publish(
        &self,
        name: TopicName<'_>,
        payload: Payload<'_>,
        (native, from): (Protocol, Option<usize>),
        repeatable: Option<Repeatable<'_>>,
        now_ms: u64,
        waiting: impl FnOnce() -> Waiting,
    ) -> Result<Published, PublishError> {
        loop {
            let found = self.directory.find_or_create(name, now_ms);
            let (topic, made) = found.map_err(PublishError::Full)?;
            let Ok(mut state) = topic.use_at(now_ms) else { continue };
            if let Some(payload_bytes_max) = state.rule().payload_bytes_max
                && payload.bytes().len() > payload_bytes_max as usize
            {
                let made = made.then_some(topic.clone());
                return Err(PublishError::TooLarge { payload_bytes_max, made });
            }
            let (named, anywhere) = match self.name_of(name, repeatable, &mut state, now_ms) {
                Ok(None) => (None, None),
                Ok(Some(Named::New(id))) => (Some(id), None),
                Ok(Some(Named::Anywhere(name))) => (None, Some(name)),
                Ok(Some(Named::Placed(seq, level))) => {
                    let (epoch, came) = (topic.epoch(), Came::Again);
                    let place = Some(Placed { epoch, seq, level, came });
                    let made = made.then(|| topic.clone());
                    return Ok(Published { made, ..Published::at(place) });
                }
                Err(why) => {
                    let made = made.then(|| topic.clone());
                    return Err(PublishError::CannotRemember { why, made });
                }
            };
            let message = Publishing { name, topic: &topic, payload, native, from, named, now_ms };
            let done = match self.way_of(name, &state) {
                Way::Log(log) => {
                    let pending = Pending::new(payload, native, message.named.clone(), waiting());
                    self.publish_in_log(log, message, pending.known_by(anywhere), &mut state)
                }
                Way::Here => self.publish_here(None, message, &mut state),
                Way::Behind(log) => self.publish_here(Some(log), message, &mut state),
            };
            drop(state);
            let made = made.then_some(topic);
            return match done {
                Ok(published) => Ok(Published { made, ..published }),
                Err(error) => Err(PublishError::Refused { error, made }),
            };
        }
    }

    /// The topic's order is made in a log: the message gets its seq there.
    fn publish_in_log(
        &self,
        log: &Log,
        message: Publishing<'_>,
        pending: Pending,
        state: &mut TopicState,
    ) -> Result<Published, CommandError> {
        let Publishing { topic, from, named, now_ms, .. } = message;
        let work = Work::Publish(pending);
        let is_slowed = log.append(Entry { topic: topic.clone(), work }, from)?;
        state.wait_for_one();
        if let Some(id) = named {
            state.remember(id, None, now_ms, &self.history);
        }
        let full = self.full_for(topic, state, from);
        Ok(Published { is_slowed, full, ..Published::at(None) })
    }

    /// The message gets its seq here, and is written behind others into a log if there is one.
    fn publish_here(
        &self,
        behind: Option<&Log>,
        message: Publishing<'_>,
        state: &mut TopicState,
    ) -> Result<Published, CommandError> {
        let Publishing { name, topic, payload, native, from, named, now_ms } = message;
        state.seq += 1;
        let (epoch, seq, level) = (topic.epoch(), state.seq, Level::Accepted);
        let came = Came::First;
        let mut published = Published::at(Some(Placed { epoch, seq, level, came }));
        let goes_up = match self.reach_of(name, state) {
            Reach::Nodes(uplink) => Some(uplink),
            Reach::Node | Reach::Log(_) => None,
        };
        let is_wanted = goes_up.is_some()
            || behind.is_some()
            || state.watchers(topic, &self.interest) != 0
            || self.keeps(state);
        if is_wanted {
            let message = Arc::new(Message::new(topic.clone(), name, seq, payload, native));
            if let Some(log) = behind {
                let work = Work::Written(message.clone());
                let appended = log.append(Entry { topic: topic.clone(), work }, from);
                published.is_slowed = appended.inspect_err(|_| state.seq -= 1)?;
            }
            if let Some(uplink) = goes_up {
                published.is_slowed |= uplink.push(Upward::Message(message.clone()), from);
            }
            let Handed { wakes, full } = self.hand_out(message, state, from, now_ms);
            (published.wakes, published.full) = (wakes, full);
        } else if state.is_watched() {
            published.wakes = self.hear(topic, state, 0, now_ms);
        }
        if let Some(id) = named {
            state.remember(id, Some((seq, level)), now_ms, &self.history);
        }
        Ok(published)
    }

    /// Hands a message, which has the newest seq, to every worker that has subscribers for it, and
    /// keeps it as the topic's rule says. Called under the topic's lock.
    pub(super) fn hand_out(
        &self,
        message: Arc<Message>,
        state: &mut TopicState,
        from: Option<usize>,
        now_ms: u64,
    ) -> Handed {
        let topic = message.topic();
        let watchers = state.watchers(topic, &self.interest);
        let mut handed = Handed::default();
        if state.is_watched() {
            handed.wakes = self.hear(topic, state, watchers, now_ms);
        }
        for worker in members(watchers) {
            let pushed = self.mailboxes[worker].push(Mail::Message(message.clone()), from);
            handed.wakes |= u64::from(pushed.wake) << worker;
            handed.full |= u64::from(pushed.full) << worker;
        }
        if self.keeps(state) {
            state.keep(message, now_ms, &self.history);
        }
        handed
    }

    fn keeps(&self, state: &TopicState) -> bool {
        let is_kept = state.history().is_some_and(|history| !history.is_empty());
        state.rule().keeps() && (is_kept || !self.history.is_spent())
    }

    /// Whether a publish came before; nothing of one that is never repeated, or is known by its
    /// request, which came to this node.
    fn name_of(
        &self,
        name: TopicName<'_>,
        repeatable: Option<Repeatable<'_>>,
        state: &mut TopicState,
        now_ms: u64,
    ) -> Result<Option<Named>, CannotRemember> {
        let Some(repeatable) = repeatable else { return Ok(None) };
        match (self.reach_of(name, state), repeatable) {
            // Another node may have taken the first.
            (Reach::Log(_), _) => {
                repeatable.name(state.rule().retry_ms).map(|name| Some(Named::Anywhere(name)))
            }
            (Reach::Node | Reach::Nodes(_), Repeatable::Message(attempt)) => {
                state.find(attempt, now_ms, &self.history).map(Some)
            }
            (Reach::Node | Reach::Nodes(_), Repeatable::Part(_)) => Ok(None),
        }
    }

    /// How many subscriptions, of all workers, match a topic now: those to exactly this topic and
    /// those to filters.
    pub fn subscribers_of(&self, name: TopicName<'_>) -> u64 {
        let topic = self.directory.find(name);
        let exact: u64 = topic.map_or(0, |topic| topic.subscribers.load(Ordering::Relaxed).into());
        exact + self.interest.subscribers_of(name)
    }

    /// Some worker must see to it that a topic is forgotten one day which nobody of them has made;
    /// returns it, if it must be woken.
    pub(super) fn look_after(&self, made: Arc<Topic>) -> WorkerSet {
        let worker = made.id() as usize % self.workers();
        u64::from(self.mailboxes[worker].push(Mail::Made(made), None).wake) << worker
    }

    /// Hands mail about a topic to workers, in its order; called under the topic's lock. Returns
    /// those that must be woken.
    pub fn post(&self, workers: WorkerSet, mail: &Mail, _order: &TopicState) -> WorkerSet {
        members(workers).fold(0, |wakes, worker| {
            let pushed = self.mailboxes[worker].push(mail.clone(), None);
            wakes | u64::from(pushed.wake) << worker
        })
    }

    /// Forgets a topic that nobody watches, nobody used for `linger_ms` and that keeps nothing;
    /// false if it stays.
    pub fn retire_if_idle(&self, topic: &Arc<Topic>, now_ms: u64, linger_ms: u64) -> bool {
        let is_crowded = self.directory.is_crowded();
        let times = (now_ms, linger_ms);
        topic.retire_if_idle(&self.interest, &self.history, times, is_crowded, |_, state| {
            self.directory.remove(topic);
            if let Liveness::Stale(place) = state.watch().liveness {
                self.silence.end(place, || {});
            }
            let log = match self.reach_of(topic.name(), state) {
                Reach::Log(log) => Some(log),
                _ if state.rule().store != Store::None => self.ways.disk.as_ref(),
                _ => None,
            };
            if let Some(log) = log {
                // Taken at any time; the topic's next publish begins a new numbering behind it.
                let _ = log.append(Entry { topic: topic.clone(), work: Work::Forgotten }, None);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::hub::retries::Attempt;

    #[test]
    fn publishers_on_many_threads_give_every_mailbox_one_order() {
        const WORKERS: usize = 3;
        const EACH: usize = 2_000;
        let shared =
            Shared::new(WORKERS, &Config { mailbox_bytes_max: u64::MAX, ..Config::default() }, 0);
        let name = TopicName::new("t").unwrap();
        let (topic, _) = shared.directory.find_or_create(name, 0).unwrap();
        for worker in 0..WORKERS {
            topic.use_at(0).unwrap().join(worker);
        }
        std::thread::scope(|scope| {
            for worker in 0..WORKERS {
                let shared = &shared;
                scope.spawn(move || {
                    for _ in 0..EACH {
                        let payload = Payload::Json(b"1");
                        let by = (Protocol::Json, Some(worker));
                        let waiting = || Waiting::Nobody;
                        shared.publish(name, payload, by, None, 0, waiting).unwrap();
                    }
                });
            }
        });
        for worker in 0..WORKERS {
            let mut mail = VecDeque::new();
            shared.mailbox(worker).take(&mut mail);
            let seqs = mail.iter().map(|mail| match mail {
                Mail::Message(message) => message.seq(),
                _ => 0,
            });
            assert!(seqs.eq(1..=(WORKERS * EACH) as u64), "worker {worker} sees another order");
        }
    }

    #[test]
    fn where_memory_is_short_what_may_come_again_outlives_what_is_kept() {
        let config = Config { history_total_bytes_max: 4_096, ..Config::default() };
        let shared = Shared::new(1, &config, 0);
        let publish = |name, payload: &[u8], msg_id| {
            let (name, by) = (TopicName::new(name).unwrap(), (Protocol::Json, None));
            let attempt = Attempt { publisher: "", msg_id };
            let repeatable = (!msg_id.is_empty()).then_some(Repeatable::Message(attempt));
            let nobody = || Waiting::Nobody;
            shared.publish(name, Payload::Json(payload), by, repeatable, 0, nobody).unwrap();
            shared.directory.find(name).unwrap()
        };
        let (named, plain) = (publish("named", b"1", "a"), publish("plain", b"1", ""));
        publish("large", &[b'1'; 3_800], "");
        assert!(shared.history.is_spent());
        assert!(!shared.retire_if_idle(&named, 60_000, 1_000), "a retry would come twice");
        assert!(shared.retire_if_idle(&plain, 60_000, 1_000));
    }
}
