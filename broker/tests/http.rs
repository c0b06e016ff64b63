//! HTTP on the port that WebSockets use, from outside: the page, health, metrics, errors, and what
//! happens to all of it while the broker stops.

#[path = "support/support.rs"]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use support::broker::Broker;
use support::http::{self, Response};
use support::ws_client::{PATIENCE, WsClient};

fn get(broker: &Broker, path: &str) -> Response {
    http::get(broker.address(), path).expect("the broker answers")
}

fn error_code(response: &Response) -> String {
    let body: serde_json::Value = serde_json::from_str(&response.text()).expect("errors are JSON");
    body["error"]["code"].as_str().expect("an error has a code").to_owned()
}

#[test]
fn the_page_and_all_it_asks_for_are_served() {
    let broker = Broker::start(&[]);
    let page = get(&broker, "/");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(page.header("Content-Security-Policy").is_some());
    let text = page.text();
    let mut files = 0;
    for path in text.split('"').filter(|text| text.starts_with("/assets/")) {
        assert_eq!(get(&broker, path).status, 200, "{path}");
        files += 1;
    }
    assert!(files >= 5, "{text}");
}

#[test]
fn health_and_readiness_are_told() {
    let broker = Broker::start(&[]);
    assert_eq!(get(&broker, "/healthz").text(), "ok");
    let ready = get(&broker, "/readyz");
    assert_eq!((ready.status, ready.text().as_str()), (200, "ready"));
}

#[test]
fn metrics_follow_what_happens() {
    let broker = Broker::start(&["--workers", "2"]);
    let client = WsClient::connect(broker.address(), "/ws", &["altavoz.v1.json"]).unwrap();
    broker.wait_for_metric("altavoz_handshakes_total", 1.0, PATIENCE);
    let refused = http::exchange(broker.address(), b"GET / HTTP/1.1\nHost: a\n\n", PATIENCE);
    assert_eq!(refused.unwrap().status, 400);
    broker.wait_for_metric("altavoz_refusals_total{status=\"400\"}", 1.0, PATIENCE);
    drop(client);
    broker.wait_for_metric("altavoz_closes_total{reason=\"lost\"}", 1.0, PATIENCE);
    let text = get(&broker, "/metrics").text();
    assert!(text.contains("altavoz_turns_total{worker=\"1\"} "), "both workers are shown");
}

#[test]
fn a_websocket_path_without_a_handshake_is_told_to_upgrade() {
    let broker = Broker::start(&[]);
    let response = get(&broker, "/ws");
    assert_eq!(response.status, 426);
    assert_eq!(response.header("Upgrade"), Some("websocket"));
    assert_eq!(response.header("Sec-WebSocket-Version"), Some("13"));
    assert_eq!(error_code(&response), "upgrade_required");
}

#[test]
fn errors_are_json() {
    let broker = Broker::start(&[]);
    let missing = get(&broker, "/nothing");
    assert_eq!((missing.status, error_code(&missing).as_str()), (404, "not_found"));
    let request = b"DELETE /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let wrong = http::exchange(broker.address(), request, PATIENCE).unwrap();
    assert_eq!((wrong.status, error_code(&wrong).as_str()), (405, "method_not_allowed"));
}

#[test]
fn a_websocket_is_where_it_is_said_to_be_and_an_echo_only_if_asked_for() {
    let upgrade = |broker: &Broker, path: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        http::exchange(broker.address(), request.as_bytes(), PATIENCE).unwrap()
    };
    let broker = Broker::start(&[]);
    assert_eq!(upgrade(&broker, "/ws").status, 101);
    for path in ["/echo", "/elsewhere"] {
        let missing = upgrade(&broker, path);
        assert_eq!((missing.status, error_code(&missing).as_str()), (404, "not_found"), "{path}");
    }
    assert_eq!(upgrade(&Broker::start(&["--echo"]), "/echo").status, 101);
}

#[test]
fn a_connection_is_kept_for_the_next_request_however_the_bytes_come() {
    let broker = Broker::start(&[]);
    let mut stream = TcpStream::connect(broker.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let requests = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n\
        GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for byte in requests.chunks(7) {
        stream.write_all(byte).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert!(answers.ends_with("ready"), "{answers}");
}

#[test]
fn a_later_request_of_a_kept_connection_is_held_to_the_limit_on_heads_too() {
    let broker = Broker::start(&["--head-bytes-max", "8192"]);
    let mut request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\n".to_vec();
    request.extend_from_slice(format!("X: {}\r\n\r\n", "x".repeat(20_000)).as_bytes());
    let answer = http::exchange(broker.address(), &request, PATIENCE).unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("HTTP/1.1 431 "), "{}", answer.text());
}

#[test]
fn a_stopping_broker_exits_in_good_order() {
    let mut broker = Broker::start(&[]);
    let _idle = TcpStream::connect(broker.address()).unwrap();
    assert_eq!(get(&broker, "/healthz").status, 200);
    let status = broker.terminate(Duration::from_secs(30));
    assert!(status.success(), "{status}");
}
