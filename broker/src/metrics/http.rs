//! What the control plane counts. One block, written by its thread alone.

use super::Counter;

/// The statuses that are counted apart; the last place counts all others.
pub const STATUSES: [u16; 16] =
    [200, 307, 400, 401, 403, 404, 405, 408, 413, 415, 422, 426, 429, 500, 501, 503];

/// The counters of the control plane.
#[derive(Debug, Default)]
pub struct HttpMetrics {
    /// Requests answered, by the place of their status in [`STATUSES`].
    pub answers: [Counter; STATUSES.len() + 1],
    /// Messages published over HTTP.
    pub publishes: Counter,
    /// Publishes that were answered from what an earlier one with the same key was answered.
    pub replays: Counter,
}

impl HttpMetrics {
    /// Counts an answer with this status.
    pub fn count_answer(&self, status: u16) {
        let place = STATUSES.iter().position(|&known| known == status);
        self.answers[place.unwrap_or(STATUSES.len())].add(1);
    }
}
