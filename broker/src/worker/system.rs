//! The broker's own numbers: gauges for /metrics, and `$SYS/broker` once a second.

use std::sync::atomic::Ordering;

use broker_proto::topic::Topic;
use serde_json::json;

use super::Worker;

/// Where the broker publishes its numbers.
pub(super) const SYSTEM_TOPIC: &str = "$SYS/broker";

impl Worker {
    /// Brings the gauges up to date; the first worker also publishes the sums.
    pub(super) fn report(&mut self) {
        let shared = self.core.hub.shared();
        let mailbox_bytes = shared.mailbox(self.core.index).bytes();
        let topics = shared.directory.len();
        self.core.counters().mailbox_bytes.set(mailbox_bytes);
        let (message_bytes, wire_bytes) = self.codec.deflated_bytes();
        self.core.counters().deflate_in.set(message_bytes);
        self.core.counters().deflate_out.set(wire_bytes);
        let metrics = &self.core.metrics;
        metrics.topics.store(topics, Ordering::Relaxed);
        metrics.history_bytes.store(shared.history.bytes(), Ordering::Relaxed);
        metrics.history_messages.store(shared.history.messages(), Ordering::Relaxed);
        if self.core.index != 0 {
            return;
        }
        let numbers = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": self.core.now_ms / 1_000,
            "workers": metrics.workers.len(),
            "connections": metrics.sum(|worker| &worker.connections),
            "subscriptions": metrics.sum(|worker| &worker.subscriptions),
            "topics": topics,
            "messages_in": metrics.sum(|worker| &worker.messages_in),
            "messages_out": metrics.sum(|worker| &worker.messages_out),
            "publishes": metrics.sum(|worker| &worker.publishes),
            "deliveries": metrics.sum(|worker| &worker.deliveries),
            "bytes_in": metrics.sum(|worker| &worker.bytes_in),
            "bytes_out": metrics.sum(|worker| &worker.bytes_out),
            "backlog_bytes": metrics.backlog_total.load(Ordering::Relaxed),
        });
        let topic = Topic::new(SYSTEM_TOPIC).expect("a literal that is a topic");
        self.core.hub.publish_system(topic, numbers.to_string().as_bytes(), self.core.now_ms);
    }
}
