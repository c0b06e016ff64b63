//! How near the broker is to the memory it may use, and what is therefore to be given up: first new
//! clients, then the largest backlogs, then what is kept of topics. One worker
//! measures, all act on it.

use std::sync::atomic::{AtomicU8, Ordering};

/// What is to be given up; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Pressure {
    /// Nothing.
    None = 0,
    /// No new WebSocket is let in, from 80 % of the memory on.
    Refuse = 1,
    /// The largest backlogs are cut, half of their bytes at a time, from 90 % on.
    Cut = 2,
    /// Of topics only the last message is kept, from 95 % on.
    Trim = 3,
}

impl Pressure {
    /// What so many bytes in use call for, out of `bytes_max`; 0 of these means no limit.
    pub fn of(bytes: u64, bytes_max: u64) -> Self {
        let percent = bytes.saturating_mul(100).checked_div(bytes_max).unwrap_or(0);
        match percent {
            0..80 => Self::None,
            80..90 => Self::Refuse,
            90..95 => Self::Cut,
            _ => Self::Trim,
        }
    }

    /// The step as metrics and logs spell it.
    pub fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Refuse => "refuse",
            Self::Cut => "cut",
            Self::Trim => "trim",
        }
    }
}

/// The present pressure, as all workers see it.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU8);

impl Gauge {
    /// The pressure now.
    pub fn get(&self) -> Pressure {
        match self.0.load(Ordering::Relaxed) {
            0 => Pressure::None,
            1 => Pressure::Refuse,
            2 => Pressure::Cut,
            _ => Pressure::Trim,
        }
    }

    /// Sets it; returns what it was.
    pub fn set(&self, pressure: Pressure) -> Pressure {
        let before = self.get();
        self.0.store(pressure as u8, Ordering::Relaxed);
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_in_their_order_and_without_a_limit_none() {
        let of = |bytes| Pressure::of(bytes, 1_000);
        assert_eq!((of(0), of(799)), (Pressure::None, Pressure::None));
        assert_eq!((of(800), of(899)), (Pressure::Refuse, Pressure::Refuse));
        assert_eq!((of(900), of(949)), (Pressure::Cut, Pressure::Cut));
        assert_eq!((of(950), of(u64::MAX)), (Pressure::Trim, Pressure::Trim));
        assert_eq!(Pressure::of(u64::MAX, 0), Pressure::None);
        let gauge = Gauge::default();
        for pressure in [Pressure::Refuse, Pressure::Cut, Pressure::Trim, Pressure::None] {
            gauge.set(pressure);
            assert_eq!(gauge.get(), pressure);
        }
    }
}
