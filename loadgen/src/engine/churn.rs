//! Who leaves when, where subscribers come and go during a run. Pure arithmetic; read by all
//! workers alike, each of which sees to its own subscribers.

use serde::{Deserialize, Serialize};

/// A part of the subscribers leaves in turn, at a steady rate, and comes back.
///
/// ```
/// use loadgen::engine::Churn;
///
/// let churn = Churn { subscribers: 2, per_second: 10.0, away_ns: 500_000_000 };
/// let mut turn = 0;
/// assert_eq!(churn.next_due(&mut turn, 99_999_999), None);
/// assert_eq!(churn.next_due(&mut turn, 200_000_000), Some(0));
/// assert_eq!(churn.next_due(&mut turn, 200_000_000), Some(1));
/// assert_eq!(churn.next_due(&mut turn, 200_000_000), None);
/// assert_eq!(churn.next_due(&mut turn, 300_000_000), Some(0));
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Churn {
    /// How many subscribers take part, at least one: the first so many.
    pub subscribers: u32,
    /// How many leave in a second.
    pub per_second: f64,
    /// How long each is away, from the end of its connection to the begin of the next.
    pub away_ns: u64,
}

impl Churn {
    /// Who is to leave next, if by `after_ns` after the start it is time; `turn` counts them.
    pub fn next_due(&self, turn: &mut u64, after_ns: u64) -> Option<u32> {
        let due_after_ns = ((*turn + 1) as f64 * 1e9 / self.per_second) as u64;
        if due_after_ns > after_ns {
            return None;
        }
        let subscriber = (*turn % u64::from(self.subscribers)) as u32;
        *turn += 1;
        Some(subscriber)
    }
}
