//! Who is subscribed to a topic, on whichever node.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::feed::{connect, subscriber};
use crate::nats::NatsServer;
use crate::ring::{PATIENCE, SETTLE, node};
use crate::support::broker::Broker;
use crate::support::ws_client::{Received, WsClient};

const TOPIC: &str = "room/5";

/// Three nodes that tell who is there.
fn three(server: &NatsServer) -> [Broker; 3] {
    let nodes = ["a", "b", "c"].map(|name| node(&server.url(), name, &["--presence", "members"]));
    for node in &nodes {
        node.wait_for_metric("altavoz_cluster_nodes", 2.0, PATIENCE);
    }
    nodes
}

/// A client that is told who comes and goes.
fn watcher(broker: &Broker) -> WsClient {
    let mut client = connect(broker.address());
    let answer = client
        .command(&format!(r#"{{"id":1,"op":"subscribe","topic":"{TOPIC}","presence":true}}"#));
    assert!(answer.contains(r#""ok""#), "{answer}");
    client
}

/// Notices until the count is this; the sessions that came and went.
fn until(client: &mut WsClient, count: u64) -> (Vec<String>, Vec<String>) {
    let (mut came, mut went) = (Vec::new(), Vec::new());
    loop {
        let notice: Value = serde_json::from_str(&client.receive_text()).expect("JSON");
        let told = &notice["presence"];
        assert_eq!(told["topic"], TOPIC, "{notice}");
        for (list, one, many) in [(&mut came, "join", "joined"), (&mut went, "leave", "left")] {
            let people = told[one].as_object().map(|_| &told[one]).into_iter();
            let people = people.chain(told[many].as_array().into_iter().flatten());
            list.extend(people.filter_map(|it| it["session"].as_str()).map(str::to_owned));
        }
        if told["count"] == count {
            return (came, went);
        }
    }
}

fn members(client: &mut WsClient) -> Value {
    let answer = client.command(&format!(r#"{{"id":9,"op":"presence","topic":"{TOPIC}"}}"#));
    let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
    let told = answer["ok"].take();
    assert!(told.is_object(), "{answer}");
    told
}

fn sessions(members: &Value) -> Vec<String> {
    let list = members["members"].as_array().expect("a list").iter();
    list.filter_map(|member| member["session"].as_str()).map(str::to_owned).collect()
}

#[test]
fn who_comes_and_goes_on_any_node_is_told_on_all_and_the_command_lists_all() {
    let Some(server) = NatsServer::start() else { return };
    let [a, b, c] = three(&server);
    let early = subscriber(b.address(), TOPIC);
    let mut watching = watcher(&a);
    let (came, _) = until(&mut watching, 2);
    assert!(came.is_empty(), "the one on b was there before: {came:?}");
    // Later than that, whoever comes is news.
    sleep(SETTLE);
    let late = subscriber(c.address(), TOPIC);
    let (came, went) = until(&mut watching, 3);
    assert_eq!((came.len(), went.len()), (1, 0));

    let mut asking = connect(c.address());
    let all = members(&mut asking);
    assert_eq!(all["count"], 3, "{all}");
    let listed = sessions(&all);
    assert_eq!(listed.len(), 3);
    assert!(listed.contains(&came[0]), "{listed:?} {came:?}");
    assert!(listed.is_sorted() && listed[0] != listed[1] && listed[1] != listed[2]);

    drop(late);
    let (_, went) = until(&mut watching, 2);
    assert_eq!(went, came);
    // A node that is killed takes its members with it.
    drop(early);
    until(&mut watching, 1);
    let _again = subscriber(b.address(), TOPIC);
    let (came, _) = until(&mut watching, 2);
    drop(b);
    let (_, went) = until(&mut watching, 1);
    assert_eq!(went, came);
    c.wait_for_metric("altavoz_cluster_nodes", 1.0, PATIENCE);
    assert_eq!(members(&mut asking)["count"], 1);
}

#[test]
fn members_are_known_again_when_nats_was_away() {
    let Some(mut server) = NatsServer::start() else { return };
    let [a, b, c] = three(&server);
    let mut watching = watcher(&a);
    sleep(SETTLE);
    server.kill();
    for node in [&a, &b] {
        node.wait_for_metric("altavoz_cluster_up", 0.0, PATIENCE);
    }
    let _unheard = subscriber(b.address(), TOPIC);
    server.resume();
    let (came, went) = until(&mut watching, 2);
    assert_eq!((came.len(), went.len()), (1, 0));
    // A node that is not back yet makes the command fail.
    for node in [&a, &b, &c] {
        node.wait_for_metric("altavoz_cluster_up", 1.0, PATIENCE);
    }
    sleep(SETTLE);
    let all = members(&mut connect(c.address()));
    assert_eq!(all["members"].as_array().map(Vec::len), Some(2), "{all}");
}

#[test]
fn a_node_that_hangs_makes_the_command_fail_and_not_lie() {
    let Some(server) = NatsServer::start() else { return };
    let [a, b, _c] = three(&server);
    let mut asking = connect(a.address());
    b.freeze();
    let answer = asking.command(&format!(r#"{{"id":9,"op":"presence","topic":"{TOPIC}"}}"#));
    b.thaw();
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["error"]["code"], json!("unavailable"), "{answer}");
    assert!(answer["error"]["message"].as_str().is_some_and(|text| text.ends_with(": b")));
}

/// Nodes tell each other of what has changed on them, and not of what they were told.
#[test]
fn in_a_large_room_nothing_is_told_when_nothing_changes() {
    let Some(server) = NatsServer::start() else { return };
    let [a, b, _c] = three(&server);
    let mut watching = [&a, &b].map(watcher);
    sleep(SETTLE);
    let _members: Vec<WsClient> =
        (0..60).map(|at| subscriber([&a, &b][at % 2].address(), TOPIC)).collect();
    for client in &mut watching {
        until(client, 62);
    }
    sleep(SETTLE);
    for client in &mut watching {
        while !matches!(client.receive(Duration::from_millis(1)), None | Some(Received::Ping(_))) {}
        let more = client.receive(SETTLE);
        assert!(matches!(more, None | Some(Received::Ping(_))), "{more:?}");
    }
}
