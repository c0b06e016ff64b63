//! How the keeper's thread is woken, and how others wait for it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Shared by the keeper and whoever wakes it or waits for it; one bell has many ropes.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<(Mutex<State>, Condvar)>);

/// What the keeper is to do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// Something waits in the log.
    rung: bool,
    /// How often it was asked to put all on disk, and up to which of these it has.
    pub(super) flushes: u64,
    flushed: u64,
    /// Nothing more is published: end.
    pub(super) stops: bool,
    /// It runs no more.
    ended: bool,
}

impl Bell {
    /// Wakes the keeper. Cheap if it is awake.
    pub fn ring(&self) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.rung, true) {
            self.0.1.notify_all();
        }
    }

    /// Asks the keeper to put all that waits on disk, and waits until it has, at most so long.
    pub fn flush(&self, limit: Duration) {
        let mut state = self.state();
        state.flushes += 1;
        let wanted = state.flushes;
        state.rung = true;
        self.0.1.notify_all();
        let waiting = |state: &mut State| state.flushed < wanted && !state.ended;
        drop(self.0.1.wait_timeout_while(state, limit, waiting));
    }

    /// Tells the keeper to end when it has put all on disk.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        (state.stops, state.rung) = (true, true);
        self.0.1.notify_all();
    }

    /// Waits until it rings, or until `until`.
    pub(super) fn wait(&self, until: Instant) -> State {
        let limit = until.saturating_duration_since(Instant::now());
        let waited = self.0.1.wait_timeout_while(self.state(), limit, |state| !state.rung);
        let mut state = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        state.rung = false;
        *state
    }

    /// All that was asked up to there is done.
    pub(super) fn has_flushed(&self, flushes: u64) {
        self.state().flushed = flushes;
        self.0.1.notify_all();
    }

    /// Nobody needs to wait for the keeper any more.
    pub(super) fn has_ended(&self) {
        self.state().ended = true;
        self.0.1.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each field is set at once: a panic elsewhere leaves whole values behind.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rang_while_nobody_waited_is_heard_once() {
        let bell = Bell::default();
        let soon = || Instant::now() + Duration::from_millis(1);
        bell.ring();
        bell.ring();
        assert!(!bell.wait(soon()).stops);
        bell.stop();
        assert!(bell.wait(soon()).stops);
        bell.has_ended();
        bell.flush(Duration::from_secs(3600));
    }
}
