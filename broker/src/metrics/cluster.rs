//! What the cluster's thread counts, and its Prometheus form.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::DescriptorEncoder;

use super::prometheus::{encode_counter, encode_gauge};

/// Numbers about other nodes; all 0 without them.
#[derive(Debug, Default)]
pub struct ClusterMetrics {
    /// Gauge: 1 while NATS is there.
    pub is_up: AtomicU64,
    /// Gauge: other nodes that are alive.
    pub nodes: AtomicU64,
    /// Gauge: filters of this node's clients that NATS knows of.
    pub wanted: AtomicU64,
    /// Connections made to NATS.
    pub connects: AtomicU64,
    /// Attempts to connect that failed, and complaints of the server.
    pub errors: AtomicU64,
    /// Messages of this node's clients sent to the others.
    pub sent: AtomicU64,
    /// Messages not sent, NATS being away or slow; the other nodes announce a gap.
    pub unsent: AtomicU64,
    /// Messages of other nodes delivered here.
    pub received: AtomicU64,
    /// Messages of other nodes that came again.
    pub repeated: AtomicU64,
    /// Messages of other nodes that were lost, and announced as gaps.
    pub lost: AtomicU64,
    /// Times that messages were dropped because they were not taken fast enough.
    pub drops: AtomicU64,
    /// What came and was no envelope of ours, or not signed by one of us.
    pub garbage: AtomicU64,
}

impl ClusterMetrics {
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        #[rustfmt::skip] // A table: one series a line.
        let gauges = [
            ("cluster_up", "Whether NATS is there", &self.is_up),
            ("cluster_nodes", "Other nodes that are alive", &self.nodes),
            ("cluster_wanted", "Filters that NATS knows of", &self.wanted),
        ];
        for (name, help, value) in gauges {
            encode_gauge(encoder, name, help, None, value.load(Ordering::Relaxed))?;
        }
        #[rustfmt::skip] // Likewise.
        let counters = [
            ("cluster_connects", "Connections made to NATS", &self.connects),
            ("cluster_errors", "Failed attempts to connect, and complaints of NATS", &self.errors),
            ("cluster_sent", "Messages sent to other nodes", &self.sent),
            ("cluster_unsent", "Messages not sent, NATS being away or slow", &self.unsent),
            ("cluster_received", "Messages of other nodes", &self.received),
            ("cluster_repeated", "Messages of other nodes that came again", &self.repeated),
            ("cluster_lost", "Messages of other nodes that were lost and announced", &self.lost),
            ("cluster_drops", "Times that messages of other nodes were dropped", &self.drops),
            ("cluster_garbage", "What came and was not of one of our nodes", &self.garbage),
        ];
        for (name, help, value) in counters {
            encode_counter(encoder, name, help, value.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
}
