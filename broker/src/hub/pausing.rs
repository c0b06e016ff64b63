//! Pause and resume: in between nothing is delivered and nothing is kept but how many messages
//! came, and under a filter which topics they were of; afterwards the newest of each follows.

use std::sync::Arc;

use broker_proto::command::CommandError;
use broker_proto::topic::Filter;

use super::Hub;
use super::past::last_of;
use super::session::Seat;
use super::special::{Catching, Floor, Left, Scan, Stage, Start};
use super::subscribing::not_subscribed;
use super::topic::Topic;

/// What came of a resume.
pub(super) struct Resumed {
    /// How many messages were passed over.
    pub(super) skipped: u64,
    /// The subscription's list.
    pub(super) list: u32,
    /// The subscription that is to get the newest of them, once the answer is out.
    pub(super) catching: Option<u32>,
}

impl Hub {
    /// Delivers nothing more of a subscription until it is resumed.
    pub(super) fn pause(&mut self, slot: u32, filter: Filter<'_>) -> Result<(), CommandError> {
        let list = self.find_subscription(slot, filter).ok_or_else(|| not_subscribed(filter))?;
        // What was published before the pause is delivered or conflated before it.
        self.deliver_waiting();
        if self.is_paused(slot, list) {
            return Ok(());
        }
        let wanted = self.wanted_of(slot, list);
        let left = self.left_to_catch_up(slot, list);
        self.unseat(slot, list);
        let matched = self.lists.list(list).matched;
        self.seat_special(slot, list, &wanted, Stage::Paused { matched, left });
        Ok(())
    }

    /// Ends a pause: says how much was skipped, and what is to be caught up with.
    pub(super) fn resume(
        &mut self,
        slot: u32,
        filter: Filter<'_>,
    ) -> Result<Resumed, CommandError> {
        let list = self.find_subscription(slot, filter).ok_or_else(|| not_subscribed(filter))?;
        self.deliver_waiting();
        let matched_now = self.lists.list(list).matched;
        let stage = match self.seat_of(slot, list) {
            Some(Seat::Special(key)) => Some(&mut self.specials[key as usize].stage),
            _ => None,
        };
        let Some(Stage::Paused { matched, left }) = stage else {
            return Ok(Resumed { skipped: 0, list, catching: None });
        };
        let (matched, left) = (*matched, left.take());
        let left_skipped = left.as_ref().map_or(0, |left| left.skipped);
        let skipped = matched_now - matched + left_skipped;
        let wanted = self.wanted_of(slot, list);
        // Before the topics that were touched meanwhile are forgotten.
        let start = self.start_of_resume(list, matched, left.as_deref(), wanted.is_jumpy());
        self.unseat(slot, list);
        if let Some(session) = self.session(slot).filter(|_| left_skipped > 0) {
            session.ledger.add_skipped_past(list, left_skipped);
            self.counters().accounts.skipped.add(left_skipped);
        }
        let Some(start) = start else {
            self.seat(slot, list, &wanted);
            return Ok(Resumed { skipped, list, catching: None });
        };
        let catching = self.seat_and_catch(slot, list, &wanted, Some(start));
        Ok(Resumed { skipped, list, catching })
    }

    /// What a subscription that is paused was still to get of the time before it: that is skipped
    /// like what comes now.
    fn left_to_catch_up(&mut self, slot: u32, list: u32) -> Option<Box<Left>> {
        let Some(Seat::Special(key)) = self.seat_of(slot, list) else { return None };
        let catching = self.specials[key as usize].catching.as_deref()?;
        let delivered = self.lists.peek(list).topic().map(|(_, seq)| seq);
        let sent = catching.floors.iter().filter(|(_, floor)| matches!(floor, Floor::Sent(_)));
        let mut left = Left { scan: catching.scan, ..Left::default() };
        left.floors = sent.map(|(&topic, &floor)| (topic, floor)).collect();
        if let Stage::Served { cohort, place, .. } = self.specials[key as usize].stage {
            let member = &self.cohorts[cohort as usize].members[place as usize];
            let had = member.had.iter().flat_map(|had| had.topics());
            left.floors.extend(had.map(|(topic, to)| (topic, Floor::Sent(to))));
        }
        for (topic, start) in &catching.pending {
            let last = delivered.unwrap_or_else(|| topic.look().seq);
            if left.floors.get(&topic.id()) == Some(&Floor::Sent(last)) {
                continue; // the newest came live
            }
            left.skipped += match start {
                Start::Seq(seq) => (last + 1).saturating_sub(*seq),
                Start::Last(_) | Start::LastFrom(_) | Start::Time(_) => 1,
            };
            left.topics.push(topic.clone());
        }
        let is_left = left.skipped > 0 || left.scan.is_some();
        is_left.then(|| Box::new(left))
    }

    /// After a pause: the newest of what was skipped, if anything was. The list had `matched`
    /// messages before.
    fn start_of_resume(
        &mut self,
        list: u32,
        matched: u64,
        left: Option<&Left>,
        is_jumpy: bool,
    ) -> Option<Box<Catching>> {
        let mut catching = Catching::default();
        let list = self.lists.peek(list);
        let came = list.matched - matched;
        if came == 0 && left.is_none() {
            return None;
        }
        if let Some((topic, seq)) = list.topic() {
            let newest = last_of(topic, Some(seq)).filter(|_| !is_jumpy);
            // More may have come than the seqs say: some in an epoch that is over.
            let first = (seq + 1).saturating_sub(came);
            let whole = if left.is_some() { Start::Last(0) } else { Start::LastFrom(first) };
            catching.pending.push_back((topic.clone(), newest.unwrap_or(whole)));
            return Some(Box::new(catching));
        }
        let touched = list.special.iter().flat_map(|held| held.touched.values());
        let touched = touched.filter(|(_, at)| *at > matched).map(|(topic, _)| topic);
        catching.floors = left.map_or_else(Default::default, |left| left.floors.clone());
        for topic in touched.chain(left.iter().flat_map(|left| &left.topics)) {
            add_newest(&mut catching, topic, is_jumpy);
        }
        catching.scan = left.and_then(|left| left.scan);
        if let Some(Scan { start, .. }) = &mut catching.scan {
            *start = Start::Last(0);
        }
        Some(Box::new(catching))
    }

    fn is_paused(&self, slot: u32, list: u32) -> bool {
        let Some(Seat::Special(key)) = self.seat_of(slot, list) else { return false };
        matches!(self.specials[key as usize].stage, Stage::Paused { .. })
    }
}

/// A subscription is to get the newest message of a topic, once.
fn add_newest(catching: &mut Catching, topic: &Arc<Topic>, is_jumpy: bool) {
    let newest = if is_jumpy { Some(Start::Last(0)) } else { last_of(topic, None) };
    if let Some(start) = newest
        && catching.floors.insert(topic.id(), Floor::Pending) != Some(Floor::Pending)
    {
        catching.pending.push_back((topic.clone(), start));
    }
}
