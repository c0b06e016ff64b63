//! Catching up: what a subscription gets of the time before it, in pages between the live traffic,
//! until it stands where the live messages are; then it takes its seat. Nothing is missed and
//! nothing comes twice in between, whatever is published meanwhile.
//!
//! On a topic the live messages wait until the past is out up to where this worker has delivered.
//! Under a filter each topic is caught up with by itself: what its lock shows is sent, and of the
//! live messages those that lie behind that.

use std::collections::VecDeque;
use std::sync::Arc;

use broker_proto::command::{GapReason, Position, Since, SubscribeOptions};
use broker_proto::topic::Filter;

use super::Hub;
use super::history::{History, Kept};
use super::lists::Watched;
use super::message::Message;
use super::special::{Catching, Floor, Scan, Stage, Start};
use super::topic::Topic;
use super::wanted::Wanted;

/// Messages of one page.
const PAGE_MESSAGES: usize = 64;
/// Bytes of one page.
const PAGE_BYTES: usize = 64 * 1024;
/// Places of the directory that are looked at for one page.
const SCAN_PLACES: usize = 2_048;
/// Pages of all subscriptions in one turn.
const PAGES_MAX: usize = 64;

/// What is to be sent of a topic now.
struct Page {
    /// What can't be sent any more: from, to.
    gap: Option<(u64, u64)>,
    messages: Vec<Arc<Message>>,
    /// Where to go on; None: up to `newest` all is sent.
    next: Option<Start>,
    /// The seq of the topic's newest message, if this page has to do with it.
    newest: Option<u64>,
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
        let is_latest = !wanted.is_plain();
        let mut recovered = options.since.as_ref().map(|_| true);
        let topic = self.lists.peek(list).topic();
        match (topic, &options.since) {
            (Some((topic, seq)), Some(Since::At(position))) => {
                let (start, is_whole) = self.after(topic, *position, Some(seq), is_latest);
                recovered = Some(is_whole);
                catching.pending.push_back((topic.clone(), start));
            }
            (Some((topic, _)), _) if options.last => {
                catching.pending.push_back((topic.clone(), Start::Last(0)));
            }
            (None, Some(Since::Topics(positions))) => {
                let from_ms = self.after_all(positions, is_latest, &mut catching);
                recovered = Some(from_ms.is_some());
                let start = |ms| if is_latest { Start::Last(ms) } else { Start::Time(ms) };
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

    /// After a pause: the newest of what was skipped.
    pub(super) fn start_of_resume(
        &mut self,
        list: u32,
        skipped: u64,
        paused_ms: u64,
    ) -> Box<Catching> {
        let mut catching = Catching::default();
        match &self.lists.list(list).watched {
            Watched::Topic { topic, seq } => {
                let start = Start::LastFrom(*seq - skipped + 1);
                catching.pending.push_back((topic.clone(), start));
            }
            Watched::Filter { .. } => {
                catching.scan = Some(Scan { next: 0, start: Start::Last(paused_ms) });
            }
        }
        Box::new(catching)
    }

    /// Whether a subscription could be caught up with now.
    pub(super) fn has_catching(&self) -> bool {
        self.catching.iter().any(|&key| self.may_catch(key))
    }

    /// Sends a page to each of those who are catching up, as far as one turn goes.
    pub(super) fn catch_up(&mut self) {
        for _ in 0..self.catching.len().min(PAGES_MAX) {
            let Some(key) = self.catching.pop_front() else { return };
            if !matches!(self.stage_of(key), Some(Stage::Catching(_))) {
                continue;
            }
            if !self.may_catch(key) || !self.catch_page(key) {
                self.catching.push_back(key);
            }
        }
    }

    /// Sends a page to the first of those who are catching up.
    pub(super) fn catch_up_one(&mut self) {
        if let Some(key) = self.catching.pop_front()
            && (!self.may_catch(key) || !self.catch_page(key))
        {
            self.catching.push_back(key);
        }
    }

    /// A live message for a subscription that is catching up: whether it is sent now.
    pub(super) fn catch_live(&mut self, key: u32, message: &Arc<Message>, keys: &[u32]) -> bool {
        let special = &mut self.specials[key as usize];
        let (slot, list) = (special.slot, special.list);
        let is_plain = special.wanted.is_plain();
        let Stage::Catching(catching) = &mut special.stage else { return false };
        if matches!(self.lists.list(list).watched, Watched::Topic { .. }) {
            return false; // it is found in the topic's history
        }
        let topic = message.topic();
        let rule = topic.rule();
        let is_kept = if is_plain { rule.history_messages > 0 } else { rule.keeps() };
        let floor = catching.floors.get(&topic.id()).copied();
        let again = match (floor, catching.scan) {
            (Some(Floor::Pending), _) => return false,
            (Some(Floor::Sent(seq)), _) if message.seq() <= seq => return false,
            (Some(Floor::Sent(seq)), _) if !is_plain && is_kept => Some(Start::LastFrom(seq + 1)),
            (None, Some(Scan { start, .. })) if is_kept => match start {
                Start::Last(_) if is_plain => None,
                Start::Last(_) => Some(Start::LastFrom(message.seq())),
                other => Some(other),
            },
            _ => None,
        };
        if let Some(start) = again {
            catching.floors.insert(topic.id(), Floor::Pending);
            catching.pending.push_back((topic.clone(), start));
            return false;
        }
        catching.floors.insert(topic.id(), Floor::Sent(message.seq()));
        if keys.len() > 1 && self.owner_of(slot, keys) != Some(list) {
            return false;
        }
        self.append_past(slot, message);
        true
    }

    fn stage_of(&self, key: u32) -> Option<&Stage> {
        self.specials.get(key as usize).map(|special| &special.stage)
    }

    /// Whoever has not read what was sent before gets no more of the past.
    fn may_catch(&self, key: u32) -> bool {
        let Some(special) = self.specials.get(key as usize) else { return true };
        let Some(Some(session)) = self.sessions.get(special.slot as usize) else { return true };
        session.waiting == 0 && session.slow.as_ref().is_none_or(|slow| slow.is_empty())
    }

    /// Sends one page; whether the subscription has taken its seat.
    fn catch_page(&mut self, key: u32) -> bool {
        let special = &mut self.specials[key as usize];
        let (list, slot) = (special.list, special.slot);
        let Stage::Catching(catching) = &mut special.stage else { return true };
        if let Some((topic, start)) = catching.pending.pop_front() {
            let delivered = match &self.lists.list(list).watched {
                Watched::Topic { seq, .. } => Some(*seq),
                Watched::Filter { .. } => None,
            };
            self.send_page(key, &topic, start, delivered);
            let is_done = matches!(self.stage_of(key),
                Some(Stage::Catching(catching)) if catching.pending.is_empty());
            return delivered.is_some() && is_done && self.take_seat(key);
        }
        if let Some(scan) = catching.scan {
            self.scan_page(key, list, scan);
            return false;
        }
        let mailbox = self.shared.mailbox(self.worker);
        let until = *catching.until.get_or_insert_with(|| mailbox.pushed());
        debug_assert!(self.sessions[slot as usize].is_some());
        self.handled >= until && self.take_seat(key)
    }

    fn take_seat(&mut self, key: u32) -> bool {
        let special = &self.specials[key as usize];
        let (slot, list, wanted) = (special.slot, special.list, special.wanted.clone());
        self.unseat(slot, list);
        self.seat(slot, list, &wanted);
        true
    }

    fn send_page(&mut self, key: u32, topic: &Arc<Topic>, start: Start, delivered: Option<u64>) {
        let special = &self.specials[key as usize];
        let (slot, list, wanted) = (special.slot, special.list, special.wanted.clone());
        let page = self.page(topic, start, delivered, &wanted);
        if let Some((from, to)) = page.gap {
            self.tell_gap(slot, topic, from, to, GapReason::Expired);
        }
        for message in &page.messages {
            let message = self.as_wanted(list, &wanted, message);
            self.append_past(slot, &message);
        }
        let Stage::Catching(catching) = &mut self.specials[key as usize].stage else { return };
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

    /// The next topics that match.
    fn scan_page(&mut self, key: u32, list: u32, scan: Scan) {
        let Watched::Filter { filter, .. } = &self.lists.list(list).watched else { return };
        let filter: Box<str> = filter.clone();
        let Ok(filter) = Filter::new(&filter) else { return };
        let mut found = Vec::new();
        let wanted = |topic: &Topic| filter.matches(topic.name());
        let next = self.shared.directory.scan(scan.next, SCAN_PLACES, wanted, &mut found);
        let Stage::Catching(catching) = &mut self.specials[key as usize].stage else { return };
        catching.scan = next.map(|next| Scan { next, ..scan });
        for topic in found {
            if !catching.floors.contains_key(&topic.id()) {
                catching.floors.insert(topic.id(), Floor::Pending);
                catching.pending.push_back((topic, scan.start));
            }
        }
    }

    /// What to send of a topic. On a topic's own subscription up to what is `delivered` here.
    fn page(&self, topic: &Topic, start: Start, delivered: Option<u64>, wanted: &Wanted) -> Page {
        let state = topic.look();
        let (rule, now_ms) = (topic.rule(), self.now_ms);
        let last = delivered.unwrap_or(state.seq);
        let is_due = |kept: &&Kept| kept.message.seq() <= last;
        let history = state.history.as_deref();
        let from = match start {
            Start::Last(from_ms) => {
                let kept = history.into_iter().flat_map(History::all);
                return newest(kept.filter(is_due).filter(|kept| kept.at_ms >= from_ms), wanted);
            }
            Start::LastFrom(seq) => {
                let kept = history.into_iter().flat_map(History::all);
                let kept = kept.filter(is_due).filter(|kept| kept.message.seq() >= seq);
                return newest(kept, wanted);
            }
            Start::Seq(seq) => seq,
            Start::Time(from_ms) => {
                let mut past = history.into_iter().flat_map(|h| h.past(now_ms, rule));
                match past.find(|kept| kept.at_ms >= from_ms) {
                    Some(first) => first.message.seq(),
                    None => return Page::nothing(),
                }
            }
        };
        let past = history.into_iter().flat_map(|history| history.past(now_ms, rule));
        let mut past = past.filter(is_due).filter(|kept| kept.message.seq() >= from).peekable();
        let first = past.peek().map_or(last + 1, |kept| kept.message.seq());
        let gap = (from < first).then(|| (from, first - 1));
        let (mut messages, mut bytes) = (Vec::new(), 0);
        for kept in past {
            if messages.len() >= PAGE_MESSAGES || bytes >= PAGE_BYTES {
                let next = Some(Start::Seq(kept.message.seq()));
                return Page { gap, messages, next, newest: None };
            }
            bytes += kept.message.held_bytes();
            messages.push(kept.message.clone());
        }
        Page { gap, messages, next: None, newest: Some(last) }
    }

    /// Where a topic is to be gone on with after a position, and whether all of that is there.
    fn after(
        &self,
        topic: &Topic,
        position: Position,
        delivered: Option<u64>,
        is_latest: bool,
    ) -> (Start, bool) {
        let state = topic.look();
        let last = delivered.unwrap_or(state.seq);
        let history = state.history.as_deref();
        let mut past = history.into_iter().flat_map(|h| h.past(self.now_ms, topic.rule()));
        let oldest = past.next().map_or(state.seq + 1, |kept| kept.message.seq());
        if position.epoch != topic.epoch() || position.seq > last {
            // The client knows another numbering: what is here is all new to it.
            let start = if is_latest { Start::Last(0) } else { Start::Seq(oldest) };
            return (start, false);
        }
        let next = position.seq + 1;
        let start = if is_latest { Start::LastFrom(next) } else { Start::Seq(next) };
        (start, next >= oldest || next > last)
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
            Some(&key) => self.cohorts[key as usize].snapshot(message),
            None => super::cohort::Cohort::new(wanted.clone(), list).snapshot(message),
        }
    }
}

impl Page {
    fn nothing() -> Self {
        Self { gap: None, messages: Vec::new(), next: None, newest: None }
    }
}

/// The newest message, or of each key the newest, oldest first.
fn newest<'k>(kept: impl DoubleEndedIterator<Item = &'k Kept>, wanted: &Wanted) -> Page {
    let mut messages = VecDeque::new();
    let mut seen = std::collections::HashSet::new();
    let cohort = super::cohort::Cohort::new(Arc::new(wanted.clone()), 0);
    for kept in kept.rev() {
        if wanted.key.is_none() || seen.insert(cohort.key_of(&kept.message)) {
            messages.push_front(kept.message.clone());
        }
        if wanted.key.is_none() {
            break;
        }
    }
    let newest = messages.back().map(|message| message.seq());
    Page { gap: None, messages: messages.into(), next: None, newest }
}

/// When the message at a position was published, if it is kept.
fn time_of(topic: &Topic, position: Position) -> Option<u64> {
    let state = topic.look();
    let mut kept = state.history.as_deref()?.all();
    kept.find(|kept| kept.message.seq() == position.seq).map(|kept| kept.at_ms)
}
