//! When which heartbeat of a run came: tells whether a topic was listened to before the run began to
//! count it, so that the first message that comes can be known not to be the first there was.

use std::collections::VecDeque;

/// Heartbeats that are remembered besides the first one.
const REMEMBERED: usize = 64;
/// How long a subscription may take to reach the server, in ms.
const SETTLE_MS: u64 = 1_000;

/// The heartbeats of a run: when they came, and their numbers.
#[derive(Debug, Default)]
pub(super) struct Beats {
    first: Option<(u64, u64)>,
    recent: VecDeque<(u64, u64)>,
}

impl Beats {
    /// One has come.
    pub(super) fn note(&mut self, beat: u64, now_ms: u64) {
        self.first.get_or_insert((now_ms, beat));
        if self.recent.back().is_some_and(|&(_, last)| last >= beat) {
            return;
        }
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((now_ms, beat));
    }

    /// Whether a subscription of that time was in force before this stretch began: it began after
    /// a heartbeat that came when the subscription had long reached the server.
    pub(super) fn has_heard(&self, since_ms: u64, stretch: u64) -> bool {
        let settled_ms = since_ms + SETTLE_MS;
        let mut known = self.first.iter().chain(&self.recent);
        known.find(|(at_ms, _)| *at_ms >= settled_ms).is_some_and(|(_, beat)| stretch >= *beat)
    }
}
