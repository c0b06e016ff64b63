//! What a server says to a client with groups once its session is open: answers to what the worker
//! asked for it, who joins and leaves, and the session's own number. Touches no socket; called by
//! the client's talk.

use broker_proto::command::Position;

use super::incoming::account_of;
use super::{Desk, Duty};
use crate::engine::groups::Move;
use crate::engine::worker::UNSUBSCRIBE;
use crate::target::PresenceChange;

/// A command of an open session succeeded. Returns whether it was one of ours.
pub(super) fn handle_answer(
    id: u64,
    position: Option<Position>,
    duty: Duty,
    now_ns: u64,
    desk: &mut Desk<'_>,
) -> bool {
    let (Some(layout), Duty::Subscribe { account, .. }) = (&desk.plan.layout, duty) else {
        return false;
    };
    let is_subscribe = id < UNSUBSCRIBE;
    let place = if is_subscribe { id } else { id - UNSUBSCRIBE };
    let accounts = desk.plan.accounts_of(subscriber_of(duty));
    let Some(place) = place.checked_sub(1).filter(|&place| place < u64::from(accounts)) else {
        return false;
    };
    let account = account + place as u32;
    let ledger = &mut *desk.ledger;
    if let (true, Some(position)) = (is_subscribe, position) {
        match layout.last {
            // What was missed is told by the current value, if there is one.
            true if position.seq == 0 => ledger.groups.handle_no_value(account, now_ns),
            true => {}
            false => ledger.handle_rejoin(account, position.seq),
        }
    }
    ledger.groups.handle_answer(account, is_subscribe, now_ns)
}

/// Someone joined or left a topic of this client.
pub(super) fn handle_presence(
    change: &PresenceChange,
    duty: Duty,
    now_ns: u64,
    desk: &mut Desk<'_>,
) {
    let plan = desk.plan;
    let topic = plan.topics.iter().position(|name| *name == change.topic);
    let topic = topic.map(|topic| topic as u32);
    let Some(topic) = topic.filter(|&topic| account_of(plan, duty, topic).is_some()) else {
        desk.ledger.strange += 1;
        return;
    };
    // Who comes and goes itself may be away when something happens.
    let flips = plan.layout.as_ref().and_then(|layout| layout.flips);
    if flips.is_some_and(|flips| subscriber_of(duty) < flips.subscribers) {
        return;
    }
    for (sessions, is_join) in [(&change.joined, true), (&change.left, false)] {
        for &session in sessions {
            let seen = Move { session, topic, is_join, at_ns: now_ns };
            desk.ledger.groups.handle_sighting(seen);
        }
    }
}

fn subscriber_of(duty: Duty) -> u32 {
    match duty {
        Duty::Subscribe { subscriber, .. } => subscriber,
        Duty::Publish { .. } => u32::MAX,
    }
}
