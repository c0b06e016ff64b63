//! Other nodes, joined by NATS: what is published here goes to those who want it there, and the
//! other way round.
//!
//! One thread with a tokio runtime of its own. A node whose NATS is away goes on by itself; the
//! connection is made anew, with growing pauses, and what was lost meanwhile is announced. Nothing
//! here may hold up a worker. `server` starts and stops it.

use std::io;
use std::sync::Arc;
#[cfg(feature = "nats")]
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::Notify;
#[cfg(feature = "nats")]
use tokio::sync::watch;

use self::asking::Inside;
use crate::config::Config;
use crate::hub::Shared;
use crate::hub::desk::Desk;
use crate::metrics::Metrics;
#[cfg(feature = "nats")]
use crate::sys;

#[cfg(feature = "nats")]
pub mod arrivals;
pub mod asking;
#[cfg(feature = "nats")]
mod connection;
#[cfg(feature = "nats")]
pub mod departures;
#[cfg(feature = "nats")]
pub mod envelope;
#[cfg(feature = "nats")]
pub mod members;
mod names;
pub mod nodes;
#[cfg(feature = "nats")]
mod receiving;
#[cfg(feature = "nats")]
mod run;
#[cfg(feature = "nats")]
mod sending;
#[cfg(feature = "nats")]
pub mod stream;
#[cfg(feature = "nats")]
pub mod subject;
pub mod trouble;
#[cfg(feature = "nats")]
pub mod wanted;

#[cfg(feature = "nats")]
pub use self::connection::{Bus, Standing};
pub use self::names::Names;

/// What the cluster's thread is made of.
#[derive(Debug)]
pub struct Parts {
    /// The settings.
    pub config: Arc<Config>,
    /// The way to topics and workers.
    pub desk: Desk,
    /// What the workers share: in its uplink lies what is to be sent, in its log what JetStream is
    /// to order.
    pub shared: Arc<Shared>,
    /// Rung when something lies in the uplink.
    pub bell: Bell,
    /// Rung when something comes into that log.
    pub log_bell: Bell,
    /// All counters.
    pub metrics: Arc<Metrics>,
    /// Its name, the list of nodes, and the way of questions.
    pub inside: Inside,
    /// When the broker's clock began.
    pub started: Instant,
}

/// Wakes a task of the cluster's thread when something lies in what it reads.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// Wakes it; from any thread, and does not block.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Waits until it was rung since the last call.
    pub async fn rung(&self) {
        self.0.notified().await;
    }
}

/// This node's part in a cluster, while it runs.
#[derive(Debug)]
pub struct Cluster {
    thread: JoinHandle<()>,
    #[cfg(feature = "nats")]
    stop: watch::Sender<bool>,
}

/// Before anybody is let in: the node is not ready before what the other nodes published has been
/// read, if anything is kept.
#[cfg(feature = "nats")]
pub fn begin(config: &Config, metrics: &Metrics) {
    let is_kept = !stream::plan::Plan::new(config).streams().is_empty();
    metrics.stream.is_behind.store(is_kept.into(), Ordering::Relaxed);
}

/// Not in this build.
#[cfg(not(feature = "nats"))]
pub fn begin(_: &Config, _: &Metrics) {}

impl Cluster {
    /// Starts the thread, named `cluster`. Does not wait for a connection: NATS may come later.
    ///
    /// # Errors
    /// `InvalidInput`: an address that can't be understood, a file that the settings name can't be
    /// read or holds no secret, or this broker was built without NATS. Else what the system says when
    /// it gives no thread.
    #[cfg(feature = "nats")]
    pub fn start(parts: Parts) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let secrets = connection::check(&parts.config.backplane)
            .map_err(|reason| io::Error::new(io::ErrorKind::InvalidInput, reason))?;
        let (stop, stopping) = watch::channel(false);
        let thread = std::thread::Builder::new().name("cluster".into()).spawn(move || {
            // Publishers would wait for it, and what other nodes publish would not come.
            sys::run_or_exit("cluster", || {
                let ended = runtime.block_on(run::run(parts, secrets, stopping));
                ended.map_err(io::Error::other)
            });
        })?;
        Ok(Self { thread, stop })
    }

    /// Not in this build.
    ///
    /// # Errors
    /// `InvalidInput`, always.
    #[cfg(not(feature = "nats"))]
    pub fn start(parts: Parts) -> io::Result<Self> {
        drop(parts);
        let message = "backplane: this broker was built without NATS";
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }

    /// Says good-bye to the other nodes and waits for the thread to end.
    pub fn stop(self) {
        #[cfg(feature = "nats")]
        // Nobody listens only if the thread is gone already.
        let _ = self.stop.send(true);
        if self.thread.join().is_err() {
            tracing::error!("the cluster's thread panicked");
        }
    }
}
