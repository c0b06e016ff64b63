//! TLS handshakes that are not over yet: how many there may be, which of them goes when one more
//! comes, and how many of them one turn may carry on with, since each costs as much as thousands
//! of messages.
//!
//! Knows the connections by slot and generation only. The worker asks it.

use std::collections::VecDeque;

use super::Worker;

/// Reads of handshakes in one turn; with the signatures they call for this is a few milliseconds.
const READS_PER_TURN: u32 = 8;

/// The handshakes of one worker.
#[derive(Debug)]
pub(super) struct Handshakes {
    max: usize,
    count: usize,
    /// Oldest first; some of them are over.
    queue: VecDeque<(usize, u32)>,
    reads_left: u32,
}

impl Handshakes {
    /// None yet, and at most `max`.
    pub(super) fn new(max: u32) -> Self {
        Self { max: max as usize, count: 0, queue: VecDeque::new(), reads_left: READS_PER_TURN }
    }

    /// A turn begins.
    pub(super) fn begin_turn(&mut self) {
        self.reads_left = READS_PER_TURN;
    }

    /// Whether this turn may carry on with one more.
    pub(super) fn take_read(&mut self) -> bool {
        let may = self.reads_left > 0;
        self.reads_left = self.reads_left.saturating_sub(1);
        may
    }

    /// One more has begun.
    fn begin(&mut self, slot: usize, generation: u32, is_on: impl Fn(usize, u32) -> bool) {
        if self.queue.len() >= 2 * self.max {
            self.queue.retain(|&(slot, generation)| is_on(slot, generation));
        }
        self.queue.push_back((slot, generation));
        self.count += 1;
    }

    /// The one that has to go, if there are too many.
    fn surplus(&mut self, is_on: impl Fn(usize, u32) -> bool) -> Option<usize> {
        while self.count > self.max {
            let (slot, generation) = self.queue.pop_front()?;
            if is_on(slot, generation) {
                return Some(slot);
            }
        }
        None
    }

    /// One is over, whatever came of it.
    fn end(&mut self) {
        self.count -= 1;
    }
}

impl Worker {
    /// A connection has begun its handshake. If that makes too many, the oldest is dropped: who
    /// means well is done in a moment, so those that hold on are the ones that do not.
    pub(super) fn begin_handshake(&mut self, slot: usize, generation: u32) {
        self.connections[slot].handshaking = true;
        let connections = &self.connections;
        let is_on = |slot: usize, generation: u32| {
            let found = connections.get(slot);
            found.is_some_and(|found| found.generation == generation && found.handshaking)
        };
        self.handshakes.begin(slot, generation, is_on);
        let surplus = self.handshakes.surplus(is_on);
        self.core.counters().tls_handshaking.add(1);
        if let Some(oldest) = surplus {
            self.core.counters().tls_shed.add(1);
            self.remove(oldest, crate::metrics::CloseReason::Overloaded);
        }
    }

    /// A handshake may have come to its end.
    pub(super) fn check_handshake(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if !connection.handshaking || connection.socket.is_handshaking() {
            return;
        }
        connection.handshaking = false;
        let is_resumed = connection.socket.is_resumed();
        self.handshakes.end();
        let counters = self.core.counters();
        counters.tls_handshaking.sub(1);
        counters.tls_handshakes.add(1);
        counters.tls_resumed.add(u64::from(is_resumed));
    }

    /// A connection is gone that may have been in its handshake.
    pub(super) fn forget_handshake(&mut self, was_handshaking: bool) {
        if was_handshaking {
            self.handshakes.end();
            self.core.counters().tls_handshaking.sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_goes_on_makes_room() {
        let mut handshakes = Handshakes::new(2);
        let over = |slot, _| slot != 1;
        for slot in 0..3 {
            handshakes.begin(slot, 7, over);
        }
        assert_eq!(handshakes.surplus(over), Some(0));
        handshakes.end();
        assert_eq!(handshakes.surplus(over), None);
        handshakes.begin(3, 7, over);
        assert_eq!(handshakes.surplus(over), Some(2), "what is over already is passed by");
    }

    #[test]
    fn what_is_over_is_not_remembered_for_ever() {
        let mut handshakes = Handshakes::new(10);
        for slot in 0..10_000 {
            handshakes.begin(slot, 0, |_, _| false);
            handshakes.end();
        }
        assert!(handshakes.queue.len() <= 20);
    }

    #[test]
    fn a_turn_carries_on_with_a_few() {
        let mut handshakes = Handshakes::new(100);
        let in_a_turn = |handshakes: &mut Handshakes| {
            handshakes.begin_turn();
            (0..100).filter(|_| handshakes.take_read()).count()
        };
        assert_eq!(in_a_turn(&mut handshakes), 8);
        assert_eq!(in_a_turn(&mut handshakes), 8);
    }
}
