//! What a server's message means to one client: an answer to its subscribe, a delivery for its
//! account, or something that should not have come. Touches no socket; called by the client for
//! every message.

use super::{Desk, Duty, SUBSCRIBE_ID, Stage};
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
            match (duty, plan.stamp_in(topic, payload)) {
                (Duty::Subscribe { topic, account }, Some(stamp)) if topic == stamp.topic => {
                    ledger.handle_message(account, &stamp, seq, now_ns, *measured_from_ns);
                }
                _ => ledger.strange += 1,
            }
        }
        Incoming::Accepted { id: SUBSCRIBE_ID } if matches!(stage, Stage::Subscribing) => {
            *stage = Stage::Ready;
        }
        Incoming::Refused { id: Some(SUBSCRIBE_ID), why } => return Err(why),
        Incoming::Refused { why, .. } => ledger.refusals.add(why),
        Incoming::Gap { topic, from, to } => match duty {
            Duty::Subscribe { topic: subscribed, account }
                if plan.topics[subscribed as usize] == topic =>
            {
                ledger.accounts[account as usize].1.handle_gap(from, to);
            }
            _ => ledger.strange += 1,
        },
        Incoming::Accepted { .. } | Incoming::Unknown => ledger.strange += 1,
    }
    Ok(())
}

impl Plan {
    /// The stamp of a message as it must be on this topic, or none.
    fn stamp_in(&self, topic: &[u8], payload: &[u8]) -> Option<Stamp> {
        let stamp = self.target.protocol.shape().read(payload)?;
        let name = self.topics.get(stamp.topic as usize)?;
        let is_ours = stamp.run == self.run
            && name.as_bytes() == topic
            && payload.len() == self.payload_bytes
            && (1..=self.schedule.messages_of(stamp.topic)).contains(&stamp.seq)
            && stamp.publisher == self.publisher_of(stamp.topic);
        is_ours.then_some(stamp)
    }
}
