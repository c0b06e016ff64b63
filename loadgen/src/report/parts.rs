//! The parts of the latency: until the kernel received a delivery, and from there until it was
//! counted. Adds up what the workers split; shown by every form of a report.

use std::collections::BTreeMap;
use std::mem;

use hdrhistogram::Histogram;

use crate::engine::{Split, histogram};
use crate::seconds::{self, Seconds};

/// The parts of a run's latency. Empty where they are [`absent`](Self::absent).
#[derive(Debug)]
pub struct Parts {
    /// From the intended send to the kernel's receipt, in nanoseconds: the network's and the
    /// target's. Deliveries of which it can't be told are missing here.
    pub net: Histogram<u64>,
    /// From the kernel's receipt to the count, in nanoseconds: the load generator's own.
    pub own: Histogram<u64>,
    /// `net` by second, counted from the begin of measuring.
    pub net_seconds: BTreeMap<i64, Histogram<u64>>,
    /// `own` by second.
    pub own_seconds: BTreeMap<i64, Histogram<u64>>,
    absent: Option<Absent>,
    splits: Vec<[Seconds; 2]>,
}

/// Why the parts are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Nobody asked for them.
    Off,
    /// The kernel said of nothing when it was received.
    NoTimes,
    /// The realtime clock was set, which the kernel's times are on.
    ClockSet,
}

impl Absent {
    /// In words.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::Off => "switched off by --kernel-timestamps",
            Self::NoTimes => "the kernel gave no receive timestamps",
            Self::ClockSet => "the realtime clock was set during the run",
        }
    }
}

impl Parts {
    pub(super) fn new(is_on: bool) -> Self {
        Self {
            net: histogram(),
            own: histogram(),
            net_seconds: BTreeMap::new(),
            own_seconds: BTreeMap::new(),
            absent: (!is_on).then_some(Absent::Off),
            splits: Vec::new(),
        }
    }

    /// Why there is nothing, if so.
    #[must_use]
    pub fn absent(&self) -> Option<Absent> {
        self.absent.or_else(|| self.own.is_empty().then_some(Absent::NoTimes))
    }

    /// Deliveries that lay in the socket with others while the generator was not looking: what
    /// part the network has in them can't be told.
    #[must_use]
    pub fn undecided(&self) -> u64 {
        self.own.len() - self.net.len()
    }

    /// Adds what a worker split.
    pub(super) fn add(&mut self, split: Split) {
        if split.clock_steps > 0 {
            self.absent = self.absent.or(Some(Absent::ClockSet));
        }
        self.net.add(split.net).expect("all histograms have one shape");
        self.own.add(split.own).expect("all histograms have one shape");
        self.splits.push([split.net_seconds, split.own_seconds]);
    }

    /// Everything is added.
    pub(super) fn close(&mut self) {
        let splits = mem::take(&mut self.splits);
        if self.absent.is_some() {
            (self.net, self.own) = (histogram(), histogram());
            return;
        }
        let (net, own): (Vec<_>, Vec<_>) = splits.into_iter().map(|[net, own]| (net, own)).unzip();
        (self.net_seconds, self.own_seconds) = (seconds::merge(net), seconds::merge(own));
    }
}
