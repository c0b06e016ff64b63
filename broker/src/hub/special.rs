//! Subscriptions that do not simply get everything: those that are paused, those that are getting
//! what was before, and those served in a cohort. Plain state; `subscribing` and
//! `catching` move it.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::cohort::Counts;
use super::topic::Topic;
use super::wanted::Wanted;

/// A subscription that is no plain subscriber of its list.
#[derive(Debug)]
pub struct Special {
    /// Its session's slot.
    pub slot: u32,
    /// Its place among the subscriptions of the session.
    pub place: u32,
    /// Its list.
    pub list: u32,
    /// What it wants.
    pub wanted: Arc<Wanted>,
    /// How it is served now.
    pub stage: Stage,
    /// What it is still to get of the time before it.
    pub catching: Option<Box<Catching>>,
}

/// How a special subscription is served.
#[derive(Debug)]
pub enum Stage {
    /// It wants everything, and gets what was before; live messages wait until that is done.
    Catching {
        /// How many messages of its list had come.
        matched: u64,
    },
    /// In a cohort.
    Served {
        /// The cohort.
        cohort: u32,
        /// Its place among the members.
        place: u32,
        /// The cohort's counts when it came; what waited then counts as matched after.
        since: Counts,
    },
    /// It gets nothing.
    Paused {
        /// How many messages of its list had come.
        matched: u64,
        /// What it did not get of the time before it.
        left: Option<Box<Left>>,
    },
}

/// What a subscription was still to get of the time before it when it was paused.
#[derive(Debug, Default)]
pub struct Left {
    /// Messages, as far as they are known: skipped as well.
    pub skipped: u64,
    /// The topics that they are of: the newest of each follows a resume.
    pub topics: Vec<Arc<Topic>>,
    /// Further topics are to be looked for.
    pub scan: Option<Scan>,
    /// Topics that were caught up with: not to be found again.
    pub floors: HashMap<u64, Floor, RandomState>,
}

/// How far a subscription has come with what was before.
#[derive(Debug, Default)]
pub struct Catching {
    /// Topics that it is to get something of.
    pub pending: VecDeque<(Arc<Topic>, Start)>,
    /// The topics that match have not all been found yet.
    pub scan: Option<Scan>,
    /// Of one who wants everything, under a filter: how far it is with each topic; what is live
    /// must lie behind.
    pub floors: HashMap<u64, Floor, RandomState>,
    /// When so much of the worker's mail is handled, nothing that comes lies before the floors.
    pub until: Option<u64>,
}

impl Catching {
    /// A topic's numbering begins anew: all of that is still to come, the rest of the one before is
    /// not. Returns from which seq on something of that was to come.
    pub fn begin_anew(&mut self, topic: u64) -> Option<u64> {
        forget_floor(&mut self.floors, topic);
        let mut missing = None;
        for (_, start) in self.pending.iter_mut().filter(|(held, _)| held.id() == topic) {
            *start = match *start {
                Start::Seq(from) => {
                    missing = Some(from);
                    Start::Seq(1)
                }
                Start::LastFrom(_) => Start::Last(0),
                start @ (Start::Last(_) | Start::Time(_)) => start,
            };
        }
        missing
    }
}

impl Left {
    /// The same for one that is paused.
    pub fn begin_anew(&mut self, topic: u64) {
        forget_floor(&mut self.floors, topic);
    }
}

/// Whatever was sent of a topic, what comes live from here on was not.
fn forget_floor(floors: &mut HashMap<u64, Floor, RandomState>, topic: u64) {
    if let Some(Floor::Sent(seq)) = floors.get_mut(&topic) {
        *seq = 0;
    }
}

/// Where to go on with looking for topics.
#[derive(Clone, Copy, Debug)]
pub struct Scan {
    /// The place in the directory's order.
    pub next: usize,
    /// What it is to get of those that are found.
    pub start: Start,
}

/// What a subscription is to get of a topic's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The last value, if it was published at this time or later, in ms of the broker's clock.
    Last(u64),
    /// The last value, if its seq is this or a later one.
    LastFrom(u64),
    /// Everything from this seq on.
    Seq(u64),
    /// Everything that was published at this time or later.
    Time(u64),
}

/// How far a subscription is with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// The topic is pending: what is live will be found among what was before.
    Pending,
    /// Everything up to this seq is sent.
    Sent(u64),
}
