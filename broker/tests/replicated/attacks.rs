//! Bad days of a cluster that keeps something, while all nodes publish on the same topics: nodes that
//! are cut off, stopped and killed, a server that restarts, strangers that write into the streams. The
//! ids are those that attacks keep, see CONTRIBUTING.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use crate::ledger::{self, Told};
use crate::namespace::Namespace;
use crate::nats::NatsServer;
use crate::proxy::Proxy;
use crate::support::broker::Broker;
use crate::support::ws_client::WsClient;
use crate::{Cluster, PATIENCE, answer, client, node};

const TOPICS: [&str; 3] = ["orders/1", "orders/2", "orders/3"];
/// JetStream drops nothing while a node is away.
const KEEP_ALL: [&str; 2] = ["--history-messages", "100000"];

impl Cluster {
    /// A client of each node publishes on each topic, one of each reads each topic, and `meanwhile`.
    /// Checks what came of each topic, of which the readers of the first `whole` nodes must have missed
    /// nothing, and those of the others nothing that they were not told of; what the publishers were
    /// told.
    pub(crate) fn bear(&mut self, whole: usize, meanwhile: impl FnOnce(&mut Self)) -> Vec<Told> {
        let (is_over, is_read) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let addresses: Vec<_> = self.brokers.iter().map(Broker::address).collect();
        let readers = TOPICS.map(|topic| {
            let read = |address| ledger::subscribe(address, topic, &is_read);
            addresses.iter().copied().map(read).collect::<Vec<_>>()
        });
        let writers = TOPICS.map(|topic| {
            let write = |(at, address)| ledger::publish_until(address, topic, at, &is_over);
            let numbers = (1..).map(|at| at * 1_000_000);
            numbers.zip(addresses.iter().copied()).map(write).collect::<Vec<_>>()
        });
        sleep(Duration::from_millis(300));
        meanwhile(self);
        sleep(Duration::from_millis(500));
        is_over.store(true, Ordering::Relaxed);
        let told = writers.map(|writers| writers.into_iter().map(joined).collect::<Vec<_>>());
        is_read.store(true, Ordering::Relaxed);
        for (readers, told) in readers.into_iter().zip(&told) {
            let seen: Vec<_> = readers.into_iter().map(joined).collect();
            ledger::check(&seen, told, false);
            if whole > 0 {
                ledger::check(&seen[..whole], told, true);
            }
        }
        told.into_iter().flatten().collect()
    }
}

fn joined<T>(thread: thread::JoinHandle<T>) -> T {
    thread.join().expect("it ends")
}

fn done(told: &[Told]) -> usize {
    told.iter().map(|told| told.done.len()).sum()
}

/// X-10: node `c` is cut off from NATS and so from the others, and comes back.
fn cut_off_for(time: Duration, whole: usize, more: &[&str]) {
    let Some(server) = NatsServer::start() else { return };
    let proxy = Proxy::start(server.address());
    let urls = [server.url(), server.url(), proxy.url()];
    let cluster = Cluster::of(server, &urls, more);
    bear_a_cut(cluster, whole, time, || proxy.cut(), || proxy.mend());
}

/// Node `c` of them is cut off for that time after it has noticed.
fn bear_a_cut(
    mut cluster: Cluster,
    whole: usize,
    time: Duration,
    cut: impl FnOnce(),
    mend: impl FnOnce(),
) {
    let told = cluster.bear(whole, |cluster| {
        cut();
        cluster.brokers[2].wait_for_metric("altavoz_stream_ready", 0.0, PATIENCE);
        sleep(time);
        mend();
        cluster.brokers[2].wait_for_metric("altavoz_stream_ready", 1.0, PATIENCE);
    });
    assert!(done(&told) > 0);
    let of_c = told.iter().skip(2).step_by(3);
    let (refused, taken) =
        of_c.fold((0, 0), |sum, told| (sum.0 + told.refused.len(), sum.1 + told.done.len()));
    assert!(refused > 0, "W-13: it said so while it was alone");
    assert!(taken > 0, "and took them before and after");
}

#[test]
fn x_10_a_node_that_is_cut_off_refuses_and_misses_nothing_when_it_is_back() {
    cut_off_for(Duration::from_secs(1), 3, &KEEP_ALL);
}

/// No connection ends: what is sent just never comes.
#[test]
fn x_10_a_node_whose_packets_vanish_notices_it_and_misses_nothing() {
    let Some(namespace) = Namespace::new() else {
        return eprintln!("left out: this machine gives no network namespaces");
    };
    let Some(server) = NatsServer::start_with(&["--addr", "0.0.0.0"]) else { return };
    let url = format!("nats://{}:{}", namespace.outside(), server.address().port());
    let mut brokers =
        vec![node(&server.url(), "a", &KEEP_ALL), node(&server.url(), "b", &KEEP_ALL)];
    let settings = ["--backplane", "nats", "--nats-url", &url, "--node", "c"];
    brokers.push(namespace.start(&[&settings[..], &KEEP_ALL].concat()));
    for broker in &brokers {
        broker.wait_for_metric("altavoz_stream_ready", 1.0, PATIENCE);
    }
    let cluster = Cluster { server, others: Vec::new(), brokers };
    let time = Duration::from_secs(3);
    bear_a_cut(cluster, 3, time, || namespace.cut(), || namespace.mend());
}

/// More is published meanwhile than JetStream keeps of a topic: the node tells of a gap.
/// `cargo test -p broker --test replicated -- --ignored x_10`
#[test]
#[ignore = "takes 40 s"]
fn x_10_a_node_is_cut_off_for_30_seconds() {
    cut_off_for(Duration::from_secs(30), 2, &[]);
}

#[test]
fn x_09_a_server_that_restarts_twice_under_load_costs_nothing_acknowledged() {
    let Some(server) = NatsServer::start() else { return };
    let urls = [server.url(), server.url(), server.url()];
    let mut cluster = Cluster::of(server, &urls, &KEEP_ALL);
    let told = cluster.bear(3, |cluster| {
        for _ in 0..2 {
            cluster.server.kill();
            sleep(Duration::from_millis(400));
            cluster.server.resume();
            for broker in &cluster.brokers {
                broker.wait_for_metric("altavoz_stream_ready", 1.0, PATIENCE);
            }
            sleep(Duration::from_millis(300));
        }
    });
    assert!(done(&told) > 0);
}

#[test]
fn x_11_connections_that_are_slow_one_way_and_break_cost_nothing_acknowledged() {
    let Some(server) = NatsServer::start() else { return };
    let proxy = Proxy::start(server.address());
    let urls = [proxy.url(), server.url(), proxy.url()];
    let mut cluster = Cluster::of(server, &urls, &KEEP_ALL);
    let told = cluster.bear(3, |cluster| {
        proxy.delay(Duration::from_millis(200));
        sleep(Duration::from_millis(1_500));
        for _ in 0..8 {
            proxy.cut();
            proxy.mend();
            sleep(Duration::from_millis(150));
        }
        proxy.delay(Duration::ZERO);
        for broker in &cluster.brokers {
            broker.wait_for_metric("altavoz_stream_ready", 1.0, PATIENCE);
        }
    });
    assert!(done(&told) > 0);
}

#[test]
fn x_13_a_node_that_stood_still_and_one_that_is_killed_leave_one_order() {
    let Some(mut cluster) = Cluster::start() else { return };
    let told = cluster.bear(0, |cluster| {
        cluster.brokers[0].freeze();
        sleep(Duration::from_secs(2));
        cluster.brokers[0].thaw();
        drop(cluster.brokers.remove(1));
    });
    assert!(done(&told) > 0);
}

#[test]
fn x_20_what_strangers_write_into_a_stream_is_left_out_and_the_topic_goes_on() {
    let Some(cluster) = Cluster::start() else { return };
    let mut clients: Vec<WsClient> = cluster.brokers.iter().map(client).collect();
    answer(&mut clients[1], r#"{"id":1,"op":"subscribe","topic":"t"}"#);
    let publish = r#"{"id":2,"op":"publish","topic":"t","data":1}"#;
    assert_eq!(answer(&mut clients[0], publish)["ok"]["seq"], 1);
    let mut stranger = TcpStream::connect(cluster.server.address()).expect("it listens");
    // A record of no message, one that ends within an identity, noise, a subject of no topic, and a
    // message for a topic that is ordered.
    let cut = [&[2; 33][..], b"\0\x01\x80\0\0\x03short"].concat();
    let message = b"\x01\x01\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01true";
    let mut bytes = b"CONNECT {\"verbose\":false}\r\n".to_vec();
    for (subject, payload) in [
        ("altavoz.h.default.t", &b"\x01\0\0"[..]),
        ("altavoz.h.default.t", &cut),
        ("altavoz.h.default.t", b"noise"),
        ("altavoz.h.default.%ZZ", b"noise"),
        ("altavoz.m.t", message),
    ] {
        bytes.extend_from_slice(format!("PUB {subject} {}\r\n", payload.len()).as_bytes());
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"PING\r\n");
    stranger.write_all(&bytes).expect("it reads");
    for broker in &cluster.brokers {
        broker.wait_for_metric("altavoz_stream_garbage_total", 4.0, PATIENCE);
    }
    let after = answer(&mut clients[2], r#"{"id":3,"op":"publish","topic":"t","data":2}"#);
    assert!(after["ok"]["seq"].is_u64(), "{after}");
    let came: Vec<String> = (0..2)
        .map(|_| {
            loop {
                let text = clients[1].receive_text();
                if text.contains(r#""data""#) {
                    break text;
                }
            }
        })
        .collect();
    assert!(came[0].ends_with(r#""data":1}"#) && came[1].ends_with(r#""data":2}"#), "{came:?}");
}
