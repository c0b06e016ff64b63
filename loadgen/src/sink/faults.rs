//! Which delivery suffers what, and when: decided by count, by a seeded draw and by the clock that
//! is passed in. Touches no connection and counts nothing but its own turns; asked by the exchange.

use std::time::Duration;

use fastrand::Rng;

use crate::options::SinkFlags;

/// What is done wrong with one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not made.
    Drop,
    /// A byte of its payload is another.
    Corrupt,
    /// Another topic's message is delivered.
    Misroute,
    /// It is made twice.
    Duplicate,
    /// It is made after the next.
    Reorder,
}

/// Decides for each delivery in turn.
#[derive(Debug)]
pub(super) struct Faults {
    /// What every so many deliveries suffer, in the order of precedence.
    every: Vec<(Fault, u64)>,
    /// The share of deliveries that are left out at random.
    drop_share: f64,
    drop_draw: Rng,
    delay_ns: u64,
    jitter_ns: u64,
    jitter_draw: Rng,
    refuse_share: f64,
    refuse_draw: Rng,
}

/// When everything stops, and for how long.
#[derive(Debug)]
pub(super) struct Stalls {
    at_ns: u64,
    every_ns: Option<u64>,
    lasting: Duration,
    next_ns: Option<u64>,
    has_begun: bool,
}

impl Faults {
    pub(super) fn new(flags: &SinkFlags) -> Self {
        let every = [
            (Fault::Drop, flags.drop),
            (Fault::Corrupt, flags.corrupt),
            (Fault::Misroute, flags.misroute),
            (Fault::Duplicate, flags.duplicate),
            (Fault::Reorder, flags.reorder),
        ];
        // A stream of its own for each draw: one more fault does not change what the others hit.
        let draw = |stream: u64| Rng::with_seed(flags.seed.wrapping_mul(4).wrapping_add(stream));
        Self {
            every: every.into_iter().filter_map(|(fault, n)| Some((fault, n?))).collect(),
            drop_share: flags.drop_percent.unwrap_or(0.0) / 100.0,
            drop_draw: draw(0),
            delay_ns: nanos(flags.delay),
            jitter_ns: nanos(flags.jitter),
            jitter_draw: draw(1),
            refuse_share: flags.refuse_percent / 100.0,
            refuse_draw: draw(2),
        }
    }

    /// What the delivery with this number suffers, from 1; to be asked once about each, in turn.
    pub(super) fn next(&mut self, delivery: u64) -> Option<Fault> {
        if self.drop_share > 0.0 && self.drop_draw.f64() < self.drop_share {
            return Some(Fault::Drop);
        }
        let mut every = self.every.iter();
        every.find(|(_, n)| delivery.is_multiple_of(*n)).map(|&(fault, _)| fault)
    }

    /// How long the next delivery is held back; none where none ever is.
    pub(super) fn hold_ns(&mut self) -> Option<u64> {
        if self.delay_ns == 0 && self.jitter_ns == 0 {
            return None;
        }
        Some(self.delay_ns + self.jitter_draw.u64(0..=self.jitter_ns))
    }

    /// Whether the next handshake is refused.
    pub(super) fn refuses(&mut self) -> bool {
        self.refuse_share > 0.0 && self.refuse_draw.f64() < self.refuse_share
    }
}

impl Stalls {
    /// None if there are to be none.
    pub(super) fn new(flags: &SinkFlags) -> Option<Self> {
        let seconds = |seconds: f64| nanos(seconds * 1e3);
        let every_ns = flags.stall_every.map(seconds);
        Some(Self {
            at_ns: flags.stall_at.map(seconds).or(every_ns)?,
            every_ns,
            lasting: Duration::from_nanos(nanos(flags.stall_for?)),
            next_ns: None,
            has_begun: false,
        })
    }

    /// The first message came: from now on the time runs.
    pub(super) fn handle_message(&mut self, now_ns: u64) {
        if !self.has_begun {
            self.has_begun = true;
            self.next_ns = Some(now_ns + self.at_ns);
        }
    }

    /// When the next one is due.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.next_ns
    }

    /// How long to do nothing now, if a stall is due.
    pub(super) fn take_due(&mut self, now_ns: u64) -> Option<Duration> {
        let due_ns = self.next_ns.filter(|&due_ns| due_ns <= now_ns)?;
        self.next_ns = self.every_ns.map(|every_ns| due_ns + every_ns);
        Some(self.lasting)
    }
}

/// Milliseconds in nanoseconds.
fn nanos(millis: f64) -> u64 {
    (millis * 1e6) as u64
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::options::{Command, Options};

    fn flags(text: &str) -> SinkFlags {
        let all = ["loadgen", "sink"].into_iter().chain(text.split_whitespace());
        match Options::try_parse_from(all).unwrap().command {
            Command::Sink(flags) => flags,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_nth_delivery_suffers_the_first_fault_that_applies() {
        let mut faults = Faults::new(&flags("--drop 3 --duplicate 2 --reorder 6"));
        let seen: Vec<_> = (1..=6).map(|delivery| faults.next(delivery)).collect();
        let [drop, twice] = [Some(Fault::Drop), Some(Fault::Duplicate)];
        assert_eq!(seen, [None, twice, drop, twice, None, drop]);
    }

    #[test]
    fn what_is_drawn_is_the_same_for_the_same_seed_whatever_else_is_injected() {
        let dropped = |text: &str| {
            let mut faults = Faults::new(&flags(text));
            (1..=1000)
                .filter(|&number| faults.next(number) == Some(Fault::Drop))
                .collect::<Vec<_>>()
        };
        let first = dropped("--drop-percent 10 --seed 7");
        assert!((50..200).contains(&first.len()), "{}", first.len());
        assert_eq!(first, dropped("--drop-percent 10 --seed 7 --jitter 5 --duplicate 2"));
        assert_ne!(first, dropped("--drop-percent 10 --seed 8"));
    }

    #[test]
    fn a_delay_is_exact_and_jitter_only_adds_to_it() {
        assert_eq!(Faults::new(&flags("")).hold_ns(), None);
        assert_eq!(Faults::new(&flags("--delay 1.5")).hold_ns(), Some(1_500_000));
        let mut faults = Faults::new(&flags("--delay 2 --jitter 1"));
        let held: Vec<_> = (0..100).filter_map(|_| faults.hold_ns()).collect();
        assert!(held.iter().all(|held| (2_000_000..=3_000_000).contains(held)));
        assert!(held.iter().any(|&other| other != held[0]));
    }

    #[test]
    fn stalls_are_due_from_the_first_message_on_once_or_again_and_again() {
        assert!(Stalls::new(&flags("")).is_none());
        let mut once = Stalls::new(&flags("--stall-at 1 --stall-for 500")).unwrap();
        assert_eq!(once.take_due(u64::MAX), None);
        once.handle_message(10);
        once.handle_message(20);
        assert_eq!((once.next_ns(), once.take_due(1_000_000_009)), (Some(1_000_000_010), None));
        assert_eq!(once.take_due(1_000_000_010), Some(Duration::from_millis(500)));
        assert_eq!((once.next_ns(), once.take_due(u64::MAX)), (None, None));

        let mut often = Stalls::new(&flags("--stall-every 2 --stall-for 1")).unwrap();
        often.handle_message(0);
        assert!(often.take_due(2_500_000_000).is_some());
        assert_eq!(often.next_ns(), Some(4_000_000_000));
    }
}
