//! Lets clients say that they are still there, where a protocol demands that of them. Spreads their
//! turns evenly, so that there is no timer per connection. Kept and called by each worker.

use super::client::{Client, frame_of};
use super::turns::Turns;
use super::{Ledger, Plan};
use crate::sys;

/// The time between two pings of one connection: 20 seconds, of the 60 or more that servers allow.
pub const KEEPALIVE_NS: u64 = 20_000_000_000;

/// The turns of one worker's clients.
#[derive(Debug)]
pub(super) struct Keepalive(Turns);

impl Keepalive {
    /// The first turn comes after `now_ns`.
    pub(super) fn new(now_ns: u64) -> Self {
        Self(Turns::new(KEEPALIVE_NS, now_ns))
    }

    /// Sends the protocol's ping, if it has one, for the clients whose turn has come. A broken
    /// connection is reported by its next read.
    pub(super) fn send_due(&mut self, plan: &Plan, clients: &mut [Client], ledger: &mut Ledger) {
        let protocol = plan.target.protocol;
        let Some(ping) = protocol.ping() else { return };
        for turn in self.0.due(sys::now_ns(), clients.len()) {
            let client = &mut clients[turn as usize % clients.len()];
            if client.is_ready() {
                let frame = frame_of(protocol.opcode(), ping);
                if client.is_subscriber() {
                    ledger.wire.traffic.handle_sent(frame.len());
                }
                let _ = client.send(&frame);
            }
        }
    }
}
