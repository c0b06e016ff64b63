//! What a worker gives up when memory runs short. The first worker measures, ten times a second
//! because publishers can fill much in one; each cuts its own backlogs.

use super::Worker;
use crate::metrics::{Pressure, allocated_bytes};

/// Memory is looked at this often.
const LOOK_MS: u64 = 100;

impl Worker {
    /// When memory is to be looked at next; never, if there is no limit.
    pub(super) fn next_memory_ms(&self) -> Option<u64> {
        (self.core.config.memory_bytes_max > 0).then_some(self.next_memory_ms)
    }

    /// If it is time to, looks how much memory is left and acts on it.
    pub(super) fn heed_memory(&mut self) {
        let bytes_max = self.core.config.memory_bytes_max;
        if bytes_max == 0 || self.core.now_ms < self.next_memory_ms {
            return;
        }
        self.next_memory_ms = self.core.now_ms + LOOK_MS;
        if self.core.index == 0 {
            self.measure_memory(bytes_max);
        }
        let pressure = self.core.metrics.pressure.get();
        if pressure >= Pressure::Cut {
            self.halve_backlogs();
        }
        if self.core.index == 0 {
            self.core.hub.squeeze_history(pressure >= Pressure::Trim);
        }
    }

    fn measure_memory(&mut self, bytes_max: u64) {
        let Some(bytes) = allocated_bytes() else { return };
        let pressure = Pressure::of(bytes, bytes_max);
        let before = self.core.metrics.pressure.set(pressure);
        if pressure != before {
            let (step, before) = (pressure.label(), before.label());
            tracing::warn!(bytes, bytes_max, step, before, "memory is short or no longer so");
        }
    }

    /// Ends the connections for which most waits until half of what waits here is gone.
    fn halve_backlogs(&mut self) {
        let goal = self.waiting_bytes() / 2;
        while self.waiting_bytes() > goal && self.end_slowest() {}
    }
}
