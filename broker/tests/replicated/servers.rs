//! Three nats-servers that are one cluster, and everything stored on all of them: one may be lost at
//! any time, and with two gone nothing is said that is not so.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ledger::Told;
use crate::nats::NatsServer;
use crate::{Cluster, PATIENCE, answer, client};

/// Everything on all three, and so much that nothing is dropped while a node is away.
const ON_THREE: [&str; 4] = ["--nats-replicas", "3", "--history-messages", "100000"];
/// How long servers may take to choose a leader, and brokers to find it: longer than any should.
const ELECTED: Duration = Duration::from_secs(60);

impl Cluster {
    /// Three nodes that know all three servers.
    fn on_three_servers() -> Option<Self> {
        let [server, second, third] = NatsServer::start_cluster()?;
        let urls = [server.url(), second.url(), third.url()].join(",");
        let urls = [urls.clone(), urls.clone(), urls];
        Some(Self { others: vec![second, third], ..Self::of(server, &urls, &ON_THREE) })
    }

    /// Publishes on this node until it is taken; whatever is refused until then is `unavailable`.
    fn publish_until_taken(&self, at: usize) -> Value {
        let (mut client, deadline) = (client(&self.brokers[at]), Instant::now() + ELECTED);
        loop {
            let told = answer(&mut client, r#"{"id":1,"op":"publish","topic":"t","data":1}"#);
            if told["ok"].is_object() {
                return told["ok"].clone();
            }
            assert_eq!(told["error"]["code"], "unavailable", "{told}");
            assert!(Instant::now() < deadline, "{told}");
            sleep(Duration::from_millis(100));
        }
    }

    /// Waits until something is published on each node.
    fn wait_until_all_publish(&self) {
        for at in 0..self.brokers.len() {
            self.publish_until_taken(at);
        }
    }
}

/// Whoever read a record finds it again, whichever server leads: no topic began anew.
fn check_nothing_was_lost(cluster: &Cluster) {
    for broker in &cluster.brokers {
        assert!(!broker.stderr().contains("has lost records"), "{}", broker.stderr());
    }
}

fn done(told: &[Told]) -> usize {
    told.iter().map(|told| told.done.len()).sum()
}

#[test]
fn what_is_on_three_servers_is_replicated_and_any_of_them_may_be_lost_under_load() {
    let Some(mut cluster) = Cluster::on_three_servers() else { return };
    for at in 0..3 {
        assert_eq!(cluster.publish_until_taken(at)["level"], "replicated");
    }
    let told = cluster.bear(3, |cluster| {
        for lost in 0..3 {
            match lost {
                0 => cluster.server.kill(),
                lost => cluster.others[lost - 1].kill(),
            }
            cluster.wait_until_all_publish();
            sleep(Duration::from_millis(500));
            match lost {
                0 => cluster.server.resume(),
                lost => cluster.others[lost - 1].resume(),
            }
            cluster.wait_until_all_publish();
            // It takes what it missed before the next is lost: two together are too many.
            sleep(Duration::from_secs(2));
        }
    });
    assert!(done(&told) > 300, "only {} were published", done(&told));
    check_nothing_was_lost(&cluster);
}

/// One after the other: what was confirmed is on the third then. Of two that are killed at once both
/// may have had it in memory alone, and JetStream promises nothing.
#[test]
fn with_two_of_three_servers_killed_publishes_are_unavailable_until_they_are_back() {
    let Some(mut cluster) = Cluster::on_three_servers() else { return };
    cluster.wait_until_all_publish();
    let told = cluster.bear(3, |cluster| {
        cluster.others[0].kill();
        cluster.wait_until_all_publish();
        cluster.others[1].kill();
        let [a, ..] = &cluster.brokers[..] else { panic!("three nodes") };
        let (mut client, deadline) = (client(a), Instant::now() + PATIENCE);
        // What the servers had stored before may still be answered.
        let mut refused = 0;
        while refused < 3 {
            let told = answer(&mut client, r#"{"id":1,"op":"publish","topic":"u","data":1}"#);
            let code = &told["error"]["code"];
            assert!(told["ok"].is_object() || code == "unavailable", "{told}");
            refused = if told["ok"].is_object() { 0 } else { refused + 1 };
            assert!(Instant::now() < deadline, "publishing goes on without a majority");
        }
        cluster.others.iter_mut().for_each(NatsServer::resume);
        cluster.wait_until_all_publish();
    });
    let refused: usize = told.iter().map(|told| told.refused.len()).sum();
    assert!(refused > 0 && done(&told) > 0, "{refused} refused, {} published", done(&told));
    check_nothing_was_lost(&cluster);
}
