//! Catching up: what a subscription gets of the time before it, in pages between the live traffic,
//! until it stands where the live messages are; then it takes its seat. Nothing is missed and
//! nothing comes twice in between, whatever is published meanwhile.
//!
//! On a topic the live messages wait until the past is out up to where this worker has delivered.
//! Under a filter each topic is caught up with by itself: what its lock shows is sent, and of the
//! live messages those that lie behind that.

use std::sync::Arc;

use broker_proto::command::{GapReason, Position, Since, SubscribeOptions};
use broker_proto::topic::Filter;

use super::Hub;
use super::lists::Watched;
use super::message::Message;
use super::past::{is_kept, last_of, time_of};
use super::special::{Catching, Floor, Scan, Stage, Start};
use super::topic::Topic;
use super::wanted::Wanted;

/// Bytes of one page.
pub(super) const PAGE_BYTES: usize = 64 * 1024;
/// Places of the directory that are looked at for one page.
const SCAN_PLACES: usize = 2_048;
/// For so long after catching up a message that was had may still come from the mailbox, beside
/// what waits for the end of an interval; in milliseconds.
pub(super) const HAD_MS: u64 = 1_000;
/// Pages of all subscriptions in one turn.
const PAGES_MAX: usize = 64;

/// How far back, in milliseconds, topics are looked for of which a client can't know: workers' clocks
/// differ by a turn.
const EARLIER_MS: u64 = 1_000;
/// Topics that one subscription is given something of in one turn.
const TOPICS_MAX: usize = 256;

/// What came of a page.
enum Step {
    /// All that was before is out.
    Done,
    /// There is more.
    More,
    /// There is more, in another turn.
    Wait,
}

impl Hub {
    /// Where a subscription must begin, if not with what comes; and, with `since`, whether
    /// everything after it is there.
    pub(super) fn start_of(
        &mut self,
        list: u32,
        options: &SubscribeOptions<'_>,
        wanted: &Wanted,
    ) -> (Option<Box<Catching>>, Option<bool>) {
        let mut catching = Catching::default();
        let is_latest = wanted.is_jumpy();
        let mut recovered = options.since.as_ref().map(|_| true);
        let topic = self.lists.peek(list).topic();
        match (topic, &options.since) {
            (Some((topic, seq)), Some(Since::At(position))) => {
                let (start, is_whole) = self.after(topic, *position, Some(seq), is_latest);
                recovered = Some(is_whole);
                catching.pending.push_back((topic.clone(), start));
            }
            (Some((topic, seq)), _) if options.last => {
                let start =
                    if is_latest { Some(Start::Last(0)) } else { last_of(topic, Some(seq)) };
                catching.pending.extend(start.map(|start| (topic.clone(), start)));
                if catching.pending.is_empty() {
                    return (None, recovered);
                }
            }
            (None, Some(Since::Topics(positions))) => {
                let from_ms = self.after_all(positions, is_latest, &mut catching);
                recovered = Some(from_ms.is_some());
                // Of topics that are not named the client has nothing: a little more does no harm.
                let early = |ms: u64| ms.saturating_sub(EARLIER_MS);
                let start =
                    |ms| if is_latest { Start::Last(early(ms)) } else { Start::Time(early(ms)) };
                let start = if options.last { Some(Start::Last(0)) } else { from_ms.map(start) };
                catching.scan = start.map(|start| Scan { next: 0, start });
            }
            (None, _) if options.last => {
                catching.scan = Some(Scan { next: 0, start: Start::Last(0) });
            }
            _ => return (None, recovered),
        }
        (Some(Box::new(catching)), recovered)
    }

    /// Whether a subscription could be caught up with now.
    pub(super) fn has_catching(&self) -> bool {
        self.catching.iter().any(|&key| self.may_catch(key))
    }

    /// Sends a page to each of those who are catching up, as far as one turn goes.
    pub(super) fn catch_up(&mut self) {
        for _ in 0..self.catching.len().min(PAGES_MAX) {
            let Some(key) = self.catching.pop_front() else { return };
            if self.catching_of(key).is_none() {
                continue;
            }
            let mut topics = 0..TOPICS_MAX;
            let is_done = loop {
                if topics.next().is_none() || !self.may_catch(key) {
                    break false;
                }
                match self.catch_page(key) {
                    Step::Done => break true,
                    Step::More => {}
                    Step::Wait => break false,
                }
            };
            if !is_done {
                self.catching.push_back(key);
            }
        }
    }

    /// Sends a page to the first of those who are catching up.
    pub(super) fn catch_up_one(&mut self) {
        if let Some(key) = self.catching.pop_front()
            && !(self.may_catch(key) && matches!(self.catch_page(key), Step::Done))
        {
            self.catching.push_back(key);
        }
    }

    /// A live message for a subscription that wants everything and is catching up: whether it is
    /// sent now.
    pub(super) fn catch_live(&mut self, key: u32, message: &Arc<Message>, keys: &[u32]) -> bool {
        let special = &mut self.specials[key as usize];
        let (slot, list) = (special.slot, special.list);
        let session = self.sessions.get(slot as usize);
        let is_behind = session.is_some_and(|session| session.slow.is_some());
        let Some(catching) = &mut special.catching else { return false };
        let topic = message.topic();
        if self.lists.peek(list).topic().is_some() {
            // Otherwise it is found in the topic's history.
            return !is_kept(message) && self.catch_unkept(key, message, true);
        }
        if !is_kept(message) {
            return self.catch_unkept(key, message, false);
        }
        match (catching.floors.get(&topic.id()), catching.scan) {
            (Some(Floor::Pending), _) => return false,
            (Some(Floor::Sent(seq)), _) if message.seq() <= *seq => return false,
            (None, Some(Scan { start: start @ Start::Time(_), .. }))
                if topic.rule().history_messages > 0 =>
            {
                catching.floors.insert(topic.id(), Floor::Pending);
                catching.pending.push_back((topic.clone(), start));
                return false;
            }
            _ if is_behind => {
                // What waits for it elsewhere comes first.
                catching.floors.insert(topic.id(), Floor::Pending);
                catching.pending.push_back((topic.clone(), Start::Seq(message.seq())));
                return false;
            }
            _ => {}
        }
        catching.floors.insert(topic.id(), Floor::Sent(message.seq()));
        if keys.len() > 1 && self.owner_of(slot, keys) != Some(list) {
            return false;
        }
        let wanted = self.specials[key as usize].wanted.clone();
        let message = self.as_wanted(list, &wanted, message);
        self.append_past(slot, list, &message);
        true
    }

    /// A live message that is not in its topic's history: what of the topic was still to come
    /// before it can't come any more. Whether it was sent.
    fn catch_unkept(&mut self, key: u32, message: &Arc<Message>, is_exact: bool) -> bool {
        let special = &self.specials[key as usize];
        let (slot, list, wanted) = (special.slot, special.list, special.wanted.clone());
        let topic = message.topic();
        let Some(catching) = self.catching_of(key) else { return false };
        let seq = message.seq();
        let at = catching.pending.iter().position(|(held, _)| held.id() == topic.id());
        let start = at.map(|at| catching.pending[at].1);
        let is_sent =
            matches!(catching.floors.get(&topic.id()), Some(Floor::Sent(to)) if seq <= *to);
        if is_sent || matches!(start, Some(Start::Seq(from)) if seq < from) {
            return false;
        }
        if let Some(at) = at {
            catching.pending.remove(at);
        }
        match is_exact {
            true => catching.pending.push_front((topic.clone(), Start::Seq(seq + 1))),
            false => drop(catching.floors.insert(topic.id(), Floor::Sent(seq))),
        }
        let slow = self.session(slot).and_then(|session| session.slow.as_deref());
        // A message that waits for a slow session has the notice of all that is passed over.
        let is_told = slow.is_some_and(|slow| slow.newest.contains(topic.id()));
        let is_behind = slow.is_some_and(|slow| !slow.is_empty());
        if let Some(Start::Seq(from)) = start
            && from < seq
            && !is_told
        {
            self.tell_gap(slot, topic, from, seq - 1, GapReason::Expired);
        }
        let message = self.as_wanted(list, &wanted, message);
        match is_behind {
            true => {
                self.note_past(slot, list);
                self.hold_back(slot, list, &message, topic.id(), false);
            }
            false => self.append_past(slot, list, &message),
        }
        true
    }

    fn catching_of(&mut self, key: u32) -> Option<&mut Catching> {
        self.specials.get_mut(key as usize)?.catching.as_deref_mut()
    }

    /// Whoever has not read what was sent before gets no more of the past.
    fn may_catch(&self, key: u32) -> bool {
        let Some(special) = self.specials.get(key as usize) else { return true };
        let Some(session) = self.sessions.get(special.slot as usize) else { return true };
        session.unread.bytes() == 0
            && session.unread.paged_bytes() < PAGE_BYTES as u32
            && session.slow.as_ref().is_none_or(|slow| slow.is_empty())
    }

    /// Sends one page.
    fn catch_page(&mut self, key: u32) -> Step {
        let Some(special) = self.specials.get_mut(key as usize) else { return Step::Done };
        let (list, is_ordered) = (special.list, !special.wanted.is_jumpy());
        let Some(catching) = &mut special.catching else { return Step::Done };
        let delivered = self.lists.peek(list).topic().map(|(_, seq)| seq);
        if let Some((topic, start)) = catching.pending.pop_front() {
            self.send_page(key, &topic, start, delivered);
            let is_empty = self.catching_of(key).is_none_or(|held| held.pending.is_empty());
            if delivered.is_some() && is_empty {
                self.end_catching(key);
                return Step::Done;
            }
            return Step::More;
        }
        if let Some(scan) = catching.scan {
            self.scan_page(key, list, scan);
            return Step::Wait;
        }
        let mailbox = self.shared.mailbox(self.worker);
        let until = *catching.until.get_or_insert_with(|| mailbox.pushed());
        if is_ordered && self.delivered() < until {
            return Step::Wait;
        }
        self.end_catching(key);
        Step::Done
    }

    /// All that was before is out.
    fn end_catching(&mut self, key: u32) {
        let special = &mut self.specials[key as usize];
        special.catching = None;
        let (slot, list, wanted) = (special.slot, special.list, special.wanted.clone());
        if let Stage::Served { cohort, place, .. } = special.stage {
            let had = &mut self.cohorts[cohort as usize].members[place as usize].had;
            if let Some(had) = had {
                had.until_ms = self.now_ms + u64::from(wanted.interval_ms) + HAD_MS;
            }
        } else {
            self.unseat(slot, list);
            self.seat(slot, list, &wanted);
        }
    }

    fn send_page(&mut self, key: u32, topic: &Arc<Topic>, start: Start, delivered: Option<u64>) {
        let special = &self.specials[key as usize];
        let (slot, list, wanted) = (special.slot, special.list, special.wanted.clone());
        let page = self.page(topic, start, delivered, &wanted);
        if let Some(catching) = self.catching_of(key) {
            catching.until = None;
        }
        if let Some((from, to)) = page.gap {
            self.tell_gap(slot, topic, from, to, GapReason::Expired);
        }
        for message in &page.messages {
            let message = self.as_wanted(list, &wanted, message);
            if !self.has_had(key, &message) {
                self.append_past(slot, list, &message);
                if let Some(session) = self.session(slot) {
                    session.unread.add_page(message.held_bytes() as u32);
                }
            }
        }
        if let (Some(oldest), Some(newest)) = (page.messages.first(), page.newest) {
            let from = if wanted.key.is_some() { oldest.seq() } else { 0 };
            self.note_had(key, topic, from, newest);
        }
        let Some(catching) = self.catching_of(key) else { return };
        match (page.next, page.newest) {
            (Some(start), _) => catching.pending.push_front((topic.clone(), start)),
            (None, Some(newest)) => {
                catching.floors.insert(topic.id(), Floor::Sent(newest));
            }
            (None, None) => {
                catching.floors.remove(&topic.id());
            }
        }
    }

    /// Whether a member of a cohort got this message, or a newer one, from its cohort meanwhile.
    fn has_had(&self, key: u32, message: &Message) -> bool {
        let Stage::Served { cohort, place, .. } = self.specials[key as usize].stage else {
            return false;
        };
        let member = &self.cohorts[cohort as usize].members[place as usize];
        member.had.as_ref().is_some_and(|had| had.has(message))
    }

    fn note_had(&mut self, key: u32, topic: &Topic, from: u64, to: u64) {
        let Stage::Served { cohort, place, .. } = self.specials[key as usize].stage else { return };
        let member = &mut self.cohorts[cohort as usize].members[place as usize];
        if let Some(had) = &mut member.had {
            had.note(topic.id(), from, to);
        }
    }

    /// The next topics that match.
    fn scan_page(&mut self, key: u32, list: u32, scan: Scan) {
        let Watched::Filter(held) = &self.lists.list(list).watched else { return };
        let filter: Box<str> = held.filter.clone();
        let Ok(filter) = Filter::new(&filter) else { return };
        let mut found = Vec::new();
        let wanted = |topic: &Topic| filter.matches(topic.name());
        let next = self.shared.directory.scan(scan.next, SCAN_PLACES, wanted, &mut found);
        let is_ordered = !self.specials[key as usize].wanted.is_jumpy();
        let Some(catching) = self.catching_of(key) else { return };
        catching.scan = next.map(|next| Scan { next, ..scan });
        for topic in found {
            if catching.floors.contains_key(&topic.id()) {
                continue;
            }
            // Whoever wants everything gets what is published from now on after the last value.
            let start = match scan.start {
                Start::Last(_) if is_ordered => last_of(&topic, None),
                start => Some(start),
            };
            if let Some(start) = start {
                catching.floors.insert(topic.id(), Floor::Pending);
                catching.pending.push_back((topic, start));
            }
        }
    }

    /// Puts the topics of the positions among those to be caught up with. Returns since when
    /// topics that are not among them have messages the client can't know; None if something
    /// after a position is lost.
    fn after_all(
        &self,
        positions: &[(broker_proto::topic::Topic<'_>, Position)],
        is_latest: bool,
        catching: &mut Catching,
    ) -> Option<u64> {
        let mut known_ms = None;
        let mut is_whole = true;
        for (name, position) in positions {
            let Some(topic) = self.shared.directory.find(*name) else {
                is_whole = false;
                continue;
            };
            let (start, is_there) = self.after(&topic, *position, None, is_latest);
            is_whole &= is_there;
            known_ms = known_ms.max(time_of(&topic, *position));
            catching.floors.insert(topic.id(), Floor::Pending);
            catching.pending.push_back((topic, start));
        }
        known_ms.filter(|_| is_whole)
    }

    /// A message of the past as a subscription wants it.
    fn as_wanted(
        &mut self,
        list: u32,
        wanted: &Arc<Wanted>,
        message: &Arc<Message>,
    ) -> Arc<Message> {
        if wanted.is_plain() {
            return message.clone();
        }
        let special = self.lists.list(list).special_mut();
        let cohort =
            special.cohorts.iter().find(|&&key| self.cohorts[key as usize].wanted() == wanted);
        match cohort {
            Some(&key) => self.cohorts[key as usize].snapshot(message, self.now_ms),
            None => super::cohort::Cohort::new(wanted.clone(), list).snapshot(message, self.now_ms),
        }
    }
}
