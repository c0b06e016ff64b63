//! What the cluster's thread does from its start to its end: connects, runs the tasks, and says
//! good-bye.

use tokio::sync::watch;

use super::Parts;
use super::connection::{Bus, Names, Secrets};

/// Runs until it is told to stop.
pub(super) async fn run(parts: Parts, secrets: Secrets, mut stopping: watch::Receiver<bool>) {
    let names = Names::new(&parts.config.backplane, &parts.host_name);
    tracing::info!(node = names.node, cluster = names.cluster, "joining by NATS");
    let metrics = parts.metrics.clone();
    let bus = match Bus::connect(&parts.config, names, &secrets, metrics).await {
        Ok(bus) => bus,
        Err(error) => {
            tracing::error!(%error, "NATS can't be used as it is set; this node is alone");
            return;
        }
    };
    // Fails only if nobody can say stop any more, which is as good.
    let _ = stopping.wait_for(|stop| *stop).await;
    drop(bus);
}
