//! What a client asks for when its session is opened, where that is more than every message from
//! now on; and what it does if that is refused. Builds commands, sends none. Called by the client.

use broker_proto::command::Since;

use super::{Duty, frame_of};
use crate::engine::{Group, Layout, Ledger, Plan};
use crate::target::Wish;

/// How the refusal of an option begins that a server does not have, or not now.
const UNAVAILABLE: &str = "unavailable";

/// The subscribe for a filter of a group, whose first topic has this place with its subscriber.
pub(in crate::engine) fn group_wish<'a>(
    layout: &Layout,
    group: &Group,
    place: u32,
    filter: &'a str,
) -> Wish<'a> {
    let mut wish = Wish::plain(u64::from(place) + 1, filter);
    wish.options.last = layout.last;
    wish.options.presence = layout.presence;
    wish.options.latest = group.latest.is_some();
    wish.options.max_rate = group.latest.and_then(|latest| latest.max_rate);
    wish
}

impl Plan {
    /// The subscribes of a client, if some of them ask for more than every message from now on.
    pub(super) fn wishes_for(&self, duty: Duty, ledger: &Ledger) -> Option<Vec<Wish<'_>>> {
        let Duty::Subscribe { subscriber, account } = duty else { return None };
        if let Some(layout) = &self.layout {
            let groups = layout.groups_of(subscriber).map(|number| layout.group(number));
            let wishes = groups.flat_map(|group| {
                let filters = group.filters(&self.topics);
                filters.map(move |(place, filter)| group_wish(layout, group, place, filter))
            });
            return Some(wishes.collect());
        }
        let resumes = self.storm.is_some_and(|storm| storm.resumes) && ledger.storm.refused == 0;
        if !resumes && self.latest.is_none() {
            return None;
        }
        let topics = (0..).zip(self.topics_of(subscriber));
        let wishes = topics.map(|(place, topic)| {
            let mut wish = self.plain_wish(place, topic);
            if resumes {
                let (_, held) = &ledger.accounts[(account + place) as usize];
                let since = ledger.storm.since(account + place, held.broker_last());
                wish.options.since = since.map(Since::At);
            }
            wish
        });
        Some(wishes.collect())
    }

    /// The frame that subscribes without what was missed, if it was that which was refused.
    pub(super) fn ask_again(
        &self,
        id: u64,
        why: &str,
        duty: Duty,
        ledger: &mut Ledger,
    ) -> Option<Vec<u8>> {
        let Duty::Subscribe { subscriber, account } = duty else { return None };
        let place = u32::try_from(id.checked_sub(1)?).ok()?;
        let topic = self.topics_of(subscriber).nth(place as usize)?;
        let (_, held) = &ledger.accounts[(account + place) as usize];
        let has_asked = self.storm?.resumes
            && ledger.storm.since(account + place, held.broker_last()).is_some();
        if !has_asked || !why.starts_with(UNAVAILABLE) {
            return None;
        }
        ledger.storm.refused += 1;
        let (opcode, command) = self.target.subscribe(&self.plain_wish(place, topic))?;
        Some(frame_of(opcode, &command))
    }

    /// The answer to the subscribe of the nth topic has the id n, from 1.
    fn plain_wish(&self, place: u32, topic: u32) -> Wish<'_> {
        let mut wish = Wish::plain(u64::from(place) + 1, &self.topics[topic as usize]);
        wish.options.latest = self.latest.is_some();
        wish.options.max_rate = self.latest.and_then(|latest| latest.max_rate);
        wish
    }
}
