//! The HTTP API from outside, against the real process: what is published reaches those with a
//! WebSocket, what is asked is true of them, and they can be sent away.

#[path = "support/support.rs"]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;
use support::broker::Broker;
use support::http::{self, Response};
use support::ws_client::{PATIENCE, WsClient};

fn request(broker: &Broker, head: &str, body: &str) -> Response {
    let length = body.len();
    let text = format!(
        "{head} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    http::exchange(broker.address(), text.as_bytes(), PATIENCE).expect("the broker answers")
}

fn json(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_else(|_| panic!("{}", response.text()))
}

fn publish(broker: &Broker, body: &str) -> Value {
    let response = request(broker, "POST /api/v1/publish", body);
    assert_eq!(response.status, 200, "{}", response.text());
    json(&response)
}

fn get(broker: &Broker, path: &str) -> Value {
    let response = request(broker, &format!("GET {path}"), "");
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    json(&response)
}

fn client(broker: &Broker, filter: &str) -> WsClient {
    let mut client = WsClient::connect(broker.address(), "/ws", &["altavoz.v1.json"])
        .expect("the broker upgrades");
    let answer = client.command(&format!(r#"{{"id":1,"op":"subscribe","topic":"{filter}"}}"#));
    assert!(answer.contains("\"ok\""), "{answer}");
    client
}

/// Enough clients that with two workers each has some.
fn clients(broker: &Broker, filter: &str) -> Vec<WsClient> {
    (0..12).map(|_| client(broker, filter)).collect()
}

#[test]
fn what_is_published_over_http_reaches_every_subscriber_in_order() {
    let broker = Broker::start(&["--workers", "2"]);
    let mut clients = clients(&broker, "ticker/+");
    let first = publish(&broker, r#"{"topic":"ticker/ACME","data":{"price": 101.50}}"#);
    let batch = r#"[{"topic":"ticker/ACME","data":2},{"topic":"ticker/B","base64":"AQI="}]"#;
    let batch = publish(&broker, batch);
    assert_eq!(batch[0]["epoch"], first["epoch"]);
    for client in &mut clients {
        let message = client.receive_text();
        assert_eq!(message, r#"{"topic":"ticker/ACME","seq":1,"data":{"price": 101.50}}"#);
        assert_eq!(client.receive_text(), r#"{"topic":"ticker/ACME","seq":2,"data":2}"#);
        let bytes = r#"{"topic":"ticker/B","seq":1,"data":null,"base64":"AQI="}"#;
        assert_eq!(client.receive_text(), bytes);
    }
    assert_eq!(broker.metrics("altavoz_http_publishes_total"), 3.0);
}

#[test]
fn a_kept_connection_publishes_one_message_after_the_other() {
    const COUNT: usize = 1_000;
    let broker = Broker::start(&["--workers", "2"]);
    let mut subscriber = client(&broker, "t");
    let mut stream = TcpStream::connect(broker.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answers = Vec::new();
    for number in 0..COUNT {
        let body = format!(r#"{{"topic":"t","data":{number}}}"#);
        let (last, length) = (number + 1 == COUNT, body.len());
        let end = if last { "Connection: close\r\n" } else { "" };
        let head = "POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nContent-Type: application/json";
        let text = format!("{head}\r\n{end}Content-Length: {length}\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).unwrap();
    }
    stream.read_to_end(&mut answers).unwrap();
    let answers = String::from_utf8(answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), COUNT);
    for number in 0..COUNT {
        let wanted = format!(r#"{{"topic":"t","seq":{},"data":{number}}}"#, number + 1);
        assert_eq!(subscriber.receive_text(), wanted);
    }
}

#[test]
fn topics_are_told_with_their_subscribers_page_by_page() {
    let broker = Broker::start(&["--workers", "2", "--presence", "members"]);
    let _clients = (clients(&broker, "a/+"), clients(&broker, "a/1"));
    for topic in ["a/1", "a/2", "b"] {
        publish(&broker, &format!(r#"{{"topic":"{topic}","data":0}}"#));
    }
    let (mut found, mut after) = (Vec::new(), String::from("0"));
    loop {
        let page = get(&broker, &format!("/api/v1/topics?filter=a/%23&limit=1&after={after}"));
        found.extend(page["topics"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        after = next.to_owned();
    }
    found.sort_by_key(|topic| topic["topic"].to_string());
    let seen: Vec<_> = found
        .iter()
        .map(|topic| (topic["topic"].as_str().unwrap(), topic["subscribers"].as_u64().unwrap()))
        .collect();
    assert_eq!(seen, [("a/1", 24), ("a/2", 12)]);
    assert_eq!((&found[0]["seq"], &found[0]["history"]["messages"]), (&1.into(), &1.into()));
    let presence = get(&broker, "/api/v1/topics/a%2F1/presence");
    assert_eq!(
        (&presence["count"], presence["members"].as_array().unwrap().len()),
        (&12.into(), 12)
    );
}

#[test]
fn a_topic_that_http_made_is_forgotten_like_any_other() {
    let settings =
        ["--topic-linger-ms", "1", "--history-messages", "0", "--last-ms", "0", "--workers", "2"];
    let broker = Broker::start(&settings);
    for number in 0..100 {
        publish(&broker, &format!(r#"{{"topic":"t/{number}","data":0}}"#));
    }
    // The broker's own topic stays.
    broker.wait_for_metric("altavoz_topics", 1.0, PATIENCE);
}

#[test]
fn connections_are_listed_page_by_page_and_one_can_be_closed() {
    let broker = Broker::start(&["--workers", "2"]);
    let mut clients = clients(&broker, "t");
    let (mut sessions, mut after) = (Vec::new(), String::new());
    loop {
        let page = get(&broker, &format!("/api/v1/connections?limit=5{after}"));
        for connection in page["connections"].as_array().unwrap() {
            assert_eq!(connection["subscriptions"][0], "t");
            assert_eq!(connection["protocol"], "altavoz.v1.json");
            assert_eq!(connection["mode"], "all");
            sessions.push(connection["session"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(sessions.len(), 12);
    assert!(sessions.is_sorted());
    let connect = clients[0].command(r#"{"id":2,"op":"connect"}"#);
    let session = serde_json::from_str::<Value>(&connect).unwrap()["ok"]["session"].clone();
    let session = session.as_str().unwrap();
    let path = format!("DELETE /api/v1/connections/{session}?reason=bye&code=4401");
    assert_eq!(json(&request(&broker, &path, ""))["disconnected"], 1);
    assert_eq!(clients[0].receive_close(), (4401, "bye".to_owned()));
    let gone = request(&broker, &format!("DELETE /api/v1/connections/{session}"), "");
    assert_eq!(gone.status, 404, "{}", gone.text());
    let nobody = request(&broker, "DELETE /api/v1/connections?user=nobody", "");
    assert_eq!(json(&nobody)["disconnected"], 0);
}

#[test]
fn keys_come_from_the_settings_file_and_are_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("altavoz.toml");
    std::fs::write(folder.path().join("feed.key"), "a-secret-that-is-long-enough\n").unwrap();
    let table = "[[api_key]]\nname = \"feed\"\nkey_file = \"feed.key\"\nscopes = [\"publish\"]\n";
    std::fs::write(&file, table).unwrap();
    let broker = Broker::start(&["--config", file.to_str().unwrap(), "--log", "debug"]);
    assert_eq!(request(&broker, "POST /api/v1/publish", "{}").status, 401);
    let body = r#"{"topic":"t","data":1}"#;
    let authorized = "POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
        Content-Type: application/json\r\nAuthorization: Bearer a-secret-that-is-long-enough\r\n";
    let text = format!("{authorized}Content-Length: {}\r\n\r\n{body}", body.len());
    let answer = http::exchange(broker.address(), text.as_bytes(), PATIENCE).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(broker.metrics("altavoz_http_answers_total{status=\"401\"}"), 1.0);
    assert!(!broker.stderr().contains("a-secret"), "{}", broker.stderr());
}

#[test]
fn who_is_slow_is_found_among_those_who_keep_up() {
    let settings = ["--workers", "2", "--backlog-bytes-max", "524288", "--history-messages", "0"];
    let broker = Broker::start(&settings);
    let _quick = clients(&broker, "other");
    let slow = client(&broker, "t");
    let socket = socket2::SockRef::from(slow.stream());
    socket.set_recv_buffer_size(16 * 1024).expect("the socket is open");
    let listed = || get(&broker, "/api/v1/connections?slow=true&limit=1");
    assert_eq!(listed().to_string(), r#"{"connections":[],"next":null}"#);
    let message = format!(r#"{{"topic":"t","data":"{}"}}"#, "x".repeat(50_000));
    let batch = format!("[{}]", vec![message; 20].join(","));
    let found = (0..100).find_map(|_| {
        publish(&broker, &batch);
        listed()["connections"].get(0).cloned()
    });
    let found = found.expect("the kernel does not take a hundred megabytes");
    assert_eq!((&found["mode"], &found["subscriptions"][0]), (&"latest".into(), &"t".into()));
    assert_eq!(
        get(&broker, "/api/v1/connections?slow=false")["connections"].as_array().unwrap().len(),
        13
    );
}
