//! Publishing over HTTP on topics that are on disk.

use serde_json::Value;

use super::support::broker::Broker;
use super::support::http::{Response, exchange};
use super::support::ws_client::PATIENCE;
use super::{Place, json, kill, recover};

pub(super) fn post(broker: &Broker, headers: &str, body: &str) -> Response {
    let length = body.len();
    let request = format!(
        "POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    exchange(broker.address(), request.as_bytes(), PATIENCE).expect("the broker answers")
}

fn value(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    json(&response.text())
}

#[test]
fn one_message_a_batch_and_a_repeat_are_on_disk_once_when_they_are_answered() {
    let place = Place::new();
    let broker = place.start();
    let one = value(&post(&broker, "", r#"{"topic":"d/h","data":1}"#));
    assert_eq!((&one["seq"], &one["level"]), (&1.into(), &"durable".into()));
    let body = r#"[{"topic":"d/h","data":2},{"topic":"m/h","data":1},{"topic":"d/h","data":3}]"#;
    let batch = value(&post(&broker, "", body));
    let seqs: Vec<_> = (0..3).map(|at| batch[at]["seq"].as_u64()).collect();
    assert_eq!(seqs, [Some(2), Some(1), Some(3)]);
    assert_eq!((&batch[1]["level"], &batch[2]["level"]), (&"accepted".into(), &"durable".into()));
    let key = "Idempotency-Key: once\r\n";
    let first = value(&post(&broker, key, r#"{"topic":"d/h","data":4}"#));
    let again = post(&broker, key, r#"{"topic":"d/h","data":4}"#);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(value(&again), first);
    let epoch = one["epoch"].as_str().expect("an epoch is text").to_owned();
    kill(broker);
    let broker = place.start();
    let (_, messages) = recover(&broker, "d/h", &epoch, 0);
    assert_eq!(messages, (1..=4).map(|n: u64| (n, n.into())).collect::<Vec<_>>());
}
