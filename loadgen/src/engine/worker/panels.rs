//! Groups that are closed and opened again while messages flow: says so to the server, and notes
//! it. Part of the worker, which calls it in every turn.

use broker_proto::ws::encode_masked_frame;

use super::{Phase, Worker};
use crate::engine::client::{group_wish, mask_key};
use crate::engine::layout::Flips;
use crate::sys;

/// Added to the id of a subscribe, it makes that of the unsubscribe.
pub(in crate::engine) const UNSUBSCRIBE: u64 = 1 << 32;

/// A group that is closed: when it is to be opened again, whose it is and which.
pub(super) struct Shut {
    at_ns: u64,
    index: usize,
    group: u32,
}

impl Worker {
    /// Closes the groups whose turn it is, and opens those that were closed for long enough; once
    /// nothing is published any more, all of them.
    pub(super) fn flip(&mut self) {
        let Some(flips) = self.plan.layout.as_ref().and_then(|layout| layout.flips) else { return };
        let now_ns = sys::now_ns();
        if self.phase == Phase::Publish {
            self.close_due(flips, now_ns);
        }
        let until_ns = if self.phase == Phase::Drain { u64::MAX } else { now_ns };
        for _ in 0..self.shut.len() {
            let Some(shut) = self.shut.pop_front() else { return };
            let is_closed = self.ledger.groups.is_closed(self.first_account(&shut));
            match is_closed && shut.at_ns <= until_ns {
                true => self.open_group(&shut, now_ns),
                false => self.shut.push_back(shut),
            }
        }
    }

    fn close_due(&mut self, flips: Flips, now_ns: u64) {
        let after_ns = now_ns.saturating_sub(self.measured_from_ns);
        while let Some((subscriber, round)) = flips.next_due(&mut self.turn, after_ns) {
            let Some(index) = self.plan.part.place_of(subscriber, self.index) else { continue };
            let Some(layout) = &self.plan.layout else { return };
            let groups = layout.groups_of(subscriber);
            let group = groups.start + (round % groups.len().max(1) as u64) as u32;
            let shut = Shut { at_ns: now_ns + flips.away_ns, index, group };
            let is_open = self.ledger.groups.is_open(self.first_account(&shut));
            if is_open && self.clients[index].is_ready() {
                self.close_group(&shut, now_ns);
                self.shut.push_back(shut);
            }
        }
    }

    fn close_group(&mut self, shut: &Shut, now_ns: u64) {
        let first = self.first_account(shut);
        let client = self.clients[shut.index].first_account();
        let plan = &self.plan;
        let Some(layout) = &plan.layout else { return };
        let group = layout.group(shut.group);
        let (mut frames, mut answers) = (Vec::new(), 0);
        for (place, filter) in group.filters(&plan.topics) {
            let id = UNSUBSCRIBE + u64::from(place) + 1;
            if let Some((opcode, command)) = plan.target.unsubscribe(id, filter) {
                encode_masked_frame(&mut frames, opcode, &command, mask_key());
                answers += 1;
            }
        }
        self.ledger.groups.handle_closing(first, answers);
        if layout.presence {
            for &topic in &group.topics {
                self.ledger.groups.handle_move(client, topic, false, now_ns);
            }
        }
        // A broken connection is reported by its next read.
        let _ = self.clients[shut.index].send(&frames);
    }

    fn open_group(&mut self, shut: &Shut, now_ns: u64) {
        let first = self.first_account(shut);
        let client = self.clients[shut.index].first_account();
        let plan = &self.plan;
        let Some(layout) = &plan.layout else { return };
        let group = layout.group(shut.group);
        let (mut frames, mut answers) = (Vec::new(), 0);
        for (place, filter) in group.filters(&plan.topics) {
            let wish = group_wish(layout, group, place, filter);
            if let Some((opcode, command)) = plan.target.subscribe(&wish) {
                encode_masked_frame(&mut frames, opcode, &command, mask_key());
                answers += 1;
            }
        }
        let accounts = first..first + group.topics.len() as u32;
        self.ledger.groups.handle_opening(accounts, answers, layout.last, now_ns);
        if layout.presence {
            for &topic in &group.topics {
                self.ledger.groups.handle_move(client, topic, true, now_ns);
            }
        }
        let _ = self.clients[shut.index].send(&frames);
    }

    fn first_account(&self, shut: &Shut) -> u32 {
        let place = self.plan.layout.as_ref().map_or(0, |layout| layout.accounts(shut.group).start);
        self.clients[shut.index].first_account() + place
    }
}
