//! Writes the counters as OpenMetrics text, which Prometheus reads.
//!
//! The counters stay what the workers write; a collector reads them at each scrape. A table below
//! gives every series its name and meaning. Called by the control plane for `GET /metrics`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::http::STATUSES;
use super::memory::allocated_and_resident;
use super::{CloseReason, Counter, Metrics, REFUSED_STATUSES, WorkerMetrics};

mod accounts;

/// The media type of what [`Exposition::render`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The broker's metrics as a scrape sees them.
///
/// ```
/// use broker::metrics::{Metrics, prometheus::Exposition};
///
/// let metrics = std::sync::Arc::new(Metrics::new(1));
/// metrics.workers[0].deliveries.add(7);
/// let text = Exposition::new(metrics).render()?;
/// assert!(text.contains("altavoz_deliveries_total{worker=\"0\"} 7\n"));
/// # Ok::<(), std::fmt::Error>(())
/// ```
#[derive(Debug)]
pub struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// A view of these counters.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let mut registry = Registry::with_prefix("altavoz");
        registry.register_collector(Box::new(Scrape(metrics)));
        Self { registry }
    }

    /// All series as they are now, in the OpenMetrics text format.
    ///
    /// # Errors
    ///
    /// As its formatter demands; writing to memory does not fail.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(16 * 1024);
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A number each worker has: its name, its meaning and where it stands.
#[derive(Clone, Copy)]
struct PerWorker {
    name: &'static str,
    help: &'static str,
    /// The unit is bytes, and the name gains `_bytes`.
    in_bytes: bool,
    kind: MetricType,
    counter: fn(&WorkerMetrics) -> &Counter,
}

const fn counter(
    name: &'static str,
    help: &'static str,
    counter: fn(&WorkerMetrics) -> &Counter,
) -> PerWorker {
    PerWorker { name, help, in_bytes: false, kind: MetricType::Counter, counter }
}

const fn gauge(
    name: &'static str,
    help: &'static str,
    counter: fn(&WorkerMetrics) -> &Counter,
) -> PerWorker {
    PerWorker { name, help, in_bytes: false, kind: MetricType::Gauge, counter }
}

const fn bytes(metric: PerWorker) -> PerWorker {
    PerWorker { in_bytes: true, ..metric }
}

#[rustfmt::skip] // A table: one series a line.
const PER_WORKER: &[PerWorker] = &[
    gauge("connections", "Sockets open, whatever their state", |w| &w.connections),
    counter("accepted", "Sockets accepted", |w| &w.accepted),
    counter("handshakes", "WebSocket handshakes completed", |w| &w.handshakes),
    counter("http_requests", "Connections handed to the control plane", |w| &w.http_requests),
    counter("messages_received", "WebSocket messages received", |w| &w.messages_in),
    bytes(counter("received", "Bytes read from sockets", |w| &w.bytes_in)),
    counter("messages_sent", "WebSocket messages queued for clients: deliveries and answers", |w| &w.messages_out),
    bytes(counter("sent", "Bytes the kernel took", |w| &w.bytes_out)),
    counter("sends", "Write calls on sockets", |w| &w.sends),
    counter("publishes", "Publishes taken", |w| &w.publishes),
    counter("deliveries", "Messages delivered, one per subscriber and message", |w| &w.deliveries),
    counter("commands", "Commands read, publishes included", |w| &w.commands),
    counter("command_errors", "Commands answered with an error", |w| &w.command_errors),
    gauge("subscriptions", "Subscriptions", |w| &w.subscriptions),
    bytes(gauge("backlog", "Bytes that wait for connections", |w| &w.backlog_bytes)),
    gauge("backlogged_connections", "Connections for which bytes wait", |w| &w.backlogged),
    counter("tokens_accepted", "Tokens that were valid", |w| &w.tokens_accepted),
    counter("tokens_refused", "Tokens that were not valid", |w| &w.tokens_refused),
    counter("pings", "WebSocket pings sent", |w| &w.pings),
    counter("wakes", "Times the worker was woken by another", |w| &w.wakes),
    counter("mail", "Messages taken from the worker's mailbox", |w| &w.mail),
    bytes(gauge("mailbox", "Bytes in the worker's mailbox", |w| &w.mailbox_bytes)),
    counter("read_pauses", "Times a connection was not read because a limit was reached", |w| &w.read_pauses),
    counter("accept_errors", "Accepts that failed", |w| &w.accept_errors),
    bytes(counter("deflate_in", "Bytes of messages that were compressed", |w| &w.deflate_in)),
    bytes(counter("deflate_out", "Bytes that they were compressed to", |w| &w.deflate_out)),
    counter("tls_handshakes", "TLS handshakes completed", |w| &w.tls_handshakes),
    counter("tls_resumed", "TLS handshakes that went on from an earlier session", |w| &w.tls_resumed),
    gauge("tls_handshaking", "TLS handshakes that are not over", |w| &w.tls_handshaking),
    counter("tls_shed", "TLS handshakes dropped because there were too many", |w| &w.tls_shed),
    counter("tls_failures", "TLS sessions refused", |w| &w.tls_failures),
    counter("tls_truncated", "TLS streams that ended without a good-bye", |w| &w.tls_truncated),
    counter("panics", "Panics caught", |w| &w.panics),
    counter("turns", "Turns of the event loop", |w| &w.turns),
    counter("conflated", "Messages that a newer one took the place of, by subscription", |w| &w.accounts.conflated),
    counter("filtered", "Messages that did not move enough or that another subscription delivered", |w| &w.accounts.filtered),
    counter("skipped", "Messages that came while their subscription was paused", |w| &w.accounts.skipped),
    counter("past_messages", "Messages of the past given to subscriptions", |w| &w.accounts.past),
    counter("publish_repeats", "Publishes that had come before, by their msg_id", |w| &w.accounts.repeats),
    gauge("paused_subscriptions", "Subscriptions that are paused", |w| &w.accounts.paused),
    bytes(gauge("held_back", "Bytes put aside for slow sessions, which the backlog total has too", |w| &w.accounts.held_back_bytes)),
    counter("event_streams", "Streams of server-sent events opened", |w| &w.event_streams),
];

#[derive(Debug)]
struct Scrape(Arc<Metrics>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in PER_WORKER {
            self.encode_per_worker(&mut encoder, metric)?;
        }
        accounts::encode(&mut encoder, &self.0.workers)?;
        self.encode_closes(&mut encoder)?;
        self.encode_refusals(&mut encoder)?;
        self.encode_http(&mut encoder)?;
        self.encode_broker(&mut encoder)?;
        self.0.cluster.encode(&mut encoder)?;
        self.0.stream.encode(&mut encoder)?;
        self.0.store.encode(&mut encoder)?;
        encode_process(&mut encoder)
    }
}

impl Scrape {
    fn encode_per_worker(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        metric: &PerWorker,
    ) -> fmt::Result {
        let unit = metric.in_bytes.then_some(&Unit::Bytes);
        let mut family = encoder.encode_descriptor(metric.name, metric.help, unit, metric.kind)?;
        for (number, worker) in self.0.workers.iter().enumerate() {
            let labels = [("worker", number as u64)];
            let value = (metric.counter)(worker).get();
            encode_value(family.encode_family(&labels)?, metric.kind, value)?;
        }
        Ok(())
    }

    fn encode_closes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "WebSocket connections ended, by reason";
        let mut family = encoder.encode_descriptor("closes", help, None, MetricType::Counter)?;
        for (number, worker) in self.0.workers.iter().enumerate() {
            for (reason, count) in CloseReason::ALL.iter().zip(&worker.closes) {
                let labels = labels(number, "reason", reason.label());
                encode_value(family.encode_family(&labels)?, MetricType::Counter, count.get())?;
            }
        }
        Ok(())
    }

    fn encode_refusals(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Opening requests refused, by HTTP status";
        let mut family = encoder.encode_descriptor("refusals", help, None, MetricType::Counter)?;
        let known = REFUSED_STATUSES.iter().map(ToString::to_string);
        let statuses: Vec<String> = known.chain([String::from("other")]).collect();
        for (number, worker) in self.0.workers.iter().enumerate() {
            for (status, count) in statuses.iter().zip(&worker.refusals) {
                let labels = labels(number, "status", status);
                encode_value(family.encode_family(&labels)?, MetricType::Counter, count.get())?;
            }
        }
        Ok(())
    }

    fn encode_http(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let http = &self.0.http;
        let help = "HTTP requests answered by the control plane, by status";
        let kind = MetricType::Counter;
        let mut family = encoder.encode_descriptor("http_answers", help, None, kind)?;
        let statuses = STATUSES.iter().map(ToString::to_string).chain([String::from("other")]);
        for (status, count) in statuses.zip(&http.answers) {
            let labels = [("status", status)];
            encode_value(family.encode_family(&labels)?, kind, count.get())?;
        }
        for (name, help, counter) in [
            ("http_publishes", "Messages published over HTTP", &http.publishes),
            ("http_replays", "Publishes answered as an earlier one of their key", &http.replays),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, kind)?;
            encode_value(metric, kind, counter.get())?;
        }
        Ok(())
    }

    fn encode_broker(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let topics = self.0.topics.load(Ordering::Relaxed);
        encode_gauge(encoder, "topics", "Topics in the directory", None, topics)?;
        let backlog = self.0.backlog_total.load(Ordering::Relaxed);
        let help = "Bytes that wait for all connections, as held against the limit";
        encode_gauge(encoder, "backlog_total", help, Some(&Unit::Bytes), backlog)?;
        let help = "Memory of what topics keep, as held against the limit";
        let kept = self.0.history_bytes.load(Ordering::Relaxed);
        encode_gauge(encoder, "history", help, Some(&Unit::Bytes), kept)?;
        let kept = self.0.history_messages.load(Ordering::Relaxed);
        encode_gauge(encoder, "history_messages", "Messages that topics keep", None, kept)?;
        let reloads = self.0.tls_reloads.load(Ordering::Relaxed);
        encode_counter(encoder, "tls_reloads", "Certificates taken over while running", reloads)?;
        let errors = self.0.tls_reload_errors.load(Ordering::Relaxed);
        let help = "Certificates that could not be taken over, the old one being kept";
        encode_counter(encoder, "tls_reload_errors", help, errors)?;
        let pressure = self.0.pressure.get() as u64;
        let help = "Memory is short: 1 no new clients, 2 backlogs are cut, 3 histories too";
        encode_gauge(encoder, "memory_pressure", help, None, pressure)?;
        let uptime = self.0.started.elapsed().as_secs();
        let help = "Time since the broker started";
        encode_gauge(encoder, "uptime", help, Some(&Unit::Seconds), uptime)?;
        encoder
            .encode_descriptor("build", "The broker's version", None, MetricType::Info)?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
    }
}

fn encode_process(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    if let Some((allocated, resident)) = allocated_and_resident() {
        let help = "Memory in use by the broker, from its allocator";
        encode_gauge(encoder, "allocated", help, Some(&Unit::Bytes), allocated)?;
        let help = "Memory the allocator holds from the system";
        encode_gauge(encoder, "resident", help, Some(&Unit::Bytes), resident)?;
    }
    if let Some(open) = open_files() {
        encode_gauge(encoder, "open_files", "File descriptors open", None, open)?;
    }
    match rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        Some(most) => {
            encode_gauge(encoder, "open_files_max", "File descriptors allowed", None, most)
        }
        None => Ok(()),
    }
}

fn labels<'a>(worker: usize, name: &'a str, value: &'a str) -> impl EncodeLabelSet + use<'a> {
    ([("worker", worker as u64)], [(name, value)])
}

pub(super) fn encode_counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    encode_value(metric, MetricType::Counter, value)
}

pub(super) fn encode_gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: u64,
) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    encode_value(metric, MetricType::Gauge, value)
}

fn encode_value(mut metric: MetricEncoder<'_>, kind: MetricType, value: u64) -> fmt::Result {
    match kind {
        MetricType::Counter => metric.encode_counter::<NoLabelSet, u64, u64>(&value, None),
        _ => metric.encode_gauge(&value),
    }
}

/// Linux gives the number as the size of the directory since 6.2, which costs nothing even with a
/// million sockets; before that it says 0, and other systems have no such directory.
fn open_files() -> Option<u64> {
    match std::fs::metadata("/proc/self/fd").ok()?.len() {
        0 => Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as u64),
        size => Some(size),
    }
}

#[cfg(test)]
mod tests;
