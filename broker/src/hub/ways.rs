//! Where messages go besides to the subscribers here, by their topic's rule: to disk, into the log
//! that orders a cluster's topics, to the other nodes.

use broker_proto::topic::{Filter, Topic as TopicName};

use super::log::Log;
use super::shared::Shared;
use super::topic::{Topic, TopicState};
use super::uplink::{Uplink, Upward};
use crate::config::rules::{Rule, Store};

/// Where messages go besides to the subscribers here.
#[derive(Debug, Default)]
pub struct Ways {
    /// Into the history on disk, by the topic's rule.
    pub disk: Option<Log>,
    /// Into the cluster's log, for topics of which something is kept: it gives them their order.
    pub replicated: Option<Log>,
    /// To the other nodes, for topics of which nothing is kept.
    pub uplink: Option<Uplink>,
}

/// Which way a topic's messages go.
pub(super) enum Way<'s> {
    /// They get their seq here.
    Here,
    /// The same, and they are written to disk afterwards.
    Behind(&'s Log),
    /// They get it in this log.
    Log(&'s Log),
}

/// How the nodes of a cluster share a topic.
pub(super) enum Reach<'s> {
    /// Not at all.
    Node,
    /// This log gives it one order on all of them.
    Log(&'s Log),
    /// Its messages go there this way, and every node numbers them for itself.
    Nodes(&'s Uplink),
}

/// Whether each node has a topic of that name for itself.
fn is_of_node(name: TopicName<'_>, rule: &Rule) -> bool {
    rule.is_local || name.is_system()
}

impl Shared {
    pub(super) fn way_of(&self, name: TopicName<'_>, state: &TopicState) -> Way<'_> {
        let Ways { disk, replicated, .. } = self.ways();
        if (disk.is_none() && replicated.is_none()) || name.is_system() {
            return Way::Here;
        }
        if let Reach::Log(log) = self.reach_of(name, state) {
            return Way::Log(log);
        }
        match (disk, state.rule().store) {
            // What is under way comes first, also if the rule was changed meanwhile.
            (Some(log), _) if state.pending() > 0 => Way::Log(log),
            (Some(log), Store::Durable) => Way::Log(log),
            (Some(log), Store::Accepted) => Way::Behind(log),
            (_, Store::None) | (None, _) => Way::Here,
        }
    }

    pub(super) fn reach_of(&self, name: TopicName<'_>, state: &TopicState) -> Reach<'_> {
        let Ways { replicated, uplink, .. } = self.ways();
        let rule = state.rule();
        match (replicated, uplink) {
            _ if is_of_node(name, rule) => Reach::Node,
            (Some(log), _) if rule.keeps() => Reach::Log(log),
            (_, Some(uplink)) => Reach::Nodes(uplink),
            (_, None) => Reach::Node,
        }
    }

    /// The way to the other nodes, if a topic of this rule is theirs too.
    pub(super) fn way_to_nodes(&self, name: TopicName<'_>, rule: &Rule) -> Option<&Uplink> {
        self.ways().uplink.as_ref().filter(|_| !is_of_node(name, rule))
    }

    /// Whether other nodes' messages of a topic come here to be numbered.
    pub(super) fn is_numbered_here(&self, name: TopicName<'_>, state: &TopicState) -> bool {
        matches!(self.reach_of(name, state), Reach::Nodes(_))
    }

    /// This node's first subscriber to exactly this topic came, or its last one left; called under
    /// its lock.
    pub(super) fn want(&self, topic: &Topic, state: &TopicState, wanted: bool) {
        if let Reach::Nodes(uplink) = self.reach_of(topic.name(), state) {
            uplink.push(Upward::Wanted { filter: topic.as_str().into(), wanted }, None);
        }
    }

    /// The same with a filter with wildcards.
    pub(super) fn want_filter(&self, filter: Filter<'_>, wanted: bool) {
        if let Some(uplink) = &self.ways().uplink {
            uplink.push(Upward::Wanted { filter: filter.as_str().into(), wanted }, None);
        }
    }

    /// Whether more is published than goes into logs or to other nodes.
    pub(super) fn is_slowed(&self) -> bool {
        let Ways { disk, replicated, uplink } = self.ways();
        disk.iter().chain(replicated).any(Log::is_full)
            || uplink.as_ref().is_some_and(Uplink::is_full)
    }

    /// Whether more is published than goes into logs or to other nodes; if so, the worker `from` is
    /// woken when that has changed.
    pub(super) fn is_slowed_for(&self, from: usize) -> bool {
        let Ways { disk, replicated, uplink } = self.ways();
        disk.iter().chain(replicated).any(|log| log.is_full_for(from))
            || uplink.as_ref().is_some_and(|uplink| uplink.is_full_for(from))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use broker_proto::command::Payload;

    use super::*;
    use crate::config::Config;
    use crate::hub::log::Waiting;
    use crate::hub::protocol::Protocol;

    /// Publishes more than a way with a limit of a few bytes takes; `empty` takes it out there.
    fn fill(settings: &str, ways: Ways, empty: impl Fn(&Ways)) {
        let topic = vec![serde_json::from_str(settings).unwrap()];
        let config = Config { topic, ..Config::default() };
        let shared = Shared::new(1, &config, 0).with_ways(ways);
        assert!(!shared.is_full());
        let (name, payload) = (TopicName::new("t").unwrap(), Payload::Json(&[b'1'; 150]));
        let by = (Protocol::Json, None);
        shared.publish(name, payload, by, None, 0, || Waiting::Nobody).unwrap();
        assert!(shared.is_full(), "{settings}");
        empty(shared.ways());
        assert!(!shared.is_full(), "{settings}");
    }

    #[test]
    fn whoever_is_no_worker_is_slowed_by_logs_and_the_uplink_too() {
        let log = || Some(Log::new(200, || {}));
        let take = |log: &Option<Log>| {
            log.as_ref().unwrap().take(&mut VecDeque::new());
        };
        let disk = Ways { disk: log(), ..Ways::default() };
        fill(r#"{"filter":"t","store":"durable"}"#, disk, |ways| take(&ways.disk));
        let replicated = Ways { replicated: log(), ..Ways::default() };
        fill(r#"{"filter":"t"}"#, replicated, |ways| take(&ways.replicated));
        let uplink = Some(Uplink::new(100, || {}));
        let nothing = r#"{"filter":"t","history_messages":0,"last_ms":0}"#;
        fill(nothing, Ways { uplink, ..Ways::default() }, |ways| {
            ways.uplink.as_ref().unwrap().take(&mut VecDeque::new());
        });
    }
}
