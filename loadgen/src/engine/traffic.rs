//! How many bytes went over the subscribers' connections while messages were measured, both ways.
//! Counts bytes of HTTP and of frames: what TLS, TCP and IP add is not in it. Each worker keeps one;
//! the report adds them up.

use serde::{Deserialize, Serialize};

/// What the subscribers of one worker received and sent between the begin of measuring and the end
/// of publishing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Traffic {
    /// Bytes that came, headers and all.
    pub received_bytes: u64,
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// Messages that came with them.
    pub deliveries: u64,
    /// Requests of HTTP that were sent.
    pub requests: u64,
    /// Polling connections that the server had closed between two polls, in all phases: they are
    /// made anew.
    pub reconnects: u64,
    #[serde(skip)]
    is_counting: bool,
}

impl Traffic {
    /// From now on it counts, or no longer.
    pub(super) fn count(&mut self, is_counting: bool) {
        self.is_counting = is_counting;
    }

    pub(super) fn handle_received(&mut self, bytes: usize) {
        if self.is_counting {
            self.received_bytes += bytes as u64;
        }
    }

    pub(super) fn handle_sent(&mut self, bytes: usize) {
        if self.is_counting {
            self.sent_bytes += bytes as u64;
        }
    }

    pub(super) fn handle_request(&mut self, bytes: usize) {
        self.handle_sent(bytes);
        self.requests += u64::from(self.is_counting);
    }

    pub(super) fn handle_delivery(&mut self) {
        self.deliveries += u64::from(self.is_counting);
    }

    /// Adds another worker's.
    pub(super) fn add(&mut self, other: &Self) {
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
        self.deliveries += other.deliveries;
        self.requests += other.requests;
        self.reconnects += other.reconnects;
    }

    /// Bytes received for each message that came; none if none did.
    #[must_use]
    pub fn received_each(&self) -> Option<f64> {
        self.each(self.received_bytes)
    }

    /// Bytes sent for each message that came.
    #[must_use]
    pub fn sent_each(&self) -> Option<f64> {
        self.each(self.sent_bytes)
    }

    fn each(&self, bytes: u64) -> Option<f64> {
        (self.deliveries > 0).then(|| bytes as f64 / self.deliveries as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_while_measuring_only_and_are_shared_out_over_what_came() {
        let mut traffic = Traffic::default();
        traffic.handle_received(1000);
        traffic.handle_delivery();
        assert_eq!((traffic.received_each(), traffic.sent_each()), (None, None));
        traffic.count(true);
        traffic.handle_received(300);
        traffic.handle_request(50);
        traffic.handle_delivery();
        traffic.handle_delivery();
        traffic.count(false);
        traffic.handle_request(50);
        assert_eq!((traffic.received_each(), traffic.sent_each()), (Some(150.0), Some(25.0)));
        let mut all = traffic;
        all.add(&traffic);
        assert_eq!((all.deliveries, all.requests, all.sent_bytes), (4, 2, 100));
    }
}
