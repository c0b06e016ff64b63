//! What a server's message means to one client: an answer to its subscribe, a delivery for its
//! account, or something that should not have come. Touches no socket; called by the client for
//! every message.

use super::{Desk, Duty, Stage};
use crate::engine::Plan;
use crate::stamp::Stamp;
use crate::target::Incoming;

/// What the server said. The error says why the connection is of no use.
pub(super) fn handle_message(
    bytes: &[u8],
    duty: Duty,
    stage: &mut Stage,
    now_ns: u64,
    desk: &mut Desk<'_>,
) -> Result<(), String> {
    let Desk { plan, ledger, measured_from_ns, .. } = desk;
    match plan.target.protocol.read(bytes) {
        Incoming::Message { topic, seq, payload } => {
            ledger.progress.arrivals += 1;
            let stamp = plan.stamp_in(topic, payload);
            match stamp.and_then(|stamp| Some((stamp, account_of(plan, duty, stamp.topic)?))) {
                Some((stamp, account)) => {
                    ledger.handle_message(account, &stamp, seq, now_ns, *measured_from_ns);
                }
                None => ledger.strange += 1,
            }
        }
        Incoming::Accepted { id, position } => {
            let Stage::Subscribing { left } = stage else {
                ledger.strange += 1;
                return Ok(());
            };
            *left -= 1;
            if *left == 0 {
                *stage = Stage::Ready;
            }
            // Before the first message there is nothing to be missed.
            let is_rejoin = *measured_from_ns != u64::MAX;
            if let (true, Some(position), Duty::Subscribe { account, .. }) =
                (is_rejoin, position, duty)
                && (1..=u64::from(plan.topics_each)).contains(&id)
            {
                ledger.handle_rejoin(account + (id - 1) as u32, position);
            }
        }
        Incoming::Refused { id: Some(_), why } => return Err(why),
        Incoming::Refused { why, .. } => ledger.refusals.add(why),
        Incoming::Gap { topic, from, to } => {
            let number = plan.topics.iter().position(|name| *name == topic);
            match number.and_then(|number| account_of(plan, duty, number as u32)) {
                Some(account) => ledger.accounts[account as usize].1.handle_gap(from, to),
                None => ledger.strange += 1,
            }
        }
        Incoming::Unknown => ledger.strange += 1,
    }
    Ok(())
}

/// The account that a client keeps of this topic, if it subscribes to it.
fn account_of(plan: &Plan, duty: Duty, topic: u32) -> Option<u32> {
    let Duty::Subscribe { subscriber, account } = duty else { return None };
    Some(account + plan.place_of(subscriber, topic)?)
}

impl Plan {
    /// The stamp of a message as it must be on this topic, or none.
    fn stamp_in(&self, topic: &[u8], payload: &[u8]) -> Option<Stamp> {
        let stamp = self.body.read(payload)?;
        let name = self.topics.get(stamp.topic as usize)?;
        let is_ours = stamp.run == self.run
            && name.as_bytes() == topic
            && payload.len() == self.payload_bytes
            && (1..=self.schedule.messages_of(stamp.topic)).contains(&stamp.seq)
            && stamp.publisher == self.publisher_of(stamp.topic);
        is_ours.then_some(stamp)
    }
}
