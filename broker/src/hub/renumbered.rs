//! A topic's numbering begins anew, in an epoch that was made on another node: what this hub knows
//! of the seqs before, and holds of them, would be taken for that of the seqs to come. So it is given
//! up, announced and counted, before the first message of the new epoch is delivered.

use std::sync::Arc;

use broker_proto::command::{Epoch, GapReason};

use super::Hub;
use super::accounts::Counts;
use super::lists::Watched;
use super::session::Session;
use super::slow::Dropped;
use super::special::Stage;
use super::topic::Topic;
use crate::metrics::accounts::dropped;

impl Hub {
    /// Tells those who count a topic's seqs that they begin anew, and what will not come of those
    /// before.
    pub(super) fn deliver_renumbered(&mut self, topic: &Arc<Topic>, epoch: Epoch) {
        if topic.is_renumbered() {
            self.end_numbering(topic);
        }
        if let Some(key) = self.lists.key_of_topic(topic)
            && let Watched::Topic { seq, .. } = &mut self.lists.list(key).watched
        {
            *seq = 0;
        }
        self.tell_epoch(topic, epoch);
    }

    fn end_numbering(&mut self, topic: &Topic) {
        for slot in self.slow_sessions.clone() {
            self.drop_held_back(slot, topic);
        }
        let mut lists = Vec::new();
        self.lists.keys_of(topic, &mut lists);
        for &list in &lists {
            let held = self.lists.peek(list).special.as_deref();
            for cohort in held.map_or_else(Vec::new, |held| held.cohorts.clone()) {
                let before = self.cohorts[cohort as usize].counts();
                self.cohorts[cohort as usize].forget(topic.id());
                self.count_passed(cohort, before);
            }
        }
        let specials = self.specials.iter().filter(|(_, special)| lists.contains(&special.list));
        let specials: Vec<u32> = specials.map(|(key, _)| key as u32).collect();
        for key in specials {
            self.catch_up_anew(key, topic);
        }
    }

    /// What was put aside for a slow session comes no more.
    fn drop_held_back(&mut self, slot: u32, topic: &Topic) {
        let Some(Session { slow: Some(slow), ledger, .. }) = self.session(slot) else { return };
        let Dropped { lists, gap } = slow.drop_topic(topic.id());
        lists.iter().for_each(|list| ledger.add_put_aside(*list, Counts::dropped(1)));
        self.count_dropped(dropped::SLOW, lists.len() as u64);
        self.settle_held_back(slot);
        if let Some(missing) = gap {
            self.tell_missing(slot, topic, missing, GapReason::Overflow);
        }
    }

    /// A subscription that gets what was before goes on with what is before now.
    fn catch_up_anew(&mut self, key: u32, topic: &Topic) {
        let special = &mut self.specials[key as usize];
        let (slot, list) = (special.slot, special.list);
        if let Stage::Paused { left: Some(left), .. } = &mut special.stage {
            left.begin_anew(topic.id());
        }
        let missing = special.catching.as_mut().and_then(|held| held.begin_anew(topic.id()));
        let delivered = self.lists.peek(list).topic().map(|(_, seq)| seq);
        // Under a filter it is not known here where the numbering has ended.
        if let (Some(from), Some(to)) = (missing, delivered)
            && from <= to
        {
            self.tell_missing(slot, topic, (from, to), GapReason::Expired);
        }
    }
}
