//! What it means that subscribers want the newest of each topic alone: how much may come, and how
//! late. Pure arithmetic; part of the plan, held against the result by the report.

use serde::{Deserialize, Serialize};

/// The newest of each topic, never a queue.
///
/// ```
/// use loadgen::engine::Latest;
///
/// let latest = Latest { max_rate: Some(2.0) };
/// assert_eq!(latest.interval_ns(), 500_000_000);
/// assert_eq!(latest.deliveries_max(3_000_000_000), 9);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Latest {
    /// At most so many messages a second of a topic; none for as fast as the subscriber reads.
    pub max_rate: Option<f64>,
}

impl Latest {
    /// Whether the rate is one.
    pub(super) fn is_sound(&self) -> bool {
        self.max_rate.is_none_or(|rate| rate > 0.0)
    }

    /// The time between two messages of a topic, in nanoseconds; 0 without a rate.
    #[must_use]
    pub fn interval_ns(&self) -> u64 {
        self.max_rate.map_or(0, |rate| (1e9 / rate) as u64)
    }

    /// The most messages of a topic within so many nanoseconds, wherever they begin: a second more
    /// at the rate, since nothing says when the server's seconds begin, and the first one.
    #[must_use]
    pub fn deliveries_max(&self, nanos: u64) -> u64 {
        let seconds = nanos as f64 / 1e9 + 1.0;
        self.max_rate.map_or(u64::MAX, |rate| (rate * seconds) as u64 + 1)
    }
}
