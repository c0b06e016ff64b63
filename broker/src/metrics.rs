//! What the broker counts: one block of counters per worker, written by that worker alone.
//!
//! Counting is one relaxed load and store on the worker's own cache lines, so it may stand on the
//! publish path. Only the control plane and the `$SYS/broker` topic read. Nothing here decides.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub mod accounts;
mod close_reason;
mod cluster;
pub mod http;
pub mod memory;
mod pressure;
pub mod prometheus;
mod store;
pub mod stream;

use accounts::Accounts;
pub use close_reason::CloseReason;
pub use cluster::ClusterMetrics;
use http::HttpMetrics;
pub use memory::allocated_bytes;
pub use pressure::{Gauge, Pressure};
pub use store::StoreMetrics;

/// A number that one thread changes and any thread reads.
///
/// With a single writer a load and a store do what a locked addition would, at a tenth of its cost.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning worker may call this, here and in [`sub`](Self::sub) and
    /// [`set`](Self::set): of two writers one addition could be lost.
    #[inline]
    pub fn add(&self, n: u64) {
        self.set(self.read().wrapping_add(n));
    }

    /// Takes `n` off a gauge; stops at zero.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.set(self.read().saturating_sub(n));
    }

    /// Sets a gauge.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now; may be read by any thread.
    #[inline]
    pub fn get(&self) -> u64 {
        self.read()
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The statuses with which an opening request is refused; the last place counts all others.
pub const REFUSED_STATUSES: [u16; 12] =
    [400, 401, 403, 404, 405, 408, 414, 426, 429, 431, 503, 505];

/// The counters of one worker. On cache lines of their own (two at a time: the prefetcher pairs
/// lines), so that workers don't slow each other by counting.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerMetrics {
    /// Gauge: sockets open on this worker, whatever their state.
    pub connections: Counter,
    /// Sockets accepted.
    pub accepted: Counter,
    /// WebSocket handshakes answered 101.
    pub handshakes: Counter,
    /// Streams of server-sent events opened.
    pub event_streams: Counter,
    /// Opening requests refused, by the place of their status in [`REFUSED_STATUSES`].
    pub refusals: [Counter; REFUSED_STATUSES.len() + 1],
    /// Requests that were no WebSocket handshake, handed to the control plane.
    pub http_requests: Counter,
    /// WebSocket data messages received.
    pub messages_in: Counter,
    /// Bytes read from sockets.
    pub bytes_in: Counter,
    /// WebSocket data messages queued for clients: deliveries and answers.
    pub messages_out: Counter,
    /// Bytes the kernel took from us.
    pub bytes_out: Counter,
    /// Write calls on sockets.
    pub sends: Counter,
    /// Publishes taken.
    pub publishes: Counter,
    /// Messages delivered: one per subscriber and message.
    pub deliveries: Counter,
    /// Commands read, publishes included.
    pub commands: Counter,
    /// Commands answered with an error.
    pub command_errors: Counter,
    /// Gauge: subscriptions of this worker's connections.
    pub subscriptions: Counter,
    /// Gauge: bytes that wait for this worker's connections.
    pub backlog_bytes: Counter,
    /// Gauge: connections for which bytes wait.
    pub backlogged: Counter,
    /// Tokens that were valid.
    pub tokens_accepted: Counter,
    /// Tokens that were not.
    pub tokens_refused: Counter,
    /// Pings sent.
    pub pings: Counter,
    /// Times this worker was woken by another.
    pub wakes: Counter,
    /// Messages taken from the mailbox.
    pub mail: Counter,
    /// Gauge: bytes in the mailbox.
    pub mailbox_bytes: Counter,
    /// Times a connection was no longer read because a limit was reached.
    pub read_pauses: Counter,
    /// Accepts that failed.
    pub accept_errors: Counter,
    /// Bytes of messages that were compressed, as of the last second.
    pub deflate_in: Counter,
    /// What they were compressed to.
    pub deflate_out: Counter,
    /// TLS handshakes completed.
    pub tls_handshakes: Counter,
    /// Those of them that went on from an earlier session.
    pub tls_resumed: Counter,
    /// Gauge: TLS handshakes that are not over.
    pub tls_handshaking: Counter,
    /// TLS handshakes dropped because there were too many.
    pub tls_shed: Counter,
    /// TLS sessions refused: no TLS, broken, or nothing in common.
    pub tls_failures: Counter,
    /// TLS streams that ended without a good-bye.
    pub tls_truncated: Counter,
    /// Panics caught.
    pub panics: Counter,
    /// Turns of the event loop.
    pub turns: Counter,
    /// What became of the messages that were not simply sent.
    pub accounts: Accounts,
    /// WebSocket connections ended, by [`CloseReason`].
    pub closes: [Counter; CloseReason::COUNT],
}

impl WorkerMetrics {
    /// Counts a refusal with this HTTP status.
    pub fn count_refusal(&self, status: u16) {
        let place = REFUSED_STATUSES.iter().position(|&known| known == status);
        self.refusals[place.unwrap_or(REFUSED_STATUSES.len())].add(1);
    }

    /// Counts the end of a WebSocket connection.
    pub fn count_close(&self, reason: CloseReason) {
        self.closes[reason as usize].add(1);
    }
}

/// All that the broker counts.
///
/// ```
/// let metrics = broker::metrics::Metrics::new(2);
/// metrics.workers[0].publishes.add(3);
/// metrics.workers[1].publishes.add(4);
/// assert_eq!(metrics.sum(|worker| &worker.publishes), 7);
/// ```
#[derive(Debug)]
pub struct Metrics {
    /// One block per worker, in the workers' order.
    pub workers: Box<[WorkerMetrics]>,
    /// What the control plane counts.
    pub http: HttpMetrics,
    /// What the cluster counts.
    pub cluster: ClusterMetrics,
    /// What is counted about topics that JetStream keeps.
    pub stream: stream::StreamMetrics,
    /// What the store counts.
    pub store: StoreMetrics,
    /// Gauge: topics in the directory.
    pub topics: AtomicU64,
    /// Gauge: bytes that wait for all connections together, held against `backlog_total_bytes_max`.
    pub backlog_total: AtomicU64,
    /// Gauge: bytes of memory of what topics keep, held against `history_total_bytes_max`.
    pub history_bytes: AtomicU64,
    /// Gauge: messages that topics keep.
    pub history_messages: AtomicU64,
    /// Certificates taken over from their files while the broker ran.
    pub tls_reloads: AtomicU64,
    /// Certificates that were refused then, the one before being kept.
    pub tls_reload_errors: AtomicU64,
    /// How near to `memory_bytes_max` the broker is.
    pub pressure: Gauge,
    /// When counting began.
    pub started: Instant,
}

impl Metrics {
    /// Counters at zero for so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| WorkerMetrics::default()).collect(),
            http: HttpMetrics::default(),
            cluster: ClusterMetrics::default(),
            stream: stream::StreamMetrics::default(),
            store: StoreMetrics::default(),
            topics: AtomicU64::new(0),
            backlog_total: AtomicU64::new(0),
            history_bytes: AtomicU64::new(0),
            history_messages: AtomicU64::new(0),
            pressure: Gauge::default(),
            tls_reloads: AtomicU64::new(0),
            tls_reload_errors: AtomicU64::new(0),
            started: Instant::now(),
        }
    }

    /// One counter, added up over the workers.
    pub fn sum(&self, counter: impl Fn(&WorkerMetrics) -> &Counter) -> u64 {
        self.workers.iter().map(|worker| counter(worker).get()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_two_workers_share_no_cache_line() {
        let metrics = Metrics::new(2);
        let [first, second] = &*metrics.workers else { panic!("two workers") };
        assert_eq!(std::ptr::from_ref(first) as usize % 128, 0);
        assert_eq!(std::ptr::from_ref(second) as usize % 128, 0);
    }

    #[test]
    fn a_gauge_does_not_go_below_zero() {
        let gauge = Counter::default();
        gauge.add(2);
        gauge.sub(3);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn a_status_without_a_place_counts_as_other() {
        let worker = WorkerMetrics::default();
        worker.count_refusal(431);
        worker.count_refusal(599);
        assert_eq!(worker.refusals[9].get(), 1);
        assert_eq!(worker.refusals[REFUSED_STATUSES.len()].get(), 1);
    }
}
