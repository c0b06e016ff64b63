//! Topics that keep something, on three brokers joined by a real nats-server or three: one order and
//! one history on all of them, whatever happens to a node or to a server.

#[path = "replicated/attacks.rs"]
mod attacks;
#[path = "support/ledger.rs"]
mod ledger;
#[path = "replicated/namespace.rs"]
mod namespace;
#[path = "support/nats.rs"]
mod nats;
#[path = "cluster/proxy.rs"]
mod proxy;
#[path = "replicated/retries.rs"]
mod retries;
#[path = "replicated/servers.rs"]
mod servers;
#[path = "replicated/sharing.rs"]
mod sharing;
#[path = "support/support.rs"]
mod support;
#[path = "replicated/trouble.rs"]
mod trouble;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nats::NatsServer;
use serde_json::Value;
use support::broker::Broker;
use support::http;
use support::ws_client::WsClient;

const PATIENCE: Duration = Duration::from_secs(30);
/// Publishes of one client that wait for an answer.
const WINDOW: usize = 50;
const EACH: u64 = 1_500;

struct Cluster {
    server: NatsServer,
    /// Those that are one with it.
    others: Vec<NatsServer>,
    brokers: Vec<Broker>,
}

impl Cluster {
    fn start() -> Option<Self> {
        let server = NatsServer::start()?;
        let urls = [server.url(), server.url(), server.url()];
        Some(Self::of(server, &urls, &[]))
    }

    /// Three nodes that reach the server at these addresses, with these settings besides.
    fn of(server: NatsServer, urls: &[String; 3], more: &[&str]) -> Self {
        let names = ["a", "b", "c"];
        let start = |(name, url): (&str, &String)| node(url, name, more);
        let brokers: Vec<Broker> = names.into_iter().zip(urls).map(start).collect();
        for broker in &brokers {
            broker.wait_for_metric("altavoz_stream_ready", 1.0, PATIENCE);
        }
        Self { server, others: Vec::new(), brokers }
    }

    /// Three publishers and three subscribers of one topic, one on each node, and `meanwhile`.
    fn run(&mut self, is_whole: bool, meanwhile: impl FnOnce(&mut Self)) -> u64 {
        const TOPIC: &str = "orders/7";
        let stop = Arc::new(AtomicBool::new(false));
        let addresses: Vec<_> = self.brokers.iter().map(Broker::address).collect();
        let readers: Vec<_> =
            addresses.iter().map(|address| ledger::subscribe(*address, TOPIC, &stop)).collect();
        let writers: Vec<_> = (1..)
            .zip(&addresses)
            .map(|(at, address)| ledger::publish(*address, TOPIC, (at * 100_000, EACH, WINDOW)))
            .collect();
        meanwhile(self);
        let told: Vec<_> =
            writers.into_iter().map(|writer| writer.join().expect("it ends")).collect();
        stop.store(true, Ordering::Relaxed);
        let seen: Vec<_> =
            readers.into_iter().map(|reader| reader.join().expect("it ends")).collect();
        ledger::check(&seen, &told, is_whole);
        told.iter().map(|told| told.done.len() as u64).sum()
    }
}

fn node(url: &str, name: &str, more: &[&str]) -> Broker {
    let settings = ["--backplane", "nats", "--nats-url", url, "--node", name];
    let fast = ["--commands-per-second-max", "1000000"];
    Broker::start(&[&settings[..], &fast, more].concat())
}

fn client(broker: &Broker) -> WsClient {
    WsClient::connect(broker.address(), "/ws", &[]).expect("it listens")
}

fn answer(client: &mut WsClient, command: &str) -> Value {
    serde_json::from_str(&client.command(command)).expect("JSON")
}

#[test]
fn what_is_published_on_one_node_is_delivered_on_another_and_recovered_on_a_third() {
    let Some(cluster) = Cluster::start() else { return };
    let mut clients: Vec<WsClient> = cluster.brokers.iter().map(client).collect();
    let subscribed = answer(&mut clients[1], r#"{"id":1,"op":"subscribe","topic":"chat/1"}"#);
    assert_eq!(subscribed["ok"]["seq"], 0);
    let mut epoch = Value::Null;
    for seq in 1..=5 {
        let publish = format!(r#"{{"id":2,"op":"publish","topic":"chat/1","data":{seq}}}"#);
        let published = answer(&mut clients[0], &publish);
        assert_eq!(published["ok"]["seq"], seq, "{published}");
        assert_eq!(published["ok"]["level"], "accepted");
        epoch = published["ok"]["epoch"].clone();
    }
    let began = clients[1].receive_text();
    assert_eq!(began, format!(r#"{{"epoch":{{"topic":"chat/1","epoch":{epoch}}}}}"#));
    for seq in 1..=5 {
        let message = format!(r#"{{"topic":"chat/1","seq":{seq},"data":{seq}}}"#);
        assert_eq!(clients[1].receive_text(), message);
    }
    cluster.brokers[2].wait_for_metric("altavoz_stream_messages_total", 5.0, PATIENCE);
    let since = format!(r#"{{"epoch":{epoch},"seq":2}}"#);
    let recover = format!(r#"{{"id":3,"op":"subscribe","topic":"chat/1","since":{since}}}"#);
    let recovered = answer(&mut clients[2], &recover);
    assert_eq!(recovered["ok"]["recovered"], true, "{recovered}");
    assert_eq!((&recovered["ok"]["epoch"], &recovered["ok"]["seq"]), (&epoch, &Value::from(5)));
    for seq in 3..=5 {
        let message = format!(r#"{{"topic":"chat/1","seq":{seq},"data":{seq}}}"#);
        assert_eq!(clients[2].receive_text(), message);
    }
}

#[test]
fn three_nodes_that_publish_on_one_topic_at_once_make_one_order() {
    let Some(mut cluster) = Cluster::start() else { return };
    assert_eq!(cluster.run(true, |_| {}), 3 * EACH);
}

#[test]
fn a_server_that_is_killed_under_load_costs_nothing_that_was_acknowledged() {
    let Some(mut cluster) = Cluster::start() else { return };
    let done = cluster.run(true, |cluster| {
        thread::sleep(Duration::from_millis(150));
        cluster.server.kill();
        thread::sleep(Duration::from_millis(500));
        cluster.server.resume();
    });
    assert!(done > 0, "nothing was acknowledged");
}

#[test]
fn a_broker_that_is_killed_under_load_costs_nothing_that_was_acknowledged_by_any() {
    let Some(mut cluster) = Cluster::start() else { return };
    let done = cluster.run(false, |cluster| {
        thread::sleep(Duration::from_millis(150));
        drop(cluster.brokers.remove(0));
    });
    assert!(done >= 2 * EACH, "the others go on: {done}");
}

#[test]
fn a_broker_that_was_stopped_for_a_while_goes_on_in_the_same_order() {
    let Some(mut cluster) = Cluster::start() else { return };
    let done = cluster.run(false, |cluster| {
        thread::sleep(Duration::from_millis(100));
        cluster.brokers[0].freeze();
        thread::sleep(Duration::from_secs(2));
        cluster.brokers[0].thaw();
    });
    assert!(done >= 2 * EACH, "the others go on: {done}");
}

#[test]
fn without_nats_publishes_are_unavailable_and_subscribers_stay() {
    let Some(mut cluster) = Cluster::start() else { return };
    let mut client =
        WsClient::connect(cluster.brokers[0].address(), "/ws", &[]).expect("it listens");
    answer(&mut client, r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    cluster.server.kill();
    cluster.brokers[0].wait_for_metric("altavoz_stream_ready", 0.0, PATIENCE);
    let refused = answer(&mut client, r#"{"id":2,"op":"publish","topic":"t","data":1}"#);
    assert_eq!(refused["error"]["code"], "unavailable", "{refused}");
    cluster.server.resume();
    cluster.brokers[0].wait_for_metric("altavoz_stream_ready", 1.0, PATIENCE);
    client.send_text(r#"{"id":3,"op":"publish","topic":"t","data":2}"#).expect("it is open");
    let came: Vec<Value> =
        (0..3).map(|_| serde_json::from_str(&client.receive_text()).expect("JSON")).collect();
    assert!(came.iter().any(|text| text["ok"]["seq"] == 1), "{came:?}");
    assert!(came.iter().any(|text| text["data"] == 2), "{came:?}");
}

#[test]
fn a_node_is_ready_when_it_has_read_what_was_there() {
    let Some(cluster) = Cluster::start() else { return };
    for broker in &cluster.brokers {
        assert_eq!(http::get(broker.address(), "/readyz").expect("it answers").status, 200);
    }
    let nobody = NatsServer::start().map(|mut server| {
        server.kill();
        server
    });
    let Some(nobody) = nobody else { return };
    let alone = Broker::start(&["--backplane", "nats", "--nats-url", &nobody.url()]);
    assert_eq!(http::get(alone.address(), "/readyz").expect("it answers").status, 503);
}
