//! The nodes of the cluster as this one sees them, by their heartbeats. Read by the HTTP API too.
//!
//! Knows no sockets and no clock.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Silence after which a node counts as gone: three heartbeats, and a half for their way.
const GONE_MS: u64 = 3_500;
/// How long a node that is gone stays in the list.
const LISTED_MS: u64 = 60_000;
/// How long it may come back as the same, while this node's own connection is there: for so long
/// nodes count what they send (`departures`), so that what is missed can be told.
const KEPT_MS: u64 = 600_000;
/// A longer time between two looks means that this process stood still, not the others.
const STOOD_STILL_MS: u64 = 2_000;
/// Nodes that are known at most; heartbeats of further ones are not taken.
pub const NODES_MAX: usize = 256;

/// All nodes but this one.
#[derive(Debug, Default)]
pub struct Nodes {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    nodes: BTreeMap<u64, Known>,
    swept_ms: u64,
}

#[derive(Debug)]
struct Known {
    name: String,
    connections: u64,
    beat: u64,
    seen_ms: u64,
    /// When it is forgotten.
    until_ms: u64,
    is_alive: bool,
}

/// A node as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeView {
    /// Its name.
    pub node: String,
    /// `alive`, or `gone` for a minute after its last heartbeat.
    pub state: &'static str,
    /// Which run of it, in hexadecimal: another after each start.
    pub run: String,
    /// Connections of its clients, by its last heartbeat.
    pub connections: u64,
    /// How long the run lasts.
    pub uptime_s: u64,
    /// How long ago its last heartbeat came.
    pub silent_ms: u64,
}

/// What a heartbeat says of its node.
#[derive(Clone, Copy, Debug)]
pub struct Sign<'a> {
    /// Its name.
    pub node: &'a str,
    /// How many seconds the run has lasted.
    pub beat: u64,
    /// It is about to stop.
    pub is_leaving: bool,
    /// Connections of its clients.
    pub connections: u64,
}

/// What a heartbeat was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// One of a node that was not alive before.
    Joined,
    /// One more.
    Again,
    /// The last one of a node that stops.
    Left,
    /// An old one, or one too many.
    Refused,
}

impl Nodes {
    /// A heartbeat of a run has come.
    pub fn note(&self, run: u64, sign: Sign<'_>, now_ms: u64) -> Noted {
        let mut inner = self.lock();
        let is_full = inner.nodes.len() >= NODES_MAX;
        if is_full && !inner.nodes.contains_key(&run) {
            return Noted::Refused;
        }
        let known = inner.nodes.entry(run).or_insert_with(|| Known {
            name: sign.node.to_owned(),
            connections: 0,
            beat: 0,
            seen_ms: now_ms,
            until_ms: 0,
            is_alive: false,
        });
        if sign.beat < known.beat {
            return Noted::Refused;
        }
        known.connections = sign.connections;
        known.beat = sign.beat;
        known.seen_ms = now_ms;
        known.until_ms = now_ms + KEPT_MS;
        match (std::mem::replace(&mut known.is_alive, !sign.is_leaving), sign.is_leaving) {
            (_, true) => Noted::Left,
            (false, false) => Noted::Joined,
            (true, false) => Noted::Again,
        }
    }

    /// Looks who has not been heard of for too long. Returns the runs and names of those that are
    /// gone now, and the runs that are forgotten; while this node's own connection is not `up`, none
    /// is.
    pub fn sweep(&self, now_ms: u64, up: bool) -> (Vec<(u64, String)>, Vec<u64>) {
        let mut inner = self.lock();
        let stood_ms = now_ms.saturating_sub(inner.swept_ms);
        inner.swept_ms = now_ms;
        let (mut gone, mut forgotten) = (Vec::new(), Vec::new());
        for (&run, known) in &mut inner.nodes {
            if stood_ms > STOOD_STILL_MS {
                known.seen_ms = (known.seen_ms + stood_ms).min(now_ms);
            }
            let silent_ms = now_ms.saturating_sub(known.seen_ms);
            if known.is_alive && silent_ms > GONE_MS {
                known.is_alive = false;
                gone.push((run, known.name.clone()));
            }
            if !up || stood_ms > STOOD_STILL_MS {
                known.until_ms = now_ms + KEPT_MS;
            }
            if now_ms > known.until_ms {
                forgotten.push(run);
            }
        }
        inner.nodes.retain(|run, _| !forgotten.contains(run));
        (gone, forgotten)
    }

    /// Whether a run is one of them, alive or not.
    pub fn knows(&self, run: u64) -> bool {
        self.lock().nodes.contains_key(&run)
    }

    /// Whether the node of this run is alive.
    pub fn is_alive(&self, run: u64) -> bool {
        self.lock().nodes.get(&run).is_some_and(|known| known.is_alive)
    }

    /// The runs of the nodes that are alive, with their names.
    pub fn alive(&self) -> Vec<(u64, String)> {
        let inner = self.lock();
        let alive = inner.nodes.iter().filter(|(_, known)| known.is_alive);
        alive.map(|(&run, known)| (run, known.name.clone())).collect()
    }

    /// All nodes, in the order of their names.
    pub fn view(&self, now_ms: u64) -> Vec<NodeView> {
        let inner = self.lock();
        let is_listed =
            |known: &Known| known.is_alive || now_ms.saturating_sub(known.seen_ms) <= LISTED_MS;
        let mut nodes: Vec<NodeView> = inner
            .nodes
            .iter()
            .filter(|(_, known)| is_listed(known))
            .map(|(run, known)| NodeView {
                node: known.name.clone(),
                state: if known.is_alive { "alive" } else { "gone" },
                run: format!("{run:016x}"),
                connections: known.connections,
                uptime_s: known.beat,
                silent_ms: now_ms.saturating_sub(known.seen_ms),
            })
            .collect();
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        nodes
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while the lock is held leaves whole values behind.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(nodes: &Nodes, run: u64, beat: u64, is_leaving: bool, now_ms: u64) -> Noted {
        let node = &*format!("n{run}");
        nodes.note(run, Sign { node, beat, is_leaving, connections: 3 }, now_ms)
    }

    #[test]
    fn a_node_is_gone_after_three_missed_heartbeats_and_may_come_back() {
        let nodes = Nodes::default();
        assert_eq!(note(&nodes, 1, 1, false, 0), Noted::Joined);
        assert_eq!(note(&nodes, 1, 2, false, 1_000), Noted::Again);
        assert_eq!(note(&nodes, 1, 1, false, 1_000), Noted::Refused);
        for now_ms in (0..=4_000).step_by(500) {
            assert!(nodes.sweep(now_ms, true).0.is_empty(), "{now_ms}");
        }
        assert_eq!(nodes.sweep(4_600, true).0, [(1, "n1".to_owned())]);
        assert_eq!(nodes.view(4_600)[0].state, "gone");
        assert_eq!(note(&nodes, 1, 9, false, 9_000), Noted::Joined);
        assert_eq!(note(&nodes, 1, 9, true, 9_000), Noted::Left);
        assert_eq!(nodes.alive(), []);
        (9_000..72_000).step_by(1_000).for_each(|now_ms| drop(nodes.sweep(now_ms, true)));
        assert_eq!(nodes.view(72_000), []);
        assert!(nodes.knows(1), "it is not listed, and may come back");
        let forgotten = |until: u64, up| {
            let sweep = |now_ms| nodes.sweep(now_ms, up).1;
            (72_000..until).step_by(1_000).flat_map(sweep).collect::<Vec<_>>()
        };
        assert_eq!(forgotten(900_000, false), [0; 0], "nobody could be heard");
        nodes.lock().swept_ms = 71_000;
        assert_eq!(forgotten(2_000_000, true), [1]);
    }

    #[test]
    fn a_process_that_stood_still_does_not_take_the_others_for_gone() {
        let nodes = Nodes::default();
        nodes.sweep(1_000, true);
        note(&nodes, 1, 1, false, 1_000);
        assert!(nodes.sweep(31_000, true).0.is_empty());
        assert_eq!(nodes.alive().len(), 1);
    }

    #[test]
    fn there_are_only_so_many() {
        let nodes = Nodes::default();
        for run in 1..=NODES_MAX as u64 {
            assert_eq!(note(&nodes, run, 1, false, 0), Noted::Joined);
        }
        assert_eq!(note(&nodes, 1_000, 1, false, 0), Noted::Refused);
    }
}
