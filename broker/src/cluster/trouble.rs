//! What keeps JetStream from ordering topics and does not go away by itself, in words for those who
//! publish and for those who run it.
//!
//! Plain values, so that `/readyz` can tell of them; found by the readers of the streams.

use std::sync::atomic::Ordering;

use crate::metrics::Metrics;

/// Why the streams can't be used though NATS is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The servers, or the account, have no JetStream.
    NotEnabled,
    /// It refuses a stream as the settings want it.
    Refused,
}

impl Trouble {
    /// What a publisher is told.
    #[must_use]
    pub fn told(self) -> &'static str {
        match self {
            Self::NotEnabled => {
                "not published: the topic's order is made by JetStream, which the cluster's NATS has not"
            }
            Self::Refused => {
                "not published: the topic's order is made by JetStream, which refuses to"
            }
        }
    }

    /// What is to be done about it, for the log and `/readyz`.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::NotEnabled => {
                "NATS has no JetStream, and nothing is published on topics that keep something: \
                 enable it (nats-server --jetstream, or jetstream {} in its settings, and for the \
                 account), or keep nothing (history_messages = 0 and last_ms = 0)"
            }
            Self::Refused => {
                "JetStream refuses a stream, and nothing is published on topics that keep something: \
                 the log has its reason; most often there are fewer servers than nats_replicas, or less \
                 room than stream_bytes_max for each rule"
            }
        }
    }

    /// What there is now, by what was counted.
    #[must_use]
    pub fn now(metrics: &Metrics) -> Option<Self> {
        let number = metrics.stream.trouble.load(Ordering::Relaxed);
        [Self::NotEnabled, Self::Refused].into_iter().find(|trouble| *trouble as u64 + 1 == number)
    }

    /// Lets it be seen, or that there is none.
    pub fn show(trouble: Option<Self>, metrics: &Metrics) {
        let number = trouble.map_or(0, |trouble| trouble as u64 + 1);
        metrics.stream.trouble.store(number, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_back() {
        let metrics = Metrics::new(1);
        assert_eq!(Trouble::now(&metrics), None);
        for trouble in [Some(Trouble::NotEnabled), Some(Trouble::Refused), None] {
            Trouble::show(trouble, &metrics);
            assert_eq!(Trouble::now(&metrics), trouble);
        }
    }
}
