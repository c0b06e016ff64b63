//! What the cluster's thread does from its start to its end: connects, runs the tasks, and says
//! good-bye. If one task fails all end: nobody would notice a node that looks alive and hears nothing.

use std::sync::Arc;

use futures_util::stream::SelectAll;
use tokio::sync::{Semaphore, mpsc, watch};

use super::asking::Inside;
use super::connection::{Bus, Secrets};
use super::departures::Departures;
use super::envelope::Seal;
use super::receiving::Receiving;
use super::sending::{ASKERS_MAX, Sending};
use super::stream::link::Link;
use super::stream::replica::Replica;
use super::{Names, Parts, subject};

/// Changes of what is wanted that wait for the receiving task; the sending one then waits too.
const CHANGES_MAX: usize = 1024;

/// Runs until it is told to stop.
///
/// # Errors
/// A task has failed; what it says is for the operator.
pub(super) async fn run(
    parts: Parts,
    secrets: Secrets,
    stopping: watch::Receiver<bool>,
) -> Result<(), String> {
    let Parts { config, desk, shared, bell, log_bell, metrics, inside, started } = parts;
    let Inside { names, nodes, handle, pending, outgoing, replies, asked } = inside;
    tracing::info!(node = names.node, cluster = names.cluster, "joining by NATS");
    let joined = async {
        let bus = Bus::connect(&config, names, &secrets, metrics.clone()).await?;
        let Names { cluster, run, .. } = &*bus.names;
        let subjects =
            [format!("{cluster}.b"), format!("{cluster}.q"), subject::of_answers(cluster, *run)];
        let mut heard = SelectAll::new();
        for subject in subjects {
            let subscribed = bus.client.subscribe(subject).await;
            heard.push(subscribed.map_err(std::io::Error::other)?);
        }
        Ok::<_, std::io::Error>((bus, heard))
    };
    // What the settings say was looked at before.
    let (bus, heard) = joined.await.map_err(|error| format!("connecting to NATS: {error}"))?;
    let replica = Replica::new(bus.clone(), &config, shared.history.clone());
    let streams = replica.streams();
    tracing::info!(
        streams,
        "topics that keep something are ordered by JetStream, others need none"
    );
    let (desk, seal) = (Arc::new(desk), Arc::new(Seal::new(&secrets.shared)));
    let link = Link {
        replica,
        desk: desk.clone(),
        shared: shared.clone(),
        bell: log_bell,
        metrics,
        started,
        held_bytes: 0,
    };
    let link = tokio::spawn(link.run(stopping.clone()));
    let (changes, changed) = mpsc::channel(CHANGES_MAX);
    let (pleas, pleaded) = mpsc::channel(1);
    let receiving = Receiving {
        bus: bus.clone(),
        desk: desk.clone(),
        nodes,
        pending,
        asked,
        replies,
        seal: seal.clone(),
        started,
        pleas,
    };
    let receiving = tokio::spawn(receiving.run(changed, heard));
    let departures = Departures::default();
    let sending = Sending {
        bus,
        desk,
        shared,
        bell,
        seal,
        changes,
        departures,
        handle,
        askers: Arc::new(Semaphore::new(ASKERS_MAX)),
        started,
        is_stalled: false,
        is_unsure: false,
    };
    // The others end well only when they are told to, which `sending` is too.
    tokio::select! {
        () = sending.run(pleaded, outgoing, stopping) => Ok(()),
        Err(error) = receiving => Err(format!("receiving from other nodes: {error}")),
        Err(error) = link => Err(format!("ordering topics by JetStream: {error}")),
    }
}
