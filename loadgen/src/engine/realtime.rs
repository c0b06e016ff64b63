//! From the clock of the kernel's timestamps, the realtime clock, to the monotonic one that all
//! other times are on. They run side by side until somebody sets the clock: that is noticed within
//! a second. The conversion is pure; kept by each worker's receiver.

use crate::sys;

/// How often the two clocks are held against each other.
const CHECK_EVERY_NS: u64 = 1_000_000_000;

/// How often they are read for that; the closest pair of readings counts.
const READINGS: usize = 5;

/// A difference that changed by more than this, beyond what the readings leave open, means that the
/// realtime clock was set: 50 µs. A smaller one would not show in any number reported.
const STEP_NS: u64 = 50_000;

/// The realtime clock's distance from the monotonic one.
#[derive(Debug)]
pub(super) struct Realtime {
    ahead_ns: i64,
    checked_ns: u64,
}

/// Two readings of the monotonic clock with one of the realtime clock between them.
#[derive(Clone, Copy, Debug)]
struct Reading {
    before_ns: u64,
    real_ns: u64,
    after_ns: u64,
}

impl Realtime {
    /// As the clocks stand now.
    pub(super) fn new() -> Self {
        let reading = Reading::closest();
        Self { ahead_ns: reading.ahead_ns(), checked_ns: reading.after_ns }
    }

    /// A time of the realtime clock on the monotonic one.
    pub(super) fn to_monotonic(&self, real_ns: u64) -> u64 {
        real_ns.saturating_add_signed(self.ahead_ns.saturating_neg())
    }

    /// Looks at the clocks if a second has passed since the last look; returns whether the realtime
    /// clock was set since.
    pub(super) fn has_stepped(&mut self, now_ns: u64) -> bool {
        now_ns >= self.checked_ns + CHECK_EVERY_NS && self.has_stepped_by_now()
    }

    /// Looks at the clocks in any case.
    pub(super) fn has_stepped_by_now(&mut self) -> bool {
        self.handle_reading(Reading::closest())
    }

    fn handle_reading(&mut self, reading: Reading) -> bool {
        self.checked_ns = reading.after_ns;
        let moved_ns = reading.ahead_ns().abs_diff(self.ahead_ns);
        let is_step = moved_ns > STEP_NS + reading.width_ns();
        if is_step {
            self.ahead_ns = reading.ahead_ns();
        }
        is_step
    }
}

impl Reading {
    /// The one of several that leaves least open.
    fn closest() -> Self {
        let mut closest = Self::now();
        for _ in 1..READINGS {
            let reading = Self::now();
            if reading.width_ns() < closest.width_ns() {
                closest = reading;
            }
        }
        closest
    }

    fn now() -> Self {
        let before_ns = sys::now_ns();
        let real_ns = sys::realtime_ns();
        Self { before_ns, real_ns, after_ns: sys::now_ns() }
    }

    /// How long the reading took: the realtime clock was read somewhere in that time.
    fn width_ns(&self) -> u64 {
        self.after_ns.saturating_sub(self.before_ns)
    }

    fn ahead_ns(&self) -> i64 {
        let middle_ns = self.before_ns + self.width_ns() / 2;
        self.real_ns.cast_signed().wrapping_sub(middle_ns.cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reading at `at_ns` that took `width_ns`, of a clock so far ahead.
    fn reading(at_ns: u64, width_ns: u64, ahead_ns: i64) -> Reading {
        let real_ns = (at_ns + width_ns / 2).saturating_add_signed(ahead_ns);
        Reading { before_ns: at_ns, real_ns, after_ns: at_ns + width_ns }
    }

    fn clock(ahead_ns: i64) -> Realtime {
        let first = reading(2_000_000_000, 40, ahead_ns);
        Realtime { ahead_ns: first.ahead_ns(), checked_ns: first.after_ns }
    }

    #[test]
    fn times_are_carried_over_whichever_clock_is_ahead() {
        assert_eq!(clock(5_000).to_monotonic(7_005_000), 7_000_000);
        assert_eq!(clock(-5_000).to_monotonic(6_995_000), 7_000_000);
        // A clock that was never set stands at zero: earlier than that there is no time.
        assert_eq!(clock(5_000).to_monotonic(0), 0);
    }

    #[test]
    fn a_clock_that_was_set_in_either_direction_is_noticed_once() {
        for step_ns in [1_000_000, -1_000_000, 3_600_000_000_000] {
            let mut clock = clock(70_000_000);
            assert!(!clock.handle_reading(reading(3_000_000_000, 40, 70_000_000)));
            assert!(clock.handle_reading(reading(4_000_000_000, 40, 70_000_000 + step_ns)));
            assert!(!clock.handle_reading(reading(5_000_000_000, 40, 70_000_000 + step_ns)));
            let real_ns = 6_070_000_000_u64.saturating_add_signed(step_ns);
            assert_eq!(clock.to_monotonic(real_ns), 6_000_000_000);
        }
    }

    #[test]
    fn what_a_slow_reading_leaves_open_is_no_step() {
        let mut clock = clock(0);
        // The realtime clock was read at the very end of 20 ms, not in the middle.
        let slow =
            Reading { before_ns: 3_000_000_000, real_ns: 3_020_000_000, after_ns: 3_020_000_000 };
        assert!(!clock.handle_reading(slow));
        assert_eq!(clock.to_monotonic(4_000_000_000), 4_000_000_000);
    }

    #[test]
    fn the_clocks_are_looked_at_once_a_second() {
        let mut clock = Realtime::new();
        let checked_ns = clock.checked_ns;
        assert!(!clock.has_stepped(checked_ns + CHECK_EVERY_NS - 1));
        assert_eq!(clock.checked_ns, checked_ns);
        clock.has_stepped_by_now();
        assert!(clock.checked_ns > checked_ns);
    }
}
