//! Lets clients say that they are still there, where a protocol demands that of them. Spreads their
//! turns evenly, so that there is no timer per connection. Kept and called by each worker.

use std::ops::Range;

use super::Plan;
use super::client::{Client, frame_of};
use crate::sys;

/// The time between two pings of one connection: 20 seconds, of the 60 or more that servers allow.
pub const KEEPALIVE_NS: u64 = 20_000_000_000;

/// The turns of one worker's clients.
#[derive(Debug)]
pub(super) struct Keepalive {
    since_ns: u64,
    /// How many turns there were.
    turns: u64,
}

impl Keepalive {
    /// The first turn comes after `now_ns`.
    pub(super) fn new(now_ns: u64) -> Self {
        Self { since_ns: now_ns, turns: 0 }
    }

    /// Sends the protocol's ping, if it has one, for the clients whose turn has come. A broken
    /// connection is reported by its next read.
    pub(super) fn send_due(&mut self, plan: &Plan, clients: &mut [Client]) {
        let protocol = plan.target.protocol;
        let Some(ping) = protocol.ping() else { return };
        for turn in self.due(sys::now_ns(), clients.len()) {
            let client = &mut clients[turn as usize % clients.len()];
            if client.is_ready() {
                let _ = client.send(&frame_of(protocol.opcode(), ping));
            }
        }
    }

    /// The turns that came since the last call, at most one for each of `clients`: turn n is
    /// client n modulo the clients.
    fn due(&mut self, now_ns: u64, clients: usize) -> Range<u64> {
        let passed_ns = u128::from(now_ns.saturating_sub(self.since_ns));
        let due = (passed_ns * clients as u128 / u128::from(KEEPALIVE_NS)) as u64;
        let first = self.turns.max(due.saturating_sub(clients as u64));
        self.turns = due;
        first..due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_one_turn_in_each_interval_and_a_worker_that_slept_gives_no_more() {
        let mut keepalive = Keepalive::new(5);
        let mut all = Vec::new();
        for step in 0..=100 {
            all.extend(keepalive.due(5 + step * KEEPALIVE_NS / 100, 7));
        }
        assert!(all.into_iter().eq(0..7));
        assert_eq!(keepalive.due(5 + 10 * KEEPALIVE_NS, 7), 63..70);
        assert_eq!(Keepalive::new(5).due(u64::MAX, 0), 0..0);
    }
}
