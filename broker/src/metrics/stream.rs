//! What is counted about topics whose history JetStream keeps, and its Prometheus form.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::DescriptorEncoder;

use super::prometheus::{encode_counter, encode_gauge};

/// Numbers about the streams; all 0 without them.
#[derive(Debug, Default)]
pub struct StreamMetrics {
    /// Gauge: 1 while all that JetStream holds has been read and publishes are taken.
    pub is_ready: AtomicU64,
    /// Gauge: 1 from the start until all that JetStream held then has been read.
    pub is_behind: AtomicU64,
    /// Gauge: 0 if JetStream can be used, as far as is known, 1 if it is not enabled, 2 if it
    /// refuses a stream.
    pub trouble: AtomicU64,
    /// Gauge: records that JetStream has not answered.
    pub in_flight: AtomicU64,
    /// Gauge: records that are still to be read.
    pub lag: AtomicU64,
    /// Records offered, again or for the first time.
    pub offered: AtomicU64,
    /// Those of them that were stored.
    pub stored: AtomicU64,
    /// Those for whose place another node's record was first.
    pub conflicts: AtomicU64,
    /// Those that JetStream could not store.
    pub failures: AtomicU64,
    /// Those that were not answered.
    pub unknown: AtomicU64,
    /// Publishes given up.
    pub given_up: AtomicU64,
    /// Publishes that had come before, on whichever node, and were not published again.
    pub retries: AtomicU64,
    /// Records read, of all nodes.
    pub records: AtomicU64,
    /// Messages in them.
    pub messages: AtomicU64,
    /// Messages read whose number was taken already; they are not delivered.
    pub repeated: AtomicU64,
    /// What was read and is no record, or of a topic that belongs to another stream.
    pub garbage: AtomicU64,
}

impl StreamMetrics {
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        #[rustfmt::skip] // A table: one series a line.
        let gauges = [
            ("stream_ready", "Whether all that JetStream holds has been read", &self.is_ready),
            ("stream_trouble", "1: JetStream is not enabled, 2: it refuses a stream", &self.trouble),
            ("stream_in_flight", "Records that JetStream has not answered", &self.in_flight),
            ("stream_lag", "Records that are still to be read", &self.lag),
        ];
        for (name, help, value) in gauges {
            encode_gauge(encoder, name, help, None, value.load(Ordering::Relaxed))?;
        }
        #[rustfmt::skip] // Likewise.
        let counters = [
            ("stream_offered", "Records offered to JetStream", &self.offered),
            ("stream_stored", "Records that JetStream has stored for this node", &self.stored),
            ("stream_conflicts", "Records that another node's was before", &self.conflicts),
            ("stream_failures", "Records that JetStream could not store", &self.failures),
            ("stream_unknown", "Records that JetStream did not answer", &self.unknown),
            ("stream_given_up", "Publishes given up", &self.given_up),
            ("stream_retries", "Publishes that had come before, on any node", &self.retries),
            ("stream_records", "Records read, of all nodes", &self.records),
            ("stream_messages", "Messages read in them", &self.messages),
            ("stream_repeated", "Messages whose number was taken already", &self.repeated),
            ("stream_garbage", "What was read and is no record", &self.garbage),
        ];
        for (name, help, value) in counters {
            encode_counter(encoder, name, help, value.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
}
