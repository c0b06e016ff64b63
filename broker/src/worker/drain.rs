//! Stopping: no one new is let in, everyone gets what is still queued and then 1001 with a time
//! to come back at, spread so that they don't all come at once.

use broker_proto::handshake::Refusal;
use broker_proto::ws::CloseCode;

use super::Worker;
use super::connection::Phase;
use crate::hub::Disconnect;
use crate::metrics::CloseReason;

impl Worker {
    /// Begins to stop; the loop ends when all connections are gone or the time is up.
    pub(super) fn begin_drain(&mut self) {
        if self.drain_until.is_some() {
            return;
        }
        self.drain_until = Some(self.core.now_ms + self.core.config.drain_timeout_ms);
        self.doors.clear();
        let slots: Vec<usize> = self.connections.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            if matches!(self.connections[slot].phase, Phase::Head(_)) {
                self.refuse(slot, &Refusal::unavailable("the broker is stopping"));
                continue;
            }
            let after_ms = fastrand::u64(0..=self.core.config.reconnect_spread_ms);
            let goodbye = Disconnect {
                code: CloseCode::GOING_AWAY,
                message: format!("reconnect in {after_ms} ms").into(),
                reason: CloseReason::GoingAway,
            };
            self.close(slot, &goodbye);
        }
    }

    /// Whether a stop has come to its end.
    pub(super) fn is_drained(&self) -> bool {
        self.drain_until
            .is_some_and(|until| self.connections.is_empty() || self.core.now_ms >= until)
    }
}
