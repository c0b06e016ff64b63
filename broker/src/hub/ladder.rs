//! The ladder that a session steps down which does not keep up, and up again when it does: all →
//! the newest of each topic → that every two seconds → closed with its last seq. Each step is
//! announced, and what is passed over has a gap notice.
//!
//! Where a subscriber asked for the newest only, the first rung is what it asked for and nothing
//! is announced. The topic's rule can forbid to conflate: see [`Overload`].

use std::sync::Arc;

use broker_proto::command::{GapReason, ModeReason, Notice, Serving};
use broker_proto::ws::CloseCode;

use super::accounts::Counts;
use super::message::Message;
use super::newest::NO_LIST;
use super::protocol::Protocol;
use super::session::{Seat, Session};
use super::slow::{Rung, Slow};
use super::special::Stage;
use super::topic::Topic;
use super::{Disconnect, Hub};
use crate::config::rules::Overload;
use crate::metrics::CloseReason;
use crate::metrics::accounts::{dropped, step};

/// Bytes that a slow session is given at once when its socket has taken all.
const PAGE_BYTES: usize = 64 * 1024;
/// When the newest has waited for so long, the rate is lowered.
const LATE_MS: u64 = 2_000;
/// Time between what is sent to a session on the lowest rung.
const SLOW_EVERY_MS: u64 = 2_000;
/// When the newest has waited for so long on the lowest rung, the session ends.
const HOPELESS_MS: u64 = 30_000;
/// When nothing was held back for so long, a session goes one rung up.
const CALM_MS: u64 = 1_000;

impl Hub {
    /// What waits for a session's socket has changed. True: it is so much that the session steps
    /// down, and what [`may_hold_back`](Self::may_hold_back) must be taken back.
    pub fn handle_backlog(&mut self, slot: u32, messages: u32, bytes: u64) -> bool {
        let now_ms = self.now_ms;
        let half = self.config.backlog_bytes_max / 2;
        let Some(session) = self.session(slot) else { return false };
        session.unread.set_backlog(messages, bytes);
        if bytes == 0 {
            if session.slow.is_some() {
                self.drained.push(slot);
            }
            return false;
        }
        if bytes <= half {
            return false;
        }
        match &mut session.slow {
            None => {
                session.slow = Some(Box::new(Slow::new(Rung::Latest, now_ms)));
                self.slow_sessions.push(slot);
                self.count_step(step::DOWN_TO_LATEST);
            }
            Some(slow) if slow.rung == Rung::Holding => {
                slow.rung = Rung::Latest;
                self.count_step(step::DOWN_TO_LATEST);
            }
            Some(_) => {}
        }
        true
    }

    /// Which of the messages that wait for a session's socket may be taken back for newer ones.
    pub fn may_hold_back(&self, slot: u32) -> impl Fn(&Message) -> bool + use<> {
        let session = self.sessions.get(slot as usize);
        let is_plain = session.is_some_and(|session| {
            !session.subscriptions.iter().any(|held| self.is_latest(held.seat()))
        });
        // Of a numbering that is over it is not known any more which message is newer.
        move |message| {
            let overload = message.topic().rule().overload;
            is_plain && overload != Overload::Close && message.is_of_now()
        }
    }

    /// Takes back messages that waited for a session's socket, in their order.
    pub fn take_back(&mut self, slot: u32, taken: &[Arc<Message>]) {
        // From the newest on: whatever is put aside already is newer still.
        taken.iter().rev().for_each(|message| self.take_back_one(slot, message));
        let (now_ms, bytes_max) = (self.now_ms, self.config.backlog_bytes_max);
        let Some(Session { slow: Some(slow), ledger, .. }) = self.session(slot) else { return };
        slow.held_back_ms = now_ms;
        let mut dropped = 0;
        slow.shrink(bytes_max / 2, |list| {
            ledger.add_put_aside(list, Counts::dropped(1));
            dropped += 1;
        });
        self.count_dropped(dropped::SLOW, dropped);
        self.settle_held_back(slot);
    }

    fn take_back_one(&mut self, slot: u32, message: &Arc<Message>) {
        let mut keys = std::mem::take(&mut self.keys);
        self.lists.keys_of(message.topic(), &mut keys);
        let list = self.owner_of(slot, &keys);
        self.keys = keys;
        let now_ms = self.now_ms;
        let Some(session) = self.session(slot) else { return };
        session.sent -= 1;
        let Session { slow, ledger, .. } = session;
        let (Some(list), Some(slow)) = (list, slow) else {
            ledger.add_put_aside(list.unwrap_or(NO_LIST), Counts::dropped(1));
            self.count_dropped(dropped::SLOW, 1);
            return;
        };
        if message.topic().rule().overload == Overload::DropOldest {
            slow.put_back(list, message.clone());
            return;
        }
        let put = (list, message.clone());
        if let Some(passed) = slow.newest.put(message.topic().id(), put, now_ms, false) {
            ledger.add_put_aside(passed, Counts::CONFLATED);
            self.counters().accounts.conflated.add(1);
        }
        self.tell_slow(slot, list);
    }

    /// Tells a session, once, that a subscription is served otherwise.
    fn tell_slow(&mut self, slot: u32, list: u32) {
        let Some(slow) = self.session(slot).and_then(|session| session.slow.as_deref_mut()) else {
            return;
        };
        if slow.told.insert(list) {
            let now = serving(slow.rung);
            self.tell_mode(slot, list, now, ModeReason::Slow);
        }
    }

    /// A message for a slow session: sent, put aside, or put in the place of an older one.
    pub(super) fn hold_back(
        &mut self,
        slot: u32,
        list: u32,
        message: &Arc<Message>,
        mark: u64,
        by_request: bool,
    ) {
        let (now_ms, bytes_max) = (self.now_ms, self.config.backlog_bytes_max);
        let Some(session) = self.sessions.get_mut(slot as usize) else { return };
        if session.slow.is_none() {
            self.slow_sessions.push(slot);
        }
        let slow = session.slow.get_or_insert_with(|| Box::new(Slow::new(Rung::Holding, now_ms)));
        let is_free = session.unread.bytes() == 0 && slow.is_empty() && slow.rung < Rung::Slow;
        let overload = message.topic().rule().overload;
        let is_as_asked =
            !by_request && (slow.rung == Rung::Holding || overload == Overload::Close);
        if is_free || is_as_asked {
            return self.append(slot, message);
        }
        slow.held_back_ms = now_ms;
        if by_request || overload == Overload::Conflate {
            if slow.newest.holds(mark, message) {
                return;
            }
            let put = (list, message.clone());
            if let Some(passed) = slow.newest.put(mark, put, now_ms, by_request) {
                session.ledger.add_put_aside(passed, Counts::CONFLATED);
                self.counters().accounts.conflated.add(1);
            }
        } else {
            slow.push(list, message.clone());
            let (ledger, mut dropped) = (&mut session.ledger, 0);
            slow.shrink(bytes_max / 2, |list| {
                ledger.add_put_aside(list, Counts::dropped(1));
                dropped += 1;
            });
            self.count_dropped(dropped::SLOW, dropped);
        }
        if self.settle_held_back(slot) > bytes_max {
            self.hopeless.push(slot);
        }
        // Where the oldest are dropped all that comes is in order: the gaps say enough.
        if !by_request && overload == Overload::Conflate {
            self.tell_slow(slot, list);
        }
    }

    /// Sessions whose sockets have taken all get more of what was put aside.
    pub(super) fn flush_drained(&mut self) {
        for slot in std::mem::take(&mut self.drained) {
            let is_due = |slow: &Slow| slow.rung < Rung::Slow || slow.flushing_since_ms.is_some();
            if self.session(slot).is_some_and(|s| s.slow.as_deref().is_some_and(is_due)) {
                self.flush_slow(slot);
            }
        }
    }

    /// Once a second: who steps down further, who up again, and who must go.
    pub(super) fn climb(&mut self) {
        for slot in std::mem::take(&mut self.slow_sessions) {
            if self.step(slot) {
                self.slow_sessions.push(slot);
            }
        }
        self.count_slow();
    }

    /// Notes how many stand on which step.
    fn count_slow(&self) {
        let sessions = self.slow_sessions.iter().filter_map(|&s| self.sessions.get(s as usize));
        let rungs = sessions.filter_map(|session| Some(session.slow.as_deref()?.rung));
        let (latest, slow) = rungs.fold((0, 0), |(latest, slow), rung| match rung {
            Rung::Holding => (latest, slow),
            Rung::Latest => (latest + 1, slow),
            Rung::Slow => (latest, slow + 1),
        });
        let on_step = &self.counters().accounts.on_step;
        on_step.iter().zip([latest, slow]).for_each(|(gauge, count)| gauge.set(count));
    }

    fn count_step(&self, step: usize) {
        self.counters().accounts.steps[step].add(1);
    }

    /// So many messages were dropped, for the reason at that place of
    /// [`DROP_REASONS`](crate::metrics::accounts::DROP_REASONS).
    pub(super) fn count_dropped(&self, reason: usize, messages: u64) {
        if messages > 0 {
            self.counters().accounts.dropped[reason].add(messages);
        }
    }

    /// Bytes of memory of what is put aside for this worker's slow sessions; what several share
    /// counts for each.
    pub fn held_back_bytes(&self) -> u64 {
        self.held_back_bytes
    }

    /// Bytes of memory of what is put aside for one session.
    pub fn held_back_of(&self, slot: u32) -> u64 {
        let session = self.sessions.get(slot as usize);
        session.and_then(|session| session.slow.as_deref()).map_or(0, Slow::bytes)
    }

    /// What is put aside for a session has changed; returns its bytes.
    pub(super) fn settle_held_back(&mut self, slot: u32) -> u64 {
        let Some(session) = self.sessions.get_mut(slot as usize) else { return 0 };
        let Some(slow) = &mut session.slow else { return 0 };
        let bytes = slow.bytes();
        let before = std::mem::replace(&mut slow.counted_bytes, bytes);
        self.held_back_bytes = self.held_back_bytes - before + bytes;
        bytes
    }

    /// The sessions that can't be served any more, with what they are told.
    pub fn take_hopeless(&mut self) -> Vec<(u32, Disconnect)> {
        let slots = std::mem::take(&mut self.hopeless);
        slots.into_iter().filter_map(|slot| Some((slot, self.too_slow(slot)?))).collect()
    }

    /// Whether a session stays on the ladder.
    fn step(&mut self, slot: u32) -> bool {
        let now_ms = self.now_ms;
        let Some(session) = self.session(slot) else { return false };
        let waiting = session.unread.messages();
        let Some(slow) = &mut session.slow else { return false };
        let oldest_ms = slow.newest.oldest().map_or(0, |entry| now_ms - entry.since_ms);
        let is_calm = waiting == 0 && slow.is_empty() && now_ms - slow.held_back_ms >= CALM_MS;
        // On the lowest rung something is always put aside: it is enough that the last round went.
        let is_quick = slow.rung == Rung::Slow
            && slow.flushing_since_ms.is_none()
            && slow.flushed_ms > slow.since_ms
            && now_ms - slow.flushed_ms < SLOW_EVERY_MS;
        match slow.rung {
            Rung::Holding if is_calm => {
                session.slow = None;
                return false;
            }
            Rung::Latest if is_calm => {
                let told = slow.told_in_order();
                session.slow = None;
                self.count_step(step::UP_TO_ALL);
                for list in told {
                    self.tell_mode(slot, list, Serving::All, ModeReason::CaughtUp);
                }
                return false;
            }
            Rung::Slow if is_calm || (is_quick && waiting == 0) => {
                self.change_rung(slot, Rung::Latest, ModeReason::CaughtUp);
            }
            Rung::Latest if oldest_ms > LATE_MS => {
                self.change_rung(slot, Rung::Slow, ModeReason::Slow);
            }
            Rung::Slow if oldest_ms > HOPELESS_MS => self.hopeless.push(slot),
            Rung::Slow if waiting == 0 && now_ms - slow.flushed_ms >= SLOW_EVERY_MS => {
                slow.flushing_since_ms.get_or_insert(now_ms);
                self.flush_slow(slot);
            }
            _ if waiting == 0 && !slow.is_empty() && slow.rung < Rung::Slow => {
                self.drained.push(slot);
            }
            _ => {}
        }
        true
    }

    fn change_rung(&mut self, slot: u32, rung: Rung, reason: ModeReason) {
        let now_ms = self.now_ms;
        let Some(slow) = self.session(slot).and_then(|session| session.slow.as_deref_mut()) else {
            return;
        };
        let told = slow.told_in_order();
        slow.rung = rung;
        slow.held_back_ms = now_ms;
        match rung {
            Rung::Slow => self.count_step(step::DOWN_TO_SLOW),
            Rung::Holding | Rung::Latest => self.count_step(step::UP_TO_LATEST),
        }
        for list in told {
            self.tell_mode(slot, list, serving(rung), reason);
        }
    }

    /// Sends a page of what was put aside for a session.
    fn flush_slow(&mut self, slot: u32) {
        self.send_held_back(slot);
        self.settle_held_back(slot);
    }

    fn send_held_back(&mut self, slot: u32) {
        let (now_ms, mut bytes) = (self.now_ms, 0);
        while bytes < PAGE_BYTES {
            let Some(session) = self.session(slot).filter(|session| session.unread.messages() == 0)
            else {
                return;
            };
            let Some(slow) = &mut session.slow else { return };
            slow.flushed_ms = now_ms;
            if let Some(entry) = slow.newest.take() {
                bytes += entry.message.held_bytes();
                let (from, seq) = (entry.first_seq, entry.message.seq());
                let topic = entry.message.topic().clone();
                if entry.by_request && from == 1 && seq > 1 {
                    self.announce_to(slot, &topic);
                } else if !entry.by_request && from < seq {
                    self.tell_gap(slot, &topic, from, seq - 1, GapReason::Overflow);
                }
                self.append(slot, &entry.message);
            } else if let Some((_, message)) = slow.queue.pop_front() {
                slow.queue_bytes -= message.held_bytes() as u64;
                bytes += message.held_bytes();
                if let Some((topic, from, to)) = slow.gaps.remove(&message.topic().id()) {
                    self.tell_gap(slot, &topic, from, to, GapReason::Overflow);
                }
                self.append(slot, &message);
            } else {
                slow.flushing_since_ms = None;
                let gaps = std::mem::take(&mut slow.gaps);
                for (topic, from, to) in gaps.into_values() {
                    self.tell_gap(slot, &topic, from, to, GapReason::Overflow);
                }
                return;
            }
        }
        // The socket may take it all at once; then there is nothing to tell of that.
        self.drained.push(slot);
    }

    fn append(&mut self, slot: u32, message: &Arc<Message>) {
        if message.seq() == 1 {
            self.announce_to(slot, message.topic());
        }
        let frame = self.outbox.add_shared(message.clone());
        if let Some(session) = self.sessions.get_mut(slot as usize) {
            session.pending = self.outbox.append(slot, session.pending, frame);
            session.sent += 1;
        }
        self.counters().deliveries.add(1);
        self.counters().messages_out.add(1);
    }

    /// Sends a message of the past by a subscription.
    pub(super) fn append_past(&mut self, slot: u32, list: u32, message: &Arc<Message>) {
        self.note_past(slot, list);
        self.append(slot, message);
    }

    /// A subscription gets a message of the past.
    pub(super) fn note_past(&mut self, slot: u32, list: u32) {
        if let Some(session) = self.session(slot) {
            session.ledger.add_past(list, 1);
            self.counters().accounts.past.add(1);
        }
    }

    /// Tells a session that messages of a topic will not come.
    pub(super) fn tell_gap(
        &mut self,
        slot: u32,
        topic: &Topic,
        from: u64,
        to: u64,
        reason: GapReason,
    ) {
        if from == 1 {
            self.announce_to(slot, topic);
        }
        self.tell_missing(slot, topic, (from, to), reason);
    }

    /// The same where the session knows the epoch that these seqs are of.
    pub(super) fn tell_missing(
        &mut self,
        slot: u32,
        topic: &Topic,
        (from, to): (u64, u64),
        reason: GapReason,
    ) {
        self.count_gap(reason, to - from + 1);
        self.tell(slot, |protocol, out| {
            protocol.encode_gap(out, topic.name(), (from, to), reason);
        });
    }

    fn tell_mode(&mut self, slot: u32, list: u32, now: Serving, reason: ModeReason) {
        let Some(session) = self.sessions.get(slot as usize) else { return };
        if !session.subscriptions.iter().any(|held| held.list == list) {
            return;
        }
        let filter: Box<str> = self.lists.list(list).filter().into();
        self.tell_notice(slot, &Notice::Mode { filter: &filter, now, reason });
    }

    /// Sends a notice to one session.
    pub(super) fn tell_notice(&mut self, slot: u32, notice: &Notice<'_>) {
        self.tell(slot, |protocol, out| protocol.encode_notice(out, notice));
    }

    fn tell(&mut self, slot: u32, encode: impl FnOnce(Protocol, &mut Vec<u8>)) {
        let Some(protocol) = self.session(slot).map(|session| session.protocol) else { return };
        let mut text = std::mem::take(&mut self.answer);
        text.clear();
        encode(protocol, &mut text);
        self.send(slot, protocol.opcode(), &text);
        self.counters().messages_out.add(1);
        self.answer = text;
    }

    fn too_slow(&self, slot: u32) -> Option<Disconnect> {
        let message = self.last_of_slow(slot, "too slow")?.into();
        Some(Disconnect { code: CloseCode::TOO_SLOW, message, reason: CloseReason::TooSlow })
    }

    /// What a session is told that must end because too much is put aside for all together; None
    /// if nothing is for this one.
    pub fn overloaded(&self, slot: u32) -> Option<Disconnect> {
        let message = self.last_of_slow(slot, "overloaded")?.into();
        Some(Disconnect { code: CloseCode::OVERLOADED, message, reason: CloseReason::Overloaded })
    }

    fn last_of_slow(&self, slot: u32, what: &str) -> Option<String> {
        let slow = self.sessions.get(slot as usize)?.slow.as_deref()?;
        Some(match (slow.newest.oldest(), slow.queue.front()) {
            (Some(entry), _) => {
                let (seq, topic) = (entry.first_seq - 1, entry.message.topic().as_str());
                format!("{what}, last seq {seq} of {topic}")
            }
            (None, Some((_, first))) => {
                let topic = first.topic();
                let dropped = slow.gaps.get(&topic.id()).map(|(_, from, _)| *from);
                let first = dropped.unwrap_or_else(|| first.seq());
                format!("{what}, last seq {} of {}", first - 1, topic.as_str())
            }
            (None, None) => format!("{what}, answers not read"),
        })
    }

    fn is_latest(&self, seat: Seat) -> bool {
        let Seat::Special(key) = seat else { return false };
        let special = &self.specials[key as usize];
        special.wanted.latest && matches!(special.stage, Stage::Served { .. })
    }
}

pub(super) fn serving(rung: Rung) -> Serving {
    match rung {
        Rung::Holding => Serving::All,
        Rung::Latest => Serving::Latest,
        Rung::Slow => Serving::Slow,
    }
}
