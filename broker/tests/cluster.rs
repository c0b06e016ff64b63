//! Brokers joined by a real nats-server: what is published on one node reaches those who want it on
//! the others, and what is lost on the way is announced.

#[path = "support/nats.rs"]
mod nats;
#[path = "support/support.rs"]
mod support;

use std::time::Duration;

use nats::NatsServer;
use support::broker::Broker;

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_node_starts_without_nats_and_joins_when_it_is_there() {
    let Some(mut server) = NatsServer::start() else { return };
    server.kill();
    let url = server.url();
    let broker = Broker::start(&["--backplane", "nats", "--nats-url", &url]);
    assert_eq!(broker.metrics("altavoz_cluster_up"), 0.0);
    server.resume();
    broker.wait_for_metric("altavoz_cluster_up", 1.0, PATIENCE);
    server.kill();
    broker.wait_for_metric("altavoz_cluster_up", 0.0, PATIENCE);
    server.resume();
    broker.wait_for_metric("altavoz_cluster_up", 1.0, PATIENCE);
    assert_eq!(broker.metrics("altavoz_cluster_connects_total"), 2.0);
}

#[test]
fn a_node_with_a_wrong_password_says_so_and_one_with_the_right_one_joins() {
    let Some(server) = NatsServer::start_with(&["--user", "me", "--pass", "right"]) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    let url = server.url();
    let settings = ["--backplane", "nats", "--nats-url", &url, "--nats-user", "me"];
    let start = |password: &str| {
        std::fs::write(&file, password).expect("a file");
        let path = file.to_str().expect("UTF-8");
        Broker::start(&[&settings[..], &["--nats-password-file", path]].concat())
    };
    let wrong = start("wrong");
    let right = start("right");
    right.wait_for_metric("altavoz_cluster_up", 1.0, PATIENCE);
    assert!(wrong.metrics("altavoz_cluster_errors_total") > 0.0);
    assert_eq!(wrong.metrics("altavoz_cluster_up"), 0.0);
}
