//! What the workers and the thread that steers them share: the phase, and a few numbers to watch.
//! Numbers here are for steering and for progress lines; what is reported comes from the ledgers.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Pulse;
use super::spread::Merge;

use serde::{Deserialize, Serialize};

/// Where a run stands. Phases only ever go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[repr(u8)]
pub enum Phase {
    /// Connections are opened, and subscriptions sent and answered.
    Connect,
    /// Nothing is sent, so that what the connecting stirred up comes to rest.
    Settle,
    /// Messages go out on schedule: the warm-up, then what is measured.
    Publish,
    /// Nothing is published any more; what is under way arrives.
    Drain,
    /// Close frames are exchanged, then the worker ends.
    Close,
}

/// The common state of a run.
#[derive(Debug)]
pub(super) struct Shared {
    phase: AtomicU8,
    start_ns: AtomicU64,
    gauges: Box<[Gauges]>,
    pulses: Box<[Mutex<Pulse>]>,
    spread: Merge,
}

/// One worker's numbers, written by it alone once per turn.
#[derive(Debug, Default)]
#[repr(align(128))] // two workers never write to one cache line
pub(super) struct Gauges {
    pub(super) ready: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) closed: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) expected: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) missed: AtomicU64,
    pub(super) arrivals: AtomicU64,
    pub(super) to_send: AtomicU64,
    pub(super) missing: AtomicU64,
    pub(super) duplicated: AtomicU64,
    pub(super) out_of_order: AtomicU64,
}

/// The sums of all workers' numbers at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Progress {
    /// Connections that were made and, for subscribers, whose subscription was answered.
    pub ready: u64,
    /// Connections that failed before that.
    pub failed: u64,
    /// Connections that ended after that without our doing.
    pub closed: u64,
    /// Messages published.
    pub sent: u64,
    /// Deliveries that these must lead to.
    pub expected: u64,
    /// Of these, how many were seen.
    pub delivered: u64,
    /// Of these, how many were published while their subscriber was away.
    pub missed: u64,
    /// Everything that arrived, wanted or not.
    pub arrivals: u64,
    /// Publishers that have not sent everything.
    pub to_send: u64,
    /// Messages that have not come although later ones of their topic have.
    pub missing: u64,
    /// Arrivals of a message that had come before.
    pub duplicated: u64,
    /// Messages that came after a later one of their topic.
    pub out_of_order: u64,
}

impl Progress {
    /// Adds those of another process.
    pub fn add(&mut self, other: &Self) {
        // All of them, so that a new one can't be forgotten.
        let Self {
            ready,
            failed,
            closed,
            sent,
            expected,
            delivered,
            missed,
            arrivals,
            to_send,
            missing,
            duplicated,
            out_of_order,
        } = self;
        for (sum, more) in [
            (ready, other.ready),
            (failed, other.failed),
            (closed, other.closed),
            (sent, other.sent),
            (expected, other.expected),
            (delivered, other.delivered),
            (missed, other.missed),
            (arrivals, other.arrivals),
            (to_send, other.to_send),
            (missing, other.missing),
            (duplicated, other.duplicated),
            (out_of_order, other.out_of_order),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

impl Shared {
    pub(super) fn new(workers: usize, spread: Merge) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Connect as u8),
            start_ns: AtomicU64::new(0),
            gauges: (0..workers).map(|_| Gauges::default()).collect(),
            pulses: (0..workers).map(|_| Mutex::default()).collect(),
            spread,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Connect,
            1 => Phase::Settle,
            2 => Phase::Publish,
            3 => Phase::Drain,
            _ => Phase::Close,
        }
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Message 0 is due at `start_ns`. To be set before the phase is.
    pub(super) fn set_start(&self, start_ns: u64) {
        self.start_ns.store(start_ns, Ordering::Release);
    }

    pub(super) fn start_ns(&self) -> u64 {
        self.start_ns.load(Ordering::Acquire)
    }

    pub(super) fn gauges(&self, worker: usize) -> &Gauges {
        &self.gauges[worker]
    }

    pub(super) fn progress(&self) -> Progress {
        let sum = |gauge: fn(&Gauges) -> &AtomicU64| {
            self.gauges.iter().map(|gauges| gauge(gauges).load(Ordering::Relaxed)).sum()
        };
        Progress {
            ready: sum(|gauges| &gauges.ready),
            failed: sum(|gauges| &gauges.failed),
            closed: sum(|gauges| &gauges.closed),
            sent: sum(|gauges| &gauges.sent),
            expected: sum(|gauges| &gauges.expected),
            delivered: sum(|gauges| &gauges.delivered),
            missed: sum(|gauges| &gauges.missed),
            arrivals: sum(|gauges| &gauges.arrivals),
            to_send: sum(|gauges| &gauges.to_send),
            missing: sum(|gauges| &gauges.missing),
            duplicated: sum(|gauges| &gauges.duplicated),
            out_of_order: sum(|gauges| &gauges.out_of_order),
        }
    }

    /// Where the workers put together what came to whom.
    pub(super) fn spread(&self) -> &Merge {
        &self.spread
    }

    /// A worker's pulse, for it to write; none while somebody reads it: a worker never waits.
    pub(super) fn own_pulse(&self, worker: usize) -> Option<MutexGuard<'_, Pulse>> {
        self.pulses[worker].try_lock().ok()
    }

    pub(super) fn pulse(&self) -> Pulse {
        let mut all = Pulse::default();
        for pulse in &self.pulses {
            all.add(&pulse.lock().unwrap_or_else(PoisonError::into_inner));
        }
        all
    }
}
