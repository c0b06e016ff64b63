//! Brokers joined by a real nats-server: what is published on one node reaches those who want it on
//! the others, and what is lost on the way is announced.

#[path = "cluster/asking.rs"]
mod asking;
#[path = "support/feed.rs"]
mod feed;
#[path = "support/mint.rs"]
mod mint;
#[path = "support/nats.rs"]
mod nats;
#[path = "cluster/presence.rs"]
mod presence;
#[path = "cluster/proxy.rs"]
mod proxy;
#[path = "cluster/ring.rs"]
mod ring;
#[path = "support/support.rs"]
mod support;

use std::io::Write as _;
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use feed::{alone, await_metric, connect, publish};
use nats::NatsServer;
use proxy::Proxy;
use ring::{PATIENCE, Reader, SETTLE, Writer, node, nodes, stop_all};
use support::broker::Broker;

const PAUSE: Duration = Duration::from_millis(4);

#[test]
fn the_example_for_kubernetes_holds_settings_that_there_are() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes");
    let text = std::fs::read_to_string(folder.join("altavoz.yaml")).expect("the manifests");
    let settings = text.split_once("altavoz.toml: |\n").expect("settings in it").1;
    let lines = settings.lines().take_while(|line| line.starts_with("    "));
    let file = mint::file(&lines.map(|line| format!("{}\n", line.trim())).collect::<String>());
    let checked = std::process::Command::new(env!("CARGO_BIN_EXE_broker"))
        .args(["--check", "--listen", "0.0.0.0:8080", "--config", mint::path(&file)])
        .output()
        .expect("the broker runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert!(String::from_utf8_lossy(&checked.stdout).contains("backplane = \"nats\""));
}

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

#[test]
fn what_one_node_publishes_reaches_the_others_in_order_and_once() {
    let Some(server) = NatsServer::start() else { return };
    let _alone = alone();
    let [a, b, c] = nodes(&server, ["a", "b", "c"]);
    let exact = Reader::start(&b, "t/x");
    let others = [Reader::start(&b, "t/+"), Reader::start(&c, "#"), Reader::start(&a, "t/#")];
    b.wait_for_metric("altavoz_cluster_wanted", 2.0, PATIENCE);
    c.wait_for_metric("altavoz_cluster_wanted", 1.0, PATIENCE);
    sleep(Duration::from_millis(300));
    let mut client = connect(a.address());
    for number in 1..=500 {
        publish(&mut client, "t/x", &format!(r#"{{"f":"a","n":{number}}}"#));
    }
    let sent = [("a".to_owned(), 500)].into();
    for reader in others.iter().chain([&exact]) {
        assert_eq!(reader.account_for(&sent).received, 500);
    }
    assert_eq!(a.metrics("altavoz_cluster_received_total"), 0.0, "its own came back");
    assert!(b.metrics("altavoz_cluster_repeated_total") > 0.0, "two filters match");
    assert_eq!(c.metrics("altavoz_cluster_received_total"), 500.0);
}

#[test]
fn bytes_and_strange_names_arrive_as_they_were() {
    let Some(server) = NatsServer::start() else { return };
    let [a, b] = nodes(&server, ["a", "b"]);
    let names = ["a.b/*", "/ /", "é>%/$x"];
    let readers = names.map(|name| Reader::start(&b, name));
    b.wait_for_metric("altavoz_cluster_wanted", 3.0, PATIENCE);
    sleep(Duration::from_millis(300));
    let mut client = connect(a.address());
    for name in names {
        publish(&mut client, name, r#"{"f":"a", "n":1}"#);
        let bytes = format!(r#"{{"id":7,"op":"publish","topic":"{name}","base64":"AP8="}}"#);
        assert!(client.command(&bytes).contains("accepted"));
    }
    for (name, reader) in names.iter().zip(&readers) {
        let wanted = [
            format!(r#"{{"topic":"{name}","seq":1,"data":{{"f":"a", "n":1}}}}"#),
            format!(r#"{{"topic":"{name}","seq":2,"data":null,"base64":"AP8="}}"#),
        ];
        let deadline = std::time::Instant::now() + PATIENCE;
        while reader.lines().len() < 2 && std::time::Instant::now() < deadline {
            sleep(Duration::from_millis(20));
        }
        assert_eq!(reader.lines(), wanted);
    }
}

#[test]
fn a_restart_of_nats_under_load_loses_nothing_that_is_not_announced() {
    let Some(mut server) = NatsServer::start() else { return };
    let _alone = alone();
    let [a, b, c] = nodes(&server, ["a", "b", "c"]);
    let readers = [&a, &b, &c].map(|node| Reader::start(node, "load/#"));
    sleep(SETTLE);
    let writers = [("a", &a), ("b", &b), ("c", &c)]
        .map(|(name, node)| (name, Writer::start(node, "load/x", name, PAUSE)));
    sleep(Duration::from_millis(700));
    server.kill();
    for node in [&a, &b, &c] {
        await_metric(node, "altavoz_cluster_unsent_total", |unsent| unsent > 0.0);
    }
    server.resume();
    for node in [&a, &b, &c] {
        node.wait_for_metric("altavoz_cluster_up", 1.0, PATIENCE);
    }
    sleep(Duration::from_millis(700));
    let sent = stop_all(writers);
    for reader in &readers {
        let account = reader.account_for(&sent);
        assert!(account.announced > 0, "NATS was away: {account:?}");
    }
}

#[test]
fn a_node_that_stood_still_misses_nothing_that_is_not_announced() {
    let Some(server) = NatsServer::start() else { return };
    let _alone = alone();
    let [a, b] = nodes(&server, ["a", "b"]);
    let readers = [&a, &b].map(|node| Reader::start(node, "t"));
    sleep(SETTLE);
    let writer = Writer::start(&a, "t", "a", PAUSE);
    b.freeze();
    a.wait_for_metric("altavoz_cluster_nodes", 0.0, PATIENCE);
    b.thaw();
    a.wait_for_metric("altavoz_cluster_nodes", 1.0, PATIENCE);
    let sent = stop_all([("a", writer)]);
    for reader in &readers {
        reader.account_for(&sent);
    }
    assert_eq!(b.metrics("altavoz_cluster_nodes"), 1.0);
}

/// The server ends the connection of a node that takes too little.
#[test]
fn x_12_a_node_that_nats_drops_as_too_slow_comes_back_and_tells_what_it_missed() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join("nats.conf");
    std::fs::write(&settings, "max_pending: 1048576\nwrite_deadline: \"1s\"\n").expect("a file");
    let settings = settings.to_str().expect("UTF-8");
    let Some(server) = NatsServer::start_with(&["--config", settings]) else { return };
    let _alone = alone();
    // No reader is too slow for what comes at once.
    let much = ["--backlog-bytes-max", "100000000", "--mailbox-bytes-max", "100000000"];
    let [a, b] = ["a", "b"].map(|name| node(&server.url(), name, &much));
    for node in [&a, &b] {
        node.wait_for_metric("altavoz_cluster_nodes", 1.0, PATIENCE);
    }
    let readers = [&a, &b].map(|node| Reader::start(node, "t"));
    sleep(SETTLE);
    b.freeze();
    // More than the sockets between them hold.
    let (mut client, filler, count) = (connect(a.address()), "x".repeat(32 * 1024), 1_000);
    for number in 1..=count {
        publish(&mut client, "t", &format!(r#"{{"f":"a","n":{number},"x":"{filler}"}}"#));
    }
    b.thaw();
    b.wait_for_metric("altavoz_cluster_connects_total", 2.0, PATIENCE);
    let sent = [("a".to_owned(), count)].into();
    let [here, there] = readers.each_ref().map(|reader| reader.account_for(&sent));
    assert_eq!(here.announced, 0);
    assert!(there.announced > 0, "{there:?}");
}

#[test]
fn a_node_that_is_cut_off_goes_on_and_the_others_learn_what_they_missed() {
    let Some(server) = NatsServer::start() else { return };
    let _alone = alone();
    let proxy = Proxy::start(server.address());
    let [a, b] = nodes(&server, ["a", "b"]);
    let c = node(&proxy.url(), "c", &[]);
    a.wait_for_metric("altavoz_cluster_nodes", 2.0, PATIENCE);
    let readers = [&a, &b, &c].map(|node| Reader::start(node, "t/+"));
    sleep(SETTLE);
    let writers =
        [("a", Writer::start(&a, "t/1", "a", PAUSE)), ("c", Writer::start(&c, "t/1", "c", PAUSE))];
    sleep(Duration::from_millis(300));
    proxy.cut();
    a.wait_for_metric("altavoz_cluster_nodes", 1.0, PATIENCE);
    assert_eq!(c.metrics("altavoz_cluster_up"), 0.0);
    let before = readers[2].lines().len();
    sleep(Duration::from_millis(200));
    assert!(readers[2].lines().len() > before, "the node's own topics go on");
    proxy.mend();
    c.wait_for_metric("altavoz_cluster_up", 1.0, PATIENCE);
    sleep(Duration::from_millis(300));
    let sent = stop_all(writers);
    let [a, b, c] = readers.each_ref().map(|reader| reader.account_for(&sent));
    assert!(a.announced > 0 && b.announced > 0 && c.announced > 0, "{a:?} {b:?} {c:?}");
}

#[test]
fn a_node_that_is_killed_is_gone_within_seconds_and_comes_back_as_another() {
    let Some(server) = NatsServer::start() else { return };
    let [a, b] = nodes(&server, ["a", "b"]);
    drop(b);
    a.wait_for_metric("altavoz_cluster_nodes", 0.0, PATIENCE);
    let reader = Reader::start(&a, "t");
    a.wait_for_metric("altavoz_cluster_wanted", 1.0, PATIENCE);
    let b = node(&server.url(), "b", &[]);
    a.wait_for_metric("altavoz_cluster_nodes", 1.0, PATIENCE);
    publish(&mut connect(b.address()), "t", r#"{"f":"b","n":1}"#);
    assert_eq!(reader.account_for(&[("b".to_owned(), 1)].into()).received, 1);
}

/// Publishes as a stranger would.
fn intrude(server: &NatsServer, messages: &[(&str, &[u8])]) {
    let mut stream = TcpStream::connect(server.address()).expect("it listens");
    let mut bytes = b"CONNECT {\"verbose\":false}\r\n".to_vec();
    for (subject, payload) in messages {
        bytes.extend_from_slice(format!("PUB {subject} {}\r\n", payload.len()).as_bytes());
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"PING\r\n");
    stream.write_all(&bytes).expect("it reads");
    sleep(Duration::from_millis(200));
}

#[test]
fn without_a_secret_too_a_stranger_can_write_no_frames_and_end_no_broker() {
    let Some(server) = NatsServer::start() else { return };
    let [a] = nodes(&server, ["a"]);
    let mut reader = feed::subscriber(a.address(), "t");
    a.wait_for_metric("altavoz_cluster_wanted", 1.0, PATIENCE);
    sleep(SETTLE);
    let beat = |run: u8, stretch: u64, number: u64| {
        let mut bytes = vec![1, 3, 0, 0, 0, 0, 0, 0, 0, run];
        bytes.extend_from_slice(b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\x01x\x01t");
        bytes.extend_from_slice(&stretch.to_be_bytes());
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes
    };
    let message = |payload: &[u8]| {
        let head = b"\x01\x01\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01";
        [&head[..], payload].concat()
    };
    intrude(&server, &[("altavoz.b", &beat(7, 1 << 63, u64::MAX))]);
    assert!(a.metrics("altavoz_cluster_garbage_total") >= 1.0);
    // The most that is believed, of more runs than there is room for.
    let beats: Vec<_> = (10..150).map(|run| ("altavoz.b", beat(run, 5, 1 << 53))).collect();
    intrude(
        &server,
        &beats.iter().map(|(subject, bytes)| (*subject, &**bytes)).collect::<Vec<_>>(),
    );
    intrude(
        &server,
        &[("altavoz.m.t", &message(b"1,\"seq\":9")), ("altavoz.m.t", &message(b"\xff"))],
    );
    for number in 1..=3 {
        publish(&mut connect(a.address()), "t", &number.to_string());
    }
    // What is told of it is JSON, one message or notice each.
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let told: serde_json::Value = serde_json::from_str(&reader.receive_text()).expect("JSON");
        seen.extend(told["data"].as_u64().filter(|_| told.get("base64").is_none()));
    }
    assert_eq!(seen, [1, 2, 3]);
}

#[test]
fn what_strangers_put_on_the_bus_is_counted_and_harms_nobody() {
    let Some(server) = NatsServer::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, "a secret that only our nodes have").expect("a file");
    let secret = ["--cluster-secret-file", file.to_str().expect("UTF-8")];
    let [a, b] = ["a", "b"].map(|name| node(&server.url(), name, &secret));
    a.wait_for_metric("altavoz_cluster_nodes", 1.0, PATIENCE);
    let reader = Reader::start(&b, "#");
    b.wait_for_metric("altavoz_cluster_wanted", 1.0, PATIENCE);
    sleep(Duration::from_millis(300));
    // Well formed, but not signed.
    let message = b"\x01\x01\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01true";
    let noise: Vec<u8> =
        (0..4096_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 9) as u8).collect();
    intrude(
        &server,
        &[
            ("altavoz.m.t", message),
            ("altavoz.m.t", b""),
            ("altavoz.m.t.%ZZ", &noise),
            ("altavoz.b", &noise[..50]),
            ("altavoz.b", b"\x01\x03"),
            ("altavoz.m.$SYS.broker", message),
        ],
    );
    assert!(b.metrics("altavoz_cluster_garbage_total") >= 5.0);
    assert!(a.metrics("altavoz_cluster_garbage_total") >= 2.0);
    publish(&mut connect(a.address()), "t", r#"{"f":"a","n":1}"#);
    assert_eq!(reader.account_for(&[("a".to_owned(), 1)].into()).received, 1);
    assert_eq!(reader.lines().len(), 1);
    // Whoever has not the secret is no node.
    let stranger = node(&server.url(), "stranger", &[]);
    sleep(SETTLE);
    assert_eq!(a.metrics("altavoz_cluster_nodes"), 1.0);
    assert_eq!(stranger.metrics("altavoz_cluster_nodes"), 0.0);
}
