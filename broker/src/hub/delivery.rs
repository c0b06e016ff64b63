//! Delivery: from a message in the mailbox to the pending lists of its subscribers. The plain
//! subscribers' loop is where the broker spends its time: nothing is looked up or allocated there.

use std::cmp::Reverse;
use std::sync::Arc;

use super::Hub;
use super::accounts::Counts;
use super::cohort::{Counts as CohortCounts, Emission, Reading};
use super::lists::Watched;
use super::message::Message;
use super::session::{Seat, Session};
use super::special::Stage;

/// Stands for a list that a message is not for.
const NO_LIST: u32 = u32::MAX;

/// Topics that are remembered for the paused subscriptions of a filter; what is published on
/// further ones is counted as skipped, but its newest message does not follow a resume.
const TOUCHED_MAX: usize = 131_072;

/// Messages of cohorts that fall due are sent in one turn up to this many, those with many
/// members counting for more.
const DUE_MAX: usize = 16_384;

impl Hub {
    /// Appends a message to the pending frames of its subscribers; returns how many they are.
    /// `number` is its place among the worker's mail.
    pub(super) fn deliver(&mut self, message: &Arc<Message>, number: u64) -> usize {
        let mut keys = std::mem::take(&mut self.keys);
        self.lists.keys_of(message.topic(), &mut keys);
        if message.seq() == 1 && !message.topic().is_numbered_elsewhere() {
            self.announce(message.topic(), &keys, number);
        }
        let frame = self.outbox.add_shared(message.clone());
        let is_one = keys.len() == 1;
        let (mut count, mut filtered, mut has_special) = (0, 0, false);
        let Self { lists, sessions, outbox, held, .. } = self;
        for key in &mut keys {
            let list = lists.list(*key);
            let is_for_list = match &mut list.watched {
                // A message from before the first subscription here is for wildcard filters only.
                Watched::Topic { seq, .. } => {
                    let is_next = message.seq() > *seq;
                    debug_assert!(message.seq() <= *seq + 1, "a worker sees all, in order");
                    *seq = message.seq().max(*seq);
                    is_next
                }
                Watched::Filter(held) => number > held.from,
            };
            if !is_for_list {
                *key = NO_LIST;
                continue;
            }
            list.matched += 1;
            has_special |= list.special.is_some();
            for subscriber in list.subscribers.iter() {
                let Some(session) = sessions.get_mut(subscriber.slot as usize) else { continue };
                if !is_one && outbox.ends_with(session.pending, frame) {
                    session.ledger.add(*key, Counts::FILTERED);
                    filtered += 1;
                    continue;
                }
                if let Some(slow) = &mut session.slow {
                    if is_one || std::mem::replace(&mut slow.stamp, number) != number {
                        held.push((subscriber.slot, *key));
                    } else {
                        session.ledger.add(*key, Counts::FILTERED);
                        filtered += 1;
                    }
                    continue;
                }
                session.pending = outbox.append(subscriber.slot, session.pending, frame);
                session.sent += 1;
                count += 1;
            }
        }
        self.count_filtered(filtered);
        self.deliver_held(message);
        if has_special {
            keys.retain(|key| *key != NO_LIST);
            count += self.deliver_special(message, &keys);
        }
        self.keys = keys;
        self.counters().mail.add(1);
        self.count_deliveries(count);
        count
    }

    /// Sends what cohorts have due by now.
    pub(super) fn deliver_due(&mut self) {
        let mut keys = std::mem::take(&mut self.keys);
        let mut left = DUE_MAX;
        while left > 0 && self.timers.peek().is_some_and(|Reverse((at, _))| *at <= self.now_ms) {
            let Some(Reverse((at_ms, cohort))) = self.timers.pop() else { break };
            match self.cohorts.get_mut(cohort as usize) {
                Some(served) if served.armed_ms == Some(at_ms) => served.armed_ms = None,
                _ => continue, // it was armed anew, or is gone
            }
            let mut count = 0;
            while left > 0
                && let Some(served) = self.cohorts.get_mut(cohort as usize)
                && let Some(emission) = served.take_due(self.now_ms)
            {
                left = left.saturating_sub(1 + served.members.len() / 8);
                self.lists.keys_of(emission.message.topic(), &mut keys);
                count += self.emit(cohort, &emission, &keys);
            }
            self.count_deliveries(count);
            self.arm(cohort);
        }
        self.keys = keys;
    }

    /// Notes when a cohort has something due next.
    fn arm(&mut self, cohort: u32) {
        let Some(served) = self.cohorts.get_mut(cohort as usize) else { return };
        if let Some(at_ms) = served.next_due_ms()
            && served.armed_ms.is_none_or(|armed_ms| at_ms < armed_ms)
        {
            served.armed_ms = Some(at_ms);
            self.timers.push(Reverse((at_ms, cohort)));
        }
    }

    fn count_filtered(&self, count: u64) {
        if count > 0 {
            self.counters().accounts.filtered.add(count);
        }
    }

    /// A cohort that had `before` has taken a message: what it passed over counts for each member.
    pub(super) fn count_passed(&self, cohort: u32, before: CohortCounts) {
        let served = &self.cohorts[cohort as usize];
        let (now, members) = (served.counts(), served.members.len() as u64);
        if now.conflated > before.conflated {
            let conflated = (now.conflated - before.conflated) * members;
            self.counters().accounts.conflated.add(conflated);
        }
        self.count_filtered((now.filtered - before.filtered) * members);
    }

    fn count_deliveries(&self, count: usize) {
        self.counters().deliveries.add(count as u64);
        self.counters().messages_out.add(count as u64);
    }

    fn deliver_special(&mut self, message: &Arc<Message>, keys: &[u32]) -> usize {
        let mut reading = Reading::default();
        let mut count = 0;
        for &key in keys {
            let mut at = 0;
            while let Some(cohort) = self.special_of(key, |held| held.cohorts.get(at).copied()) {
                at += 1;
                let served = &mut self.cohorts[cohort as usize];
                let (was_due_ms, before) = (served.next_due_ms(), served.counts());
                let emission = served.handle_message(message, &mut reading, self.now_ms);
                let is_due_ms = served.next_due_ms();
                self.count_passed(cohort, before);
                match emission {
                    Some(emission) => count += self.emit(cohort, &emission, keys),
                    None if is_due_ms == was_due_ms => {}
                    None => self.arm(cohort),
                }
            }
            self.touch(key, message);
            let mut at = 0;
            while let Some(special) = self.special_of(key, |held| held.catching.get(at).copied()) {
                at += 1;
                count += usize::from(self.catch_live(special, message, keys));
            }
        }
        count
    }

    /// Paused subscriptions skip a message; under a filter this topic will have something new for
    /// them.
    fn touch(&mut self, list: u32, message: &Message) {
        let list = self.lists.list(list);
        let matched = list.matched;
        let paused = list.special.as_ref().map_or(0, |held| held.paused);
        if let (Watched::Filter(_), Some(held)) = (&list.watched, &mut list.special)
            && held.paused > 0
            && (held.touched.len() < TOUCHED_MAX
                || held.touched.contains_key(&message.topic().id()))
        {
            held.touched.insert(message.topic().id(), (message.topic().clone(), matched));
        }
        if paused > 0 {
            self.counters().accounts.skipped.add(paused.into());
        }
    }

    fn special_of<T>(
        &mut self,
        list: u32,
        find: impl FnOnce(&super::lists::Specials) -> Option<T>,
    ) -> Option<T> {
        find(self.lists.list(list).special.as_deref()?)
    }

    /// Sends a message to all members of a cohort. `keys` are the lists that match its topic.
    fn emit(&mut self, cohort: u32, emission: &Emission, keys: &[u32]) -> usize {
        let message = &emission.message;
        let frame = self.outbox.add_shared(message.clone());
        let Self { cohorts, sessions, outbox, held, now_ms, .. } = self;
        // Places count in each cohort anew.
        let mark = emission.mark | if emission.is_of_key { u64::from(cohort) << 32 } else { 0 };
        let cohort = &mut cohorts[cohort as usize];
        let by_request = cohort.wanted().is_jumpy();
        let (list, is_latest) = (cohort.list, cohort.wanted().latest);
        let is_keyed = cohort.wanted().key.is_some();
        let (mut count, mut filtered) = (0, 0);
        for member in &mut cohort.members {
            let Some(session) = sessions.get_mut(member.slot as usize) else { continue };
            if let Some(had) = &mut member.had {
                if had.has(message) || had.was_before(message) {
                    session.ledger.add_had(list, 1);
                    continue;
                }
                if had.until_ms > 0 && *now_ms > had.until_ms {
                    member.had = None;
                } else if !is_keyed {
                    had.note(message.topic().id(), 0, message.seq());
                }
            }
            if keys.len() > 1 && owner(session, keys, &self.specials) != Some(list) {
                session.ledger.add(list, Counts::FILTERED);
                filtered += 1;
            } else if session.slow.is_some() || (is_latest && session.unread.messages() > 0) {
                held.push((member.slot, list));
            } else {
                session.pending = outbox.append(member.slot, session.pending, frame);
                session.sent += 1;
                count += 1;
            }
        }
        self.count_filtered(filtered);
        let mut held = std::mem::take(&mut self.held);
        for (slot, list) in held.drain(..) {
            self.hold_back(slot, list, &emission.message, mark, by_request);
        }
        self.held = held;
        count
    }

    /// Those who are slow: each gets it later, or a newer one instead.
    fn deliver_held(&mut self, message: &Arc<Message>) {
        if self.held.is_empty() {
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        for (slot, list) in held.drain(..) {
            self.hold_back(slot, list, message, message.topic().id(), false);
        }
        self.held = held;
    }

    /// The list by which a session gets the messages of a topic that `keys` match.
    pub(super) fn owner_of(&self, slot: u32, keys: &[u32]) -> Option<u32> {
        let session = self.sessions.get(slot as usize)?;
        owner(session, keys, &self.specials)
    }
}

/// Of the subscriptions that match, a plain one delivers a message, or else the first that is not
/// paused: what several subscriptions match comes once.
fn owner(
    session: &Session,
    keys: &[u32],
    specials: &slab::Slab<super::special::Special>,
) -> Option<u32> {
    let mut first = None;
    for subscription in session.subscriptions.iter().filter(|held| keys.contains(&held.list)) {
        match subscription.seat() {
            Seat::Plain(_) => return Some(subscription.list),
            Seat::Special(key) => {
                let is_paused = matches!(specials[key as usize].stage, Stage::Paused { .. });
                if !is_paused && first.is_none() {
                    first = Some(subscription.list);
                }
            }
        }
    }
    first
}
