//! How many messages of one topic a subscriber got within a second at most: what was measured, to
//! stand beside the rate that was asked for. Pure arithmetic, times are passed in; kept by the
//! ledger, where the newest alone is asked for.

use serde::{Deserialize, Serialize};

use crate::seconds::SECOND_NS;

/// The most of all accounts. Their seconds follow each other without overlapping: each begins with
/// the first delivery after the one before it. 16 bytes for an account.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Peak {
    #[serde(skip)]
    seconds: Vec<Second>,
    most: u64,
}

/// An account's newest second; one without deliveries has not begun.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    began_ns: u64,
    deliveries: u64,
}

impl Peak {
    /// Of so many accounts; nothing is counted beyond them.
    pub(super) fn of(accounts: usize) -> Self {
        Self { seconds: vec![Second::default(); accounts], most: 0 }
    }

    /// A message came for the subscriber with account `index`.
    pub(super) fn handle_delivery(&mut self, index: u32, now_ns: u64) {
        let Some(second) = self.seconds.get_mut(index as usize) else { return };
        if second.deliveries == 0 || now_ns >= second.began_ns + SECOND_NS {
            *second = Second { began_ns: now_ns, deliveries: 0 };
        }
        second.deliveries += 1;
        self.most = self.most.max(second.deliveries);
    }

    /// The most messages of one account within a second; 0 if there were none.
    #[must_use]
    pub fn per_second(&self) -> u64 {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_begins_with_a_delivery_and_each_account_has_its_own() {
        let mut peak = Peak::of(2);
        for (index, now_ns) in [(0, 1), (1, 2), (0, SECOND_NS), (0, SECOND_NS + 1)] {
            peak.handle_delivery(index, now_ns);
        }
        assert_eq!(peak.per_second(), 2);
        for later_ns in [2, 3, 4] {
            peak.handle_delivery(1, 5 * SECOND_NS + later_ns);
        }
        assert_eq!(peak.per_second(), 3);
    }

    #[test]
    fn where_nobody_asks_for_the_newest_alone_nothing_is_counted() {
        let mut peak = Peak::default();
        peak.handle_delivery(0, 1);
        assert_eq!(peak.per_second(), 0);
    }
}
