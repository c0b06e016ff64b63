//! Who reads slowly where a part of the subscribers does, and what is counted of them apart. No
//! sockets and no clock; the plan says who, each worker keeps the book of its own.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::ledger::{Tally, histogram};
use crate::counts;

/// The most bytes a second that count as slow.
pub const SLOW_BYTES_MAX: u32 = 500_000;

/// The receive buffer asked for on a slow reader's socket, in bytes; a system may have a larger
/// least size. A large one would read ahead for the reader.
pub(super) const SLOW_RECEIVE_BYTES: usize = 4096;

/// The shortest time between two reads of slow readers.
pub(super) const READ_EVERY_NS: u64 = 100_000_000;

/// A part of the subscribers reads slowly until publishing is over, and then as fast as it can.
///
/// ```
/// use loadgen::engine::Slow;
///
/// let slow = Slow { subscribers: 2, bytes_per_second: 1024 };
/// assert_eq!(slow.bytes_in(500_000_000), 512);
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Slow {
    /// How many subscribers take part, at least one: the first so many.
    pub subscribers: u32,
    /// How much each reads in a second, at most [`SLOW_BYTES_MAX`]; 0 for nothing at all.
    pub bytes_per_second: u32,
}

/// What a worker notes of its slow readers, whose accounts are its first ones.
#[derive(Debug, Deserialize, Serialize)]
pub struct SlowBook {
    ends: Vec<End>,
    /// As [`Ledger::latency`](super::Ledger::latency), of the slow readers alone.
    #[serde(with = "counts")]
    pub latency: Histogram<u64>,
    /// How they were closed, where that was to be expected.
    pub closes: Tally,
}

/// How it stands with one slow reader's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
enum End {
    Open,
    /// A close frame came, or something that is no frame; `is_right` if it may be so.
    Announced {
        is_right: bool,
    },
    /// It ended as that of a slow reader may.
    Cut,
}

impl Slow {
    /// How much each may read in so many nanoseconds, in bytes.
    #[must_use]
    pub fn bytes_in(&self, nanos: u64) -> usize {
        (u128::from(nanos) * u128::from(self.bytes_per_second) / 1_000_000_000) as usize
    }
}

impl SlowBook {
    pub(super) fn new(accounts: usize) -> Self {
        let ends = vec![End::Open; accounts];
        Self { ends, latency: histogram(), closes: Tally::default() }
    }

    /// How many accounts are those of slow readers.
    #[must_use]
    pub fn accounts(&self) -> usize {
        self.ends.len()
    }

    /// Whether the server ended the connection with this account, as it may.
    #[must_use]
    pub fn is_cut(&self, account: usize) -> bool {
        self.ends.get(account) == Some(&End::Cut)
    }

    /// The server says why the connection ends; `is_right` if that may be said to a slow reader.
    pub(super) fn handle_announced(&mut self, account: usize, is_right: bool) {
        if let Some(end) = self.ends.get_mut(account) {
            *end = End::Announced { is_right };
        }
    }

    /// The connection is over; returns whether that was to be expected. A server need not wait
    /// until its close frame is read: an end without one is as good.
    pub(super) fn handle_closed(&mut self, account: usize, why: &str) -> bool {
        let Some(end) = self.ends.get_mut(account) else { return false };
        if *end == (End::Announced { is_right: false }) {
            return false;
        }
        *end = End::Cut;
        self.closes.add(why.to_owned());
        true
    }
}

/// The seq that a close reason names as the last, if it does: `too slow, last seq 41 of t`.
pub(super) fn last_seq(reason: &str) -> Option<u64> {
    let (_, rest) = reason.split_once("last seq ")?;
    rest.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_with_the_right_close_frame_or_none_is_expected_and_no_other() {
        let mut book = SlowBook::new(3);
        book.handle_announced(0, true);
        book.handle_announced(1, false);
        assert!(book.handle_closed(0, "4408 too slow"));
        assert!(!book.handle_closed(1, "1011 boom"));
        assert!(book.handle_closed(2, "reset"));
        assert!(!book.handle_closed(3, "of a quick one"));
        assert_eq!([0, 1, 2, 3].map(|account| book.is_cut(account)), [true, false, true, false]);
        assert_eq!(book.closes.sum(), 2);
    }

    #[test]
    fn the_last_seq_is_read_from_the_reason() {
        assert_eq!(last_seq("too slow, last seq 41 of a/b c"), Some(41));
        assert_eq!(last_seq("too slow, answers not read"), None);
    }
}
