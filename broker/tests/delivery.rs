//! What a subscriber is promised besides the plain stream: what it missed, the last value, the
//! newest only, parts of a message, a pause, who else is there, and what becomes of it when it
//! reads too slowly. All against the real process over TCP.
//!
//! Where it matters every message is accounted for: it came, or a notice stands for it. The
//! durations here make a situation; none is asserted.

#[path = "support/feed.rs"]
mod feed;
#[path = "support/support.rs"]
mod support;

#[path = "delivery/account.rs"]
mod account;
#[path = "delivery/counted.rs"]
mod counted;
#[path = "delivery/delayed.rs"]
mod delayed;
#[path = "delivery/epochs.rs"]
mod epochs;
#[path = "delivery/last.rs"]
mod last;
#[path = "delivery/latest.rs"]
mod latest;
#[path = "delivery/metrics.rs"]
mod metrics;
#[path = "delivery/pause.rs"]
mod pause;
#[path = "delivery/positions.rs"]
mod positions;
#[path = "delivery/presence.rs"]
mod presence;
#[path = "delivery/recovery.rs"]
mod recovery;
#[path = "delivery/retries.rs"]
mod retries;
#[path = "delivery/selection.rs"]
mod selection;
#[path = "delivery/slow.rs"]
mod slow;
#[path = "delivery/stale.rs"]
mod stale;
#[path = "delivery/storm.rs"]
mod storm;
#[path = "delivery/viewer.rs"]
mod viewer;
