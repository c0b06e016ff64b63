//! Stopping: no one new is let in, everyone gets what is still queued and then 1001 with a time
//! to come back at. Both are spread: who is sent away when, and who comes back when, so that
//! neither the clients nor those who take them over are struck all at once.

use broker_proto::handshake::Refusal;
use broker_proto::ws::CloseCode;

use super::Worker;
use super::connection::Phase;
use crate::hub::Disconnect;
use crate::metrics::CloseReason;

/// So few connections are sent away at once.
const FEW: usize = 100;
/// How often some are, otherwise.
const STEP_MS: u64 = 20;

/// A stop on its way. Times are those of the broker's clock.
pub(super) struct Drain {
    began_ms: u64,
    until_ms: u64,
    window_ms: u64,
    count: usize,
    /// Those who are still to be sent away, in no order.
    left: Vec<(usize, u32)>,
}

impl Drain {
    /// When the next are to be sent away.
    pub(super) fn next_ms(&self, now_ms: u64) -> u64 {
        if self.left.is_empty() { self.until_ms } else { now_ms + STEP_MS }
    }

    /// How many may still be there by now: evenly fewer, none at the end of the window.
    fn may_stay(&self, now_ms: u64) -> usize {
        let left_ms = self.window_ms.saturating_sub(now_ms - self.began_ms);
        (self.count as u64 * left_ms / self.window_ms.max(1)) as usize
    }
}

impl Worker {
    /// Begins to stop; the loop ends when all connections are gone or the time is up.
    pub(super) fn begin_drain(&mut self) {
        if self.drain.is_some() {
            return;
        }
        self.doors.clear();
        let mut left: Vec<(usize, u32)> =
            self.connections.iter().map(|(slot, held)| (slot, held.generation)).collect();
        left.retain(|&(slot, _)| {
            let stopping = Refusal::unavailable("the broker is stopping");
            match self.connections[slot].phase {
                Phase::Proxied => self.refuse_proxied(slot, &stopping),
                Phase::Head(_) => self.refuse(slot, &stopping),
                _ => return true,
            }
            false
        });
        fastrand::shuffle(&mut left);
        let (now_ms, config) = (self.core.now_ms, &self.core.config);
        let window_ms = config.drain_window_ms.min(config.drain_timeout_ms / 2);
        self.drain = Some(Drain {
            began_ms: now_ms,
            until_ms: now_ms + config.drain_timeout_ms,
            window_ms: if left.len() < FEW { 0 } else { window_ms },
            count: left.len(),
            left,
        });
        self.send_away();
    }

    /// Says good-bye to those whose turn it is.
    pub(super) fn send_away(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        let stays = drain.may_stay(self.core.now_ms);
        let due = drain.left.split_off(stays.min(drain.left.len()));
        for (slot, generation) in due {
            if !self.is_current(slot, generation) {
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
        self.drain
            .as_ref()
            .is_some_and(|drain| self.connections.is_empty() || self.core.now_ms >= drain.until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(count: usize, window_ms: u64) -> Drain {
        let left = (0..count).map(|slot| (slot, 0)).collect();
        Drain { began_ms: 1_000, until_ms: 21_000, window_ms, count, left }
    }

    #[test]
    fn the_window_is_used_evenly_to_its_end() {
        let drain = drain(10_000, 2_000);
        let stays: Vec<usize> = (0..=20).map(|step| drain.may_stay(1_000 + step * 100)).collect();
        assert_eq!((stays[0], stays[20]), (10_000, 0));
        assert!(stays.windows(2).all(|pair| pair[0] - pair[1] == 500), "{stays:?}");
        assert_eq!(drain.may_stay(9_000), 0);
    }

    #[test]
    fn without_a_window_nobody_stays() {
        assert_eq!(drain(7, 0).may_stay(1_000), 0);
    }
}
