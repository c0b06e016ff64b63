//! The delivery accounts as series: what became of the messages that were not simply sent, and how
//! sessions move on the ladder. Called by the collector at each scrape.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{encode_value, labels};
use crate::metrics::accounts::{Accounts, DROP_REASONS, GAP_REASONS, MOVES, RECOVERIES, STEPS};
use crate::metrics::{Counter, WorkerMetrics};

/// Series of one label besides the worker.
struct Labelled {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    label: &'static str,
    values: &'static [&'static str],
    counters: fn(&Accounts) -> &[Counter],
}

const LABELLED: [Labelled; 4] = [
    Labelled {
        name: "dropped",
        help: "Messages dropped, by subscription: its client was slow, or it ended",
        kind: MetricType::Counter,
        label: "reason",
        values: &DROP_REASONS,
        counters: |accounts| &accounts.dropped,
    },
    Labelled {
        name: "gap_messages",
        help: "Messages that gap notices stand for, by reason",
        kind: MetricType::Counter,
        label: "reason",
        values: &GAP_REASONS,
        counters: |accounts| &accounts.gaps,
    },
    Labelled {
        name: "recoveries",
        help: "Subscribes with a position: all that was missed was there, or not",
        kind: MetricType::Counter,
        label: "result",
        values: &RECOVERIES,
        counters: |accounts| &accounts.recoveries,
    },
    Labelled {
        name: "slow_sessions",
        help: "Sessions that do not keep up, by their step of the ladder",
        kind: MetricType::Gauge,
        label: "step",
        values: &STEPS,
        counters: |accounts| &accounts.on_step,
    },
];

pub(super) fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    workers: &[WorkerMetrics],
) -> fmt::Result {
    for metric in LABELLED {
        let mut family = encoder.encode_descriptor(metric.name, metric.help, None, metric.kind)?;
        for (number, worker) in workers.iter().enumerate() {
            for (value, counter) in metric.values.iter().zip((metric.counters)(&worker.accounts)) {
                let labels = labels(number, metric.label, value);
                encode_value(family.encode_family(&labels)?, metric.kind, counter.get())?;
            }
        }
    }
    let (help, kind) = ("Steps on the ladder, by direction and where to", MetricType::Counter);
    let mut family = encoder.encode_descriptor("ladder_steps", help, None, kind)?;
    for (number, worker) in workers.iter().enumerate() {
        for ((direction, to), counter) in MOVES.iter().zip(&worker.accounts.steps) {
            let labels = (labels(number, "direction", direction), [("to", *to)]);
            encode_value(family.encode_family(&labels)?, kind, counter.get())?;
        }
    }
    Ok(())
}
