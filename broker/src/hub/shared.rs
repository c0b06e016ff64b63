//! What all workers share: the directory, the wildcard interest and each other's mailboxes. Here
//! a publish gets its place in the topic's order.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker_proto::command::{CommandError, Epoch, ErrorCode, Payload};
use broker_proto::topic::Topic as TopicName;

use super::commands::full;
use super::directory::{Directory, DirectoryFull};
use super::history::Budget;
use super::interest::Interest;
use super::mailbox::{Mail, Mailbox};
use super::message::Message;
use super::protocol::Protocol;
use super::rates::Users;
use super::silence::{Liveness, Silence};
use super::topic::{Topic, TopicState};
use super::workers::{WorkerSet, members};
use crate::auth::Verifier;
use crate::config::Config;
use crate::config::rules::Rules;

/// The shared state of a broker.
#[derive(Debug)]
pub struct Shared {
    /// Every topic in use.
    pub directory: Directory,
    /// Who has which wildcard filters.
    pub interest: Interest,
    /// What the topics keep together.
    pub history: Budget,
    /// How much each user may still ask for.
    pub users: Users,
    /// Checks tokens, and says what a client without one may do.
    pub verifier: Arc<Verifier>,
    /// Topics that must not fall silent.
    pub silence: Silence,
    mailboxes: Box<[Mailbox]>,
}

/// Why a message was not published.
#[derive(Debug)]
pub enum PublishError {
    /// There are as many topics as there may be; answered `unavailable`.
    Full(DirectoryFull),
    /// The payload is longer than this, the topic's limit; answered `too_large`.
    TooLarge {
        /// The limit in bytes.
        payload_bytes_max: u32,
        /// The topic, if this publish made it.
        made: Option<Arc<Topic>>,
    },
}

impl PublishError {
    /// What the publisher is told, and the topic if this publish made it.
    pub(super) fn explain(self, name: TopicName<'_>) -> (CommandError, Option<Arc<Topic>>) {
        match self {
            Self::Full(error) => (full(&error), None),
            Self::TooLarge { payload_bytes_max, made } => {
                (too_large(name, payload_bytes_max), made)
            }
        }
    }
}

/// A payload is longer than its topic's rule allows.
pub(super) fn too_large(name: TopicName<'_>, payload_bytes_max: u32) -> CommandError {
    let message = format!("{}: payloads of at most {payload_bytes_max} bytes", name.as_str());
    CommandError::new(ErrorCode::TooLarge, message)
}

/// What came of a publish.
#[derive(Clone, Debug)]
pub struct Published {
    /// The topic's epoch.
    pub epoch: Epoch,
    /// The message's seq in it.
    pub seq: u64,
    /// Workers that sleep and have mail now.
    pub wakes: WorkerSet,
    /// Workers whose mailbox is over its limit.
    pub full: WorkerSet,
    /// The topic, if this publish made it.
    pub made: Option<Arc<Topic>>,
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
            history: Budget::new(config.history_total_bytes_max),
            users: Users::default(),
            verifier: Arc::new(Verifier::open()),
            silence: Silence::default(),
            mailboxes: (0..workers).map(mailbox).collect(),
        }
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

    /// Whether a mailbox is over its limit.
    pub fn is_full(&self) -> bool {
        self.mailboxes.iter().any(Mailbox::is_full)
    }

    /// The mailbox of a worker.
    pub fn mailbox(&self, worker: usize) -> &Mailbox {
        &self.mailboxes[worker]
    }

    /// Gives a message its seq, hands it to every worker that has subscribers for it, and keeps
    /// it as the topic's rule says. `from` is the publisher's worker, if it has one, to be woken
    /// when a full mailbox is empty again.
    pub fn publish(
        &self,
        name: TopicName<'_>,
        payload: Payload<'_>,
        native: Protocol,
        from: Option<usize>,
        now_ms: u64,
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
            state.seq += 1;
            let seq = state.seq;
            let watchers = state.watchers(name, &self.interest);
            let is_watched = state.is_watched();
            let wakes =
                if is_watched { self.hear(&topic, &mut state, watchers, now_ms) } else { 0 };
            let mut published = Published { epoch: topic.epoch(), seq, wakes, full: 0, made: None };
            let is_kept = state.history.as_ref().is_some_and(|history| !history.is_empty());
            let keeps = state.rule().keeps() && (is_kept || !self.history.is_spent());
            if watchers != 0 || keeps {
                let message = Arc::new(Message::new(topic.clone(), name, seq, payload, native));
                for worker in members(watchers) {
                    let mail = Mail::Message(message.clone());
                    let pushed = self.mailboxes[worker].push(mail, from);
                    published.wakes |= u64::from(pushed.wake) << worker;
                    published.full |= u64::from(pushed.full) << worker;
                }
                if keeps {
                    state.keep(message, now_ms, &self.history);
                }
            }
            drop(state);
            published.made = made.then_some(topic);
            return Ok(published);
        }
    }

    /// How many subscriptions, of all workers, match a topic now: those to exactly this topic and
    /// those to filters.
    pub fn subscribers_of(&self, name: TopicName<'_>) -> u64 {
        let topic = self.directory.find(name);
        let exact: u64 = topic.map_or(0, |topic| topic.subscribers.load(Ordering::Relaxed).into());
        exact + self.interest.subscribers_of(name)
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
    pub fn retire_if_idle(&self, topic: &Topic, now_ms: u64, linger_ms: u64) -> bool {
        let is_pressed = self.directory.is_crowded() || self.history.is_spent();
        let times = (now_ms, linger_ms);
        topic.retire_if_idle(&self.interest, &self.history, times, is_pressed, |topic, state| {
            self.directory.remove(topic, state);
            if let Liveness::Stale(place) = state.watch().liveness {
                self.silence.end(place, || {});
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn publishers_on_many_threads_give_every_mailbox_one_order() {
        const WORKERS: usize = 3;
        const EACH: usize = 2_000;
        let shared =
            Shared::new(WORKERS, &Config { mailbox_bytes_max: u64::MAX, ..Config::default() }, 0);
        let name = TopicName::new("t").unwrap();
        let (topic, _) = shared.directory.find_or_create(name, 0).unwrap();
        (0..WORKERS).for_each(|worker| topic.use_at(0).unwrap().join(worker));
        std::thread::scope(|scope| {
            for worker in 0..WORKERS {
                let shared = &shared;
                scope.spawn(move || {
                    for _ in 0..EACH {
                        let payload = Payload::Json(b"1");
                        shared.publish(name, payload, Protocol::Json, Some(worker), 0).unwrap();
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
}
