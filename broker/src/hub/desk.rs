//! The hub for those who are no worker: publishes, looks at topics, and puts questions to workers.
//!
//! What is shared is read and changed here directly, in the order that holds for workers too; what
//! only a worker knows is asked for by mail. Knows no threads: whoever makes a desk says how a
//! worker is woken. Used by the control plane.

use std::fmt;
use std::sync::Arc;

use broker_proto::command::{CommandError, Epoch, Payload, Publish};
use broker_proto::topic::Topic as TopicName;

use super::ask::{Ask, Question, Told};
use super::commands::{may_publish, newest_of};
use super::history::History;
use super::log::{Placed, Waiting};
use super::mailbox::Mail;
use super::message::Message;
use super::presence::Roster;
use super::protocol::Protocol;
use super::retries::Repeatable;
use super::shared::{Shared, too_large};
use super::topic::Topic;
use super::workers::{WorkerSet, members};
use crate::auth::Verifier;

/// Places of the directory that one [`Desk::topics`] looks at, before it says where to go on.
const SCAN_PLACES: usize = 16 * 1024;
/// How many of them at once: for so long it holds the lock that a new topic needs.
const SCAN_STRETCH: usize = 1024;

/// The way in for those who are no worker.
pub struct Desk {
    shared: Arc<Shared>,
    wake: Box<dyn Fn(WorkerSet) + Send + Sync>,
}

/// Several publishes whose workers are woken once, when it is dropped.
#[derive(Debug)]
pub struct Batch<'d> {
    desk: &'d Desk,
    now_ms: u64,
    wakes: WorkerSet,
}

/// A topic as the directory knows it.
#[derive(Clone, Debug)]
pub struct TopicView {
    /// The topic, to ask workers about.
    pub topic: Arc<Topic>,
    /// The seq of its newest message; 0 before the first.
    pub seq: u64,
    /// Messages that are kept of it.
    pub kept: u64,
    /// Bytes of memory they take.
    pub kept_bytes: u64,
    /// When the newest of them was published, in ms of the broker's clock.
    pub newest_ms: Option<u64>,
}

impl Desk {
    /// A desk; `wake` wakes these workers, from any thread and without blocking.
    pub fn new(shared: Arc<Shared>, wake: impl Fn(WorkerSet) + Send + Sync + 'static) -> Self {
        Self { shared, wake: Box::new(wake) }
    }

    /// Who checks tokens.
    pub fn verifier(&self) -> &Arc<Verifier> {
        &self.shared.verifier
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.shared.workers()
    }

    /// Whether a worker has more mail than it should, or more is published than goes to disk or to
    /// other nodes: publish nothing for now.
    pub fn is_full(&self) -> bool {
        self.shared.is_full()
    }

    /// Whether a worker has more mail than it should, whatever the ways out hold.
    pub fn has_full_mailbox(&self) -> bool {
        (0..self.workers()).any(|worker| self.shared.mailbox(worker).is_full())
    }

    /// Whether a message may be published, as far as can be said before.
    ///
    /// # Errors
    /// `forbidden` on the broker's own topics, `too_large` if the topic's rule says so.
    pub fn check(&self, topic: TopicName<'_>, payload: Payload<'_>) -> Result<(), CommandError> {
        may_publish(topic)?;
        match self.shared.directory.rule_of(topic).payload_bytes_max {
            Some(max) if payload.bytes().len() > max as usize => Err(too_large(topic, max)),
            _ => Ok(()),
        }
    }

    /// Whether so many more topics may come to be.
    ///
    /// # Errors
    /// `unavailable`: the directory is too full for them.
    pub fn has_room_for(&self, topics: usize) -> Result<(), CommandError> {
        self.shared
            .directory
            .has_room_for(topics as u64)
            .map_err(|error| super::commands::full(&error))
    }

    /// Whether there is a topic of that name.
    pub fn knows(&self, topic: TopicName<'_>) -> bool {
        self.shared.directory.find(topic).is_some()
    }

    /// How many subscriptions match a topic now, on all workers.
    pub fn subscribers_of(&self, topic: TopicName<'_>) -> u64 {
        self.shared.subscribers_of(topic)
    }

    /// Begins to publish at that time of the broker's clock.
    pub fn publish_at(&self, now_ms: u64) -> Batch<'_> {
        Batch { desk: self, now_ms, wakes: 0 }
    }

    /// The topics that match from a place of the directory on, about `limit`, and the place to go
    /// on from, if there are more. A topic that is made meanwhile may stand before that place.
    pub fn topics(
        &self,
        from: usize,
        limit: usize,
        wanted: impl Fn(TopicName<'_>) -> bool,
    ) -> (Vec<TopicView>, Option<usize>) {
        let mut found = Vec::new();
        let mut next = Some(from);
        let end = from.saturating_add(SCAN_PLACES);
        while let Some(place) = next.filter(|&place| place < end && found.len() < limit) {
            // Of few places there can't be more topics than were asked for.
            let stretch = SCAN_STRETCH.min(limit - found.len());
            let wanted = |topic: &Topic| wanted(topic.name());
            next = self.shared.directory.scan(place, stretch, wanted, &mut found);
        }
        (found.iter().map(TopicView::of).collect(), next)
    }

    /// The topic's epoch and newest seq, and the newest messages that are kept of it, oldest
    /// first: at most `limit`, a hundred if that is None, a thousand in any case. None if there is
    /// no such topic.
    pub fn history(
        &self,
        name: TopicName<'_>,
        limit: Option<u32>,
        now_ms: u64,
    ) -> Option<(Epoch, u64, Vec<Arc<Message>>)> {
        let topic = self.shared.directory.find(name)?;
        let (seq, messages) = newest_of(&topic, limit, now_ms);
        Some((topic.epoch(), seq, messages))
    }

    /// Who is subscribed to exactly this topic on this node.
    ///
    /// # Errors
    /// `forbidden`: the topic's rule keeps it to itself.
    pub fn presence(&self, name: TopicName<'_>) -> Result<Roster, CommandError> {
        self.shared.may_know_members(name)?;
        Ok(self.shared.members_of(name))
    }

    /// Puts a question to these workers. `answer` is called once by each that still runs, on its
    /// own thread, and must not block.
    pub fn ask(&self, workers: WorkerSet, ask: Ask, answer: impl Fn(Told) + Send + Sync + 'static) {
        let mail = Mail::Question(Arc::new(Question::new(ask, answer)));
        let wakes = members(workers).fold(0, |wakes, worker| wakes | self.post(worker, &mail));
        (self.wake)(wakes);
    }

    /// All workers.
    pub fn everyone(&self) -> WorkerSet {
        (0..self.workers()).fold(0, |set, worker| set | 1 << worker)
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn wake(&self, workers: WorkerSet) {
        if workers != 0 {
            (self.wake)(workers);
        }
    }

    fn post(&self, worker: usize, mail: &Mail) -> WorkerSet {
        u64::from(self.shared.mailbox(worker).push(mail.clone(), None).wake) << worker
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Batch<'_> {
    /// Publishes a message. It has its place in the topic's order when this returns, or none: then
    /// the topic's log gives it one, and whom `waiting` names is told, perhaps before this returns.
    ///
    /// # Errors
    /// What a client would be answered: see [`Desk::check`], and `unavailable` if there are too
    /// many topics. `repeatable` is what a retry of it is known by.
    pub fn publish(
        &mut self,
        message: Publish<'_>,
        repeatable: Option<Repeatable<'_>>,
        waiting: impl FnOnce() -> Waiting,
    ) -> Result<Option<Placed>, CommandError> {
        let Publish { topic, payload, .. } = message;
        may_publish(topic)?;
        let shared = &self.desk.shared;
        let by = (Protocol::Json, None);
        let done = shared.publish(topic, payload, by, repeatable, self.now_ms, waiting);
        let (published, made) = match done {
            Ok(published) => (Ok((published.place, published.wakes)), published.made),
            Err(error) => {
                let (error, made) = error.explain(topic);
                (Err(error), made)
            }
        };
        if let Some(made) = made {
            self.wakes |= shared.look_after(made);
        }
        let (place, wakes) = published?;
        self.wakes |= wakes;
        Ok(place)
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.desk.wake(self.wakes);
    }
}

impl TopicView {
    fn of(topic: &Arc<Topic>) -> Self {
        let state = topic.look();
        let history = state.history();
        let view = Self {
            seq: state.seq,
            kept: history.map_or(0, |history| history.all().count() as u64),
            kept_bytes: history.map_or(0, History::bytes),
            newest_ms: history.and_then(|history| history.newest()).map(|kept| kept.at_ms),
            topic: topic.clone(),
        };
        drop(state);
        view
    }
}
