//! Notices about topics, from the hub's side: that one fell silent and is live again, and which
//! epoch one has that began under a filter. Each is written once per protocol, however many hear it.

use std::sync::Arc;

use broker_proto::command::{Epoch, GapReason, Notice};
use broker_proto::topic::Filter;

use super::Hub;
use super::lists::{List, Watched};
use super::mailbox::{GapMail, Mail};
use super::outbox::FrameId;
use super::protocol::Protocol;
use super::shared::Shared;
use super::silence::{Liveness, SilenceMail, Stale, Watch};
use super::topic::{Topic, TopicState};
use super::workers::WorkerSet;
use crate::metrics::accounts::gap;

/// Topics whose time has come that are looked at in one turn.
const DUE_MAX: usize = 1_024;
/// Places of stale topics that are looked at for one new subscription in one turn.
const SCAN_PLACES: usize = 1_024;
/// New subscriptions that are gone on with in one turn.
const ASKING_MAX: usize = 64;
/// The worker that looks at the topics whose time has come.
const WATCHMAN: usize = 0;

/// A subscription that is still to be told of stale topics under its filter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    slot: u32,
    list: u32,
    /// The place among the stale topics to go on at.
    next: usize,
}

/// Who hears of something about a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    /// All who are subscribed, but for those that paused.
    All,
    /// Of these, those who are not catching up.
    Live,
    /// Of all, those who were told the topic's epoch.
    Counting,
}

impl Shared {
    /// A message is about to be handed to these `watchers`; called under its topic's lock. Returns
    /// the workers that must be woken for what that means.
    pub(super) fn hear(
        &self,
        topic: &Arc<Topic>,
        state: &mut TopicState,
        watchers: WorkerSet,
        now_ms: u64,
    ) -> WorkerSet {
        let every_ms = state.rule().expect_every_ms;
        let watch = state.watch_mut();
        watch.heard_ms = now_ms.max(watch.heard_ms);
        let (heard_ms, mut wakes) = (watch.heard_ms, 0);
        match watch.liveness {
            Liveness::Awaited => return 0,
            Liveness::Unwatched => {}
            Liveness::Stale(place) => {
                let mail = SilenceMail { topic: topic.clone(), seq: state.seq, silent_ms: None };
                let mail = Mail::Silence(Arc::new(mail));
                self.silence.end(place, || wakes = self.post(watchers, &mail, state));
                state.watch_mut().liveness = Liveness::Unwatched;
            }
        }
        if every_ms > 0 {
            state.watch_mut().liveness = Liveness::Awaited;
            let is_first = self.silence.await_next(topic.clone(), heard_ms + every_ms);
            wakes |= u64::from(is_first) << WATCHMAN;
        }
        wakes
    }

    /// The time has come to look at a topic; returns the workers that must be woken.
    fn listen(&self, topic: &Arc<Topic>, now_ms: u64) -> WorkerSet {
        let mut state = topic.look();
        let Watch { heard_ms, liveness } = state.watch();
        if topic.is_retired() || liveness != Liveness::Awaited {
            return 0;
        }
        let every_ms = state.rule().expect_every_ms;
        if every_ms == 0 {
            state.watch_mut().liveness = Liveness::Unwatched;
            return 0;
        }
        let seq = state.seq;
        if now_ms < heard_ms + every_ms {
            self.silence.await_next(topic.clone(), heard_ms + every_ms);
            return 0;
        }
        let silent_ms = Some(now_ms - heard_ms);
        let mail = Mail::Silence(Arc::new(SilenceMail { topic: topic.clone(), seq, silent_ms }));
        let watchers = state.watchers(topic, &self.interest);
        let mut wakes = 0;
        let stale = Stale { topic: topic.clone(), seq, heard_ms };
        let place = self.silence.begin(stale, || wakes = self.post(watchers, &mail, &state));
        state.watch_mut().liveness = Liveness::Stale(place);
        wakes
    }
}

impl Hub {
    /// Looks at the topics whose time has come, if that is this worker's part.
    pub(super) fn listen(&mut self) {
        if self.worker != WATCHMAN {
            return;
        }
        for _ in 0..DUE_MAX {
            let Some(topic) = self.shared.silence.take_due(self.now_ms) else { return };
            self.wakes |= self.shared.listen(&topic, self.now_ms);
        }
    }

    /// When the next topic is to be looked at, if that is this worker's part.
    pub(super) fn next_listen_ms(&self) -> Option<u64> {
        self.shared.silence.next_due_ms().filter(|_| self.worker == WATCHMAN)
    }

    /// Tells those here who are subscribed to a topic that it fell silent, or that it is live.
    pub(super) fn deliver_silence(&mut self, mail: &SilenceMail) {
        let (topic, seq) = (mail.topic.as_str(), mail.seq);
        let notice = match mail.silent_ms {
            Some(silent_ms) => Notice::Stale { topic, seq, silent_ms },
            None => Notice::Live { topic, seq },
        };
        let mut slots = self.audience_of(&mail.topic, Audience::All);
        self.tell_all(&mut slots, |protocol, out| protocol.encode_notice(out, &notice));
    }

    /// Tells them that messages are missing. Who is catching up finds that out when it gets there.
    pub(super) fn deliver_gap(&mut self, mail: &GapMail) {
        let GapMail { topic, from, to, reason } = mail;
        if let Some(key) = self.lists.key_of_topic(topic)
            && let Watched::Topic { seq, .. } = &mut self.lists.list(key).watched
        {
            *seq = (*to).max(*seq);
        }
        let mut slots = self.audience_of(topic, Audience::Live);
        self.tell_all(&mut slots, |protocol, out| {
            protocol.encode_gap(out, topic.name(), (*from, *to), *reason);
        });
        self.count_gap(*reason, (to - from + 1) * slots.len() as u64);
    }

    /// So many messages were announced as missing, over all who were told.
    pub(super) fn count_gap(&self, reason: GapReason, messages: u64) {
        let place = match reason {
            GapReason::Overflow => gap::OVERFLOW,
            GapReason::Expired => gap::EXPIRED,
            GapReason::Backplane => gap::BACKPLANE,
        };
        self.counters().accounts.gaps[place].add(messages);
    }

    /// Tells those who count a topic's seqs of the epoch that these are of now.
    pub(super) fn tell_epoch(&mut self, topic: &Topic, epoch: Epoch) {
        let mut slots = self.audience_of(topic, Audience::Counting);
        let notice = Notice::Epoch { topic: topic.as_str(), epoch };
        self.tell_all(&mut slots, |protocol, out| protocol.encode_notice(out, &notice));
    }

    /// The sessions here that hear of something about a topic, some perhaps twice.
    fn audience_of(&mut self, topic: &Topic, audience: Audience) -> Vec<u32> {
        let mut keys = std::mem::take(&mut self.keys);
        self.lists.keys_of(topic, &mut keys);
        let mut slots = Vec::new();
        for &key in &keys {
            let list = self.lists.peek(key);
            let is_exact = list.topic().is_some();
            if !is_for(list, self.taken) {
                continue;
            }
            match (audience, &list.special) {
                (Audience::Counting, None) if !is_exact => {}
                (Audience::Counting, Some(held)) if !is_exact => slots.extend(&held.epochs),
                _ => self.add_audience(list, audience != Audience::Live, &mut slots),
            }
        }
        self.keys = keys;
        slots
    }

    /// A topic under a filter begins with this message: those who asked are told its epoch first.
    /// Who is slow is told when it gets that far.
    pub(super) fn announce(&mut self, topic: &Topic, keys: &[u32], number: u64) {
        let mut slots = Vec::new();
        for &key in keys {
            let list = self.lists.peek(key);
            if let Some(held) = list.special.as_ref().filter(|_| is_for(list, number)) {
                slots.extend(held.epochs.iter().copied().filter(|&slot| !self.is_slow(slot)));
            }
        }
        let notice = Notice::Epoch { topic: topic.as_str(), epoch: topic.epoch() };
        self.tell_all(&mut slots, |protocol, out| protocol.encode_notice(out, &notice));
    }

    /// A session gets to the beginning of a topic: if it asked for epochs, it is told this one.
    pub(super) fn announce_to(&mut self, slot: u32, topic: &Topic) {
        let Some(session) = self.sessions.get(slot as usize) else { return };
        let is_asked = session.subscriptions.iter().any(|held| {
            let list = self.lists.peek(held.list);
            let asked = list.special.as_ref().is_some_and(|held| held.epochs.contains(&slot));
            asked && list.matches(topic)
        });
        if is_asked {
            let epoch = topic.epoch();
            self.tell_notice(slot, &Notice::Epoch { topic: topic.as_str(), epoch });
        }
    }

    /// A subscription was answered: it is told which of its topics are stale.
    pub(super) fn tell_stale(&mut self, slot: u32, list: u32) {
        match &self.lists.peek(list).watched {
            Watched::Topic { topic, .. } => {
                let topic = topic.clone();
                let state = topic.look();
                let (seq, Watch { heard_ms, liveness }) = (state.seq, state.watch());
                let is_stale = matches!(liveness, Liveness::Stale(_));
                drop(state);
                if is_stale {
                    self.tell_one_stale(slot, &Stale { topic, seq, heard_ms });
                }
            }
            Watched::Filter(_) => self.ask(Asking { slot, list, next: 0 }),
        }
    }

    /// A subscription has ended or begins anew: it is told no more.
    pub(super) fn ask_no_more(&mut self, slot: u32, list: u32) {
        self.asking.retain(|asking| (asking.slot, asking.list) != (slot, list));
    }

    /// Whether somebody could be told more of the stale topics now.
    pub(super) fn has_asking(&self) -> bool {
        self.asking.iter().any(|asking| self.has_read(asking.slot))
    }

    /// Tells new subscriptions of more stale topics, as far as one turn goes.
    pub(super) fn go_on_asking(&mut self) {
        for _ in 0..self.asking.len().min(ASKING_MAX) {
            let Some(asking) = self.asking.pop_front() else { return };
            match self.has_read(asking.slot) {
                true => self.ask(asking),
                false => self.asking.push_back(asking),
            }
        }
    }

    fn ask(&mut self, asking: Asking) {
        let Asking { slot, list, next } = asking;
        let Watched::Filter(held) = &self.lists.peek(list).watched else { return };
        let Ok(filter) = Filter::new(&held.filter) else { return };
        let mut found = Vec::new();
        let wanted = |topic: &Topic| filter.matches(topic.name());
        let next = self.shared.silence.scan(next, SCAN_PLACES, wanted, &mut found);
        found.iter().for_each(|stale| self.tell_one_stale(slot, stale));
        if let Some(next) = next {
            self.asking.push_back(Asking { slot, list, next });
        }
    }

    fn tell_one_stale(&mut self, slot: u32, stale: &Stale) {
        let silent_ms = self.now_ms.saturating_sub(stale.heard_ms);
        let (topic, seq) = (stale.topic.as_str(), stale.seq);
        self.tell_notice(slot, &Notice::Stale { topic, seq, silent_ms });
    }

    fn is_slow(&self, slot: u32) -> bool {
        let session = self.sessions.get(slot as usize);
        session.is_some_and(|session| session.slow.is_some())
    }

    fn has_read(&self, slot: u32) -> bool {
        let session = self.sessions.get(slot as usize);
        session.is_none_or(|session| session.unread.bytes() == 0)
    }

    /// Adds the sessions that a list delivers to: all but those that paused it.
    fn add_audience(&self, list: &List, with_catching: bool, slots: &mut Vec<u32>) {
        slots.extend(list.subscribers.iter().map(|subscriber| subscriber.slot));
        let Some(held) = &list.special else { return };
        for &cohort in &held.cohorts {
            let members = &self.cohorts[cohort as usize].members;
            slots.extend(members.iter().map(|member| member.slot));
        }
        if with_catching {
            slots.extend(held.catching.iter().map(|&key| self.specials[key as usize].slot));
        }
    }

    /// Tells each of these sessions once, what `encode` writes for its protocol.
    fn tell_all(&mut self, slots: &mut Vec<u32>, encode: impl Fn(Protocol, &mut Vec<u8>)) {
        slots.sort_unstable();
        slots.dedup();
        let mut frames: [Option<FrameId>; 4] = [None; 4];
        for &slot in &*slots {
            let Some(session) = self.sessions.get_mut(slot as usize) else {
                continue;
            };
            let protocol = session.protocol;
            let outbox = &mut self.outbox;
            let frame = *frames[protocol as usize].get_or_insert_with(|| {
                let mut text = Vec::new();
                encode(protocol, &mut text);
                outbox.add_own(protocol, protocol.opcode(), &text)
            });
            session.pending = outbox.append(slot, session.pending, frame);
        }
        self.counters().messages_out.add(slots.len() as u64);
    }
}

/// Whether mail of this number is for a list.
fn is_for(list: &List, number: u64) -> bool {
    match &list.watched {
        Watched::Topic { .. } => true,
        Watched::Filter(held) => number > held.from,
    }
}
