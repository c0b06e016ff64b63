//! What nodes ask each other: lists, who is there, and to end connections.

use serde_json::{Value, json};

use crate::feed::{connect, publish, subscriber};
use crate::mint;
use crate::nats::NatsServer;
use crate::ring::{PATIENCE, node, nodes};
use crate::support::broker::Broker;
use crate::support::http;
use crate::support::ws_client::WsClient;

fn request(broker: &Broker, head: &str, more: &str) -> (u16, Value) {
    let text = format!("{head} HTTP/1.1\r\nHost: a\r\n{more}Connection: close\r\n\r\n");
    let answer = http::exchange(broker.address(), text.as_bytes(), PATIENCE).expect("an answer");
    (answer.status, serde_json::from_slice(&answer.body).expect("JSON"))
}

fn get(broker: &Broker, path: &str) -> Value {
    let (status, body) = request(broker, &format!("GET {path}"), "");
    assert_eq!(status, 200, "{body}");
    body
}

fn names(list: &Value, what: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = list.as_array().expect("a list").iter();
    items.map(|item| (text(&item["node"]), text(&item[what]))).collect()
}

#[test]
fn each_node_lists_the_nodes_connections_topics_and_members_of_all() {
    let Some(server) = NatsServer::start() else { return };
    let more = ["--presence", "members"];
    let [a, b] = ["a", "b"].map(|name| node(&server.url(), name, &more));
    b.wait_for_metric("altavoz_cluster_nodes", 1.0, PATIENCE);
    a.wait_for_metric("altavoz_cluster_nodes", 1.0, PATIENCE);
    let _clients = [subscriber(a.address(), "t"), subscriber(b.address(), "t")];
    let mut watcher = subscriber(a.address(), "$SYS/nodes");
    let told: Value = serde_json::from_str(&watcher.receive_text()).expect("JSON");
    assert_eq!(told["data"]["node"], "a");
    assert_eq!(told["data"]["others"][0]["node"], "b");
    let listed = get(&a, "/api/v1/nodes");
    assert_eq!((&listed["node"], &listed["others"][0]["state"]), (&json!("a"), &json!("alive")));

    let presence = get(&b, "/api/v1/topics/t/presence");
    assert_eq!(presence["count"], 2, "{presence}");
    let here: Vec<_> = names(&presence["members"], "user").into_iter().map(|it| it.0).collect();
    assert_eq!(here, ["b", "a"]);

    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = get(&b, &format!("/api/v1/connections?limit=1{after}"));
        assert_eq!(page["missing"], json!([]));
        found.extend(names(&page["connections"], "protocol"));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={}", next.replace('/', "%2F"));
    }
    let nodes: Vec<&str> = found.iter().map(|(node, _)| &**node).collect();
    assert_eq!(nodes, ["a", "a", "b"], "two connections of a, one of b");

    let topics = get(&a, "/api/v1/topics?filter=t");
    assert_eq!(names(&topics["topics"], "topic"), [("a", "t"), ("b", "t")].map(own));
}

fn own((node, topic): (&str, &str)) -> (String, String) {
    (node.to_owned(), topic.to_owned())
}

#[test]
fn a_node_that_does_not_answer_is_named_and_the_others_are_not_waited_for_long() {
    let Some(server) = NatsServer::start() else { return };
    let [a, b] = nodes(&server, ["a", "b"]);
    b.freeze();
    let page = get(&a, "/api/v1/connections");
    b.thaw();
    assert_eq!(page["missing"], json!(["b"]), "{page}");
    assert!(page["connections"].is_array());
}

/// A node with tokens, and a key for its API.
fn guarded(server: &NatsServer, name: &str, folder: &std::path::Path) -> Broker {
    let file = folder.join("altavoz.toml");
    std::fs::write(folder.join("key"), "a-key-that-is-long-enough").expect("a file");
    std::fs::write(folder.join("secret"), mint::SECRET).expect("a file");
    let key = "[[api_key]]\nname = \"ops\"\nkey_file = \"key\"\nscopes = [\"admin\"]\n";
    std::fs::write(&file, key).expect("a file");
    let (file, secret) = (file.to_str().expect("UTF-8"), folder.join("secret"));
    let secret = secret.to_str().expect("UTF-8");
    node(&server.url(), name, &["--config", file, "--auth-hmac-secret-file", secret])
}

fn ana(broker: &Broker, token: &str) -> (WsClient, String) {
    let mut client = connect(broker.address());
    let answer = client.command(&format!(r#"{{"id":1,"op":"connect","token":"{token}"}}"#));
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let session = answer["ok"]["session"].as_str().unwrap_or_else(|| panic!("{answer}"));
    (client, session.to_owned())
}

#[test]
fn a_user_is_disconnected_on_all_nodes_and_a_session_on_the_one_that_has_it() {
    const KEY: &str = "Authorization: Bearer a-key-that-is-long-enough\r\n";
    let Some(server) = NatsServer::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let [a, b] = ["a", "b"].map(|name| guarded(&server, name, folder.path()));
    for node in [&a, &b] {
        node.wait_for_metric("altavoz_cluster_nodes", 1.0, PATIENCE);
    }
    let issued = mint::now_unix_s() - 5;
    let token = mint::token(&json!({"iat": issued, "sub_allow": ["#"], "pub_allow": ["#"]}));
    let (mut first, _) = ana(&a, &token);
    let (mut second, _) = ana(&b, &token);
    let (mut third, session) = ana(&b, &token);

    let (status, body) = request(&a, &format!("DELETE /api/v1/connections/{session}?node=b"), KEY);
    assert_eq!((status, &body["disconnected"]), (200, &json!(1)), "{body}");
    assert_eq!(third.receive_close().0, 4403);
    let (status, _) = request(&a, &format!("DELETE /api/v1/connections/{session}?node=b"), KEY);
    assert_eq!(status, 404);

    publish(&mut second, "t", "1");
    let (status, body) = request(&a, "DELETE /api/v1/connections?user=ana&reason=bye", KEY);
    assert_eq!((status, &body["disconnected"]), (200, &json!(2)), "{body}");
    assert_eq!(first.receive_close(), (4403, "bye".to_owned()));
    assert_eq!(second.receive_close(), (4403, "bye".to_owned()));
    // The token is revoked there too.
    let mut again = connect(b.address());
    again.send_text(&format!(r#"{{"id":1,"op":"connect","token":"{token}"}}"#)).expect("sent");
    assert_eq!(again.receive_close().0, 4401);
}
