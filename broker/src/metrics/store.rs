//! What the store counts. One block, written by the keeper's thread alone.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::Counter;
use super::prometheus::{encode_counter, encode_gauge};

/// The counters of the store; all zero where nothing is kept on disk.
#[derive(Debug, Default)]
pub struct StoreMetrics {
    /// Times that all that waited was put on disk together.
    pub batches: Counter,
    /// Messages among it.
    pub messages: Counter,
    /// Bytes written.
    pub bytes: Counter,
    /// Waits for the disk to have what was written.
    pub syncs: Counter,
    /// What these took, in nanoseconds.
    pub sync_ns: Counter,
    /// The longest of them, in nanoseconds.
    pub sync_ns_max: Counter,
    /// Gauge: bytes on disk.
    pub disk_bytes: Counter,
    /// Gauge: bytes that wait to be written.
    pub queue_bytes: Counter,
    /// Times that the log was written anew with what is still kept.
    pub checkpoints: Counter,
    /// Writes and waits that failed.
    pub errors: Counter,
    /// Gauge: 0 it can be written to; 1 there is no room; 2 it is closed until the next start.
    pub state: Counter,
    /// Messages that were taken over at the start.
    pub recovered: Counter,
    /// Messages that were on disk then and are kept no more: too old, or there was no room.
    pub left_out: Counter,
    /// Bytes of a write that was not done when the process or the machine stopped.
    pub torn_bytes: Counter,
    /// Bytes that were damaged, with whole ones behind them.
    pub damaged_bytes: Counter,
}

impl StoreMetrics {
    /// Writes them as OpenMetrics text.
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let bytes = Some(&Unit::Bytes);
        for (name, help, value) in [
            ("store_batches", "Batches of messages put on disk", &self.batches),
            ("store_messages", "Messages put on disk", &self.messages),
            ("store_syncs", "Waits for the disk to have what was written", &self.syncs),
            ("store_checkpoints", "Times the log was written anew", &self.checkpoints),
            ("store_errors", "Writes and waits for the disk that failed", &self.errors),
            ("store_recovered", "Messages taken over at the start", &self.recovered),
            ("store_left_out", "Messages on disk at the start and not kept", &self.left_out),
        ] {
            encode_counter(encoder, name, help, value.get())?;
        }
        for (name, help, value) in [
            ("store_written", "Bytes written to the store", &self.bytes),
            ("store_torn", "Bytes of an unfinished write found at the start", &self.torn_bytes),
            ("store_damaged", "Damaged bytes found at the start", &self.damaged_bytes),
        ] {
            encoder
                .encode_descriptor(name, help, bytes, MetricType::Counter)?
                .encode_counter::<prometheus_client::encoding::NoLabelSet, u64, u64>(
                &value.get(),
                None,
            )?;
        }
        encode_gauge(encoder, "store_disk", "Bytes on disk", bytes, self.disk_bytes.get())?;
        let help = "Bytes that wait to be put on disk";
        encode_gauge(encoder, "store_queue", help, bytes, self.queue_bytes.get())?;
        let help = "The store: 0 open, 1 no room, 2 closed after a failure of the disk";
        encode_gauge(encoder, "store_state", help, None, self.state.get())?;
        self.encode_times(encoder)
    }

    fn encode_times(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Nanoseconds spent waiting for the disk";
        encode_counter(encoder, "store_sync_nanoseconds", help, self.sync_ns.get())?;
        let help = "Nanoseconds of the longest wait for the disk";
        encode_gauge(encoder, "store_sync_max_nanoseconds", help, None, self.sync_ns_max.get())
    }

    /// Counts a wait for the disk.
    pub fn count_sync(&self, ns: u64) {
        self.syncs.add(1);
        self.sync_ns.add(ns);
        self.sync_ns_max.set(self.sync_ns_max.get().max(ns));
    }
}
