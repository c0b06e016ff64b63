//! Where the broker stands between its start and its end; goes forward only.
//!
//! `server` moves it; `/readyz` and the workers read it.

use std::sync::atomic::{AtomicU8, Ordering};

/// A stage of the broker's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Not all workers listen yet.
    Starting,
    /// Serving.
    Ready,
    /// Stopping: no new WebSocket is taken and those there are sent away.
    Draining,
}

/// The broker's phase, shared by all threads.
///
/// ```
/// use broker::control::{Lifecycle, Phase};
///
/// let lifecycle = Lifecycle::new();
/// lifecycle.advance(Phase::Draining);
/// lifecycle.advance(Phase::Ready); // too late
/// assert_eq!(lifecycle.phase(), Phase::Draining);
/// ```
#[derive(Debug)]
pub struct Lifecycle(AtomicU8);

impl Lifecycle {
    /// A broker that is starting.
    pub fn new() -> Self {
        Self(AtomicU8::new(Phase::Starting as u8))
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Enters this phase, unless a later one has begun.
    pub fn advance(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::AcqRel);
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_through_all_phases_and_never_back() {
        let lifecycle = Lifecycle::new();
        for phase in [Phase::Starting, Phase::Ready, Phase::Draining] {
            lifecycle.advance(phase);
            assert_eq!(lifecycle.phase(), phase);
            lifecycle.advance(Phase::Starting);
            assert_eq!(lifecycle.phase(), phase);
        }
    }
}
