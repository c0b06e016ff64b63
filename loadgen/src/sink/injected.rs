//! What the sink did, right and wrong, as text and as JSON: what a test holds a report against.
//! Plain counts, written by the exchange and the loop.

use serde_json::{Map, Value};

/// The counts of a sink, from its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// Handshakes that succeeded.
    pub connections: u64,
    /// Handshakes answered with 503 by `--refuse-percent`.
    pub refused: u64,
    /// Subscribes that were carried out.
    pub subscriptions: u64,
    /// Messages published.
    pub published: u64,
    /// Messages that came on `/echo`.
    pub echoed: u64,
    /// Messages times subscribers, and echoes: what a sound server would have delivered.
    pub deliveries: u64,
    /// Of these, how many were left out.
    pub dropped: u64,
    /// Gap notices sent, one for each message left out with `--gap`.
    pub gap_notices: u64,
    /// Deliveries with a damaged byte.
    pub corrupted: u64,
    /// Deliveries of another topic's message.
    pub misrouted: u64,
    /// Deliveries that were made twice.
    pub duplicated: u64,
    /// Deliveries that were made after the next.
    pub reordered: u64,
    /// Deliveries held back by `--delay` and `--jitter`.
    pub delayed: u64,
    /// Times that everything stopped.
    pub stalls: u64,
    /// How long that was together, in microseconds, as measured.
    pub stalled_us: u64,
    /// Connections closed by `--close-after`.
    pub closed: u64,
    /// Connections dropped since too much waited for them to read.
    pub cut: u64,
    /// Closing handshakes that clients began.
    pub closed_by_client: u64,
    /// Pings sent.
    pub pings: u64,
    /// Pongs that came.
    pub pongs: u64,
    /// Writes to sockets.
    pub writes: u64,
}

impl Injected {
    /// Every count with its name.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u64); 21] {
        [
            ("connections", self.connections),
            ("refused", self.refused),
            ("subscriptions", self.subscriptions),
            ("published", self.published),
            ("echoed", self.echoed),
            ("deliveries", self.deliveries),
            ("dropped", self.dropped),
            ("gap_notices", self.gap_notices),
            ("corrupted", self.corrupted),
            ("misrouted", self.misrouted),
            ("duplicated", self.duplicated),
            ("reordered", self.reordered),
            ("delayed", self.delayed),
            ("stalls", self.stalls),
            ("stalled_us", self.stalled_us),
            ("closed", self.closed),
            ("cut", self.cut),
            ("closed_by_client", self.closed_by_client),
            ("pings", self.pings),
            ("pongs", self.pongs),
            ("writes", self.writes),
        ]
    }

    /// One line per count that is not 0.
    #[must_use]
    pub fn to_text(&self) -> String {
        let counts = self.counts().into_iter().filter(|&(_, count)| count > 0);
        counts.map(|(name, count)| format!("{name:<17} {count}\n")).collect()
    }

    /// An object with every count.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let counts = self.counts().into_iter();
        Value::Object(
            counts.map(|(name, count)| (name.to_owned(), count.into())).collect::<Map<_, _>>(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_what_was_done() {
        let injected = Injected { deliveries: 12, dropped: 3, ..Injected::default() };
        assert_eq!(injected.to_text(), "deliveries        12\ndropped           3\n");
        assert_eq!(injected.to_json()["dropped"], 3);
        assert_eq!(injected.to_json()["duplicated"], 0);
    }
}
