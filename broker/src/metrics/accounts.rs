//! What became of the messages that were not simply sent, as the broker counts it: one block per
//! worker, written by that worker alone, from the hub. What is simply sent is counted elsewhere,
//! so that nothing here stands where every delivery passes.

use super::Counter;

/// Why messages were dropped, in the order of [`Accounts::dropped`].
pub const DROP_REASONS: [&str; 2] = ["slow", "ended"];
/// Why a gap notice was sent, in the order of [`Accounts::gaps`].
pub const GAP_REASONS: [&str; 3] = ["overflow", "expired", "backplane"];
/// How a client that came back with a position was answered, in the order of
/// [`Accounts::recoveries`].
pub const RECOVERIES: [&str; 2] = ["whole", "partial"];
/// The steps of the ladder that sessions are counted on, in the order of [`Accounts::on_step`].
pub const STEPS: [&str; 2] = ["latest", "slow"];
/// Where steps lead, with their direction, in the order of [`Accounts::steps`].
pub const MOVES: [(&str, &str); 4] =
    [("down", "latest"), ("down", "slow"), ("up", "latest"), ("up", "all")];

/// The counters of one worker.
#[derive(Debug, Default)]
pub struct Accounts {
    /// Messages, by subscription, that a newer one took the place of.
    pub conflated: Counter,
    /// Messages, by subscription, that did not move enough or that another one delivered.
    pub filtered: Counter,
    /// Messages, by subscription, that came while it was paused.
    pub skipped: Counter,
    /// Messages, by subscription, that were dropped, by the place of the reason in
    /// [`DROP_REASONS`].
    pub dropped: [Counter; DROP_REASONS.len()],
    /// Messages that gap notices stand for, by the place of the reason in [`GAP_REASONS`].
    pub gaps: [Counter; GAP_REASONS.len()],
    /// Messages of the past that were given to subscriptions.
    pub past: Counter,
    /// Subscribes with a position, by the place of their answer in [`RECOVERIES`].
    pub recoveries: [Counter; RECOVERIES.len()],
    /// Steps on the ladder, by their place in [`MOVES`].
    pub steps: [Counter; MOVES.len()],
    /// Gauge: sessions by their step, by its place in [`STEPS`]; as of the last second.
    pub on_step: [Counter; STEPS.len()],
    /// Publishes that had come before, by their `msg_id`.
    pub repeats: Counter,
    /// Gauge: subscriptions that are paused.
    pub paused: Counter,
    /// Gauge: bytes that were put aside for slow sessions, which are in `backlog_total` too.
    pub held_back_bytes: Counter,
}

/// Places in [`Accounts::dropped`].
pub mod dropped {
    /// The client did not keep up.
    pub const SLOW: usize = 0;
    /// They waited when their subscription ended.
    pub const ENDED: usize = 1;
}

/// Places in [`Accounts::gaps`].
pub mod gap {
    /// The client did not keep up.
    pub const OVERFLOW: usize = 0;
    /// They are no longer kept.
    pub const EXPIRED: usize = 1;
    /// They were lost between nodes.
    pub const BACKPLANE: usize = 2;
}

/// Places in [`Accounts::steps`].
pub mod step {
    /// Down, to the newest of each topic.
    pub const DOWN_TO_LATEST: usize = 0;
    /// Down, to that now and then.
    pub const DOWN_TO_SLOW: usize = 1;
    /// Up from there.
    pub const UP_TO_LATEST: usize = 2;
    /// Up to everything.
    pub const UP_TO_ALL: usize = 3;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_its_name() {
        assert_eq!((DROP_REASONS[dropped::SLOW], DROP_REASONS[dropped::ENDED]), ("slow", "ended"));
        assert_eq!(GAP_REASONS[gap::OVERFLOW], "overflow");
        assert_eq!(GAP_REASONS[gap::EXPIRED], "expired");
        assert_eq!(GAP_REASONS[gap::BACKPLANE], "backplane");
        assert_eq!(MOVES[step::DOWN_TO_LATEST], ("down", "latest"));
        assert_eq!(MOVES[step::DOWN_TO_SLOW], ("down", "slow"));
        assert_eq!(MOVES[step::UP_TO_LATEST], ("up", "latest"));
        assert_eq!(MOVES[step::UP_TO_ALL], ("up", "all"));
    }
}
