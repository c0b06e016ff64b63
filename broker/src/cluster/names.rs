//! Who a node is on the bus: the cluster's name, its own, and its run.

use crate::config::backplane::Backplane;

/// Who we are on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The cluster; all subjects begin with it.
    pub cluster: String,
    /// This node.
    pub node: String,
    /// This run of it: random, so that a node that was started anew is known as such.
    pub run: u64,
}

impl Names {
    /// The names by the settings; `host_name` is for a node that was given none.
    pub fn new(settings: &Backplane, host_name: &str) -> Self {
        let run = fastrand::u64(1..);
        let node = match (&*settings.node, host_name) {
            ("", "") => format!("node-{:06x}", run & 0xff_ffff),
            ("", host) => format!("{host}-{:06x}", run & 0xff_ffff),
            (node, _) => node.to_owned(),
        };
        Self { cluster: settings.cluster.clone(), node, run }
    }
}
