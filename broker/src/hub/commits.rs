//! The way back from a log: a message that is safe gets its place in its topic's order, goes to the
//! subscribers and into the history, and its publisher is told. And what comes from other nodes.
//!
//! One caller per topic; called by those who write logs, never by a worker.

use std::sync::Arc;

use broker_proto::command::{CommandError, Epoch, GapReason, Level, Payload};
use broker_proto::topic::Topic as TopicName;

use super::desk::Desk;
use super::directory::DirectoryFull;
use super::log::{Asker, Came, Pending, Placed, Settled, Waiting};
use super::mailbox::{GapMail, Mail, SettledMail};
use super::message::Message;
use super::protocol::Protocol;
use super::shared::Shared;
use super::topic::{Topic, TopicState};
use super::workers::{WorkerSet, members};

/// The greatest seq that what other nodes tell may lead to: what is published there still has room
/// above it.
const SEQ_MAX: u64 = 1 << 60;

/// Several commits whose workers are woken once, when it is dropped.
#[derive(Debug)]
pub struct Commits<'d> {
    desk: &'d Desk,
    now_ms: u64,
    wakes: WorkerSet,
}

/// A message that is kept of a topic, as it is read back.
#[derive(Clone, Copy, Debug)]
pub struct Restored<'a> {
    /// Its seq; they ascend by one and end with the topic's newest.
    pub seq: u64,
    /// What was published.
    pub payload: Payload<'a>,
    /// How long ago, in milliseconds.
    pub age_ms: u64,
}

impl Desk {
    /// Begins to commit at that time of the broker's clock.
    pub fn commit_at(&self, now_ms: u64) -> Commits<'_> {
        Commits { desk: self, now_ms, wakes: 0 }
    }
}

impl Commits<'_> {
    /// Gives a message of this node its place: it is delivered and kept, and its publisher told.
    /// Seqs must ascend. A hole before it is announced to the subscribers as a gap; an epoch that
    /// is not the topic's begins a new numbering, which they are told too.
    pub fn commit(
        &mut self,
        topic: &Arc<Topic>,
        epoch: Epoch,
        seq: u64,
        pending: Pending,
        level: Level,
    ) {
        let mut state = topic.look();
        self.place(topic, &mut state, (epoch, seq), pending.payload(), pending.native);
        state.settle_one();
        if let Some(id) = &pending.named {
            state.place_named(id, seq, level);
        }
        drop(state);
        let came = Came::First;
        self.tell(topic, pending.waiting, Ok(Placed { epoch, seq, level, came }));
    }

    /// A message of this node was published before, and has that place: only its publisher is told.
    pub fn repeat(&mut self, topic: &Arc<Topic>, pending: Pending, placed: Placed) {
        topic.look().settle_one();
        self.tell(topic, pending.waiting, Ok(placed));
    }

    /// The same for a message that was published on another node; makes the topic if need be. One
    /// that is not newer than the topic's newest, in the same epoch, was here before and is left out.
    ///
    /// # Errors
    /// There are as many topics as there may be.
    pub fn commit_foreign(
        &mut self,
        name: TopicName<'_>,
        epoch: Epoch,
        seq: u64,
        payload: Payload<'_>,
    ) -> Result<(), DirectoryFull> {
        loop {
            let (topic, made) = self.shared().directory.find_or_create(name, self.now_ms)?;
            if made {
                self.wakes |= self.shared().look_after(topic.clone());
            }
            let Ok(mut state) = topic.use_at(self.now_ms) else { continue };
            if topic.epoch() != epoch || seq > state.seq {
                self.place(&topic, &mut state, (epoch, seq), payload, Protocol::Json);
            }
            return Ok(());
        }
    }

    /// A message is not published: its publisher is told why.
    pub fn fail(&mut self, topic: &Arc<Topic>, pending: Pending, error: CommandError) {
        let mut state = topic.look();
        state.settle_one();
        if let Some(id) = &pending.named {
            state.forget_named(id, &self.shared().history);
        }
        drop(state);
        self.tell(topic, pending.waiting, Err(error));
    }

    /// Delivers a message that was published on another node, on a topic that every node numbers
    /// for itself. False if by the rules here the topic is none of these: then it is left out.
    ///
    /// # Errors
    /// There are as many topics as there may be.
    pub fn receive(
        &mut self,
        name: TopicName<'_>,
        payload: Payload<'_>,
    ) -> Result<bool, DirectoryFull> {
        loop {
            let (topic, made) = self.shared().directory.find_or_create(name, self.now_ms)?;
            if made {
                self.wakes |= self.shared().look_after(topic.clone());
            }
            let Ok(mut state) = topic.use_at(self.now_ms) else { continue };
            let is_taken = self.shared().is_numbered_here(name, &state);
            if is_taken {
                let place = (topic.epoch(), state.seq + 1);
                self.place(&topic, &mut state, place, payload, Protocol::Json);
            }
            return Ok(is_taken);
        }
    }

    /// So many messages of a topic were lost on the way from another node: those who are
    /// subscribed are told. Nothing happens if there is no such topic. False if there can't be so
    /// many: then it is left out.
    pub fn skip(&mut self, name: TopicName<'_>, count: u64) -> bool {
        let Some(topic) = self.shared().directory.find(name) else { return true };
        let mut state = topic.look();
        let is_taken = self.shared().is_numbered_here(name, &state);
        let next = state.seq.saturating_add(count).saturating_add(1);
        if count > 0 && is_taken && !topic.is_retired() {
            if next > SEQ_MAX {
                return false;
            }
            self.leave_hole(&topic, &mut state, next);
        }
        true
    }

    /// Wakes workers whose publishers waited for a log to be emptied.
    pub fn wake(&mut self, workers: WorkerSet) {
        self.wakes |= workers;
    }

    fn place(
        &mut self,
        topic: &Arc<Topic>,
        state: &mut TopicState,
        (epoch, seq): (Epoch, u64),
        payload: Payload<'_>,
        native: Protocol,
    ) {
        if topic.epoch() != epoch {
            self.renumber(topic, state, epoch);
        }
        if seq > state.seq + 1 {
            self.leave_hole(topic, state, seq);
        }
        state.seq = seq;
        let message = Message::new(topic.clone(), topic.name(), seq, payload, native);
        let handed = self.shared().hand_out(Arc::new(message), state, None, self.now_ms);
        self.wakes |= handed.wakes;
    }

    /// The topic's numbering begins anew, with an epoch that was made elsewhere.
    fn renumber(&mut self, topic: &Arc<Topic>, state: &mut TopicState, epoch: Epoch) {
        let shared = self.shared();
        state.drop_history(&shared.history);
        state.forget_retries(&shared.history);
        shared.directory.renumber(topic, state, epoch);
        let watchers = state.watchers(topic, &shared.interest);
        self.wakes |= shared.post(watchers, &Mail::Renumbered(topic.clone(), epoch), state);
    }

    /// The topic goes on with seq `next`; what is missing before it never comes.
    fn leave_hole(&mut self, topic: &Arc<Topic>, state: &mut TopicState, next: u64) {
        let shared = self.shared();
        let (from, to) = (state.seq + 1, next - 1);
        // What is kept must be without holes.
        state.drop_history(&shared.history);
        state.seq = to;
        let gap = GapMail { topic: topic.clone(), from, to, reason: GapReason::Backplane };
        let watchers = state.watchers(topic, &shared.interest);
        self.wakes |= shared.post(watchers, &Mail::Gap(Arc::new(gap)), state);
    }

    fn tell(&mut self, topic: &Arc<Topic>, waiting: Waiting, settled: Settled) {
        match waiting {
            Waiting::Nobody => {}
            Waiting::Call(call) => call(settled),
            Waiting::Client(asker) => {
                let Asker { worker, slot, session, id, counts } = *asker;
                let is_told = settled.is_err() || id.id().is_some();
                if !is_told {
                    return;
                }
                let subscribers = counts.then(|| self.shared().subscribers_of(topic.name()));
                let mail = SettledMail { slot, session, id, settled, subscribers };
                let mailbox = self.shared().mailbox(worker);
                let pushed = mailbox.push(Mail::Settled(Arc::new(mail)), None);
                self.wakes |= u64::from(pushed.wake) << worker;
            }
        }
    }

    fn shared(&self) -> &'_ Shared {
        self.desk.shared()
    }
}

impl Drop for Commits<'_> {
    fn drop(&mut self) {
        self.desk.wake(self.wakes);
    }
}

impl Shared {
    /// The workers whose mailboxes are over their limit already, of those that will get what is
    /// published: a log delivers whether they have room or not. They wake `from` when they have.
    pub(super) fn full_for(
        &self,
        topic: &Topic,
        state: &mut TopicState,
        from: Option<usize>,
    ) -> WorkerSet {
        let Some(from) = from else { return 0 };
        let watchers = members(state.watchers(topic, &self.interest));
        let full = watchers.filter(|&worker| self.mailbox(worker).is_full_for(from));
        full.fold(0, |set, worker| set | 1 << worker)
    }

    /// Puts back what was kept of a topic, before anybody can use it: its epoch, the seq of its
    /// newest message, and the newest messages, which may be fewer than its rule keeps.
    ///
    /// # Errors
    /// There are as many topics as there may be.
    pub fn restore<'a>(
        &self,
        name: TopicName<'_>,
        epoch: Epoch,
        seq: u64,
        kept: impl IntoIterator<Item = Restored<'a>>,
        now_ms: u64,
    ) -> Result<Arc<Topic>, DirectoryFull> {
        let topic = self.directory.restore(name, epoch, now_ms)?;
        let mut state = topic.look();
        state.seq = seq;
        for Restored { seq, payload, age_ms } in kept {
            let message = Message::new(topic.clone(), name, seq, payload, Protocol::Json);
            state.keep(Arc::new(message), now_ms.saturating_sub(age_ms), &self.history);
        }
        drop(state);
        self.look_after(topic.clone());
        Ok(topic)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use broker_proto::command::ErrorCode;

    use super::*;
    use crate::config::Config;
    use crate::config::rules::{Rule, Store};
    use crate::hub::log::{Log, Work};
    use crate::hub::retries::{Attempt, Repeatable};
    use crate::hub::ways::Ways;

    const NAME: &str = "d/1";
    const BY: (Protocol, Option<usize>) = (Protocol::Json, Some(0));
    const AGAIN: Option<Repeatable<'_>> =
        Some(Repeatable::Message(Attempt { publisher: "", msg_id: "a" }));

    /// Two workers with mailboxes of 1,000 bytes, and a topic whose order is made in a log.
    fn stored() -> (Arc<Shared>, Desk, Arc<Topic>) {
        let config = Config { mailbox_bytes_max: 1_000, ..Config::default() };
        let ways = Ways { disk: Some(Log::new(1_000_000, || {})), ..Ways::default() };
        let shared = Arc::new(Shared::new(2, &config, 0).with_ways(ways));
        let desk = Desk::new(shared.clone(), |_| {});
        let name = TopicName::new(NAME).unwrap();
        let (topic, _) = shared.directory.find_or_create(name, 0).unwrap();
        let durable = Rule { store: Store::Durable, ..Rule::clone(&topic.rule()) };
        topic.take_rule(Arc::new(durable));
        topic.use_at(0).unwrap().join(1);
        (shared, desk, topic)
    }

    /// Takes what waits in the log and commits it, from this seq on.
    fn commit_all(shared: &Shared, desk: &Desk, first: u64) {
        let mut entries = VecDeque::new();
        shared.ways().disk.as_ref().unwrap().take(&mut entries);
        let mut commits = desk.commit_at(0);
        for (entry, seq) in entries.into_iter().zip(first..) {
            let Work::Publish(pending) = entry.work else { panic!("{entry:?}") };
            let epoch = entry.topic.epoch();
            commits.commit(&entry.topic, epoch, seq, pending, Level::Durable);
        }
    }

    #[test]
    fn who_publishes_into_a_log_waits_for_full_mailboxes_like_everybody() {
        let (shared, desk, _) = stored();
        let publish = || {
            let (name, payload) = (TopicName::new(NAME).unwrap(), Payload::Json(b"12345678"));
            shared.publish(name, payload, BY, None, 0, || Waiting::Nobody).unwrap()
        };
        assert_eq!(publish().full, 0);
        for seq in 1..20 {
            commit_all(&shared, &desk, seq);
            publish();
        }
        assert_eq!(publish().full, 1 << 1, "nobody takes what is delivered");
        let mut mail = VecDeque::new();
        assert_eq!(shared.mailbox(1).take(&mut mail), 1 << 0, "and it is woken then");
        assert_eq!(publish().full, 0);
    }

    #[test]
    fn a_retry_of_what_has_failed_is_published() {
        let (shared, desk, _) = stored();
        let publish = || {
            let (name, payload) = (TopicName::new(NAME).unwrap(), Payload::Json(b"1"));
            shared.publish(name, payload, BY, AGAIN, 0, || Waiting::Nobody)
        };
        assert_eq!(publish().unwrap().place, None);
        assert!(publish().is_err(), "it is under way");
        let mut entries = VecDeque::new();
        shared.ways().disk.as_ref().unwrap().take(&mut entries);
        for entry in entries {
            let Work::Publish(pending) = entry.work else { panic!("{entry:?}") };
            let error = CommandError::new(ErrorCode::Unavailable, "no room");
            desk.commit_at(0).fail(&entry.topic, pending, error);
        }
        assert_eq!(publish().unwrap().place, None);
        commit_all(&shared, &desk, 1);
        assert_eq!(publish().unwrap().place.map(|place| place.seq), Some(1));
    }

    #[test]
    fn in_another_epoch_no_retry_gets_a_place_of_the_one_before() {
        let (shared, desk, topic) = stored();
        let publish = || {
            let (name, payload) = (TopicName::new(NAME).unwrap(), Payload::Json(b"1"));
            shared.publish(name, payload, BY, AGAIN, 0, || Waiting::Nobody).unwrap().place
        };
        assert_eq!(publish(), None);
        commit_all(&shared, &desk, 1);
        let epoch = topic.epoch();
        let (level, came) = (Level::Durable, Came::Again);
        assert_eq!(publish(), Some(Placed { epoch, seq: 1, level, came }));
        let name = TopicName::new(NAME).unwrap();
        let later = Epoch::new(epoch.value() + 5);
        desk.commit_at(0).commit_foreign(name, later, 1, Payload::Json(b"2")).unwrap();
        assert_eq!(publish(), None, "it has no place in this epoch");
    }
}
